//! Where vectors lie that are too many for memory.

use crate::bytes::{BLOCK, fill_floats, stream_floats};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A place for vectors outside of memory, such as an open file. What it holds is of no use to another process, and need not
/// be durable.
pub trait Scratch: Read + Write + Seek + Send {}

impl<T: Read + Write + Seek + Send> Scratch for T {}

/// Vectors of one length, each in a slot of its own.
pub(crate) struct Shelf {
    scratch: Mutex<Box<dyn Scratch>>,
    /// Which slots are taken.
    taken: Mutex<Vec<bool>>,
    /// Values in each.
    count: usize,
}

/// A vector on the shelf. As with memory, the place is free again once nobody holds it.
pub(crate) struct Slot {
    shelf: Arc<Shelf>,
    number: usize,
}

impl Shelf {
    pub(crate) fn new(scratch: Box<dyn Scratch>, count: usize) -> Arc<Self> {
        Arc::new(Self { scratch: Mutex::new(scratch), taken: Mutex::default(), count })
    }

    /// A free slot, with whatever an earlier vector left in it.
    pub(crate) fn slot(self: &Arc<Self>) -> Arc<Slot> {
        let mut taken = locked(&self.taken);
        let number = taken.iter().position(|taken| !taken).unwrap_or(taken.len());
        if number == taken.len() {
            taken.push(false);
        }
        taken[number] = true;
        Arc::new(Slot { shelf: Arc::clone(self), number })
    }

    pub(crate) fn put(self: &Arc<Self>, values: &[f32]) -> io::Result<Arc<Slot>> {
        let slot = self.slot();
        slot.write(0, values)?;
        Ok(slot)
    }
}

impl Slot {
    /// Values in it.
    pub(crate) fn count(&self) -> usize {
        self.shelf.count
    }

    /// The values from the one at `at` on.
    pub(crate) fn read(&self, at: usize, into: &mut [f32]) -> io::Result<()> {
        let mut bytes = vec![0; 4 * BLOCK.min(into.len())];
        let mut scratch = self.at(at)?;
        into.chunks_mut(BLOCK).try_for_each(|block| {
            let bytes = &mut bytes[..4 * block.len()];
            scratch.read_exact(bytes)?;
            fill_floats(block, bytes);
            Ok(())
        })
    }

    pub(crate) fn write(&self, at: usize, values: &[f32]) -> io::Result<()> {
        let mut scratch = self.at(at)?;
        stream_floats(&mut **scratch, values)?;
        scratch.flush()
    }

    /// The whole vector into memory.
    pub(crate) fn load(&self, mut memory: Vec<f32>) -> io::Result<Vec<f32>> {
        memory.resize(self.count(), 0.0);
        self.read(0, &mut memory)?;
        Ok(memory)
    }

    /// The whole vector as little-endian bytes, in blocks.
    pub(crate) fn copy_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut block = vec![0.0; BLOCK.min(self.count())];
        for at in (0..self.count()).step_by(BLOCK) {
            let block = &mut block[..BLOCK.min(self.count() - at)];
            self.read(at, block)?;
            stream_floats(out, block)?;
        }
        Ok(())
    }

    fn at(&self, at: usize) -> io::Result<MutexGuard<'_, Box<dyn Scratch>>> {
        let mut scratch = locked(&self.shelf.scratch);
        let place = self.number as u64 * self.count() as u64 + at as u64;
        scratch.seek(SeekFrom::Start(4 * place))?;
        Ok(scratch)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(taken) = locked(&self.shelf.taken).get_mut(self.number) {
            *taken = false;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
