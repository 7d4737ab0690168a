//! What the coder knows about the next symbol.
//!
//! Selected coordinates crowd in some rows and columns of a matrix, and their signs follow both. All of it is learned from what has been coded before, in
//! whole numbers, so that every machine predicts the same. Hardly anything is learned inside a chunk: symbols of one kind
//! follow each other in a phase, and do not wait for what the one before was.

mod columns;
mod cut;
mod learned;
mod lines;
mod prior;
mod signs;
mod tables;

use crate::bits::width_of;
use crate::codec::ans::Coding;
use crate::codec::model::columns::Columns;
use crate::codec::model::cut::Cut;
use crate::codec::model::learned::{Learned, SYMBOLS_MAX};
use crate::codec::model::lines::{Lines, Place};
use crate::codec::model::signs::Signs;
use crate::layout::Block;
use crate::quantise::Scales;
use crate::scale::{CODE_BITS, code_of};
use crate::settings::Quantiser;

pub(crate) use crate::codec::model::cut::Geometry;
pub(crate) use crate::codec::model::prior::Priors;
pub(crate) use crate::codec::model::tables::Tables;

/// Values whose levels are coded together.
const LEVELS: usize = 4;
/// The scale, and the difference of two scales, that the first chunk of a section is expected to have.
const FIRST_SCALE: f32 = 1.0 / 4096.0;
const FIRST_GAP: u16 = 8;
/// What is expected of the levels of four values, the first in the lowest bit: three of ten are the upper one.
const QUADS: [u16; 16] = [57, 26, 26, 12, 26, 12, 12, 5, 26, 12, 12, 5, 12, 5, 5, 2];
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
    signs: Signs,
    /// Everything that is asked once a chunk, and levels.
    learned: Learned,
    places: Vec<Place>,
    /// Line and column of each value of the chunk.
    coordinates: Vec<(u32, u32)>,
    /// Scales of the chunk to the left, and of those above by block.
    left: Option<Scales>,
    above: Vec<Option<Scales>>,
    chunks: u32,
}

/// Table for whether a chunk holds as many values as it may.
const FULL: u32 = 0;
/// Tables for the difference of a scale from its guess, and of the distance of two scales.
const HIGH: u32 = 1;
const GAP: u32 = 2;
/// Table for the levels of four values, or for one of eight magnitudes.
const LEVEL: u32 = 3;

/// A reader found something that no writer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Count,
    Index,
}

impl Model {
    pub(crate) fn new(geometry: Geometry, priors: Priors, quantiser: Quantiser, reads: bool) -> Model {
        let steps = std::array::from_fn::<_, SYMBOLS_MAX, _>(|symbol| 64 >> (symbol / 3));
        let levels = if quantiser == Quantiser::FourBits { &[16; 8][..] } else { &QUADS };
        Model {
            slot: Slot::default(),
            geometry,
            quantiser,
            lines: Lines::new(geometry.lines, priors.line(), reads),
            columns: Columns::new(geometry, priors.column(), reads),
            signs: Signs::new(geometry.lines, geometry.base(geometry.across)),
            learned: Learned::new([&[60, 4][..], &steps, &steps, levels], reads),
            places: Vec::new(),
            coordinates: Vec::new(),
            left: None,
            above: vec![None; geometry.across],
            chunks: 0,
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
        if coding.reads() {
            self.slot.codes.clear();
        }
        self.slot.codes.resize(count, 0);
        self.coordinates.resize(count, (0, 0));
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
            self.signs.code(coding, &self.coordinates, &mut self.slot.codes);
            match self.quantiser {
                Quantiser::SignScale => {}
                Quantiser::TwoLevels | Quantiser::Compatible => self.levels(coding),
                Quantiser::FourBits => self.eighths(coding),
                Quantiser::Exact => magnitudes(coding, &mut self.slot.magnitudes, count),
            }
        }
        self.settle();
        Ok(())
    }

