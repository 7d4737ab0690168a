//! How probable a coder takes the next symbol to be.
//!
//! A section says at its beginning in which lines and columns its values crowd, and to which sign they lean; the rest follows from
//! that, so that nothing is learned on the way and nothing waits for what came before. Chunks are coded in groups, one for each
//! state of the code.

mod cut;
mod distance;
mod fit;
mod ground;
mod head;
mod lean;
mod marks;
mod path;
mod plan;

use crate::bits::width_of;
use crate::codec::ans::{Bit, Coding, EVEN, LANES, RAW_MAX, Ways, Zeros, in_turn};
use crate::codec::model::head::STEPS;
use crate::kernel::{Level, prefetch};
use crate::quantise::Scales;
use crate::scale::{CODE_BITS, code_of};
use crate::settings::Quantiser;

pub(crate) use crate::codec::model::cut::{Cut, Geometry};
pub(crate) use crate::codec::model::distance::DISTANCE_BITS;
pub(crate) use crate::codec::model::distance::Distances;
#[cfg(test)]
pub(crate) use crate::codec::model::distance::table_of;
pub(crate) use crate::codec::model::fit::fit;
pub(crate) use crate::codec::model::ground::{Element, Ground, Walk};
pub(crate) use crate::codec::model::head::{Head, Shares};
pub(crate) use crate::codec::model::marks::Marks;
pub(crate) use crate::codec::model::marks::quotient;
pub(crate) use crate::codec::model::path::Path;
pub(crate) use crate::codec::model::plan::{Bounds, Step, Targets, plan};
pub(crate) use crate::codec::model::{
    ground::{FIELDS_ROOM, Field, WALK_ROOM},
    marks::{ByClass, CLASSES, Members, Tables},
};

/// The scale, and the difference of two scales, that the first chunk of a section is expected to have.
const FIRST_SCALE: f32 = 1.0 / 4096.0;
const FIRST_GAP: u16 = 8;
/// Slots of a chunk that holds as many values as it may.
const FULL: Bit = Bit(252);
/// One chunk of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkAt {
    /// Band of the section, and chunk of the band.
    pub(crate) band: usize,
    pub(crate) chunk: usize,
    pub(crate) cut: Cut,
    pub(crate) kept: usize,
}

/// The chunks of a group: given to a writer, filled by a reader. Values lie one chunk after the other, in a reader behind those of the groups
/// before.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) counts: [usize; LANES],
    pub(crate) scales: [Scales; LANES],
    pub(crate) indices: Vec<u16>,
    pub(crate) codes: Vec<u8>,
    /// Where the group's indices and codes begin.
    first: usize,
    /// The signs that are expected, and the slots of those that are as expected; empty if nothing is.
    expected: Vec<u8>,
    shares: Vec<u8>,
    /// One bit of each code.
    bits: Vec<u8>,
    /// The 31 bits of each value besides its sign, where values are sent as they are.
    pub(crate) magnitudes: Vec<u32>,
}

impl Group {
    /// Makes it empty.
    pub(crate) fn clear(&mut self) {
        self.indices.clear();
        self.codes.clear();
        self.magnitudes.clear();
        self.reset();
    }

    /// Makes it one behind those whose indices and codes it has.
    pub(crate) fn reset(&mut self) {
        (self.counts, self.scales) = ([0; LANES], [Scales::default(); LANES]);
        self.first = self.indices.len();
        self.expected.clear();
        self.shares.clear();
    }

    /// Makes room for what the chunks hold.
    #[inline(always)]
    fn make_room(&mut self) {
        let end = self.first + self.counts.iter().sum::<usize>();
        self.indices.resize(end, 0);
        self.codes.resize(end, 0);
    }

    /// Asks for the memory of as many values as follow if the next group is like this one.
    #[inline(always)]
    pub(crate) fn prefetch_next(&mut self) {
        let values = self.indices.len() - self.first;
        let (indices, codes) = (self.indices.spare_capacity_mut(), self.codes.spare_capacity_mut());
        prefetch(&indices[..values.min(indices.len())]);
        prefetch(&codes[..values.min(codes.len())]);
    }

