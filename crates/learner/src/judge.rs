use crate::Learner;
use crate::learner::Held;
use pactum_compress::{SparseUpdate, clips};
use pactum_model::StepError;
use std::sync::Arc;

/// The loss of one sequence with and without a contribution, in nats per token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossPair {
    /// At the committed parameters.
    pub before: f32,
    /// After a small step along the contribution.
    pub after: f32,
}

/// Why a contribution was not judged. The committed parameters have the same bits as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// The update was decoded for another model.
    #[error("the update was made for another model: decode it with this learner")]
    OtherModel,
    /// The batch does not fit the model.
    #[error(transparent)]
    Step(#[from] StepError),
}

impl Learner {
    /// Loss of each sequence of `batch` (rows of `context + 1` ids) before and after `theta -= step * c * update`, where
    /// `c` is the factor of each tensor with which `update` stands in the aggregate of `among` ([`clips`]): a large norm
    /// must not look like a large value.
    ///
    /// The losses before are computed once per batch and window, however many updates are judged on it. The parameters
    /// are changed for the time of the call at the update's coordinates, and put back bit for bit.
    ///
    /// # Errors
    /// If an update or the batch does not fit the model.
    pub fn judge(
        &mut self,
        update: &SparseUpdate,
        among: &[&SparseUpdate],
        step: f32,
        batch: &[u32],
    ) -> Result<Vec<LossPair>, JudgeError> {
        if among.iter().chain([&update]).any(|update| *update.layout() != self.layout) {
            return Err(JudgeError::OtherModel);
        }
        let before = self.losses(batch)?;
        let tokens = self.tokens(batch)?;
        let theta = Arc::make_mut(&mut self.committed.theta);
        let saved = update.read_from(theta);
        let scales: Vec<f32> = clips(update, among).into_iter().map(|clip| -step * clip).collect();
        update.add_scaled(theta, &scales);
        let after = self.compute.executor().forward_losses(theta, &tokens);
        update.write_to(theta, &saved);
        Ok(before.into_iter().zip(after?).map(|(before, after)| LossPair { before, after }).collect())
    }

    /// Loss of each sequence of `batch` at the committed parameters, in nats per token.
    ///
    /// # Errors
    /// If the batch does not fit the model.
    pub fn losses(&mut self, batch: &[u32]) -> Result<Vec<f32>, StepError> {
        let tokens = self.tokens(batch)?;
        let digest = digest_of(batch);
        if let Some((_, losses)) = self.base_losses.iter().find(|(known, _)| *known == digest) {
            return Ok(losses.clone());
        }
        let losses = self.compute.executor().forward_losses(&self.committed.theta, &tokens)?;
        if self.base_losses.len() == BASES_MAX {
            self.base_losses.remove(0);
        }
        self.base_losses.push((digest, losses.clone()));
        Ok(losses)
    }

    /// Mean loss over `batch` at the committed parameters, in nats per token.
    ///
    /// # Errors
    /// If the batch does not fit the model.
    pub fn heldout_loss(&mut self, batch: &[u32]) -> Result<f32, StepError> {
        let losses = self.losses(batch)?;
        Ok((losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64) as f32)
    }

    /// How much each update lowers the loss over `batch`, to first order and for a step of 1: the inner product of the
    /// update with the gradient. One gradient serves all updates. Positive is good.
    ///
    /// # Errors
    /// If an update or the batch does not fit the model.
    pub fn screen(&mut self, updates: &[&SparseUpdate], batch: &[u32]) -> Result<Vec<f64>, JudgeError> {
        if updates.iter().any(|update| *update.layout() != self.layout) {
            return Err(JudgeError::OtherModel);
        }
        let tokens = self.tokens(batch)?;
        // In the middle of a window the gradient's memory may hold what is to be sent, or the error feedback.
        let spare = self.working.steps == 0 && !matches!(self.committed.feedback, Held::Away(_));
        let mut gradient = if spare { std::mem::take(&mut self.working.gradient) } else { Vec::new() };
        gradient.resize(self.committed.theta.len(), 0.0);
        let loss = self.compute.executor().loss_and_gradient(&self.committed.theta, &tokens, &mut gradient);
        let found = loss.map(|_| updates.iter().map(|update| update.dot(&gradient)).collect());
        if spare {
            self.working.gradient = gradient;
        }
        Ok(found?)
    }
}

/// Batches whose base losses are remembered: the common ones and those of a few peers.
const BASES_MAX: usize = 32;

fn digest_of(batch: &[u32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    batch.iter().for_each(|id| {
        hasher.update(&id.to_le_bytes());
    });
    *hasher.finalize().as_bytes()
}
