use crate::Learner;
use crate::learner::Pending;
use pactum_compress::{OuterReport, Weighted, outer_step};

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
    pub fn compress(&mut self) -> Option<Vec<u8>> {
        if self.working.steps == 0 {
            return None;
        }
        let mut accumulated = self.committed.feedback.clone();
        let (before, after) = (&self.committed.theta, &self.working.theta);
        let decay = self.config.compression.decay;
        let payload = self.compressor.accumulate_and_encode(&mut accumulated, before, after, decay);
        let update = self.check(&payload).ok()?;
        self.pending = Some(Pending { accumulated, payload: payload.clone(), update });
        Some(payload)
    }

    /// The payload that [`Learner::compress`] made in the open window, also after [`Learner::restore`].
    pub fn pending_payload(&self) -> Option<&[u8]> {
        self.pending.as_ref().map(|pending| pending.payload.as_slice())
    }

    /// Commits the open window: the outer step over `updates` (in the order of the window's public record), then the error
    /// feedback and the optimizer.
    ///
    /// `own_included` says whether the pending payload is among the updates: if so, E becomes E' − payload, else E'. With
    /// `None` (a window that is replayed) or nothing pending, E stays.
    ///
    /// # Errors
    /// If an update was decoded for another model; then nothing changes.
    pub fn apply(&mut self, updates: &[Weighted<'_>], own_included: Option<bool>) -> Result<ApplyReport, ApplyError> {
        if let Some(index) = updates.iter().position(|peer| *peer.update.layout() != self.layout) {
            return Err(ApplyError::OtherModel { index });
        }
        let (rate, mean) = (self.config.outer.rate, self.config.outer.mean);
        let outer = outer_step(&mut self.committed.theta, &self.layout, updates, mean, rate);
        let report = ApplyReport { window: self.committed.window, outer };
        self.commit(own_included);
        Ok(report)
    }

    /// Commits an empty window: the parameters stay, nothing that was learnt is lost (E becomes E'), the optimizer goes on.
    pub fn skip(&mut self) {
        self.commit(Some(false));
    }

    /// Commits the working copy as it is, for training without peers: θ becomes θ', and no error feedback arises.
    pub fn commit_alone(&mut self) {
        if self.working.steps > 0 {
            self.committed.theta.copy_from_slice(&self.working.theta);
        }
        self.commit(None);
    }

    fn commit(&mut self, own_included: Option<bool>) {
        if let (Some(mut pending), Some(included)) = (self.pending.take(), own_included) {
            if included {
                pending.update.subtract_from(&mut pending.accumulated);
            }
            self.committed.feedback = pending.accumulated;
        }
        self.committed.optimizer.copy_from(&self.working.optimizer);
        self.close_window();
    }
}
