/// A keyed permutation of `0..len`, evaluated one position at a time in constant memory.
///
/// A Feistel network over `Z_a × Z_b` with `a·b` just above `len` (Black and Rogaway, "Ciphers with arbitrary finite
/// domains", 2002: the generalised Feistel cipher), BLAKE3 as the round function, and cycle walking for the few values
/// past the end.
#[derive(Clone, Debug)]
pub struct Shuffle {
    key: [u8; 32],
    len: u64,
    rows: u64,
    columns: u64,
}

impl Shuffle {
    /// The permutation of `0..len` that `key` chooses. `len` is bounded by 2^62 (larger values act as that).
    pub fn new(key: [u8; 32], len: u64) -> Self {
        let len = len.min(LEN_MAX);
        let rows = len.isqrt().max(1);
        Self { key, len, rows, columns: len.div_ceil(rows).max(1) }
    }

    /// Number of positions.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no position at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value at `position`, or `None` past the end.
    pub fn at(&self, position: u64) -> Option<u64> {
        if position >= self.len {
            return None;
        }
        // The walk ends: the network is a permutation of a finite set, and the walk's first value is below `len`.
        let mut value = self.cipher(position);
        while value >= self.len {
            value = self.cipher(value);
        }
        Some(value)
    }

    fn cipher(&self, value: u64) -> u64 {
        let (mut row, mut column) = (value / self.columns, value % self.columns);
        for round in 0..ROUNDS {
            if round % 2 == 0 {
                row = (row + self.mix(round, column) % self.rows) % self.rows;
            } else {
                column = (column + self.mix(round, row) % self.columns) % self.columns;
            }
        }
        row * self.columns + column
    }

    fn mix(&self, round: u8, half: u64) -> u64 {
        let mut input = [0; 9];
        input[0] = round;
        input[1..].copy_from_slice(&half.to_le_bytes());
        let digest = blake3::keyed_hash(&self.key, &input);
        let mut first = [0; 8];
        first.copy_from_slice(&digest.as_bytes()[..8]);
        u64::from_le_bytes(first)
    }
}

/// Four rounds suffice against a distinguisher; eight leave room on the smallest domains.
const ROUNDS: u8 = 8;

/// Keeps the product of rows and columns, which is below `len` + its root, inside 64 bits.
const LEN_MAX: u64 = 1 << 62;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn every_value_once(len in 0_u64..700, key: [u8; 32]) {
            let shuffle = Shuffle::new(key, len);
            let values: BTreeSet<u64> = (0..len).filter_map(|position| shuffle.at(position)).collect();
            prop_assert_eq!(values, (0..len).collect::<BTreeSet<_>>());
            prop_assert_eq!(shuffle.at(len), None);
        }

        #[test]
        fn large_domains_stay_inside(len in 1_u64.., key: [u8; 32], position: u64) {
            let shuffle = Shuffle::new(key, len);
            let value = shuffle.at(position % shuffle.len()).unwrap();
            prop_assert!(value < shuffle.len());
        }
    }

    #[test]
    fn keys_choose_different_orders_and_positions_spread() {
        let order = |key| (0..1000).filter_map(|p| Shuffle::new([key; 32], 1000).at(p)).collect::<Vec<_>>();
        let (first, second) = (order(1), order(2));
        let equal = first.iter().zip(&second).filter(|(a, b)| a == b).count();
        assert!(equal < 12, "two random orders of 1000 agree in about one place, not {equal}");
        // The first half of the positions must not prefer either half of the values: 250 expected, sigma about 8.
        let low = first[..500].iter().filter(|&&value| value < 500).count();
        assert!((200..300).contains(&low), "{low}");
    }

    #[test]
    fn golden_order() {
        let order: Vec<u64> = (0..12).filter_map(|p| Shuffle::new([7; 32], 12).at(p)).collect();
        assert_eq!(order, GOLDEN, "every node computes this order: changing it forks a run");
    }

    const GOLDEN: [u64; 12] = [6, 0, 9, 8, 4, 2, 7, 5, 3, 10, 11, 1];
}
