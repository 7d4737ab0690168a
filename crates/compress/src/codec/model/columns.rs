//! What is known of the columns of a matrix.

use crate::codec::model::cut::Geometry;
use crate::codec::range::WEIGHTS;

/// Blocks with more columns than this have columns of equal weight.
const UNEQUAL_MAX: usize = 256;
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
    seen: Vec<u16>,
    lean: Vec<i16>,
    /// Per block the running sums of the weights, one number more than the block has columns.
    sums: Vec<u16>,
}

impl Columns {
    pub(crate) fn new(geometry: Geometry, prior: u32) -> Columns {
        let (seen, lean) = (vec![0; geometry.columns], vec![0; geometry.columns]);
        let sums = vec![0; geometry.columns + geometry.across];
        let mut columns = Columns { geometry, prior, seen, lean, sums };
        columns.weigh();
        columns
    }

    /// Running sums of the weights of the `length` columns of block `block`, which begin at `base`.
    pub(crate) fn sums(&self, block: usize, base: usize, length: usize) -> &[u16] {
        &self.sums[base + block..base + block + length + 1]
    }

    /// By how much values in a column agree with the signs of their lines.
    pub(crate) fn lean(&self, column: usize) -> i32 {
        i32::from(self.lean[column])
    }

    /// Learns where the values of a band were.
    pub(crate) fn count(&mut self, entries: &[Entry]) {
        for entry in entries {
            let seen = &mut self.seen[entry.column as usize];
            *seen = (*seen + 1).min(SEEN_MAX);
        }
        self.weigh();
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

    /// Every column of a block weighs 1 and its part of what is left of [`WEIGHTS`], rounded down, in proportion to
    /// `prior + 2 * seen`; the last one takes the rest.
    fn weigh(&mut self) {
        let (mut column, mut place) = (0, 0);
        for block in 0..self.geometry.across {
            let end = self.geometry.block_end(block);
            let seen = &self.seen[column..end];
            let sums = &mut self.sums[place..=place + seen.len()];
            if seen.len() > UNEQUAL_MAX {
                level(sums);
            } else {
                weigh(seen, self.prior, sums);
            }
            place += seen.len() + 1;
            column = end;
        }
    }
}

fn weigh(seen: &[u16], prior: u32, sums: &mut [u16]) {
    let parts = |&seen: &u16| prior + 2 * u32::from(seen);
    let total = seen.iter().map(parts).sum::<u32>();
    // In units of 2^-16, so that columns need no division of their own.
    let unit = ((u32::from(WEIGHTS) - seen.len() as u32) << 16) / total;
    let mut sum = 0;
    for (slot, seen) in sums.iter_mut().zip(seen) {
        *slot = sum;
        sum += 1 + ((u64::from(parts(seen)) * u64::from(unit)) >> 16) as u16;
    }
    sums[seen.len()] = WEIGHTS;
}

fn level(sums: &mut [u16]) {
    sums.iter_mut().zip(0..).for_each(|(slot, sum)| *slot = sum);
}
