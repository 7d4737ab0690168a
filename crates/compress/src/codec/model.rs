//! What the coder knows about the next symbol.
//!
//! Selected coordinates crowd in some rows and columns of a matrix, and their signs follow the product of a sign of the
//! row and one of the column, since a gradient is a sum of few outer products. All of it is learned from what has been
//! coded before, in whole numbers, so that every machine predicts the same.

mod columns;
mod cut;
mod place;
mod prior;
mod steps;

use std::ops::Range;

use crate::bits::width_of;
use crate::codec::model::columns::{Columns, Entry};
use crate::codec::model::cut::Cut;
use crate::codec::model::place::place;
use crate::codec::model::steps::Steps;
use crate::codec::range::{Bit, Coding};
use crate::layout::Block;
use crate::quantise::Scales;
use crate::scale::code_of;
use crate::settings::Quantiser;

pub(crate) use crate::codec::model::cut::Geometry;
pub(crate) use crate::codec::model::prior::Priors;

/// Numbers of values in a line that are told apart.
const RUNS: usize = 8;
/// Expected numbers of values in a line that are told apart, two for each power of two from 1/64 on.
const LEVELS: usize = 24;
/// Strengths of leanings that are told apart.
const LEANS: usize = 6;
/// Most that the leaning of a column counts for a line.
const VOTE_MAX: i32 = 4;
/// Rounds in which lines and columns of the first band agree on their signs.
const FIRST_ROUNDS: usize = 3;
/// The scale, and the difference of two scales, that the first chunk of a section is expected to have.
const FIRST_SCALE: f32 = 1.0 / 4096.0;
const FIRST_GAP: u16 = 8;

/// One chunk: read by an encoder, written by a decoder.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) scales: Scales,
    pub(crate) indices: Vec<u16>,
    pub(crate) codes: Vec<u8>,
}

impl Slot {
    pub(crate) fn fill(&mut self, scales: Scales, indices: &[u16], codes: &[u8]) {
        self.scales = scales;
        self.indices.clear();
        self.indices.extend_from_slice(indices);
        self.codes.clear();
        self.codes.extend_from_slice(codes);
    }
}

/// Everything learned so far in a section.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) slot: Slot,
    geometry: Geometry,
    priors: Priors,
    quantiser: Quantiser,
    full: Bit,
    more: [[Bit; RUNS]; LEVELS],
    signs: [[Bit; LEANS]; LEANS],
    levels: [Bit; LEANS],
    high: Steps,
    gap: Steps,
    columns: Columns,
    /// Weights of the lines of the current band.
    weights: Vec<u32>,
    /// By how much the values of each line of the current band agree with the signs of their columns.
    leans: Vec<i32>,
    /// Sums of the weights from each line to the last.
    rest: Vec<u32>,
    entries: Vec<Entry>,
    /// Scales of the chunk to the left, and of those above by block.
    left: Option<Scales>,
    above: Vec<Option<Scales>>,
    is_first: bool,
}

/// A decoder read something that no encoder writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Count,
    Index,
}

impl Model {
    pub(crate) fn new(geometry: Geometry, priors: Priors, quantiser: Quantiser) -> Model {
        Model {
            slot: Slot::default(),
            geometry,
            priors,
            quantiser,
            full: Bit::new(60_000, 4),
            more: HAZARDS.map(|hazards| hazards.map(|hazard| Bit::new(hazard, 20))),
            signs: [[Bit::new(1 << 15, 6); LEANS]; LEANS],
            levels: [Bit::new(20_000, 4); LEANS],
            high: Steps::new(),
            gap: Steps::new(),
            columns: Columns::new(geometry, priors.column()),
            weights: vec![priors.line(); geometry.lines],
            leans: vec![0; geometry.lines],
            rest: vec![0; geometry.lines],
            entries: Vec::new(),
            left: None,
            above: vec![None; geometry.across],
            is_first: true,
        }
    }

    /// Codes the slot as chunk `chunk` of the current band.
    pub(crate) fn chunk(
        &mut self,
        coding: &mut impl Coding,
        chunk: usize,
        block: &Block,
        kept: usize,
    ) -> Result<(), Fault> {
        let count = self.count(coding, kept);
        if count > kept {
            return Err(Fault::Count);
        }
        self.slot.indices.resize(count, 0);
        self.slot.codes.resize(count, 0);
        if count > 0 {
            self.scales(coding, chunk);
            self.lines(coding, chunk, &self.geometry.cut(block))?;
        }
        Ok(())
    }

