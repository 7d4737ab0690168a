use crate::{LearnerConfig, LearnerError};
use pactum_compress::{CodecError, Compressor, Layout, Limits, SparseUpdate, decode, payload_bytes_max};
use pactum_model::{
    AdamW, Engine, GenerateError, GenerateOptions, ParameterSpec, generate, initial_parameters, state_digest,
};

/// The parameters of one node and what happens to them in a window.
///
/// *Committed* state (parameters, optimizer, error feedback, window) changes only in [`Learner::apply`],
/// [`Learner::skip`], [`Learner::commit_alone`] and [`Learner::adopt`]. Training, compressing and judging work on copies,
/// so that a crash loses at most the open window.
pub struct Learner {
    pub(crate) config: LearnerConfig,
    pub(crate) layout: Layout,
    pub(crate) limits: Limits,
    pub(crate) compressor: Compressor,
    pub(crate) engine: Engine,
    pub(crate) committed: Committed,
    pub(crate) working: Working,
    /// The payload of the open window, once it is made.
    pub(crate) pending: Option<Pending>,
    /// Losses per sequence at the committed parameters, by digest of the batch; of the open window only.
    pub(crate) base_losses: Vec<([u8; 32], Vec<f32>)>,
}

pub(crate) struct Committed {
    pub(crate) theta: Vec<f32>,
    pub(crate) optimizer: AdamW,
    /// E, the part of earlier differences that no payload carried.
    pub(crate) feedback: Vec<f32>,
    pub(crate) window: u64,
}

/// The open window's copy. `theta` holds something only after the first step.
pub(crate) struct Working {
    pub(crate) theta: Vec<f32>,
    pub(crate) optimizer: AdamW,
    pub(crate) gradient: Vec<f32>,
    /// Steps made in this window.
    pub(crate) steps: u32,
}

pub(crate) struct Pending {
    /// E' = decay * E + (committed - working).
    pub(crate) accumulated: Vec<f32>,
    pub(crate) payload: Vec<u8>,
    pub(crate) update: SparseUpdate,
}

impl Learner {
    /// A learner before window 0, with the parameters that `seed` chooses: the same bits on every machine.
    ///
    /// # Errors
    /// If a setting is out of range or the parts do not fit together.
    pub fn new(config: LearnerConfig, seed: u64) -> Result<Self, LearnerError> {
        config.validate()?;
        config.model.validate().map_err(pactum_model::EngineError::from)?;
        let theta = initial_parameters(&config.model, seed);
        Self::with_parameters(config, theta)
    }

    /// `theta` must have the model's length, and the configuration's ranges be checked.
    pub(crate) fn with_parameters(config: LearnerConfig, theta: Vec<f32>) -> Result<Self, LearnerError> {
        let specs = config.model.parameters();
        let layout = layout_of(&config, &specs)?;
        let settings = config.compression.settings;
        let optimizer = AdamW::new(config.inner.optimizer, &specs);
        let count = theta.len();
        Ok(Self {
            compressor: Compressor::new(layout.clone(), settings)?,
            engine: Engine::new(&config.model, config.rows_max(), config.threads)?,
            limits: Limits::new(settings),
            committed: Committed { theta, optimizer: optimizer.clone(), feedback: vec![0.0; count], window: 0 },
            working: Working { theta: Vec::new(), optimizer, gradient: Vec::new(), steps: 0 },
            pending: None,
            base_losses: Vec::new(),
            config,
            layout,
        })
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &LearnerConfig {
        &self.config
    }

    /// The open window: the number of windows that were committed.
    pub fn window(&self) -> u64 {
        self.committed.window
    }

    /// The committed parameters, one flat vector.
    pub fn parameters(&self) -> &[f32] {
        &self.committed.theta
    }

    /// BLAKE3 of the committed parameters as little-endian bytes.
    pub fn state_digest(&self) -> [u8; 32] {
        state_digest(&self.committed.theta)
    }

    /// The committed error feedback, in the order of the parameters.
    pub fn feedback(&self) -> &[f32] {
        &self.committed.feedback
    }

    /// Inner steps that the committed optimizer has made.
    pub fn optimizer_steps(&self) -> u64 {
        self.committed.optimizer.steps()
    }

    /// How the parameters are cut into chunks.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Length of the longest payload that a peer of this run can send, in bytes.
    pub fn payload_bytes_max(&self) -> usize {
        payload_bytes_max(&self.layout, &self.config.compression.settings)
    }

    /// Decodes a peer's payload, checking everything.
    ///
    /// # Errors
    /// If the bytes are not exactly one payload for this model and these settings.
    pub fn check(&self, payload: &[u8]) -> Result<SparseUpdate, CodecError> {
        decode(payload, &self.layout, &self.limits)
    }

    /// Continues `prompt` with the committed parameters; returns what [`pactum_model::generate`] does.
    ///
    /// # Errors
    /// If the prompt is empty or does not fit the model.
    pub fn generate(&mut self, prompt: &[u32], options: &GenerateOptions) -> Result<Vec<u32>, GenerateError> {
        generate(&mut self.engine, &self.committed.theta, prompt, *options)
    }

    /// Closes the open window: what the copies hold beyond this is void.
    pub(crate) fn close_window(&mut self) {
        self.committed.window = self.committed.window.saturating_add(1);
        self.reset_window();
    }

    /// Forgets everything about the open window.
    pub(crate) fn reset_window(&mut self) {
        self.working.steps = 0;
        self.working.optimizer.copy_from(&self.committed.optimizer);
        self.pending = None;
        self.base_losses.clear();
    }
}

pub(crate) fn layout_of(config: &LearnerConfig, specs: &[ParameterSpec]) -> Result<Layout, LearnerError> {
    let shapes = specs.iter().map(|spec| spec.shape.clone());
    Ok(Layout::new(config.compression.edge, shapes)?)
}

impl std::fmt::Debug for Learner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parameters = self.committed.theta.len();
        f.debug_struct("Learner").field("window", &self.window()).field("parameters", &parameters).finish()
    }
}

#[cfg(test)]
pub(crate) mod tests;
