//! Causal attention with grouped heads, streamed over tiles (Dao et al., arXiv 2205.14135 and 2307.08691).

mod room;

use crate::device::{Answer, Attend, Buffer, Device};
use crate::error::DeviceError;
use crate::launch::{Call, blocks_of, rows_of};
use crate::plain::Element;
use crate::trust::Trust;

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
const UNFIT: &str = "the heads of attention do not fit together";
/// Warps of a block, each of which takes a token's head where outputs meet their gradients.
const WARPS: usize = 8;

/// The shape of some whole sequences. A token's row holds the queries, the keys and the values of its heads, in this order:
/// `(heads + 2 * kv_heads) * width` numbers. Queries come turned and divided by the root of the width, keys turned.
///
/// Numbers of 16 bits in heads whose width is a multiple of 8 go to cuDNN where a device has it, if it takes them and comes to
/// the same on a small problem of the shape: [`Attention::made_by`] tells. Else those in heads whose width is a multiple of
/// 16 and 128 at most are multiplied on tensor cores, with weights rounded to 16 bits; all others by plain arithmetic in `f32`.
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
    /// What the forward pass left, `[sequences, heads, length]`.
    pub logs: &'a Buffer<f32>,
    /// The gradient by the output, `[tokens, heads * width]`.
    pub slope: &'a Buffer<E>,
    /// Takes the gradients by queries, keys and values, as `fused` holds them.
    pub gradient: &'a mut Buffer<E>,
    /// Working memory, as long as `logs`.
    pub pulls: &'a mut Buffer<f32>,
}

/// How a library would make one pass of attention.
#[cfg(feature = "cuda")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttentionPlan {
    /// The library's number of its engine.
    pub engine: i64,
    /// Bytes of working memory.
    pub workspace: usize,
    /// Sequences that are done at a time.
    pub sequences: usize,
}

impl Attention {
    /// Queues the forward pass: `mixed`, `[tokens, heads * width]`, gets each query's mean of the values up to its own token,
    /// weighted by `exp(query * key)`; `logs`, `[sequences, heads, length]`, the logarithm of the sum of those weights.
    ///
    /// # Errors
    /// If a buffer has another length, the heads do not fit together, or the device refuses.
    pub fn forward<E: Element>(
        &self,
        fused: &Buffer<E>,
        mixed: &mut Buffer<E>,
        logs: &mut Buffer<f32>,
    ) -> Result<(), DeviceError> {
        if self.trusted::<E>(fused.device()) && self.ask(fused, mixed, logs)? == Answer::Done {
            return Ok(());
        }
        self.forward_here(fused, mixed, logs)
    }

    /// The forward pass by this crate's kernels.
    pub(crate) fn forward_here<E: Element>(
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
        if self.trusted::<E>(pass.fused.device()) && self.ask_back(pass)? == Answer::Done {
            return Ok(());
        }
        self.backward_here(pass)
    }