    /// Codes the number of values: nearly always as many as may be.
    fn count(&mut self, coding: &mut impl Coding, kept: usize) -> usize {
        let count = self.slot.indices.len();
        let other = coding.symbol(0, &self.learned.tables, FULL, u32::from(count != kept));
        self.learned.count(FULL, other);
        if other == 0 { kept } else { coding.number(width_of(kept + 1), count as u32) as usize }
    }

    fn scales(&mut self, coding: &mut impl Coding, chunk: usize) {
        let (high, gap) = match (self.left, self.above[chunk]) {
            (Some(a), Some(b)) => (middle(a.high, b.high), middle(a.high - a.low, b.high - b.low)),
            (Some(a), None) | (None, Some(a)) => (a.high, a.high - a.low),
            (None, None) => (code_of(FIRST_SCALE), FIRST_GAP),
        };
        let Scales { low, high: value } = self.slot.scales;
        let high = step(coding, &mut self.learned, HIGH, (high, value));
        let low = match self.quantiser {
            Quantiser::TwoLevels | Quantiser::FourBits => {
                high.wrapping_sub(step(coding, &mut self.learned, GAP, (gap, value.wrapping_sub(low))))
            }
            _ => 0,
        };
        self.slot.scales = Scales { low, high };
        // What a reader found is checked later; until then it must only not overflow.
        let known = Some(Scales { low: low.min(high), high });
        (self.left, self.above[chunk]) = (known, known);
    }

    /// Codes where in their lines the values are: the first of each line, the second of each that has one, and so on.
    #[inline(always)]
    fn positions(&mut self, coding: &mut impl Coding, chunk: usize, cut: &Cut) -> Result<(), Fault> {
        self.lines.list(cut, &mut self.places);
        self.round::<true>(coding, chunk, cut);
        while !self.places.is_empty() {
            self.round::<false>(coding, chunk, cut);
        }
        self.locate(cut)?;
        self.columns.count(&self.coordinates);
        Ok(())
    }

    /// Codes one value of each line that has another, and goes on to the next.
    #[inline(always)]
    fn round<const FIRST: bool>(&mut self, coding: &mut impl Coding, chunk: usize, cut: &Cut) {
        let (tables, last) = (&self.columns.tables, cut.length as u16 - 1);
        let mut count = 0;
        for turn in 0..self.places.len() {
            let place = self.places[turn];
            let Some(index) = self.slot.indices.get_mut(usize::from(place.value)) else { break };
            let (table, known) = (Columns::table(chunk, place.left), u32::from(index.wrapping_sub(place.base)));
            let position = if FIRST {
                coding.symbol(turn, tables, table, known)
            } else {
                coding.symbol_from(turn, tables, (table, u32::from(place.from)), known)
            };
            *index = place.base + position as u16;
            let from = (position as u16 + 1).min(last);
            self.places[count] = Place { from, left: place.left - 1, value: place.value + 1, ..place };
            count += usize::from(place.left > 1);
        }
        self.places.truncate(count);
    }

    /// Finds line and column of each value. Positions must ascend, which fails where a line had no room for all, and be
    /// inside the chunk.
    #[inline(always)]
    fn locate(&mut self, cut: &Cut) -> Result<(), Fault> {
        let indices = &self.slot.indices;
        for (at, &index) in self.coordinates.iter_mut().zip(indices) {
            let line = cut.line_of(index);
            *at = (line as u32, cut.base as u32 + u32::from(index) - (line * cut.length) as u32);
        }
        let ascend = indices.iter().zip(&indices[1..]).fold(true, |ascend, (a, b)| ascend & (a < b));
        let inside = indices.last().is_some_and(|&last| usize::from(last) < cut.elements);
        if ascend && inside { Ok(()) } else { Err(Fault::Index) }
    }

