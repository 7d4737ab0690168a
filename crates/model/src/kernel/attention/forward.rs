//! The forward pass of one row.

use pulp::Simd;

use super::{SavedRow, Shape, TILE, visible};
use crate::kernel::loss::exponentials;
use crate::kernel::rope::Rotation;
use crate::kernel::tile::{Left, Out, ROWS, Right, strip};
use crate::kernel::{exp, maximum};

/// Working memory: one tile of scores and one of outputs.
#[derive(Default)]
pub(super) struct Tiles {
    scores: Vec<f32>,
    output: Vec<f32>,
    tops: Vec<f32>,
    sums: Vec<f32>,
    turned: Vec<f32>,
}

impl Tiles {
    pub(super) fn fit(&mut self, shape: Shape) {
        self.scores.resize(TILE * TILE, 0.0);
        self.output.resize(shape.tile(), 0.0);
        self.tops.resize(TILE, 0.0);
        self.sums.resize(TILE, 0.0);
        self.turned.resize(shape.width, 0.0);
    }
}

pub(super) struct Row<'a, 'b> {
    pub(super) shape: Shape,
    pub(super) rotation: &'a Rotation,
    pub(super) fused: &'a [f32],
    pub(super) mixed: &'a mut [f32],
    pub(super) saved: &'a mut SavedRow<'b>,
    pub(super) tiles: &'a mut Tiles,
}

impl pulp::WithSimd for Row<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let length = self.fused.len() / self.shape.fused();
        for (position, fused) in self.fused.chunks_exact(self.shape.fused()).enumerate() {
            self.saved.split(self.rotation, self.shape, (position, fused), self.tiles);
        }
        self.clear_padding(length);
        for head in 0..self.shape.heads {
            for tile in 0..length.div_ceil(TILE) {
                self.query_tile(simd, head, tile);
                self.store(head, tile, length);
            }
        }
    }
}

impl SavedRow<'_> {
    /// Turns queries and keys of the token at a position and lays all out by head.
    #[inline(always)]
    pub(super) fn split(&mut self, by: &Rotation, shape: Shape, token: (usize, &[f32]), tiles: &mut Tiles) {
        let Shape { heads, kv_heads, width, padded } = shape;
        let ((position, fused), tokens) = (token, self.norms.len() / heads);
        let scale = 1.0 / (width as f32).sqrt();
        let (queries, rest) = fused.split_at(heads * width);
        let (keys, values) = rest.split_at(kv_heads * width);
        for (head, query) in queries.chunks_exact(width).enumerate() {
            let start = (head * tokens + position) * padded;
            by.turn(&mut self.queries[start..start + width], query, position, scale);
        }
        for (head, (key, value)) in keys.chunks_exact(width).zip(values.chunks_exact(width)).enumerate() {
            let start = (head * tokens + position) * padded;
            self.values[start..start + width].copy_from_slice(value);
            by.turn(&mut tiles.turned, key, position, 1.0);
            let tile = (head * tokens + position / TILE * TILE) * padded + position % TILE;
            let column = self.keys[tile..].iter_mut().step_by(TILE);
            for (to, &from) in column.zip(&tiles.turned) {
                *to = from;
            }
        }
    }
}

impl Row<'_, '_> {
    /// Tokens that there is room for.
    #[inline(always)]
    fn tokens(&self) -> usize {
        self.saved.norms.len() / self.shape.heads
    }

    /// Zeroes the tokens between the sequence's end and its last tile's, where an earlier batch may have left values.
    #[inline(always)]
    fn clear_padding(&mut self, length: usize) {
        let (tokens, padded) = (self.tokens(), self.shape.padded);
        let (tile, used) = (length / TILE, length % TILE);
        if used == 0 {
            return;
        }
        let heads = self.saved.queries.chunks_exact_mut(tokens * padded);
        for head in heads.chain(self.saved.values.chunks_exact_mut(tokens * padded)) {
            head[length * padded..(tile + 1) * TILE * padded].fill(0.0);
        }
        for head in self.saved.keys.chunks_exact_mut(tokens * padded) {
            let columns = head[tile * TILE * padded..][..TILE * padded].chunks_exact_mut(TILE);
            columns.for_each(|column| column[used..].fill(0.0));
        }
    }

