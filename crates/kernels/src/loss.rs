//! Cross-entropy over rows of logits.

use crate::device::Buffer;
use crate::error::DeviceError;
use crate::launch::{Call, blocks_of};
use crate::plain::Element;

/// The loss of some tokens. Logits may come in any number of rows, so that those of all tokens need never be there.
#[derive(Debug, Clone, Copy)]
pub struct Loss<'a> {
    /// The right token of each row.
    pub targets: &'a Buffer<u32>,
    /// Tokens that there are. A target beyond has the loss NaN.
    pub vocabulary: usize,
}

impl Loss<'_> {
    /// Queues the loss of each row in nats.
    ///
    /// # Errors
    /// If a buffer has another length, or the device refuses.
    pub fn forward<E: Element>(&self, logits: &Buffer<E>, losses: &mut Buffer<f32>) -> Result<(), DeviceError> {
        self.run(logits, losses, None)
    }

    /// The same, and replaces the logits by `scale` times the gradient of the loss by them.
    ///
    /// # Errors
    /// As [`Loss::forward`].
    pub fn backward<E: Element>(
        &self,
        logits: &mut Buffer<E>,
        losses: &mut Buffer<f32>,
        scale: f32,
    ) -> Result<(), DeviceError> {
        self.run(logits, losses, Some(scale))
    }

    fn run<E: Element>(
        &self,
        logits: &Buffer<E>,
        losses: &mut Buffer<f32>,
        scale: Option<f32>,
    ) -> Result<(), DeviceError> {
        let (device, rows) = (logits.device(), self.targets.len());
        let all = rows.checked_mul(self.vocabulary).ok_or(DeviceError::Shape("more logits than can be addressed"))?;
        let call = Call::on(device).buffer("the logits", logits, (0, all))?;
        let call = call.buffer("the targets", self.targets, (0, rows))?.buffer("the losses", losses, (0, rows))?;
        let call = call.number(self.vocabulary).float(scale.unwrap_or(0.0)).number(usize::from(scale.is_some()));
        call.element::<E>().launch("loss", blocks_of(rows)?, 4 * 8)
    }
}
