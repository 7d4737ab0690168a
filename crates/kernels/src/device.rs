//! What kernels run on, and memory there.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::attention::Attention;
use crate::emulation::Emulation;
use crate::error::DeviceError;
use crate::launch::Launch;
use crate::plain::{Plain, bytes_of, bytes_of_mut};
use crate::source::SOURCES;
use crate::trust::Trust;

/// What a device must be able to do. Addresses are the device's own; whoever calls owns what they point to.
pub(crate) trait Machine: Send + Sync + fmt::Debug {
    fn name(&self) -> &str;
    /// Bytes of shared memory that a block may use.
    fn shared(&self) -> usize;
    fn allocate(&self, bytes: usize) -> Result<u64, DeviceError>;
    fn free(&self, address: u64);
    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), DeviceError>;
    /// Does not wait for queued work.
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), DeviceError>;
    fn clear(&self, address: u64, bytes: usize) -> Result<(), DeviceError>;
    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), DeviceError>;
    fn launch(&self, launch: &Launch<'_>) -> Result<(), DeviceError>;
    fn finish(&self) -> Result<(), DeviceError>;
    fn mark(&self) -> Result<u64, DeviceError>;
    fn wait(&self, mark: u64) -> Result<(), DeviceError>;
    fn forget(&self, mark: u64);
    /// Queues a matrix product by a library, if there is one that takes it; false: nothing was done.
    fn multiply(&self, _: &Multiply) -> Result<bool, DeviceError> {
        Ok(false)
    }
    /// What is known of its library for attention, or why it has none.
    fn trust(&self) -> Result<&Trust, String> {
        Err("there is no library for it".into())
    }
    /// Queues attention by that library.
    fn attend(&self, _: &Attend) -> Result<Answer, DeviceError> {
        Ok(Answer::Refused("there is no library for it".into()))
    }
}

/// A pass of attention on numbers of 16 bits, with everything checked.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only a device's library reads it"))]
pub(crate) struct Attend {
    pub(crate) shape: Attention,
    pub(crate) sequences: usize,
    pub(crate) fused: u64,
    pub(crate) mixed: u64,
    pub(crate) logs: u64,
    /// Of the backward pass: the gradient by the output, the gradients that it makes, and working memory.
    pub(crate) back: Option<[u64; 3]>,
}

/// What a library did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The work is queued.
    Done,
    /// Nothing, for a reason that is the same each time.
    Refused(String),
}

/// A matrix product, with everything checked: `out = left * right`, or that and `sum`. Rows lie behind each other.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only a device's library reads it"))]
pub(crate) struct Multiply {
    pub(crate) left: u64,
    pub(crate) right: u64,
    /// The addend's address, which may be that of the output; 0: none.
    pub(crate) sum: u64,
    pub(crate) out: u64,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    /// Whether each factor lies transposed.
    pub(crate) transposed: [bool; 2],
    /// Whether factors, and whether addend and output have 16 bits.
    pub(crate) narrow: [bool; 2],
}

/// Something that runs the kernels. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Device(Arc<dyn Machine>);

impl Device {
    /// The first CUDA device of this machine.
    ///
    /// # Errors
    /// [`DeviceError::Absent`] if the crate is built without the feature `cuda`, or this machine has no driver, no
    /// run-time compiler (NVRTC) or no device.
    pub fn find() -> Result<Device, DeviceError> {
        #[cfg(feature = "cuda")]
        return Ok(Device(Arc::new(crate::cuda::Cuda::find()?)));
        #[cfg(not(feature = "cuda"))]
        Err(DeviceError::Absent("built without the feature `cuda`".into()))
    }

    /// An emulation that runs the very same kernel sources on the processor, slowly: to test without a GPU. The system's C
    /// compiler (the variable `CC`, else `cc`) builds it once into `folder`.
    ///
    /// # Errors
    /// If there is no C compiler, or the folder cannot be written.
    pub fn emulation(folder: &Path) -> Result<Device, DeviceError> {
        Device::emulation_in_order(folder, 0)
    }

    /// The same, with the threads of a block running in an order that a seed chooses (0: one after the other). A result
    /// that depends on it shows that a kernel lacks a barrier.
    ///
    /// # Errors
    /// As [`Device::emulation`].
    pub fn emulation_in_order(folder: &Path, seed: u64) -> Result<Device, DeviceError> {
        Ok(Device(Arc::new(Emulation::start(folder, seed, &SOURCES)?)))
    }

    /// What the device calls itself.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Memory for `len` numbers, all zero.
    ///
    /// # Errors
    /// If the device has too little memory left.
    pub fn zeros<T: Plain>(&self, len: usize) -> Result<Buffer<T>, DeviceError> {
        let buffer = self.room(len)?;
        if len > 0 {
            self.0.clear(buffer.address, buffer.bytes())?;
        }
        Ok(buffer)
    }

    /// A copy of some numbers.
    ///
    /// # Errors
    /// As [`Device::zeros`].
    pub fn upload<T: Plain>(&self, numbers: &[T]) -> Result<Buffer<T>, DeviceError> {
        let buffer = self.room(numbers.len())?;
        if !numbers.is_empty() {
            self.0.write(buffer.address, bytes_of(numbers))?;
        }
        Ok(buffer)
    }

    /// Waits until all that was queued is done.
    ///
    /// # Errors
    /// If any of it failed.
    pub fn finish(&self) -> Result<(), DeviceError> {
        self.0.finish()
    }

