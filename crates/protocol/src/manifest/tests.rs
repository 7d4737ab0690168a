use proptest::prelude::*;

use super::{Draft, Manifest};
use crate::toy::{self, Key};
use crate::{Digest, Limits, SignedHeader, Uid, Window, WireError};

fn uids(manifest: &Manifest) -> Vec<u16> {
    manifest.entries.iter().map(|entry| entry.uid.0).collect()
}

fn draft(accepted: &[u8]) -> Draft {
    let mut draft = Draft::new(Digest::of(b"run"), Window(3), Digest::ZERO, Digest::of(b"seed"));
    accepted.iter().for_each(|uid| draft.accept(&toy::signed(*uid), 1.0));
    draft
}

#[test]
fn a_draft_keeps_the_preferred_and_sorts_by_uid() {
    assert_eq!(uids(&draft(&[9, 2, 5]).build(64)), [2, 5, 9]);
    assert_eq!(uids(&draft(&[9, 2, 5]).build(2)), [2, 9]);
    assert_eq!(uids(&draft(&[]).build(2)), [0u16; 0]);
}

#[test]
fn a_draft_takes_a_uid_and_a_payload_once() {
    let mut draft = draft(&[2, 2]);
    let mut copy = toy::header(3);
    copy.payload = toy::header(2).payload;
    draft.accept(&SignedHeader::sign(copy, &Key(3)), 1.0);
    assert_eq!(uids(&draft.build(64)), [2]);
}

#[test]
fn an_entry_says_what_its_header_says() {
    let manifest = draft(&[2, 7]).with_checkpoint(Digest::of(b"state")).build(64);
    let entry = manifest.entry(Uid(7)).unwrap();
    let header = toy::header(7);
    assert_eq!((entry.payload, entry.bytes, entry.weight), (header.payload, header.payload_bytes, 1.0));
    assert_eq!(manifest.checkpoint, Some(Digest::of(b"state")));
    assert_eq!(manifest.entry(Uid(3)), None);
}

#[track_caller]
fn check(what: &str, spoil: impl FnOnce(&mut Manifest)) {
    let limits = Limits { payload_bytes_max: 100, entries_max: 3, ..Limits::default() };
    let mut manifest = toy::manifest(&[1, 2, 3]);
    assert_eq!(Manifest::decode(&manifest.encode(), &limits).as_ref(), Ok(&manifest));
    spoil(&mut manifest);
    match Manifest::decode(&manifest.encode(), &limits) {
        Err(WireError::Invalid { what: found }) => assert_eq!(found, what),
        other => panic!("expected {what:?}, found {other:?}"),
    }
}

#[test]
fn an_invalid_manifest_is_refused_with_a_reason() {
    check("too many entries", |m| m.entries = toy::manifest(&[1, 2, 3, 4]).entries);
    check("entries are not in uid order", |m| m.entries.swap(0, 1));
    check("entries are not in uid order", |m| m.entries[1] = m.entries[0]);
    check("payload is too large", |m| m.entries[0].bytes = 101);
    check("weight is not above 0", |m| m.entries[0].weight = 0.0);
    check("weight is not above 0", |m| m.entries[0].weight = f32::NAN);
    check("weight is not above 0", |m| m.entries[0].weight = f32::INFINITY);
    check("two entries have one payload", |m| m.entries[0].payload = m.entries[1].payload);
}

proptest! {
    #[test]
    fn a_draft_is_always_readable(order in Just((0u8..40).collect::<Vec<_>>()).prop_shuffle(), most in 0u32..50) {
        let manifest = draft(&order).build(most);
        prop_assert_eq!(manifest.entries.len(), 40.min(most as usize));
        prop_assert!(order.iter().take(most as usize).all(|uid| manifest.entry(Uid(u16::from(*uid))).is_some()));
        prop_assert!(Manifest::decode(&manifest.encode(), &Limits::default()).is_ok());
    }
}
