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
    turns: Turns,
    /// Line and column of each value of the chunk.
    coordinates: Vec<(u32, u32)>,
    /// Scales of the chunk to the left, and of those above by block.
    left: Option<Scales>,
    above: Vec<Option<Scales>>,
    chunks: u32,
}

/// Numbers of the tables, lower bounds and values of one phase.
#[derive(Debug, Default)]
struct Turns {
    which: Vec<u32>,
    from: Vec<u32>,
    values: Vec<u32>,
}

impl Turns {
    fn resize(&mut self, count: usize) {
        self.which.resize(count, 0);
        self.from.resize(count, 0);
        self.values.resize(count, 0);
    }
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
            turns: Turns::default(),
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
        let other = coding.symbol(&self.learned.tables, FULL, u32::from(count != kept));
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
        self.lines.list(cut.lines(), &mut self.places);
        self.turns.resize(self.places.len());
        for (which, place) in self.turns.which.iter_mut().zip(&self.places) {
            *which = Columns::table(chunk, place.left);
        }
        let mut is_sound = true;
        for round in 0.. {
            if !coding.reads() {
                self.look_up(cut);
            }
            let Turns { which, from, values } = &mut self.turns;
            let count = self.places.len();
            match round {
                0 => coding.symbols(&self.columns.tables, &which[..count], &mut values[..count]),
                _ => coding.symbols_from(&self.columns.tables, &which[..count], &from[..count], &mut values[..count]),
            }
            is_sound &= self.put(chunk, cut);
            if self.places.is_empty() {
                break;
            }
        }
        if is_sound { Ok(()) } else { Err(Fault::Index) }
    }

    /// Finds the positions that a writer is to write.
    fn look_up(&mut self, cut: &Cut) {
        for (value, place) in self.turns.values.iter_mut().zip(&self.places) {
            *value = u32::from(self.slot.indices[place.value as usize]) - place.line * cut.length as u32;
        }
    }

    /// Takes over the positions of a round and goes on to the next value of each line, if it has one; says whether all
    /// positions are inside the chunk and leave room for what follows.
    #[inline(always)]
    fn put(&mut self, chunk: usize, cut: &Cut) -> bool {
        let (mut largest, mut farthest, mut count) = (0, 0, 0);
        let (last, length) = (cut.length as u32 - 1, cut.length as u32);
        let Turns { which, from, values } = &mut self.turns;
        for (turn, &position) in values.iter().enumerate().take(self.places.len()) {
            let place = self.places[turn];
            let index = place.line * length + position;
            largest = largest.max(index);
            let (value, column) = (place.value as usize, cut.base as u32 + position);
            if let (Some(slot), Some(at)) = (self.slot.indices.get_mut(value), self.coordinates.get_mut(value)) {
                (*slot, *at) = (index as u16, (place.line, column));
            }
            self.columns.count(column as usize);
            let left = place.left - 1;
            let goes_on = left > 0;
            farthest = if goes_on { farthest.max(position) } else { farthest };
            self.places[count] = Place { left, value: place.value + 1, ..place };
            from[count] = (position + 1).min(last);
            which[count] = Columns::table(chunk, left.max(1));
            count += usize::from(goes_on);
        }
        self.places.truncate(count);
        (largest as usize) < cut.elements && (count == 0 || farthest < last)
    }

    /// Codes the levels of four values at a time, those of a rest as they are.
    #[inline(always)]
    fn levels(&mut self, coding: &mut impl Coding) {
        let codes = &mut self.slot.codes;
        let whole = codes.len() / LEVELS;
        self.turns.values.clear();
        self.turns.values.extend(codes.chunks(LEVELS).map(|codes| gather(codes, 1)));
        self.turns.which.clear();
        self.turns.which.resize(whole, LEVEL);
        let (many, rest) = self.turns.values.split_at_mut(whole);
        coding.symbols(&self.learned.tables, &self.turns.which, many);
        many.iter().for_each(|&symbol| self.learned.count(LEVEL, symbol));
        coding.raw((codes.len() % LEVELS) as u32, rest);
        for (codes, &bits) in codes.chunks_mut(LEVELS).zip(&self.turns.values) {
            spread(codes, 1, bits);
        }
    }

    /// Codes one of eight magnitudes for each value.
    fn eighths(&mut self, coding: &mut impl Coding) {
        let Turns { which, values, .. } = &mut self.turns;
        values.clear();
        values.extend(self.slot.codes.iter().map(|&code| u32::from(code >> 1)));
        which.clear();
        which.resize(values.len(), LEVEL);
        coding.symbols(&self.learned.tables, which, values);
        for (code, &symbol) in self.slot.codes.iter_mut().zip(&*values) {
            self.learned.count(LEVEL, symbol);
            *code = *code & 1 | (symbol as u8) << 1;
        }
    }

    /// Tables settle after each chunk at first, ever more rarely later.
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
        let mut parts = magnitudes.iter().map(|bits| bits >> shift & mask).collect::<Vec<_>>();
        coding.raw(width, &mut parts);
        for (bits, part) in magnitudes.iter_mut().zip(parts) {
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
    let symbol = coding.symbol(&learned.tables, table, (folded as u32).min(OTHER));
    learned.count(table, symbol);
    if symbol == OTHER {
        return coding.number(CODE_BITS, u32::from(value)) as u16;
    }
    let size = symbol.div_ceil(2) as u16;
    if symbol % 2 == 1 { guess.wrapping_add(size) } else { guess.wrapping_sub(size) }
}
