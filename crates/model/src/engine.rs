//! The fast executor: explicit forward and backward passes over buffers that live as long as the engine.

mod block;
mod buffers;
mod head;
mod linear;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::config::{ConfigError, ModelConfig};
use crate::executor::{Executor, StepError, Tokens, check_length};
use crate::kernel::attention::Attention;
use crate::layout::Layout;
use crate::team::Team;
pub(crate) use buffers::values as buffer_values;
use buffers::{Buffers, Work};

/// Largest number of tokens in flight.
const TOKENS_MAX: usize = 1 << 28;

/// Explicit forward and backward passes, in f32, over preallocated buffers (the structure of llm.c).
///
/// A batch of more rows than `rows_max` is worked off in parts whose gradients are added up. For one `rows_max` the
/// results are bit-equal for any number of threads.
pub struct Engine {
    config: ModelConfig,
    layout: Layout,
    attention: Attention,
    team: Arc<Team>,
    rows_max: usize,
    recompute: bool,
    buffers: Buffers,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The configuration describes no model.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No rows at once, or too many.
    #[error("an engine for this context must take 1 to {max} rows at once, not {rows_max}")]
    Rows {
        /// Rows asked for.
        rows_max: usize,
        /// Rows allowed.
        max: usize,
    },
    /// The system gave no threads.
    #[error("cannot start the engine's threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// What a forward pass is for.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    /// The losses alone: one block's memory serves all.
    Losses,
    /// A backward pass follows.
    Train,
    /// Single tokens follow: keys and values are kept.
    Prompt,
    /// One token at this position after those kept.
    Token(usize),
}

/// What all passes over one part of a batch share.
struct Pass<'a> {
    config: &'a ModelConfig,
    layout: &'a Layout,
    attention: &'a Attention,
    team: &'a Team,
    parameters: &'a [f32],
    /// Inputs in each row.
    length: usize,
    /// Inputs in all rows of the part.
    tokens: usize,
    /// Tokens that a row of what attention keeps has room for.
    room: usize,
    /// Where a single token comes after those that attention has kept; none for whole rows.
    position: Option<usize>,
}

impl Engine {
    /// An engine that holds at most `rows_max` sequences at once and works on `threads` threads; 1 makes no pool.
    ///
    /// Buffers are made at the first step that needs them.
    ///
    /// # Errors
    /// If the configuration is invalid, `rows_max` is zero or too large, or threads cannot be started.
    pub fn new(config: &ModelConfig, rows_max: usize, threads: usize) -> Result<Self, EngineError> {
        config.validate()?;
        let max = TOKENS_MAX / config.context;
        if rows_max == 0 || rows_max > max {
            return Err(EngineError::Rows { rows_max, max });
        }
        Ok(Self {
            layout: Layout::new(config),
            attention: Attention::new(config),
            team: Arc::new(Team::new(threads)?),
            buffers: Buffers::default(),
            config: config.clone(),
            rows_max,
            recompute: false,
        })
    }

    /// Keeps only each block's input for the backward pass and computes the rest of the block again there: about a
    /// third more work for the memory of a single block (Chen et al., arXiv:1604.06174). The bits stay the same.
    #[must_use]
    pub fn recomputing(mut self) -> Self {
        self.recompute = true;
        self
    }

    /// The model that this engine runs.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Sequences that it holds at once.
    pub fn rows_max(&self) -> usize {
        self.rows_max
    }

    pub(crate) fn team(&self) -> Arc<Team> {
        Arc::clone(&self.team)
    }

    /// Logits after the last of the given tokens, `[vocab]`; at most `context` tokens.
    ///
    /// # Errors
    /// If the tokens or the parameter vector do not fit the model.
    pub fn next_logits(&mut self, parameters: &[f32], ids: &[u32]) -> Result<Vec<f32>, StepError> {
        self.logits(parameters, ids, Mode::Losses)
    }

