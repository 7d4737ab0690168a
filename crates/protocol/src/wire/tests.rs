use proptest::prelude::*;

use super::WireError;
use crate::toy::{self, Key};
use crate::{Digest, Hparams, Limits, Manifest, PRESETS, Proposal, SignedHeader, Uid};

const ANY: Limits = Limits {
    header_bytes_max: 1 << 16,
    manifest_bytes_max: 1 << 16,
    proposal_bytes_max: 1 << 16,
    hparams_bytes_max: 1 << 16,
    entries_max: 64,
    payload_bytes_max: u64::MAX,
};

fn hex(bytes: &[u8]) -> String {
    bytes.chunks(60).map(|row| row.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n").collect()
}

fn proposal() -> Proposal {
    let headers = [1, 2, 7].map(toy::signed);
    Proposal::sign(toy::manifest(&[7, 2]), &headers, Uid(9), &Key(9))
}

#[track_caller]
fn golden(encoded: &[u8], expected: &str) {
    assert_eq!(hex(encoded), expected, "the format of a message changed: peers of other releases cannot read it");
}

#[test]
fn header_has_its_golden_form() {
    golden(&toy::signed(7).encode(), include_str!("golden/header.hex"));
}

#[test]
fn manifest_has_its_golden_form() {
    let mut manifest = toy::manifest(&[7, 2]);
    golden(&manifest.encode(), include_str!("golden/manifest.hex"));
    manifest.checkpoint = Some(Digest::of(b"state"));
    golden(&manifest.encode(), include_str!("golden/checkpoint.hex"));
}

#[test]
fn proposal_has_its_golden_form() {
    golden(&proposal().encode(), include_str!("golden/proposal.hex"));
}

#[test]
fn hparams_have_their_golden_form() {
    golden(&Hparams::preset("tiny").unwrap().encode(), include_str!("golden/hparams.hex"));
}

#[test]
fn signed_bytes_have_their_golden_form() {
    golden(&toy::header(7).message(), include_str!("golden/message.hex"));
    assert!(toy::header(7).message().starts_with(b"pactum header 1\0"));
    assert!(proposal().message().starts_with(b"pactum proposal 1\0"));
}

#[test]
fn default_limits_admit_the_largest_of_each_kind() {
    let limits = Limits::default();
    let uids: Vec<u8> = (0..64).collect();
    let mut manifest = toy::manifest(&uids);
    manifest.checkpoint = Some(Digest::ZERO);
    assert_eq!(Manifest::decode(&manifest.encode(), &limits).unwrap(), manifest);
    let headers: Vec<SignedHeader> = uids.iter().map(|uid| toy::signed(*uid)).collect();
    let proposal = Proposal::sign(manifest, &headers, Uid(9), &Key(9));
    assert_eq!(proposal.headers.len(), 64);
    assert_eq!(Proposal::decode(&proposal.encode(), &limits).unwrap(), proposal);
    assert_eq!(SignedHeader::decode(&headers[0].encode(), &limits).unwrap(), headers[0]);
    let mut hparams = Hparams::preset("1b").unwrap();
    hparams.preset = "x".repeat(crate::PRESET_BYTES_MAX);
    assert_eq!(Hparams::decode(&hparams.encode(), &limits).unwrap(), hparams);
}

#[test]
fn what_is_too_long_is_refused_before_it_is_read() {
    let limits = Limits { header_bytes_max: 10, ..ANY };
    let error = SignedHeader::decode(&[0; 11], &limits).unwrap_err();
    assert_eq!(error, WireError::TooLong { bytes: 11, most: 10 });
    assert_eq!(SignedHeader::decode(&[0; 10], &limits).unwrap_err(), WireError::WrongKind);
}

#[test]
fn another_kind_or_version_is_refused() {
    let header = toy::signed(1).encode();
    assert_eq!(Manifest::decode(&header, &ANY).unwrap_err(), WireError::WrongKind);
    let mut newer = header.clone();
    newer[2] += 1;
    assert_eq!(SignedHeader::decode(&newer, &ANY).unwrap_err(), WireError::WrongKind);
}

#[test]
fn bytes_between_parts_of_a_message_are_not_canonical() {
    // The root of an archive lies at its end: what is put before it is unreferenced, valid, and not ours.
    let plain = toy::signed(1).encode();
    let mut padded = plain[..4].to_vec();
    padded.extend_from_slice(b"smuggled");
    padded.extend_from_slice(&plain[4..]);
    assert_eq!(SignedHeader::decode(&padded, &ANY).unwrap_err(), WireError::NotCanonical);
}

#[test]
fn a_loss_that_is_not_a_number_is_invalid() {
    let mut header = toy::header(1);
    header.inner_loss = f32::NAN;
    let error = SignedHeader::decode(&SignedHeader::sign(header, &Key(1)).encode(), &ANY).unwrap_err();
    assert!(matches!(error, WireError::Invalid { .. }));
}

#[test]
fn presets_survive_the_wire() {
    for preset in PRESETS.map(|name| Hparams::preset(name).unwrap()) {
        assert_eq!(Hparams::decode(&preset.encode(), &ANY).unwrap(), preset);
    }
}

#[test]
fn invalid_settings_are_refused_with_the_field() {
    let mut hparams = Hparams::preset("tiny").unwrap();
    hparams.inner.steps = 0;
    let error = Hparams::decode(&hparams.encode(), &ANY).unwrap_err();
    assert_eq!(error, WireError::Invalid { what: "inner.steps" });
}

/// Every strict prefix is refused, and so is every changed byte, unless it makes another message that has these bytes.
fn strict<M: PartialEq + std::fmt::Debug>(
    encoded: &[u8],
    decode: impl Fn(&[u8]) -> Result<M, WireError>,
    encode: impl Fn(&M) -> Vec<u8>,
) {
    let original = decode(encoded).unwrap();
    assert_eq!(encode(&original), encoded);
    for end in 0..encoded.len() {
        assert!(decode(&encoded[..end]).is_err(), "cut at {end}");
    }
    for at in 0..encoded.len() {
        let mut changed = encoded.to_vec();
        changed[at] ^= 1 << (at % 8);
        if let Ok(other) = decode(&changed) {
            assert_ne!(other, original, "byte {at} carries nothing");
            assert_eq!(encode(&other), changed);
        }
    }
    assert!(decode(&[encoded, &[0]].concat()).is_err());
}

#[test]
fn every_byte_counts() {
    let hparams = Hparams::preset("150m").unwrap();
    strict(&toy::signed(1).encode(), |bytes| SignedHeader::decode(bytes, &ANY), SignedHeader::encode);
    strict(&toy::manifest(&[3, 1, 2]).encode(), |bytes| Manifest::decode(bytes, &ANY), Manifest::encode);
    strict(&proposal().encode(), |bytes| Proposal::decode(bytes, &ANY), Proposal::encode);
    strict(&hparams.encode(), |bytes| Hparams::decode(bytes, &ANY), Hparams::encode);
}

proptest! {
    #[test]
    fn headers_survive_the_wire(signed in toy::any_signed()) {
        prop_assert_eq!(SignedHeader::decode(&signed.encode(), &ANY), Ok(signed));
    }

    #[test]
    fn manifests_and_proposals_survive_the_wire((manifest, headers) in toy::any_manifest()) {
        prop_assert_eq!(Manifest::decode(&manifest.encode(), &ANY), Ok(manifest.clone()));
        let proposal = Proposal::sign(manifest, &headers, Uid(1), &Key(1));
        prop_assert_eq!(Proposal::decode(&proposal.encode(), &ANY), Ok(proposal));
    }

    #[test]
    fn a_manifest_has_one_digest_and_each_digest_one_manifest(
        (a, _) in toy::any_manifest(), (b, _) in toy::any_manifest(),
    ) {
        prop_assert_eq!(a == b, a.digest() == b.digest());
        prop_assert_eq!(a.clone().digest(), a.digest());
    }

    #[test]
    fn noise_is_refused_without_harm(
        kind in proptest::sample::select(b"HMQS".to_vec()),
        noise in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        let bytes = [&[b'P', kind, 1, 0], noise.as_slice()].concat();
        // A header is all value and no structure: 300 bytes of noise are one.
        if let Ok(signed) = SignedHeader::decode(&bytes, &ANY) {
            prop_assert_eq!(signed.encode(), bytes);
            return Ok(());
        }
        prop_assert!(Manifest::decode(&bytes, &ANY).is_err());
        prop_assert!(Proposal::decode(&bytes, &ANY).is_err());
        prop_assert!(Hparams::decode(&bytes, &ANY).is_err());
    }
}
