//! RMSNorm (Zhang and Sennrich, arXiv:1910.07467) over rows of the residual stream.

use super::{PIECE, reduce, vectorised};
use crate::team::Team;

/// The forward pass of one norm.
#[derive(Clone, Copy)]
pub(crate) struct Forward<'a> {
    /// `[tokens, width]`.
    pub(crate) x: &'a [f32],
    /// `[width]`.
    pub(crate) weight: &'a [f32],
    pub(crate) eps: f32,
}

impl Forward<'_> {
    /// `out = x · scale · weight` with `scale = 1/√(mean(x²) + eps)` per row.
    pub(crate) fn run(self, team: &Team, out: &mut [f32], scales: &mut [f32]) {
        let piece = PIECE * self.weight.len();
        let pieces = out.chunks_mut(piece).zip(scales.chunks_mut(PIECE)).zip(self.x.chunks(piece));
        team.each(pieces, |((out, scales), x)| {
            vectorised(
                #[inline(always)]
                || Forward { x, ..self }.rows(out, scales),
            );
        });
    }

    #[inline(always)]
    fn rows(self, out: &mut [f32], scales: &mut [f32]) {
        let width = self.weight.len();
        for ((out, scale), x) in out.chunks_exact_mut(width).zip(scales).zip(self.x.chunks_exact(width)) {
            *scale = 1.0 / (reduce(x, x, |a, b| a * b) / width as f32 + self.eps).sqrt();
            for ((out, &x), &weight) in out.iter_mut().zip(x).zip(self.weight) {
                *out = x * *scale * weight;
            }
        }
    }
}

/// What the backward pass of one norm works on; token rows have the width of `weight`.
pub(crate) struct Backward<'a> {
    /// Input of the norm.
    pub(crate) x: &'a [f32],
    /// Scale of each row, from the forward pass.
    pub(crate) scales: &'a [f32],
    pub(crate) weight: &'a [f32],
    /// Gradient by the norm's output; replaced by the output itself, which the caller needs next.
    pub(crate) normed: &'a mut [f32],
    /// Gradient by the input is added here.
    pub(crate) stream: &'a mut [f32],
    /// Gradient by the weight is added here.
    pub(crate) weight_gradient: &'a mut [f32],
    /// Working memory of one weight row per piece of tokens.
    pub(crate) partial: &'a mut [f32],
}

impl Backward<'_> {
    pub(crate) fn run(self, team: &Team) {
        let weight = self.weight;
        let (width, piece) = (weight.len(), PIECE * weight.len());
        let count = self.scales.len().div_ceil(PIECE);
        let partial = &mut self.partial[..count * width];
        let gradients = self.normed.chunks_mut(piece).zip(self.stream.chunks_mut(piece));
        let inputs = self.x.chunks(piece).zip(self.scales.chunks(PIECE));
        team.each(
            gradients.zip(inputs).zip(partial.chunks_mut(width)),
            |(((normed, stream), (x, scales)), partial)| {
                let piece = Piece { x, scales, weight, normed, stream, partial };
                vectorised(
                    #[inline(always)]
                    || piece.run(),
                );
            },
        );
        for row in partial.chunks_exact(width) {
            self.weight_gradient.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value);
        }
    }
}

struct Piece<'a> {
    x: &'a [f32],
    scales: &'a [f32],
    weight: &'a [f32],
    normed: &'a mut [f32],
    stream: &'a mut [f32],
    partial: &'a mut [f32],
}

impl Piece<'_> {
    #[inline(always)]
    fn run(self) {
        let width = self.weight.len();
        self.partial.fill(0.0);
        let rows = self.normed.chunks_exact_mut(width).zip(self.stream.chunks_exact_mut(width));
        for (((normed, stream), x), &scale) in rows.zip(self.x.chunks_exact(width)).zip(self.scales) {
            let mut mean = 0.0;
            // Weighted dot product of gradient and normalised input, in the lanes of `reduce` with a third operand.
            for ((x, weight), gradient) in x.chunks(256).zip(self.weight.chunks(256)).zip(normed.chunks(256)) {
                mean += weighted(x, weight, gradient);
            }
            let pull = mean * scale * scale / width as f32;
            let (normed, stream, x) = (&mut normed[..width], &mut stream[..width], &x[..width]);
            let (weight, partial) = (&self.weight[..width], &mut self.partial[..width]);
            for at in 0..width {
                let gradient = normed[at];
                let unit = x[at] * scale;
                partial[at] += gradient * unit;
                stream[at] += scale * (gradient * weight[at] - x[at] * pull);
                normed[at] = unit * weight[at];
            }
        }
    }
}

/// Σ x·w·g over at most 256 values.
#[inline(always)]
fn weighted(x: &[f32], weight: &[f32], gradient: &[f32]) -> f32 {
    let mut products = [0.0_f32; 256];
    for (product, (&x, &weight)) in products.iter_mut().zip(x.iter().zip(weight)) {
        *product = x * weight;
    }
    reduce(&products[..x.len()], gradient, |a, b| a * b)
}