    /// The group's codes.
    #[inline(always)]
    pub(crate) fn codes(&self) -> &[u8] {
        &self.codes[self.first..]
    }
}

/// A reader found something that no writer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Count,
    Index,
}

/// Memory of a model.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    group: Group,
    walks: Vec<Walk>,
}

/// What is known of a section.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) group: Group,
    quantiser: Quantiser,
    ground: Ground,
    walks: Vec<Walk>,
    head: Head,
    steps: [Shares<{ STEPS + 1 }>; 2],
    /// Scales of the chunk to the left, and of those above by block.
    left: Option<Scales>,
    above: Vec<Option<Scales>>,
}

impl Model {
    #[inline(always)]
    pub(crate) fn new(
        (geometry, quantiser): (Geometry, Quantiser),
        head: Head,
        marks: &Marks,
        (memory, level): (Spare, Level),
    ) -> Model {
        let Spare { group, mut walks } = memory;
        walks.resize(LANES, Walk::default());
        Model {
            group,
            quantiser,
            ground: Ground::new(geometry, marks, level),
            walks,
            head,
            steps: [head.steps(0), head.steps(1)],
            left: None,
            above: vec![None; geometry.across],
        }
    }

    /// Its memory, for another one.
    pub(crate) fn into_spare(self) -> Spare {
        Spare { group: self.group, walks: self.walks }
    }

    /// Finds where elements lie in their fields, which who is to find a way to them must know.
    #[inline(always)]
    pub(crate) fn rank(&mut self, marks: &Marks) {
        self.ground.rank(marks);
    }

    /// Codes the chunks of the group, one for each state.
    #[inline(always)]
    pub(crate) fn code(&mut self, coding: &mut impl Coding, chunks: &[ChunkAt]) -> Result<(), Fault> {
        self.begin(coding, chunks)?;
        let (ground, walks, indices) = self.ways(chunks.len());
        coding.places(ground, walks, indices);
        self.finish(coding, chunks.len())
    }

    /// Codes what comes before the places of the chunks' values.
    #[inline(always)]
    pub(crate) fn begin(&mut self, coding: &mut impl Coding, chunks: &[ChunkAt]) -> Result<(), Fault> {
        if chunks.len() < coding.lanes() || !self.headers(coding, chunks) {
            for (lane, at) in chunks.iter().enumerate() {
                self.header(coding, lane, at)?;
            }
        }
        self.group.make_room();
        let mut first = 0;
        for ((walk, at), &count) in self.walks.iter_mut().zip(chunks).zip(&self.group.counts) {
            walk.begin(at, (first, count));
            first += count;
        }
        Ok(())
    }

