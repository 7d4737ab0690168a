//! The engine on a device: the same passes as on the processor, by the kernels of `pactum-kernels`.

mod block;
mod buffers;
mod head;
mod linear;
mod network;
mod trainer;

use pactum_kernels::{Bf16, Device, DeviceError};

use crate::config::{ConfigError, ModelConfig};
use crate::executor::{Executor, StepError, Tokens, check_length};
use network::{Network, Run, attention};
pub use trainer::{DeviceTrainer, RestoreError};

/// The widest head that the kernels of attention take.
const HEAD_MAX: usize = 256;
/// Largest number of tokens in flight.
const TOKENS_MAX: usize = 1 << 28;

/// What the operands of matrix products are made of. Parameters, their gradient, the residual stream and all sums are `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// Bfloat16, with a second copy of the parameters in it.
    Bf16,
}

/// Why there is no engine on a device.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceEngineError {
    /// The configuration describes no model.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No rows at once, or too many.
    #[error("an engine for this context must take 1 to {max} rows at once, not {rows_max}")]
    Rows {
        /// Rows asked for.
        rows_max: usize,
        /// Rows allowed.
        max: usize,
    },
    /// Heads are wider than the kernels take.
    #[error("a head of this model has {found} numbers, a device takes {HEAD_MAX} at most")]
    Head {
        /// Numbers of a head.
        found: usize,
    },
    /// The device failed, or has too little memory.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Explicit forward and backward passes on a device, over memory that is allocated once.
///
/// Parameters and gradient are flat vectors in the order of [`ModelConfig::parameters`] and stay on the device. A batch of
/// more rows than `rows_max` is worked off in parts whose gradients are added up in `f32`. Every sum has a fixed order: the
/// same device gives the same bits again.
///
/// As an [`Executor`] it takes parameters from the host and brings the gradient back in each call; to train without
/// either, see [`DeviceTrainer`].
pub struct DeviceEngine {
    config: ModelConfig,
    rows_max: usize,
    network: Box<dyn Run>,
}

impl DeviceEngine {
    /// An engine that holds at most `rows_max` sequences at once. All parameters are zero. With `recompute` only each
    /// block's input is kept for the backward pass, and the rest of the block computed again there: about a third more work
    /// for the memory of a single block (Chen et al., arXiv:1604.06174).
    ///
    /// # Errors
    /// If the configuration is invalid or does not fit the kernels, `rows_max` is zero or too large, or the device has too
    /// little memory.
    pub fn new(
        device: &Device,
        config: &ModelConfig,
        rows_max: usize,
        (precision, recompute): (Precision, bool),
    ) -> Result<Self, DeviceEngineError> {
        config.validate()?;
        let max = TOKENS_MAX / config.context;
        if rows_max == 0 || rows_max > max {
            return Err(DeviceEngineError::Rows { rows_max, max });
        }
        if config.head_width() > HEAD_MAX {
            return Err(DeviceEngineError::Head { found: config.head_width() });
        }
        let network: Box<dyn Run> = match precision {
            Precision::F32 => Box::new(Network::<f32>::new(device, config, rows_max, recompute)?),
            Precision::Bf16 => Box::new(Network::<Bf16>::new(device, config, rows_max, recompute)?),
        };
        Ok(Self { config: config.clone(), rows_max, network })
    }

    /// Bytes of the device's memory that training with such an engine and a [`DeviceTrainer`] takes at most, before anything is
    /// allocated, with what attention by cuDNN works in; what else the driver and its libraries hold for themselves comes on top.
    ///
    /// # Errors
    /// If the configuration is invalid.
    pub fn train_bytes(
        config: &ModelConfig,
        rows_max: usize,
        (precision, recompute): (Precision, bool),
    ) -> Result<u64, ConfigError> {
        config.validate()?;
        let operand = if precision == Precision::F32 { 4 } else { 2 };
        let kept = if recompute { 1 } else { config.layers };
        let tokens = rows_max.saturating_mul(config.context).min(TOKENS_MAX);
        let rows = rows_max.min(TOKENS_MAX / config.context);
        let attention = if operand == 2 { attention(config, config.context).working_bytes(rows) } else { 0 };
        Ok(buffers::bytes(config, tokens, (operand, kept)).saturating_add(attention as u64))
    }

