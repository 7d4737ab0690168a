use crate::Learner;
use crate::learner::Held;
use crate::optimizer::Optimizer;
use pactum_model::{StepError, Tokens};
use std::io;

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

/// Why training ended early. The steps made before stay in the working copy, unless what is offloaded was lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InnerError {
    /// A batch does not fit the model, or a device failed; the steps made on it since the last report are then lost.
    #[error(transparent)]
    Step(#[from] StepError),
    /// What is offloaded cannot be written or read. The open window's steps are lost; what is committed is not.
    #[error("the optimizer's state cannot be laid aside: {0}; is the disk full?")]
    Scratch(#[from] io::Error),
}

impl Learner {
    /// Trains the working copy for at most `steps` steps; the committed state is untouched.
    ///
    /// `batches` gives the batch of each step of the window (`rows * (context + 1)` token ids, numbered from the window's
    /// first step on), or `None` if there is no more. `keep_going` is asked before each step. May be called again in the
    /// same window to train further.
    ///
    /// # Errors
    /// If a batch does not fit the model, what is [offloaded](Learner::offloading) cannot be written or read, or an
    /// [accelerator](Learner::accelerated) fails.
    pub fn inner_steps(
        &mut self,
        batches: &mut dyn FnMut(u32) -> Option<Vec<u32>>,
        steps: u32,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Result<InnerReport, InnerError> {
        let mut report = InnerReport::default();
        let loss = self.make_steps(batches, steps, keep_going, &mut report);
        let stored = self.store_steps(report.steps);
        if matches!((&loss, &stored), (Err(InnerError::Scratch(_)), _) | (_, Err(InnerError::Scratch(_)))) {
            // A step may have been made in part.
            self.working.steps = 0;
        }
        self.ready_feedback()?;
        stored?;
        let positions = report.samples * (self.config.model.context as u64 + 1);
        Ok(InnerReport { loss: (loss? / positions.max(1) as f64) as f32, ..report })
    }

    /// The sum of the steps' losses, each times its token ids.
    fn make_steps(
        &mut self,
        batches: &mut dyn FnMut(u32) -> Option<Vec<u32>>,
        steps: u32,
        keep_going: &mut dyn FnMut() -> bool,
        report: &mut InnerReport,
    ) -> Result<f64, InnerError> {
        let mut loss = 0.0;
        while report.steps < steps && keep_going() {
            let Some(ids) = batches(self.working.steps) else { break };
            let batch = self.tokens(&ids)?;
            loss += f64::from(self.inner_step(&batch, report)?) * batch.ids.len() as f64;
            report.steps += 1;
            report.samples += batch.rows as u64;
            report.tokens += (batch.rows * self.config.model.context) as u64;
        }
        Ok(loss)
    }

    fn inner_step(&mut self, batch: &Tokens<'_>, report: &mut InnerReport) -> Result<f32, InnerError> {
        let place = self.committed.window.saturating_mul(u64::from(self.config.inner.steps));
        let mut optimizer = match self.working.steps {
            0 => self.begin_window()?,
            _ => self.optimizer_in_training(),
        };
        let rate = self.config.inner.rate.rate(place.saturating_add(u64::from(self.working.steps)));
        let step = self.train_step(&mut optimizer, batch, rate, report.steps == 0);
        self.working.optimizer = Some(optimizer);
        let step = step?;
        report.rejected += u32::from(!step.applied);
        self.working.steps = self.working.steps.saturating_add(1);
        Ok(step.loss)
    }

    /// Puts the working copy where the window's training starts, and returns its optimizer.
    fn begin_window(&mut self) -> io::Result<Optimizer> {
        self.offload_feedback()?;
        let optimizer = self.optimizer_at_start();
        self.working.theta.clone_from(&self.committed.theta);
        if let Some(ahead) = self.ahead() {
            ahead.step(&mut self.working.theta);
        }
        Ok(optimizer)
    }

    /// Lays E aside, if that is wanted. Its memory becomes the gradient's.
    fn offload_feedback(&mut self) -> io::Result<()> {
        if let (Held::Here(feedback), Some(shelf)) = (&self.committed.feedback, &self.shelf) {
            let slot = shelf.put(feedback)?;
            if let Held::Here(feedback) = std::mem::replace(&mut self.committed.feedback, Held::Away(slot)) {
                self.reuse(feedback);
            }
        }
        Ok(())
    }

    /// Once the steps are made the gradient has no use: there E waits to become E'.
    fn ready_feedback(&mut self) -> io::Result<()> {
        if let Held::Away(slot) = &self.committed.feedback {
            // If it cannot be read there is no gradient left that could be taken for it.
            self.working.gradient = slot.load(std::mem::take(&mut self.working.gradient))?;
        }
        Ok(())
    }

    /// The optimizer in the middle of a window.
    pub(crate) fn optimizer_in_training(&mut self) -> Optimizer {
        let from_pending = || self.pending.as_ref().map(|pending| Optimizer::clone(&pending.optimizer));
        self.working.optimizer.take().or_else(from_pending).unwrap_or_else(|| self.fresh_optimizer())
    }

    /// A copy of the committed optimizer.
    fn optimizer_at_start(&mut self) -> Optimizer {
        match (&self.committed.optimizer, self.working.optimizer.take()) {
            (Some(committed), Some(mut spare)) => {
                spare.copy_from(committed);
                spare
            }
            (Some(committed), None) => Optimizer::clone(committed),
            (None, _) => self.fresh_optimizer(),
        }
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
