use crate::compute::Compute;
use crate::optimizer::{Away, Optimizer};
use crate::shelf::{Scratch, Shelf, Slot};
use crate::{LearnerConfig, LearnerError};
use pactum_compress::{CodecError, Compressor, Layout, Limits, SparseUpdate, decode, payload_bytes_max};
use pactum_model::{
    AdamW, Engine, GenerateError, GenerateOptions, ParameterSpec, StreamedAdamW, generate, initial_parameters,
    state_digest,
};
use std::io;
use std::sync::Arc;

/// The parameters of one node and what happens to them in a window.
///
/// *Committed* state (parameters, optimizer, error feedback, window) changes only in [`Learner::apply`],
/// [`Learner::skip`], [`Learner::commit_alone`] and [`Learner::adopt`]. Training, compressing and judging work on copies,
/// so that a crash loses at most the open window.
///
/// What a learner does not use takes no memory: one that never trains holds the parameters alone.
pub struct Learner {
    pub(crate) config: LearnerConfig,
    pub(crate) layout: Layout,
    pub(crate) limits: Limits,
    pub(crate) compressor: Compressor,
    pub(crate) compute: Compute,
    pub(crate) committed: Committed,
    pub(crate) working: Working,
    /// The payload of the open window, once it is made.
    pub(crate) pending: Option<Pending>,
    /// Losses per sequence at the committed parameters, by digest of the batch; of the open window only.
    pub(crate) base_losses: Vec<([u8; 32], Vec<f32>)>,
    /// Where moments and error feedback lie, if not in memory.
    pub(crate) shelf: Option<Arc<Shelf>>,
}

/// What is in `Arc` can be written to disk by another thread while the next window trains.
pub(crate) struct Committed {
    pub(crate) theta: Arc<Vec<f32>>,
    /// `None` before the first step.
    pub(crate) optimizer: Option<Arc<Optimizer>>,
    /// Inner steps that the optimizer has made.
    pub(crate) steps: u64,
    /// E, the part of earlier differences that no payload carried.
    pub(crate) feedback: Held,
    pub(crate) window: u64,
    /// With a delay: this node's own payload of the window before, whose updates are not applied yet.
    pub(crate) sent: Option<Arc<Sent>>,
    /// With a delay: the share of an own payload that stood in the aggregate which was applied last; 1 before the first.
    pub(crate) share: f32,
}

/// A committed vector that is not always in memory.
pub(crate) enum Held {
    /// Zero everywhere.
    Zero,
    Here(Arc<Vec<f32>>),
    /// On the shelf, while a window trains.
    Away(Arc<Slot>),
}

/// A payload on its way.
pub(crate) struct Sent {
    pub(crate) payload: Vec<u8>,
    pub(crate) update: SparseUpdate,
}

/// The open window's copy. `theta` and `gradient` hold something only after the first step.
#[derive(Default)]
pub(crate) struct Working {
    pub(crate) theta: Vec<f32>,
    /// Without a step in this window an old one, kept for its memory.
    pub(crate) optimizer: Option<Optimizer>,
    /// After the steps, if E is on the shelf: E, which becomes E'.
    pub(crate) gradient: Vec<f32>,
    /// Steps made in this window.
    pub(crate) steps: u32,
}

