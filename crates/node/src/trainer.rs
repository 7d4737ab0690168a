//! The learner and its data as the round sees them.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pactum_data::{Assignment, AssignmentError, Dataset, SampleError, draw_samples};
use pactum_learner::{
    Accelerator, AdamWConfig, CodecError, CompressionConfig, InnerConfig, Learner as Core, LearnerConfig, LearnerError,
    Mean, ModelConfig, OuterConfig, Quantiser, RateSchedule, RestoreError, Scratch, Settings, SparseUpdate, Weighted,
};
use pactum_protocol::{Digest, Hparams, Malformation, ModelShape, Window};
use pactum_round::{BoxError, Evidence, InnerReport, JudgeJob, Learner, Own, Role, Snapshot, TrainJob};
use serde::{Deserialize, Serialize};

use crate::journal::{DiskJournal, JournalError, Recovered};

/// How many held-out sequences a validator measures the loss on.
const HELDOUT_SEQUENCES: usize = 32;

/// Why no learner can be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainerError {
    /// The settings describe no learner.
    #[error(transparent)]
    Learner(#[from] LearnerError),
    /// The snapshot is not of this run.
    #[error("the snapshot of window {window} cannot be used: {source}; move the journal away and the node joins anew")]
    Snapshot {
        /// The window it was taken at.
        window: Window,
        /// What is wrong with it.
        source: RestoreError,
    },
    /// The snapshot holds other parameters than the journal says.
    #[error("the snapshot of window {0} is not what the journal says; move the journal away and the node joins anew")]
    Mismatch(Window),
    /// The samples cannot be assigned.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    /// The held-out samples cannot be read.
    #[error(transparent)]
    Samples(#[from] SampleError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Nothing was committed yet.
    #[error("no window was committed yet")]
    Nothing,
}

/// What the learner alone knows, told across the wall between the round and the world.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Mutex<Reading>>);

/// What a [`Meter`] shows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Seconds spent training since the last reading.
    pub train_seconds: f64,
    /// What the node carries from window to window.
    pub memory: Memory,
}

/// What a miner carries from window to window besides the parameters, in two numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Inner steps that the optimizer's moments come from.
    pub inner_steps: u64,
    /// The L2 norm of the error feedback.
    pub feedback_norm: f64,
}

impl Meter {
    /// What there is to know; the seconds begin anew.
    #[must_use]
    pub fn read(&self) -> Reading {
        let mut reading = self.reading();
        let now = *reading;
        reading.train_seconds = 0.0;
        now
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The real learner over a prepared dataset.
pub struct Trainer {
    core: Core,
    dataset: Dataset,
    assignment: Assignment,
    heldout: Vec<u32>,
    /// The step along a contribution at which it is judged.
    step: f32,
    /// Sequences in each of the two sets that a contribution is judged on.
    sequences: usize,
    keep_going: Arc<dyn Fn() -> bool + Send + Sync>,
    meter: Meter,
    role: Role,
}

impl Trainer {
    /// A learner at the start of the run; it trains as long as `keep_going` says so.
    ///
    /// # Errors
    /// If the settings describe no learner, or the dataset is too small for them.
    pub fn new(
        hparams: &Hparams,
        dataset: Dataset,
        role: Role,
        threads: usize,
        keep_going: Arc<dyn Fn() -> bool + Send + Sync>,
    ) -> Result<Self, TrainerError> {
        let config = LearnerConfig { threads, ..learner_config(hparams) };
        let context = config.model.context;
        let per_slot = hparams.inner.steps.saturating_mul(hparams.inner.batch);
        Ok(Self {
            assignment: Assignment::new(dataset.samples(context), hparams.data.slots, per_slot)?,
            heldout: dataset.heldout(context, HELDOUT_SEQUENCES)?,
            step: hparams.scoring.step_factor * hparams.outer.rate,
            sequences: usize::try_from(hparams.scoring.sequences).unwrap_or(usize::MAX),
            core: Core::new(config, hparams.seed)?,
            meter: Meter::default(),
            dataset,
            keep_going,
            role,
        })
    }

    /// Where to read what this learner does.
    #[must_use]
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// What learns.
    #[must_use]
    pub fn learner(&self) -> &Core {
        &self.core
    }

    /// Parameters of the model.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.core.parameters().len() as u64
    }

    /// The longest payload that a peer of this run can send, in bytes.
    #[must_use]
    pub fn payload_bytes_max(&self) -> u64 {
        self.core.payload_bytes_max() as u64
    }

    /// Sequences in a window with all inner steps.
    #[must_use]
    pub fn samples_in_full(&self) -> u32 {
        let inner = &self.core.config().inner;
        u32::try_from(inner.batch).unwrap_or(u32::MAX).saturating_mul(inner.steps)
    }

    /// Keeps the optimizer's moments in `scratch`; see [`pactum_learner::Learner::offloading`].
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn offloading(self, scratch: File) -> io::Result<Self> {
        Ok(Self { core: self.core.offloading(Box::new(scratch))?, ..self })
    }

    /// Trains and judges on a device; see [`pactum_learner::Learner::accelerated`]. Nothing that nodes agree on depends on it.
    ///
    /// # Errors
    /// If the accelerator was made for another model.
    pub fn accelerated(self, accelerator: Box<dyn Accelerator>) -> Result<Self, TrainerError> {
        Ok(Self { core: self.core.accelerated(accelerator)?, ..self })
    }

    /// Goes on where the node stopped, and with `scratch` keeps the optimizer's moments there; see
    /// [`pactum_learner::Learner::offloading`].
    ///
    /// # Errors
    /// If the snapshot is damaged, of another model, or not what the journal says.
    pub fn restore(&mut self, recovered: &Recovered, scratch: Option<File>) -> Result<(), TrainerError> {
        let (window, entry) = (recovered.entry.next, &recovered.entry);
        let core = restored(self.core.config().clone(), recovered, scratch)?;
        if core.window() != window.0 || Digest(core.state_digest()) != entry.state {
            return Err(TrainerError::Mismatch(window));
        }
        self.core = core;
        self.measure_memory();
        Ok(())
    }

    fn measure_memory(&self) {
        let squares = self.core.feedback().iter().map(|value| f64::from(*value) * f64::from(*value));
        let memory = Memory { inner_steps: self.core.optimizer_steps(), feedback_norm: squares.sum::<f64>().sqrt() };
        self.meter.reading().memory = memory;
    }

    fn batch(&self, samples: &[u64]) -> Result<Vec<u32>, SampleError> {
        self.dataset.batch(self.core.config().model.context, samples)
    }

    /// Losses before and after a contribution on `samples`.
    fn losses(
        &mut self,
        samples: &[u64],
        update: &SparseUpdate,
        among: &[&SparseUpdate],
    ) -> Result<Vec<(f32, f32)>, BoxError> {
        if samples.is_empty() {
            return Ok(Vec::new());
        }
        let batch = self.batch(samples)?;
        let pairs = self.core.judge(update, among, self.step, &batch)?;
        Ok(pairs.into_iter().map(|pair| (pair.before, pair.after)).collect())
    }
}

/// A learner's state as the round hands it on.
struct Captured(pactum_learner::Snapshot);

impl Snapshot for Captured {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.0.write(out)
    }
}

