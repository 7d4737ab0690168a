use super::share;
use crate::learner::tests::{batch, micro, train};
use crate::{Learner, LearnerConfig, RestoreError, Scratch, Weighted};
use pactum_compress::{Mean, Quantiser, Settings, SparseUpdate};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn delayed() -> LearnerConfig {
    let mut config = micro();
    config.outer.apply_delay = 1;
    config
}

/// The window's training and its payload.
fn payload(learner: &mut Learner, salt: u32) -> Vec<u8> {
    train(learner, salt, 4);
    learner.compress().unwrap()
}

fn apply(learner: &mut Learner, payloads: &[Vec<u8>], included: Option<bool>) {
    let updates: Vec<SparseUpdate> = payloads.iter().map(|payload| learner.check(payload).unwrap()).collect();
    let updates: Vec<_> = updates.iter().map(|update| Weighted { update, weight: 1.0 }).collect();
    learner.apply(&updates, included).unwrap();
}

fn state(learner: &Learner) -> Vec<u8> {
    learner.snapshot(true).unwrap()
}

#[test]
fn one_peer_with_a_delay_walks_the_same_way_a_window_later() {
    let mut prompt = Learner::new(micro(), 1).unwrap();
    let mut late = Learner::new(delayed(), 1).unwrap();
    let mut before: Vec<Vec<u8>> = Vec::new();
    for salt in 0..5 {
        let (now, same) = (payload(&mut prompt, salt), payload(&mut late, salt));
        assert_eq!(now, same, "training starts where it would start without a delay");
        assert_eq!(late.state_digest(), Learner::restore(delayed(), &state(&late)).unwrap().state_digest());
        let start = prompt.state_digest();
        apply(&mut prompt, &[now], Some(true));
        apply(&mut late, &before, (salt > 0).then_some(true));
        assert_eq!(late.state_digest(), start, "what is committed is a window behind");
        assert_eq!(late.feedback(), prompt.feedback());
        before = vec![same];
    }
}

#[test]
fn whoever_applies_the_same_payloads_holds_the_same_parameters() {
    let mut peers: Vec<Learner> = (0..2).map(|_| Learner::new(delayed(), 7).unwrap()).collect();
    let mut replayer = Learner::new(LearnerConfig { threads: 2, ..delayed() }, 7).unwrap();
    let mut before: Vec<Vec<u8>> = Vec::new();
    for window in 0..4 {
        let now: Vec<Vec<u8>> =
            peers.iter_mut().zip(0..).map(|(peer, salt)| payload(peer, 10 * window + 3 * salt)).collect();
        assert_ne!(now[0], now[1]);
        // In window 2 the second peer's payload came too late, in window 3 there was none in time.
        let taken: &[Vec<u8>] = match window {
            2 => &before[..1],
            3 => &[],
            _ => &before,
        };
        apply(&mut peers[0], taken, Some(window < 3));
        apply(&mut peers[1], taken, Some(window < 2));
        apply(&mut replayer, taken, None);
        assert!(peers.iter().all(|peer| peer.state_digest() == replayer.state_digest()), "{window}");
        before = now;
    }
    let mut joiner = Learner::new(delayed(), 99).unwrap();
    joiner.adopt(4, &replayer.checkpoint(), &replayer.state_digest()).unwrap();
    for learner in [&mut joiner, &mut replayer] {
        apply(learner, &before, None);
    }
    assert_eq!(joiner.state_digest(), replayer.state_digest());
    assert_eq!(joiner.window(), 5);
}

#[test]
fn the_loss_falls_for_several_peers() {
    let mut peers: Vec<Learner> = (0..3).map(|_| Learner::new(delayed(), 1).unwrap()).collect();
    let first = peers[0].heldout_loss(&batch(5)).unwrap();
    let mut before: Vec<Vec<u8>> = Vec::new();
    for window in 0..10 {
        let now: Vec<Vec<u8>> = peers.iter_mut().zip(0..).map(|(peer, salt)| payload(peer, window + salt)).collect();
        peers.iter_mut().for_each(|peer| apply(peer, &before, (window > 0).then_some(true)));
        before = now;
    }
    let last = peers[0].heldout_loss(&batch(5)).unwrap();
    assert!(last < 0.5 * first, "{first} -> {last}");
}

