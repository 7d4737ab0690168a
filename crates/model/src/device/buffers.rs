//! The memory of an engine on a device.

use pactum_kernels::{Buffer, Device, DeviceError, Norm, Plain};

use super::linear::Operand;
use crate::config::ModelConfig;

/// Numbers of logits that are there at once, and the fewest tokens that they are of.
const LOGITS: usize = 1 << 27;
const ROWS: usize = 16;
/// Rows for which the kernels sum the gradients of norms and biases at a time.
const PIECE: usize = 16;

/// Memory that every block uses in turn; rows are tokens.
pub(super) struct Work<E> {
    /// Gradient by the residual stream, `[tokens, width]`.
    pub(super) slope: Buffer<f32>,
    /// The same as an operand of products.
    pub(super) short: Buffer<E>,
    /// Output of the norm at hand, `[tokens, width]`.
    pub(super) normed: Buffer<E>,
    /// Gradient by it, `[tokens, width]`.
    pub(super) back: Buffer<E>,
    /// Gradients by queries, keys and values side by side.
    pub(super) fused: Buffer<E>,
    /// `[tokens, ffn]`.
    pub(super) hidden: Buffer<E>,
    /// Working memory of attention's backward pass, `[tokens, heads]`.
    pub(super) pulls: Buffer<f32>,
    /// Scales of the last norm, `[tokens]`.
    pub(super) scales: Buffer<f32>,
    /// Targets and losses, `[tokens]`.
    pub(super) targets: Buffer<u32>,
    pub(super) losses: Buffer<f32>,
    /// Logits of one chunk of tokens.
    pub(super) logits: Buffer<E>,
    /// Partial sums of the gradients of norms and biases.
    pub(super) partial: Buffer<f32>,
}

/// What one block keeps for its backward pass, besides its input.
pub(super) struct Kept<E> {
    /// Residual stream between the block's halves, `[tokens, width]`.
    pub(super) middle: Buffer<f32>,
    /// Scales of the two norms, `[tokens]`.
    pub(super) attention_scales: Buffer<f32>,
    pub(super) ffn_scales: Buffer<f32>,
    /// Queries, keys and values side by side, turned.
    pub(super) fused: Buffer<E>,
    /// What attention's forward pass leaves, `[tokens, heads]`.
    pub(super) logs: Buffer<f32>,
    /// Output of attention, `[tokens, width]`.
    pub(super) mixed: Buffer<E>,
    /// Gate and up side by side, `[tokens, 2·ffn]`.
    pub(super) gate_up: Buffer<E>,
}

/// Tokens whose logits are there at once.
pub(super) fn chunk(vocab: usize) -> usize {
    (LOGITS / vocab).max(ROWS)
}

/// The first rows of a buffer that is as long as `all` rows.
fn rows<T: Plain>(buffer: &Buffer<T>, all: usize, tokens: usize) -> Result<Buffer<T>, DeviceError> {
    buffer.part(0..buffer.len() / all * tokens)
}

impl<E: Operand> Work<E> {
    pub(super) fn new(device: &Device, config: &ModelConfig, tokens: usize) -> Result<Self, DeviceError> {
        let (width, bias) = (config.width, widest_bias(config));
        Ok(Self {
            slope: device.zeros(tokens * width)?,
            short: device.zeros(tokens * width)?,
            normed: device.zeros(tokens * width)?,
            back: device.zeros(tokens * width)?,
            fused: device.zeros(tokens * fused_width(config))?,
            hidden: device.zeros(tokens * config.ffn)?,
            pulls: device.zeros(tokens * config.heads)?,
            scales: device.zeros(tokens)?,
            targets: device.zeros(tokens)?,
            losses: device.zeros(tokens)?,
            logits: device.zeros(chunk(config.vocab).min(tokens) * config.vocab)?,
            partial: Norm::room(device, tokens.next_multiple_of(PIECE), width.max(bias))?,
        })
    }

    /// The part of it that so many tokens need, of `all`.
    pub(super) fn part(&self, all: usize, tokens: usize) -> Result<Self, DeviceError> {
        Ok(Self {
            slope: rows(&self.slope, all, tokens)?,
            short: rows(&self.short, all, tokens)?,
            normed: rows(&self.normed, all, tokens)?,
            back: rows(&self.back, all, tokens)?,
            fused: rows(&self.fused, all, tokens)?,
            hidden: rows(&self.hidden, all, tokens)?,
            pulls: rows(&self.pulls, all, tokens)?,
            scales: rows(&self.scales, all, tokens)?,
            targets: rows(&self.targets, all, tokens)?,
            losses: rows(&self.losses, all, tokens)?,
            logits: self.logits.part(0..self.logits.len())?,
            partial: self.partial.part(0..self.partial.len())?,
        })
    }
}

