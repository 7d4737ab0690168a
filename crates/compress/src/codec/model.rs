//! What the coder knows about the next symbol.
//!
//! Selected coordinates crowd in some rows and columns of a matrix, and their signs follow the product of a sign of the
//! row and one of the column, since a gradient is a sum of few outer products. All of it is learned from what has been
//! coded before, in whole numbers, so that every machine predicts the same. Hardly anything is learned inside a chunk:
//! symbols of one kind follow each other in a phase, and do not wait for what the one before was.

mod columns;
mod cut;
mod lines;
mod prior;
mod table;

use crate::bits::width_of;
use crate::codec::ans::Coding;
use crate::codec::model::columns::{Columns, Entry};
use crate::codec::model::cut::Cut;
use crate::codec::model::lines::{Lines, Place};
use crate::codec::model::table::{SYMBOLS_MAX, Table};
use crate::layout::Block;
use crate::quantise::Scales;
use crate::scale::{CODE_BITS, code_of};
use crate::settings::Quantiser;

pub(crate) use crate::codec::model::cut::Geometry;
pub(crate) use crate::codec::model::prior::Priors;

/// Strengths of leanings that are told apart.
const LEANS: usize = 6;
/// Most that the leaning of a column counts for a line.
const VOTE_MAX: i32 = 4;
/// Rounds in which lines and columns of the first band agree on their signs.
const FIRST_ROUNDS: usize = 3;
/// The scale, and the difference of two scales, that the first chunk of a section is expected to have.
const FIRST_SCALE: f32 = 1.0 / 4096.0;
const FIRST_GAP: u16 = 8;
/// Chunks after which tables settle at the latest, as a power of two.
const SETTLE_MAX: u32 = 5;

/// One chunk: given to a writer, filled by a reader.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) scales: Scales,
    pub(crate) indices: Vec<u16>,
    pub(crate) codes: Vec<u8>,
    /// The 31 bits of each value besides its sign, where values are sent as they are.
    pub(crate) magnitudes: Vec<u32>,
}

impl Slot {
    pub(crate) fn fill(&mut self, scales: Scales, indices: &[u16], codes: &[u8]) {
        self.scales = scales;
        self.indices.clear();
        self.indices.extend_from_slice(indices);
        self.codes.clear();
        self.codes.extend_from_slice(codes);
    }

    pub(crate) fn fill_magnitudes(&mut self, values: &[f32]) {
        self.magnitudes.clear();
        self.magnitudes.extend(values.iter().map(|value| value.abs().to_bits()));
    }
}

/// Everything learned so far in a section.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) slot: Slot,
    geometry: Geometry,
    quantiser: Quantiser,
    lines: Lines,
    columns: Columns,
    full: Table,
    codes: [[Table; LEANS]; LEANS],
    high: Table,
    gap: Table,
    /// The values of the band.
    entries: Vec<Entry>,
    places: Vec<Place>,
    /// Scales of the chunk to the left, and of those above by block.
    left: Option<Scales>,
    above: Vec<Option<Scales>>,
    chunks: u32,
    is_first: bool,
}

/// A reader found something that no writer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Count,
    Index,
}

impl Model {
    pub(crate) fn new(geometry: Geometry, priors: Priors, quantiser: Quantiser) -> Model {
        let codes = match quantiser {
            Quantiser::SignScale | Quantiser::Exact => Table::new(&[64; 2]),
            Quantiser::TwoLevels | Quantiser::Compatible => Table::new(&[44, 44, 20, 20]),
            Quantiser::FourBits => Table::new(&[16; 16]),
        };
        let steps = Table::new(&std::array::from_fn::<_, SYMBOLS_MAX, _>(|symbol| 64 >> (symbol / 3)));
        Model {
            slot: Slot::default(),
            geometry,
            quantiser,
            lines: Lines::new(geometry.lines, priors.line()),
            columns: Columns::new(geometry, priors.column()),
            full: Table::new(&[60, 4]),
            codes: [[codes; LEANS]; LEANS],
            high: steps,
            gap: steps,
            entries: Vec::new(),
            places: Vec::new(),
            left: None,
            above: vec![None; geometry.across],
            chunks: 0,
            is_first: true,
        }
    }

