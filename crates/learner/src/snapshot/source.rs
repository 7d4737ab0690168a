use super::{DIGEST_BYTES, RestoreError};
use crate::bytes::{BLOCK, fill_floats};
use std::io::{self, Read};

/// The bytes of a snapshot, which are known to be those that were written only once the last of them is read.
pub(super) struct Source<'a> {
    from: &'a mut dyn Read,
    hasher: blake3::Hasher,
    /// Bytes read so far.
    total: usize,
}

impl<'a> Source<'a> {
    pub(super) fn new(from: &'a mut dyn Read) -> Self {
        Self { from, hasher: blake3::Hasher::new(), total: 0 }
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RestoreError> {
        self.from.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => RestoreError::Corrupt,
            _ => RestoreError::Io(error),
        })?;
        self.hasher.update(bytes);
        self.total = self.total.saturating_add(bytes.len());
        Ok(())
    }

    /// So many bytes; the caller knows that they are few.
    pub(super) fn bytes(&mut self, count: u64) -> Result<Vec<u8>, RestoreError> {
        let mut bytes = vec![0; usize::try_from(count).map_err(|_| RestoreError::Corrupt)?];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The next vector of so many values.
    pub(super) fn vector(&mut self, count: usize) -> Result<Vec<f32>, RestoreError> {
        let mut values = Vec::with_capacity(count);
        self.blocks(count, |_, block| {
            values.extend_from_slice(block);
            Ok(())
        })?;
        Ok(values)
    }

    /// The same block by block, each with the place of its first value.
    pub(super) fn blocks(
        &mut self,
        count: usize,
        mut each: impl FnMut(usize, &[f32]) -> Result<(), RestoreError>,
    ) -> Result<(), RestoreError> {
        let mut bytes = vec![0; 4 * BLOCK.min(count)];
        let mut values = vec![0.0; BLOCK.min(count)];
        for at in (0..count).step_by(BLOCK) {
            let length = BLOCK.min(count - at);
            self.fill(&mut bytes[..4 * length])?;
            fill_floats(&mut values[..length], &bytes);
            each(at, &values[..length])?;
        }
        Ok(())
    }

    /// Reads to the end, which must be the digest of all before it. How many bytes there were in all.
    pub(super) fn settle(&mut self) -> Result<usize, RestoreError> {
        let (mut bytes, mut held) = (vec![0; 4 * BLOCK], 0);
        loop {
            let read = self.from.read(&mut bytes[held..])?;
            if read == 0 {
                break;
            }
            self.total = self.total.saturating_add(read);
            // The last bytes may be the digest.
            let passed = (held + read).saturating_sub(DIGEST_BYTES);
            self.hasher.update(&bytes[..passed]);
            bytes.copy_within(passed..held + read, 0);
            held = held + read - passed;
        }
        let found = self.hasher.finalize();
        if bytes[..held] == *found.as_bytes() { Ok(self.total) } else { Err(RestoreError::Corrupt) }
    }
}
