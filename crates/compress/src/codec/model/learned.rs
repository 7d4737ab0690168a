//! Symbols whose shares follow their counts.

use crate::codec::ans::SLOTS;
use crate::codec::model::tables::Tables;

/// Most symbols of a table.
pub(crate) const SYMBOLS_MAX: usize = 16;
/// What a coded symbol adds to its count; priors are finer than that.
const SEEN: u32 = 16;
/// Counts are halved when they add up to this.
const COUNTS_MAX: u32 = 1 << 20;

/// Tables of up to 16 symbols. Counts are kept at once, shares change when [`Learned::settle`] is called.
#[derive(Debug)]
pub(crate) struct Learned {
    pub(crate) tables: Tables,
    counts: Vec<[u32; SYMBOLS_MAX]>,
    settled: Vec<Settled>,
}

/// Number of symbols of a table, and the sum of its counts when its shares were last changed.
#[derive(Debug, Clone, Copy)]
struct Settled {
    symbols: usize,
    total: u32,
}

impl Learned {
    /// Tables that begin as if symbol `s` had been seen `prior[s] / 16` times.
    pub(crate) fn new<'a>(priors: impl IntoIterator<Item = &'a [u16]>, reads: bool) -> Learned {
        let (mut counts, mut settled) = (Vec::new(), Vec::new());
        for prior in priors {
            counts.push(std::array::from_fn(|symbol| prior.get(symbol).copied().map_or(0, u32::from)));
            settled.push(Settled { symbols: prior.len(), total: 0 });
        }
        let mut learned = Learned { tables: Tables::new(counts.len(), SYMBOLS_MAX, reads), counts, settled };
        learned.settle();
        learned
    }

    #[inline(always)]
    pub(crate) fn count(&mut self, table: u32, symbol: u32) {
        self.counts[table as usize][symbol as usize & (SYMBOLS_MAX - 1)] += SEEN;
    }

    /// Every symbol gets one slot and its part of the others, rounded down, in proportion to its count; the last one gets
    /// the rest. Tables that have counted nothing since stay as they are.
    #[inline(always)]
    pub(crate) fn settle(&mut self) {
        for (table, (counts, settled)) in self.counts.iter_mut().zip(&mut self.settled).enumerate() {
            let total = counts.iter().sum::<u32>();
            if total == settled.total {
                continue;
            }
            let symbols = settled.symbols;
            self.tables.set(table, &sums_of(&counts[..symbols], total)[..=symbols]);
            if total >= COUNTS_MAX {
                counts.iter_mut().for_each(|count| *count = count.div_ceil(2));
            }
            settled.total = counts.iter().sum();
        }
    }
}

/// The running sums of the shares of some symbols.
#[inline(always)]
fn sums_of(counts: &[u32], total: u32) -> [u16; SYMBOLS_MAX + 1] {
    let free = u32::from(SLOTS) - counts.len() as u32;
    let unit = (u64::from(free) << 32) / u64::from(total);
    let (mut sums, mut sum) = ([SLOTS; SYMBOLS_MAX + 1], 0);
    for (slot, &count) in sums.iter_mut().zip(counts) {
        *slot = sum;
        sum += 1 + ((u64::from(count) * unit) >> 32) as u16;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_counts_and_never_vanish() {
        let mut learned = Learned::new([&[16, 16, 16][..]], false);
        let sums = |learned: &Learned| [0, 1, 2].map(|symbol| learned.tables.slots(0, symbol));
        assert_eq!(sums(&learned)[0].0, 0);
        for _ in 0..200_000 {
            learned.count(0, 1);
            learned.settle();
            assert!(sums(&learned).iter().all(|slots| slots.0 < slots.1));
            assert_eq!(sums(&learned)[2].1, u32::from(SLOTS));
        }
        assert!(sums(&learned)[1].1 - sums(&learned)[1].0 > u32::from(SLOTS) - 10);
    }
}