    /// Codes the slot as chunk `chunk` of the current band.
    #[inline(always)]
    pub(crate) fn chunk(
        &mut self,
        coding: &mut impl Coding,
        chunk: usize,
        block: &Block,
        kept: usize,
    ) -> Result<(), Fault> {
        let count = self.count(coding, kept);
        if !(self.quantiser.count_min(kept)..=kept).contains(&count) {
            return Err(Fault::Count);
        }
        self.slot.indices.resize(count, 0);
        self.slot.codes.resize(count, 0);
        if count > 0 {
            let cut = self.geometry.cut(chunk, block);
            if self.quantiser.scales() > 0 {
                self.scales(coding, chunk);
            }
            if !coding.reads() {
                self.lines.tally(&self.slot.indices, &cut);
            }
            self.lines.code(coding, &cut, count)?;
            self.positions(coding, chunk, &cut)?;
            self.codes(coding);
            if self.quantiser == Quantiser::Exact {
                self.magnitudes(coding, count);
            }
        }
        self.settle();
        Ok(())
    }

    /// Codes the number of values: nearly always as many as may be.
    fn count(&mut self, coding: &mut impl Coding, kept: usize) -> usize {
        let count = self.slot.indices.len();
        let other = coding.symbol(0, self.full.sums(), usize::from(count != kept));
        coding.end_phase();
        self.full.count(other);
        if other == 0 { kept } else { coding.number(width_of(kept + 1), count as u32) as usize }
    }

    fn scales(&mut self, coding: &mut impl Coding, chunk: usize) {
        let (high, gap) = match (self.left, self.above[chunk]) {
            (Some(a), Some(b)) => (middle(a.high, b.high), middle(a.high - a.low, b.high - b.low)),
            (Some(a), None) | (None, Some(a)) => (a.high, a.high - a.low),
            (None, None) => (code_of(FIRST_SCALE), FIRST_GAP),
        };
        let Scales { low, high: value } = self.slot.scales;
        let high = step(coding, &mut self.high, high, value);
        let low = match self.quantiser {
            Quantiser::TwoLevels | Quantiser::FourBits => {
                high.wrapping_sub(step(coding, &mut self.gap, gap, value.wrapping_sub(low)))
            }
            _ => 0,
        };
        self.slot.scales = Scales { low, high };
        // What a reader found is checked later; until then it must only not overflow.
        let known = Some(Scales { low: low.min(high), high });
        (self.left, self.above[chunk]) = (known, known);
    }

    /// Codes where in their lines the values are.
    #[inline(always)]
    fn positions(&mut self, coding: &mut impl Coding, chunk: usize, cut: &Cut) -> Result<(), Fault> {
        self.lines.list(cut.lines(), &mut self.places);
        let first = self.entries.len();
        let (mut from, mut is_sound) = (0, true);
        for (value, (place, index)) in self.places.iter().zip(&mut self.slot.indices).enumerate() {
            let (line, left) = (usize::from(place.line), usize::from(place.left));
            let start = line * cut.length;
            from = if place.is_first { 0 } else { from };
            is_sound &= from < cut.length;
            let sums = self.columns.sums(chunk, cut.base, cut.length, left);
            let known = usize::from(*index).wrapping_sub(start);
            let position = coding.symbol_from(value, sums, from.min(cut.length - 1), known);
            is_sound &= start + position < cut.elements;
            *index = (start + position) as u16;
            self.entries.push(Entry { line: place.line, negative: false, column: (cut.base + position) as u32 });
            from = position + 1;
        }
        coding.end_phase();
        debug_assert_eq!(self.entries.len() - first, self.slot.indices.len());
        if is_sound { Ok(()) } else { Err(Fault::Index) }
    }

