//! What can go wrong with a device.

use thiserror::Error;

/// Why a device cannot be had or did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// There is no device that this build can use.
    #[error("no CUDA device: {0}")]
    Absent(String),
    /// A kernel's source could not be compiled.
    #[error("the kernels of {source_name} cannot be compiled: {reason}")]
    Compile {
        /// Name of the source.
        source_name: &'static str,
        /// What the compiler said.
        reason: String,
    },
    /// The device or its driver refused a call.
    #[error("the device failed to {what}: {reason}")]
    Call {
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        reason: String,
    },
    /// A vector is not as long as what it is used with.
    #[error("{what} has {found} elements, {expected} are needed")]
    Length {
        /// The vector.
        what: &'static str,
        /// Elements it must have.
        expected: usize,
        /// Elements it has.
        found: usize,
    },
    /// A chunk needs more of a block's shared memory than the device has.
    #[error("a chunk needs {needed} bytes of shared memory, the device has {present} for a block")]
    Shared {
        /// Bytes needed.
        needed: usize,
        /// Bytes present.
        present: usize,
    },
    /// Numbers that do not describe a matrix cut into chunks, or an update for one.
    #[error("{0}")]
    Shape(&'static str),
}
