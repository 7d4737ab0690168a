//! Training that stays on a device.

use pactum_kernels::{AdamW, Moments};

use super::{DeviceEngine, DeviceEngineError};
use crate::accelerator::{Accelerator, TrainStep};
use crate::adamw::{AdamWConfig, MomentsError, Span, check_moments, spans};
use crate::config::ModelConfig;
use crate::executor::{Executor, StepError, Tokens, check_length};

/// AdamW with clipping by the global norm over an engine's parameters, all of it on the engine's device: the same steps as
/// [`crate::AdamW`] makes on the processor, to rounding.
pub struct DeviceTrainer {
    engine: DeviceEngine,
    config: AdamWConfig,
    spans: Vec<Span>,
    moments: Moments,
    step: u64,
}

impl DeviceTrainer {
    /// A trainer of the engine's parameters, with moments zero.
    ///
    /// # Errors
    /// If the device has too little memory.
    pub fn new(engine: DeviceEngine, config: AdamWConfig) -> Result<Self, DeviceEngineError> {
        let (spans, count) = (spans(&engine.config.parameters()), engine.config.count());
        let device = engine.network.weights().parameters.device();
        let moments = Moments { first: device.zeros(count)?, second: device.zeros(count)? };
        // A library takes its memory at the first step only: what does not fit is refused now.
        engine.network.check_room()?;
        Ok(Self { engine, config, spans, moments, step: 0 })
    }

    /// The engine, whose parameters are those that are trained.
    pub fn engine(&mut self) -> &mut DeviceEngine {
        &mut self.engine
    }

    /// One step of the given learning rate on a batch. A batch of more rows than the engine holds at once is worked off in
    /// parts whose gradients are added up.
    ///
    /// # Errors
    /// If the batch does not fit the model, or the device fails; the step may then be made in part.
    pub fn step(&mut self, batch: &Tokens<'_>, rate: f32) -> Result<TrainStep, StepError> {
        let loss = self.engine.differentiate(batch)?;
        let norm = AdamW::norm(&self.engine.network.weights().gradient)?;
        if !norm.is_finite() {
            return Ok(TrainStep { loss, norm, applied: false });
        }
        self.step += 1;
        for Span { range, decays } in &self.spans {
            let by = self.config.factors(self.step, norm, rate);
            let by = AdamW {
                beta1: by.beta1,
                beta2: by.beta2,
                eps: by.eps,
                rate: by.rate,
                root: by.root,
                keep: if *decays { by.keep } else { 1.0 },
                clip: by.clip,
            };
            self.engine.network.update(&by, &mut self.moments, range.clone())?;
        }
        Ok(TrainStep { loss, norm, applied: true })
    }

    /// Steps made so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// First and second moments, in the order of the parameters.
    ///
    /// # Errors
    /// If the device fails.
    pub fn moments(&self) -> Result<[Vec<f32>; 2], StepError> {
        Ok([self.moments.first.read()?, self.moments.second.read()?])
    }

    /// Takes over saved moments, bit for bit: those of [`DeviceTrainer::moments`] or of [`crate::AdamW`].
    ///
    /// # Errors
    /// If a length is wrong or a value impossible, and the state is then as before; or if the device fails.
    pub fn restore(&mut self, [first, second]: [&[f32]; 2], steps: u64) -> Result<(), RestoreError> {
        check_moments(first, second, self.engine.config.count())?;
        self.moments.first.write(first)?;
        self.moments.second.write(second)?;
        self.step = steps;
        Ok(())
    }
}

impl Executor for DeviceTrainer {
    fn forward_losses(&mut self, parameters: &[f32], batch: &Tokens<'_>) -> Result<Vec<f32>, StepError> {
        self.engine.forward_losses(parameters, batch)
    }

    fn loss_and_gradient(
        &mut self,
        parameters: &[f32],
        batch: &Tokens<'_>,
        gradient: &mut [f32],
    ) -> Result<f32, StepError> {
        self.engine.loss_and_gradient(parameters, batch, gradient)
    }
}

impl Accelerator for DeviceTrainer {
    fn model(&self) -> &ModelConfig {
        self.engine.config()
    }

    fn describe(&self) -> String {
        let network = &self.engine.network;
        format!("{}, attention by {}", network.weights().parameters.device().name(), network.attention())
    }

    fn load(&mut self, parameters: &[f32], optimizer: &crate::AdamW) -> Result<(), StepError> {
        let [first, second] = [optimizer.first_moments(), optimizer.second_moments()];
        check_length("vector of moments", first.len(), self.engine.config.count())?;
        self.engine.write_parameters(parameters)?;
        self.moments.first.write(first)?;
        self.moments.second.write(second)?;
        self.step = optimizer.steps();
        self.config = *optimizer.config();
        Ok(())
    }

    fn step(&mut self, batch: &Tokens<'_>, rate: f32) -> Result<TrainStep, StepError> {
        self.step(batch, rate)
    }

    fn store(&mut self, parameters: &mut [f32], optimizer: &mut crate::AdamW) -> Result<(), StepError> {
        let count = self.engine.config.count();
        check_length("parameter vector", parameters.len(), count)?;
        check_length("vector of moments", optimizer.first_moments().len(), count)?;
        let trained = self.engine.read_parameters()?;
        optimizer.replace(self.moments()?, self.step);
        parameters.copy_from_slice(&trained);
        Ok(())
    }
}

/// Why moments were not taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// They are not those of the model, or damaged.
    #[error(transparent)]
    Moments(#[from] MomentsError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] pactum_kernels::DeviceError),
}