    /// Codes the number of values: nearly always as many as may be.
    fn count(&mut self, coding: &mut impl Coding, kept: usize) -> usize {
        let count = self.slot.indices.len();
        if coding.bit(&mut self.full, count == kept) {
            return kept;
        }
        coding.raw(width_of(kept + 1), count as u32) as usize
    }

    fn scales(&mut self, coding: &mut impl Coding, chunk: usize) {
        let (high, gap) = match (self.left, self.above[chunk]) {
            (Some(a), Some(b)) => (middle(a.high, b.high), middle(a.high - a.low, b.high - b.low)),
            (Some(a), None) | (None, Some(a)) => (a.high, a.high - a.low),
            (None, None) => (code_of(FIRST_SCALE), FIRST_GAP),
        };
        let Scales { low, high: value } = self.slot.scales;
        let high = self.high.code(coding, high, value);
        let low = match self.quantiser {
            Quantiser::TwoLevels => high.wrapping_sub(self.gap.code(coding, gap, value.wrapping_sub(low))),
            Quantiser::SignScale => 0,
        };
        self.slot.scales = Scales { low, high };
        // What a decoder read is checked later; until then it must only not overflow.
        let known = Some(Scales { low: low.min(high), high });
        (self.left, self.above[chunk]) = (known, known);
    }

    /// Codes positions, signs and levels, line by line.
    fn lines(&mut self, coding: &mut impl Coding, chunk: usize, cut: &Cut) -> Result<(), Fault> {
        self.weigh_lines(cut.lines());
        let count = self.slot.indices.len();
        let (mut done, mut line) = (0, 0);
        while done < count {
            let range = cut.range(line);
            let left = count - done;
            let held = if line + 1 == cut.lines() { left } else { self.run(coding, line, &range, done) };
            if held > range.len() {
                return Err(Fault::Index);
            }
            if held > 0 {
                let run = done..done + held;
                self.positions(coding, chunk, cut, (&range, run.clone()))?;
                self.codes(coding, line, cut.base, (&range, run));
            }
            done += held;
            line += 1;
        }
        Ok(())
    }

    fn weigh_lines(&mut self, lines: usize) {
        let mut sum = 0;
        for (rest, weight) in self.rest[..lines].iter_mut().zip(&self.weights).rev() {
            sum += weight;
            *rest = sum;
        }
    }

    /// Codes how many of the values from `done` on are in the line.
    fn run(&mut self, coding: &mut impl Coding, line: usize, range: &Range<usize>, done: usize) -> usize {
        let indices = &self.slot.indices[done..];
        let level = level_of(indices.len() as u32 * 64, self.weights[line], self.rest[line]);
        let most = indices.len().min(range.len());
        let mut held = 0;
        while held < most {
            let inside = usize::from(indices[held]) < range.end;
            if !coding.bit(&mut self.more[level][held.min(RUNS - 1)], inside) {
                break;
            }
            held += 1;
        }
        held
    }

    /// Codes where in the line the values `run` of the slot are.
    fn positions(
        &mut self,
        coding: &mut impl Coding,
        chunk: usize,
        cut: &Cut,
        (range, run): (&Range<usize>, Range<usize>),
    ) -> Result<(), Fault> {
        let start = range.start as u16;
        let sums = self.columns.sums(chunk, cut.base, cut.length);
        let positions = &mut self.slot.indices[run];
        positions.iter_mut().for_each(|position| *position = position.wrapping_sub(start));
        if !place(coding, sums, 0..range.len(), positions) {
            return Err(Fault::Index);
        }
        positions.iter_mut().for_each(|position| *position += start);
        Ok(())
    }

    /// Codes signs and levels of the values `run` of the slot.
    fn codes(
        &mut self,
        coding: &mut impl Coding,
        line: usize,
        base: usize,
        (range, run): (&Range<usize>, Range<usize>),
    ) {
        let mut lean = self.leans[line];
        self.weights[line] += 2 * run.len() as u32;
        for (index, code) in self.slot.indices[run.clone()].iter().zip(&mut self.slot.codes[run]) {
            let column = base + usize::from(*index) - range.start;
            let column_lean = self.columns.lean(column);
            let expected = (lean ^ column_lean) < 0;
            let (strong, weak) = (lean_class(lean), lean_class(column_lean));
            let surprise = coding.bit(&mut self.signs[strong][weak], (*code & 1 == 1) != expected);
            let negative = surprise != expected;
            let upper = self.quantiser == Quantiser::TwoLevels
                && coding.bit(&mut self.levels[strong.min(weak)], *code & 2 == 2);
            *code = u8::from(negative) | u8::from(upper) << 1;
            let vote = column_lean.clamp(-VOTE_MAX, VOTE_MAX);
            lean += if negative { -vote } else { vote };
            self.entries.push(Entry { line: line as u16, negative, column: column as u32 });
        }
        self.leans[line] = lean;
    }