impl Learner for Trainer {
    type Update = SparseUpdate;

    fn train(&mut self, job: &TrainJob, keep_going: &mut dyn FnMut() -> bool) -> Result<InnerReport, BoxError> {
        let began = Instant::now();
        let samples = self.assignment.of(job.window.0, u32::from(job.uid.0), &job.seed.0);
        let inner = &self.core.config().inner;
        let (rows, steps, context) = (inner.batch, inner.steps, self.core.config().model.context);
        let dataset = &self.dataset;
        let mut failed = None;
        let mut batches = |step: u32| {
            let part = samples.chunks(rows).nth(usize::try_from(step).unwrap_or(usize::MAX))?;
            dataset.batch(context, part).map_err(|error| failed = Some(error)).ok()
        };
        let wanted = &self.keep_going;
        let made = self.core.inner_steps(&mut batches, steps, &mut || wanted() && keep_going())?;
        self.meter.reading().train_seconds += began.elapsed().as_secs_f64();
        if let Some(error) = failed {
            return Err(error.into());
        }
        let samples = u32::try_from(made.samples).unwrap_or(u32::MAX);
        Ok(InnerReport { steps: made.steps, samples, loss: made.loss })
    }

    fn payload(&mut self) -> Option<Vec<u8>> {
        // After a restart this is the one that was made before.
        self.core.compress()
    }

    fn decode(&self, payload: &[u8]) -> Result<SparseUpdate, Malformation> {
        self.core.check(payload).map_err(|error| malformation(&error))
    }

    fn overlap(&self, one: &SparseUpdate, other: &SparseUpdate) -> f64 {
        one.overlap(other)
    }

    fn probe(&self, seed: &Digest) -> Digest {
        Digest(self.core.probe(&seed.0))
    }

    fn judge(&mut self, job: &JudgeJob, update: &SparseUpdate, among: &[&SparseUpdate]) -> Result<Evidence, BoxError> {
        let all = self.assignment.of(job.window.0, u32::from(job.uid.0), &job.assigned.0);
        let assigned = draw_samples(&all, &job.draw.0, self.sequences);
        let unassigned = self.assignment.draw_unassigned(job.window.0, &job.draw.0, self.sequences);
        let assigned = self.losses(&assigned, update, among)?;
        Ok(Evidence { assigned, unassigned: self.losses(&unassigned, update, among)? })
    }

