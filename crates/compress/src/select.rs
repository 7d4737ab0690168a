//! The `k` largest values of a chunk.

use crate::scale::LARGEST;

const MAGNITUDE: u32 = 0x7fff_ffff;

/// Sets values that cannot be compressed to zero and says how many there were.
pub(crate) fn reject_unusable(chunk: &mut [f32]) -> usize {
    let usable = |value: f32| value.abs() <= LARGEST;
    if chunk.iter().all(|&value| usable(value)) {
        return 0;
    }
    let mut rejected = 0;
    for value in chunk {
        if !usable(*value) {
            *value = 0.0;
            rejected += 1;
        }
    }
    rejected
}

/// Appends the positions of the `k` values of largest magnitude in ascending order; of equal ones the lower position
/// wins, zeros never do. `keys` is working space.
pub(crate) fn select(chunk: &[f32], k: usize, keys: &mut Vec<u32>, indices: &mut Vec<u16>) {
    let key = |value: &f32| value.to_bits() & MAGNITUDE;
    keys.clear();
    keys.extend(chunk.iter().map(key));
    let rank = chunk.len() - k;
    let threshold = *keys.select_nth_unstable(rank).1;
    let above = chunk.iter().filter(|value| key(value) > threshold).count();
    let mut ties = if threshold == 0 { 0 } else { k - above };
    for (index, value) in chunk.iter().enumerate() {
        let key = key(value);
        let tie = key == threshold && ties > 0;
        ties -= usize::from(tie);
        if key > threshold || tie {
            indices.push(index as u16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selected(chunk: &[f32], k: usize) -> Vec<u16> {
        let mut indices = Vec::new();
        select(chunk, k, &mut Vec::new(), &mut indices);
        indices
    }

    /// By sorting: magnitude descending, then position ascending.
    fn expected(chunk: &[f32], k: usize) -> Vec<u16> {
        let mut order = (0..chunk.len() as u16).filter(|&i| chunk[i as usize] != 0.0).collect::<Vec<_>>();
        order.sort_by(|&a, &b| chunk[b as usize].abs().total_cmp(&chunk[a as usize].abs()).then(a.cmp(&b)));
        order.truncate(k);
        order.sort_unstable();
        order
    }

    #[test]
    fn the_lower_position_wins_a_tie() {
        assert_eq!(selected(&[1.0, -2.0, 2.0, 2.0, -1.0], 2), [1, 2]);
        assert_eq!(selected(&[1.0, 1.0, 1.0], 1), [0]);
        assert_eq!(selected(&[0.0, -0.0, 3.0], 2), [2]);
        assert_eq!(selected(&[0.0; 5], 3), [] as [u16; 0]);
    }

    #[test]
    fn unusable_values_become_zero() {
        let mut chunk = [1.0, f32::NAN, f32::INFINITY, -f32::INFINITY, LARGEST, LARGEST * 1.01];
        assert_eq!(reject_unusable(&mut chunk), 4);
        assert_eq!(chunk, [1.0, 0.0, 0.0, 0.0, LARGEST, 0.0]);
    }

    proptest! {
        #[test]
        fn selection_is_that_of_a_sort(small in prop::collection::vec(-4_i8..=4, 1..300), k in 1_usize..300) {
            let chunk = small.iter().map(|&v| f32::from(v) / 2.0).collect::<Vec<_>>();
            let k = k.min(chunk.len());
            prop_assert_eq!(selected(&chunk, k), expected(&chunk, k));
        }

        #[test]
        fn selection_of_distinct_values(chunk in prop::collection::vec(-1e3_f32..1e3, 1..300), k in 1_usize..300) {
            let k = k.min(chunk.len());
            prop_assert_eq!(selected(&chunk, k), expected(&chunk, k));
        }
    }
}
