//! The settings on which every node of a run must agree.

use crate::ids::{BlockNumber, Digest};
use crate::limits::Limits;
use crate::wire::{self, WireError};

mod check;
#[cfg(test)]
mod tests;

/// The longest name of a preset, in bytes.
pub const PRESET_BYTES_MAX: usize = 32;

/// The consensus settings of a run: the same bytes on every node, their digest in every header.
///
/// Begin with [`Hparams::preset`], set the seed and the dataset, and call [`Hparams::validate`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Hparams {
    /// The name of the preset that the settings began with, at most [`PRESET_BYTES_MAX`] bytes.
    pub preset: String,
    /// The seed of the initial parameters θ₀.
    pub seed: u64,
    /// The digest of the dataset's index.
    pub dataset: Digest,
    /// Windows and their deadlines.
    pub time: Time,
    /// The shape of the model.
    pub model: ModelShape,
    /// The inner optimizer.
    pub inner: Inner,
    /// The outer step.
    pub outer: Outer,
    /// What becomes of a pseudo-gradient before it is sent.
    pub compression: Compression,
    /// Who trains on what.
    pub data: DataRules,
    /// How contributions are judged.
    pub scoring: ScoringRules,
}

/// Windows and deadlines, in blocks of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Time {
    /// The first block of window 0.
    pub start: BlockNumber,
    /// Blocks in a window.
    pub window_blocks: u64,
    /// Offset of the block before which a header must have arrived.
    pub submit_by: u64,
    /// Offset of the last block whose attestations count.
    pub attest_by: u64,
    /// Offset of the block by which gathering ends.
    pub gather_by: u64,
    /// The time between two blocks, in milliseconds.
    pub block_millis: u64,
}

/// The shape of a Llama-style decoder.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct ModelShape {
    /// Tokens in the vocabulary.
    pub vocab: u32,
    /// Width of the residual stream.
    pub width: u32,
    /// Transformer blocks.
    pub layers: u32,
    /// Query heads; the width divided by this is the width of a head, which must be even.
    pub heads: u32,
    /// Key and value heads; divides `heads`.
    pub kv_heads: u32,
    /// Width of the feed-forward layer.
    pub ffn: u32,
    /// Tokens in a training sequence.
    pub context: u32,
    /// Base of the rotary position embedding.
    pub rope_base: f32,
    /// Epsilon of the root-mean-square norms.
    pub norm_eps: f32,
    /// Whether the output head shares the embedding's weights.
    pub tied: bool,
}

/// The inner optimizer: AdamW with a linear warm-up and a cosine.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Inner {
    /// Steps in a window (H).
    pub steps: u32,
    /// Sequences in a step.
    pub batch: u32,
    /// The highest learning rate.
    pub rate: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Epsilon of the denominator.
    pub eps: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// The largest global norm of a gradient.
    pub clip: f32,
    /// Steps of the warm-up.
    pub warmup: u32,
    /// Steps after which the cosine has reached its floor.
    pub total: u32,
    /// The lowest rate, as a fraction of `rate`.
    pub floor: f32,
}

/// The outer step: plain gradient descent on the mean pseudo-gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Outer {
    /// The outer learning rate α.
    pub rate: f32,
    /// What the sum of the contributions is divided by.
    pub mean: Mean,
}

/// What the sum of the contributions is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Mean {
    /// The number of peers.
    Peers,
    /// For each coordinate the number of peers that sent it.
    Contributors,
}

/// What becomes of a pseudo-gradient before it is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Compression {
    /// The largest edge of a chunk.
    pub edge: u32,
    /// Values kept of a full chunk.
    pub top_k: u32,
    /// The decay β of the error feedback.
    pub decay: f32,
    /// How the kept values are quantised.
    pub quantiser: Quantiser,
}

/// How the kept values of a chunk are quantised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Quantiser {
    /// A sign and one scale for each chunk.
    SignScale,
    /// A sign and one of two magnitudes, with a scale for each chunk.
    TwoLevels,
}

/// Who trains on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct DataRules {
    /// How many uids get samples: those below this number. Each gets `inner.steps * inner.batch` a window.
    pub slots: u32,
}

/// How contributions are judged.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct ScoringRules {
    /// The step along a contribution at which its loss is measured, as a fraction of `outer.rate`.
    pub step_factor: f32,
    /// Sequences in each of the two loss sets (assigned and unassigned).
    pub sequences: u32,
    /// The most exact LossScores that a validator takes in a window.
    pub evaluations: u32,
    /// The largest fraction of equal coordinates that two honest submissions may have.
    pub overlap_max: f32,
    /// The most entries in a manifest.
    pub max_entries: u32,
    /// Windows between two settings of weights.
    pub weights_every: u32,
    /// Windows between two checkpoints.
    pub checkpoint_every: u32,
    /// The performance variance parameter β of the rating.
    pub rating_beta: f32,
    /// The drift τ that is added to the rating's uncertainty in each window.
    pub rating_tau: f32,
    /// The weight of the newest window in running averages, in (0, 1].
    pub average: f32,
    /// The power to which a score is raised to make it a weight.
    pub power: f32,
}

/// Why settings cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HparamsError {
    /// A field is out of its range.
    #[error("hyperparameter {field} must be {must}")]
    Field {
        /// The path of the field, as in the TOML form.
        field: &'static str,
        /// What it must be.
        must: &'static str,
    },
}

impl Hparams {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of its range, and what it must be.
    pub fn validate(&self) -> Result<(), HparamsError> {
        check::all(self)
    }

    /// The canonical bytes, which can be shipped as a blob.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Reads the canonical bytes of valid settings.
    ///
    /// # Errors
    /// If the bytes are too many, malformed, not canonical, or settings that [`Hparams::validate`] refuses.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, WireError> {
        let hparams: Self = wire::decode(bytes, limits)?;
        hparams.validate().map_err(|HparamsError::Field { field, .. }| WireError::Invalid { what: field })?;
        Ok(hparams)
    }

    /// The BLAKE3 digest of [`Hparams::encode`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }

    /// Samples that a uid gets in a window.
    #[must_use]
    pub fn samples(&self) -> u32 {
        self.inner.steps.saturating_mul(self.inner.batch)
    }
}

/// The name of a run: the same settings on two chains are two runs.
///
/// `genesis` is the hash of the chain's first block.
#[must_use]
pub fn run_digest(genesis: &Digest, hparams: &Digest) -> Digest {
    Digest::derive("pactum 1 run", &[&genesis.0, &hparams.0])
}
