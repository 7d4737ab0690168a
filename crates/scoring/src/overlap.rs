//! Who sends what somebody else has sent.

use std::collections::BTreeMap;

use pactum_protocol::{Metagraph, Uid, Window};

use crate::penalty::Penalty;

/// How much of a payload is also in another one.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Overlap {
    /// Whose payload of the window that is judged.
    pub uid: Uid,
    /// Whose other payload.
    pub other: Uid,
    /// The window of the other payload: this one or an earlier one.
    pub window: Window,
    /// The fraction of equal coordinates of the smaller of the two, in 0..=1.
    pub fraction: f64,
}

/// The uids whose payload of `window` overlaps another by more than `most`.
///
/// Against an earlier window's payload the later one is to blame: [`Penalty::Replayed`]. Within one window no payload
/// was public before the deadline, so that equal ones are one group's work: all but the one that registered first (then
/// the lowest uid) have [`Penalty::Overlapping`]. Each pair of one window may be listed once or twice.
#[must_use]
pub fn judge_overlaps(
    window: Window,
    overlaps: &[Overlap],
    most: f64,
    metagraph: &Metagraph,
) -> BTreeMap<Uid, Penalty> {
    let seniority = |uid: Uid| (metagraph.by_uid(uid).map_or(u64::MAX, |neuron| neuron.registered.0), uid);
    let mut penalties = BTreeMap::new();
    // What is not a number overlaps: a fraction that cannot be computed is no excuse.
    for overlap in overlaps.iter().filter(|overlap| overlap.fraction.is_nan() || overlap.fraction > most) {
        let (uid, penalty) = if overlap.window < window {
            (overlap.uid, Penalty::Replayed)
        } else {
            let junior = std::cmp::max_by_key(overlap.uid, overlap.other, |uid| seniority(*uid));
            (junior, Penalty::Overlapping)
        };
        let entry = penalties.entry(uid).or_insert(penalty);
        *entry = penalty.max(*entry);
    }
    penalties
}

#[cfg(test)]
mod tests {
    use pactum_protocol::{BlockNumber, Hotkey, Neuron};

    use super::*;

    /// Uid 1 registered in block 9, uid 2 in block 5, uid 3 in block 5.
    fn metagraph() -> Metagraph {
        let neuron = |(uid, registered): (u16, u64)| Neuron {
            uid: Uid(uid),
            hotkey: Hotkey([0; 32]),
            stake: 0,
            permit: false,
            address: None,
            registered: BlockNumber(registered),
        };
        Metagraph { block: BlockNumber(10), neurons: [(1, 9), (2, 5), (3, 5)].map(neuron).into() }
    }

    #[track_caller]
    fn check(overlaps: &[(u16, u16, u64, f64)], expected: &[(u16, Penalty)]) {
        let overlaps: Vec<Overlap> = overlaps
            .iter()
            .map(|&(uid, other, window, fraction)| Overlap {
                uid: Uid(uid),
                other: Uid(other),
                window: Window(window),
                fraction,
            })
            .collect();
        let found = judge_overlaps(Window(4), &overlaps, 0.5, &metagraph());
        assert_eq!(found, expected.iter().map(|(uid, penalty)| (Uid(*uid), *penalty)).collect());
    }

    #[test]
    fn the_later_registered_of_a_pair_is_to_blame() {
        check(&[(1, 2, 4, 0.9)], &[(1, Penalty::Overlapping)]);
        check(&[(2, 1, 4, 0.9)], &[(1, Penalty::Overlapping)]);
        check(&[(2, 3, 4, 0.9), (3, 2, 4, 0.9)], &[(3, Penalty::Overlapping)]);
    }

    #[test]
    fn little_overlap_is_no_offence() {
        check(&[(1, 2, 4, 0.5), (1, 2, 3, 0.4)], &[]);
        check(&[(1, 2, 4, f64::NAN)], &[(1, Penalty::Overlapping)]);
    }

    #[test]
    fn an_old_payload_is_a_replay_whoever_made_it() {
        check(&[(2, 1, 3, 0.9)], &[(2, Penalty::Replayed)]);
        check(&[(2, 2, 3, 0.9)], &[(2, Penalty::Replayed)]);
        check(&[(3, 2, 4, 0.9), (3, 1, 2, 0.8)], &[(3, Penalty::Replayed)]);
    }
}
