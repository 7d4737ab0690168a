//! What a section says of its lines and columns.

use std::ops::Range;

use crate::codec::ans::Coding;
use crate::codec::model::cut::Geometry;
use crate::codec::model::ground::{FIELDS_ROOM, Field};
use crate::codec::model::head::Head;
use crate::kernel::{Level, classes};

/// How crowded a line or column can be.
pub(crate) const CLASSES: usize = 6;

/// A class for each line and each column, and a leaning: 0 none, 1 to plus, 2 to minus. Lines lie band by band.
#[derive(Debug, Default, Clone)]
pub(crate) struct Marks {
    pub(crate) lines: Vec<[u8; 2]>,
    pub(crate) columns: Vec<[u8; 2]>,
}

impl Marks {
    pub(crate) fn new(geometry: &Geometry) -> Marks {
        Marks {
            lines: vec![[0; 2]; geometry.bands * geometry.lines],
            columns: vec![[0; 2]; geometry.base(geometry.across)],
        }
    }

    /// Codes the marks, in turn among the states.
    #[inline(always)]
    pub(crate) fn code(&mut self, coding: &mut impl Coding, head: &Head) {
        for (side, marks) in [(&head.lines, &mut self.lines), (&head.columns, &mut self.columns)] {
            if let Some([classes, leans]) = side.tables().filter(|_| !side.is_plain()) {
                coding.pairs([&classes, &leans], marks);
            }
        }
    }
}

/// A number for each class, and for as many more as fill a vector.
pub(crate) type ByClass = [u16; 8];

/// The members of each class of a group.
#[derive(Debug)]
pub(crate) struct Classes {
    /// Where they begin among the sorted ones; behind the last class, where they end.
    pub(crate) starts: ByClass,
    /// How many there are.
    pub(crate) counts: ByClass,
    /// For vectors, [`quotient`] of that.
    pub(crate) quotients: ByClass,
}

impl Classes {
    #[inline(always)]
    fn new(starts: ByClass) -> Classes {
        let counts = std::array::from_fn(|class| starts[(class + 1).min(starts.len() - 1)] - starts[class]);
        Classes { starts, counts, quotients: counts.map(quotient) }
    }
}

/// What vectors of bytes look up of a group of few members: by twice the class where its members begin, how many there are, and the lower and
/// the upper byte of [`quotient`] of that; and the members, class by class.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) starts: [u8; 16],
    pub(crate) counts: [u8; 16],
    pub(crate) quotients: [[u8; 16]; 2],
    pub(crate) sorted: [u8; Tables::MOST],
}

impl Tables {
    /// Most members; of more nothing is told.
    pub(crate) const MOST: usize = 64;

    fn new(classes: &Classes, members: &[u16]) -> Tables {
        let mut tables =
            Tables { starts: [0; 16], counts: [0; 16], quotients: [[0; 16]; 2], sorted: [0; Tables::MOST] };
        for class in 0..classes.starts.len() {
            let [low, high] = classes.quotients[class].to_le_bytes();
            (tables.quotients[0][2 * class], tables.quotients[1][2 * class]) = (low, high);
            (tables.starts[2 * class], tables.counts[2 * class]) =
                (classes.starts[class] as u8, classes.counts[class] as u8);
        }
        tables.sorted.iter_mut().zip(members).for_each(|(byte, &member)| *byte = member as u8);
        tables
    }
}

/// What vectors of bytes look up of a group of few members: of each its class and its number in that, and by the class how many there are.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) classes: [u8; Tables::MOST],
    pub(crate) ranks: [u8; Tables::MOST],
    pub(crate) counts: [u8; 16],
}