    /// The model that this engine runs.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Sequences that it holds at once.
    pub fn rows_max(&self) -> usize {
        self.rows_max
    }

    /// Replaces the parameters on the device.
    ///
    /// # Errors
    /// If there are not as many as the model has, or the device fails.
    pub fn write_parameters(&mut self, parameters: &[f32]) -> Result<(), StepError> {
        check_length("parameter vector", parameters.len(), self.config.count())?;
        self.network.weights().parameters.part(0..parameters.len())?.write(parameters)?;
        Ok(self.network.refresh()?)
    }

    /// The parameters on the device, after all queued work.
    ///
    /// # Errors
    /// If the device fails.
    pub fn read_parameters(&self) -> Result<Vec<f32>, StepError> {
        Ok(self.network.weights().parameters.read()?)
    }

    /// The gradient of the last [`DeviceEngine::differentiate`], after all queued work.
    ///
    /// # Errors
    /// If the device fails.
    pub fn read_gradient(&self) -> Result<Vec<f32>, StepError> {
        Ok(self.network.weights().gradient.read()?)
    }

    /// Mean cross-entropy in nats per token of each sequence, in row order, with the parameters on the device.
    ///
    /// # Errors
    /// If the batch does not fit the model or the device fails.
    pub fn losses(&mut self, batch: &Tokens<'_>) -> Result<Vec<f32>, StepError> {
        batch.check(&self.config)?;
        let mut means = Vec::with_capacity(batch.rows);
        for part in batch.parts(self.rows_max) {
            let losses = self.network.losses(&part)?;
            let rows = losses.chunks_exact(part.inputs());
            means.extend(rows.map(|row| (total(row) / row.len() as f64) as f32));
        }
        Ok(means)
    }

    /// Mean cross-entropy over all tokens of the batch, in nats, with the parameters on the device; its gradient takes the
    /// place of the one there.
    ///
    /// # Errors
    /// If the batch does not fit the model or the device fails.
    pub fn differentiate(&mut self, batch: &Tokens<'_>) -> Result<f32, StepError> {
        batch.check(&self.config)?;
        let count = (batch.rows * batch.inputs()) as f64;
        self.network.weights().gradient.part(0..self.config.count())?.clear()?;
        let mut sum = 0.0;
        for part in batch.parts(self.rows_max) {
            sum += total(&self.network.differentiate(&part, (1.0 / count) as f32)?);
        }
        Ok((sum / count) as f32)
    }
}

impl Executor for DeviceEngine {
    fn forward_losses(&mut self, parameters: &[f32], batch: &Tokens<'_>) -> Result<Vec<f32>, StepError> {
        self.write_parameters(parameters)?;
        self.losses(batch)
    }

    fn loss_and_gradient(
        &mut self,
        parameters: &[f32],
        batch: &Tokens<'_>,
        gradient: &mut [f32],
    ) -> Result<f32, StepError> {
        check_length("gradient vector", gradient.len(), self.config.count())?;
        self.write_parameters(parameters)?;
        let loss = self.differentiate(batch)?;
        gradient.copy_from_slice(&self.read_gradient()?);
        Ok(loss)
    }
}

fn total(losses: &[f32]) -> f64 {
    losses.iter().map(|&loss| f64::from(loss)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_attention_works_in_is_planned() {
        let config = ModelConfig::preset("1b").unwrap();
        for (rows, times) in [(1, 1), (3, 3), (usize::MAX, 15)] {
            let [f32, bf16] = [Precision::F32, Precision::Bf16]
                .map(|precision| DeviceEngine::train_bytes(&config, rows, (precision, false)).unwrap());
            let tokens = rows.saturating_mul(config.context).min(TOKENS_MAX);
            let [wide, short] = [4, 2].map(|operand| buffers::bytes(&config, tokens, (operand, config.layers)));
            // Two bytes for each score of as many sequences as come to 1 GiB.
            let scores = (times * config.heads * config.context * config.context * 2) as u64;
            assert_eq!((f32, bf16), (wide, short + scores + (1 << 20)), "{rows}");
        }
    }
}
