//! A learner that is real and tiny: sparse linear regression by SGD, top-k compression with error feedback, and a
//! bit-exact outer step.

use pactum_protocol::{Digest, Hparams, Malformation, Mean, Window};
use pactum_round::{BoxError, Evidence, InnerReport, JudgeJob, Learner, Own, Snapshot, TrainJob};

mod payload;
mod problem;
#[cfg(test)]
mod tests;

pub use payload::ToyUpdate;
pub(crate) use payload::payload_bytes;
pub(crate) use problem::DIMENSION;
use problem::{Problem, Source};

/// Samples on which the held-out loss is measured.
const HELD_OUT_SAMPLES: u64 = 64;

/// Bytes of a state probe's piece, and how many pieces it looks at.
const PROBE: (usize, u64) = (32, 4);

/// Why a snapshot or a checkpoint cannot be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} has {bytes} bytes instead of {expected}, or values that are not finite")]
pub struct StateError {
    what: &'static str,
    bytes: usize,
    expected: usize,
}

/// A small real optimisation problem in the place of a language model.
///
/// The hidden parameters and all samples follow from `Hparams::dataset`. A sample is four examples with four of 256
/// features each, so that miners who train on different samples find different coordinates, and what was trained on
/// improves more than what was not.
#[derive(Clone, Debug)]
pub struct ToyLearner {
    problem: Problem,
    hparams: Hparams,
    theta: Vec<f32>,
    feedback: Vec<f32>,
    trained: Option<Vec<f32>>,
    pending: Option<Pending>,
}

/// What becomes of the error feedback when the window commits.
#[derive(Clone, Debug)]
struct Pending {
    /// E' = β·E + Δ.
    whole: Vec<f32>,
    /// E' without what was sent.
    residual: Vec<f32>,
    /// What is sent.
    update: ToyUpdate,
}

impl ToyLearner {
    /// The learner at θ₀, which is zero.
    #[must_use]
    pub fn new(hparams: &Hparams) -> Self {
        Self {
            problem: Problem::new(hparams),
            hparams: hparams.clone(),
            theta: vec![0.0; DIMENSION],
            feedback: vec![0.0; DIMENSION],
            trained: None,
            pending: None,
        }
    }

    /// The learner that wrote `snapshot`.
    ///
    /// # Errors
    /// If the snapshot has another length or holds values that are not finite.
    pub fn restore(hparams: &Hparams, snapshot: &[u8]) -> Result<Self, StateError> {
        let vectors = if snapshot.len() > 2 * DIMENSION * 4 { 3 } else { 2 };
        let mut values = read("snapshot", snapshot, vectors * DIMENSION)?;
        let whole = values.split_off(2 * DIMENSION);
        let feedback = values.split_off(DIMENSION);
        let mut learner = Self { theta: values, feedback, ..Self::new(hparams) };
        learner.pending = (!whole.is_empty()).then(|| learner.pending(whole));
        Ok(learner)
    }

    /// Parameters, error feedback and, if a payload is pending, what was accumulated for it: the payload follows from that.
    fn saved(&self) -> Vec<u8> {
        let pending = self.pending.iter().flat_map(|pending| write(&pending.whole));
        write(&self.theta).chain(write(&self.feedback)).chain(pending).collect()
    }

    fn pending(&self, whole: Vec<f32>) -> Pending {
        let update = ToyUpdate::top(&whole, self.top_k());
        let mut residual = whole.clone();
        update.add_to(&mut residual, -1.0);
        Pending { whole, residual, update }
    }

    /// The number of values in a payload.
    fn top_k(&self) -> usize {
        usize::try_from(self.hparams.compression.top_k).unwrap_or(DIMENSION).min(DIMENSION - 1)
    }

    fn losses(&self, theta: &[f32], source: Source, samples: &[u64]) -> Vec<f32> {
        samples.iter().map(|sample| self.problem.loss(theta, source, *sample)).collect()
    }

