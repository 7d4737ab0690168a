//! How many values each line of a chunk holds.

use std::ops::Range;

use crate::bits::width_of;
use crate::codec::ans::Coding;
use crate::codec::model::Fault;
use crate::codec::model::cut::Cut;
use crate::codec::model::learned::Learned;

/// Numbers of values in a line that have a symbol; the last one stands for more.
const RUNS: usize = 16;
/// Expected numbers of values in a line that are told apart, two for each power of two from 1/64 on.
const LEVELS: usize = 24;
/// Lines that are coded under the same expectation of what is left.
const GROUP: usize = 16;
/// Largest weight of a line.
const WEIGHT_MAX: u32 = 1 << 14;

/// The next value of a line: what is known of it fits into 16 bits, as the index of an element does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    /// The first element of the line.
    pub(crate) base: u16,
    /// The first column that it may be in.
    pub(crate) from: u16,
    /// Values of the line from this one on.
    pub(crate) left: u16,
    /// Its number in the chunk.
    pub(crate) value: u16,
}

/// The lines of the current band.
#[derive(Debug)]
pub(crate) struct Lines {
    prior: u32,
    /// Prior and twice the number of values so far.
    weights: Vec<u32>,
    /// Values of the chunk in each line.
    held: Vec<u32>,
    learned: Learned,
}

impl Lines {
    pub(crate) fn new(lines: usize, prior: u32, reads: bool) -> Lines {
        let learned = Learned::new(POISSON.iter().map(|prior| &prior[..]), reads);
        // Whole groups, so that a group can be worked on without asking how long it is.
        let lines = lines.next_multiple_of(GROUP);
        Lines { prior, weights: vec![prior; lines], held: vec![0; lines], learned }
    }

    /// Forgets what was learned of the lines, since others follow.
    #[inline(always)]
    pub(crate) fn restart(&mut self) {
        self.weights.fill(self.prior);
    }

    #[inline(always)]
    pub(crate) fn settle(&mut self) {
        self.learned.settle();
    }

    /// Counts the values of a chunk by line.
    #[inline(always)]
    pub(crate) fn tally(&mut self, indices: &[u16], cut: &Cut) {
        self.held[..cut.lines()].fill(0);
        indices.iter().for_each(|&index| self.held[cut.line_of(index)] += 1);
    }

    /// Codes how many of `count` values each line of a chunk holds.
    #[inline(always)]
    pub(crate) fn code(&mut self, coding: &mut impl Coding, cut: &Cut, count: usize) -> Result<(), Fault> {
        let last = cut.lines() - 1;
        let mut rest = self.weights[..=last].iter().sum::<u32>();
        let (mut line, mut left) = (0, count);
        while line < last && left > 0 {
            let end = (line + GROUP).min(last);
            let expected = logarithm(64 * left as u32) - logarithm(rest);
            self.symbols(coding, line..end, expected);
            rest -= self.weights[line..end].iter().sum::<u32>();
            let held = self.finish(coding, line..end, cut.length)?;
            left = left.checked_sub(held).ok_or(Fault::Index)?;
            line = end;
        }
        self.held[line..=last].fill(0);
        self.held[last] += left as u32;
        self.weights[last] = (self.weights[last] + 2 * left as u32).min(WEIGHT_MAX);
        if left > cut.length_of(last) { Err(Fault::Index) } else { Ok(()) }
    }

    /// Codes how many values the lines of a group hold, as far as symbols tell.
    #[inline(always)]
    fn symbols(&mut self, coding: &mut impl Coding, group: Range<usize>, expected: i32) {
        let mut levels = [0; GROUP];
        for (level, &weight) in levels.iter_mut().zip(&self.weights[group.start..]) {
            *level = level_of(expected + logarithm(weight));
        }
        for (turn, (held, &level)) in self.held[group].iter_mut().zip(&levels).enumerate() {
            let symbol = coding.symbol(turn, &self.learned.tables, level, (*held).min(RUNS as u32 - 1));
            self.learned.count(level, symbol);
            *held = if coding.reads() { symbol } else { *held };
        }
    }

