use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn all_of(assignment: &Assignment, window: u64, seed: &[u8; 32]) -> Vec<u64> {
    (0..assignment.slots).flat_map(|slot| assignment.of(window, slot, seed)).collect()
}

fn seed(window: u64) -> [u8; 32] {
    *blake3::hash(&window.to_le_bytes()).as_bytes()
}

proptest! {
    #[test]
    fn no_sample_twice_in_an_epoch(slots in 1_u32..6, per_slot in 1_u32..8, more in 0_u64..120, epoch in 0_u64..3) {
        let assignment = Assignment::new(u64::from(slots * per_slot) + more, slots, per_slot).unwrap();
        let windows = assignment.windows_per_epoch();
        let given: Vec<u64> =
            (epoch * windows..(epoch + 1) * windows).flat_map(|w| all_of(&assignment, w, &seed(w))).collect();
        let different: BTreeSet<u64> = given.iter().copied().collect();
        prop_assert_eq!(different.len(), given.len());
        prop_assert_eq!(given.len() as u64, windows * u64::from(slots * per_slot));
        prop_assert!(given.iter().all(|&sample| sample < assignment.samples));
    }

    #[test]
    fn small_datasets_are_shared_evenly(samples in 1_u64..40, slots in 1_u32..9, per_slot in 1_u32..9, window: u64) {
        prop_assume!(samples < u64::from(slots * per_slot));
        let assignment = Assignment::new(samples, slots, per_slot).unwrap();
        let mut times = BTreeMap::new();
        for sample in all_of(&assignment, window, &seed(window)) {
            *times.entry(sample).or_insert(0_u32) += 1;
        }
        let (least, most) = (times.values().min().unwrap(), times.values().max().unwrap());
        prop_assert_eq!(times.len() as u64, samples);
        prop_assert!(most - least <= 1);
        for slot in 0..slots {
            let own = assignment.of(window, slot, &seed(window));
            let different: BTreeSet<_> = own.iter().collect();
            prop_assert_eq!(different.len() as u64, u64::from(per_slot).min(samples));
        }
        prop_assert!(assignment.draw_unassigned(window, &seed(1), 9).is_empty());
    }

    #[test]
    fn draws_are_different_and_on_their_side(
        slots in 1_u32..6, per_slot in 1_u32..8, more in 0_u64..60, window in 0_u64..50, count in 0_usize..20, draw: [u8; 32],
    ) {
        let assignment = Assignment::new(u64::from(slots * per_slot) + more, slots, per_slot).unwrap();
        let block = seed(window);
        let given: BTreeSet<u64> = all_of(&assignment, window, &block).into_iter().collect();
        let own: BTreeSet<u64> = assignment.of(window, 0, &block).into_iter().collect();
        let assigned = draw_samples(&assignment.of(window, 0, &block), &draw, count);
        prop_assert_eq!(assigned.len(), count.min(per_slot as usize));
        prop_assert!(assigned.iter().all(|sample| own.contains(sample)));
        let unassigned = assignment.draw_unassigned(window, &draw, count);
        prop_assert_eq!(unassigned.len() as u64, (count as u64).min(more));
        prop_assert!(unassigned.iter().all(|sample| !given.contains(sample) && *sample < assignment.samples));
        for drawn in [assigned, unassigned] {
            prop_assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), drawn.len());
        }
    }

    #[test]
    fn nothing_panics_at_the_edges(samples in 1_u64.., slots in 1_u32.., window: u64, draw: [u8; 32]) {
        let assignment = Assignment::new(samples, slots, 3).unwrap();
        for slot in [0, slots - 1] {
            prop_assert_eq!(assignment.of(window, slot, &draw).len(), 3);
        }
        prop_assert!(assignment.of(window, slots, &draw).is_empty());
        prop_assert!(assignment.draw_unassigned(window, &draw, 4).len() <= 4);
    }
}

#[test]
fn the_block_decides_who_gets_what() {
    let assignment = Assignment::new(10_000, 8, 20).unwrap();
    let set = |seed| all_of(&assignment, 3, &seed).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(set([1; 32]), set([2; 32]), "the window's slice does not depend on the block");
    assert_ne!(assignment.of(3, 0, &[1; 32]), assignment.of(3, 0, &[2; 32]));
    let drawn = |draw| draw_samples(&assignment.of(3, 0, &[1; 32]), &[draw; 32], 8);
    assert_ne!(drawn(1), drawn(2));
}

#[test]
fn a_repeated_sample_is_drawn_once() {
    let mut drawn = draw_samples(&[7, 3, 7, 7, 3], &[1; 32], 9);
    drawn.sort_unstable();
    assert_eq!(drawn, [3, 7]);
    assert!(draw_samples(&[], &[1; 32], 9).is_empty());
}

#[test]
fn golden_assignment() {
    let assignment = Assignment::new(100, 4, 3).unwrap();
    let found: Vec<Vec<u64>> = (0..4).map(|slot| assignment.of(2, slot, &[5; 32])).collect();
    assert_eq!(found, GOLDEN, "every node computes this assignment: changing it forks a run");
}

const GOLDEN: [[u64; 3]; 4] = [[36, 68, 53], [1, 16, 23], [66, 15, 4], [11, 43, 64]];

#[test]
fn zero_is_refused() {
    assert_eq!(Assignment::new(0, 1, 1), Err(AssignmentError::NoSamples));
    assert_eq!(Assignment::new(1, 0, 1), Err(AssignmentError::NoSlots));
    assert_eq!(Assignment::new(1, 1, 0), Err(AssignmentError::NoSlots));
}
