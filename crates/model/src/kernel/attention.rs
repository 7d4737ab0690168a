//! Causal grouped-query attention over one sequence, in tiles with a streaming softmax (Dao et al., arXiv:2205.14135;
//! backward pass of arXiv:2307.08691): no matrix of sequence × sequence is ever held.

mod backward;
mod decode;
mod forward;
#[cfg(test)]
mod tests;

use crate::config::ModelConfig;
use crate::kernel::rope::Rotation;
use crate::kernel::tile::LANES;
use crate::kernel::vectorised;
use crate::team::{Lent, Team};

/// Edge of a tile in tokens.
const TILE: usize = 64;

/// Attention of one model: sizes, rotation and working memory.
pub(crate) struct Attention {
    shape: Shape,
    rotation: Rotation,
    scratch: Lent<Scratch>,
}

#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    kv_heads: usize,
    /// Width of a head.
    width: usize,
    /// The same, rounded up to whole vectors; the rest is kept zero.
    padded: usize,
}

/// What the forward pass keeps of a batch for the backward pass, padded to whole tiles.
pub(crate) struct Saved {
    /// Turned and scaled queries, `[row, head, token, padded]`.
    queries: Vec<f32>,
    /// Turned keys, transposed in each tile: `[row, kv head, tile, padded, TILE]`.
    keys: Vec<f32>,
    /// `[row, kv head, token, padded]`.
    values: Vec<f32>,
    /// Logarithm of the softmax' denominator, `[row, head, token]`.
    norms: Vec<f32>,
}

/// The part of [`Saved`] that belongs to one row.
struct SavedRow<'a> {
    queries: &'a mut [f32],
    keys: &'a mut [f32],
    values: &'a mut [f32],
    norms: &'a mut [f32],
}

/// Working memory of one row's attention.
#[derive(Default)]
struct Scratch {
    forward: forward::Tiles,
    backward: backward::Tiles,
    /// Scores of one head, for a single token.
    scores: Vec<f32>,
}

impl Attention {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let width = config.head_width();
        let shape =
            Shape { heads: config.heads, kv_heads: config.kv_heads, width, padded: width.next_multiple_of(LANES) };
        Self { shape, rotation: Rotation::new(config), scratch: Lent::new() }
    }

    /// Memory for the backward pass of at most `rows` sequences of `length` tokens.
    pub(crate) fn saved(&self, rows: usize, length: usize) -> Saved {
        let (shape, tokens) = (self.shape, rows * length.next_multiple_of(TILE));
        Saved {
            queries: vec![0.0; tokens * shape.heads * shape.padded],
            keys: vec![0.0; tokens * shape.kv_heads * shape.padded],
            values: vec![0.0; tokens * shape.kv_heads * shape.padded],
            norms: vec![0.0; tokens * shape.heads],
        }
    }

    /// Values that [`Attention::saved`] allocates for full rows.
    pub(crate) fn saved_values(config: &ModelConfig, rows: u64) -> u64 {
        let wide = |value: usize| value as u64;
        let heads = wide(config.heads + 2 * config.kv_heads);
        let tokens = rows * wide(config.context.next_multiple_of(TILE));
        tokens * (heads * wide(config.head_width().next_multiple_of(LANES)) + wide(config.heads))
    }

    /// From projections `fused` (`[row, token, query | key | value]`) to the mixed values `[row, token, head · width]`.
    pub(crate) fn forward(&self, rows: Rows<'_>, fused: &[f32], mixed: &mut [f32], saved: &mut Saved) {
        let (shape, Rows { team, length, room }) = (self.shape, rows);
        let rows = saved.rows(shape, room).zip(fused.chunks_exact(length * shape.fused()));
        team.each(rows.zip(mixed.chunks_exact_mut(length * shape.mixed())), |((mut saved, fused), mixed)| {
            self.scratch.lend(Scratch::default, |scratch| {
                let tiles = &mut scratch.forward;
                tiles.fit(shape);
                let rotation = &self.rotation;
                pulp::Arch::new().dispatch(forward::Row { shape, rotation, fused, mixed, saved: &mut saved, tiles });
            });
        });
    }

    /// One more token of a sequence, at `position`, after the tokens that [`Attention::forward`] and this function saw
    /// with the same room in the first row of `saved`.
    pub(crate) fn extend(&self, at: Position, fused: &[f32], mixed: &mut [f32], saved: &mut Saved) {
        let (shape, rotation) = (self.shape, &self.rotation);
        let Some(mut saved) = saved.rows(shape, at.room).next() else { return };
        self.scratch.lend(Scratch::default, |Scratch { forward, scores, .. }| {
            forward.fit(shape);
            let token = decode::Token { shape, rotation, fused, mixed, position: at.position, saved: &mut saved };
            vectorised(
                #[inline(always)]
                || token.run(forward, scores),
            );
        });
    }

    /// Gradient by `fused` from the gradient by `mixed`, with `mixed` and what the forward pass saved.
    pub(crate) fn backward(&self, rows: Rows<'_>, batch: Backward<'_>, saved: &mut Saved) {
        let (shape, Rows { team, length, room }) = (self.shape, rows);
        let (fused, mixed) = (length * shape.fused(), length * shape.mixed());
        let inputs = batch.mixed.chunks_exact(mixed).zip(batch.gradient.chunks_exact(mixed));
        let rows = saved.rows(shape, room).zip(inputs).zip(batch.fused.chunks_exact_mut(fused));
        team.each(rows, |((saved, (mixed, gradient)), fused)| {
            self.scratch.lend(Scratch::default, |scratch| {
                let tiles = &mut scratch.backward;
                tiles.fit(shape, room);
                let row =
                    backward::Row { shape, rotation: &self.rotation, mixed, gradient, fused, saved: &saved, tiles };
                pulp::Arch::new().dispatch(row);
            });
        });
    }
}