    /// Codes what symbols left open, and learns. Returns the number of values in the group.
    #[inline(always)]
    fn finish(&mut self, coding: &mut impl Coding, group: Range<usize>, length: usize) -> Result<usize, Fault> {
        let held = &mut self.held[group.clone()];
        if held.iter().fold(0, |most, &held| most.max(held)) >= RUNS as u32 - 1 {
            many(coding, held, length)?;
        }
        for (weight, held) in self.weights[group].iter_mut().zip(&*held) {
            *weight = (*weight + 2 * held).min(WEIGHT_MAX);
        }
        Ok(held.iter().sum::<u32>() as usize)
    }

    /// Lists the lines of a chunk that hold values.
    #[inline(always)]
    pub(crate) fn list(&self, cut: &Cut, places: &mut Vec<Place>) {
        let held = &self.held[..cut.lines()];
        places.resize(held.len(), Place::default());
        let (mut count, mut value, mut base) = (0, 0, 0);
        for &held in held {
            places[count] = Place { base, from: 0, left: held as u16, value };
            count += usize::from(held > 0);
            value += held as u16;
            base = base.wrapping_add(cut.length as u16);
        }
        places.truncate(count);
    }
}

/// Codes large numbers of values in lines.
#[cold]
fn many(coding: &mut impl Coding, lines: &mut [u32], length: usize) -> Result<(), Fault> {
    let most = RUNS as u32 - 1;
    for held in lines.iter_mut().filter(|held| **held >= most) {
        *held = most + coding.number(width_of(length), *held - most);
        if *held as usize > length {
            return Err(Fault::Index);
        }
    }
    Ok(())
}

/// Level of an expected number of values in 1/64, given its logarithm.
#[inline(always)]
fn level_of(logarithm: i32) -> u32 {
    (logarithm >> 3).clamp(0, LEVELS as i32 - 1) as u32
}

/// Sixteen times the logarithm to base 2 of a number in `1..=2^24`, linear between powers of two, rounded down.
#[inline(always)]
fn logarithm(x: u32) -> i32 {
    // A floating-point number has it in its upper bits; the conversion is exact.
    ((x as i32 as f32).to_bits() >> 19) as i32 - (127 << 4)
}

/// Poisson probabilities of mean `2^((level + 1/2) / 2 - 6)` in 1/1024, at least one: of each number of values in a line
/// below 15, then of more.
const POISSON: [[u16; RUNS]; LEVELS] = [
    [1005, 19, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [997, 26, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [987, 37, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [972, 51, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [951, 71, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [922, 97, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [883, 131, 10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [830, 174, 18, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [761, 226, 34, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [673, 283, 59, 8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [565, 336, 100, 20, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [442, 371, 156, 44, 9, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [312, 371, 220, 87, 26, 6, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [191, 320, 269, 151, 64, 21, 6, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [95, 226, 268, 213, 127, 60, 24, 8, 2, 1, 1, 1, 1, 1, 1, 1],
    [35, 119, 200, 225, 189, 127, 71, 34, 14, 5, 2, 1, 1, 1, 1, 1],
    [9, 42, 100, 158, 188, 179, 142, 96, 57, 30, 14, 6, 2, 1, 1, 1],
    [1, 8, 28, 62, 105, 141, 158, 152, 128, 95, 64, 39, 22, 11, 5, 4],
    [1, 1, 3, 11, 26, 49, 78, 106, 126, 133, 127, 109, 87, 64, 43, 62],
    [1, 1, 1, 1, 2, 5, 12, 23, 39, 58, 79, 96, 108, 112, 107, 381],
    [1, 1, 1, 1, 1, 1, 1, 1, 2, 5, 10, 17, 26, 38, 52, 872],
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 1019],
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1024],
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1024],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_ascend_and_are_exact_at_powers_of_two() {
        assert!((1..100_000).all(|x| logarithm(x) <= logarithm(x + 1)));
        assert!((0..=24).all(|power| logarithm(1 << power) == 16 * power));
        assert_eq!(logarithm(3), 24);
    }
}
