use super::*;
use crate::{ApplyError, JudgeError, Weighted};
use pactum_compress::{Quantiser, Settings, clips};
use pactum_model::{ModelConfig, RateSchedule, StepError};
use proptest::prelude::*;

/// A model of a few thousand parameters that learns a period of eight bytes in a few windows.
pub(crate) fn micro() -> LearnerConfig {
    let model =
        ModelConfig { width: 16, layers: 1, heads: 2, kv_heads: 1, ffn: 32, context: 16, ..ModelConfig::default() };
    let mut config = LearnerConfig { model, ..LearnerConfig::default() };
    config.inner.steps = 8;
    config.inner.batch = 4;
    config.inner.rate = RateSchedule::Cosine { peak: 2e-2, warmup: 4, total: 400, floor: 0.1 };
    config.compression.settings = Settings::new(512, Quantiser::TwoLevels);
    config
}

/// Rows of a periodic text, beginning at different letters.
pub(crate) fn batch(start: u32) -> Vec<u32> {
    (0..4).flat_map(|row| (0..17).map(move |column| 97 + (start + 3 * row + column) % 8)).collect()
}

pub(crate) fn train(learner: &mut Learner, salt: u32, steps: u32) -> crate::InnerReport {
    learner.inner_steps(&mut |step| Some(batch(salt + step)), steps, &mut || true).unwrap()
}

/// One window of one peer alone.
fn window(learner: &mut Learner, salt: u32) {
    train(learner, salt, 8);
    let payload = learner.compress().unwrap();
    let update = learner.check(&payload).unwrap();
    learner.apply(&[Weighted { update: &update, weight: 1.0 }], Some(true)).unwrap();
}

#[test]
fn the_loss_falls_through_compression() {
    let mut learner = Learner::new(micro(), 1).unwrap();
    let first = learner.heldout_loss(&batch(5)).unwrap();
    assert!((first - 256_f32.ln()).abs() < 0.3, "an untrained model knows nothing: {first}");
    for salt in 0..8 {
        window(&mut learner, salt);
    }
    let last = learner.heldout_loss(&batch(5)).unwrap();
    assert!(last < 0.5 * first, "{first} -> {last}");
    assert_eq!((learner.window(), learner.optimizer_steps()), (8, 64));
}

#[test]
fn learners_that_apply_the_same_payloads_agree() {
    let mut peers: Vec<Learner> = (0..3).map(|_| Learner::new(micro(), 7).unwrap()).collect();
    let mut replayer = Learner::new(LearnerConfig { threads: 2, ..micro() }, 7).unwrap();
    for round in 0..3 {
        let payloads: Vec<Vec<u8>> = (0..2)
            .map(|peer| {
                train(&mut peers[peer], 10 * round + 3 * peer as u32, 8);
                peers[peer].compress().unwrap()
            })
            .collect();
        let updates: Vec<_> = payloads.iter().map(|payload| replayer.check(payload).unwrap()).collect();
        let updates: Vec<_> = updates.iter().map(|update| Weighted { update, weight: 1.0 }).collect();
        for (number, peer) in peers.iter_mut().enumerate() {
            peer.apply(&updates, (number < 2).then_some(true)).unwrap();
        }
        replayer.apply(&updates, None).unwrap();
        assert!(peers.iter().all(|peer| peer.state_digest() == replayer.state_digest()));
    }
    assert_ne!(replayer.state_digest(), Learner::new(micro(), 7).unwrap().state_digest());
    assert_ne!(peers[0].feedback(), peers[1].feedback(), "error feedback is each peer's own");
}

#[test]
fn training_compressing_and_judging_leave_the_committed_state() {
    let mut learner = Learner::new(micro(), 1).unwrap();
    window(&mut learner, 0);
    let before = learner.snapshot(true).unwrap();
    train(&mut learner, 1, 5);
    assert_eq!(learner.snapshot(true).unwrap(), before);
    let payload = learner.compress().unwrap();
    let update = learner.check(&payload).unwrap();
    learner.judge(&update, &[], 0.2, &batch(2)).unwrap();
    learner.screen(&[&update], &batch(2)).unwrap();
    learner.probe(&[1; 32]);
    learner.pending = None;
    assert_eq!(learner.snapshot(true).unwrap(), before);
}

