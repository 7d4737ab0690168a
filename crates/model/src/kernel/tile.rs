//! Products of small matrices that lie in the first-level cache, for the tiles of attention.

use std::ops::Range;

use pulp::Simd;

/// Rows computed together.
pub(crate) const ROWS: usize = 8;
/// Widths of tiles are multiples of this, the widest vector in f32 lanes.
pub(crate) const LANES: usize = 16;

/// The left operand: element `(row, p)` is `data[row · row_stride + p · inner_stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row_stride: usize,
    pub(crate) inner_stride: usize,
}

/// The right operand: row `p` starts at `data[p · stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) stride: usize,
}

impl<'a> Left<'a> {
    /// The operand from this row on.
    #[inline(always)]
    pub(crate) fn from(self, row: usize) -> Self {
        Self { data: &self.data[row * self.row_stride..], ..self }
    }
}

/// Where a strip is written, from its first row on.
pub(crate) struct Out<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) stride: usize,
    /// A multiple of [`LANES`].
    pub(crate) columns: usize,
    /// Whether the product is added to what is there.
    pub(crate) add: bool,
}

/// `out[i, j] (+)= Σ a(i, p) · b[p, j]` for i in 0..[`ROWS`], j in 0..columns and p in inner.
#[inline(always)]
pub(crate) fn strip<S: Simd>(simd: S, out: Out<'_>, a: Left<'_>, b: Right<'_>, inner: Range<usize>) {
    // Registers: 8 × 2 sums fit the 32 of AVX-512; narrower sets have 16 and take 4 rows at a time.
    let wide = S::F32_LANES >= LANES;
    let mut column = 0;
    while column < out.columns {
        let pair = out.columns - column >= 2 * S::F32_LANES;
        for row in (0..ROWS).step_by(if wide { ROWS } else { ROWS / 2 }) {
            let data = &mut out.data[row * out.stride + column..];
            let mut block = Block { simd, data, stride: out.stride, add: out.add, inner: inner.clone() };
            let (a, b) = (a.from(row), Right { data: &b.data[column..], ..b });
            match (wide, pair) {
                (true, true) => block.run::<ROWS, 2>(a, b),
                (true, false) => block.run::<ROWS, 1>(a, b),
                (false, true) => block.run::<{ ROWS / 2 }, 2>(a, b),
                (false, false) => block.run::<{ ROWS / 2 }, 1>(a, b),
            }
        }
        column += if pair { 2 } else { 1 } * S::F32_LANES;
    }
}

struct Block<'a, S> {
    simd: S,
    data: &'a mut [f32],
    stride: usize,
    add: bool,
    inner: Range<usize>,
}

impl<S: Simd> Block<'_, S> {
    #[inline(always)]
    fn run<const M: usize, const N: usize>(&mut self, a: Left<'_>, b: Right<'_>) {
        let Self { simd, stride, add, .. } = *self;
        let width = N * S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); N]; M];
        for p in self.inner.clone() {
            let vectors = S::as_simd_f32s(&b.data[p * b.stride..p * b.stride + width]).0;
            for (i, sums) in sums.iter_mut().enumerate() {
                let value = simd.splat_f32s(a.data[i * a.row_stride + p * a.inner_stride]);
                accumulate(simd, sums, value, vectors);
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            let vectors = S::as_mut_simd_f32s(&mut self.data[i * stride..i * stride + width]).0;
            let start = |vector| if add { vector } else { simd.splat_f32s(0.0) };
            vectors.iter_mut().zip(sums).for_each(|(vector, &sum)| *vector = simd.add_f32s(start(*vector), sum));
        }
    }
}

#[inline(always)]
fn accumulate<S: Simd, const N: usize>(simd: S, sums: &mut [S::f32s; N], value: S::f32s, vectors: &[S::f32s]) {
    for (sum, &vector) in sums.iter_mut().zip(vectors) {
        *sum = simd.mul_add_e_f32s(value, vector, *sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Call<'a>(&'a mut [f32], Left<'a>, Right<'a>, usize);

    impl pulp::WithSimd for Call<'_> {
        type Output = ();

        fn with_simd<S: Simd>(self, simd: S) {
            let Call(data, a, b, columns) = self;
            for row in [0, ROWS] {
                let data = &mut data[row * columns..];
                strip(simd, Out { data, stride: columns, columns, add: true }, a.from(row), b, 1..5);
            }
        }
    }

    #[test]
    fn strips_agree_with_the_definition() {
        for columns in [16, 32, 48, 64] {
            let a: Vec<f32> = (0..16 * 6).map(|i| (i % 7) as f32).collect();
            let b: Vec<f32> = (0..6 * columns).map(|i| (i % 5) as f32 - 2.0).collect();
            for (row_stride, inner_stride) in [(6, 1), (1, 16)] {
                let left = Left { data: &a, row_stride, inner_stride };
                let mut out = vec![1.0; 16 * columns];
                pulp::Arch::new().dispatch(Call(&mut out, left, Right { data: &b, stride: columns }, columns));
                let left = |at: usize, p: usize| a[at / columns * row_stride + p * inner_stride];
                let term = |at: usize, p: usize| left(at, p) * b[p * columns + at % columns];
                let expected = |at: usize| 1.0 + (1..5).map(|p| term(at, p)).sum::<f32>();
                assert!((0..out.len()).all(|at| out[at] == expected(at)), "{columns} {row_stride}");
            }
        }
    }
}