    /// Codes the levels of four values at a time, those of a rest as they are.
    #[inline(always)]
    fn levels(&mut self, coding: &mut impl Coding) {
        let (many, rest) = self.slot.codes.as_chunks_mut::<LEVELS>();
        for (turn, codes) in many.iter_mut().enumerate() {
            let symbol = coding.symbol(turn, &self.learned.tables, LEVEL, gather(codes, 1));
            self.learned.count(LEVEL, symbol);
            spread(codes, 1, symbol);
        }
        if !rest.is_empty() {
            let bits = coding.raw(0, rest.len() as u32, gather(rest, 1));
            spread(rest, 1, bits);
        }
    }

    /// Codes one of eight magnitudes for each value.
    fn eighths(&mut self, coding: &mut impl Coding) {
        for (turn, code) in self.slot.codes.iter_mut().enumerate() {
            let symbol = coding.symbol(turn, &self.learned.tables, LEVEL, u32::from(*code >> 1));
            self.learned.count(LEVEL, symbol);
            *code = *code & 1 | (symbol as u8) << 1;
        }
    }

    /// Tables settle after each chunk at first, ever more rarely later.
    #[inline(always)]
    fn settle(&mut self) {
        self.chunks += 1;
        let period = 1 << self.chunks.ilog2().saturating_sub(1).min(SETTLE_MAX);
        if self.chunks.is_multiple_of(period) {
            self.lines.settle();
            self.learned.settle();
            self.signs.settle();
        }
        if !self.geometry.has_rows() {
            self.lines.restart();
            self.signs.restart();
        }
    }

    /// Learns from the band that ends.
    #[inline(always)]
    pub(crate) fn close_band(&mut self) {
        self.columns.close_band();
        self.signs.close_band();
        self.lines.restart();
        self.left = None;
    }
}

/// Bit `bit` of up to eight codes, the first in the lowest place.
#[inline(always)]
fn gather(codes: &[u8], bit: u32) -> u32 {
    codes.iter().zip(0..).fold(0, |bits, (code, place)| bits | u32::from(code >> bit & 1) << place)
}

/// Puts such bits back.
#[inline(always)]
fn spread(codes: &mut [u8], bit: u32, bits: u32) {
    for (code, place) in codes.iter_mut().zip(0..) {
        *code = *code & !(1 << bit) | ((bits >> place & 1) << bit) as u8;
    }
}

/// Codes the bits of the values besides their signs: nothing is expected of them.
fn magnitudes(coding: &mut impl Coding, magnitudes: &mut Vec<u32>, count: usize) {
    magnitudes.resize(count, 0);
    for (shift, width) in [(20, 11), (10, 10), (0, 10)] {
        let mask = (1 << width) - 1;
        for (turn, bits) in magnitudes.iter_mut().enumerate() {
            let part = coding.raw(turn, width, *bits >> shift & mask);
            *bits = *bits & !(mask << shift) | part << shift;
        }
    }
}

fn middle(a: u16, b: u16) -> u16 {
    (u32::from(a) + u32::from(b)).div_ceil(2) as u16
}

/// Codes a number by its difference from a guess: 0, 1, -1, 2 and so on have symbols, all others a common one. What a
/// reader returns may be any number.
fn step(coding: &mut impl Coding, learned: &mut Learned, table: u32, (guess, value): (u16, u16)) -> u16 {
    const OTHER: u32 = SYMBOLS_MAX as u32 - 1;
    let difference = i32::from(value) - i32::from(guess);
    let folded = if difference > 0 { 2 * difference - 1 } else { -2 * difference };
    let symbol = coding.symbol(0, &learned.tables, table, (folded as u32).min(OTHER));
    learned.count(table, symbol);
    if symbol == OTHER {
        return coding.number(CODE_BITS, u32::from(value)) as u16;
    }
    let size = symbol.div_ceil(2) as u16;
    if symbol % 2 == 1 { guess.wrapping_add(size) } else { guess.wrapping_sub(size) }
}