impl Members {
    fn new(classes: &Classes, ranks: &[(u8, u16)]) -> Members {
        let mut members = Members { classes: [0; Tables::MOST], ranks: [0; Tables::MOST], counts: [0; 16] };
        for (member, &(class, rank)) in ranks.iter().enumerate().take(Tables::MOST) {
            (members.classes[member], members.ranks[member]) = (class, rank as u8);
        }
        members.counts.iter_mut().zip(classes.counts).for_each(|(byte, count)| *byte = count as u8);
        members
    }
}

/// `2^16` divided by so many, rounded down; one less for one, and nothing for none. A number below `2^12` times that is the number's
/// quotient, or one less.
pub(crate) fn quotient(number: u16) -> u16 {
    (1_u32 << 16).checked_div(number.into()).unwrap_or(0).min(u16::MAX.into()) as u16
}

/// One over how many columns of a class there may be, in 2^-32, rounded up.
static RECIPROCALS: [u64; 512] = {
    let mut reciprocals = [0; 512];
    let mut number = 1;
    while number < reciprocals.len() {
        reciprocals[number] = (1_u64 << 32).div_ceil(number as u64);
        number += 1;
    }
    reciprocals
};

/// Bits of a number of lines or columns: those of all classes fit into one number, in which they are counted faster than in memory.
const COUNT_BITS: usize = 10;
const COUNT_MAX: u16 = (1 << COUNT_BITS) - 1;

/// Where the members of each class begin when they are sorted.
#[inline(always)]
fn starts(marks: &[[u8; 2]]) -> ByClass {
    let counts = marks.iter().fold(0_u64, |counts, &[class, _]| counts + (1 << (COUNT_BITS * usize::from(class))));
    let mut starts = [0; 8];
    for class in 0..starts.len() - 1 {
        let count = counts.checked_shr((COUNT_BITS * class) as u32).unwrap_or(0) as u16 & COUNT_MAX;
        starts[class + 1] = starts[class] + count;
    }
    starts
}

/// Sorts the members of a group by class, and tells where each class begins.
#[inline(always)]
fn sort(marks: &[[u8; 2]], sorted: &mut [u16], level: Level) -> ByClass {
    if let Some(starts) = classes::sort(level, marks, sorted) {
        return starts;
    }
    let starts = starts(marks);
    let mut ends = Ends::new(&starts);
    for (member, &[class, _]) in (0_u16..).zip(marks) {
        sorted[usize::from(ends.next(class))] = member;
    }
    starts
}

/// Where the next member of each class is to be put.
struct Ends(u64);

impl Ends {
    #[inline(always)]
    fn new(starts: &ByClass) -> Ends {
        Ends((0..CLASSES).fold(0, |ends, class| ends | u64::from(starts[class]) << (COUNT_BITS * class)))
    }

    #[inline(always)]
    fn next(&mut self, class: u8) -> u16 {
        let shift = COUNT_BITS * usize::from(class);
        let end = (self.0 >> shift) as u16 & COUNT_MAX;
        self.0 += 1 << shift;
        end
    }
}

/// The lines of all bands, or the columns of all blocks, each group of them by class.
#[derive(Debug)]
pub(crate) struct Side {
    /// No leaning, or one to a sign: bit 0 that there is one, bit 1 which.
    leans: Vec<u8>,
    /// The class of each, and its number among those of its class and group; where nobody asked for it nothing.
    ranks: Vec<(u8, u16)>,
    members: Vec<Members>,
    /// The numbers of a group's members, class by class.
    sorted: Vec<u16>,
    groups: Vec<(Range<usize>, Classes)>,
    /// The tables of each group, where vectors are such as need them.
    tables: Vec<Tables>,
}