#[test]
fn training_starts_ahead_and_leaves_no_trace() {
    let mut learner = Learner::new(delayed(), 1).unwrap();
    let own = payload(&mut learner, 0);
    apply(&mut learner, &[], None);
    assert_eq!(learner.sent_payload(), Some(own.as_slice()));
    let other = {
        let mut other = Learner::new(delayed(), 1).unwrap();
        payload(&mut other, 5)
    };
    payload(&mut learner, 1);
    let both = [own, other];
    apply(&mut learner, &both, Some(true));
    // What was applied last tells what share of the own values is ahead.
    let places = both
        .each_ref()
        .map(|payload| learner.check(payload).unwrap().entries().map(|(at, _)| at).collect::<BTreeSet<usize>>());
    let share = places[0].union(&places[1]).count() as f32 / (places[0].len() + places[1].len()) as f32;
    assert!(0.5 < share && share < 1.0, "{share}");
    let before = learner.state_digest();
    let mut expected = learner.parameters().to_vec();
    let sent = learner.check(learner.sent_payload().unwrap()).unwrap();
    sent.add_to(&mut expected, -share);
    train(&mut learner, 2, 1);
    let (start, mut expected_step) = (expected.clone(), Learner::new(micro(), 1).unwrap());
    expected_step.committed.theta = std::sync::Arc::new(expected);
    assert_eq!(learner.committed.window, 2);
    let loss = expected_step.losses(&batch(4)).unwrap().iter().sum::<f32>() / 4.0;
    let mut again = Learner::restore(delayed(), &state(&learner)).unwrap();
    let report = again.inner_steps(&mut |_| Some(batch(4)), 1, &mut || true).unwrap();
    assert!((report.loss - loss).abs() < 1e-5, "{} {loss}", report.loss);
    // The pseudo-gradient is relative to that start.
    let decay = learner.config.compression.decay;
    let old = learner.feedback().to_vec();
    let after = learner.working.theta.clone();
    learner.compress().unwrap();
    let found = &learner.pending.as_ref().unwrap().accumulated;
    for at in 0..start.len() {
        assert_eq!(found[at], decay * old[at] + (start[at] - after[at]), "{at}");
    }
    assert_eq!(learner.state_digest(), before);
}

