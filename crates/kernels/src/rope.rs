//! Rotary positions (Su et al., arXiv 2104.09864) in the half-split form of Hugging Face's Llama.

use crate::device::Buffer;
use crate::error::DeviceError;
use crate::launch::{Call, blocks_of, rows_of};
use crate::plain::Element;

/// Cosine and sine of each position and pair, and where the heads lie that are turned by them.
#[derive(Debug, Clone, Copy)]
pub struct Rotation<'a> {
    /// `[context, half]`.
    pub cosines: &'a Buffer<f32>,
    /// `[context, half]`.
    pub sines: &'a Buffer<f32>,
    /// Half of a head's width.
    pub half: usize,
    /// Elements of a token: all that lies between one token and the next.
    pub stride: usize,
    /// Where a token's first head begins.
    pub offset: usize,
    /// Heads that are turned.
    pub heads: usize,
}

impl Rotation<'_> {
    /// Queues `scale * rotate(x)` in place. Token `t` has position `t mod context`.
    ///
    /// # Errors
    /// If a buffer has another length, or the device refuses.
    pub fn turn<E: Element>(&self, values: &mut Buffer<E>, scale: f32) -> Result<(), DeviceError> {
        self.run(values, scale, false)
    }

    /// Queues the transposed rotation: the gradient by the input from the gradient by the output.
    ///
    /// # Errors
    /// As [`Rotation::turn`].
    pub fn turn_back<E: Element>(&self, gradient: &mut Buffer<E>, scale: f32) -> Result<(), DeviceError> {
        self.run(gradient, scale, true)
    }

    fn run<E: Element>(&self, values: &mut Buffer<E>, scale: f32, back: bool) -> Result<(), DeviceError> {
        let (tokens, context) = (rows_of(values, self.stride)?, rows_of(self.cosines, self.half)?);
        let width = 2_usize.checked_mul(self.half).and_then(|width| width.checked_mul(self.heads));
        let end = width.and_then(|width| width.checked_add(self.offset));
        if context == 0 || end.is_none_or(|end| end > self.stride) || self.stride > u32::MAX as usize {
            return Err(DeviceError::Shape("the heads do not lie in a token"));
        }
        let device = values.device().clone();
        let angles = (0, context * self.half);
        let call = Call::on(&device).buffer("the values", values, (0, values.len()))?;
        let call = call.buffer("the cosines", self.cosines, angles)?.buffer("the sines", self.sines, angles)?;
        let call = call.number(self.stride).number(self.offset).number(self.heads).number(self.half).number(context);
        call.float(scale).number(usize::from(back)).element::<E>().launch("turn", blocks_of(tokens)?, 0)
    }
}