    /// Marks what is queued until now.
    ///
    /// # Errors
    /// If the device refuses.
    pub fn mark(&self) -> Result<Mark, DeviceError> {
        Ok(Mark { device: self.clone(), mark: self.0.mark()? })
    }

    /// Whether both are the same.
    pub(crate) fn is(&self, other: &Device) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Memory that nothing has been written to yet.
    pub(crate) fn room<T: Plain>(&self, len: usize) -> Result<Buffer<T>, DeviceError> {
        let bytes = len.checked_mul(size_of::<T>()).ok_or(DeviceError::Shape("more memory than can be addressed"))?;
        let address = if len == 0 { 0 } else { self.0.allocate(bytes)? };
        let memory = Arc::new(Memory { device: self.clone(), address });
        Ok(Buffer { memory, address, len, numbers: PhantomData })
    }

    pub(crate) fn multiply(&self, call: &Multiply) -> Result<bool, DeviceError> {
        self.0.multiply(call)
    }

    pub(crate) fn trust(&self) -> Result<&Trust, String> {
        self.0.trust()
    }

    pub(crate) fn attend(&self, call: &Attend) -> Result<Answer, DeviceError> {
        self.0.attend(call)
    }

    pub(crate) fn launch(&self, launch: &Launch<'_>) -> Result<(), DeviceError> {
        let (needed, present) = (launch.shared, self.0.shared());
        if needed > present {
            return Err(DeviceError::Shared { needed, present });
        }
        if launch.blocks == 0 { Ok(()) } else { self.0.launch(launch) }
    }
}

/// A point in the queue of a device's work.
#[derive(Debug)]
pub struct Mark {
    device: Device,
    mark: u64,
}

impl Mark {
    /// Waits until all work that was queued before the mark is done.
    ///
    /// # Errors
    /// If any of it failed.
    pub fn wait(&self) -> Result<(), DeviceError> {
        self.device.0.wait(self.mark)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.device.0.forget(self.mark);
    }
}

/// What was allocated at once; it is let go when the last buffer in it is.
#[derive(Debug)]
struct Memory {
    device: Device,
    address: u64,
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.address != 0 {
            self.device.0.free(self.address);
        }
    }
}

/// Numbers in the memory of a device.
#[derive(Debug)]
pub struct Buffer<T> {
    memory: Arc<Memory>,
    address: u64,
    len: usize,
    numbers: PhantomData<T>,
}

impl<T: Plain> Buffer<T> {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The device that holds it.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.memory.device
    }

    /// A range of it as a buffer of its own over the same memory: what is written to one is read from the other. Work on
    /// both runs in the order in which it is queued.
    ///
    /// # Errors
    /// If the range is beyond the end.
    pub fn part(&self, range: Range<usize>) -> Result<Buffer<T>, DeviceError> {
        if range.end > self.len || range.start > range.end {
            return Err(DeviceError::Length { what: "the buffer", expected: range.end, found: self.len });
        }
        let (memory, address) = (Arc::clone(&self.memory), self.at(range.start));
        Ok(Buffer { memory, address, len: range.len(), numbers: PhantomData })
    }

    /// Sets all numbers to zero.
    ///
    /// # Errors
    /// If the device refuses.
    pub fn clear(&mut self) -> Result<(), DeviceError> {
        if self.len == 0 { Ok(()) } else { self.device().0.clear(self.address, self.bytes()) }
    }

    /// Waits for all queued work and reads everything.
    ///
    /// # Errors
    /// If the device fails.
    pub fn read(&self) -> Result<Vec<T>, DeviceError> {
        self.device().finish()?;
        self.read_now(0..self.len)
    }

    /// Waits for the work before a mark and reads a range, while later work goes on.
    ///
    /// # Errors
    /// If the range is beyond the end or the device fails.
    pub fn read_after(&self, mark: &Mark, range: Range<usize>) -> Result<Vec<T>, DeviceError> {
        mark.wait()?;
        self.read_now(range)
    }

    fn read_now(&self, range: Range<usize>) -> Result<Vec<T>, DeviceError> {
        if range.end > self.len {
            return Err(DeviceError::Length { what: "the buffer", expected: range.end, found: self.len });
        }
        let mut numbers = vec![T::default(); range.len()];
        if !numbers.is_empty() {
            self.device().0.read(self.at(range.start), bytes_of_mut(&mut numbers))?;
        }
        Ok(numbers)
    }

    /// Replaces the content by some numbers.
    ///
    /// # Errors
    /// If there are not as many, or the device fails.
    pub fn write(&mut self, numbers: &[T]) -> Result<(), DeviceError> {
        self.fits(numbers.len())?;
        if numbers.is_empty() { Ok(()) } else { self.device().0.write(self.address, bytes_of(numbers)) }
    }

    /// Replaces the content by that of another buffer.
    ///
    /// # Errors
    /// If that is not as long, or the device fails.
    pub fn copy_from(&mut self, other: &Buffer<T>) -> Result<(), DeviceError> {
        if !self.device().is(other.device()) {
            return Err(DeviceError::Shape("a copy's source lies on another device"));
        }
        self.fits(other.len)?;
        if self.len == 0 { Ok(()) } else { self.device().0.copy(self.address, other.address, self.bytes()) }
    }

    fn fits(&self, found: usize) -> Result<(), DeviceError> {
        let expected = self.len;
        if found == expected { Ok(()) } else { Err(DeviceError::Length { what: "what is written", expected, found }) }
    }

    fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    /// The address of an element.
    pub(crate) fn at(&self, index: usize) -> u64 {
        self.address + (index * size_of::<T>()) as u64
    }
}