    /// Codes signs and levels.
    #[inline(always)]
    fn codes(&mut self, coding: &mut impl Coding) {
        let first = self.entries.len() - self.slot.codes.len();
        let entries = self.entries[first..].iter_mut().zip(&mut self.slot.codes);
        for (turn, (entry, code)) in entries.enumerate() {
            let line_lean = self.lines.leans[usize::from(entry.line)];
            let column_lean = self.columns.lean(entry.column as usize);
            let expected = u8::from((line_lean ^ column_lean) < 0);
            let table = &mut self.codes[lean_class(line_lean)][lean_class(column_lean)];
            let symbol = coding.symbol(turn, table.sums(), usize::from(*code ^ expected));
            table.count(symbol);
            *code = symbol as u8 ^ expected;
            entry.negative = *code & 1 == 1;
        }
        coding.end_phase();
        let (columns, leans) = (&self.columns, &mut self.lines.leans);
        self.entries[first..].iter().for_each(|entry| vote(columns, entry, leans));
    }

    /// Codes the bits of the values besides their signs: nothing is expected of them.
    fn magnitudes(&mut self, coding: &mut impl Coding, count: usize) {
        self.slot.magnitudes.resize(count, 0);
        for (shift, width) in [(16, 15), (8, 8), (0, 8)] {
            for (turn, bits) in self.slot.magnitudes.iter_mut().enumerate() {
                let mask = (1 << width) - 1;
                let part = coding.raw(turn, width, *bits >> shift & mask);
                *bits = *bits & !(mask << shift) | part << shift;
            }
            coding.end_phase();
        }
    }

    /// Tables settle after each chunk at first, ever more rarely later.
    fn settle(&mut self) {
        self.chunks += 1;
        let period = 1 << self.chunks.ilog2().saturating_sub(1).min(SETTLE_MAX);
        if self.chunks.is_multiple_of(period) {
            self.lines.settle();
            self.codes.iter_mut().flatten().for_each(Table::settle);
            [&mut self.full, &mut self.high, &mut self.gap].into_iter().for_each(Table::settle);
        }
        if !self.geometry.has_rows() {
            self.lines.restart();
        }
    }

    /// Learns from the band that ends.
    pub(crate) fn close_band(&mut self) {
        self.columns.count(&self.entries);
        if std::mem::take(&mut self.is_first) {
            (0..FIRST_ROUNDS).for_each(|_| self.agree());
        } else {
            self.columns.vote(&self.entries, &self.lines.leans);
        }
        self.lines.restart();
        self.left = None;
        self.entries.clear();
    }

    /// Lets the columns vote for the lines of the band, then the lines for its columns anew.
    fn agree(&mut self) {
        let (columns, leans) = (&self.columns, &mut self.lines.leans);
        self.entries.iter().for_each(|entry| vote(columns, entry, leans));
        self.columns.forget(&self.entries);
        self.columns.vote(&self.entries, &self.lines.leans);
    }
}

/// Lets the column of a value vote for its line.
fn vote(columns: &Columns, entry: &Entry, leans: &mut [i32]) {
    let vote = columns.lean(entry.column as usize).clamp(-VOTE_MAX, VOTE_MAX);
    leans[usize::from(entry.line)] += if entry.negative { -vote } else { vote };
}

fn middle(a: u16, b: u16) -> u16 {
    (u32::from(a) + u32::from(b)).div_ceil(2) as u16
}

/// Number of bits of a leaning's size.
fn lean_class(lean: i32) -> usize {
    ((u32::BITS - lean.unsigned_abs().leading_zeros()) as usize).min(LEANS - 1)
}

/// Codes a number by its difference from a guess: 0, 1, -1, 2 and so on have symbols, all others a common one. What a
/// reader returns may be any number.
fn step(coding: &mut impl Coding, table: &mut Table, guess: u16, value: u16) -> u16 {
    let difference = i32::from(value) - i32::from(guess);
    let folded = if difference > 0 { 2 * difference - 1 } else { -2 * difference };
    let symbol = coding.symbol(0, table.sums(), (folded as usize).min(SYMBOLS_MAX - 1));
    coding.end_phase();
    table.count(symbol);
    if symbol == SYMBOLS_MAX - 1 {
        return coding.number(CODE_BITS, u32::from(value)) as u16;
    }
    let size = symbol.div_ceil(2) as u16;
    if symbol % 2 == 1 { guess.wrapping_add(size) } else { guess.wrapping_sub(size) }
}
