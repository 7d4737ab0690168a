//! What another place than the processor must offer to train there.

use crate::adamw::AdamW;
use crate::config::ModelConfig;
use crate::executor::{Executor, StepError, Tokens};

/// Something beside the processor that makes whole training steps. It holds a copy of parameters and moments meanwhile:
/// they are [loaded](Accelerator::load), some [steps](Accelerator::step) are made, and they are
/// [stored](Accelerator::store) back.
///
/// As an [`Executor`] it measures with parameters of the caller, which takes the place of what was loaded.
pub trait Accelerator: Executor + Send {
    /// The model that it trains.
    fn model(&self) -> &ModelConfig;

    /// What computes, and how, for people: the device's name, and what makes attention there.
    fn describe(&self) -> String;

    /// Takes over parameters, and the optimizer's settings, moments and steps.
    ///
    /// # Errors
    /// If they are not those of the model, or the device fails.
    fn load(&mut self, parameters: &[f32], optimizer: &AdamW) -> Result<(), StepError>;

    /// One step of the given learning rate on a batch of any number of rows.
    ///
    /// # Errors
    /// If the batch does not fit the model, and nothing was changed then; or if the device fails.
    fn step(&mut self, batch: &Tokens<'_>, rate: f32) -> Result<TrainStep, StepError>;

    /// Gives back parameters, moments and steps.
    ///
    /// # Errors
    /// If they are not those of the model, or the device fails. Parameters and optimizer are then as before.
    fn store(&mut self, parameters: &mut [f32], optimizer: &mut AdamW) -> Result<(), StepError>;
}

/// What one training step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainStep {
    /// Mean cross-entropy over all tokens of the batch before the step, in nats.
    pub loss: f32,
    /// Norm of the gradient before clipping.
    pub norm: f64,
    /// False if the gradient was not finite: then nothing was changed and the step was not counted.
    pub applied: bool,
}