    fn pairs(&self, stepped: &[f32], source: Source, samples: &[u64]) -> Vec<(f32, f32)> {
        let before = self.losses(&self.theta, source, samples);
        before.into_iter().zip(self.losses(stepped, source, samples)).collect()
    }

    /// Σ c·w·v over the updates in order, divided by the weights of all peers or of those that sent a coordinate.
    fn aggregate(&self, updates: &[(f32, &ToyUpdate)]) -> Vec<f32> {
        let mut sum = vec![0.0_f32; DIMENSION];
        let mut weights = vec![0.0_f32; DIMENSION];
        let median = median_norm(&updates.iter().map(|(_, update)| *update).collect::<Vec<_>>());
        let mut all = 0.0_f32;
        for (weight, update) in updates {
            update.add_to(&mut sum, clip(update, median) * weight);
            update.0.iter().for_each(|(at, _)| weights[usize::from(*at)] += weight);
            all += weight;
        }
        let divisor = |at: usize| match self.hparams.outer.mean {
            Mean::Peers => all,
            Mean::Contributors => weights[at],
        };
        (0..DIMENSION).map(|at| if weights[at] > 0.0 { sum[at] / divisor(at) } else { 0.0 }).collect()
    }
}

impl Learner for ToyLearner {
    type Update = ToyUpdate;

    fn train(&mut self, job: &TrainJob, keep_going: &mut dyn FnMut() -> bool) -> Result<InnerReport, BoxError> {
        let inner = self.hparams.inner;
        let source = Source::assigned(&job.seed, job.uid.0);
        let mut working = self.theta.clone();
        let (mut steps, mut loss) = (0, 0.0);
        while steps < inner.steps && keep_going() {
            let first = u64::from(steps) * u64::from(inner.batch);
            let samples = first..first + u64::from(inner.batch);
            loss += self.problem.descend(&mut working, source, samples, inner.rate);
            steps += 1;
        }
        self.pending = None;
        self.trained = (steps > 0).then_some(working);
        #[expect(clippy::cast_precision_loss, reason = "steps are few")]
        let loss = if steps > 0 { loss / steps as f32 } else { 0.0 };
        Ok(InnerReport { steps, samples: steps * inner.batch, loss })
    }

    fn payload(&mut self) -> Option<Vec<u8>> {
        if let Some(trained) = self.trained.take() {
            let decay = self.hparams.compression.decay;
            let moved = self.theta.iter().zip(&trained).map(|(before, after)| before - after);
            let whole = self.feedback.iter().zip(moved).map(|(error, delta)| decay * error + delta).collect();
            self.pending = Some(self.pending(whole));
        }
        self.pending.as_ref().map(|pending| pending.update.encode())
    }

    fn decode(&self, payload: &[u8]) -> Result<ToyUpdate, Malformation> {
        ToyUpdate::decode(payload, self.top_k())
    }

    fn overlap(&self, one: &ToyUpdate, other: &ToyUpdate) -> f64 {
        one.overlap(other)
    }

    fn probe(&self, seed: &Digest) -> Digest {
        let state = self.checkpoint();
        let (bytes, pieces) = PROBE;
        let mut random = crate::random::Random::of(&[u64::from_le_bytes(first_bytes(seed))]);
        let starts: Vec<usize> = (0..pieces).map(|_| random.index(state.len() / bytes) * bytes).collect();
        let mut parts: Vec<&[u8]> = vec![&seed.0];
        parts.extend(starts.iter().map(|start| &state[*start..*start + bytes]));
        Digest::derive("pactum sim 1 probe", &parts)
    }

