use crate::Learner;
use crate::delay::share;
use crate::learner::{Held, Pending, Sent};
use pactum_compress::{OuterReport, Weighted, outer_step};
use std::sync::Arc;

/// What [`Learner::apply`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyReport {
    /// The window that was committed.
    pub window: u64,
    /// Tensors that were left alone, and peers that were scaled down.
    pub outer: OuterReport,
}

/// Why nothing was applied; the learner is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// An update was decoded for another model.
    #[error("update {index} was made for another model: decode it with this learner")]
    OtherModel {
        /// Its place in the list.
        index: usize,
    },
}

impl Learner {
    /// Makes the payload of the open window: E' = decay · E + (θ − θ'), and of E' the largest values of each chunk. E' waits
    /// for the window's end. `None` if no step was made in this window.
    ///
    /// With a delay θ is where the training started, which is ahead of the committed parameters by this node's share of what
    /// is on its way.
    pub fn compress(&mut self) -> Option<Vec<u8>> {
        if self.working.steps == 0 || self.working.gradient.is_empty() {
            // Nothing was trained since the payload was made, if there is one.
            return self.pending_payload().map(<[u8]>::to_vec);
        }
        // The gradient has no use any more: its memory takes E, which becomes E'.
        let mut accumulated = std::mem::take(&mut self.working.gradient);
        match &self.committed.feedback {
            Held::Zero => accumulated.fill(0.0),
            Held::Here(feedback) => accumulated.copy_from_slice(feedback),
            // The end of the inner steps has put it there.
            Held::Away(_) => {}
        }
        let payload = self.encode(&mut accumulated);
        let update = self.check(&payload).ok()?;
        let optimizer = Arc::new(self.optimizer_in_training());
        let sent = Arc::new(Sent { payload: payload.clone(), update });
        self.pending = Some(Pending { accumulated: Arc::new(accumulated), optimizer, sent });
        Some(payload)
    }

    fn encode(&mut self, accumulated: &mut [f32]) -> Vec<u8> {
        let (ahead, decay) = (self.ahead(), self.config.compression.decay);
        let after = &self.working.theta;
        let Some(ahead) = ahead else {
            return self.compressor.accumulate_and_encode(accumulated, &self.committed.theta, after, decay);
        };
        // The start differs from the committed parameters in few places: they are changed for the time of the call.
        let theta = Arc::make_mut(&mut self.committed.theta);
        let saved = ahead.enter(theta);
        let payload = self.compressor.accumulate_and_encode(accumulated, theta, after, decay);
        ahead.leave(theta, &saved);
        payload
    }

    /// The payload that [`Learner::compress`] made in the open window, also after [`Learner::restore`].
    pub fn pending_payload(&self) -> Option<&[u8]> {
        self.pending.as_ref().map(|pending| pending.sent.payload.as_slice())
    }

    /// With a delay, the payload of the window before the open one, whose updates the next [`Learner::apply`] takes.
    pub fn sent_payload(&self) -> Option<&[u8]> {
        self.committed.sent.as_ref().map(|sent| sent.payload.as_slice())
    }

