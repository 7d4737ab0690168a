//! Where vectors lie that a learner does not need while a window trains.

use crate::bytes::{read_floats, stream_floats};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A place for vectors outside of memory, such as an open file. What it holds is of no use to another process, and need not
/// be durable.
pub trait Scratch: Read + Write + Seek + Send {}

impl<T: Read + Write + Seek + Send> Scratch for T {}

/// Three vectors of one length, each at its place.
pub(crate) struct Shelf {
    scratch: Mutex<Box<dyn Scratch>>,
    /// Values in each.
    count: usize,
}

/// The places of a shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    First,
    Second,
    Feedback,
}

impl Shelf {
    pub(crate) fn new(scratch: Box<dyn Scratch>, count: usize) -> Self {
        Self { scratch: Mutex::new(scratch), count }
    }

    pub(crate) fn put(&self, place: Place, values: &[f32]) -> io::Result<()> {
        let mut scratch = self.at(place)?;
        stream_floats(&mut **scratch, values)?;
        scratch.flush()
    }

    pub(crate) fn read(&self, place: Place, into: &mut [f32]) -> io::Result<()> {
        let mut scratch = self.at(place)?;
        let mut bytes = vec![0; 4 * BLOCK.min(into.len())];
        for block in into.chunks_mut(BLOCK) {
            let bytes = &mut bytes[..4 * block.len()];
            scratch.read_exact(bytes)?;
            block.copy_from_slice(&read_floats(bytes));
        }
        Ok(())
    }

    pub(crate) fn load(&self, place: Place) -> io::Result<Vec<f32>> {
        let mut values = vec![0.0; self.count];
        self.read(place, &mut values)?;
        Ok(values)
    }

    fn at(&self, place: Place) -> io::Result<MutexGuard<'_, Box<dyn Scratch>>> {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        scratch.seek(SeekFrom::Start(4 * self.count as u64 * place as u64))?;
        Ok(scratch)
    }
}

/// Values converted at once.
const BLOCK: usize = 1 << 14;

#[cfg(test)]
mod tests;
