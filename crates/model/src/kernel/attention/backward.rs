//! The backward pass of one row.

use pulp::Simd;

use super::{SavedRow, Shape, TILE, visible};
use crate::kernel::rope::Rotation;
use crate::kernel::tile::{Left, Out, ROWS, Right, strip};
use crate::kernel::{exp, reduce};

/// Working memory: the tiles at hand and the gradients of one key head and its group of queries.
#[derive(Default)]
pub(super) struct Tiles {
    /// Weights of the tile, `[query, key]`.
    weights: Vec<f32>,
    /// Gradients by the scores of the tile, `[query, key]`.
    scores: Vec<f32>,
    /// Keys of the tile, `[key, padded]`.
    keys: Vec<f32>,
    /// Values of the tile, transposed, `[padded, key]`.
    values: Vec<f32>,
    key_gradient: Vec<f32>,
    value_gradient: Vec<f32>,
    /// Gradients by the output of the group's heads, `[head, token, padded]`.
    outputs: Vec<f32>,
    /// Gradients by the group's queries, `[head, token, padded]`.
    queries: Vec<f32>,
    /// Dot products of output and its gradient, `[head, token]`.
    dots: Vec<f32>,
}

impl Tiles {
    pub(super) fn fit(&mut self, shape: Shape, length: usize) {
        let group = shape.group() * length.next_multiple_of(TILE);
        for (tiles, len) in [
            (&mut self.weights, TILE * TILE),
            (&mut self.scores, TILE * TILE),
            (&mut self.keys, shape.tile()),
            (&mut self.values, shape.tile()),
            (&mut self.key_gradient, shape.tile()),
            (&mut self.value_gradient, shape.tile()),
            (&mut self.outputs, group * shape.padded),
            (&mut self.queries, group * shape.padded),
            (&mut self.dots, group),
        ] {
            tiles.resize(len, 0.0);
        }
    }
}

pub(super) struct Row<'a, 'b> {
    pub(super) shape: Shape,
    pub(super) rotation: &'a Rotation,
    pub(super) mixed: &'a [f32],
    pub(super) gradient: &'a [f32],
    pub(super) fused: &'a mut [f32],
    pub(super) saved: &'a SavedRow<'b>,
    pub(super) tiles: &'a mut Tiles,
}

/// One head's tile of queries against a tile of keys.
#[derive(Clone, Copy)]
struct Pair {
    /// Where the queries start among those saved.
    query: usize,
    /// First token of the query tile, counted over the group's heads.
    local: usize,
    /// Where the norms of the queries start.
    norm: usize,
    /// Where the keys and values start.
    key: usize,
    diagonal: bool,
}

impl pulp::WithSimd for Row<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for kv_head in 0..self.shape.kv_heads {
            self.gather(kv_head);
            for tile in 0..self.tokens() / TILE {
                self.key_tile(simd, kv_head, tile);
            }
            self.store_queries(kv_head);
        }
    }
}

impl Row<'_, '_> {
    /// Tokens of the padded row.
    #[inline(always)]
    fn tokens(&self) -> usize {
        self.saved.norms.len() / self.shape.heads
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.mixed.len() / self.shape.mixed()
    }

    /// Lays the output gradients of the group out by head and takes their dot products with the outputs.
    #[inline(always)]
    fn gather(&mut self, kv_head: usize) {
        let Shape { heads, width, padded, .. } = self.shape;
        let (tokens, length, group) = (self.tokens(), self.length(), self.shape.group());
        self.tiles.queries.fill(0.0);
        self.tiles.outputs.fill(0.0);
        self.tiles.dots.fill(0.0);
        for local in 0..group {
            for token in 0..length {
                let at = (token * heads + kv_head * group + local) * width..;
                let (mixed, gradient) = (&self.mixed[at.clone()][..width], &self.gradient[at][..width]);
                let to = local * tokens + token;
                self.tiles.dots[to] = reduce(mixed, gradient, |x, y| x * y);
                self.tiles.outputs[to * padded..][..width].copy_from_slice(gradient);
            }
        }
    }

    /// All gradients that pass through one tile of keys and values.
    #[inline(always)]
    fn key_tile<S: Simd>(&mut self, simd: S, kv_head: usize, tile: usize) {
        let tokens = self.tokens();
        let key = (kv_head * tokens + tile * TILE) * self.shape.padded;
        self.transpose(key);
        self.tiles.key_gradient.fill(0.0);
        self.tiles.value_gradient.fill(0.0);
        for local in 0..self.shape.group() {
            for other in tile..tokens / TILE {
                let norm = (kv_head * self.shape.group() + local) * tokens + other * TILE;
                let query = norm * self.shape.padded;
                let pair = Pair { query, local: local * tokens + other * TILE, norm, key, diagonal: other == tile };
                self.weigh(simd, pair);
                self.differentiate(pair);
                self.gain(simd, pair);
            }
        }
        self.store_keys(kv_head, tile);
    }

