//! What is known of the columns of a matrix.

use crate::codec::ans::{SLOT_BITS, SLOTS};
use crate::codec::model::cut::Geometry;
use crate::codec::model::tables::Tables;

/// Numbers of values in a line for which the place of the first one has a table of its own; the last is for more, too.
const FIRSTS: u32 = 3;
/// Most columns of a line.
pub(crate) const COLUMNS_MAX: usize = 256;
/// Most values of a column that are remembered.
const SEEN_MAX: u16 = 1 << 12;

/// Columns of all blocks of a section.
#[derive(Debug)]
pub(crate) struct Columns {
    geometry: Geometry,
    prior: u32,
    bands: u32,
    seen: Vec<u16>,
    /// Per block and number of values the shares of the columns.
    pub(crate) tables: Tables,
}

impl Columns {
    pub(crate) fn new(geometry: Geometry, prior: u32, reads: bool) -> Columns {
        let seen = vec![0; geometry.base(geometry.across)];
        let tables = Tables::new(FIRSTS as usize * geometry.across, geometry.longest(), reads);
        let mut columns = Columns { geometry, prior, bands: 0, seen, tables };
        columns.settle();
        columns
    }

    /// Number of the table for the place of the first of `left` values still to come.
    #[inline(always)]
    pub(crate) fn table(block: usize, left: u16) -> u32 {
        FIRSTS * block as u32 + u32::from(left).min(FIRSTS) - 1
    }

    /// Learns where values of the band were. A band has at most a few hundred in each column.
    #[inline(always)]
    pub(crate) fn count(&mut self, places: &[(u32, u32)]) {
        places.iter().for_each(|&(_, column)| self.seen[column as usize] += 1);
    }

    /// Shares change after every band at first, ever more rarely later.
    #[inline(always)]
    pub(crate) fn close_band(&mut self) {
        self.seen.iter_mut().for_each(|seen| *seen = (*seen).min(SEEN_MAX));
        self.bands += 1;
        let period = 1 << self.bands.ilog2().saturating_sub(1);
        if self.bands.is_multiple_of(period) {
            self.settle();
        }
    }

    #[inline(always)]
    fn settle(&mut self) {
        for block in 0..self.geometry.across {
            let seen = &self.seen[self.geometry.base(block)..self.geometry.base(block + 1)];
            let sums = share(seen, self.prior);
            for (first, sums) in (FIRSTS as usize * block..).zip(&sums) {
                self.tables.set(first, &sums[..=seen.len()]);
            }
        }
    }
}

/// The shares of one block. A column weighs `prior + 2 * seen`; `tail`, in 2^-11, is the weight from a column on. Of `n`
/// values the first one is in that column or after it with the probability `tail^n`. Every column has one slot in any
/// case.
#[inline(always)]
fn share(seen: &[u16], prior: u32) -> [[u16; COLUMNS_MAX + 1]; FIRSTS as usize] {
    let weight = |&seen: &u16| prior + 2 * u32::from(seen);
    let total = seen.iter().map(weight).sum::<u32>();
    let unit = (u64::from(SLOTS) << 32) / u64::from(total);
    let free = u32::from(SLOTS) - seen.len() as u32;
    let (mut sums, mut before) = ([[SLOTS; COLUMNS_MAX + 1]; FIRSTS as usize], 0);
    for (column, seen) in seen.iter().enumerate() {
        let tail = u32::from(SLOTS) - ((u64::from(before) * unit) >> 32) as u32;
        let mut power = u32::from(SLOTS);
        for sums in &mut sums {
            power = (power * tail) >> SLOT_BITS;
            sums[column] = (column as u32 + ((free * (u32::from(SLOTS) - power)) >> SLOT_BITS)) as u16;
        }
        before += weight(seen);
    }
    sums
}