    fn judge(&mut self, job: &JudgeJob, update: &ToyUpdate, among: &[&ToyUpdate]) -> Result<Evidence, BoxError> {
        let mut stepped = self.theta.clone();
        let scoring = self.hparams.scoring;
        // The outer step scales a giant down, so a giant must not be judged at full size.
        let clip = clip(update, median_norm(among));
        update.add_to(&mut stepped, -(scoring.step_factor * self.hparams.outer.rate * clip));
        let assigned = Source::assigned(&job.assigned, job.uid.0);
        let unassigned = Source::unassigned(&job.assigned, &job.draw);
        let trained = u64::from(self.hparams.samples());
        let mut random = crate::random::Random::of(&[u64::from_le_bytes(first_bytes(&job.draw)), job.uid.0.into()]);
        let drawn: Vec<u64> = (0..scoring.sequences).map(|_| random.below(trained)).collect();
        let fresh: Vec<u64> = (0..u64::from(scoring.sequences)).collect();
        Ok(Evidence {
            assigned: self.pairs(&stepped, assigned, &drawn),
            unassigned: self.pairs(&stepped, unassigned, &fresh),
        })
    }

    fn apply(&mut self, updates: &[(f32, &ToyUpdate)], own: Own, _next: Window) -> Result<Vec<usize>, BoxError> {
        let step = self.aggregate(updates);
        let finite = step.iter().all(|value| value.is_finite());
        if finite {
            let rate = self.hparams.outer.rate;
            self.theta.iter_mut().zip(&step).for_each(|(value, step)| *value -= rate * step);
        }
        match (own, self.pending.take()) {
            (Own::Included, Some(pending)) => self.feedback = pending.residual,
            (Own::LeftOut, Some(pending)) => self.feedback = pending.whole,
            (Own::Nothing, _) | (_, None) => {}
        }
        self.trained = None;
        Ok(if finite { Vec::new() } else { vec![0] })
    }

    fn heldout_loss(&mut self) -> Result<f32, BoxError> {
        let samples: Vec<u64> = (0..HELD_OUT_SAMPLES).collect();
        let losses = self.losses(&self.theta, Source::held_out(), &samples);
        #[expect(clippy::cast_precision_loss, reason = "the samples are few")]
        let count = HELD_OUT_SAMPLES as f32;
        Ok(losses.iter().sum::<f32>() / count)
    }

    fn state_digest(&self) -> Digest {
        Digest::of(&self.checkpoint())
    }

    fn checkpoint(&self) -> Vec<u8> {
        write(&self.theta).collect()
    }

    fn checkpoint_bytes(&self) -> u64 {
        (DIMENSION * 4) as u64
    }

    fn adopt(&mut self, _window: Window, checkpoint: &[u8]) -> Result<(), BoxError> {
        self.theta = read("checkpoint", checkpoint, DIMENSION)?;
        (self.pending, self.trained) = (None, None);
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, BoxError> {
        Ok(Box::new(self.saved()))
    }
}

/// The lower median of the norms: the largest of the smaller half.
fn median_norm(updates: &[&ToyUpdate]) -> f64 {
    let mut norms: Vec<f64> = updates.iter().map(|update| update.norm()).collect();
    norms.sort_by(f64::total_cmp);
    norms.get(norms.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

/// What brings an update down to the norm `most`; never above 1.
fn clip(update: &ToyUpdate, most: f64) -> f32 {
    let norm = update.norm();
    #[expect(clippy::cast_possible_truncation, reason = "at most 1, so only rounded")]
    let clip = if norm > most { (most / norm) as f32 } else { 1.0 };
    clip
}

fn write(values: &[f32]) -> impl Iterator<Item = u8> {
    values.iter().flat_map(|value| value.to_le_bytes())
}

fn read(what: &'static str, bytes: &[u8], count: usize) -> Result<Vec<f32>, StateError> {
    let error = StateError { what, bytes: bytes.len(), expected: count * 4 };
    if bytes.len() != count * 4 {
        return Err(error);
    }
    let values: Vec<f32> = bytes.chunks_exact(4).map(|v| f32::from_le_bytes([v[0], v[1], v[2], v[3]])).collect();
    if values.iter().all(|value| value.is_finite()) { Ok(values) } else { Err(error) }
}

fn first_bytes(digest: &Digest) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.0[..8]);
    bytes
}
