//! One more token of one sequence, against the keys and values of those before it.

use super::forward::Tiles;
use super::{SavedRow, Shape, TILE};
use crate::kernel::loss::exponentials;
use crate::kernel::maximum;
use crate::kernel::rope::Rotation;

pub(super) struct Token<'a, 'b> {
    pub(super) shape: Shape,
    pub(super) rotation: &'a Rotation,
    /// Projections of the token, `[query | key | value]`.
    pub(super) fused: &'a [f32],
    /// `[head · width]`.
    pub(super) mixed: &'a mut [f32],
    pub(super) position: usize,
    pub(super) saved: &'a mut SavedRow<'b>,
}

impl Token<'_, '_> {
    #[inline(always)]
    pub(super) fn run(mut self, tiles: &mut Tiles, scores: &mut Vec<f32>) {
        let tokens = self.saved.norms.len() / self.shape.heads;
        self.saved.split(self.rotation, self.shape, (self.position, self.fused), tiles);
        scores.resize(tokens, 0.0);
        for head in 0..self.shape.heads {
            self.weigh(head, tokens, scores);
            self.mix(head, tokens, scores);
        }
    }

    /// Weights of all tokens so far, not yet normalised.
    #[inline(always)]
    fn weigh(&self, head: usize, tokens: usize, scores: &mut [f32]) {
        let Shape { padded, width, .. } = self.shape;
        let query = &self.saved.queries[(head * tokens + self.position) * padded..][..width];
        let first = head / self.shape.group() * tokens * padded;
        let keys = self.saved.keys[first..first + tokens * padded].chunks_exact(TILE * padded);
        for (scores, keys) in scores.chunks_exact_mut(TILE).zip(keys).take(self.position / TILE + 1) {
            scores.fill(0.0);
            for (&channel, keys) in query.iter().zip(keys.chunks_exact(TILE)) {
                accumulate(scores, channel, keys);
            }
        }
    }

    #[inline(always)]
    fn mix(&mut self, head: usize, tokens: usize, scores: &mut [f32]) {
        let Shape { padded, width, .. } = self.shape;
        let scores = &mut scores[..=self.position];
        let total = exponentials(scores, maximum(scores));
        let mixed = &mut self.mixed[head * width..(head + 1) * width];
        mixed.fill(0.0);
        let first = head / self.shape.group() * tokens * padded;
        for (&weight, value) in scores.iter().zip(self.saved.values[first..].chunks_exact(padded)) {
            accumulate(mixed, weight / total, &value[..width]);
        }
    }
}

#[inline(always)]
fn accumulate(sums: &mut [f32], factor: f32, values: &[f32]) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum = value.mul_add(factor, *sum);
    }
}
