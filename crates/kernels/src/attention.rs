//! Causal attention with grouped heads, streamed over tiles (Dao et al., arXiv 2205.14135 and 2307.08691).

use crate::device::Buffer;
use crate::error::DeviceError;
use crate::launch::{Call, blocks_of, rows_of};
use crate::plain::Element;

/// Rows of a tile, forward and backward.
const TALL: usize = 64;
const LOW: usize = 32;
/// The widest head.
const WIDEST: usize = 256;
/// Rows of a band on tensor cores, rows that it meets at a time forward and backward, and the widest head there.
const BAND: usize = 128;
const SPAN: usize = 64;
const BRIEF: usize = 32;
const NARROWEST: usize = 16;
const TENSOR_WIDEST: usize = 128;
/// Warps of a block, each of which takes a token's head where outputs meet their gradients.
const WARPS: usize = 8;

/// The shape of some whole sequences. A token's row holds the queries, the keys and the values of its heads, in this order:
/// `(heads + 2 * kv_heads) * width` numbers. Queries come turned and divided by the root of the width, keys turned.
///
/// Numbers of 16 bits in heads whose width is a multiple of 16 and 128 at most are multiplied on tensor cores, with weights
/// rounded to 16 bits; all others by plain arithmetic in `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attention {
    /// Query heads.
    pub heads: usize,
    /// Heads of keys and values; divides `heads`, and neighbours share one.
    pub kv_heads: usize,
    /// Numbers of a head; 256 at most.
    pub width: usize,
    /// Tokens of each sequence.
    pub length: usize,
}

/// What the backward pass reads and where its gradients go.
#[derive(Debug)]
pub struct AttentionGradient<'a, E> {
    /// Queries, keys and values, `[tokens, (heads + 2 * kv_heads) * width]`.
    pub fused: &'a Buffer<E>,
    /// The output of the forward pass, `[tokens, heads * width]`.
    pub mixed: &'a Buffer<E>,
    /// What the forward pass left, `[tokens, heads]`.
    pub logs: &'a Buffer<f32>,
    /// The gradient by the output, `[tokens, heads * width]`.
    pub slope: &'a Buffer<E>,
    /// Takes the gradients by queries, keys and values, as `fused` holds them.
    pub gradient: &'a mut Buffer<E>,
    /// Working memory, `[tokens, heads]`.
    pub pulls: &'a mut Buffer<f32>,
}

impl Attention {
    /// Queues the forward pass: `mixed`, `[tokens, heads * width]`, gets each query's mean of the values up to its own token,
    /// weighted by `exp(query * key)`; `logs`, `[tokens, heads]`, the logarithm of the sum of those weights.
    ///
    /// # Errors
    /// If a buffer has another length, the heads do not fit together, or the device refuses.
    pub fn forward<E: Element>(
        &self,
        fused: &Buffer<E>,
        mixed: &mut Buffer<E>,
        logs: &mut Buffer<f32>,
    ) -> Result<(), DeviceError> {
        let (device, sizes) = (fused.device(), self.sizes(fused)?);
        let call = self.shape::<E>(Call::on(device), &sizes);
        let call = call.buffer("queries, keys and values", fused, (0, fused.len()))?;
        let call =
            call.buffer("the output", mixed, (0, sizes.mixed))?.buffer("the logarithms", logs, (0, sizes.logs))?;
        let heads = sizes.sequences * self.heads;
        if self.tensor::<E>([fused.at(0), mixed.at(0)]) {
            let shared = 2 * (BAND + 2 * SPAN) * (self.width + 8);
            return call.launch("tensor_forward", blocks_of(self.length.div_ceil(BAND) * heads)?, shared);
        }
        let shared = 4 * (2 * TALL * (self.width | 1) + TALL * (TALL + 1));
        call.launch("attention_forward", blocks_of(self.length.div_ceil(TALL) * heads)?, shared)
    }