#[test]
fn what_was_left_out_comes_back_decayed_once() {
    let mut learner = Learner::new(delayed(), 3).unwrap();
    let first = payload(&mut learner, 0);
    apply(&mut learner, &[], None);
    payload(&mut learner, 1);
    let mut expected = learner.pending.as_ref().unwrap().accumulated.to_vec();
    learner.pending.as_ref().unwrap().sent.update.subtract_from(&mut expected);
    learner.check(&first).unwrap().add_to(&mut expected, learner.config.compression.decay);
    learner.skip();
    assert_eq!(learner.feedback(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// With decay 1 nothing is lost: what was taken, what is on its way and what is kept is the sum of all differences.
    #[test]
    fn nothing_is_lost_over_windows(included in prop::collection::vec(any::<bool>(), 1..5)) {
        let mut config = delayed();
        config.compression.decay = 1.0;
        config.compression.settings = Settings::new(64, Quantiser::SignScale);
        let mut learner = Learner::new(config, 2).unwrap();
        let mut balance = vec![0.0_f64; learner.parameters().len()];
        let mut before: Option<Vec<u8>> = None;
        for (salt, &taken) in included.iter().enumerate() {
            train(&mut learner, salt as u32, 2);
            let mut start = learner.parameters().to_vec();
            if let Some(ahead) = learner.ahead() {
                ahead.step(&mut start);
            }
            let deltas = start.iter().zip(&learner.working.theta);
            balance.iter_mut().zip(deltas).for_each(|(sum, (before, after))| *sum += f64::from(before - after));
            let now = learner.compress().unwrap();
            let payloads: Vec<Vec<u8>> = before.take().into_iter().filter(|_| taken).collect();
            for payload in &payloads {
                learner.check(payload).unwrap().entries().for_each(|(at, value)| balance[at] -= f64::from(value));
            }
            apply(&mut learner, &payloads, Some(taken));
            before = Some(now);
        }
        let sent = learner.check(&before.unwrap()).unwrap();
        sent.entries().for_each(|(at, value)| balance[at] -= f64::from(value));
        let zeros = vec![0.0; balance.len()];
        let kept = if learner.feedback().is_empty() { &zeros } else { learner.feedback() };
        for (kept, balance) in kept.iter().zip(balance) {
            prop_assert!((f64::from(*kept) - balance).abs() < 1e-5, "{kept} {balance}");
        }
    }
}

/// What happens to a learner in a window, killed and restored in the phases that `kills` names.
fn run(windows: u32, kills: &[(u32, Phase)], offloading: bool) -> Vec<u8> {
    let scratch = || offloading.then(|| Box::new(tempfile::tempfile().unwrap()) as Box<dyn Scratch>);
    let start = state(&Learner::new(delayed(), 1).unwrap());
    let mut learner = Learner::restore_from(delayed(), &mut &*start, scratch()).unwrap();
    let mut before: Vec<Vec<u8>> = Vec::new();
    for window in 0..windows {
        let kill = |learner: &mut Learner, phase: Phase| {
            if kills.contains(&(window, phase)) {
                *learner = Learner::restore_from(delayed(), &mut &*state(learner), scratch()).unwrap();
            }
        };
        kill(&mut learner, Phase::Opened);
        if kills.contains(&(window, Phase::Training)) {
            train(&mut learner, window, 2);
            kill(&mut learner, Phase::Training);
        }
        let now = payload(&mut learner, window);
        kill(&mut learner, Phase::Compressed);
        assert_eq!(learner.pending_payload(), Some(now.as_slice()));
        let taken = window % 3 != 2;
        let updates: &[Vec<u8>] = if taken { &before } else { &[] };
        apply(&mut learner, updates, Some(taken));
        kill(&mut learner, Phase::Committed);
        before = vec![now];
    }
    state(&learner)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Opened,
    Training,
    Compressed,
    Committed,
}

#[test]
fn killed_in_any_phase_a_learner_goes_on_bit_for_bit() {
    let straight = run(5, &[], false);
    for window in 0..5 {
        for phase in [Phase::Opened, Phase::Training, Phase::Compressed, Phase::Committed] {
            for offloading in [false, true] {
                assert!(run(5, &[(window, phase)], offloading) == straight, "{window} {phase:?} {offloading}");
            }
        }
    }
}

#[test]
fn a_snapshot_fits_its_delay_only() {
    let plain = Learner::new(micro(), 1).unwrap();
    let late = Learner::new(delayed(), 1).unwrap();
    for (config, bytes) in [(delayed(), state(&plain)), (micro(), state(&late))] {
        assert!(matches!(Learner::restore(config, &bytes), Err(RestoreError::OtherModel)));
    }
    let mut learner = Learner::new(delayed(), 1).unwrap();
    payload(&mut learner, 0);
    apply(&mut learner, &[], None);
    let good = state(&learner);
    let sent = learner.sent_payload().unwrap().len();
    let mut content = good[..good.len() - 32].to_vec();
    let at = content.len() - sent;
    content[at] ^= 0xff;
    let digest = blake3::hash(&content);
    content.extend_from_slice(digest.as_bytes());
    let error = Learner::restore(delayed(), &content).unwrap_err().to_string();
    assert!(error.contains("the payload on its way: "), "{error}");
}

#[test]
fn the_share_is_that_of_the_mean() {
    let mut learner = Learner::new(delayed(), 1).unwrap();
    let payload = payload(&mut learner, 0);
    let update = learner.check(&payload).unwrap();
    for (peers, mean, expected) in [
        (1, Mean::Peers, 1.0),
        (1, Mean::Contributors, 1.0),
        (4, Mean::Peers, 0.25),
        // All sent the same places.
        (4, Mean::Contributors, 0.25),
    ] {
        let updates = vec![Weighted { update: &update, weight: 1.0 }; peers];
        assert_eq!(share(&learner.layout, &updates, mean), expected, "{peers} {mean:?}");
    }
}