/// Sequences of one length and the team that works on them, a row at a time.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) team: &'a Team,
    /// Tokens in each sequence.
    pub(crate) length: usize,
    /// Tokens that a row of what is saved has room for, at least as many.
    pub(crate) room: usize,
}

/// Where a single token comes.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    pub(crate) position: usize,
    /// As in [`Rows`].
    pub(crate) room: usize,
}

/// Operands of the backward pass over a batch.
pub(crate) struct Backward<'a> {
    /// Output of the forward pass.
    pub(crate) mixed: &'a [f32],
    /// Gradient by it.
    pub(crate) gradient: &'a [f32],
    /// Gradient by the projections is written here.
    pub(crate) fused: &'a mut [f32],
}

impl Saved {
    /// Values allocated.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.queries.len() + self.keys.len() + self.values.len() + self.norms.len()
    }

    fn rows(&mut self, shape: Shape, room: usize) -> impl Iterator<Item = SavedRow<'_>> + Send {
        let padded = room.next_multiple_of(TILE);
        let key = padded * shape.kv_heads * shape.padded;
        let queries = self.queries.chunks_exact_mut(padded * shape.heads * shape.padded);
        let keys_values = self.keys.chunks_exact_mut(key).zip(self.values.chunks_exact_mut(key));
        let norms = self.norms.chunks_exact_mut(padded * shape.heads);
        let parts = queries.zip(keys_values).zip(norms);
        parts.map(|((queries, (keys, values)), norms)| SavedRow { queries, keys, values, norms })
    }
}

impl Shape {
    /// Width of the projections of one token.
    fn fused(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.width
    }

    /// Width of the mixed values of one token.
    fn mixed(&self) -> usize {
        self.heads * self.width
    }

    /// Query heads that share one key head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    fn tile(&self) -> usize {
        TILE * self.padded
    }
}

/// Columns of a diagonal tile that rows up to `end` (exclusive) can see, in whole pairs of vectors.
#[inline(always)]
fn visible(diagonal: bool, end: usize) -> usize {
    if diagonal { end.next_multiple_of(2 * LANES).min(TILE) } else { TILE }
}