    /// Queues the backward pass.
    ///
    /// # Errors
    /// As [`Attention::forward`].
    pub fn backward<E: Element>(&self, pass: &mut AttentionGradient<'_, E>) -> Result<(), DeviceError> {
        let (device, sizes) = (pass.fused.device(), self.sizes(pass.fused)?);
        let call = Call::on(device).buffer("the output", pass.mixed, (0, sizes.mixed))?;
        let call = call.buffer("the gradient by the output", pass.slope, (0, sizes.mixed))?;
        let call =
            call.buffer("the working memory", pass.pulls, (0, sizes.logs))?.number(sizes.logs).number(self.width);
        call.element::<E>().launch("attention_pulls", blocks_of(sizes.logs.div_ceil(WARPS))?, 0)?;
        if self.tensor::<E>([pass.fused.at(0), pass.slope.at(0), pass.gradient.at(0)]) {
            let (bands, shared) = (self.length.div_ceil(BAND) * sizes.sequences, 4 * (BAND + BRIEF) * (self.width + 8));
            self.gradients("tensor_keys", pass, &sizes, (bands * self.kv_heads, shared + 4 * 2 * BRIEF))?;
            return self.gradients("tensor_queries", pass, &sizes, (bands * self.heads, shared));
        }
        let (tiles, row) = (self.length.div_ceil(LOW) * sizes.sequences, 4 * LOW * (self.width | 1));
        let square = LOW * (LOW + 1);
        self.gradients("attention_keys", pass, &sizes, (tiles * self.kv_heads, 4 * (row + 2 * square)))?;
        self.gradients("attention_queries", pass, &sizes, (tiles * self.heads, 4 * (row + square)))
    }

    /// Whether tensor cores take it: 16-bit numbers, read eight bytes at a time, and a head of whole squares.
    fn tensor<E: Element>(&self, addresses: impl IntoIterator<Item = u64>) -> bool {
        let whole = self.width.is_multiple_of(NARROWEST) && self.width <= TENSOR_WIDEST;
        E::NARROW && whole && addresses.into_iter().all(|address| address.is_multiple_of(8))
    }

    fn gradients<E: Element>(
        &self,
        kernel: &'static str,
        pass: &AttentionGradient<'_, E>,
        sizes: &Sizes,
        (blocks, shared): (usize, usize),
    ) -> Result<(), DeviceError> {
        let fused = pass.fused.len();
        let call = self.shape::<E>(Call::on(pass.fused.device()), sizes);
        let call = call.buffer("queries, keys and values", pass.fused, (0, fused))?;
        let call = call.buffer("the gradient by the output", pass.slope, (0, sizes.mixed))?;
        let call = call.buffer("the logarithms", pass.logs, (0, sizes.logs))?;
        let call = call.buffer("the working memory", pass.pulls, (0, sizes.logs))?;
        let call = call.buffer("the gradient", pass.gradient, (0, fused))?;
        call.launch(kernel, blocks_of(blocks)?, shared)
    }

    /// The words of the structure `Shape`.
    fn shape<'a, E: Element>(&self, call: Call<'a>, sizes: &Sizes) -> Call<'a> {
        let call = call.number(sizes.sequences).number(self.length).number(self.heads);
        call.number(self.heads / self.kv_heads).number(self.width).element::<E>()
    }

    fn sizes<E: Element>(&self, fused: &Buffer<E>) -> Result<Sizes, DeviceError> {
        let Attention { heads, kv_heads, width, length } = *self;
        let fits = kv_heads > 0 && heads > 0 && heads.is_multiple_of(kv_heads) && (1..=WIDEST).contains(&width);
        // Bounds far beyond any model, under which no product of these numbers overflows.
        if !fits || heads > 1 << 16 || length == 0 || length > 1 << 24 {
            return Err(DeviceError::Shape("the heads of attention do not fit together"));
        }
        let tokens = rows_of(fused, (heads + 2 * kv_heads) * width)?;
        if !tokens.is_multiple_of(length) {
            return Err(DeviceError::Shape("attention needs whole sequences"));
        }
        Ok(Sizes { sequences: tokens / length, mixed: tokens * heads * width, logs: tokens * heads })
    }
}

/// Sequences that a buffer holds, and elements of what belongs to them.
struct Sizes {
    sequences: usize,
    mixed: usize,
    logs: usize,
}