impl Side {
    #[inline(always)]
    pub(crate) fn new(marks: &[[u8; 2]], groups: impl ExactSizeIterator<Item = Range<usize>>, level: Level) -> Side {
        // No leaning, one to plus, one to minus: 0, 1, 3.
        let leans = marks.iter().map(|&[_, lean]| lean + (lean >> 1)).collect();
        let (ranks, members, sorted) = (Vec::new(), Vec::new(), vec![0; marks.len()]);
        let of_groups = Vec::with_capacity(groups.len());
        let tables = Vec::with_capacity(if level.has_twins() { groups.len() } else { 0 });
        let mut side = Side { leans, ranks, members, sorted, groups: of_groups, tables };
        for group in groups {
            let starts = sort(&marks[group.clone()], &mut side.sorted[group.clone()], level);
            let classes = Classes::new(starts);
            if level.has_twins() {
                side.tables.push(Tables::new(&classes, &side.sorted[group.clone()]));
            }
            side.groups.push((group, classes));
        }
        side
    }

    /// Most members of a group.
    pub(crate) fn widest(&self) -> usize {
        self.groups.iter().map(|(range, _)| range.len()).max().unwrap_or(0)
    }

    /// Finds the number of each among those of its class and group.
    #[inline(always)]
    pub(crate) fn rank(&mut self, marks: &[[u8; 2]]) {
        self.ranks.clear();
        self.members.clear();
        for (group, classes) in &self.groups {
            let starts = &classes.starts;
            let mut ends = Ends::new(starts);
            let ranks =
                marks[group.clone()].iter().map(|&[class, _]| (class, ends.next(class) - starts[usize::from(class)]));
            let first = self.ranks.len();
            self.ranks.extend(ranks);
            self.members.push(Members::new(classes, &self.ranks[first..]));
        }
    }

    #[inline(always)]
    pub(crate) fn group(&self, number: usize) -> View<'_> {
        let (range, classes) = &self.groups[number];
        let range = range.clone();
        View {
            leans: &self.leans[range.clone()],
            ranks: self.ranks.get(range.clone()).unwrap_or_default(),
            members: self.members.get(number),
            sorted: &self.sorted[range],
            classes,
            tables: self.tables.get(number),
        }
    }

    /// For each group, how many there are of the class that each field says.
    pub(crate) fn counts_of(&self, fields: &[Field], class: impl Fn(Field) -> usize) -> Vec<[u16; FIELDS_ROOM]> {
        let counts = |group: usize| {
            let (view, mut counts) = (self.group(group), [0; FIELDS_ROOM]);
            counts.iter_mut().zip(fields).for_each(|(count, &field)| *count = view.count(class(field)) as u16);
            counts
        };
        (0..self.groups.len()).map(counts).collect()
    }

    /// How many there are of each class.
    pub(crate) fn counts(&self) -> [u64; CLASSES] {
        let of_all = |class: usize| self.groups.iter().map(|(_, classes)| u64::from(classes.counts[class])).sum();
        std::array::from_fn(of_all)
    }
}

/// The lines of a band, or the columns of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) leans: &'a [u8],
    pub(crate) ranks: &'a [(u8, u16)],
    pub(crate) members: Option<&'a Members>,
    pub(crate) sorted: &'a [u16],
    pub(crate) classes: &'a Classes,
    pub(crate) tables: Option<&'a Tables>,
}

impl View<'_> {
    /// How many there are of a class; none of those that do not exist.
    #[inline(always)]
    pub(crate) fn count(&self, class: usize) -> u32 {
        self.classes.counts[class].into()
    }

    /// In which row of as many as there are of a class a number is, and where in it: exact for what a field has.
    #[inline(always)]
    pub(crate) fn row(&self, class: usize, number: u32) -> (u32, u32) {
        let wide = self.count(class);
        let row = ((u64::from(number) * RECIPROCALS[wide as usize % RECIPROCALS.len()]) >> 32) as u32;
        (row, number.wrapping_sub(row.wrapping_mul(wide)))
    }

    /// Number `rank` of a class, or what is none.
    #[inline(always)]
    pub(crate) fn member(&self, class: usize, rank: u32) -> u32 {
        let place = usize::from(self.classes.starts[class]) + rank as usize;
        self.sorted.get(place).copied().unwrap_or(u16::MAX).into()
    }
}