    /// Commits the open window w: the outer step over `updates` (in the order of the public record), then the error feedback
    /// and the optimizer.
    ///
    /// Without delay the updates are those of window w. `own_included` says whether the pending payload is among them: if so,
    /// E becomes E' − payload, else E'. With `None` (a window that is replayed) or nothing pending, E stays.
    ///
    /// With a delay of 1 the updates are those of window w − 1, none if w is the first, and `own_included` is about the payload
    /// of that window. The payload of window w goes out on trust: E becomes E' − payload at once. If a window later it turns
    /// out to have been left out, E takes it back, decayed once as if it had never left. With `None` it counts as delivered,
    /// so that nothing is sent twice.
    ///
    /// # Errors
    /// If an update was decoded for another model; then nothing changes.
    pub fn apply(&mut self, updates: &[Weighted<'_>], own_included: Option<bool>) -> Result<ApplyReport, ApplyError> {
        if let Some(index) = updates.iter().position(|peer| *peer.update.layout() != self.layout) {
            return Err(ApplyError::OtherModel { index });
        }
        let (rate, mean) = (self.config.outer.rate, self.config.outer.mean);
        let outer =
            outer_step(Arc::make_mut(&mut self.committed.theta).as_mut_slice(), &self.layout, updates, mean, rate);
        let report = ApplyReport { window: self.committed.window, outer };
        if self.config.outer.apply_delay > 0 && !updates.is_empty() {
            self.committed.share = share(&self.layout, updates, mean);
        }
        self.commit(own_included);
        Ok(report)
    }

    /// Commits the open window without an update: the parameters stay, nothing that was learnt is lost (what was not sent, or
    /// not included, stays in E), the optimizer goes on.
    pub fn skip(&mut self) {
        self.commit(Some(false));
    }

    /// Commits the working copy as it is, for training without peers: θ becomes θ', and no error feedback arises.
    pub fn commit_alone(&mut self) {
        if self.working.steps > 0 {
            Arc::make_mut(&mut self.committed.theta).copy_from_slice(&self.working.theta);
        }
        self.committed.sent = None;
        let pending = self.pending.take();
        self.commit_optimizer(pending.as_ref());
        self.close_window();
    }

    fn commit(&mut self, own_included: Option<bool>) {
        let pending = self.pending.take();
        self.commit_optimizer(pending.as_ref());
        if self.config.outer.apply_delay == 0 {
            self.settle(pending, own_included);
        } else {
            self.settle_later(pending, own_included);
        }
        self.close_window();
    }

    /// The optimizer of the window's training becomes the committed one, whose memory is kept for the next window.
    fn commit_optimizer(&mut self, pending: Option<&Pending>) {
        let working = if self.working.steps > 0 { self.working.optimizer.take().map(Arc::new) } else { None };
        let Some(optimizer) = working.or_else(|| pending.map(|pending| Arc::clone(&pending.optimizer))) else { return };
        self.committed.steps = optimizer.steps();
        if let Some(old) = self.committed.optimizer.replace(optimizer) {
            self.working.optimizer = Arc::into_inner(old);
        }
    }

    /// Closes the open window: what the copies hold beyond this is void.
    fn close_window(&mut self) {
        if let Held::Away(_) = self.committed.feedback
            && !self.working.gradient.is_empty()
        {
            // Trained, but never compressed: the gradient holds E.
            self.committed.feedback = Held::Here(Arc::new(std::mem::take(&mut self.working.gradient)));
        }
        self.committed.window = self.committed.window.saturating_add(1);
        self.working.steps = 0;
        self.base_losses.clear();
    }

    /// E of a window whose own payload's fate is known.
    fn settle(&mut self, pending: Option<Pending>, own_included: Option<bool>) {
        if let (Some(pending), Some(included)) = (pending, own_included) {
            self.set_feedback(pending.accumulated, included.then_some(&pending.sent));
        }
    }

    /// E of a window whose own payload goes out on trust, while that of the window before has met its fate.
    fn settle_later(&mut self, pending: Option<Pending>, own_included: Option<bool>) {
        let sent = pending.map(|pending| {
            self.set_feedback(pending.accumulated, Some(&pending.sent));
            pending.sent
        });
        let before = std::mem::replace(&mut self.committed.sent, sent);
        if let (Some(before), Some(false)) = (before, own_included) {
            self.give_back(&before);
        }
    }

    /// E becomes what was accumulated, less what was sent of it. The memory of the old one is kept for the next gradient.
    fn set_feedback(&mut self, mut accumulated: Arc<Vec<f32>>, sent: Option<&Arc<Sent>>) {
        if let Some(sent) = sent {
            sent.update.subtract_from(Arc::make_mut(&mut accumulated).as_mut_slice());
        }
        if let Held::Here(old) = std::mem::replace(&mut self.committed.feedback, Held::Here(accumulated)) {
            self.reuse(old);
        }
    }

    /// Puts what was sent in vain back into E.
    fn give_back(&mut self, sent: &Sent) {
        if let Held::Away(_) = self.committed.feedback {
            self.committed.feedback = Held::Here(Arc::new(std::mem::take(&mut self.working.gradient)));
        }
        if let Held::Zero = self.committed.feedback {
            self.committed.feedback = Held::Here(Arc::new(vec![0.0; self.committed.theta.len()]));
        }
        if let Held::Here(feedback) = &mut self.committed.feedback {
            sent.update.add_to(Arc::make_mut(feedback).as_mut_slice(), self.config.compression.decay);
        }
    }

    /// Keeps the memory of an old vector for the next gradient.
    pub(crate) fn reuse(&mut self, old: Arc<Vec<f32>>) {
        if self.working.gradient.is_empty() {
            self.working.gradient = Arc::into_inner(old).unwrap_or_default();
        }
    }
}