    fn apply(&mut self, updates: &[(f32, &SparseUpdate)], own: Own, _next: Window) -> Result<Vec<usize>, BoxError> {
        let weighted: Vec<_> = updates.iter().map(|(weight, update)| Weighted { update, weight: *weight }).collect();
        let included = match own {
            Own::Nothing => None,
            Own::Included => Some(true),
            Own::LeftOut => Some(false),
        };
        let skipped = self.core.apply(&weighted, included)?.outer.skipped;
        self.measure_memory();
        Ok(skipped)
    }

    fn heldout_loss(&mut self) -> Result<f32, BoxError> {
        Ok(self.core.heldout_loss(&self.heldout)?)
    }

    fn state_digest(&self) -> Digest {
        Digest(self.core.state_digest())
    }

    fn checkpoint(&self) -> Vec<u8> {
        self.core.checkpoint()
    }

    fn checkpoint_bytes(&self) -> u64 {
        4 * self.parameters()
    }

    fn adopt(&mut self, window: Window, checkpoint: &[u8]) -> Result<(), BoxError> {
        let expected = Digest::of(checkpoint);
        self.core.adopt(window.0, checkpoint, &expected.0)?;
        self.measure_memory();
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, BoxError> {
        Ok(Box::new(Captured(self.core.capture(self.role == Role::Miner))))
    }
}

/// The model of a run.
#[must_use]
pub fn model_config(shape: &ModelShape) -> ModelConfig {
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    ModelConfig {
        vocab: size(shape.vocab),
        width: size(shape.width),
        layers: size(shape.layers),
        heads: size(shape.heads),
        kv_heads: size(shape.kv_heads),
        ffn: size(shape.ffn),
        context: size(shape.context),
        rope_base: shape.rope_base,
        norm_eps: shape.norm_eps,
        tied: shape.tied,
        ..ModelConfig::default()
    }
}

/// The learner of a run, on one thread.
#[must_use]
pub fn learner_config(hparams: &Hparams) -> LearnerConfig {
    let Hparams { inner, outer, compression, .. } = hparams;
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let optimizer = AdamWConfig {
        beta1: inner.beta1,
        beta2: inner.beta2,
        eps: inner.eps,
        weight_decay: inner.weight_decay,
        clip: inner.clip,
    };
    let rate = RateSchedule::Cosine {
        peak: inner.rate,
        warmup: inner.warmup.into(),
        total: inner.total.into(),
        floor: inner.floor,
    };
    let mean = match outer.mean {
        pactum_protocol::Mean::Peers => Mean::Peers,
        pactum_protocol::Mean::Contributors => Mean::Contributors,
    };
    let quantiser = match compression.quantiser {
        pactum_protocol::Quantiser::SignScale => Quantiser::SignScale,
        pactum_protocol::Quantiser::TwoLevels => Quantiser::TwoLevels,
    };
    LearnerConfig {
        model: model_config(&hparams.model),
        inner: InnerConfig { steps: inner.steps, batch: size(inner.batch), optimizer, rate },
        outer: OuterConfig { rate: outer.rate, mean, apply_delay: 0 },
        compression: CompressionConfig {
            edge: size(compression.edge),
            settings: Settings::new(size(compression.top_k), quantiser),
            decay: compression.decay,
        },
        threads: 1,
    }
}

/// The parameters that the node in `folder` committed last. The node must not be running.
///
/// # Errors
/// If the folder holds no journal of this run.
pub fn latest_parameters(folder: &Path, hparams: &Hparams) -> Result<Vec<f32>, TrainerError> {
    let recovered = DiskJournal::open(&folder.join("journal"))?.recover()?.ok_or(TrainerError::Nothing)?;
    Ok(restored(learner_config(hparams), &recovered, None)?.parameters().to_vec())
}

fn restored(config: LearnerConfig, recovered: &Recovered, scratch: Option<File>) -> Result<Core, TrainerError> {
    let scratch = scratch.map(|file| Box::new(file) as Box<dyn Scratch>);
    let read = || Core::restore_from(config, &mut File::open(&recovered.snapshot)?, scratch);
    read().map_err(|source| TrainerError::Snapshot { window: recovered.entry.next, source })
}

fn malformation(error: &CodecError) -> Malformation {
    match error {
        CodecError::Truncated(_) => Malformation::Truncated,
        CodecError::Layout => Malformation::Layout,
        CodecError::Version(_) | CodecError::Settings => Malformation::Header,
        CodecError::TooLong { .. } | CodecError::SectionEnd { .. } => Malformation::Trailing,
        CodecError::Count { .. } => Malformation::Count,
        CodecError::Index { .. } => Malformation::Index,
        CodecError::Scale { .. } => Malformation::Scale,
        _ => Malformation::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pactum_protocol::PRESETS;

    #[test]
    fn a_model_called_alike_has_one_shape_in_both_halves() {
        let mut shared = 0;
        for name in PRESETS {
            let settings = model_config(&Hparams::preset(name).unwrap().model);
            if let Some(model) = ModelConfig::preset(name) {
                assert_eq!(model, settings, "{name}");
                shared += 1;
            }
        }
        assert_eq!(shared, 4, "tiny, mini, 150m and 1b");
    }
}
