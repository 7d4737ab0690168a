//! A kernel's argument, checked word by word.

use crate::device::{Buffer, Device};
use crate::error::DeviceError;
use crate::plain::{Element, Plain};
use crate::table::Table;

/// A kernel to be run once in each of some blocks of 256 threads.
pub(crate) struct Launch<'a> {
    pub(crate) kernel: &'static str,
    pub(crate) blocks: u32,
    /// Bytes of shared memory of each block.
    pub(crate) shared: usize,
    /// The one argument, a structure of words.
    pub(crate) words: &'a [u64],
}

/// A number of blocks, if a device takes so many.
pub(crate) fn blocks_of(count: usize) -> Result<u32, DeviceError> {
    let blocks = u32::try_from(count).ok().filter(|&blocks| blocks <= i32::MAX as u32);
    blocks.ok_or(DeviceError::Shape("more than 2^31 - 1 blocks of work"))
}

/// The rows of a buffer that is made of whole rows of some width.
pub(crate) fn rows_of<T: Plain>(buffer: &Buffer<T>, width: usize) -> Result<usize, DeviceError> {
    if width == 0 || !buffer.len().is_multiple_of(width) {
        return Err(DeviceError::Shape("a buffer is not made of whole rows"));
    }
    Ok(buffer.len() / width)
}

/// Collects the words of an argument in the order of its structure's fields.
pub(crate) struct Call<'a> {
    device: &'a Device,
    words: Vec<u64>,
}

impl<'a> Call<'a> {
    pub(crate) fn on(device: &'a Device) -> Call<'a> {
        Call { device, words: Vec::new() }
    }

    /// The address of element `from` of a buffer that has `count` elements from there on, on the same device.
    pub(crate) fn buffer<T: Plain>(
        mut self,
        what: &'static str,
        buffer: &Buffer<T>,
        (from, count): (usize, usize),
    ) -> Result<Call<'a>, DeviceError> {
        let (expected, found) = (from.saturating_add(count), buffer.len());
        if !self.device.is(buffer.device()) {
            return Err(DeviceError::Shape("what a kernel works on lies on another device"));
        }
        if found < expected {
            return Err(DeviceError::Length { what, expected, found });
        }
        self.words.push(buffer.at(from));
        Ok(self)
    }

    /// A null pointer.
    pub(crate) fn nothing(self) -> Call<'a> {
        self.number(0)
    }

    pub(crate) fn number(mut self, number: usize) -> Call<'a> {
        self.words.push(number as u64);
        self
    }

    /// An address that was checked before.
    pub(crate) fn address(mut self, address: u64) -> Call<'a> {
        self.words.push(address);
        self
    }

    /// Whether elements have 16 bits.
    pub(crate) fn element<E: Element>(self) -> Call<'a> {
        self.number(usize::from(E::NARROW))
    }

    /// The bits of a number.
    pub(crate) fn float(mut self, number: f32) -> Call<'a> {
        self.words.push(u64::from(number.to_bits()));
        self
    }

    pub(crate) fn table(self, table: &Table) -> Result<Call<'a>, DeviceError> {
        self.buffer("the tensors", &table.words, (0, table.words.len()))
    }

    pub(crate) fn launch(self, kernel: &'static str, blocks: u32, shared: usize) -> Result<(), DeviceError> {
        self.device.launch(&Launch { kernel, blocks, shared, words: &self.words })
    }
}
