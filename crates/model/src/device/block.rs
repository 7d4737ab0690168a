//! One decoder block, forward and backward.

use std::ops::Range;

use pactum_kernels::{AttentionGradient, Buffer, DeviceError, Norm, NormGradient, Rotation, Swiglu, convert};

use super::buffers::{Kept, Work, fused_width};
use super::linear::Operand;
use super::network::Pass;
use crate::layout::LayerLayout;

impl<E: Operand> Pass<'_, E> {
    /// The block's first half: from the stream before it to the stream in its middle.
    pub(super) fn attend(
        &self,
        layout: &LayerLayout,
        work: &mut Work<E>,
        (stream, kept): (&Buffer<f32>, &mut Kept<E>),
    ) -> Result<(), DeviceError> {
        self.norm(&layout.attention_norm, stream, (&mut work.normed, &mut kept.attention_scales))?;
        self.projection(&layout.fused).forward(&mut kept.fused, &work.normed, None)?;
        self.turn(&mut kept.fused, false)?;
        self.attention.forward(&kept.fused, &mut kept.mixed, &mut kept.logs)?;
        self.projection(&layout.output).forward(&mut kept.middle, &kept.mixed, Some(stream))
    }

    /// The block's second half: from the stream in its middle to the stream after it.
    pub(super) fn feed(
        &self,
        layout: &LayerLayout,
        work: &mut Work<E>,
        (stream, kept): (&mut Buffer<f32>, &mut Kept<E>),
    ) -> Result<(), DeviceError> {
        self.gate(layout, work, kept)?;
        Swiglu { width: self.config.ffn }.forward(&mut work.hidden, &kept.gate_up)?;
        self.projection(&layout.down).forward(stream, &work.hidden, Some(&kept.middle))
    }

    /// What of the second half its backward pass needs.
    pub(super) fn gate(&self, layout: &LayerLayout, work: &mut Work<E>, kept: &mut Kept<E>) -> Result<(), DeviceError> {
        self.norm(&layout.ffn_norm, &kept.middle, (&mut work.normed, &mut kept.ffn_scales))?;
        self.projection(&layout.gate_up).forward(&mut kept.gate_up, &work.normed, None)
    }

    /// The stream's gradient after the block becomes that in its middle. Gate and up are lost.
    pub(super) fn feed_backward(
        &self,
        layout: &LayerLayout,
        work: &mut Work<E>,
        kept: &mut Kept<E>,
    ) -> Result<(), DeviceError> {
        let Work { slope, short, hidden, back, partial, .. } = work;
        let (down, gate_up) = (self.projection(&layout.down), self.projection(&layout.gate_up));
        convert(slope, short)?;
        down.backward(hidden, short)?;
        Swiglu { width: self.config.ffn }.backward(hidden, &mut kept.gate_up)?;
        down.gain(short, hidden, partial)?;
        gate_up.backward(back, &kept.gate_up)?;
        self.norm_backward(&layout.ffn_norm, (&kept.middle, &kept.ffn_scales), (back, slope, partial))?;
        gate_up.gain(&kept.gate_up, back, partial)
    }

    /// The stream's gradient in the block's middle becomes that before it.
    pub(super) fn attend_backward(
        &self,
        layout: &LayerLayout,
        work: &mut Work<E>,
        (stream, kept): (&Buffer<f32>, &mut Kept<E>),
    ) -> Result<(), DeviceError> {
        let Work { slope, short, back, fused, pulls, partial, .. } = work;
        let (output, projection) = (self.projection(&layout.output), self.projection(&layout.fused));
        convert(slope, short)?;
        output.backward(back, short)?;
        output.gain(short, &kept.mixed, partial)?;
        self.attention.backward(&mut AttentionGradient {
            fused: &kept.fused,
            mixed: &kept.mixed,
            logs: &kept.logs,
            slope: back,
            gradient: fused,
            pulls,
        })?;
        self.turn(fused, true)?;
        projection.backward(back, fused)?;
        self.norm_backward(&layout.attention_norm, (stream, &kept.attention_scales), (back, slope, partial))?;
        projection.gain(fused, back, partial)
    }

    pub(super) fn norm(
        &self,
        weight: &Range<usize>,
        x: &Buffer<f32>,
        (out, scales): (&mut Buffer<E>, &mut Buffer<f32>),
    ) -> Result<(), DeviceError> {
        let weight = self.weights.parameter(weight)?;
        Norm { x, weight: &weight, eps: self.config.norm_eps }.forward(out, scales)
    }

    /// `normed` holds the gradient by the norm's output and becomes the output; that by its input is added to `stream`.
    pub(super) fn norm_backward(
        &self,
        range: &Range<usize>,
        (x, scales): (&Buffer<f32>, &Buffer<f32>),
        (normed, stream, partial): (&mut Buffer<E>, &mut Buffer<f32>, &mut Buffer<f32>),
    ) -> Result<(), DeviceError> {
        let (weight, mut gradient) = (self.weights.parameter(range)?, self.weights.gradient(range)?);
        let mut into = NormGradient { normed, stream, weight: &mut gradient, partial };
        Norm { x, weight: &weight, eps: self.config.norm_eps }.backward(scales, &mut into)
    }

    /// Turns queries and keys by their positions, the queries divided by the root of a head's width too; or turns gradients
    /// back.
    fn turn(&self, fused: &mut Buffer<E>, back: bool) -> Result<(), DeviceError> {
        let (heads, width) = (self.config.heads, self.config.head_width());
        let stride = fused_width(self.config);
        let of = |offset, heads| Rotation {
            cosines: &self.cosines,
            sines: &self.sines,
            half: width / 2,
            stride,
            offset,
            heads,
        };
        let parts = [(of(0, heads), 1.0 / (width as f32).sqrt()), (of(heads * width, self.config.kv_heads), 1.0)];
        for (rotation, scale) in parts {
            if back { rotation.turn_back(fused, scale)? } else { rotation.turn(fused, scale)? }
        }
        Ok(())
    }
}