pub(crate) struct Pending {
    /// E' = decay * E + (start - working).
    pub(crate) accumulated: Arc<Vec<f32>>,
    /// The optimizer after the window's steps.
    pub(crate) optimizer: Arc<Optimizer>,
    pub(crate) sent: Arc<Sent>,
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
        let layout = layout_of(&config, &config.model.parameters())?;
        let settings = config.compression.settings;
        Ok(Self {
            compressor: Compressor::new(layout.clone(), settings)?,
            compute: Compute {
                engine: Engine::new(&config.model, config.rows_at_once(), config.threads)?,
                accelerator: None,
            },
            limits: Limits::new(settings),
            committed: Committed {
                theta: Arc::new(theta),
                optimizer: None,
                steps: 0,
                feedback: Held::Zero,
                window: 0,
                sent: None,
                share: 1.0,
            },
            working: Working::default(),
            pending: None,
            base_losses: Vec::new(),
            shelf: None,
            config,
            layout,
        })
    }

    /// Keeps the optimizer's moments in `scratch`, through which they pass piece by piece in every step, and the error feedback
    /// while a window trains. Memory then holds three vectors of the parameters' length and the engine's buffers, and
    /// `scratch` grows to five, or to seven where a window is trained further after its payload was made. Nothing else
    /// changes, no bit either.
    ///
    /// With an [accelerator](Learner::accelerated), moments come into memory when they go to the device or come from it.
    ///
    /// # Errors
    /// If the moments that it has already cannot be written.
    pub fn offloading(mut self, scratch: Box<dyn Scratch>) -> io::Result<Self> {
        self.shelf = Some(Shelf::new(scratch, self.committed.theta.len()));
        if let Some(committed) = self.committed.optimizer.take() {
            self.committed.optimizer = Some(Arc::new(self.laid_down(&committed)?));
        }
        if let Some(working) = self.working.optimizer.take().filter(|_| self.working.steps > 0) {
            self.working.optimizer = Some(self.laid_down(&working)?);
        }
        if let Some(mut pending) = self.pending.take() {
            pending.optimizer = Arc::new(self.laid_down(&pending.optimizer)?);
            self.pending = Some(pending);
        }
        Ok(self)
    }

    /// The same state on the shelf.
    fn laid_down(&self, optimizer: &Optimizer) -> io::Result<Optimizer> {
        match (optimizer, self.fresh_optimizer()) {
            (Optimizer::Here(optimizer), Optimizer::Away(mut away)) => {
                away.keep(optimizer)?;
                Ok(Optimizer::Away(away))
            }
            _ => Ok(optimizer.clone()),
        }
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

    /// The committed error feedback, in the order of the parameters. Empty as long as it is zero everywhere, and while it is
    /// [offloaded](Learner::offloading).
    pub fn feedback(&self) -> &[f32] {
        match &self.committed.feedback {
            Held::Here(feedback) => feedback,
            Held::Zero | Held::Away(_) => &[],
        }
    }

    /// Inner steps that the committed optimizer has made.
    pub fn optimizer_steps(&self) -> u64 {
        self.committed.steps
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
        generate(&mut self.compute.engine, &self.committed.theta, prompt, *options)
    }

    /// Forgets everything about the open window.
    pub(crate) fn reset_window(&mut self) -> io::Result<()> {
        if let Some(pending) = self.pending.take() {
            self.working.optimizer = Arc::into_inner(pending.optimizer);
        }
        self.recall()?;
        self.working.steps = 0;
        self.base_losses.clear();
        Ok(())
    }

    /// Brings back the error feedback, into the gradient's memory.
    fn recall(&mut self) -> io::Result<()> {
        if let Held::Away(slot) = &self.committed.feedback {
            let feedback = slot.load(std::mem::take(&mut self.working.gradient))?;
            self.committed.feedback = Held::Here(Arc::new(feedback));
        }
        Ok(())
    }

    /// An optimizer before the first step.
    pub(crate) fn fresh_optimizer(&self) -> Optimizer {
        let Some(shelf) = &self.shelf else { return Optimizer::Here(self.fresh_in_memory()) };
        let (settings, specs) = (self.config.inner.optimizer, self.config.model.parameters());
        Optimizer::Away(Away::fresh(StreamedAdamW::new(settings, &specs).on_threads_of(&self.compute.engine), shelf))
    }

    pub(crate) fn fresh_in_memory(&self) -> AdamW {
        AdamW::new(self.config.inner.optimizer, &self.config.model.parameters()).on_threads_of(&self.compute.engine)
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
