//! How far the next value is from the last one.
//!
//! Places that are chosen independently of each other lie at distances with a geometric distribution. A distance is coded as the
//! number of a segment of `2^low` places, and as the place in the segment, of which all are taken to be equally probable.

use std::sync::LazyLock;

use crate::codec::ans::{DISTANCE_BITS, Slots};

/// The symbol for this many segments without a value.
pub(crate) const SKIP: u32 = 31;
/// More than any chunk has room for.
pub(crate) const DISTANCE_MAX: u32 = 1 << 24;
/// Most low bits: with those of the slot a state has them.
const LOW_MAX: u32 = 9;
const SLOTS: usize = 1 << DISTANCE_BITS;
/// Places of a line of weight one.
pub(crate) const LINE_BITS: u32 = 9;
/// What is left of a probability from one segment to the next, in 2^-16: `exp(-1 / m)` for `m` segments from one value to the next on average,
/// `m = 2^(1 + (table + 1/2) / 4)`.
const RATIOS: [u16; 37] = [
    41434, 44569, 47389, 49898, 52110, 54045, 55729, 57185, 58438, 59514, 60434, 61218, 61886, 62452, 62933, 63340,
    63685, 63976, 64221, 64429, 64604, 64751, 64875, 64980, 65068, 65142, 65205, 65257, 65302, 65339, 65370, 65397,
    65419, 65437, 65453, 65466, 65477,
];

static TABLES: LazyLock<Vec<Distances>> = LazyLock::new(|| RATIOS.iter().map(|&ratio| Distances::new(ratio)).collect());

/// A table of the segments 0 to 30 and [`SKIP`].
#[derive(Debug)]
pub(crate) struct Distances {
    /// What a slot says, packed.
    pub(crate) by_slot: [u32; SLOTS],
    starts: [u16; SKIP as usize + 2],
}

/// What a slot of a table says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Distance {
    pub(crate) symbol: u32,
    pub(crate) share: u64,
    /// How far the slot is above the symbol's first.
    pub(crate) above: u64,
}

impl Distance {
    #[inline(always)]
    pub(crate) fn unpack(packed: u32) -> Distance {
        Distance { symbol: packed >> 24, share: u64::from(packed >> 12 & 0xfff), above: u64::from(packed & 0xfff) }
    }
}

impl Distances {
    fn new(ratio: u16) -> Distances {
        let (mut starts, mut tail) = ([SLOTS as u16; SKIP as usize + 2], 1_u64 << 16);
        for (symbol, start) in starts.iter_mut().take(SKIP as usize + 1).enumerate() {
            // One slot for each symbol, the others by their probability.
            *start = symbol as u16 + (((SLOTS as u64 - u64::from(SKIP) - 1) * ((1 << 16) - tail)) >> 16) as u16;
            tail = (tail * u64::from(ratio)) >> 16;
        }
        let mut by_slot = [0; SLOTS];
        for (symbol, pair) in starts.windows(2).enumerate() {
            for slot in pair[0]..pair[1] {
                by_slot[usize::from(slot)] =
                    (symbol as u32) << 24 | u32::from(pair[1] - pair[0]) << 12 | u32::from(slot - pair[0]);
            }
        }
        Distances { by_slot, starts }
    }

    /// The table of a number.
    pub(crate) fn of(table: usize) -> &'static Distances {
        &TABLES[table.min(RATIOS.len() - 1)]
    }

    #[inline(always)]
    pub(crate) fn slots(&self, symbol: u32) -> Slots {
        let (start, end) = (self.starts[symbol as usize], self.starts[symbol as usize + 1]);
        Slots { start: u32::from(start), share: u32::from(end - start) }
    }
}

/// The number of a table and of low bits, for so many values in chunks of so many lines' weight altogether.
pub(crate) fn table_of(units: usize, values: usize) -> (usize, u32) {
    let mean = (((units as u64) << LINE_BITS) / values.max(1) as u64).max(1);
    let low = mean.ilog2().saturating_sub(2).min(LOW_MAX);
    // Quarters of an octave, linear between powers of two.
    let quarters = ((mean as f32).to_bits() >> 21) as usize - (127 << 2);
    (quarters.saturating_sub(4 * low as usize + 4).min(RATIOS.len() - 1), low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_near_the_distribution_that_they_are_named_after() {
        for (table, quarters) in (0..RATIOS.len()).zip(0_u8..) {
            let mean = 2_f64.powf(1.0 + (f64::from(quarters) + 0.5) / 4.0);
            assert_eq!(RATIOS[table], ((-1.0 / mean).exp() * 65536.0).round() as u16);
            let (mut cost, mut ideal) = (0.0, 0.0);
            for symbol in 0..=SKIP {
                let before = (-f64::from(symbol) / mean).exp();
                let after = [(-f64::from(symbol + 1) / mean).exp(), 0.0][usize::from(symbol == SKIP)];
                let probability = before - after;
                let share = f64::from(Distances::of(table).slots(symbol).share);
                assert!(symbol == SKIP || share <= 512.0);
                cost -= probability * (share / SLOTS as f64).log2();
                ideal -= probability * probability.log2();
            }
            assert!(cost < ideal + 0.05, "table {table}: {cost} against {ideal} bits");
        }
    }

    #[test]
    fn segments_suit_the_distance() {
        assert_eq!(table_of(256, 64), (4, 9));
        assert_eq!(table_of(64, 64), (4, 7));
        assert_eq!(table_of(64, 4096), (4, 1));
        assert_eq!(table_of(1, 4096), (0, 0));
        assert_eq!(table_of(16_384, 1), (36, 9));
    }
}
