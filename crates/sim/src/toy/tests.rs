use pactum_protocol::Uid;
use proptest::prelude::*;

use super::*;
use crate::scenario::Scenario;

fn hparams() -> Hparams {
    Scenario::named("calm").unwrap().hparams(1)
}

fn job(window: u64, uid: u16) -> TrainJob {
    TrainJob { window: Window(window), uid: Uid(uid), seed: Digest::of(&window.to_le_bytes()) }
}

fn contribution(learner: &mut ToyLearner, window: u64, uid: u16) -> ToyUpdate {
    learner.train(&job(window, uid), &mut || true).unwrap();
    let payload = learner.payload().unwrap();
    learner.decode(&payload).unwrap()
}

#[test]
fn honest_work_lowers_the_held_out_loss_for_many_windows() {
    let mut learners: Vec<ToyLearner> = (0..6).map(|_| ToyLearner::new(&hparams())).collect();
    let mut losses = vec![learners[0].heldout_loss().unwrap()];
    for window in 0..60 {
        let updates: Vec<ToyUpdate> =
            learners.iter_mut().zip(0..).map(|(learner, uid)| contribution(learner, window, uid)).collect();
        let weighted: Vec<(f32, &ToyUpdate)> = updates.iter().map(|update| (1.0, update)).collect();
        for learner in &mut learners {
            learner.apply(&weighted, Own::Included, Window(window + 1)).unwrap();
        }
        if window % 20 == 19 {
            losses.push(learners[0].heldout_loss().unwrap());
        }
    }
    assert!(losses.is_sorted_by(|early, late| *late < early * 0.95), "{losses:?}");
    let states: std::collections::BTreeSet<_> = learners.iter().map(ToyLearner::state_digest).collect();
    assert_eq!(states.len(), 1);
}

#[test]
fn what_was_trained_on_improves_more_than_what_was_not() {
    let (mut assigned, mut unassigned) = (0.0, 0.0);
    for window in 0..40 {
        let mut learner = ToyLearner::new(&hparams());
        let update = contribution(&mut learner, window, 3);
        let job = job(window, 3);
        let judge = JudgeJob { window: job.window, uid: job.uid, assigned: job.seed, draw: Digest::of(b"draw") };
        let state = learner.state_digest();
        let evidence = learner.judge(&judge, &update, &[&update]).unwrap();
        assert_eq!(learner.state_digest(), state);
        let gain = |pairs: &[(f32, f32)]| pairs.iter().map(|(before, after)| before - after).sum::<f32>();
        assigned += gain(&evidence.assigned);
        unassigned += gain(&evidence.unassigned);
    }
    assert!(unassigned > 0.0 && assigned > 1.2 * unassigned, "{assigned} {unassigned}");
}

#[test]
fn error_feedback_keeps_what_was_not_sent() {
    let mut learner = ToyLearner::new(&hparams());
    let update = contribution(&mut learner, 0, 0);
    let (mut included, mut left_out, mut nothing) = (learner.clone(), learner.clone(), learner.clone());
    included.apply(&[], Own::Included, Window(1)).unwrap();
    left_out.apply(&[], Own::LeftOut, Window(1)).unwrap();
    nothing.apply(&[], Own::Nothing, Window(1)).unwrap();
    let mut sum = included.feedback.clone();
    update.add_to(&mut sum, 1.0);
    assert_eq!(sum, left_out.feedback);
    assert!(nothing.feedback.iter().all(|value| *value == 0.0));
    assert_eq!(ToyUpdate::top(&included.feedback, 16).overlap(&update), 0.0);
}

#[test]
fn a_snapshot_holds_everything_and_a_false_one_is_refused() {
    let mut learner = ToyLearner::new(&hparams());
    let update = contribution(&mut learner, 0, 0);
    learner.apply(&[(1.0, &update)], Own::Included, Window(1)).unwrap();
    let mut restored = ToyLearner::restore(&hparams(), &learner.saved()).unwrap();
    assert_eq!(contribution(&mut restored, 1, 0), contribution(&mut learner, 1, 0));

    let (mut stopped, mut straight) = (restored.clone(), restored);
    for learner in [&mut stopped, &mut straight] {
        contribution(learner, 2, 0);
    }
    let mut stopped = ToyLearner::restore(&hparams(), &stopped.saved()).unwrap();
    assert_eq!(stopped.payload(), straight.payload(), "a payload is made once");
    for learner in [&mut stopped, &mut straight] {
        learner.apply(&[(1.0, &update)], Own::LeftOut, Window(3)).unwrap();
    }
    assert_eq!(stopped.saved(), straight.saved());

    let mut fresh = ToyLearner::new(&hparams());
    fresh.adopt(Window(1), &learner.checkpoint()).unwrap();
    assert_eq!(fresh.state_digest(), learner.state_digest());
    let mut nan = learner.checkpoint();
    nan[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    for wrong in [&nan[..], &[], &learner.saved()] {
        assert!(fresh.adopt(Window(1), wrong).is_err());
    }
}

#[test]
fn a_giant_counts_no_more_than_the_median() {
    let learner = ToyLearner::new(&hparams());
    let update = |scale: f32| ToyUpdate((0..16).map(|at| (at, scale)).collect());
    let (small, giant) = (update(1.0), update(900.0));
    let fair = learner.aggregate(&[(1.0, &small), (1.0, &small), (1.0, &small)]);
    assert_eq!(learner.aggregate(&[(1.0, &small), (1.0, &giant), (1.0, &small)]), fair);
}

#[test]
fn malformed_payloads_are_named() {
    let mut learner = ToyLearner::new(&hparams());
    let good = contribution(&mut learner, 0, 0).encode();
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let mut nan = good.clone();
    nan[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
    let cases = [
        (good[..2].to_vec(), Malformation::Truncated),
        (good[..good.len() - 1].to_vec(), Malformation::Truncated),
        ([&good[..], &[0]].concat(), Malformation::Trailing),
        (changed(0, b'X'), Malformation::Header),
        (changed(2, 200), Malformation::Count),
        (changed(3, 255), Malformation::Index),
        (nan, Malformation::Scale),
    ];
    for (bytes, expected) in cases {
        assert_eq!(learner.decode(&bytes), Err(expected));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        if let Ok(update) = ToyUpdate::decode(&bytes, 16) {
            prop_assert_eq!(update.encode(), bytes);
        }
    }

    #[test]
    fn the_largest_values_are_sent(dense in proptest::collection::vec(-4_i8..4, DIMENSION)) {
        let dense: Vec<f32> = dense.into_iter().map(f32::from).collect();
        let update = ToyUpdate::top(&dense, 16);
        let smallest = update.0.iter().map(|(_, value)| value.abs()).fold(f32::MAX, f32::min);
        let sent = |at: usize| update.0.iter().any(|(index, _)| usize::from(*index) == at);
        prop_assert!((0..DIMENSION).all(|at| sent(at) || dense[at].abs() <= smallest));
        prop_assert_eq!(ToyUpdate::decode(&update.encode(), 16), Ok(update));
    }

    #[test]
    fn a_probe_tells_states_apart(seed in any::<[u8; 32]>()) {
        let mut learner = ToyLearner::new(&hparams());
        let zero = learner.probe(&Digest(seed));
        let all = ToyUpdate((0..=255).map(|at| (at, 1.0)).collect());
        learner.apply(&[(1.0, &all)], Own::Nothing, Window(1)).unwrap();
        prop_assert_ne!(learner.probe(&Digest(seed)), zero);
        prop_assert_eq!(learner.probe(&Digest(seed)), learner.clone().probe(&Digest(seed)));
    }
}