    /// The backward pass by this crate's kernels.
    pub(crate) fn backward_here<E: Element>(&self, pass: &mut AttentionGradient<'_, E>) -> Result<(), DeviceError> {
        let (device, sizes) = (pass.fused.device(), self.sizes(pass.fused)?);
        let call = self.shape::<E>(Call::on(device), &sizes).buffer("the output", pass.mixed, (0, sizes.mixed))?;
        let call = call.buffer("the gradient by the output", pass.slope, (0, sizes.mixed))?;
        let call = call.buffer("the working memory", pass.pulls, (0, sizes.logs))?;
        call.launch("attention_pulls", blocks_of(sizes.logs.div_ceil(WARPS))?, 0)?;
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

    /// What computes attention of this shape on numbers of 16 bits: a library by its name and version, or this crate's own
    /// kernels, and why. It compares them where that has not been done.
    #[must_use]
    pub fn made_by(&self, device: &Device) -> String {
        let judged = |trust: &Trust| match trust.of(self, device) {
            Ok(()) => Ok(trust.name.clone()),
            Err(reason) => Err(format!("{} is not used: {reason}", trust.name)),
        };
        let library = if self.is_common() { device.trust().and_then(judged) } else { Err("no common heads".into()) };
        library.unwrap_or_else(|reason| format!("own kernels ({reason})"))
    }

    /// How cuDNN would make the forward and the backward pass over some sequences on a device that need not be here. Its
    /// properties are given as the library writes them (`CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION`).
    ///
    /// # Errors
    /// [`DeviceError::Absent`] where the library is not installed; else with its words if it has no plan.
    #[cfg(feature = "cuda")]
    pub fn plans(&self, sequences: usize, properties: &str) -> Result<[AttentionPlan; 2], DeviceError> {
        if !self.fits() || sequences == 0 {
            return Err(DeviceError::Shape(UNFIT));
        }
        let plans = crate::cuda::plans(self, sequences, properties)?;
        Ok(plans.map(|(engine, workspace, sequences)| AttentionPlan { engine, workspace, sequences }))
    }

    /// Whether a library may be asked, and has come to the same as the kernels here.
    fn trusted<E: Element>(&self, device: &Device) -> bool {
        E::NARROW && self.is_common() && device.trust().is_ok_and(|trust| trust.of(self, device).is_ok())
    }

    /// Heads that a library may take, of a shape that makes sense.
    fn is_common(&self) -> bool {
        self.fits() && self.width.is_multiple_of(8)
    }

    /// Asks the device's library for the forward pass.
    pub(crate) fn ask<E: Element>(
        &self,
        fused: &Buffer<E>,
        mixed: &mut Buffer<E>,
        logs: &mut Buffer<f32>,
    ) -> Result<Answer, DeviceError> {
        let sizes = self.sizes(fused)?;
        let call = Call::on(fused.device()).buffer("the output", mixed, (0, sizes.mixed))?;
        call.buffer("the logarithms", logs, (0, sizes.logs))?;
        fused.device().attend(&self.attend(&sizes, [fused.at(0), mixed.at(0), logs.at(0)], None))
    }

    /// Asks the device's library for the backward pass.
    pub(crate) fn ask_back<E: Element>(&self, pass: &mut AttentionGradient<'_, E>) -> Result<Answer, DeviceError> {
        let sizes = self.sizes(pass.fused)?;
        let call = Call::on(pass.fused.device()).buffer("the output", pass.mixed, (0, sizes.mixed))?;
        let call = call.buffer("the logarithms", pass.logs, (0, sizes.logs))?;
        let call = call.buffer("the gradient by the output", pass.slope, (0, sizes.mixed))?;
        let call = call.buffer("the gradient", pass.gradient, (0, pass.fused.len()))?;
        call.buffer("the working memory", pass.pulls, (0, sizes.logs))?;
        let back = [pass.slope.at(0), pass.gradient.at(0), pass.pulls.at(0)];
        let read = [pass.fused.at(0), pass.mixed.at(0), pass.logs.at(0)];
        pass.fused.device().attend(&self.attend(&sizes, read, Some(back)))
    }

    fn attend(&self, sizes: &Sizes, [fused, mixed, logs]: [u64; 3], back: Option<[u64; 3]>) -> Attend {
        Attend { shape: *self, sequences: sizes.sequences, fused, mixed, logs, back }
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

    fn fits(&self) -> bool {
        let Attention { heads, kv_heads, width, length } = *self;
        let fits = kv_heads > 0 && heads > 0 && heads.is_multiple_of(kv_heads) && (1..=WIDEST).contains(&width);
        // Bounds far beyond any model, under which no product of these numbers overflows.
        fits && heads <= 1 << 16 && length > 0 && length <= 1 << 24
    }

    fn sizes<E: Element>(&self, fused: &Buffer<E>) -> Result<Sizes, DeviceError> {
        let Attention { heads, kv_heads, width, length } = *self;
        if !self.fits() {
            return Err(DeviceError::Shape(UNFIT));
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
