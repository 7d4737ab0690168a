//! Where the values of a section may lie, and how probable that is.
//!
//! Values crowd in some rows and columns of a matrix, and a gradient is a sum of few outer products, so that signs follow the
//! product of a sign of the row and one of the column. A section says of each line and each column how crowded it is, in
//! octaves, and to which sign it leans. Elements whose line and column are of the same two classes are a *field*: all of them are
//! equally probable, so that the distance from one value to the next is all that there is to say.

use std::ops::Range;

use crate::codec::model::ChunkAt;
use crate::codec::model::cut::{Cut, Geometry};
use crate::codec::model::distance::{Distances, table_of};
use crate::codec::model::marks::{CLASSES, Marks, Side, View};
use crate::kernel::Level;
use crate::kernel::fields::Lay;

/// Most fields of a chunk.
pub(crate) const FIELDS: usize = CLASSES * CLASSES;
/// As many as fill vectors, and what a vector that is written behind the last field takes.
pub(crate) const FIELDS_ROOM: usize = FIELDS.next_multiple_of(16);
pub(crate) const WALK_ROOM: usize = FIELDS + 16;

/// The elements of a line class and a column class, packed: how many (bits 0 to 16), the classes (17 to 19, 20 to 22), a bit that is set (23), and
/// how many octaves more probable than the least ones (24 to 27).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Field(pub(crate) u32);

impl Field {
    /// Masks and shifts.
    pub(crate) const LEN: u32 = 0x1_ffff;
    pub(crate) const LINE: u32 = 17;
    pub(crate) const COLUMN: u32 = 20;
    pub(crate) const OCTAVES: u32 = 24;
    /// What an element says of its field: the classes, and a bit by which it differs from nothing.
    pub(crate) const OF_ELEMENT: u32 = 7 << Field::LINE | 7 << Field::COLUMN | 1 << 23;
    /// What lies behind the last field: nobody comes to its end, and it has no classes.
    const BEHIND: Field = Field(Field::LEN | Field::OF_ELEMENT);

    #[inline(always)]
    pub(crate) fn len(self) -> u32 {
        self.0 & Field::LEN
    }

    #[inline(always)]
    pub(crate) fn octaves(self) -> u32 {
        self.0 >> Field::OCTAVES
    }

    #[inline(always)]
    pub(crate) fn line_class(self) -> usize {
        (self.0 >> Field::LINE & 7) as usize
    }

    #[inline(always)]
    pub(crate) fn column_class(self) -> usize {
        (self.0 >> Field::COLUMN & 7) as usize
    }

    /// Both classes, that of the column from bit 3 on.
    #[inline(always)]
    pub(crate) fn pair(self) -> usize {
        (self.0 >> Field::LINE & 0x3f) as usize
    }
}

impl Field {
    fn new(octaves: u32, (line, column): (usize, usize)) -> Field {
        Field(octaves << Field::OCTAVES | 1 << 23 | (line as u32) << Field::LINE | (column as u32) << Field::COLUMN)
    }
}

/// The fields of all chunks of a section.
#[derive(Debug)]
pub(crate) struct Ground {
    lines: Side,
    columns: Side,
    /// A field for each pair of classes, the most probable first: without its length; and nothing behind them.
    pub(crate) pairs: [Field; FIELDS_ROOM],
    /// How many pairs there are.
    pub(crate) known: usize,
    /// For each band how many lines, and for each block how many columns, there are in the class of each pair.
    line_counts: Vec<[u16; FIELDS_ROOM]>,
    column_counts: Vec<[u16; FIELDS_ROOM]>,
    pub(crate) distances: &'static Distances,
    pub(crate) low: u32,
    /// Most lines of a band, or columns of a block: vectors hold only so many.
    pub(crate) widest: usize,
}

impl Ground {
    #[inline(always)]
    pub(crate) fn new(geometry: Geometry, marks: &Marks, level: Level) -> Ground {
        let bands = (0..geometry.bands).map(|band| band * geometry.lines..(band + 1) * geometry.lines);
        let blocks = (0..geometry.across).map(|block| geometry.base(block)..geometry.base(block + 1));
        let (lines, columns) = (Side::new(&marks.lines, bands, level), Side::new(&marks.columns, blocks, level));
        let counts = [lines.counts(), columns.counts()];
        let octaves = |(line, column): (usize, usize)| (line + column) as u32;
        let all = (0..FIELDS).map(|pair| (CLASSES - 1 - pair / CLASSES, pair % CLASSES));
        let common = all.filter(|&(line, column)| counts[0][line] * counts[1][column] > 0);
        let mut pairs = common.map(|pair| (octaves(pair), pair)).collect::<Vec<_>>();
        pairs.sort_by_key(|&(octaves, _)| std::cmp::Reverse(octaves));
        let least = pairs.last().map_or(0, |&(octaves, _)| octaves);
        let [of_lines, of_columns]: [u64; 2] =
            counts.map(|counts| (0..CLASSES).map(|class| counts[class] << class).sum());
        let weight = (of_lines * of_columns) >> least;
        let (distances, low) = table_of(8 * weight, geometry.values);
        let mut fields = [Field::default(); FIELDS_ROOM];
        for (field, &(octaves, pair)) in fields.iter_mut().zip(&pairs) {
            *field = Field::new(low.min(octaves - least), pair);
        }
        let line_counts = lines.counts_of(&fields[..pairs.len()], Field::line_class);
        let column_counts = columns.counts_of(&fields[..pairs.len()], Field::column_class);
        let widest = lines.widest().max(columns.widest());
        let known = pairs.len();
        Ground { lines, columns, pairs: fields, known, line_counts, column_counts, distances, low, widest }
    }

