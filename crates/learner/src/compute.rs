use crate::optimizer::Optimizer;
use crate::{InnerError, Learner, LearnerError};
use pactum_model::{Accelerator, Engine, Executor, Tokens, TrainStep};

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
        optimizer: &mut Optimizer,
        batch: &Tokens<'_>,
        rate: f32,
        first: bool,
    ) -> Result<TrainStep, InnerError> {
        let fresh = self.compute.accelerator.as_ref().filter(|_| first).map(|_| self.fresh_in_memory());
        let working = &mut self.working;
        let Compute { engine, accelerator } = &mut self.compute;
        if let Some(accelerator) = accelerator {
            if let Some(fresh) = fresh {
                accelerator.load(&working.theta, &*optimizer.in_memory(fresh)?)?;
            }
            return Ok(accelerator.step(batch, rate)?);
        }
        working.gradient.resize(working.theta.len(), 0.0);
        let loss = engine.loss_and_gradient(&working.theta, batch, &mut working.gradient)?;
        let report = optimizer.step(&mut working.theta, &working.gradient, rate)?;
        Ok(TrainStep { loss, norm: report.norm, applied: report.applied })
    }

    /// Brings back what an accelerator made of the working copy in so many steps. If that fails, they were not made.
    pub(crate) fn store_steps(&mut self, steps: u32) -> Result<(), InnerError> {
        if steps == 0 || self.compute.accelerator.is_none() {
            return Ok(());
        }
        let fresh = self.fresh_in_memory();
        let working = &mut self.working;
        let (Some(accelerator), Some(optimizer)) = (&mut self.compute.accelerator, &mut working.optimizer) else {
            return Ok(());
        };
        let stored = optimizer.take_over(fresh, |made| accelerator.store(&mut working.theta, made));
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
