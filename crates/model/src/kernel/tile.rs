//! Products of small matrices that lie in the first-level cache, for the tiles of attention.

use std::ops::Range;

use pulp::Simd;

/// Rows computed together.
pub(crate) const ROWS: usize = 8;
/// Widths of tiles are multiples of this, the widest vector in f32 lanes.
pub(crate) const LANES: usize = 16;

/// The left operand, row by row or column by column.
#[derive(Clone, Copy)]
pub(crate) enum Left<'a> {
    /// Element `(row, p)` is `data[row · stride + p]`.
    Rows { data: &'a [f32], stride: usize },
    /// Element `(row, p)` is `data[p · stride + row]`.
    Columns { data: &'a [f32], stride: usize },
}

/// The right operand: row `p` starts at `data[p · stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) stride: usize,
}

impl Left<'_> {
    /// The operand from this row on.
    #[inline(always)]
    pub(crate) fn from(self, row: usize) -> Self {
        match self {
            Self::Rows { data, stride } => Self::Rows { data: &data[row * stride..], stride },
            Self::Columns { data, stride } => Self::Columns { data: &data[row..], stride },
        }
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
            let block = Block { simd, data, stride: out.stride, add: out.add, inner: inner.clone() };
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
    fn run<const M: usize, const N: usize>(self, a: Left<'_>, b: Right<'_>) {
        let b = Right { data: &b.data[self.inner.start * b.stride..], ..b };
        let sums = match a {
            Left::Rows { data, stride } => {
                let rows = std::array::from_fn(
                    #[inline(always)]
                    |row| &data[row * stride..][self.inner.clone()],
                );
                by_rows::<S, M, N>(self.simd, rows, b)
            }
            Left::Columns { data, stride } => {
                by_columns::<S, M, N>(self.simd, &data[self.inner.start * stride..], stride, self.inner.len(), b)
            }
        };
        for (row, sums) in sums.into_iter().enumerate() {
            let start = row * self.stride;
            let vectors = S::as_mut_simd_f32s(&mut self.data[start..start + N * S::F32_LANES]).0;
            store(self.simd, vectors, sums, self.add);
        }
    }
}

#[inline(always)]
fn store<S: Simd, const N: usize>(simd: S, to: &mut [S::f32s], sums: [S::f32s; N], add: bool) {
    for (to, sum) in to.iter_mut().zip(sums) {
        *to = if add { simd.add_f32s(*to, sum) } else { sum };
    }
}

// The loops below leave at what cannot happen instead of panicking: with a way to unwind, the sums would be stored in
// memory at every step.

#[inline(always)]
fn by_rows<S: Simd, const M: usize, const N: usize>(simd: S, a: [&[f32]; M], b: Right<'_>) -> [[S::f32s; N]; M] {
    let mut sums = [[simd.splat_f32s(0.0); N]; M];
    let len = a[0].len();
    if a.iter().any(|row| row.len() != len) {
        return sums;
    }
    let mut rest = b.data;
    let mut p = 0;
    while p < len {
        let Some(vectors) = vectors::<S, N>(rest) else { break };
        step(
            simd,
            &mut sums,
            vectors,
            #[inline(always)]
            |row| a[row][p],
        );
        p += 1;
        rest = rest.get(b.stride..).unwrap_or(&[]);
    }
    sums
}

#[inline(always)]
fn by_columns<S: Simd, const M: usize, const N: usize>(
    simd: S,
    a: &[f32],
    stride: usize,
    len: usize,
    b: Right<'_>,
) -> [[S::f32s; N]; M] {
    let mut sums = [[simd.splat_f32s(0.0); N]; M];
    let (mut a, mut rest) = (a, b.data);
    for _ in 0..len {
        let (Some(column), Some(vectors)) = (a.first_chunk::<M>(), vectors::<S, N>(rest)) else { break };
        step(
            simd,
            &mut sums,
            vectors,
            #[inline(always)]
            |row| column[row],
        );
        a = a.get(stride..).unwrap_or(&[]);
        rest = rest.get(b.stride..).unwrap_or(&[]);
    }
    sums
}

#[inline(always)]
fn vectors<S: Simd, const N: usize>(row: &[f32]) -> Option<&[S::f32s; N]> {
    S::as_simd_f32s(row.get(..N * S::F32_LANES)?).0.first_chunk()
}

#[inline(always)]
fn step<S: Simd, const M: usize, const N: usize>(
    simd: S,
    sums: &mut [[S::f32s; N]; M],
    vectors: &[S::f32s; N],
    left: impl Fn(usize) -> f32,
) {
    for (row, sums) in sums.iter_mut().enumerate() {
        let value = simd.splat_f32s(left(row));
        for n in 0..N {
            sums[n] = simd.mul_add_e_f32s(value, vectors[n], sums[n]);
        }
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
        check(|call| pulp::Arch::new().dispatch(call));
        check(|call| pulp::Simd::vectorize(pulp::Scalar::new(), call));
        #[cfg(target_arch = "x86_64")]
        if let Some(narrow) = pulp::x86::V3::try_new() {
            check(|call| pulp::Simd::vectorize(narrow, call));
        }
    }

    fn check(call: impl Fn(Call<'_>)) {
        for columns in [16, 32, 48, 64] {
            let a: Vec<f32> = (0..16 * 6).map(|i| (i % 7) as f32).collect();
            let b: Vec<f32> = (0..6 * columns).map(|i| (i % 5) as f32 - 2.0).collect();
            let rows = Left::Rows { data: &a, stride: 6 };
            let across = Left::Columns { data: &a, stride: 16 };
            for (left, row_stride, inner_stride) in [(rows, 6, 1), (across, 1, 16)] {
                let mut out = vec![1.0; 16 * columns];
                call(Call(&mut out, left, Right { data: &b, stride: columns }, columns));
                let left = |at: usize, p: usize| a[at / columns * row_stride + p * inner_stride];
                let term = |at: usize, p: usize| left(at, p) * b[p * columns + at % columns];
                let expected = |at: usize| 1.0 + (1..5).map(|p| term(at, p)).sum::<f32>();
                assert!((0..out.len()).all(|at| out[at] == expected(at)), "{columns} {row_stride}");
            }
        }
    }
}
