//! Settings to begin with.

use crate::hparams::{Compression, DataRules, Hparams, Inner, Mean, ModelShape, Outer, Quantiser, ScoringRules, Time};
use crate::ids::{BlockNumber, Digest};

/// The names that [`Hparams::preset`] knows, from the smallest model to the largest.
pub const PRESETS: [&str; 5] = ["micro", "tiny", "mini", "150m", "1b"];

impl Hparams {
    /// The settings called `name`, with seed 0 and no dataset.
    ///
    /// | name | parameters | for |
    /// |---|---|---|
    /// | `micro` | 32 k | trying things out: a window of two seconds |
    /// | `tiny` | 0.9 M | bytes on a laptop: a window of seconds |
    /// | `mini` | 6.8 M | a small vocabulary on a workstation |
    /// | `150m` | 180 M | one accelerator for each miner |
    /// | `1b` | 1.1 G | one large accelerator for each miner |
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        let (model, inner, time) = match name {
            "micro" => (MICRO, Inner { steps: 4, warmup: 4, total: 400, ..inner_small(4) }, TIME_LOCAL),
            "tiny" => (TINY, inner_small(12), TIME_LOCAL),
            "mini" => (
                MINI,
                inner_small(8),
                Time { window_blocks: 60, submit_by: 45, attest_by: 52, gather_by: 57, ..TIME_LOCAL },
            ),
            "150m" => (M150, inner_large(4e-4), TIME_CHAIN),
            "1b" => (B1, inner_large(3e-4), TIME_CHAIN),
            _ => return None,
        };
        let local = time.block_millis == TIME_LOCAL.block_millis;
        Some(Self {
            preset: name.to_owned(),
            seed: 0,
            dataset: Digest::ZERO,
            time,
            model,
            inner,
            outer: Outer { rate: 1.0, mean: Mean::Contributors },
            compression: Compression { edge: 64, top_k: 64, decay: 0.95, quantiser: Quantiser::TwoLevels },
            data: DataRules { slots: if local { 64 } else { 256 } },
            scoring: ScoringRules { weights_every: if local { 1 } else { 3 }, ..SCORING },
        })
    }
}

const TIME_LOCAL: Time =
    Time { start: BlockNumber(1), window_blocks: 14, submit_by: 8, attest_by: 11, gather_by: 13, block_millis: 500 };

const TIME_CHAIN: Time = Time {
    start: BlockNumber(1),
    window_blocks: 115,
    submit_by: 100,
    attest_by: 106,
    gather_by: 112,
    block_millis: 12_000,
};

const TINY: ModelShape = ModelShape {
    vocab: 256,
    width: 128,
    layers: 4,
    heads: 4,
    kv_heads: 2,
    ffn: 384,
    context: 64,
    rope_base: 10_000.0,
    norm_eps: 1e-5,
    tied: false,
};

const MICRO: ModelShape = ModelShape { width: 32, layers: 2, heads: 2, kv_heads: 1, ffn: 64, context: 32, ..TINY };

const MINI: ModelShape =
    ModelShape { vocab: 4096, width: 256, layers: 6, heads: 8, kv_heads: 4, ffn: 768, context: 256, ..TINY };

const M150: ModelShape = ModelShape {
    vocab: 32_000,
    width: 1024,
    layers: 12,
    heads: 16,
    kv_heads: 16,
    ffn: 2688,
    context: 2048,
    rope_base: 500_000.0,
    norm_eps: 1e-5,
    tied: true,
};

const B1: ModelShape = ModelShape { width: 2048, layers: 16, heads: 8, kv_heads: 8, ffn: 8192, ..M150 };

const SCORING: ScoringRules = ScoringRules {
    step_factor: 0.2,
    sequences: 16,
    evaluations: 16,
    overlap_max: 0.8,
    max_entries: 64,
    weights_every: 1,
    checkpoint_every: 8,
    rating_beta: 7.0,
    rating_tau: 0.1,
    average: 0.1,
    power: 2.0,
};

fn inner_small(batch: u32) -> Inner {
    Inner {
        steps: 20,
        batch,
        rate: 3e-3,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        clip: 1.0,
        warmup: 20,
        total: 1200,
        floor: 0.1,
    }
}

fn inner_large(rate: f32) -> Inner {
    Inner { steps: 30, batch: 192, rate, warmup: 1500, total: 140_000, ..inner_small(192) }
}
