//! A tensor cut into chunks.

use crate::error::DeviceError;

/// The longest chunk: positions in it have 16 bits.
const CHUNK_MAX: usize = 1 << 16;

/// A tensor of `rows x columns`, row after row, inside a flat vector. Its rows are cut into `bands` parts and its columns
/// into `across` parts, as evenly as possible; a chunk is what a band and a part of the columns have in common. Chunks are
/// numbered along the bands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// Where it begins in the flat vector.
    pub offset: usize,
    /// Number of its first chunk among all chunks.
    pub chunk: usize,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Parts into which the rows are cut.
    pub bands: usize,
    /// Parts into which the columns are cut.
    pub across: usize,
}

impl Matrix {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows * self.columns
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of chunks.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.bands * self.across
    }

    /// The lengths that chunks may have: by whether one has a row more and a column more than the shortest.
    #[must_use]
    pub fn lengths(&self) -> [usize; 4] {
        let (rows, width) = (self.rows / self.bands.max(1), self.columns / self.across.max(1));
        [rows * width, rows * (width + 1), (rows + 1) * width, (rows + 1) * (width + 1)]
    }

    /// Elements of the longest chunk.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.rows.div_ceil(self.bands.max(1)) * self.columns.div_ceil(self.across.max(1))
    }

    /// Number of blocks that have one chunk each, if the kernels can take the matrix.
    pub(crate) fn blocks(&self) -> Result<u32, DeviceError> {
        let cut = (1..=self.rows).contains(&self.bands) && (1..=self.columns).contains(&self.across);
        if !cut || self.rows.checked_mul(self.columns).is_none() {
            return Err(DeviceError::Shape("a matrix is cut into at least one part and no more than it is long"));
        }
        if self.longest() > CHUNK_MAX {
            return Err(DeviceError::Shape("a chunk has more than 65,536 elements"));
        }
        let chunks = self.bands.checked_mul(self.across).filter(|&chunks| chunks <= i32::MAX as usize);
        chunks.map(|chunks| chunks as u32).ok_or(DeviceError::Shape("a tensor has more than 2^31 - 1 chunks"))
    }

    /// As the kernels take it, behind its first block; only if it has [`Matrix::blocks`].
    pub(crate) fn words(&self) -> [u64; 9] {
        let cut = |length: usize, parts: usize| [length / parts, length % parts, parts];
        let ([a, b, c], [d, e, f]) = (cut(self.rows, self.bands), cut(self.columns, self.across));
        [self.offset, self.chunk, self.columns, a, b, c, d, e, f].map(|number| number as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize, columns: usize, bands: usize, across: usize) -> Matrix {
        Matrix { offset: 3, chunk: 0, rows, columns, bands, across }
    }

    #[test]
    fn numbers_that_are_no_cut_are_refused() {
        assert_eq!(matrix(10, 7, 3, 2).blocks().unwrap(), 6);
        for (rows, columns, bands, across) in
            [(0, 1, 0, 1), (1, 0, 1, 0), (2, 2, 3, 1), (2, 2, 1, 3), (300, 300, 1, 1), (usize::MAX, 2, 1, 1)]
        {
            assert!(matches!(matrix(rows, columns, bands, across).blocks(), Err(DeviceError::Shape(_))), "{rows}");
        }
        assert!(matches!(matrix(1 << 32, 1, 1 << 32, 1).blocks(), Err(DeviceError::Shape(_))));
    }
}