    /// As [`Engine::next_logits`], and remembers the tokens for [`Engine::extend`] until the engine does other work.
    pub(crate) fn begin(&mut self, parameters: &[f32], ids: &[u32]) -> Result<Vec<f32>, StepError> {
        self.logits(parameters, ids, Mode::Prompt)
    }

    /// Logits after one more token, at `position`, after those that [`Engine::begin`] and this function were given.
    pub(crate) fn extend(&mut self, parameters: &[f32], id: u32, position: usize) -> Result<Vec<f32>, StepError> {
        debug_assert!(position < self.config.context, "there is room for the token");
        self.logits(parameters, &[id], Mode::Token(position))
    }

    /// Each target's cross-entropy in nats and whether no other token was likelier, `[rows, columns - 1]` in row order.
    ///
    /// # Errors
    /// If the batch or the parameter vector does not fit the model.
    pub fn token_losses(&mut self, parameters: &[f32], batch: &Tokens<'_>) -> Result<(Vec<f32>, Vec<bool>), StepError> {
        self.check(parameters, batch)?;
        let (mut losses, mut likeliest) = (Vec::new(), Vec::new());
        self.on_team(|engine| {
            for part in batch.parts(engine.rows_max) {
                engine.forward(parameters, &part, Mode::Losses);
                let (pass, buffers) = engine.split(parameters, &part, Mode::Losses);
                pass.losses(&mut buffers.work, &part, Some(&mut likeliest));
                losses.extend_from_slice(&buffers.work.losses[..pass.tokens]);
            }
        });
        Ok((losses, likeliest))
    }

    fn logits(&mut self, parameters: &[f32], ids: &[u32], mode: Mode) -> Result<Vec<f32>, StepError> {
        // A target that is not used makes it a batch.
        let ids: Vec<u32> = ids.iter().copied().chain([0]).collect();
        let batch = Tokens { ids: &ids, rows: 1, columns: ids.len() };
        self.check(parameters, &batch)?;
        let mut logits = vec![0.0; self.config.vocab];
        self.on_team(|engine| {
            engine.forward(parameters, &batch, mode);
            let (pass, buffers) = engine.split(parameters, &batch, mode);
            pass.last_logits(&mut buffers.work, &mut logits);
        });
        Ok(logits)
    }

    fn check(&self, parameters: &[f32], batch: &Tokens<'_>) -> Result<(), StepError> {
        check_length("parameter vector", parameters.len(), self.config.count())?;
        batch.check(&self.config)
    }

    /// Runs a step with the team awake.
    fn on_team<R: Send>(&mut self, step: impl FnOnce(&mut Self) -> R + Send) -> R {
        let team = Arc::clone(&self.team);
        team.enter(|| step(self))
    }

    fn split<'a>(&'a mut self, parameters: &'a [f32], batch: &Tokens<'_>, mode: Mode) -> (Pass<'a>, &'a mut Buffers) {
        let length = batch.inputs();
        let (room, position) = match mode {
            Mode::Losses | Mode::Train => (length, None),
            Mode::Prompt => (self.config.context, None),
            Mode::Token(position) => (self.config.context, Some(position)),
        };
        let pass = Pass {
            config: &self.config,
            layout: &self.layout,
            attention: &self.attention,
            team: &self.team,
            parameters,
            length,
            tokens: batch.rows * length,
            room,
            position,
        };
        (pass, &mut self.buffers)
    }

    /// From token ids to the residual stream after the last block, normed for the head.
    fn forward(&mut self, parameters: &[f32], batch: &Tokens<'_>, mode: Mode) {
        let recompute = self.recompute && mode == Mode::Train;
        let single = mode == Mode::Losses || recompute;
        self.buffers.fit(&self.config, &self.attention, self.rows_max, !single);
        if mode == Mode::Train {
            self.buffers.train(&self.config, self.rows_max, recompute);
        }
        let (pass, buffers) = self.split(parameters, batch, mode);
        pass.embed(&mut buffers.work, batch);
        for (index, layout) in pass.layout.layers.iter().enumerate() {
            if recompute {
                let stream = &buffers.work.stream[..pass.tokens * pass.config.width];
                buffers.inputs[index][..stream.len()].copy_from_slice(stream);
            }
            let kept = &mut buffers.layers[if single { 0 } else { index }];
            pass.block(layout, &mut buffers.work, kept);
        }
        pass.last_norm(&mut buffers.work);
    }

    /// From the gradient by the residual stream after the last block to those by all parameters below.
    fn backward(&mut self, parameters: &[f32], batch: &Tokens<'_>, gradient: &mut [f32]) {
        let recompute = self.recompute;
        let (pass, buffers) = self.split(parameters, batch, Mode::Train);
        for (index, layout) in pass.layout.layers.iter().enumerate().rev() {
            let kept = &mut buffers.layers[if recompute { 0 } else { index }];
            if recompute && index + 1 < pass.layout.layers.len() {
                let size = pass.tokens * pass.config.width;
                buffers.work.stream[..size].copy_from_slice(&buffers.inputs[index][..size]);
                pass.block(layout, &mut buffers.work, kept);
            }
            pass.block_backward(layout, &mut buffers.work, kept, gradient);
        }
        pass.embed_backward(&buffers.work, batch, gradient);
    }
}

