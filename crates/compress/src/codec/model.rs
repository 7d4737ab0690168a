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

use crate::bits::width_of;
use crate::codec::ans::{Bit, Coding, LANES, SHARE_BITS};
use crate::codec::model::head::STEPS;
use crate::layout::Block;
use crate::quantise::Scales;
use crate::scale::{CODE_BITS, code_of};
use crate::settings::Quantiser;

pub(crate) use crate::codec::model::cut::Geometry;
pub(crate) use crate::codec::model::distance::{DISTANCE_MAX, Distance, Distances, SKIP};
pub(crate) use crate::codec::model::fit::fit;
#[cfg(test)]
pub(crate) use crate::codec::model::ground::LEANS;
pub(crate) use crate::codec::model::ground::{Ground, Marks, Walk};
pub(crate) use crate::codec::model::head::{Head, Shares};

/// The scale, and the difference of two scales, that the first chunk of a section is expected to have.
const FIRST_SCALE: f32 = 1.0 / 4096.0;
const FIRST_GAP: u16 = 8;
/// Slots of a chunk that holds as many values as it may.
const FULL: Bit = Bit(252);
/// A sign that nothing is expected of.
const EVEN: u32 = 1 << (SHARE_BITS - 1);
/// Most bits of a number.
const RAW: u32 = 16;

/// Where a value is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    pub(crate) index: u16,
    /// Bit 0: a sign is expected, bit 1: which.
    pub(crate) lean: u8,
}

/// One chunk of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkAt {
    /// Band of the section, and chunk of the band.
    pub(crate) band: usize,
    pub(crate) chunk: usize,
    pub(crate) block: Block,
    pub(crate) kept: usize,
}

/// The chunks of a group: given to a writer, filled by a reader. Values lie one chunk after the other.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) counts: [usize; LANES],
    pub(crate) scales: [Scales; LANES],
    pub(crate) places: Vec<Place>,
    pub(crate) codes: Vec<u8>,
    /// The 31 bits of each value besides its sign, where values are sent as they are.
    pub(crate) magnitudes: Vec<u32>,
}

impl Group {
    /// Makes it empty.
    pub(crate) fn clear(&mut self) {
        (self.counts, self.scales) = ([0; LANES], [Scales::default(); LANES]);
        self.places.clear();
        self.codes.clear();
        self.magnitudes.clear();
    }
}

/// A reader found something that no writer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Count,
    Index,
}

/// What is known of a section.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) group: Group,
    quantiser: Quantiser,
    ground: Ground,
    head: Head,
    steps: [Shares<{ STEPS + 1 }>; 2],
    /// Scales of the chunk to the left, and of those above by block.
    left: Option<Scales>,
    above: Vec<Option<Scales>>,
}

impl Model {
    #[inline(always)]
    pub(crate) fn new(geometry: Geometry, head: Head, marks: &Marks, quantiser: Quantiser) -> Model {
        Model {
            group: Group::default(),
            quantiser,
            ground: Ground::new(geometry, marks),
            head,
            steps: [head.steps(0), head.steps(1)],
            left: None,
            above: vec![None; geometry.across],
        }
    }

    /// Codes the chunks of the group, one for each state.
    #[inline(always)]
    pub(crate) fn code(&mut self, coding: &mut impl Coding, chunks: &[ChunkAt]) -> Result<(), Fault> {
        for (lane, at) in chunks.iter().enumerate() {
            self.header(coding, lane, at)?;
        }
        let total = self.group.counts.iter().sum();
        self.group.places.resize(total, Place::default());
        self.group.codes.resize(total, 0);
        self.places(coding, chunks)?;
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
        let (high, gap) = match (self.left, self.above[chunk]) {
            (Some(a), Some(b)) => (middle(a.high, b.high), middle(a.high - a.low, b.high - b.low)),
            (Some(a), None) | (None, Some(a)) => (a.high, a.high - a.low),
            (None, None) => (code_of(FIRST_SCALE), FIRST_GAP),
        };
        let Scales { low, high: value } = self.group.scales[lane];
        let high = step(coding, lane, &self.steps[0], (high, value));
        let low = match self.quantiser.scales() {
            2 => high.wrapping_sub(step(coding, lane, &self.steps[1], (gap, value.wrapping_sub(low)))),
            _ => 0,
        };
        self.group.scales[lane] = Scales { low, high };
        // What a reader found is checked later; until then it must only not overflow.
        let known = Some(Scales { low: low.min(high), high });
        (self.left, self.above[chunk]) = (known, known);
    }

