//! How many values each line of a chunk holds.

use crate::bits::width_of;
use crate::codec::ans::Coding;
use crate::codec::model::Fault;
use crate::codec::model::cut::Cut;
use crate::codec::model::table::Table;

/// Numbers of values in a line that have a symbol; the last one stands for more.
const RUNS: usize = 16;
/// Expected numbers of values in a line that are told apart, two for each power of two from 1/64 on.
const LEVELS: usize = 24;
/// Lines that are coded under the same expectation of what is left.
const GROUP: usize = 8;

/// Values of a line that are listed without asking.
const USUAL: usize = 4;

/// One value of a chunk.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    pub(crate) line: u16,
    /// Values of the line from this one on.
    pub(crate) left: u16,
    pub(crate) is_first: bool,
}

/// The lines of the current band.
#[derive(Debug)]
pub(crate) struct Lines {
    prior: u32,
    /// Prior and twice the number of values so far.
    weights: Vec<u32>,
    /// By how much the values agree with the signs of their columns.
    pub(crate) leans: Vec<i32>,
    /// Values of the chunk in each line.
    pub(crate) held: Vec<u16>,
    tables: [Table; LEVELS],
}

impl Lines {
    pub(crate) fn new(lines: usize, prior: u32) -> Lines {
        let tables = POISSON.map(|prior| Table::new(&prior));
        Lines { prior, weights: vec![prior; lines], leans: vec![0; lines], held: vec![0; lines], tables }
    }

    /// Forgets what was learned of the lines, since others follow.
    pub(crate) fn restart(&mut self) {
        self.weights.fill(self.prior);
        self.leans.fill(0);
    }

    pub(crate) fn settle(&mut self) {
        self.tables.iter_mut().for_each(Table::settle);
    }

    /// Counts the values of a chunk by line.
    pub(crate) fn tally(&mut self, indices: &[u16], cut: &Cut) {
        self.held[..cut.lines()].fill(0);
        let (mut line, mut end) = (0, cut.length);
        for &index in indices {
            // Ascending indices need no division.
            while usize::from(index) >= end {
                (line, end) = (line + 1, end + cut.length);
            }
            self.held[line] += 1;
        }
    }

    /// Codes [`Lines::held`] for a chunk of `count` values.
    #[inline(always)]
    pub(crate) fn code(&mut self, coding: &mut impl Coding, cut: &Cut, count: usize) -> Result<(), Fault> {
        let last = cut.lines() - 1;
        let mut rest = self.weights[..=last].iter().sum::<u32>();
        let (mut line, mut left) = (0, count);
        while line < last && left > 0 {
            let group = line..(line + GROUP).min(last);
            let expected = logarithm(64 * left as u32) - logarithm(rest);
            for (turn, line) in group.clone().enumerate() {
                rest -= self.weights[line];
                self.symbol(coding, turn, line, expected);
            }
            coding.end_phase();
            for line in group.clone() {
                let held = self.finish(coding, line, cut.length_of(line))?;
                left = left.checked_sub(held).ok_or(Fault::Index)?;
            }
            line = group.end;
        }
        self.held[line..=last].fill(0);
        self.held[last] += left as u16;
        if left > cut.length_of(last) { Err(Fault::Index) } else { Ok(()) }
    }

    /// Codes how many values a line holds, as far as a symbol tells.
    #[inline(always)]
    fn symbol(&mut self, coding: &mut impl Coding, turn: usize, line: usize, expected: i32) {
        let table = &mut self.tables[level_of(expected + logarithm(self.weights[line]))];
        let held = self.held[line];
        let symbol = coding.symbol(turn, table.sums(), usize::from(held).min(RUNS - 1));
        table.count(symbol);
        self.held[line] = if symbol < RUNS - 1 { symbol as u16 } else { held.max(symbol as u16) };
    }

    /// Lists the values of a chunk.
    #[inline(always)]
    pub(crate) fn list(&self, lines: usize, places: &mut Vec<Place>) {
        let held = &self.held[..lines];
        let count = held.iter().map(|&held| usize::from(held)).sum::<usize>();
        // Some are written whether they are there or not, since that cannot be predicted.
        places.resize(count + USUAL, Place::default());
        let mut value = 0;
        for (line, &held) in held.iter().enumerate() {
            for (nth, place) in places[value..value + USUAL].iter_mut().enumerate() {
                *place = Place { line: line as u16, left: held.wrapping_sub(nth as u16), is_first: nth == 0 };
            }
            for nth in USUAL..usize::from(held) {
                places[value + nth] = Place { line: line as u16, left: held - nth as u16, is_first: false };
            }
            value += usize::from(held);
        }
        places.truncate(count);
    }

    /// Codes what a symbol left open, and learns.
    fn finish(&mut self, coding: &mut impl Coding, line: usize, length: usize) -> Result<usize, Fault> {
        let mut held = usize::from(self.held[line]);
        if held >= RUNS - 1 {
            let more = (held - (RUNS - 1)) as u32;
            held = RUNS - 1 + coding.number(width_of(length), more) as usize;
            self.held[line] = held as u16;
        }
        self.weights[line] += 2 * held as u32;
        if held > length { Err(Fault::Index) } else { Ok(held) }
    }
}

/// Level of an expected number of values in 1/64, given its logarithm.
fn level_of(logarithm: i32) -> usize {
    (logarithm >> 3).clamp(0, LEVELS as i32 - 1) as usize
}

/// Sixteen times the logarithm to base 2, linear between powers of two, rounded down.
fn logarithm(x: u32) -> i32 {
    let power = x.ilog2();
    let fraction = (x << (31 - power) >> 27) & 15;
    (power << 4 | fraction) as i32
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
        assert!((0..32).all(|power| logarithm(1 << power) == 16 * power));
        assert_eq!(logarithm(3), 24);
    }
}
