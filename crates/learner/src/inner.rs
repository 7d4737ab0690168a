use crate::Learner;
use pactum_model::{Executor, StepError, Tokens};

/// What [`Learner::inner_steps`] did.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct InnerReport {
    /// Steps made.
    pub steps: u32,
    /// Sequences trained on.
    pub samples: u64,
    /// Tokens predicted in them.
    pub tokens: u64,
    /// Mean cross-entropy over those tokens before their step, in nats; 0 if there was no step.
    pub loss: f32,
    /// Steps whose gradient was not finite: they changed nothing.
    pub rejected: u32,
}

impl Learner {
    /// Trains the working copy for at most `steps` steps; the committed state is untouched.
    ///
    /// `batches` gives the batch of each step of the window (`rows * (context + 1)` token ids, numbered from the window's
    /// first step on), or `None` if there is no more. `keep_going` is asked before each step. May be called again in the
    /// same window to train further.
    ///
    /// # Errors
    /// If a batch does not fit the model. The steps made before stay in the working copy.
    pub fn inner_steps(
        &mut self,
        batches: &mut dyn FnMut(u32) -> Option<Vec<u32>>,
        steps: u32,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Result<InnerReport, StepError> {
        let mut report = InnerReport::default();
        let mut loss = 0.0;
        while report.steps < steps && keep_going() {
            let Some(ids) = batches(self.working.steps) else { break };
            let batch = self.tokens(&ids)?;
            loss += f64::from(self.inner_step(&batch, &mut report)?) * batch.ids.len() as f64;
            report.steps += 1;
            report.samples += batch.rows as u64;
            report.tokens += (batch.rows * self.config.model.context) as u64;
        }
        if report.samples > 0 {
            loss /= (report.samples * (self.config.model.context as u64 + 1)) as f64;
        }
        Ok(InnerReport { loss: loss as f32, ..report })
    }

    fn inner_step(&mut self, batch: &Tokens<'_>, report: &mut InnerReport) -> Result<f32, StepError> {
        let place = self.committed.window.saturating_mul(u64::from(self.config.inner.steps));
        let working = &mut self.working;
        if working.steps == 0 {
            working.theta.clone_from(&self.committed.theta);
            working.gradient.resize(working.theta.len(), 0.0);
        }
        let loss = self.engine.loss_and_gradient(&working.theta, batch, &mut working.gradient)?;
        let rate = self.config.inner.rate.rate(place.saturating_add(u64::from(working.steps)));
        let step = working.optimizer.step(&mut working.theta, &working.gradient, rate);
        report.rejected += u32::from(!step.applied);
        working.steps = working.steps.saturating_add(1);
        Ok(loss)
    }

    /// Full rows of `context + 1` ids.
    pub(crate) fn tokens<'a>(&self, ids: &'a [u32]) -> Result<Tokens<'a>, StepError> {
        let columns = self.config.model.context + 1;
        let rows = ids.len() / columns;
        if ids.is_empty() || rows * columns != ids.len() {
            return Err(StepError::BatchShape { found: ids.len(), rows, columns });
        }
        Ok(Tokens { ids, rows, columns })
    }
}
