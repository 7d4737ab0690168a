use proptest::prelude::*;

use super::{ACTIVE_WINDOWS, Attestation, Record, verdict};
use crate::{BlockNumber, Digest, Hotkey, Metagraph, Neuron, Schedule, Time, Uid, Window, WindowPlan};

const NOW: Window = Window(20);

fn plan() -> WindowPlan {
    let time = Time {
        start: BlockNumber(1),
        window_blocks: 14,
        submit_by: 8,
        attest_by: 11,
        gather_by: 13,
        block_millis: 500,
    };
    Schedule::new(&time).plan(NOW)
}

fn key(uid: u16) -> Hotkey {
    Hotkey([u8::try_from(uid).unwrap(); 32])
}

/// An attestation of `uid` for the digest of `manifest`, `ago` windows before now, `late` blocks after the deadline.
fn vote(uid: u16, manifest: &str, ago: u64, late: i64) -> Attestation {
    let window = Window(NOW.0 - ago);
    let block = BlockNumber((plan().attest_by.0 - 14 * ago).saturating_add_signed(late));
    Attestation { uid: Uid(uid), hotkey: key(uid), window, manifest: Digest::of(manifest.as_bytes()), block }
}

/// Validators with these stakes, uids from 0.
fn record(stakes: &[u64], attestations: Vec<Attestation>) -> Record {
    let neuron = |(uid, stake): (u16, &u64)| Neuron {
        uid: Uid(uid),
        hotkey: key(uid),
        stake: *stake,
        permit: true,
        address: None,
        registered: BlockNumber(0),
    };
    let neurons = (0..).zip(stakes).map(neuron).collect();
    Record { metagraph: Metagraph { block: plan().attest_by, neurons }, attestations }
}

#[track_caller]
fn check(stakes: &[u64], attestations: &[Attestation], expected: Option<&str>) {
    let found = verdict(NOW, &plan(), &record(stakes, attestations.to_vec()));
    assert_eq!(found, expected.map(|manifest| Digest::of(manifest.as_bytes())));
}

#[test]
fn nobody_commits() {
    check(&[], &[], None);
    check(&[5, 5], &[], None);
    check(&[5, 5], &[vote(0, "a", 1, 0), vote(1, "a", 1, 0)], None);
}

#[test]
fn the_first_window_counts_those_who_commit() {
    check(&[5, 5], &[vote(0, "a", 0, 0), vote(1, "a", 0, 0)], Some("a"));
    check(&[5, 5], &[vote(0, "a", 0, 0)], Some("a"));
    check(&[5, 5], &[vote(0, "a", 0, 0), vote(1, "b", 0, 0)], None);
}

#[test]
fn half_of_the_active_stake_is_too_little() {
    let earlier = [vote(0, "x", 1, 0), vote(1, "x", 1, 0)];
    let with = |now: Attestation| [&earlier[..], &[now]].concat();
    check(&[5, 5], &with(vote(0, "a", 0, 0)), None);
    check(&[6, 5], &with(vote(0, "a", 0, 0)), Some("a"));
}

#[test]
fn a_third_of_the_permitted_stake_is_enough() {
    check(&[3, 6], &[vote(0, "a", 0, 0)], Some("a"));
    check(&[3, 7], &[vote(0, "a", 0, 0)], None);
}

#[test]
fn the_dead_soon_stop_counting() {
    let alive = vote(0, "a", 0, 0);
    check(&[4, 6], &[vote(1, "x", ACTIVE_WINDOWS, 0), alive], None);
    check(&[4, 6], &[vote(1, "x", ACTIVE_WINDOWS + 1, 0), alive], Some("a"));
}

#[test]
fn the_deadline_is_inclusive() {
    check(&[5], &[vote(0, "a", 0, 0)], Some("a"));
    check(&[5], &[vote(0, "a", 0, 1)], None);
}

#[test]
fn the_first_of_a_validators_attestations_counts() {
    check(&[5], &[vote(0, "late", 0, 0), vote(0, "early", 0, -1)], Some("early"));
    check(&[5], &[vote(0, "first", 0, -1), vote(0, "second", 0, -1)], Some("first"));
}

#[test]
fn attestations_of_later_windows_count_for_nothing() {
    let later = Attestation { window: NOW.next(), ..vote(0, "a", 0, 0) };
    check(&[6, 5], &[later, vote(1, "b", 0, 0)], Some("b"));
}

#[test]
fn stake_without_a_permit_counts_for_nothing() {
    let mut record = record(&[5, 50], vec![vote(0, "a", 0, 0), vote(1, "b", 0, 0)]);
    record.metagraph.neurons[1].permit = false;
    assert_eq!(verdict(NOW, &plan(), &record), Some(Digest::of(b"a")));
}

#[test]
fn a_uid_that_changed_hands_has_not_committed() {
    let predecessor = Attestation { hotkey: key(9), ..vote(0, "a", 0, 0) };
    check(&[5], &[predecessor], None);
}

#[test]
fn whoever_is_not_on_the_metagraph_has_not_committed() {
    check(&[5], &[vote(3, "a", 0, 0)], None);
}

#[test]
fn the_largest_stakes_do_not_overflow() {
    check(&[u64::MAX, u64::MAX], &[vote(0, "a", 0, 0), vote(1, "a", 0, 0)], Some("a"));
}

prop_compose! {
    fn any_record()(
        stakes in proptest::collection::vec(0u64..10, 1..6),
        votes in proptest::collection::vec((0u16..6, prop::sample::select(vec!["a", "b"]), 0u64..10, -2i64..2), 0..12),
    ) -> Record {
        record(&stakes, votes.into_iter().map(|(uid, digest, ago, late)| vote(uid, digest, ago, late)).collect())
    }
}

proptest! {
    #[test]
    fn a_verdict_has_a_third_of_the_stake_behind_it(record in any_record()) {
        if let Some(digest) = verdict(NOW, &plan(), &record) {
            let behind: u64 = record.metagraph.neurons.iter()
                .filter(|n| record.attestations.iter().any(|a| a.uid == n.uid && a.window == NOW && a.manifest == digest))
                .map(|n| n.stake)
                .sum();
            let all: u64 = record.metagraph.neurons.iter().map(|n| n.stake).sum();
            prop_assert!(behind > 0 && behind * 3 >= all);
        }
    }

    #[test]
    fn attestations_after_the_deadline_change_nothing(record in any_record()) {
        let mut in_time = record.clone();
        in_time.attestations.retain(|a| a.block <= plan().attest_by);
        prop_assert_eq!(verdict(NOW, &plan(), &record), verdict(NOW, &plan(), &in_time));
    }
}
