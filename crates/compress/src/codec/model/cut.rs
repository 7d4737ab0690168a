//! Chunks as lines of columns.

use std::ops::Range;

use crate::layout::{Block, Layout, Section, part};

/// How the chunks of a section are cut into lines: a line is a row of the chunk, or several rows if they are short.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    /// Blocks side by side.
    pub(crate) across: usize,
    /// Columns of all blocks, each once for every row of a line.
    pub(crate) columns: usize,
    /// Most lines of a chunk.
    pub(crate) lines: usize,
    rows_per_line: usize,
}

impl Geometry {
    pub(crate) fn new(layout: &Layout, section: &Section) -> Geometry {
        let bands = &layout.bands()[section.bands.clone()];
        let (across, columns) = (bands[0].across, bands[0].columns);
        let rows_per_line = (layout.edge() / 2).div_ceil(columns / across).max(1);
        let rows = bands.iter().map(|band| band.rows).max().unwrap_or(1);
        Geometry { across, rows_per_line, columns: columns * rows_per_line, lines: rows.div_ceil(rows_per_line) }
    }

    /// Where the columns of a block end among those of all blocks.
    pub(crate) fn block_end(&self, block: usize) -> usize {
        part(self.columns / self.rows_per_line, self.across, block).end * self.rows_per_line
    }

    /// The cut of one chunk.
    pub(crate) fn cut(&self, block: &Block) -> Cut {
        let length = block.width * self.rows_per_line;
        Cut { base: block.start * self.rows_per_line, length, elements: block.len() }
    }
}

/// The lines of one chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// Where its columns begin among those of all blocks.
    pub(crate) base: usize,
    /// Elements of a line.
    pub(crate) length: usize,
    elements: usize,
}

impl Cut {
    /// Number of lines.
    pub(crate) fn lines(&self) -> usize {
        self.elements.div_ceil(self.length)
    }

    /// Elements of one line; the last may be shorter.
    pub(crate) fn range(&self, line: usize) -> Range<usize> {
        line * self.length..((line + 1) * self.length).min(self.elements)
    }
}
