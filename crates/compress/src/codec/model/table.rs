//! Symbols whose shares follow their counts.

use crate::codec::ans::SLOTS;

/// Most symbols of a table.
pub(crate) const SYMBOLS_MAX: usize = 16;
/// What a coded symbol adds to its count; priors are finer than that.
const SEEN: u32 = 16;
/// Counts are halved when they add up to this.
const COUNTS_MAX: u32 = 1 << 20;

/// Up to 16 symbols. Counts are kept at once, shares change when [`Table::settle`] is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    symbols: usize,
    counts: [u32; SYMBOLS_MAX],
    /// Running sums of the shares, from 0 to [`SLOTS`].
    sums: [u16; SYMBOLS_MAX + 1],
}

impl Table {
    /// A table that begins as if symbol `s` had been seen `prior[s] / 16` times.
    pub(crate) fn new(prior: &[u16]) -> Table {
        let mut counts = [0; SYMBOLS_MAX];
        counts.iter_mut().zip(prior).for_each(|(count, &prior)| *count = u32::from(prior));
        let mut table = Table { symbols: prior.len(), counts, sums: [SLOTS; SYMBOLS_MAX + 1] };
        table.settle();
        table
    }

    #[inline]
    pub(crate) fn sums(&self) -> &[u16] {
        &self.sums[..=self.symbols]
    }

    #[inline]
    pub(crate) fn count(&mut self, symbol: usize) {
        self.counts[symbol] += SEEN;
    }

    /// Every symbol gets one slot and its part of the others, rounded down, in proportion to its count; the last one gets
    /// the rest.
    pub(crate) fn settle(&mut self) {
        let total = self.counts.iter().sum::<u32>();
        let free = u32::from(SLOTS) - self.symbols as u32;
        let unit = (u64::from(free) << 32) / u64::from(total);
        let mut sum = 0;
        for (slot, &count) in self.sums.iter_mut().zip(&self.counts[..self.symbols]) {
            *slot = sum;
            sum += 1 + ((u64::from(count) * unit) >> 32) as u16;
        }
        self.sums[self.symbols] = SLOTS;
        if total >= COUNTS_MAX {
            self.counts.iter_mut().for_each(|count| *count = count.div_ceil(2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_counts_and_never_vanish() {
        let mut table = Table::new(&[16, 16, 16]);
        assert_eq!(table.sums()[0], 0);
        for _ in 0..200_000 {
            table.count(1);
            table.settle();
            assert!(table.sums().windows(2).all(|pair| pair[0] < pair[1]));
            assert_eq!(table.sums().last(), Some(&SLOTS));
        }
        assert!(table.sums()[2] - table.sums()[1] > SLOTS - 100);
    }
}
