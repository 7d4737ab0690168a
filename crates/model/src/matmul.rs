//! Matrix products on slices, by the gemm crate.
#![expect(unsafe_code, reason = "gemm takes raw pointers; this module alone calls it, behind checked views")]

use crate::team::Team;

/// Rows of a strip of a large product: enough that packing the right operand anew for each costs little.
const STRIP: usize = 256;
/// Multiplications above which a product of fewer rows is still cut in two.
const LARGE: usize = 1 << 23;

/// A view of `rows × columns` values; its constructors keep every element within `data`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Row-major view of the first `rows × columns` values.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self { data: &data[..rows * columns], rows, columns, row_stride: columns, column_stride: 1 }
    }

    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Rows `start..start + rows`.
    fn strip(self, start: usize, rows: usize) -> Self {
        assert!(start + rows <= self.rows, "a strip lies within its matrix");
        Self { data: &self.data[start * self.row_stride..], rows, ..self }
    }
}

/// `out = a·b`, or `out += a·b` if `add`; `out` is row-major.
///
/// The product is cut into strips of rows whose number depends on its size alone.
pub(crate) fn product(team: &Team, out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>, add: bool) {
    assert_eq!(a.columns, b.rows, "inner dimensions agree");
    assert_eq!(out.len(), a.rows * b.columns, "the output has the outer dimensions");
    let rows = strip(a.rows, out.len() * a.columns);
    let strips = out.chunks_mut(rows * b.columns).enumerate();
    team.each(strips, |(index, out)| single(out, a.strip(index * rows, out.len() / b.columns), b, add));
}

/// Rows of each strip.
fn strip(rows: usize, multiplications: usize) -> usize {
    let pieces = if multiplications > LARGE { (rows / STRIP).max(2) } else { 1 };
    rows.div_ceil(pieces).next_multiple_of(8)
}

/// One product on the calling thread.
fn single(out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>, add: bool) {
    let (rows, columns, inner) = (a.rows, b.columns, a.columns);
    let alpha = if add { 1.0 } else { 0.0 };
    // SAFETY: `a` and `b` hold every element that their dimensions and strides name (kept by the constructors and by
    // `strip`), `out` holds rows × columns values (checked by the caller through the strip's length), and the mutable
    // borrow of `out` excludes overlap. Strides of slices fit isize.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            columns as isize,
            add,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            alpha,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(a: &[f32], b: &[f32], [m, n, k]: [usize; 3]) -> Vec<f32> {
        let element = |i: usize, j: usize| (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum();
        (0..m * n).map(|at| element(at / n, at % n)).collect()
    }

    fn transpose(data: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        (0..data.len()).map(|at| data[at % rows * columns + at / rows]).collect()
    }

    #[test]
    fn all_orders_agree_with_the_definition() {
        let team = Team::new(2).unwrap();
        for [m, n, k] in [[1, 1, 1], [3, 5, 7], [70, 33, 64], [513, 129, 257]] {
            let a: Vec<f32> = (0..m * k).map(|i| ((i * 7 % 11) as f32) - 5.0).collect();
            let b: Vec<f32> = (0..k * n).map(|i| ((i * 5 % 13) as f32) - 6.0).collect();
            let expected = naive(&a, &b, [m, n, k]);
            let (at, bt) = (transpose(&a, m, k), transpose(&b, k, n));
            let a = [Matrix::new(&a, m, k), Matrix::new(&at, k, m).transposed()];
            let b = [Matrix::new(&b, k, n), Matrix::new(&bt, n, k).transposed()];
            for (a, b) in [(a[0], b[0]), (a[0], b[1]), (a[1], b[0]), (a[1], b[1])] {
                let mut out = vec![1.0; m * n];
                team.enter(|| product(&team, &mut out, a, b, false));
                assert_eq!(out, expected);
                team.enter(|| product(&team, &mut out, a, b, true));
                assert!(out.iter().zip(&expected).all(|(x, e)| *x == 2.0 * e));
            }
        }
    }
}
