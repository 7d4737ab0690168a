#![doc = include_str!("../README.md")]
//!
//! # Map of the crate
//!
//! - [`Device`], [`Buffer`], [`Mark`]: what kernels run on, memory there, and a point in the queue of work.
//! - [`Matrix`]: a tensor cut into chunks.
//! - [`Compress`]: error feedback, selection, quantisation and residual of a tensor in one pass.
//! - [`Update`]: a sparse update on a device, its norms, its sum into a dense vector.
//! - [`Outer`]: the outer step of a tensor from many updates.
//! - [`Source`], [`SOURCES`], [`OPTIONS`]: the kernels' text and how it must be compiled.
//!
//! # Order of work
//!
//! Work is queued: a call returns before the device is done, and what is queued runs in order. Reading waits for what it
//! reads, see [`Buffer::read`] and [`Buffer::read_after`].

#[cfg(feature = "cuda")]
mod code;
mod compress;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod emulation;
mod error;
mod launch;
mod matrix;
mod outer;
mod plain;
mod source;
mod update;

#[cfg(feature = "cuda")]
pub use code::Code;
pub use compress::{Compress, Feedback, Levels, Picked};
pub use device::{Buffer, Device, Mark};
pub use error::DeviceError;
pub use matrix::Matrix;
pub use outer::{Divisor, Outer, Peer, Tensor};
pub use plain::Plain;
pub use source::{OPTIONS, SOURCES, Source};
pub use update::Update;
