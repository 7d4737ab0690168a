//! SwiGLU (Shazeer, arXiv 2002.05202): `silu(gate) * up`.

use crate::device::Buffer;
use crate::error::DeviceError;
use crate::launch::{Call, blocks_of, rows_of};
use crate::plain::Element;

/// The activation of a feed-forward layer of some width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swiglu {
    /// Outputs of a token; it has as many gates, and as many ups behind them.
    pub width: usize,
}

impl Swiglu {
    /// Queues `hidden = silu(gate) * up`: `hidden` is `[tokens, width]`, `gate_up` `[tokens, 2 * width]`.
    ///
    /// # Errors
    /// If a buffer has another length, or the device refuses.
    pub fn forward<E: Element>(&self, hidden: &mut Buffer<E>, gate_up: &Buffer<E>) -> Result<(), DeviceError> {
        self.run("swiglu_forward", hidden, gate_up)
    }

    /// Queues the backward pass: `hidden` holds the gradient by the output and becomes the output itself, which a step
    /// needs next; gate and up become their gradients.
    ///
    /// # Errors
    /// As [`Swiglu::forward`].
    pub fn backward<E: Element>(&self, hidden: &mut Buffer<E>, gate_up: &mut Buffer<E>) -> Result<(), DeviceError> {
        self.run("swiglu_backward", hidden, gate_up)
    }

    fn run<E: Element>(
        &self,
        kernel: &'static str,
        hidden: &mut Buffer<E>,
        gate_up: &Buffer<E>,
    ) -> Result<(), DeviceError> {
        let tokens = rows_of(hidden, self.width)?;
        let device = hidden.device().clone();
        let call = Call::on(&device).buffer("the output", hidden, (0, hidden.len()))?;
        let call = call.buffer("gate and up", gate_up, (0, hidden.len().saturating_mul(2)))?;
        call.number(self.width).element::<E>().launch(kernel, blocks_of(tokens)?, 0)
    }
}