#[test]
fn judging_measures_the_step_and_restores_every_bit() {
    let mut learner = Learner::new(micro(), 1).unwrap();
    train(&mut learner, 0, 8);
    let payload = learner.compress().unwrap();
    let update = learner.check(&payload).unwrap();
    let digest = learner.state_digest();
    for step in [0.0, 0.2, 1.0, f32::NAN, f32::INFINITY] {
        let pairs = learner.judge(&update, &[], step, &batch(2)).unwrap();
        assert_eq!(pairs.len(), 4);
        assert_eq!(learner.state_digest(), digest);
        let improved = pairs.iter().all(|pair| pair.after < pair.before);
        assert_eq!(improved, step == 0.2 || step == 1.0, "{step}: {pairs:?}");
    }
    assert_eq!(learner.base_losses.len(), 1, "the losses before are computed once");
    let mut moved = Learner::new(micro(), 1).unwrap();
    update.add_to(Arc::make_mut(&mut moved.committed.theta).as_mut_slice(), -0.2);
    let after: Vec<f32> = learner.judge(&update, &[], 0.2, &batch(2)).unwrap().iter().map(|pair| pair.after).collect();
    assert_eq!(moved.losses(&batch(2)).unwrap(), after);
}

#[test]
fn a_giant_is_judged_as_the_aggregate_clips_it() {
    let mut learner = Learner::new(micro(), 1).unwrap();
    train(&mut learner, 0, 8);
    let payload = learner.compress().unwrap();
    let giant = learner.check(&payload).unwrap();
    let mut small = Learner::new(micro(), 1).unwrap();
    train(&mut small, 0, 1);
    let payload = small.compress().unwrap();
    let small = learner.check(&payload).unwrap();
    let among = [&giant, &small];
    let mut moved = Learner::new(micro(), 1).unwrap();
    let weighted = among.map(|update| Weighted { update, weight: 1.0 });
    let clipped = moved.apply(&weighted, None).unwrap().outer.clipped;
    assert!(clipped[0] > clipped[1], "{clipped:?}");
    let full = learner.judge(&giant, &[], 0.2, &batch(2)).unwrap();
    let fair = learner.judge(&giant, &among, 0.2, &batch(2)).unwrap();
    assert!(fair.iter().zip(&full).all(|(fair, full)| fair.after > full.after), "{fair:?} {full:?}");
    let scales: Vec<f32> = clips(&giant, &among).iter().map(|clip| -0.2 * clip).collect();
    let mut stepped = Learner::new(micro(), 1).unwrap();
    giant.add_scaled(Arc::make_mut(&mut stepped.committed.theta).as_mut_slice(), &scales);
    let after: Vec<f32> = fair.iter().map(|pair| pair.after).collect();
    assert_eq!(stepped.losses(&batch(2)).unwrap(), after);
}

#[test]
fn screening_predicts_small_steps() {
    let mut learner = Learner::new(micro(), 1).unwrap();
    train(&mut learner, 0, 8);
    let payload = learner.compress().unwrap();
    let update = learner.check(&payload).unwrap();
    let predicted = learner.screen(&[&update], &batch(2)).unwrap()[0];
    let pairs = learner.judge(&update, &[], 1e-3, &batch(2)).unwrap();
    let gained: f64 = pairs.iter().map(|pair| f64::from(pair.before) - f64::from(pair.after)).sum::<f64>() / 4.0;
    assert!(predicted > 0.0);
    assert!((gained / 1e-3 / predicted - 1.0).abs() < 0.1, "{gained} against {predicted}");
}

/// What becomes of E in a window, by its definition.
fn check_feedback(included: Option<bool>) {
    let mut learner = Learner::new(micro(), 3).unwrap();
    window(&mut learner, 0);
    let old = learner.feedback().to_vec();
    assert!(old.iter().any(|&value| value != 0.0));
    train(&mut learner, 1, 8);
    let payload = learner.compress().unwrap();
    let update = learner.check(&payload).unwrap();
    let accumulated: Vec<f32> =
        (0..old.len()).map(|at| 0.95 * old[at] + (learner.committed.theta[at] - learner.working.theta[at])).collect();
    let mut residual = accumulated.clone();
    update.subtract_from(&mut residual);
    match included {
        Some(_) => learner.apply(&[Weighted { update: &update, weight: 1.0 }], included).map(drop).unwrap(),
        None => learner.skip(),
    }
    let expected = if included == Some(true) { residual } else { accumulated };
    assert_eq!(learner.feedback(), expected, "{included:?}");
    assert_eq!((learner.window(), learner.optimizer_steps()), (2, 16));
}

#[test]
fn feedback_keeps_what_was_not_sent() {
    check_feedback(Some(true));
    check_feedback(Some(false));
    check_feedback(None);
}

