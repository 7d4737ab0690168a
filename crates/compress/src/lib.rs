#![doc = include_str!("../README.md")]
//!
//! # Map of the crate
//!
//! - [`Layout`]: how parameter tensors are cut into chunks.
//! - [`Settings`], [`Quantiser`], [`Coder`]: how much is kept of a chunk and how it is written.
//! - [`Compressor`]: error feedback in, payload bytes out.
//! - [`Cosine`]: a transform of every chunk, to compress its coefficients instead.
//! - [`decode`], [`Decoder`], [`SparseUpdate`]: payload bytes in, checked coordinates out; [`information`]: what a payload's model makes of it.
//! - [`outer_step`]: many updates in, one bit-exact step of the parameters out; [`aggregate`]: the step alone, sparse.
//! - Feature `cuda`: `DeviceCompressor` and `outer_step_on_device`, the same on a CUDA device.
//!
//! # Formulas
//!
//! With error feedback `E`, parameters before and after the inner steps, and decay `beta` (SparseLoCo, arXiv
//! 2508.15706; the selection is DeMo's, arXiv 2411.19870, whose cosine transform is apart, see [`Cosine`]):
//!
//! ```text
//! E'       = beta * E + (before - after)
//! payload  = encode(quantise(top_k(E')))        per chunk
//! E        = E' - decode(payload)
//! G        = sum over peers of c_p * w_p * v_p, divided by the weights;  c_p = min(1, median / norm_p)
//! theta    = theta - rate * G
//! ```
//!
//! # Numbers that cannot be used
//!
//! A coordinate of `E'` that is not finite or exceeds [`LARGEST`] in absolute value is never selected. It is set to
//! zero in the feedback and counted in [`CompressReport::rejected`], so that one bad inner step costs no panic and
//! does not stay in the feedback for ever.

#![cfg_attr(
    not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little"))),
    allow(unused, reason = "what vectors are for is written for machines that have them")
)]

mod bits;
mod clip;
mod codec;
mod compat;
mod compress;
mod cosine;
#[cfg(test)]
mod golden;
mod kernel;
#[cfg(test)]
mod laws;
mod layout;
mod outer;
mod quantise;
mod scale;
mod section;
mod settings;
mod update;
// After all that it puts on a device.
#[cfg(feature = "cuda")]
mod device;

pub use clip::clips;
pub use codec::{CodecError, Decoder, Limits, decode, information, read_settings};
pub use compress::{CompressReport, Compressor};
pub use cosine::Cosine;
#[cfg(feature = "cuda")]
pub use device::{DeviceCompressor, OnDeviceError, Uploaded, outer_step_on_device};
pub use kernel::Instructions;
pub use layout::{Grid, Layout, LayoutError, TensorLayout};
pub use outer::{Mean, OuterReport, Weighted, aggregate, outer_step};
pub use scale::LARGEST;
pub use settings::{Coder, Quantiser, Settings, SettingsError, payload_bytes_max};
pub use update::SparseUpdate;
