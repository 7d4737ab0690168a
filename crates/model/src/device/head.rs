//! The last norm, the head and the loss, in chunks of tokens: logits of tokens × vocabulary are never held whole.

use pactum_kernels::{Buffer, DeviceError, Loss};

use super::buffers::{Work, chunk};
use super::linear::Operand;
use super::network::Pass;

impl<E: Operand> Pass<'_, E> {
    /// The stream, normed for the head.
    pub(super) fn last_norm(&self, work: &mut Work<E>, stream: &Buffer<f32>) -> Result<(), DeviceError> {
        self.norm(&self.layout.norm, stream, (&mut work.normed, &mut work.scales))
    }

    /// Loss of each token into `work.losses`.
    pub(super) fn losses(&self, work: &mut Work<E>) -> Result<(), DeviceError> {
        self.chunks(work, None)
    }

    /// Losses into `work.losses`; gradients, times `scale`, by the stream into `work.slope` and by norm and head.
    pub(super) fn head_backward(
        &self,
        work: &mut Work<E>,
        stream: &Buffer<f32>,
        scale: f32,
    ) -> Result<(), DeviceError> {
        self.chunks(work, Some(scale))?;
        let Work { back, slope, partial, scales, .. } = work;
        slope.clear()?;
        self.norm_backward(&self.layout.norm, (stream, scales), (back, slope, partial))
    }

    fn chunks(&self, work: &mut Work<E>, scale: Option<f32>) -> Result<(), DeviceError> {
        let (width, vocab) = (self.config.width, self.config.vocab);
        let head = self.projection(&self.layout.head);
        for first in (0..self.tokens).step_by(chunk(vocab)) {
            let end = self.tokens.min(first + chunk(vocab));
            let normed = work.normed.part(first * width..end * width)?;
            let targets = work.targets.part(first..end)?;
            let (mut losses, mut logits) = (work.losses.part(first..end)?, work.logits.part(0..(end - first) * vocab)?);
            let loss = Loss { targets: &targets, vocabulary: vocab };
            head.forward(&mut logits, &normed, None)?;
            let Some(scale) = scale else {
                loss.forward(&logits, &mut losses)?;
                continue;
            };
            loss.backward(&mut logits, &mut losses, scale)?;
            head.backward(&mut work.back.part(first * width..end * width)?, &logits)?;
            head.gain(&logits, &normed, &mut work.partial)?;
        }
        Ok(())
    }
}
