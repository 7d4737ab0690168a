//! The cosine transform of chunks, as a step of its own before compression.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::FRAC_PI_2;

use rayon::prelude::*;

use crate::layout::{Block, Layout, part};

/// The orthonormal cosine transform (DCT-II) of every chunk along both of its sides, and back: the transform of DeMo
/// (arXiv 2411.19870) and DisTrO.
///
/// With `n` elements along a side, coefficient `k` is `s_k * sum_j x_j * cos(pi * (2j + 1) * k / 2n)`, where `s_0 =
/// sqrt(1/n)` and `s_k = sqrt(2/n)`. A side longer than the layout's edge, such as that of a vector, is cut into equal runs
/// of at most the edge. The transform is linear and keeps norms: error feedback may live among the coefficients, and
/// aggregates of coefficients are coefficients of aggregates. A chunk of 64 x 64 takes 2^20 multiplications and additions.
///
/// All operations have a fixed order, `f32`, never fused, and the cosines are computed by additions and multiplications
/// alone: the same bits on every machine and for any number of threads.
#[derive(Debug, Clone)]
pub struct Cosine {
    layout: Layout,
    /// By length: row `k` holds the factors of coefficient `k`; and the same transposed.
    bases: BTreeMap<usize, [Vec<f32>; 2]>,
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    Forward,
    Inverse,
}

impl Cosine {
    /// The transform for the chunks of one layout.
    #[must_use]
    pub fn new(layout: Layout) -> Cosine {
        let blocks = layout.bands().iter().flat_map(|band| [band.block(0), band.block(band.across - 1)]);
        let sides = blocks.flat_map(|block| [block.rows, block.width]).collect::<BTreeSet<_>>();
        let runs = sides.into_iter().map(|side| (side, side.div_ceil(layout.edge())));
        let lengths = runs.flat_map(|(side, runs)| [side / runs, side.div_ceil(runs)]).collect::<BTreeSet<_>>();
        let bases = lengths.into_iter().map(|length| (length, basis(length))).collect();
        Cosine { layout, bases }
    }

    /// Replaces the values of every chunk by their coefficients.
    ///
    /// # Panics
    /// If the slice is not as long as the layout.
    pub fn forward(&self, dense: &mut [f32]) {
        self.run(dense, Direction::Forward);
    }

    /// Replaces the coefficients of every chunk by their values.
    ///
    /// # Panics
    /// If the slice is not as long as the layout.
    pub fn inverse(&self, dense: &mut [f32]) {
        self.run(dense, Direction::Inverse);
    }

    fn run(&self, dense: &mut [f32], direction: Direction) {
        assert_eq!(dense.len(), self.layout.len(), "the dense vector is not as long as the layout");
        let work = self.layout.bands().par_iter().zip(self.layout.split_mut(dense));
        work.for_each_init(Default::default, |space, (band, slice)| {
            (0..band.across).for_each(|index| self.block(band.block(index), slice, (space, direction)));
        });
    }

    fn block(&self, block: Block, slice: &mut [f32], (space, direction): (&mut [Vec<f32>; 2], Direction)) {
        let [chunk, turned] = space;
        self.along_rows(block, slice, (chunk, direction));
        self.along_columns(block, chunk, (turned, direction));
        for (run, values) in block.runs().zip(turned.chunks_exact(block.width)) {
            slice[run].copy_from_slice(values);
        }
    }

    /// Transforms each row of a block into `out`.
    fn along_rows(&self, block: Block, slice: &[f32], (out, direction): (&mut Vec<f32>, Direction)) {
        out.clear();
        out.resize(block.len(), 0.0);
        let runs = block.width.div_ceil(self.layout.edge());
        for (row, out) in block.runs().zip(out.chunks_exact_mut(block.width)) {
            for range in (0..runs).map(|run| part(block.width, runs, run)) {
                let factors = self.factors(range.len(), direction)[0].chunks_exact(range.len());
                let (from, to) = (&slice[row.clone()][range.clone()], &mut out[range]);
                from.iter().zip(factors).for_each(|(&value, factors)| add(to, value, factors));
            }
        }
    }

    /// Transforms each column of a chunk into `out`, all columns at once.
    fn along_columns(&self, block: Block, chunk: &[f32], (out, direction): (&mut Vec<f32>, Direction)) {
        out.clear();
        out.resize(block.len(), 0.0);
        let runs = block.rows.div_ceil(self.layout.edge());
        for range in (0..runs).map(|run| part(block.rows, runs, run)) {
            let elements = range.start * block.width..range.end * block.width;
            let (from, to) = (&chunk[elements.clone()], &mut out[elements]);
            let factors = self.factors(range.len(), direction);
            for (to, factors) in to.chunks_exact_mut(block.width).zip(factors[1].chunks_exact(range.len())) {
                let rows = from.chunks_exact(block.width);
                factors.iter().zip(rows).for_each(|(&factor, row)| add(to, factor, row));
            }
        }
    }

    /// The factors of each value in all results, and those of all values in each result.
    fn factors(&self, length: usize, direction: Direction) -> [&[f32]; 2] {
        let [rows, columns] = &self.bases[&length];
        match direction {
            Direction::Forward => [columns, rows],
            Direction::Inverse => [rows, columns],
        }
    }
}

/// `to += factor * from`.
fn add(to: &mut [f32], factor: f32, from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += factor * from);
}

/// The matrix of the transform of `n` values, and its transpose.
fn basis(n: usize) -> [Vec<f32>; 2] {
    let mut all = [vec![0.0; n * n], vec![0.0; n * n]];
    for k in 0..n {
        let scale = (if k == 0 { 1.0 } else { 2.0 } / n as f64).sqrt();
        for j in 0..n {
            let factor = (scale * cosine((2 * j + 1) * k, n)) as f32;
            (all[0][k * n + j], all[1][j * n + k]) = (factor, factor);
        }
    }
    all
}

/// `cos(pi/2 * m / n)`, by its power series in the first quadrant.
fn cosine(m: usize, n: usize) -> f64 {
    let (quadrant, rest) = (m / n % 4, m % n);
    // cos(pi/2 + x) = -sin(x) = -cos(pi/2 - x)
    let steps = if quadrant % 2 == 0 { rest } else { n - rest };
    let square = (FRAC_PI_2 * steps as f64 / n as f64).powi(2);
    let series = (1..=14).rev().fold(1.0, |sum, i| 1.0 - sum * square / f64::from(2 * i * (2 * i - 1)));
    if quadrant == 1 || quadrant == 2 { -series } else { series }
}

#[cfg(test)]
mod tests;
