use crate::{Learner, LearnerError};
use pactum_model::{Accelerator, AdamW, Engine, Executor, StepError, Tokens, TrainStep};

/// Where a learner computes.
pub(crate) struct Compute {
    /// On the processor; it has memory only once it is used.
    pub(crate) engine: Engine,
    /// In its place for training and measuring.
    pub(crate) accelerator: Option<Box<dyn Accelerator>>,
}

impl Compute {
    pub(crate) fn executor(&mut self) -> &mut dyn Executor {
        match &mut self.accelerator {
            Some(accelerator) => accelerator.as_mut(),
            None => &mut self.engine,
        }
    }
}

impl Learner {
    /// Trains and measures on a device instead of the processor. What is committed stays in the processor's memory; a copy
    /// goes to the device when steps begin and comes back when they end. Losses and parameters then differ in the last bits
    /// from those of the processor, in bf16 in more; decoding, compressing and applying payloads do not.
    ///
    /// # Errors
    /// If the accelerator was made for another model.
    pub fn accelerated(mut self, accelerator: Box<dyn Accelerator>) -> Result<Self, LearnerError> {
        if *accelerator.model() != self.config.model {
            return Err(LearnerError::OutOfRange { reason: "the accelerator was made for another model" });
        }
        self.compute.accelerator = Some(accelerator);
        Ok(self)
    }

    /// One step of the working copy. `first` says that no step was made since the copy was last stored.
    pub(crate) fn train_step(
        &mut self,
        optimizer: &mut AdamW,
        batch: &Tokens<'_>,
        rate: f32,
        first: bool,
    ) -> Result<TrainStep, StepError> {
        let working = &mut self.working;
        let Compute { engine, accelerator } = &mut self.compute;
        if let Some(accelerator) = accelerator {
            if first {
                accelerator.load(&working.theta, optimizer)?;
            }
            return accelerator.step(batch, rate);
        }
        working.gradient.resize(working.theta.len(), 0.0);
        let loss = engine.loss_and_gradient(&working.theta, batch, &mut working.gradient)?;
        let report = optimizer.step(&mut working.theta, &working.gradient, rate);
        Ok(TrainStep { loss, norm: report.norm, applied: report.applied })
    }

    /// Brings back what an accelerator made of the working copy in so many steps. If that fails, they were not made.
    pub(crate) fn store_steps(&mut self, steps: u32) -> Result<(), StepError> {
        let working = &mut self.working;
        let (Some(accelerator), Some(optimizer)) = (&mut self.compute.accelerator, &mut working.optimizer) else {
            return Ok(());
        };
        if steps == 0 {
            return Ok(());
        }
        let stored = accelerator.store(&mut working.theta, optimizer);
        if stored.is_err() {
            working.steps -= steps;
        }
        // Here the error feedback is made ready for the payload, as where there is a gradient.
        working.gradient.resize(working.theta.len(), 0.0);
        stored
    }
}

#[cfg(test)]
mod tests;