    #[inline(always)]
    fn transpose(&mut self, key: usize) {
        let padded = self.shape.padded;
        let (keys, values) = (&self.saved.keys[key..key + TILE * padded], &self.saved.values[key..key + TILE * padded]);
        for (channel, column) in keys.chunks_exact(TILE).enumerate() {
            let to = self.tiles.keys[channel..].iter_mut().step_by(padded);
            for (to, &from) in to.zip(column) {
                *to = from;
            }
        }
        for (token, row) in values.chunks_exact(padded).enumerate() {
            let to = self.tiles.values[token..].iter_mut().step_by(TILE);
            for (to, &from) in to.zip(row) {
                *to = from;
            }
        }
    }

    /// Scores, and the gradients by the weights, of one pair of tiles.
    #[inline(always)]
    fn weigh<S: Simd>(&mut self, simd: S, pair: Pair) {
        let padded = self.shape.padded;
        let rows = |data| Left::Rows { data, stride: padded };
        let queries = rows(&self.saved.queries[pair.query..pair.query + TILE * padded]);
        let outputs = rows(&self.tiles.outputs[pair.local * padded..][..TILE * padded]);
        let keys = Right { data: &self.saved.keys[pair.key..pair.key + TILE * padded], stride: TILE };
        let values = Right { data: &self.tiles.values, stride: TILE };
        for row in (0..TILE).step_by(ROWS) {
            let columns = visible(pair.diagonal, row + ROWS);
            let out = |data| Out { data, stride: TILE, columns, add: false };
            strip(simd, out(&mut self.tiles.weights[row * TILE..]), queries.from(row), keys, 0..padded);
            strip(simd, out(&mut self.tiles.scores[row * TILE..]), outputs.from(row), values, 0..padded);
        }
    }

    /// Scores become weights; gradients by the weights become gradients by the scores.
    #[inline(always)]
    fn differentiate(&mut self, pair: Pair) {
        let norms = &self.saved.norms[pair.norm..pair.norm + TILE];
        let Tiles { weights, scores, dots, .. } = &mut *self.tiles;
        let rows = weights.chunks_exact_mut(TILE).zip(scores.chunks_exact_mut(TILE));
        for (row, ((weights, scores), (&norm, &dot))) in rows.zip(norms.iter().zip(&dots[pair.local..])).enumerate() {
            let seen = if pair.diagonal { row + 1 } else { TILE };
            let shown = visible(pair.diagonal, seen);
            for (weight, score) in weights[..shown].iter_mut().zip(&mut scores[..shown]) {
                *weight = exp(*weight - norm);
                *score = *weight * (*score - dot);
            }
            weights[seen..].fill(0.0);
            scores[seen..].fill(0.0);
        }
    }

    /// Adds what the pair gives to the gradients by values, keys and queries.
    #[inline(always)]
    fn gain<S: Simd>(&mut self, simd: S, pair: Pair) {
        let padded = self.shape.padded;
        let Tiles { weights, scores, keys, key_gradient, value_gradient, outputs, queries, .. } = &mut *self.tiles;
        let columns = |data| Left::Columns { data, stride: TILE };
        let query = Right { data: &self.saved.queries[pair.query..pair.query + TILE * padded], stride: padded };
        let output = Right { data: &outputs[pair.local * padded..][..TILE * padded], stride: padded };
        let query_gradient = &mut queries[pair.local * padded..][..TILE * padded];
        let key = Right { data: keys, stride: padded };
        for row in (0..TILE).step_by(ROWS) {
            let later = if pair.diagonal { row } else { 0 }..TILE;
            let earlier = 0..if pair.diagonal { row + ROWS } else { TILE };
            let rows = Left::Rows { data: scores, stride: TILE };
            let out = |data| Out { data, stride: padded, columns: padded, add: true };
            strip(simd, out(&mut value_gradient[row * padded..]), columns(weights).from(row), output, later.clone());
            strip(simd, out(&mut key_gradient[row * padded..]), columns(scores).from(row), query, later);
            strip(simd, out(&mut query_gradient[row * padded..]), rows.from(row), key, earlier);
        }
    }

    #[inline(always)]
    fn store_keys(&mut self, kv_head: usize, tile: usize) {
        let Shape { heads, kv_heads, width, padded } = self.shape;
        let stride = self.shape.fused();
        let first = tile * TILE;
        for row in 0..TILE.min(self.length() - first) {
            let token = &mut self.fused[(first + row) * stride..][heads * width..stride];
            let (keys, values) = token.split_at_mut(kv_heads * width);
            let (from, to) = (row * padded..row * padded + width, kv_head * width..(kv_head + 1) * width);
            self.rotation.turn_back(&mut keys[to.clone()], &self.tiles.key_gradient[from.clone()], first + row, 1.0);
            values[to].copy_from_slice(&self.tiles.value_gradient[from]);
        }
    }

    #[inline(always)]
    fn store_queries(&mut self, kv_head: usize) {
        let Shape { width, padded, .. } = self.shape;
        let (tokens, group, stride) = (self.tokens(), self.shape.group(), self.shape.fused());
        let scale = 1.0 / (width as f32).sqrt();
        for local in 0..group {
            for token in 0..self.length() {
                let gradient = &self.tiles.queries[(local * tokens + token) * padded..][..width];
                let start = token * stride + (kv_head * group + local) * width;
                self.rotation.turn_back(&mut self.fused[start..start + width], gradient, token, scale);
            }
        }
    }
}
