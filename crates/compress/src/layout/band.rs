//! A row of chunks.

use std::ops::Range;

use crate::layout::{Block, Layout, part};

/// A row of chunks: a contiguous run of whole rows of one tensor, the unit of work of one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Band {
    pub(crate) tensor: usize,
    pub(crate) offset: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) across: usize,
    /// Columns of its narrower chunks.
    pub(super) narrow: usize,
    /// Number of its chunks that have one column more.
    pub(super) wide: usize,
    /// Number of the band's first chunk among all chunks.
    pub(crate) chunk: usize,
    /// The section it belongs to.
    pub(crate) section: usize,
}

impl Band {
    pub(crate) fn len(&self) -> usize {
        self.rows * self.columns
    }

    pub(crate) fn block(&self, index: usize) -> Block {
        // Division is slow, and most bands are cut into equal parts.
        let columns = match self.wide {
            0 => self.narrow * index..self.narrow * (index + 1),
            _ => part(self.columns, self.across, index),
        };
        Block { start: columns.start, rows: self.rows, width: columns.len(), stride: self.columns }
    }

    /// Chunks side by side of which a thread works on as many at a time as have so many elements, or on a single larger one.
    pub(crate) fn panels(&self, elements: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (across, chunks) = (self.across, (elements / (self.rows * self.columns.div_ceil(self.across))).max(1));
        (0..across).step_by(chunks).map(move |start| start..(start + chunks).min(across))
    }

    /// How many chunks have how many elements.
    pub(crate) fn lengths(&self) -> [(usize, usize); 2] {
        [(self.across - self.wide, self.rows * self.narrow), (self.wide, self.rows * (self.narrow + 1))]
    }

    /// How many values are selected at most in its chunks, by their elements.
    pub(crate) fn kept(&self, layout: &Layout, top_k: usize) -> impl Fn(usize) -> usize + use<> {
        let [narrow, wide] = self.lengths().map(|(_, length)| layout.kept(length, top_k));
        let length = self.rows * self.narrow;
        move |elements| if elements == length { narrow } else { wide }
    }
}