impl Executor for Engine {
    fn forward_losses(&mut self, parameters: &[f32], batch: &Tokens<'_>) -> Result<Vec<f32>, StepError> {
        self.check(parameters, batch)?;
        let mut means = Vec::with_capacity(batch.rows);
        self.on_team(|engine| {
            for part in batch.parts(engine.rows_max) {
                engine.forward(parameters, &part, Mode::Losses);
                let (pass, buffers) = engine.split(parameters, &part, Mode::Losses);
                pass.losses(&mut buffers.work, &part, None);
                let rows = buffers.work.losses[..pass.tokens].chunks_exact(pass.length);
                means.extend(rows.map(|row| (total(row) / row.len() as f64) as f32));
            }
        });
        Ok(means)
    }

    fn loss_and_gradient(
        &mut self,
        parameters: &[f32],
        batch: &Tokens<'_>,
        gradient: &mut [f32],
    ) -> Result<f32, StepError> {
        self.check(parameters, batch)?;
        check_length("gradient vector", gradient.len(), self.config.count())?;
        gradient.fill(0.0);
        let count = (batch.rows * batch.inputs()) as f64;
        let sum: f64 = self.on_team(|engine| {
            let mut sum = 0.0;
            for part in batch.parts(engine.rows_max) {
                engine.forward(parameters, &part, Mode::Train);
                let (pass, buffers) = engine.split(parameters, &part, Mode::Train);
                pass.head_backward(&mut buffers.work, &part, gradient, (1.0 / count) as f32);
                sum += total(&buffers.work.losses[..pass.tokens]);
                engine.backward(parameters, &part, gradient);
            }
            sum
        });
        Ok((sum / count) as f32)
    }
}

fn total(losses: &[f32]) -> f64 {
    losses.iter().map(|&loss| f64::from(loss)).sum()
}

impl Pass<'_> {
    fn embed(&self, work: &mut Work, batch: &Tokens<'_>) {
        let width = self.config.width;
        let table = &self.parameters[self.layout.embedding.clone()];
        let ids = batch.ids.chunks_exact(batch.columns).flat_map(|row| &row[..self.length]);
        for (out, &id) in work.stream.chunks_exact_mut(width).zip(ids) {
            out.copy_from_slice(&table[id as usize * width..][..width]);
        }
    }

    fn embed_backward(&self, work: &Work, batch: &Tokens<'_>, gradient: &mut [f32]) {
        let width = self.config.width;
        let table = &mut gradient[self.layout.embedding.clone()];
        let ids = batch.ids.chunks_exact(batch.columns).flat_map(|row| &row[..self.length]);
        for (slope, &id) in work.slope.chunks_exact(width).zip(ids) {
            let row = &mut table[id as usize * width..][..width];
            row.iter_mut().zip(slope).for_each(|(sum, &value)| *sum += value);
        }
    }
}
