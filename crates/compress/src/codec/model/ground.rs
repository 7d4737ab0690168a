//! Where the values of a section may lie, and how probable that is.
//!
//! Values crowd in some rows and columns of a matrix, and a gradient is a sum of few outer products, so that signs follow the
//! product of a sign of the row and one of the column. A section says of each line and each column how crowded it is, in
//! octaves, and to which sign it leans. Each element then has a *cell* as large as the product of both says, and the cells lie one
//! behind the other.

use crate::codec::ans::Coding;
use crate::codec::model::ChunkAt;
use crate::codec::model::cut::{COLUMNS_MAX, Cut, Geometry};
use crate::codec::model::distance::{Distances, LINE_BITS, table_of};
use crate::codec::model::head::Head;

/// How crowded a line or column can be.
pub(crate) const CLASSES: usize = 6;
/// No leaning, or one to a sign: bit 0 that there is one, bit 1 which.
pub(crate) const LEANS: [u8; 3] = [0, 1, 3];
const LINE: usize = 1 << LINE_BITS;

/// What a section says of its lines and columns: a class and one of [`LEANS`] each, lines band by band.
#[derive(Debug, Default, Clone)]
pub(crate) struct Marks {
    pub(crate) lines: Vec<(u8, u8)>,
    pub(crate) columns: Vec<(u8, u8)>,
}

impl Marks {
    pub(crate) fn new(geometry: &Geometry) -> Marks {
        Marks {
            lines: vec![(0, 0); geometry.bands * geometry.lines],
            columns: vec![(0, 0); geometry.base(geometry.across)],
        }
    }

    /// Codes the marks, in turn among the states.
    #[inline(always)]
    pub(crate) fn code(&mut self, coding: &mut impl Coding, head: &Head) {
        for (side, marks) in [(&head.lines, &mut self.lines), (&head.columns, &mut self.columns)] {
            if side.is_plain() {
                continue;
            }
            let (Some(tables), lanes) = (side.tables(), coding.lanes()) else { continue };
            for (turn, (class, lean)) in marks.iter_mut().enumerate() {
                let values = [u32::from(*class), u32::from(lean.div_ceil(2))];
                let [symbol, which] = coding.pair(turn % lanes, [&tables[0], &tables[1]], values);
                (*class, *lean) = (symbol as u8, LEANS[which as usize % LEANS.len()]);
            }
        }
    }
}

/// One stretch of places as long as a line of weight one, packed: the line, the first unit of the line, its class and its
/// leaning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit(u32);

impl Unit {
    fn new(line: usize, first: usize, (class, lean): (u8, u8)) -> Unit {
        Unit(line as u32 | (first as u32) << 10 | u32::from(class) << 25 | u32::from(lean) << 28)
    }

    #[inline(always)]
    fn line(self) -> u32 {
        self.0 & 0x3ff
    }

    /// The first place of the line.
    #[inline(always)]
    fn base(self) -> u32 {
        (self.0 >> 10 & 0x7fff) << LINE_BITS
    }

    #[inline(always)]
    fn class(self) -> u32 {
        self.0 >> 25 & 7
    }

    #[inline(always)]
    fn lean(self) -> u32 {
        self.0 >> 28
    }
}

/// The places of a column in a line of weight one, packed: the first, how many, the column and its leaning.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Span(u32);

impl Span {
    fn new(range: std::ops::Range<u32>, column: u32, lean: u8) -> Span {
        Span(range.start | (range.end - range.start) << 9 | column << 19 | u32::from(lean) << 28)
    }

    #[inline(always)]
    fn start(self) -> u32 {
        self.0 & 0x1ff
    }

    #[inline(always)]
    fn width(self) -> u32 {
        self.0 >> 9 & 0x3ff
    }

    #[inline(always)]
    fn column(self) -> u32 {
        self.0 >> 19 & 0x1ff
    }

    #[inline(always)]
    fn lean(self) -> u32 {
        self.0 >> 28
    }
}

/// The cells of all chunks of a section.
#[derive(Debug)]
pub(crate) struct Ground {
    geometry: Geometry,
    units: Vec<Unit>,
    /// Where the units of each band begin, and the end of the last.
    bands: Vec<usize>,
    /// Where among the units of its band a line begins.
    firsts: Vec<u16>,
    /// The span of each column of all blocks.
    spans: Vec<Span>,
    /// The span that a place of a line is in, by block.
    by_place: Vec<[Span; LINE]>,
    distances: &'static Distances,
    table: usize,
    low: u32,
}