    /// Finds where elements lie in their fields.
    #[inline(always)]
    pub(crate) fn rank(&mut self, marks: &Marks) {
        self.lines.rank(&marks.lines);
        self.columns.rank(&marks.columns);
    }

    /// Lays out the fields of a chunk.
    #[inline(always)]
    pub(crate) fn lay(&self, walk: &mut Walk, level: Level) {
        walk.used = lay(level, (&self.pairs, self.known), self.counts(walk), &mut walk.fields);
        walk.fields[walk.used..walk.used + 4].fill(Field::BEHIND);
    }

    /// How many lines and how many columns of a chunk there are in the class of each pair.
    #[inline(always)]
    pub(crate) fn counts(&self, walk: &Walk) -> [&[u16; FIELDS_ROOM]; 2] {
        [&self.line_counts[walk.band], &self.column_counts[walk.block]]
    }

    /// The lines and the columns of a chunk.
    #[inline(always)]
    pub(crate) fn sides(&self, walk: &Walk) -> (View<'_>, View<'_>) {
        (self.lines.group(walk.band), self.columns.group(walk.block))
    }
}

/// Lays out the fields of those pairs of which there are elements, and tells how many they are.
#[inline(always)]
fn lay(
    level: Level,
    (pairs, known): (&[Field; FIELDS_ROOM], usize),
    [lines, columns]: [&[u16; FIELDS_ROOM]; 2],
    fields: &mut [Field; WALK_ROOM],
) -> usize {
    if let Some(used) = level.run(Lay { pairs, known, lines, columns, fields }) {
        return used;
    }
    let mut used = 0;
    for (&pair, (&lines, &columns)) in pairs[..known].iter().zip(lines.iter().zip(columns)) {
        let len = u32::from(lines) * u32::from(columns);
        fields[used] = Field(pair.0 | len);
        used += usize::from(len > 0);
    }
    used
}

/// A way through the fields of a chunk.
#[derive(Debug, Clone)]
pub(crate) struct Walk {
    /// Those that have elements, and what lies behind them.
    pub(crate) fields: [Field; WALK_ROOM],
    /// Number of fields that have elements.
    pub(crate) used: usize,
    band: usize,
    block: usize,
    pub(crate) cut: Cut,
    /// The number of the first value among those of a group, and how many there are.
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// Something was found that no writer writes.
    pub(crate) fault: bool,
}

impl Default for Walk {
    fn default() -> Walk {
        let (fields, cut) = ([Field::BEHIND; WALK_ROOM], Cut::default());
        Walk { fields, used: 0, band: 0, block: 0, cut, first: 0, count: 0, fault: false }
    }
}

impl Walk {
    /// Makes it one over a chunk, of whose values the first has a number in its group.
    #[inline(always)]
    pub(crate) fn begin(&mut self, at: &ChunkAt, (first, count): (usize, usize)) {
        let &ChunkAt { band, chunk, cut, .. } = at;
        (self.band, self.block, self.cut) = (band, chunk, cut);
        (self.first, self.count, self.fault) = (first, count, false);
    }

    /// Its values among those of its group.
    pub(crate) fn values(&self) -> Range<usize> {
        self.first..self.first + self.count
    }

    #[inline(always)]
    pub(crate) fn line_and_column(&self, index: u16) -> (usize, usize) {
        let line = self.cut.line_of(index);
        (line, usize::from(index) - line * self.cut.length)
    }

    /// To which sign an element leans.
    #[inline(always)]
    pub(crate) fn lean(&self, (lines, columns): (View<'_>, View<'_>), index: u16) -> u8 {
        let (line, column) = self.line_and_column(index);
        let (line, column) = (lines.leans[line], columns.leans[column]);
        // A leaning counts only where there are two.
        let both = line & column & 1;
        both | (line ^ column) & (both << 1)
    }

    /// The index of an element. One that is none of the chunk is a fault.
    #[inline(always)]
    pub(crate) fn index(&mut self, (lines, columns): (View<'_>, View<'_>), Element(element): Element) -> u16 {
        let (field, rank) = (Field(element), element & Field::LEN);
        let (line, column) = (field.line_class(), field.column_class());
        let (row, rank) = columns.row(column, rank);
        let (line, column) = (lines.member(line, row), columns.member(column, rank));
        let index = (line * self.cut.length as u32).saturating_add(column);
        self.fault |= index >= self.cut.elements as u32;
        index as u16
    }
}

/// The number of an element in its field, and the field's classes.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Element(pub(crate) u32);

impl Element {
    #[inline(always)]
    pub(crate) fn new(field: Field, rank: u32) -> Element {
        Element(field.0 & Field::OF_ELEMENT | rank & Field::LEN)
    }
}
