//! AdamW (Loshchilov and Hutter, arXiv 1711.05101) over flat vectors.

use crate::device::Buffer;
use crate::error::DeviceError;
use crate::launch::{Call, blocks_of};
use crate::plain::Bf16;

/// Numbers whose squares one block sums.
const PIECE: usize = 32_768;
/// Numbers that one block of the update takes.
const EACH: usize = 4 * 256;

/// One step, with what depends on its number worked out:
/// `g = clip * gradient`, `m = beta1 * m + (1 - beta1) * g`, `v = beta2 * v + (1 - beta2) * g^2`,
/// `p = keep * p - rate * m / (root * sqrt(v) + eps)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// The learning rate over the first moment's bias correction, `1 - beta1^step`.
    pub rate: f32,
    /// One over the root of the second moment's bias correction, `1 - beta2^step`.
    pub root: f32,
    /// What parameters are multiplied with: one less the learning rate times the weight decay.
    pub keep: f32,
    /// What gradients are multiplied with, to clip their norm.
    pub clip: f32,
}

/// The optimizer's state.
#[derive(Debug)]
pub struct Moments {
    /// First moments.
    pub first: Buffer<f32>,
    /// Second moments.
    pub second: Buffer<f32>,
}

impl AdamW {
    /// The L2 norm of a gradient: sums of squares of pieces in f32, added in their order in f64. Waits for it.
    ///
    /// # Errors
    /// If the device fails.
    pub fn norm(gradient: &Buffer<f32>) -> Result<f64, DeviceError> {
        let (device, count) = (gradient.device(), gradient.len());
        let pieces = count.div_ceil(PIECE);
        let sums = device.zeros::<f32>(pieces)?;
        let call = Call::on(device).buffer("the gradient", gradient, (0, count))?;
        let call = call.buffer("the sums", &sums, (0, pieces))?.number(count);
        call.launch("square_sums", blocks_of(pieces)?, 4 * 8)?;
        Ok(sums.read()?.into_iter().map(f64::from).sum::<f64>().sqrt())
    }

    /// Queues the step for the elements of a range: those that decay, or those that do not. `copy` takes the new
    /// parameters in 16 bits too, for matrix products.
    ///
    /// # Errors
    /// If a buffer ends before the range does, or the device refuses.
    pub fn step(
        &self,
        parameters: &mut Buffer<f32>,
        gradient: &Buffer<f32>,
        moments: &mut Moments,
        (range, copy): (std::ops::Range<usize>, Option<&mut Buffer<Bf16>>),
    ) -> Result<(), DeviceError> {
        let part = (range.start, range.len());
        let device = parameters.device().clone();
        let call = Call::on(&device).buffer("the parameters", parameters, part)?;
        let call = call.buffer("the gradient", gradient, part)?.buffer("the first moments", &moments.first, part)?;
        let call = call.buffer("the second moments", &moments.second, part)?;
        let call = match copy {
            Some(copy) => call.buffer("the copy", copy, part)?,
            None => call.nothing(),
        };
        let call = call.number(range.len()).float(self.beta1).float(self.beta2).float(self.eps).float(self.rate);
        let call = call.float(self.root).float(self.keep).float(self.clip);
        call.launch("adamw", blocks_of(range.len().div_ceil(EACH))?, 0)
    }
}