impl Ground {
    #[inline(always)]
    pub(crate) fn new(geometry: Geometry, marks: &Marks) -> Ground {
        let (mut units, mut starts, mut firsts) = (Vec::new(), vec![0], Vec::with_capacity(marks.lines.len()));
        let mut lines = marks.lines.iter();
        for _ in 0..geometry.bands {
            let start = units.len();
            for (line, &mark) in (0..geometry.lines).zip(&mut lines) {
                let first = units.len() - start;
                firsts.push(first as u16);
                units.extend(std::iter::repeat_n(Unit::new(line, first, mark), 1 << mark.0));
            }
            starts.push(units.len());
        }
        let (table, low) = table_of(units.len() * geometry.across, geometry.values);
        let (spans, by_place, distances) = (Vec::new(), Vec::new(), Distances::of(table));
        let mut ground = Ground { geometry, units, bands: starts, firsts, spans, by_place, distances, table, low };
        for block in 0..geometry.across {
            ground.lay(&marks.columns[geometry.base(block)..geometry.base(block + 1)]);
        }
        ground
    }

    /// Lays out the columns of a block: one place each, the others by their weights.
    #[inline(always)]
    fn lay(&mut self, columns: &[(u8, u8)]) {
        let total = columns.iter().map(|&(class, _)| 1_u32 << class).sum::<u32>();
        let room = (LINE - columns.len()) as u32;
        let (mut start, mut before, mut by_place) = (0, 0, [Span::default(); LINE]);
        for (column, &(class, lean)) in (0..).zip(columns) {
            before += 1 << class;
            let end = column + 1 + room * before / total;
            let span = Span::new(start..end, column, lean);
            by_place[start as usize..end as usize].fill(span);
            self.spans.push(span);
            start = end;
        }
        self.by_place.push(by_place);
    }

    /// A walk over the cells of a chunk, of whose values the first has a number in its group.
    #[inline(always)]
    pub(crate) fn walk(&self, at: &ChunkAt, (first, count): (usize, usize)) -> Walk<'_> {
        let &ChunkAt { band, chunk, ref block, .. } = at;
        let columns = self.geometry.base(chunk)..self.geometry.base(chunk + 1);
        Walk {
            units: &self.units[self.bands[band]..self.bands[band + 1]],
            firsts: &self.firsts[band * self.geometry.lines..],
            spans: &self.spans[columns],
            by_place: &self.by_place[chunk],
            cut: self.geometry.cut(chunk, block),
            distances: self.distances,
            table: self.table,
            low: self.low,
            count,
            first,
            end: 0,
            fault: false,
        }
    }
}

/// A way through the cells of a chunk.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    units: &'a [Unit],
    firsts: &'a [u16],
    spans: &'a [Span],
    by_place: &'a [Span; LINE],
    cut: Cut,
    pub(crate) distances: &'static Distances,
    pub(crate) table: usize,
    pub(crate) low: u32,
    /// Number of values, and of the first among those of a group.
    pub(crate) count: usize,
    pub(crate) first: usize,
    /// Where the last cell ended.
    pub(crate) end: u32,
    /// A place was found that no writer writes.
    pub(crate) fault: bool,
}

/// The places that belong to an element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Number of its places that are used.
    pub(crate) size: u32,
    pub(crate) lean: u8,
}

impl Walk<'_> {
    #[inline(always)]
    pub(crate) fn line_and_column(&self, index: u16) -> (usize, usize) {
        let line = self.cut.line_of(index);
        (line, usize::from(index) - line * self.cut.length)
    }

    /// The cell of an element.
    #[inline(always)]
    pub(crate) fn cell(&self, line: usize, column: usize) -> Cell {
        self.cell_of(self.units[usize::from(self.firsts[line])], self.spans[column])
    }

    #[inline(always)]
    fn cell_of(&self, unit: Unit, span: Span) -> Cell {
        let start = unit.base() + (span.start() << unit.class());
        let size = span.width() << unit.class();
        // A leaning counts only where there are two.
        let both = unit.lean() & span.lean() & 1;
        let lean = both | (unit.lean() ^ span.lean()) & (both << 1);
        Cell { start, end: start + size, size: size.min(2 << self.low), lean: lean as u8 }
    }

    /// The element of a place, and its cell.
    #[inline(always)]
    pub(crate) fn find(&mut self, at: u32) -> (u16, Cell) {
        let Some(&unit) = self.units.get((at >> LINE_BITS) as usize) else {
            self.fault = true;
            return (0, Cell { start: at, end: at, size: 1, lean: 0 });
        };
        let span = self.by_place[(at.wrapping_sub(unit.base()) >> unit.class()) as usize & (LINE - 1)];
        let index = unit.line() * self.cut.length as u32 + span.column();
        let cell = self.cell_of(unit, span);
        self.fault |= (index >= self.cut.elements as u32) | (at.wrapping_sub(cell.start) >= cell.size);
        (index as u16, cell)
    }
}

const _: () = assert!(COLUMNS_MAX <= LINE);