    /// What is needed to code the places of the values of so many chunks.
    pub(crate) fn ways(&mut self, chunks: usize) -> Ways<'_> {
        (&self.ground, &mut self.walks[..chunks], &mut self.group.indices[self.group.first..])
    }

    /// Codes what comes behind the places.
    #[inline(always)]
    pub(crate) fn finish(&mut self, coding: &mut impl Coding, chunks: usize) -> Result<(), Fault> {
        let walks = &self.walks[..chunks];
        if walks.iter().any(|walk| walk.fault) {
            return Err(Fault::Index);
        }
        if self.head.lines.leans.is_some() {
            let Group { indices, first, expected, shares, .. } = &mut self.group;
            coding.leans(&self.ground, walks, &indices[*first..], shares);
            expected.extend(shares.iter().map(|lean| lean >> 1));
            let agree = self.head.agree;
            shares.iter_mut().for_each(|lean| *lean = if *lean & 1 != 0 { agree } else { EVEN });
        }
        self.signs(coding);
        match self.quantiser {
            Quantiser::SignScale => {}
            Quantiser::TwoLevels | Quantiser::Compatible => self.levels(coding),
            Quantiser::FourBits => self.eighths(coding),
            Quantiser::Exact => self.magnitudes(coding),
        }
        Ok(())
    }

    /// Codes how many values a chunk has, and its scales.
    fn header(&mut self, coding: &mut impl Coding, lane: usize, at: &ChunkAt) -> Result<(), Fault> {
        if at.chunk == 0 {
            self.left = None;
        }
        let count = &mut self.group.counts[lane];
        let other = coding.symbol(lane, FULL, u32::from(*count != at.kept));
        *count = if other == 0 { at.kept } else { coding.raw(lane, width_of(at.kept + 1), *count as u32) as usize };
        if !(self.quantiser.count_min(at.kept)..=at.kept).contains(count) {
            return Err(Fault::Count);
        }
        if *count > 0 && self.quantiser.scales() > 0 {
            self.scales(coding, lane, at.chunk);
        }
        Ok(())
    }

    fn scales(&mut self, coding: &mut impl Coding, lane: usize, chunk: usize) {
        let (guess, gap) = self.guess(chunk);
        let Scales { low, high } = self.group.scales[lane];
        let gap = (gap, high.wrapping_sub(low));
        let high = step(coding, lane, &self.steps[0], (guess, high));
        let low = match self.quantiser.scales() {
            2 => high.wrapping_sub(step(coding, lane, &self.steps[1], gap)),
            _ => 0,
        };
        self.keep((lane, chunk), Scales { low, high });
    }

    /// Reads the headers of a group of all states, if that can be done at once.
    #[inline(always)]
    fn headers(&mut self, coding: &mut impl Coding, chunks: &[ChunkAt]) -> bool {
        let [one, two] = &self.steps;
        match self.quantiser.scales() {
            1 => coding.symbols(FULL, [one]).is_some_and(|symbols| self.unfold(chunks, symbols)),
            2 => coding.symbols(FULL, [one, two]).is_some_and(|symbols| self.unfold(chunks, symbols)),
            _ => false,
        }
    }

    /// Finds the scales of full chunks by the symbols of their differences from what is guessed.
    #[inline(always)]
    fn unfold<const N: usize>(&mut self, chunks: &[ChunkAt], symbols: [[u32; N]; LANES]) -> bool {
        for (lane, (at, symbols)) in chunks.iter().zip(symbols).enumerate() {
            if at.chunk == 0 {
                self.left = None;
            }
            self.group.counts[lane] = at.kept;
            let (guess, gap) = self.guess(at.chunk);
            let high = unfold(guess, symbols[0]);
            let low = symbols.get(1).map_or(0, |&symbol| high.wrapping_sub(unfold(gap, symbol)));
            self.keep((lane, at.chunk), Scales { low, high });
        }
        true
    }

    /// The scale that a chunk is expected to have, and the difference of both.
    #[inline(always)]
    fn guess(&self, chunk: usize) -> (u16, u16) {
        match (self.left, self.above[chunk]) {
            (Some(a), Some(b)) => (middle(a.high, b.high), middle(a.high - a.low, b.high - b.low)),
            (Some(a), None) | (None, Some(a)) => (a.high, a.high - a.low),
            (None, None) => (code_of(FIRST_SCALE), FIRST_GAP),
        }
    }

    /// Keeps the scales of a chunk.
    #[inline(always)]
    fn keep(&mut self, (lane, chunk): (usize, usize), scales: Scales) {
        self.group.scales[lane] = scales;
        // What a reader found is checked later; until then it must only not overflow.
        let known = Some(Scales { low: scales.low.min(scales.high), ..scales });
        (self.left, self.above[chunk]) = (known, known);
    }

    /// Codes the signs.
    #[inline(always)]
    fn signs(&mut self, coding: &mut impl Coding) {
        if self.quantiser == Quantiser::SignScale {
            // Codes are nothing else.
            let mut codes = std::mem::take(&mut self.group.codes);
            self.bits(coding, &mut codes[self.group.first..]);
            self.group.codes = codes;
            return;
        }
        let mut bits = std::mem::take(&mut self.group.bits);
        bits.clear();
        bits.extend(self.group.codes().iter().map(|code| code & 1));
        self.bits(coding, &mut bits);
        self.group.codes[self.group.first..].iter_mut().zip(&bits).for_each(|(code, bit)| *code = *code & !1 | *bit);
        self.group.bits = bits;
    }

    /// Codes signs as bits.
    #[inline(always)]
    fn bits(&self, coding: &mut impl Coding, bits: &mut [u8]) {
        let Group { counts, expected, shares, .. } = &self.group;
        if self.head.lines.leans.is_some() {
            bits.iter_mut().zip(expected).for_each(|(bit, expected)| *bit ^= expected);
            coding.bits(counts, Zeros::Each(shares, self.head.agree), bits);
            bits.iter_mut().zip(expected).for_each(|(bit, expected)| *bit ^= expected);
        } else {
            coding.even_bits(counts, bits);
        }
    }

    /// Codes which of two levels a value has.
    #[inline(always)]
    fn levels(&mut self, coding: &mut impl Coding) {
        let Group { counts, codes, first, bits, .. } = &mut self.group;
        let codes = &mut codes[*first..];
        bits.clear();
        bits.extend(codes.iter().map(|code| code >> 1));
        coding.bits(counts, Zeros::All(self.head.levels[0]), bits);
        codes.iter_mut().zip(bits).for_each(|(code, bit)| *code = *code & 1 | *bit << 1);
    }

    /// Codes one of eight magnitudes for each value.
    fn eighths(&mut self, coding: &mut impl Coding) {
        let Some(table) = self.head.eighths() else { return };
        let Group { counts, codes, first, .. } = &mut self.group;
        in_turn(*counts, 1, |lane, range| {
            let code = &mut codes[*first + range.start];
            *code = *code & 1 | (coding.symbol(lane, &table, u32::from(*code >> 1)) as u8) << 1;
        });
    }

    /// Codes the bits of the values besides their signs: nothing is expected of them.
    fn magnitudes(&mut self, coding: &mut impl Coding) {
        let Group { counts, magnitudes, .. } = &mut self.group;
        magnitudes.resize(counts.iter().sum(), 0);
        in_turn(*counts, 1, |lane, range| {
            let bits = &mut magnitudes[range.start];
            let high = coding.raw(lane, 31 - RAW_MAX, *bits >> RAW_MAX);
            *bits = high << RAW_MAX | coding.raw(lane, RAW_MAX, *bits & ((1 << RAW_MAX) - 1));
        });
    }
}

fn middle(a: u16, b: u16) -> u16 {
    (u32::from(a) + u32::from(b)).div_ceil(2) as u16
}

/// Codes a number by its difference from a guess: 0, 1, -1, 2 and so on have symbols, all others a common one. What a
/// reader returns may be any number.
fn step(coding: &mut impl Coding, lane: usize, table: &Shares<{ STEPS + 1 }>, (guess, value): (u16, u16)) -> u16 {
    const OTHER: u32 = STEPS as u32 - 1;
    let difference = i32::from(value) - i32::from(guess);
    let folded = if difference > 0 { 2 * difference - 1 } else { -2 * difference };
    let symbol = coding.symbol(lane, table, (folded as u32).min(OTHER));
    if symbol == OTHER {
        return coding.raw(lane, CODE_BITS, u32::from(value)) as u16;
    }
    unfold(guess, symbol)
}

/// The number whose difference from a guess has a symbol.
#[inline(always)]
fn unfold(guess: u16, symbol: u32) -> u16 {
    let size = symbol.div_ceil(2) as u16;
    if symbol % 2 == 1 { guess.wrapping_add(size) } else { guess.wrapping_sub(size) }
}
