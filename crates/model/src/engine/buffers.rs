//! The memory of an engine.

use super::head;
use crate::config::ModelConfig;
use crate::kernel::PIECE;
use crate::kernel::attention::{Attention, Saved};

/// All memory between the parameters and the gradient.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) work: Work,
    /// One per block for training and generation; a single one for losses alone.
    pub(super) layers: Vec<Kept>,
    /// The blocks' inputs, `[tokens, width]` each, if the rest is computed again.
    pub(super) inputs: Vec<Vec<f32>>,
}

/// Memory that every block uses in turn; rows are tokens.
#[derive(Default)]
pub(super) struct Work {
    /// Residual stream, `[tokens, width]`.
    pub(super) stream: Vec<f32>,
    /// Gradient by the residual stream, `[tokens, width]`.
    pub(super) slope: Vec<f32>,
    /// Output of the norm at hand, `[tokens, width]`.
    pub(super) normed: Vec<f32>,
    /// Gradient by it, `[tokens, width]`.
    pub(super) back: Vec<f32>,
    /// Queries, keys and values side by side, or their gradients.
    pub(super) fused: Vec<f32>,
    /// `[tokens, ffn]`.
    pub(super) hidden: Vec<f32>,
    /// Partial sums of the norms' weight gradients.
    pub(super) partial: Vec<f32>,
    /// Scales of the last norm, `[tokens]`.
    pub(super) scales: Vec<f32>,
    /// Logits of one chunk of tokens.
    pub(super) logits: Vec<f32>,
    /// Targets and losses, `[tokens]`.
    pub(super) targets: Vec<u32>,
    pub(super) losses: Vec<f32>,
}

/// What one block keeps for its backward pass.
pub(super) struct Kept {
    /// Residual stream before the block and between its halves, `[tokens, width]`.
    pub(super) input: Vec<f32>,
    pub(super) middle: Vec<f32>,
    /// Scales of the two norms, `[tokens]`.
    pub(super) attention_scales: Vec<f32>,
    pub(super) ffn_scales: Vec<f32>,
    pub(super) attention: Saved,
    /// Output of attention, `[tokens, width]`.
    pub(super) mixed: Vec<f32>,
    /// Gate and up side by side, `[tokens, 2·ffn]`.
    pub(super) gate_up: Vec<f32>,
}

/// Values (of 4 bytes) that training allocates: kept by blocks, the same if they are recomputed, and all others.
pub(crate) fn values(config: &ModelConfig, rows_max: u64) -> [u64; 3] {
    let wide = |value: usize| value as u64;
    let (width, ffn, vocab) = (wide(config.width), wide(config.ffn), wide(config.vocab));
    let tokens = rows_max * wide(config.context);
    let key = wide(config.head_width()) * wide(config.kv_heads);
    let kept = tokens * (3 * width + 2 + 2 * ffn) + Attention::saved_values(config, rows_max);
    let stream = tokens * (5 * width + key * 2 + ffn + 3) + tokens.div_ceil(wide(PIECE)) * width;
    let layers = wide(config.layers);
    let work = stream + tokens.min(wide(head::chunk(config.vocab))) * vocab;
    [layers * kept, layers * tokens * width + kept, work]
}

impl Buffers {
    /// Makes what is missing for a forward pass; nothing after the first call with the same `keep`.
    pub(super) fn fit(&mut self, config: &ModelConfig, attention: &Attention, rows_max: usize, keep: bool) {
        if self.work.stream.is_empty() {
            self.work = Work::new(config, rows_max * config.context);
        }
        let layers = if keep { config.layers } else { 1 };
        while self.layers.len() < layers {
            self.layers.push(Kept::new(config, attention, rows_max));
        }
    }

    /// Makes what is missing for a backward pass; nothing after the first call with the same `recompute`.
    pub(super) fn train(&mut self, config: &ModelConfig, rows_max: usize, recompute: bool) {
        let tokens = rows_max * config.context;
        self.work.train(config, tokens);
        if recompute {
            self.inputs.resize_with(config.layers, || vec![0.0; tokens * config.width]);
        }
    }
}

impl Work {
    fn new(config: &ModelConfig, tokens: usize) -> Self {
        let stream = || vec![0.0; tokens * config.width];
        Self {
            stream: stream(),
            normed: stream(),
            fused: vec![0.0; tokens * (config.heads + 2 * config.kv_heads) * config.head_width()],
            hidden: vec![0.0; tokens * config.ffn],
            scales: vec![0.0; tokens],
            logits: vec![0.0; head::chunk(config.vocab).min(tokens) * config.vocab],
            targets: Vec::with_capacity(tokens),
            losses: vec![0.0; tokens],
            ..Self::default()
        }
    }

    /// Makes what only the backward pass needs, if it is not there.
    fn train(&mut self, config: &ModelConfig, tokens: usize) {
        if !self.slope.is_empty() {
            return;
        }
        self.slope = vec![0.0; tokens * config.width];
        self.back = vec![0.0; tokens * config.width];
        self.partial = vec![0.0; tokens.div_ceil(PIECE) * config.width];
    }
}

impl Kept {
    fn new(config: &ModelConfig, attention: &Attention, rows_max: usize) -> Self {
        let tokens = rows_max * config.context;
        let stream = || vec![0.0; tokens * config.width];
        Self {
            input: stream(),
            middle: stream(),
            attention_scales: vec![0.0; tokens],
            ffn_scales: vec![0.0; tokens],
            attention: attention.saved(rows_max, config.context),
            mixed: stream(),
            gate_up: vec![0.0; tokens * 2 * config.ffn],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_planned_is_what_is_allocated() {
        for config in [
            ModelConfig { layers: 3, ..ModelConfig::default() },
            ModelConfig { width: 36, heads: 3, kv_heads: 1, vocab: 5000, context: 150, ..ModelConfig::default() },
        ] {
            let [planned_kept, planned_recomputed, planned_work] = values(&config, 2);
            let mut buffers = Buffers::default();
            buffers.fit(&config, &Attention::new(&config), 2, true);
            buffers.train(&config, 2, true);
            let Work { stream, slope, normed, back, fused, hidden, partial, scales, logits, targets, losses } =
                &buffers.work;
            let floats = [stream, slope, normed, back, fused, hidden, partial, scales, logits, losses];
            let work = floats.iter().map(|buffer| buffer.len()).sum::<usize>() + targets.capacity();
            let block = |kept: &Kept| {
                let Kept { input, middle, attention_scales, ffn_scales, attention, mixed, gate_up } = kept;
                let floats = [input, middle, attention_scales, ffn_scales, mixed, gate_up];
                floats.iter().map(|buffer| buffer.len()).sum::<usize>() + attention.len()
            };
            let kept: usize = buffers.layers.iter().map(block).sum();
            let recomputed = buffers.inputs.iter().map(Vec::len).sum::<usize>() + block(&buffers.layers[0]);
            assert_eq!([planned_kept, planned_recomputed, planned_work], [kept, recomputed, work].map(|n| n as u64));
        }
    }
}
