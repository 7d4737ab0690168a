use std::collections::BTreeSet;

use super::{
    HeaderRules, Ineligible, Malformation, Reveal, judge_header, judge_payload, judge_probe, judge_replays, probe_seed,
};
use crate::toy::{self, Key, Oracle};
use crate::{BlockNumber, Digest, Header, SignedHeader, Uid, VERSION, Window};

const IN_TIME: BlockNumber = BlockNumber(50);

#[track_caller]
fn judge(signed: &SignedHeader, arrived: BlockNumber, expected: Result<(), Ineligible>) {
    let metagraph = toy::metagraph();
    let rules = HeaderRules {
        run: Digest::of(b"run"),
        version: VERSION,
        window: Window(3),
        previous: Digest::of(b"previous"),
        hparams: Digest::of(b"hparams"),
        submit_by: BlockNumber(51),
        payload_bytes_max: 1000,
        samples_max: 240,
        slots: 8,
        metagraph: &metagraph,
    };
    assert_eq!(judge_header(signed, arrived, &rules, &Oracle), expected);
}

#[track_caller]
fn check(change: impl FnOnce(&mut Header), expected: Ineligible) {
    let mut header = toy::header(7);
    change(&mut header);
    judge(&SignedHeader::sign(header, &Key(7)), IN_TIME, Err(expected));
}

#[test]
fn an_honest_header_is_eligible() {
    judge(&toy::signed(7), IN_TIME, Ok(()));
    let mut idle = toy::header(7);
    idle.samples = 0;
    judge(&SignedHeader::sign(idle, &Key(7)), IN_TIME, Ok(()));
}

#[test]
fn each_false_field_has_its_reason() {
    check(|h| h.uid = Uid(77), Ineligible::NotRegistered);
    check(|h| h.uid = Uid(6), Ineligible::WrongHotkey);
    check(|h| h.run = Digest::ZERO, Ineligible::WrongRun);
    check(|h| h.version += 1, Ineligible::WrongVersion);
    check(|h| h.hparams = Digest::ZERO, Ineligible::WrongHparams);
    check(|h| h.window = Window(2), Ineligible::WrongWindow);
    check(|h| h.previous = Digest::ZERO, Ineligible::WrongPrevious);
    check(|h| h.samples = 241, Ineligible::Unassigned);
    check(|h| h.payload_bytes = 1001, Ineligible::TooLarge);
}

#[test]
fn a_uid_without_data_has_no_submission() {
    judge(&toy::signed(8), IN_TIME, Err(Ineligible::Unassigned));
}

#[test]
fn a_header_is_late_from_the_deadline_on() {
    judge(&toy::signed(7), BlockNumber(51), Err(Ineligible::Late));
}

#[test]
fn a_header_changed_after_signing_is_refused() {
    let mut signed = toy::signed(7);
    signed.header.samples -= 1;
    judge(&signed, IN_TIME, Err(Ineligible::BadSignature));
}

#[test]
fn a_probe_is_right_or_wrong() {
    let signed = toy::signed(7);
    assert_eq!(judge_probe(&signed, &Digest::of(b"probe")), Ok(()));
    assert_eq!(judge_probe(&signed, &Digest::of(b"other")), Err(Ineligible::OutOfSync));
    assert_ne!(probe_seed(&Digest::ZERO, Uid(1)), probe_seed(&Digest::ZERO, Uid(2)));
    assert_ne!(probe_seed(&Digest::ZERO, Uid(1)), probe_seed(&Digest::of(b"previous"), Uid(1)));
}

#[test]
fn a_payload_is_the_announced_one() {
    let signed = toy::signed(7);
    assert_eq!(judge_payload(&signed, &toy::payload(7)), Ok(()));
    assert_eq!(judge_payload(&signed, &toy::payload(6)), Err(Ineligible::WrongDigest));
    assert_eq!(judge_payload(&signed, &toy::payload(7)[1..]), Err(Ineligible::WrongDigest));
    let mut longer = toy::header(7);
    longer.payload_bytes += 1;
    let longer = SignedHeader::sign(longer, &Key(7));
    assert_eq!(judge_payload(&longer, &toy::payload(7)), Err(Ineligible::WrongDigest));
}

#[track_caller]
fn replays(reveals: &[(u16, &str)], earlier: &[&str], expected: &[u16]) {
    let reveals: Vec<Reveal> =
        reveals.iter().map(|(uid, text)| Reveal { uid: Uid(*uid), payload: Digest::of(text.as_bytes()) }).collect();
    let earlier = earlier.iter().map(|text| Digest::of(text.as_bytes())).collect();
    let found = judge_replays(&reveals, &earlier, &toy::metagraph());
    assert_eq!(found, expected.iter().map(|uid| Uid(*uid)).collect::<BTreeSet<_>>());
    let backwards: Vec<Reveal> = reveals.into_iter().rev().collect();
    assert_eq!(judge_replays(&backwards, &earlier, &toy::metagraph()), found, "the order must not matter");
}

#[test]
fn of_equal_payloads_the_longest_registered_stays() {
    replays(&[(1, "a"), (2, "b"), (3, "c")], &[], &[]);
    // In the toy metagraph higher uids registered earlier.
    replays(&[(1, "a"), (2, "a"), (3, "c")], &[], &[1]);
    replays(&[(1, "a"), (2, "a"), (5, "a")], &[], &[1, 2]);
    // Who is not registered stands behind all others.
    replays(&[(1, "a"), (70, "a")], &[], &[70]);
}

#[test]
fn a_payload_of_an_earlier_window_is_a_replay() {
    replays(&[(1, "a"), (2, "b")], &["b"], &[2]);
    replays(&[(1, "b"), (2, "b")], &["b"], &[1, 2]);
}

#[test]
fn reasons_read_well() {
    assert_eq!(Ineligible::OutOfSync.to_string(), "state probe is false");
    assert_eq!(
        Ineligible::Malformed(Malformation::Index).to_string(),
        "payload is malformed: index out of range or order"
    );
}

#[cfg(feature = "serde")]
#[test]
fn reasons_survive_json() {
    for reason in [Ineligible::Late, Ineligible::Malformed(Malformation::Scale)] {
        let json = serde_json::to_string(&reason).unwrap();
        assert_eq!(serde_json::from_str::<Ineligible>(&json).unwrap(), reason);
    }
}