    /// Codes where the values are.
    #[inline(always)]
    fn places(&mut self, coding: &mut impl Coding, chunks: &[ChunkAt]) -> Result<(), Fault> {
        let (ground, counts) = (&self.ground, &self.group.counts);
        let mut first = 0;
        let mut walks = std::array::from_fn::<_, LANES, _>(|lane| {
            // Where the section ends there are states without a chunk.
            let at = chunks.get(lane).unwrap_or(&chunks[0]);
            first += counts[lane];
            ground.walk(at, (first - counts[lane], counts[lane]))
        });
        let lanes = coding.lanes();
        coding.places(&mut walks[..lanes], &mut self.group.places);
        if walks.iter().any(|walk| walk.fault) { Err(Fault::Index) } else { Ok(()) }
    }

    /// Codes the signs: two at a time where something is expected of them, otherwise many as they are.
    #[inline(always)]
    fn signs(&mut self, coding: &mut impl Coding) {
        let Group { counts, places, codes, .. } = &mut self.group;
        let agree = u32::from(self.head.agree);
        let expected = |place: Place| (if place.lean & 1 != 0 { Bit(agree) } else { Bit(EVEN) }, place.lean >> 1 & 1);
        if self.head.lines.leans.is_none() {
            return in_turn(*counts, RAW as usize, |lane, range| {
                let codes = &mut codes[range];
                let bits = coding.raw(lane, codes.len() as u32, gather(codes));
                spread(codes, bits);
            });
        }
        in_turn(*counts, 2, |lane, range| {
            let start = range.start;
            let ((one, first), known) = (expected(places[start]), codes[start] & 1);
            let Some(two) = codes.get(start + 1).filter(|_| range.len() > 1).map(|code| code & 1) else {
                let other = coding.symbol(lane, one, u32::from(known ^ first)) as u8;
                codes[start] = codes[start] & !1 | other ^ first;
                return;
            };
            let (second_bit, second) = expected(places[start + 1]);
            let others = [u32::from(known ^ first), u32::from(two ^ second)];
            let [a, b] = coding.pair(lane, [one, second_bit], others);
            codes[start] = codes[start] & !1 | a as u8 ^ first;
            codes[start + 1] = codes[start + 1] & !1 | b as u8 ^ second;
        });
    }

    /// Codes which of two levels a value has, two at a time.
    #[inline(always)]
    fn levels(&mut self, coding: &mut impl Coding) {
        let (Group { counts, codes, .. }, level) = (&mut self.group, self.head.level());
        in_turn(*counts, 2, |lane, range| match &mut codes[range] {
            [one, two] => {
                let [a, b] = coding.pair(lane, [level; 2], [u32::from(*one >> 1), u32::from(*two >> 1)]);
                (*one, *two) = (*one & 1 | (a as u8) << 1, *two & 1 | (b as u8) << 1);
            }
            codes => codes.iter_mut().for_each(|code| {
                *code = *code & 1 | (coding.symbol(lane, level, u32::from(*code >> 1)) as u8) << 1;
            }),
        });
    }

    /// Codes one of eight magnitudes for each value.
    fn eighths(&mut self, coding: &mut impl Coding) {
        let Some(table) = self.head.eighths() else { return };
        let Group { counts, codes, .. } = &mut self.group;
        in_turn(*counts, 1, |lane, range| {
            let code = &mut codes[range.start];
            *code = *code & 1 | (coding.symbol(lane, &table, u32::from(*code >> 1)) as u8) << 1;
        });
    }

    /// Codes the bits of the values besides their signs: nothing is expected of them.
    fn magnitudes(&mut self, coding: &mut impl Coding) {
        let Group { counts, codes, magnitudes, .. } = &mut self.group;
        magnitudes.resize(codes.len(), 0);
        in_turn(*counts, 1, |lane, range| {
            let bits = &mut magnitudes[range.start];
            let high = coding.raw(lane, 31 - RAW, *bits >> RAW);
            *bits = high << RAW | coding.raw(lane, RAW, *bits & ((1 << RAW) - 1));
        });
    }
}

/// Gives `visit` the values of the chunks of a group, a few of each chunk in turn.
#[inline(always)]
fn in_turn(counts: [usize; LANES], step: usize, mut visit: impl FnMut(usize, std::ops::Range<usize>)) {
    let most = counts.iter().max().copied().unwrap_or(0);
    for value in (0..most).step_by(step) {
        let mut first = 0;
        for (lane, count) in counts.into_iter().enumerate() {
            if value < count {
                visit(lane, first + value..first + (value + step).min(count));
            }
            first += count;
        }
    }
}

/// The signs of up to 16 codes, the first in the lowest place.
#[inline(always)]
fn gather(codes: &[u8]) -> u32 {
    codes.iter().zip(0..).fold(0, |bits, (code, place)| bits | u32::from(code & 1) << place)
}

/// Puts such signs back.
#[inline(always)]
fn spread(codes: &mut [u8], bits: u32) {
    codes.iter_mut().zip(0..).for_each(|(code, place)| *code = *code & !1 | (bits >> place & 1) as u8);
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
    let size = symbol.div_ceil(2) as u16;
    if symbol % 2 == 1 { guess.wrapping_add(size) } else { guess.wrapping_sub(size) }
}