impl<E: Operand> Kept<E> {
    pub(super) fn new(device: &Device, config: &ModelConfig, tokens: usize) -> Result<Self, DeviceError> {
        Ok(Self {
            middle: device.zeros(tokens * config.width)?,
            attention_scales: device.zeros(tokens)?,
            ffn_scales: device.zeros(tokens)?,
            fused: device.zeros(tokens * fused_width(config))?,
            logs: device.zeros(tokens * config.heads)?,
            mixed: device.zeros(tokens * config.width)?,
            gate_up: device.zeros(tokens * 2 * config.ffn)?,
        })
    }

    /// The part of it that so many tokens need, of `all`.
    pub(super) fn part(&self, all: usize, tokens: usize) -> Result<Self, DeviceError> {
        Ok(Self {
            middle: rows(&self.middle, all, tokens)?,
            attention_scales: rows(&self.attention_scales, all, tokens)?,
            ffn_scales: rows(&self.ffn_scales, all, tokens)?,
            fused: rows(&self.fused, all, tokens)?,
            logs: rows(&self.logs, all, tokens)?,
            mixed: rows(&self.mixed, all, tokens)?,
            gate_up: rows(&self.gate_up, all, tokens)?,
        })
    }
}

/// Bytes that training holds: parameters, gradient, moments, and all memory of the passes over so many tokens, where an
/// operand of products has `operand` bytes and so many blocks are kept. Cosines and sines of positions, the tokens, and what
/// the driver and its libraries take for themselves come on top.
pub(super) fn bytes(config: &ModelConfig, tokens: usize, (operand, kept): (usize, usize)) -> u64 {
    // No product of what a valid configuration allows overflows this.
    let wide = |value: usize| value as u128;
    let (tokens, operand, kept) = (wide(tokens), wide(operand), wide(kept));
    let (width, heads, ffn) = (wide(config.width), wide(config.heads), wide(config.ffn));
    let (fused, vocab) = (wide(fused_width(config)), wide(config.vocab));
    let parameters = wide(config.count()) * (4 * 4 + if operand < 4 { operand } else { 0 });
    let streams = (wide(config.layers) + 1) * tokens * 4 * width;
    let block = tokens * (4 * (width + 2 + heads) + operand * (fused + width + 2 * ffn));
    let work = tokens * (4 * (width + heads + 3) + operand * (3 * width + fused + ffn));
    let logits = operand * tokens.min(wide(chunk(config.vocab))) * vocab;
    let partial = 4 * tokens.div_ceil(wide(PIECE)) * width.max(wide(widest_bias(config)));
    u64::try_from(parameters + streams + kept * block + work + logits + partial).unwrap_or(u64::MAX)
}

/// Queries, keys and values of a token.
pub(super) fn fused_width(config: &ModelConfig) -> usize {
    (config.heads + 2 * config.kv_heads) * config.head_width()
}

fn widest_bias(config: &ModelConfig) -> usize {
    let attention = if config.attention_bias { fused_width(config) } else { 0 };
    attention.max(if config.mlp_bias { 2 * config.ffn } else { 0 })
}

#[cfg(test)]
mod tests {
    use pactum_kernels::Bf16;

    use super::*;

    fn held<T: Plain>(buffer: &Buffer<T>) -> u64 {
        (buffer.len() * size_of::<T>()) as u64
    }

    fn check<E: Operand>(device: &Device, config: &ModelConfig, tokens: usize) {
        let Kept { middle, attention_scales, ffn_scales, fused, logs, mixed, gate_up } =
            &Kept::<E>::new(device, config, tokens).unwrap();
        let kept = [middle, attention_scales, ffn_scales, logs].map(held).iter().sum::<u64>()
            + [fused, mixed, gate_up].map(held).iter().sum::<u64>();
        let Work { slope, short, normed, back, fused, hidden, pulls, scales, targets, losses, logits, partial } =
            &Work::<E>::new(device, config, tokens).unwrap();
        let work = [slope, pulls, scales, losses, partial].map(held).iter().sum::<u64>()
            + [short, normed, back, fused, hidden, logits].map(held).iter().sum::<u64>()
            + held(targets);
        let streams = ((config.layers + 1) * tokens * config.width * 4) as u64;
        let vectors = config.count() * if E::NARROW { 18 } else { 16 };
        for blocks in [1, 3] {
            let planned = bytes(config, tokens, (size_of::<E>(), blocks as usize));
            assert_eq!(planned, vectors as u64 + streams + blocks * kept + work);
        }
    }

    #[test]
    fn what_is_planned_is_what_is_allocated() {
        let folder = tempfile::tempdir().unwrap();
        let device = Device::emulation(folder.path()).unwrap();
        let odd = ModelConfig { width: 36, heads: 3, kv_heads: 1, vocab: 50, ..ModelConfig::default() };
        for config in [ModelConfig { mlp_bias: true, ..odd.clone() }, odd] {
            check::<f32>(&device, &config, 21);
            check::<Bf16>(&device, &config, 21);
        }
    }
}
