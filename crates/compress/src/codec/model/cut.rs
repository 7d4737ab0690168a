//! Chunks as lines of columns.

use crate::layout::{Block, Layout, Section, part};

/// A line has not more columns.
pub(crate) const COLUMNS_MAX: usize = 256;

/// How the chunks of a section are cut into lines.
///
/// A line is a row of the chunk; or several rows, if they are shorter than half the layout's edge; or, if they are longer
/// than twice the edge or might have more than 256 elements, a run of as many elements as the edge is long, whatever the rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    /// Blocks side by side.
    pub(crate) across: usize,
    /// Most lines of a chunk.
    pub(crate) lines: usize,
    pub(crate) bands: usize,
    /// Most values of the section.
    pub(crate) values: usize,
    kind: Kind,
    matrix_columns: usize,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Rows(usize),
    Run(usize),
}

impl Geometry {
    pub(crate) fn new(layout: &Layout, section: &Section, top_k: usize) -> Geometry {
        let bands = &layout.bands()[section.bands.clone()];
        let (edge, across, matrix_columns) = (layout.edge(), bands[0].across, bands[0].columns);
        let narrowest = matrix_columns / across;
        let kind = if narrowest > 2 * edge || narrowest >= COLUMNS_MAX {
            Kind::Run(edge)
        } else {
            Kind::Rows((edge / 2).div_ceil(narrowest).max(1))
        };
        let values = section.values(layout, top_k);
        let geometry = Geometry { across, lines: 0, bands: bands.len(), values, kind, matrix_columns };
        let cuts = bands.iter().flat_map(|band| [0, across - 1].map(|index| geometry.cut(index, &band.block(index))));
        Geometry { lines: cuts.map(|cut| cut.lines()).max().unwrap_or(0), ..geometry }
    }

    /// Where the columns of a block begin among those of all blocks; for the number of blocks, where they end.
    pub(crate) fn base(&self, block: usize) -> usize {
        match self.kind {
            Kind::Rows(rows) if block == self.across => self.matrix_columns * rows,
            Kind::Rows(rows) => part(self.matrix_columns, self.across, block).start * rows,
            Kind::Run(length) => block * length,
        }
    }

    /// The cut of chunk `index` of a band.
    pub(crate) fn cut(&self, index: usize, block: &Block) -> Cut {
        let length = match self.kind {
            Kind::Rows(rows) => block.width * rows,
            Kind::Run(length) => length,
        };
        let reciprocal = (1_u64 << 32).div_ceil(length as u64);
        Cut { base: self.base(index), length, elements: block.len(), reciprocal }
    }
}

/// The lines of one chunk.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cut {
    /// Where its columns begin among those of all blocks.
    pub(crate) base: usize,
    /// Elements of a line; the last may be shorter.
    pub(crate) length: usize,
    /// Elements of all lines.
    pub(crate) elements: usize,
    /// 2^32 divided by the length, rounded up: exact for indices and lengths below 2^16.
    reciprocal: u64,
}

impl Cut {
    /// Number of lines.
    pub(crate) fn lines(&self) -> usize {
        self.elements.div_ceil(self.length)
    }

    /// The line of an element, without a branch that nobody could predict.
    #[inline(always)]
    pub(crate) fn line_of(&self, index: u16) -> usize {
        ((u64::from(index) * self.reciprocal) >> 32) as usize
    }
}
