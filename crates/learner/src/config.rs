use pactum_compress::{LayoutError, Mean, Quantiser, Settings, SettingsError};
use pactum_model::{AdamWConfig, EngineError, ModelConfig, RateSchedule};

/// Everything that decides how a learner learns. Peers of one run have the same, up to `threads`.
///
/// `LearnerConfig::default()` is a byte-level model of about a million parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnerConfig {
    /// The model.
    pub model: ModelConfig,
    /// The steps inside a window.
    pub inner: InnerConfig,
    /// The step between windows.
    pub outer: OuterConfig,
    /// What becomes of the difference.
    pub compression: CompressionConfig,
    /// Threads of the training step; the results do not depend on it.
    pub threads: usize,
}

/// The steps inside a window.
#[derive(Clone, Debug, PartialEq)]
pub struct InnerConfig {
    /// Optimizer steps in a full window. The learning rate of a step is that of its place in the run,
    /// `window * steps + step`, so that a peer that joins late trains at the same rate as the others.
    pub steps: u32,
    /// Sequences in one step.
    pub batch: usize,
    /// AdamW and the clipping of the gradient.
    pub optimizer: AdamWConfig,
    /// The learning rate over the run.
    pub rate: RateSchedule,
}

/// The step between windows: `theta -= rate * G`.
#[derive(Clone, Debug, PartialEq)]
pub struct OuterConfig {
    /// The outer learning rate.
    pub rate: f32,
    /// By what the sum of the peers' updates is divided.
    pub mean: Mean,
    /// Windows that pass before a window's updates are applied, 0 or 1. With 1, those of window w are applied at the end of
    /// window w + 1, so that they can be gathered while that window trains.
    pub apply_delay: u8,
}

/// Compression with error feedback.
#[derive(Clone, Debug, PartialEq)]
pub struct CompressionConfig {
    /// Edge of the chunks that matrices are cut into.
    pub edge: usize,
    /// Values kept of a chunk, and their form.
    pub settings: Settings,
    /// Decay of the error feedback, from 0 to 1.
    pub decay: f32,
}

impl Default for LearnerConfig {
    fn default() -> Self {
        Self {
            model: ModelConfig::default(),
            inner: InnerConfig::default(),
            outer: OuterConfig::default(),
            compression: CompressionConfig::default(),
            threads: 1,
        }
    }
}

impl Default for InnerConfig {
    /// 20 steps of 12 sequences; AdamW at 3e-3 after 20 steps of warm-up, over 2000 steps down to a tenth.
    fn default() -> Self {
        let rate = RateSchedule::Cosine { peak: 3e-3, warmup: 20, total: 2000, floor: 0.1 };
        Self { steps: 20, batch: 12, optimizer: AdamWConfig::default(), rate }
    }
}

impl Default for OuterConfig {
    /// Rate 1, mean over contributors, no delay.
    fn default() -> Self {
        Self { rate: 1.0, mean: Mean::Contributors, apply_delay: 0 }
    }
}

impl Default for CompressionConfig {
    /// 64 of 4096 values, two levels, decay 0.95.
    fn default() -> Self {
        Self { edge: 64, settings: Settings::new(64, Quantiser::TwoLevels), decay: 0.95 }
    }
}

impl LearnerConfig {
    pub(crate) fn validate(&self) -> Result<(), LearnerError> {
        let out_of_range = |reason| Err(LearnerError::OutOfRange { reason });
        let Self { inner, outer, compression, threads, .. } = self;
        if inner.steps == 0 || inner.batch == 0 {
            return out_of_range("inner steps and batch must be at least 1");
        }
        if !(outer.rate.is_finite() && outer.rate >= 0.0) {
            return out_of_range("the outer rate must be finite and not negative");
        }
        if outer.apply_delay > 1 {
            return out_of_range("the apply delay must be 0 or 1");
        }
        if !(0.0..=1.0).contains(&compression.decay) {
            return out_of_range("the decay of the error feedback must lie between 0 and 1");
        }
        if *threads == 0 {
            return out_of_range("there must be at least 1 thread");
        }
        let optimizer = &inner.optimizer;
        let decays = [optimizer.beta1, optimizer.beta2];
        if !decays.iter().all(|beta| (0.0..1.0).contains(beta)) {
            return out_of_range("the optimizer's betas must be at least 0 and below 1");
        }
        let positive = [optimizer.eps, optimizer.clip, inner.rate.peak()];
        let finite = [optimizer.eps, inner.rate.peak()].iter().all(|value| value.is_finite());
        if !finite || !positive.iter().all(|&value| value > 0.0) {
            return out_of_range("the inner rate, eps and clip must be positive");
        }
        Ok(())
    }

    /// Sequences that the engine works on at once: activations grow with it, and results depend on it in the last bits.
    pub fn rows_at_once(&self) -> usize {
        self.inner.batch.min((TOKENS_AT_ONCE / self.model.context.max(1)).max(1))
    }
}

const TOKENS_AT_ONCE: usize = 1 << 14;

/// Why there is no learner.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LearnerError {
    /// A setting is out of range.
    #[error("{reason}")]
    OutOfRange {
        /// Which one, and its range.
        reason: &'static str,
    },
    /// The model cannot be run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The model cannot be cut into chunks.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The compression does not fit the model.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}
