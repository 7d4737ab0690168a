use super::*;
use crate::learner::tests::{batch, micro, train};
use crate::{AdoptError, Weighted};
use proptest::prelude::*;

fn window(learner: &mut Learner, salt: u32) {
    train(learner, salt, 4);
    let payload = learner.compress().unwrap();
    commit(learner, &payload);
}

fn commit(learner: &mut Learner, payload: &[u8]) {
    let update = learner.check(payload).unwrap();
    learner.apply(&[Weighted { update: &update, weight: 1.0 }], Some(true)).unwrap();
}

fn trained() -> Learner {
    let mut learner = Learner::new(micro(), 1).unwrap();
    window(&mut learner, 0);
    window(&mut learner, 1);
    learner
}

#[test]
fn a_restored_learner_goes_on_bit_for_bit() {
    let mut straight = trained();
    let mut resumed = Learner::restore(micro(), &straight.snapshot(true).unwrap()).unwrap();
    for salt in 2..4 {
        window(&mut straight, salt);
        window(&mut resumed, salt);
        assert_eq!(resumed.snapshot(true).unwrap(), straight.snapshot(true).unwrap());
    }
    assert_eq!(resumed.window(), 4);
}

#[test]
fn a_source_that_fails_is_not_called_damaged() {
    let bytes = trained().snapshot(true).unwrap();
    let mut source = std::io::Read::chain(&bytes[..5000], Failing);
    let error = Learner::restore_from(micro(), &mut source, None).unwrap_err();
    assert!(matches!(&error, RestoreError::Io(_)), "{error}");
}

/// A disk that has gone.
struct Failing;

impl std::io::Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::NotConnected.into())
    }
}

#[test]
fn a_pending_payload_survives() {
    let mut straight = trained();
    train(&mut straight, 9, 4);
    let payload = straight.compress().unwrap();
    let mut resumed = Learner::restore(micro(), &straight.snapshot(true).unwrap()).unwrap();
    assert_eq!(resumed.pending_payload(), Some(payload.as_slice()));
    assert_eq!(resumed.compress(), Some(payload.clone()), "it is made once");
    assert_eq!((resumed.optimizer_steps(), resumed.feedback()), (straight.optimizer_steps(), straight.feedback()));
    assert_eq!(resumed.snapshot(true).unwrap(), straight.snapshot(true).unwrap());
    commit(&mut straight, &payload);
    commit(&mut resumed, &payload);
    assert_eq!(resumed.snapshot(true).unwrap(), straight.snapshot(true).unwrap());
    window(&mut straight, 5);
    window(&mut resumed, 5);
    assert_eq!(resumed.snapshot(true).unwrap(), straight.snapshot(true).unwrap());
}

#[test]
fn what_is_captured_stays_while_the_learner_goes_on() {
    check_captured(trained());
    check_captured(trained().offloading(Box::new(tempfile::tempfile().unwrap())).unwrap());
}

fn check_captured(mut learner: Learner) {
    let mut straight = trained();
    let (bytes, captured) = (learner.snapshot(true).unwrap(), learner.capture(true));
    train(&mut learner, 2, 4);
    let payload = learner.compress().unwrap();
    let (open_bytes, open) = (learner.snapshot(true).unwrap(), learner.capture(true));
    learner.judge(&learner.check(&payload).unwrap(), &[], 0.2, &batch(2)).unwrap();
    commit(&mut learner, &payload);
    window(&mut learner, 3);
    for (bytes, captured) in [(bytes, captured), (open_bytes, open)] {
        let mut written = Vec::new();
        captured.write(&mut written).unwrap();
        assert!(written == bytes);
        assert_eq!(written.len(), captured.bytes());
    }
    window(&mut straight, 2);
    window(&mut straight, 3);
    assert!(learner.snapshot(true).unwrap() == straight.snapshot(true).unwrap(), "sharing changes no bit");
}

#[test]
fn whoever_never_trains_holds_the_parameters_alone() {
    let sender = trained();
    let mut learner = Learner::new(micro(), 9).unwrap();
    learner.adopt(2, &sender.checkpoint(), &sender.state_digest()).unwrap();
    learner.losses(&batch(0)).unwrap();
    learner.apply(&[], None).unwrap();
    let learner = Learner::restore(micro(), &learner.snapshot(false).unwrap()).unwrap();
    assert!(learner.committed.optimizer.is_none() && matches!(learner.committed.feedback, Held::Zero));
    let working = &learner.working;
    assert!(working.theta.is_empty() && working.gradient.is_empty() && working.optimizer.is_none());
}

#[test]
fn a_light_snapshot_holds_the_parameters() {
    let learner = trained();
    let bytes = learner.snapshot(false).unwrap();
    let parameters = learner.parameters().len();
    assert_eq!(bytes.len(), HEADER_BYTES + 4 * parameters + DIGEST_BYTES);
    let restored = Learner::restore(micro(), &bytes).unwrap();
    assert_eq!((restored.window(), restored.state_digest()), (2, learner.state_digest()));
    assert_eq!(restored.optimizer_steps(), 0);
    assert!(restored.feedback().iter().all(|&value| value == 0.0));
}

#[test]
fn golden_header() {
    let learner = trained();
    let bytes = learner.snapshot(true).unwrap();
    let start = [b"PACTLRNR".as_slice(), &[1, 0, 1, 0, 0, 0, 0, 0]].concat();
    assert_eq!(bytes[..16], start);
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!([48, 56, 64, 72].map(number), [learner.parameters().len() as u64, 2, 8, 0]);
    assert_eq!(bytes[80..84], learner.parameters()[0].to_le_bytes());
    let model = blake3::Hash::from_bytes(model_digest(&micro(), &[0; 32])).to_hex();
    assert_eq!(model.as_str(), MODEL, "changing it makes every snapshot foreign");
}

