use crate::Learner;
use crate::bytes::{read_floats, write_floats};
use std::io;
use std::sync::Arc;

impl Learner {
    /// The committed parameters as little-endian bytes, for others to start from. Their BLAKE3 is
    /// [`Learner::state_digest`], so that they can be fetched and verified as a content-addressed blob.
    pub fn checkpoint(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 * self.committed.theta.len());
        write_floats(&mut bytes, &self.committed.theta);
        bytes
    }

    /// Takes over a [`Learner::checkpoint`] of the beginning of `window`. Optimizer and error feedback stay as they are: a
    /// newcomer's are zero, and after an absence what was not sent yet is still worth sending.
    ///
    /// # Errors
    /// If the bytes are not those that `expected` names, or not of this model; then nothing changes.
    pub fn adopt(&mut self, window: u64, bytes: &[u8], expected: &[u8; 32]) -> Result<(), AdoptError> {
        let wanted = 4 * self.committed.theta.len();
        if bytes.len() != wanted {
            return Err(AdoptError::Length { found: bytes.len(), expected: wanted });
        }
        if blake3::hash(bytes).as_bytes() != expected {
            return Err(AdoptError::Digest);
        }
        self.reset_window()?;
        self.committed.theta = Arc::new(read_floats(bytes));
        self.committed.window = window;
        // Its window is over: whatever became of it, it is not applied again.
        self.committed.sent = None;
        Ok(())
    }
}

/// Why a checkpoint was not taken over; the learner is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The length is not that of this model.
    #[error("the checkpoint has {found} bytes, but this model has {expected}: is it of another run?")]
    Length {
        /// Bytes found.
        found: usize,
        /// Bytes of this model.
        expected: usize,
    },
    /// The bytes are not those that were asked for.
    #[error("the checkpoint's digest is wrong: fetch it from another peer")]
    Digest,
    /// What is offloaded cannot be read.
    #[error("the optimizer's state cannot be read back: {0}")]
    Scratch(String),
}

impl From<io::Error> for AdoptError {
    fn from(error: io::Error) -> Self {
        Self::Scratch(error.to_string())
    }
}