#[test]
fn a_replayed_window_leaves_feedback_and_optimizer() {
    let mut sender = Learner::new(micro(), 3).unwrap();
    train(&mut sender, 4, 8);
    let payload = sender.compress().unwrap();
    let mut learner = Learner::new(micro(), 3).unwrap();
    let update = learner.check(&payload).unwrap();
    let weighted = [Weighted { update: &update, weight: 1.0 }];
    learner.apply(&weighted, None).unwrap();
    assert!(learner.feedback().iter().all(|&value| value == 0.0));
    assert_eq!((learner.window(), learner.optimizer_steps()), (1, 0));
    learner.apply(&weighted, Some(true)).unwrap();
    assert!(learner.feedback().iter().all(|&value| value == 0.0), "nothing was pending");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// With decay 1 nothing is lost: the sum of what was sent and what is kept is the sum of all differences.
    #[test]
    fn nothing_is_lost_over_windows(included in prop::collection::vec(any::<bool>(), 1..5)) {
        let mut config = micro();
        config.compression.decay = 1.0;
        config.compression.settings = Settings::new(64, Quantiser::SignScale);
        let mut learner = Learner::new(config, 2).unwrap();
        let mut balance = vec![0.0_f64; learner.parameters().len()];
        for (salt, &included) in included.iter().enumerate() {
            train(&mut learner, salt as u32, 2);
            let deltas = learner.committed.theta.iter().zip(&learner.working.theta);
            balance.iter_mut().zip(deltas).for_each(|(sum, (before, after))| *sum += f64::from(before - after));
            let payload = learner.compress().unwrap();
            let update = learner.check(&payload).unwrap();
            if included {
                update.entries().for_each(|(at, value)| balance[at] -= f64::from(value));
            }
            learner.apply(&[Weighted { update: &update, weight: 1.0 }], Some(included)).unwrap();
        }
        for (kept, balance) in learner.feedback().iter().zip(balance) {
            prop_assert!((f64::from(*kept) - balance).abs() < 1e-5, "{kept} {balance}");
        }
    }
}

#[test]
fn training_may_come_in_parts_and_end_early() {
    let mut whole = Learner::new(micro(), 1).unwrap();
    let report = train(&mut whole, 0, 8);
    assert_eq!((report.steps, report.samples, report.tokens, report.rejected), (8, 32, 512, 0));
    let mut parts = Learner::new(micro(), 1).unwrap();
    train(&mut parts, 0, 3);
    let mut left = 2;
    let mut until = || {
        left -= 1;
        left >= 0
    };
    let stopped = parts.inner_steps(&mut |step| Some(batch(step)), 8, &mut until).unwrap();
    assert_eq!(stopped.steps, 2);
    let rest = parts.inner_steps(&mut |step| (step < 8).then(|| batch(step)), 100, &mut || true).unwrap();
    assert_eq!(rest.steps, 3);
    assert_eq!(parts.compress(), whole.compress());
    assert_eq!(train(&mut parts, 0, 0), crate::InnerReport::default());
}

#[test]
fn without_a_step_there_is_no_payload() {
    let mut learner = Learner::new(micro(), 1).unwrap();
    assert_eq!(learner.compress(), None);
    window(&mut learner, 0);
    assert_eq!(learner.compress(), None);
    assert_eq!(learner.pending_payload(), None);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut learner = Learner::new(micro(), 1).unwrap();
    for ids in [vec![], vec![1; 16], vec![1; 18]] {
        assert!(matches!(learner.losses(&ids), Err(StepError::BatchShape { .. })));
    }
    assert!(matches!(learner.losses(&[256; 17]), Err(StepError::UnknownToken { .. })));
    let mut other = micro();
    other.model.ffn = 48;
    let mut other = Learner::new(other, 1).unwrap();
    train(&mut other, 0, 1);
    let payload = other.compress().unwrap();
    assert!(learner.check(&payload).is_err());
    let update = other.check(&payload).unwrap();
    assert_eq!(learner.judge(&update, &[], 0.1, &batch(0)), Err(JudgeError::OtherModel));
    assert_eq!(learner.screen(&[&update], &batch(0)), Err(JudgeError::OtherModel));
    let digest = learner.state_digest();
    let foreign = [Weighted { update: &update, weight: 1.0 }];
    assert_eq!(learner.apply(&foreign, None), Err(ApplyError::OtherModel { index: 0 }));
    assert_eq!((learner.state_digest(), learner.window()), (digest, 0));
}

#[test]
fn impossible_settings_are_refused() {
    let check = |change: fn(&mut LearnerConfig), says: &str| {
        let mut config = micro();
        change(&mut config);
        let error = Learner::new(config, 1).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    check(|c| c.inner.steps = 0, "steps");
    check(|c| c.inner.batch = 0, "batch");
    check(|c| c.outer.rate = f32::NAN, "outer rate");
    check(|c| c.compression.decay = 1.5, "decay");
    check(|c| c.threads = 0, "thread");
    check(|c| c.inner.optimizer.beta1 = 1.0, "betas");
    check(|c| c.inner.rate = RateSchedule::Constant { peak: 0.0, warmup: 0 }, "inner rate");
    check(|c| c.model.heads = 3, "multiple");
    check(|c| c.compression.edge = 0, "edge");
    check(|c| c.compression.settings = Settings::new(0, Quantiser::SignScale), "top_k");
}