    /// Output of one tile of queries, over all key tiles up to the diagonal.
    #[inline(always)]
    fn query_tile<S: Simd>(&mut self, simd: S, head: usize, tile: usize) {
        let (size, tokens) = (self.shape.tile(), self.tokens());
        let query = (head * tokens + tile * TILE) * self.shape.padded;
        let shared = head / self.shape.group() * tokens * self.shape.padded;
        self.tiles.output.fill(0.0);
        self.tiles.tops.fill(f32::NEG_INFINITY);
        self.tiles.sums.fill(0.0);
        for other in 0..=tile {
            let at = shared + other * size;
            self.scores(simd, query, at, other == tile);
            self.softmax(other == tile);
            self.mix(simd, at, other == tile);
        }
    }

    #[inline(always)]
    fn scores<S: Simd>(&mut self, simd: S, query: usize, key: usize, diagonal: bool) {
        let padded = self.shape.padded;
        let a = Left::Rows { data: &self.saved.queries[query..query + TILE * padded], stride: padded };
        let b = Right { data: &self.saved.keys[key..key + TILE * padded], stride: TILE };
        for row in (0..TILE).step_by(ROWS) {
            let data = &mut self.tiles.scores[row * TILE..];
            let columns = visible(diagonal, row + ROWS);
            strip(simd, Out { data, stride: TILE, columns, add: false }, a.from(row), b, 0..padded);
        }
    }

    /// Scores become weights relative to the greatest score so far; sums and output are brought to it.
    #[inline(always)]
    fn softmax(&mut self, diagonal: bool) {
        let padded = self.shape.padded;
        let Tiles { scores, output, tops, sums, .. } = &mut *self.tiles;
        let rows = scores.chunks_exact_mut(TILE).zip(output.chunks_exact_mut(padded));
        for (row, ((scores, output), (top, sum))) in rows.zip(tops.iter_mut().zip(sums)).enumerate() {
            let seen = if diagonal { row + 1 } else { TILE };
            let shown = visible(diagonal, seen);
            scores[seen..shown].fill(f32::NEG_INFINITY);
            let greatest = maximum(&scores[..shown]).max(*top);
            let shrink = exp(*top - greatest);
            // The exponential of a hidden score is about 1e-38, not zero: it is lost in the sum and cleared below.
            *sum = *sum * shrink + exponentials(&mut scores[..shown], greatest);
            *top = greatest;
            scores[seen..].fill(0.0);
            for value in output {
                *value *= shrink;
            }
        }
    }

    #[inline(always)]
    fn mix<S: Simd>(&mut self, simd: S, value: usize, diagonal: bool) {
        let padded = self.shape.padded;
        let a = Left::Rows { data: &self.tiles.scores, stride: TILE };
        let b = Right { data: &self.saved.values[value..value + TILE * padded], stride: padded };
        for row in (0..TILE).step_by(ROWS) {
            let data = &mut self.tiles.output[row * padded..];
            let inner = if diagonal { row + ROWS } else { TILE };
            strip(simd, Out { data, stride: padded, columns: padded, add: true }, a.from(row), b, 0..inner);
        }
    }

    #[inline(always)]
    fn store(&mut self, head: usize, tile: usize, length: usize) {
        let Shape { heads, width, padded, .. } = self.shape;
        let (tokens, first) = (self.tokens(), tile * TILE);
        let Tiles { output, tops, sums, .. } = &*self.tiles;
        for row in 0..TILE.min(length - first) {
            let start = ((first + row) * heads + head) * width;
            let factor = 1.0 / sums[row];
            let mixed = &mut self.mixed[start..start + width];
            for (to, &from) in mixed.iter_mut().zip(&output[row * padded..][..width]) {
                *to = from * factor;
            }
        }
        let norms = &mut self.saved.norms[head * tokens + first..][..TILE];
        for ((norm, &top), &sum) in norms.iter_mut().zip(tops).zip(sums) {
            *norm = top + sum.ln();
        }
    }
}
