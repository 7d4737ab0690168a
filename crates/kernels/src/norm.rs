//! RMSNorm (Zhang and Sennrich, arXiv 1910.07467).

use crate::device::{Buffer, Device};
use crate::error::DeviceError;
use crate::launch::{Call, blocks_of, rows_of};
use crate::plain::Element;

/// Rows whose weight gradient one block sums.
const ROWS: usize = 16;
const THREADS: usize = 256;

/// One norm over rows of the residual stream: `out = x * scale * weight` with `scale = 1 / sqrt(mean(x^2) + eps)`.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// `[rows, width]`.
    pub x: &'a Buffer<f32>,
    /// `[width]`.
    pub weight: &'a Buffer<f32>,
    /// Added to the mean of squares.
    pub eps: f32,
}

/// Where the gradients of a norm go.
#[derive(Debug)]
pub struct NormGradient<'a, E> {
    /// The gradient by the output, `[rows, width]`; the output itself takes its place, which a step needs next.
    pub normed: &'a mut Buffer<E>,
    /// The gradient by the input is added here, `[rows, width]`.
    pub stream: &'a mut Buffer<f32>,
    /// The gradient by the weight is added here, `[width]`.
    pub weight: &'a mut Buffer<f32>,
    /// Working memory: see [`Norm::room`].
    pub partial: &'a mut Buffer<f32>,
}

impl Norm<'_> {
    /// Queues the forward pass; `scales` has a number for each row.
    ///
    /// # Errors
    /// If a buffer has another length, or the device refuses.
    pub fn forward<E: Element>(&self, out: &mut Buffer<E>, scales: &mut Buffer<f32>) -> Result<(), DeviceError> {
        let (device, width) = (self.x.device(), self.weight.len());
        let (rows, all) = (rows_of(self.x, width)?, (0, self.x.len()));
        let call = Call::on(device).buffer("the input", self.x, all)?.buffer("the weight", self.weight, (0, width))?;
        let call = call.buffer("the output", out, all)?.buffer("the scales", scales, (0, rows))?;
        call.number(width).float(self.eps).element::<E>().launch("norm_forward", blocks_of(rows)?, 4 * 8)
    }

    /// Working memory of the backward pass of so many rows.
    ///
    /// # Errors
    /// If the device has too little memory left.
    pub fn room(device: &Device, rows: usize, width: usize) -> Result<Buffer<f32>, DeviceError> {
        device.zeros(rows.div_ceil(ROWS).saturating_mul(width))
    }

    /// Queues the backward pass with the scales of the forward pass.
    ///
    /// # Errors
    /// As [`Norm::forward`]; and if a row needs more shared memory than the device has, four bytes a column.
    pub fn backward<E: Element>(
        &self,
        scales: &Buffer<f32>,
        gradient: &mut NormGradient<'_, E>,
    ) -> Result<(), DeviceError> {
        let (device, width) = (self.x.device(), self.weight.len());
        let (rows, all) = (rows_of(self.x, width)?, (0, self.x.len()));
        let parts = rows.div_ceil(ROWS);
        let call = Call::on(device).buffer("the input", self.x, all)?.buffer("the weight", self.weight, (0, width))?;
        let call = call.buffer("the scales", scales, (0, rows))?.buffer("the output", gradient.normed, all)?;
        let call = call.buffer("the stream", gradient.stream, all)?;
        let call = call.buffer("the working memory", gradient.partial, (0, parts * width))?;
        let call = call.number(rows).number(width).element::<E>();
        call.launch("norm_backward", blocks_of(parts)?, 4 * (8 + width))?;
        let call = Call::on(device).buffer("the weight's gradient", gradient.weight, (0, width))?;
        let call = call.buffer("the working memory", gradient.partial, (0, parts * width))?;
        call.number(parts).number(width).launch("add_parts", blocks_of(width.div_ceil(THREADS))?, 0)
    }
}
