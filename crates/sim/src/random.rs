//! Chance, from the seed alone.

/// SplitMix64 (Steele, Lea and Flood, 2014): small, fast and the same everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A stream that depends on every one of `parts`.
    pub(crate) fn of(parts: &[u64]) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15;
        for part in parts {
            state = mix(state ^ mix(*part)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        }
        Self(state)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Below `end`; 0 if `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // The bias of the multiplication is at most `end` in 2^64.
        let wide = u128::from(self.next()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// In `low..high`; `low` if that is empty.
    pub(crate) fn within(&mut self, low: u64, high: u64) -> u64 {
        low.saturating_add(self.below(high.saturating_sub(low)))
    }

    /// In `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64")]
        let bits = (self.next() >> 11) as f64;
        bits / 9_007_199_254_740_992.0
    }

    /// Uniform in `-1.0..1.0`, with 24 bits.
    pub(crate) fn signed(&mut self) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "24 bits fit an f32")]
        let bits = (self.next() >> 40) as f32;
        bits / 8_388_608.0 - 1.0
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// An index below `len`; 0 if there is none.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_depend_on_every_part_and_nothing_else() {
        let first = |parts: &[u64]| Random::of(parts).next();
        assert_eq!(first(&[1, 2]), first(&[1, 2]));
        let all = [first(&[]), first(&[0]), first(&[0, 0]), first(&[1, 2]), first(&[2, 1])];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn draws_stay_in_their_range_and_reach_all_of_it() {
        let mut random = Random::of(&[7]);
        let mut seen = [0_u32; 5];
        for _ in 0..5000 {
            seen[random.index(5)] += 1;
            assert!((0.0..1.0).contains(&random.unit()));
            assert!((-1.0..1.0).contains(&random.signed()));
            assert!((3..9).contains(&random.within(3, 9)));
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        assert_eq!((random.below(0), random.within(4, 4), random.index(0)), (0, 4, 0));
    }
}
