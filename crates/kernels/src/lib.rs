#![doc = include_str!("../README.md")]
//!
//! # Map of the crate
//!
//! - [`Device`], [`Buffer`], [`Mark`]: what kernels run on, memory there, and a point in the queue of work.
//! - [`Matrix`]: a tensor cut into chunks.
//! - [`Compress`]: error feedback, selection, quantisation and residual of tensors in one pass.
//! - [`Update`]: a sparse update on a device, its norms, its sum into a dense vector.
//! - [`Outer`]: the outer step of tensors from many updates.
//! - [`Norm`], [`Rotation`], [`Attention`], [`Swiglu`], [`Loss`], [`Ids`], [`AdamW`], [`add_bias`]: the training step besides
//!   its matrix products, on [`Element`]s: `f32` or [`Bf16`]. [`Product`]: those.
//! - [`Source`], [`SOURCES`], [`OPTIONS`]: the kernels' text and how it must be compiled.
//!
//! # Order of work
//!
//! Work is queued: a call returns before the device is done, and what is queued runs in order. Reading waits for what it
//! reads, see [`Buffer::read`] and [`Buffer::read_after`].

mod adamw;
mod attention;
mod bias;
#[cfg(feature = "cuda")]
mod code;
mod compress;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod embed;
mod emulation;
mod error;
mod launch;
mod loss;
mod matrix;
mod norm;
mod outer;
mod plain;
mod product;
mod rope;
mod source;
mod swiglu;
mod table;
mod trust;
mod update;

pub use adamw::{AdamW, Moments};
#[cfg(feature = "cuda")]
pub use attention::AttentionPlan;
pub use attention::{Attention, AttentionGradient};
pub use bias::{add_bias, add_rows, convert};
#[cfg(feature = "cuda")]
pub use code::Code;
pub use compress::{Compress, Feedback, Levels, Picked};
pub use device::{Buffer, Device, Mark};
pub use embed::Ids;
pub use error::DeviceError;
pub use loss::Loss;
pub use matrix::Matrix;
pub use norm::{Norm, NormGradient};
pub use outer::{Divisor, Outer, Peer, Tensor};
pub use plain::{Bf16, Element, Plain};
pub use product::{Factor, Product};
pub use rope::Rotation;
pub use source::{OPTIONS, SOURCES, Source};
pub use swiglu::Swiglu;
pub use update::Update;
