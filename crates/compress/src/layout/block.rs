//! One chunk inside the slice of its band.

use std::ops::Range;

/// `rows` runs of `width` elements, `stride` apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    pub(crate) start: usize,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) stride: usize,
}

impl Block {
    pub(crate) fn len(&self) -> usize {
        self.rows * self.width
    }

    /// Position in the band's slice of element `index` of the chunk.
    pub(crate) fn position(&self, index: usize) -> usize {
        self.start + index / self.width * self.stride + index % self.width
    }

    /// The same for many elements, without a division for each.
    pub(crate) fn places(self) -> Places {
        Places { block: self, reciprocal: (1_u64 << 32).div_ceil(self.width as u64) }
    }

    /// Range of the band's slice that holds a row of the chunk.
    pub(crate) fn run(self, row: usize) -> Range<usize> {
        let start = self.start + row * self.stride;
        start..start + self.width
    }

    /// Ranges of the band's slice that hold the chunk's rows.
    pub(crate) fn runs(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.rows).map(move |row| self.run(row))
    }
}

/// Where the elements of a chunk are in their band.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    block: Block,
    /// 2^32 divided by the width, rounded up: exact for elements and widths below 2^16.
    reciprocal: u64,
}

impl Places {
    /// Position in the band's slice of element `index` of the chunk.
    #[inline(always)]
    pub(crate) fn of(self, index: u16) -> usize {
        let row = ((u64::from(index) * self.reciprocal) >> 32) as usize;
        self.block.start + row * (self.block.stride - self.block.width) + usize::from(index)
    }
}