const MODEL: &str = "a258f24dd9bc36aedbdd5b01e11adbff018582ac6084d8ccd01d49fbc2710b76";

/// `bytes` with a changed content and the digest made anew, as somebody hostile would.
fn forged(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut content = bytes[..bytes.len() - DIGEST_BYTES].to_vec();
    change(&mut content);
    let digest = blake3::hash(&content);
    content.extend_from_slice(digest.as_bytes());
    content
}

#[test]
fn hostile_snapshots_are_refused() {
    let mut learner = trained();
    train(&mut learner, 9, 4);
    let payload = learner.compress().unwrap();
    let good = learner.snapshot(true).unwrap();
    let refused = |bytes: &[u8], says: &str| {
        let scratch = Box::new(tempfile::tempfile().unwrap());
        let offloading = Learner::restore_from(micro(), &mut &*bytes, Some(scratch)).unwrap_err().to_string();
        let error = Learner::restore(micro(), bytes).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!(offloading, error);
    };
    refused(b"", "corrupt");
    refused(&good[..79], "corrupt");
    refused(&[0; 200], "not a snapshot");
    let at = |place: usize, bytes: &[u8]| {
        forged(&good, |content| content[place..place + bytes.len()].copy_from_slice(bytes))
    };
    refused(&at(8, &[3, 0]), "newer");
    refused(&at(16, &[0, 0, 0, 0]), "another model");
    refused(&at(48, &[0xff; 8]), "corrupt");
    refused(&at(72, &[0xff; 8]), "corrupt");
    refused(&at(72, &[0; 8]), "corrupt");
    refused(&at(10, &[0]), "corrupt");
    let nan = f32::NAN.to_le_bytes();
    refused(&at(HEADER_BYTES, &nan), "impossible values (tensor model.embed_tokens.weight of the parameters holds");
    let vector = 4 * learner.parameters().len();
    refused(&at(HEADER_BYTES + vector - 4, &nan), "tensor lm_head.weight of the parameters holds");
    refused(&at(HEADER_BYTES + vector, &nan), "optimizer state is damaged at value 0");
    refused(&at(HEADER_BYTES + 4 * vector - 4, &nan), "tensor lm_head.weight of the error feedback holds");
    refused(&at(HEADER_BYTES + 4 * vector, &nan), "of the error feedback of the open payload holds");
    refused(&forged(&good, |content| content.truncate(500)), "corrupt");
    let of_payload = good.len() - DIGEST_BYTES - payload.len();
    refused(&forged(&good, |content| content[of_payload] ^= 0xff), "impossible values (the open payload: ");
    let moments = HEADER_BYTES + 8 * learner.parameters().len();
    refused(&at(moments, &(-1.0_f32).to_le_bytes()), "impossible");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_damage_is_noticed(place: prop::sample::Index, flip in 1_u8.., cut: prop::sample::Index) {
        let good = trained().snapshot(true).unwrap();
        let mut flipped = good.clone();
        flipped[place.index(good.len())] ^= flip;
        prop_assert!(Learner::restore(micro(), &flipped).is_err());
        prop_assert!(Learner::restore(micro(), &good[..cut.index(good.len())]).is_err());
    }

    #[test]
    fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Learner::restore(micro(), &bytes).is_err());
        let mut named = MAGIC.to_vec();
        named.extend_from_slice(&bytes);
        prop_assert!(Learner::restore(micro(), &named).is_err());
    }
}

#[test]
fn another_model_is_refused() {
    let bytes = trained().snapshot(true).unwrap();
    let check = |change: fn(&mut LearnerConfig)| {
        let mut config = micro();
        change(&mut config);
        assert!(matches!(Learner::restore(config, &bytes), Err(RestoreError::OtherModel)));
    };
    check(|config| config.model.ffn = 48);
    check(|config| config.model.rope_base = 500.0);
    check(|config| config.model.norm_eps = 1e-6);
    check(|config| config.compression.edge = 32);
    let mut config = micro();
    config.inner.steps = 0;
    assert!(matches!(Learner::restore(config, &bytes), Err(RestoreError::Config(_))));
}

#[test]
fn a_joiner_adopts_a_checkpoint() {
    let learner = trained();
    let (bytes, digest) = (learner.checkpoint(), learner.state_digest());
    let mut joiner = Learner::new(micro(), 99).unwrap();
    window(&mut joiner, 0);
    let before = joiner.snapshot(true).unwrap();
    let short = joiner.adopt(2, &bytes[4..], &digest);
    assert!(matches!(short, Err(AdoptError::Length { .. })));
    assert_eq!(joiner.adopt(2, &bytes, &[0; 32]), Err(AdoptError::Digest));
    assert_eq!(joiner.snapshot(true).unwrap(), before);
    joiner.losses(&batch(0)).unwrap();
    let (steps, feedback) = (joiner.optimizer_steps(), joiner.feedback().to_vec());
    joiner.adopt(2, &bytes, &digest).unwrap();
    assert_eq!((joiner.window(), joiner.state_digest()), (2, digest));
    assert_eq!(
        joiner.losses(&batch(0)).unwrap(),
        Learner::restore(micro(), &learner.snapshot(true).unwrap()).unwrap().losses(&batch(0)).unwrap()
    );
    assert!(steps > 0 && feedback.iter().any(|&value| value != 0.0));
    assert_eq!((joiner.optimizer_steps(), joiner.feedback()), (steps, &feedback[..]));
}
