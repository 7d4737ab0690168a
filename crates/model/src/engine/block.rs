//! One decoder block, forward and backward.

use super::Pass;
use super::buffers::{Kept, Work};
use crate::kernel::attention::{Backward, Position, Rows};
use crate::kernel::{norm, swiglu};
use crate::layout::LayerLayout;

impl Pass<'_> {
    /// The block's contribution is added to the stream; `kept` gets what the backward pass needs.
    pub(super) fn block(&self, layout: &LayerLayout, work: &mut Work, kept: &mut Kept) {
        let (width, ffn) = (self.config.width, self.config.ffn);
        let (team, eps) = (self.team, self.config.norm_eps);
        let weight = |range: &std::ops::Range<usize>| &self.parameters[range.clone()];
        let stream = &mut work.stream[..self.tokens * width];
        let normed = &mut work.normed[..self.tokens * width];
        let fused = &mut work.fused[..self.tokens * layout.fused.outputs];
        let hidden = &mut work.hidden[..self.tokens * ffn];
        let mixed = &mut kept.mixed[..self.tokens * width];
        let gate_up = &mut kept.gate_up[..self.tokens * 2 * ffn];

        kept.input[..stream.len()].copy_from_slice(stream);
        norm::Forward { x: stream, weight: weight(&layout.attention_norm), eps }.run(
            team,
            normed,
            &mut kept.attention_scales,
        );
        layout.fused.forward(self, fused, normed, false);
        match self.position {
            None => self.attention.forward(self.rows(), fused, mixed, &mut kept.attention),
            Some(position) => {
                self.attention.extend(Position { position, room: self.room }, fused, mixed, &mut kept.attention);
            }
        }
        layout.output.forward(self, stream, mixed, true);

        kept.middle[..stream.len()].copy_from_slice(stream);
        norm::Forward { x: stream, weight: weight(&layout.ffn_norm), eps }.run(team, normed, &mut kept.ffn_scales);
        layout.gate_up.forward(self, gate_up, normed, false);
        swiglu::forward(team, hidden, gate_up, ffn);
        layout.down.forward(self, stream, hidden, true);
    }

    /// The stream's gradient after the block becomes that before it; the parameters' gradients are added up.
    /// Gate and up are lost.
    pub(super) fn block_backward(&self, layout: &LayerLayout, work: &mut Work, kept: &mut Kept, gradient: &mut [f32]) {
        self.ffn_backward(layout, work, kept, gradient);
        self.attention_backward(layout, work, kept, gradient);
    }

    fn ffn_backward(&self, layout: &LayerLayout, work: &mut Work, kept: &mut Kept, gradient: &mut [f32]) {
        let (width, ffn) = (self.config.width, self.config.ffn);
        let slope = &mut work.slope[..self.tokens * width];
        let back = &mut work.back[..self.tokens * width];
        let hidden = &mut work.hidden[..self.tokens * ffn];
        let gate_up = &mut kept.gate_up[..self.tokens * 2 * ffn];

        layout.down.backward(self, hidden, slope);
        swiglu::backward(self.team, hidden, gate_up, ffn);
        layout.down.gain(self, gradient, slope, hidden);
        layout.gate_up.backward(self, back, gate_up);
        let norm = norm::Backward {
            x: &kept.middle[..self.tokens * width],
            scales: &kept.ffn_scales[..self.tokens],
            weight: &self.parameters[layout.ffn_norm.clone()],
            normed: back,
            stream: slope,
            weight_gradient: &mut gradient[layout.ffn_norm.clone()],
            partial: &mut work.partial,
        };
        norm.run(self.team);
        layout.gate_up.gain(self, gradient, gate_up, back);
    }

    fn attention_backward(&self, layout: &LayerLayout, work: &mut Work, kept: &mut Kept, gradient: &mut [f32]) {
        let width = self.config.width;
        let slope = &mut work.slope[..self.tokens * width];
        let back = &mut work.back[..self.tokens * width];
        let fused = &mut work.fused[..self.tokens * layout.fused.outputs];
        let mixed = &kept.mixed[..self.tokens * width];

        layout.output.backward(self, back, slope);
        layout.output.gain(self, gradient, slope, mixed);
        let batch = Backward { mixed, gradient: back, fused };
        self.attention.backward(self.rows(), batch, &mut kept.attention);
        layout.fused.backward(self, back, fused);
        let norm = norm::Backward {
            x: &kept.input[..self.tokens * width],
            scales: &kept.attention_scales[..self.tokens],
            weight: &self.parameters[layout.attention_norm.clone()],
            normed: back,
            stream: slope,
            weight_gradient: &mut gradient[layout.attention_norm.clone()],
            partial: &mut work.partial,
        };
        norm.run(self.team);
        layout.fused.gain(self, gradient, fused, back);
    }

    fn rows(&self) -> Rows<'_> {
        Rows { team: self.team, length: self.length, room: self.room }
    }
}