    /// Learns from the band that ends.
    pub(crate) fn close_band(&mut self) {
        self.columns.count(&self.entries);
        if std::mem::take(&mut self.is_first) {
            (0..FIRST_ROUNDS).for_each(|_| self.agree());
        } else {
            self.columns.vote(&self.entries, &self.leans);
        }
        self.weights.fill(self.priors.line());
        self.leans.fill(0);
        self.left = None;
        self.entries.clear();
    }

    /// Lets the columns vote for the lines of the band, then the lines for its columns anew.
    fn agree(&mut self) {
        for entry in &self.entries {
            let vote = self.columns.lean(entry.column as usize).clamp(-VOTE_MAX, VOTE_MAX);
            let lean = &mut self.leans[usize::from(entry.line)];
            *lean += if entry.negative { -vote } else { vote };
        }
        self.columns.forget(&self.entries);
        self.columns.vote(&self.entries, &self.leans);
    }
}

fn middle(a: u16, b: u16) -> u16 {
    (u32::from(a) + u32::from(b)).div_ceil(2) as u16
}

/// Number of bits of a leaning's size.
fn lean_class(lean: i32) -> usize {
    ((u32::BITS - lean.unsigned_abs().leading_zeros()) as usize).min(LEANS - 1)
}

/// Level of the expected number `values / 64 * weight / rest`, by logarithms in steps of 1/16.
fn level_of(values: u32, weight: u32, rest: u32) -> usize {
    let expected = logarithm(values) + logarithm(weight) - logarithm(rest);
    (expected >> 3).clamp(0, LEVELS as i32 - 1) as usize
}

/// Sixteen times the logarithm to base 2, linear between powers of two, rounded down.
fn logarithm(x: u32) -> i32 {
    let power = x.ilog2();
    let fraction = (x << (31 - power) >> 27) & 15;
    (power << 4 | fraction) as i32
}

/// Probability that a Poisson number of mean `2^((level + 1/2) / 2 - 6)` that is at least `k` is more, in 2^-16.
const HAZARDS: [[u16; RUNS]; LEVELS] = [
    [1207, 607, 405, 304, 243, 203, 174, 152],
    [1700, 857, 573, 430, 344, 287, 246, 215],
    [2391, 1210, 809, 608, 486, 406, 348, 304],
    [3355, 1707, 1143, 859, 688, 573, 492, 430],
    [4694, 2405, 1614, 1213, 972, 810, 695, 608],
    [6539, 3384, 2276, 1713, 1373, 1145, 982, 860],
    [9052, 4750, 3207, 2417, 1939, 1618, 1388, 1215],
    [12425, 6647, 4511, 3407, 2736, 2285, 1961, 1717],
    [16855, 9260, 6331, 4797, 3857, 3224, 2768, 2425],
    [22495, 12815, 8854, 6739, 5431, 4545, 3906, 3424],
    [29374, 17564, 12322, 9438, 7631, 6398, 5505, 4829],
    [37269, 23738, 17016, 13157, 10690, 8988, 7746, 6803],
    [45583, 31421, 23226, 18211, 14904, 12583, 10874, 9566],
    [53344, 40344, 31125, 24918, 20621, 17523, 15204, 13411],
    [59461, 49611, 40519, 33456, 28170, 24186, 21121, 18710],
    [63268, 57633, 50422, 43511, 37640, 32862, 29008, 25881],
    [64973, 62834, 58833, 53697, 48353, 43380, 38999, 35232],
    [65457, 65007, 63743, 61402, 58116, 54278, 50296, 46452],
    [65471, 65471, 65317, 64839, 63860, 62263, 60073, 57436],
    [65471, 65471, 65471, 65471, 65408, 65190, 64755, 64017],
    [65471, 65471, 65471, 65471, 65471, 65471, 65471, 65471],
    [65471, 65471, 65471, 65471, 65471, 65471, 65471, 65471],
    [65471, 65471, 65471, 65471, 65471, 65471, 65471, 65471],
    [65471, 65471, 65471, 65471, 65471, 65471, 65471, 65471],
];
