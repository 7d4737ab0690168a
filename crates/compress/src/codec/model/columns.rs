//! What is known of the columns of a matrix.

use crate::codec::ans::{SLOT_BITS, SLOTS};
use crate::codec::model::cut::Geometry;

/// Numbers of values in a line for which the place of the first one has a table of its own; the last is for more, too.
pub(crate) const FIRSTS: usize = 4;
/// Most values of a column that are remembered.
const SEEN_MAX: u16 = 1 << 12;
/// Most that a column can lean.
const LEAN_MAX: i32 = 1 << 14;
/// Most that the leaning of a line counts for its columns.
const VOTE_MAX: i32 = 2;

/// One value of the current band.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) line: u16,
    pub(crate) negative: bool,
    pub(crate) column: u32,
}

/// Columns of all blocks of a section.
#[derive(Debug)]
pub(crate) struct Columns {
    geometry: Geometry,
    prior: u32,
    bands: u32,
    seen: Vec<u16>,
    lean: Vec<i16>,
    /// Per block and number of values the running sums of the shares, one number more than the block has columns.
    sums: Vec<u16>,
}

impl Columns {
    pub(crate) fn new(geometry: Geometry, prior: u32) -> Columns {
        let length = geometry.base(geometry.across);
        let (seen, lean) = (vec![0; length], vec![0; length]);
        let sums = vec![0; FIRSTS * (length + geometry.across)];
        let mut columns = Columns { geometry, prior, bands: 0, seen, lean, sums };
        columns.settle();
        columns
    }

    /// For `left` values still to come, the running sums of the shares of the place of the first of them.
    #[inline]
    pub(crate) fn sums(&self, block: usize, base: usize, length: usize, left: usize) -> &[u16] {
        let start = FIRSTS * (base + block) + (left.min(FIRSTS) - 1) * (length + 1);
        &self.sums[start..=start + length]
    }

    /// By how much values in a column agree with the signs of their lines.
    #[inline]
    pub(crate) fn lean(&self, column: usize) -> i32 {
        i32::from(self.lean[column])
    }

    /// Learns where the values of a band were. Shares change after every band at first, ever more rarely later.
    pub(crate) fn count(&mut self, entries: &[Entry]) {
        for entry in entries {
            let seen = &mut self.seen[entry.column as usize];
            *seen = (*seen + 1).min(SEEN_MAX);
        }
        self.bands += 1;
        let period = 1 << self.bands.ilog2().saturating_sub(2);
        if self.bands.is_multiple_of(period) {
            self.settle();
        }
    }

    /// Learns the signs of the values of a band, given the leanings of its lines. A line that does not lean counts as
    /// positive: one sign of a pair of vectors is free.
    pub(crate) fn vote(&mut self, entries: &[Entry], lines: &[i32]) {
        for entry in entries {
            let vote = match lines[usize::from(entry.line)] {
                0 => 1,
                lean => lean.clamp(-VOTE_MAX, VOTE_MAX),
            };
            let lean = &mut self.lean[entry.column as usize];
            let moved = i32::from(*lean) + if entry.negative { -vote } else { vote };
            *lean = moved.clamp(-LEAN_MAX, LEAN_MAX) as i16;
        }
    }

    /// Forgets the signs of these columns.
    pub(crate) fn forget(&mut self, entries: &[Entry]) {
        entries.iter().for_each(|entry| self.lean[entry.column as usize] = 0);
    }

    fn settle(&mut self) {
        let mut place = 0;
        for block in 0..self.geometry.across {
            let seen = &self.seen[self.geometry.base(block)..self.geometry.base(block + 1)];
            let end = place + FIRSTS * (seen.len() + 1);
            share(seen, self.prior, &mut self.sums[place..end]);
            place = end;
        }
    }
}

/// The shares of one block. A column weighs `prior + 2 * seen`; `tail`, in 2^-15, is the weight from a column on. Of `n`
/// values the first one is in that column or after it with the probability `tail^n`. Every column has one slot in any
/// case.
fn share(seen: &[u16], prior: u32, sums: &mut [u16]) {
    let length = seen.len();
    let weight = |&seen: &u16| prior + 2 * u32::from(seen);
    let total = seen.iter().map(weight).sum::<u32>();
    let unit = (u64::from(SLOTS) << 32) / u64::from(total);
    let free = u32::from(SLOTS) - length as u32;
    let mut before = 0;
    for column in 0..length {
        let tail = u32::from(SLOTS) - ((u64::from(before) * unit) >> 32) as u32;
        let mut power = u32::from(SLOTS);
        for first in 0..FIRSTS {
            power = (power * tail) >> SLOT_BITS;
            let sum = column as u32 + ((free * (u32::from(SLOTS) - power)) >> SLOT_BITS);
            sums[first * (length + 1) + column] = sum as u16;
        }
        before += weight(&seen[column]);
    }
    (0..FIRSTS).for_each(|first| sums[first * (length + 1) + length] = SLOTS);
}
