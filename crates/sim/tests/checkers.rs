//! Every checker sees what it is there to see.

use pactum_sim::{Cheat, Claims, Defect, Faults, Outcome, Scenario, Violation, run};

const MINER: u16 = 4;

fn broken(defect: Defect) -> Scenario {
    let faults = Faults { fetch_loss: 0.05, crashes: 12, ..Faults::default() };
    Scenario::new("broken").miners(5).validators(3).windows(16).faults(faults).defect(MINER, defect)
}

/// Runs seeds until one shows the defect, and asserts that it is blamed on nobody else.
fn caught(scenario: &Scenario, blamed: impl Fn(&Violation) -> bool) -> Outcome {
    let outcome = (0..10).map(|seed| run(scenario, seed)).find(|outcome| !outcome.violations.is_empty());
    let outcome = outcome.expect("the checkers saw nothing");
    assert!(outcome.violations.iter().any(blamed), "{:?}", outcome.violations);
    outcome
}

fn node() -> usize {
    usize::from(MINER)
}

#[test]
fn a_sound_network_of_this_kind_has_no_violation() {
    let faults = Faults { fetch_loss: 0.05, crashes: 12, ..Faults::default() };
    let scenario = Scenario::new("sound").miners(5).validators(3).windows(16).faults(faults);
    for seed in 0..10 {
        assert_eq!(run(&scenario, seed).failure(), None);
    }
}

#[test]
fn another_order_of_additions_is_seen() {
    let outcome = caught(
        &broken(Defect::Order),
        |violation| matches!(violation, Violation::Diverged { node: n, other: o, .. } if *n == node() || *o == node()),
    );
    assert!(!outcome.agreed);
}

#[test]
fn a_contribution_left_out_is_seen() {
    let outcome = caught(
        &broken(Defect::Drop),
        |violation| matches!(violation, Violation::Unapplied { node: n, .. } if *n == node()),
    );
    assert!(!outcome.agreed);
}

#[test]
fn a_payload_served_too_early_is_seen() {
    let scenario = broken(Defect::Early).cheat(Cheat::Copy);
    caught(&scenario, |violation| matches!(violation, Violation::Early { from, .. } if *from == node()));
}

#[test]
fn a_disk_that_forgets_is_seen() {
    let scenario = broken(Defect::Forget);
    caught(&scenario, |violation| matches!(violation, Violation::Forgotten { node: n, .. } if *n == node()));
    caught(&scenario, |violation| matches!(violation, Violation::Regressed { node: n, .. } if *n == node()));
}

#[test]
fn a_disk_that_rots_is_seen() {
    let scenario = broken(Defect::Rot);
    caught(&scenario, |violation| matches!(violation, Violation::Forgotten { node: n, .. } if *n == node()));
}

#[test]
fn a_node_that_stops_is_seen() {
    let scenario = broken(Defect::Stall);
    let outcome = caught(&scenario, |violation| matches!(violation, Violation::Stuck { node: n, .. } if *n == node()));
    assert!(outcome.agreed);
}

#[test]
fn claims_that_do_not_hold_are_seen() {
    let scenario = Scenario::new("claims").windows(4).miners(2).cheat(Cheat::Lazy);
    let claims = Claims {
        cheats_below: Some(0.0),
        loss_below: Some(0.01),
        honest_above: Some(1.5),
        filled: Some(1.1),
        ..Claims::default()
    };
    let outcome = run(&scenario.claims(claims), 0);
    assert!(outcome.violations.iter().any(|violation| matches!(violation, Violation::Overpaid { .. })));
    assert!(outcome.violations.iter().any(|violation| matches!(violation, Violation::Starved { .. })));
    assert!(outcome.violations.iter().any(|violation| matches!(violation, Violation::Unlearnt { .. })));
    assert!(outcome.violations.iter().any(|violation| matches!(violation, Violation::Empty { .. })));
}

#[test]
fn a_failure_says_how_to_see_it_again() {
    let outcome = run(&broken(Defect::Stall), 3);
    let failure = outcome.failure().unwrap();
    assert!(failure.contains("seed 3 fails") && failure.ends_with("pactum simulate broken --seed 3"), "{failure}");
    assert!(outcome.summary.iter().any(|line| line.contains("pactum simulate broken --seed 3")));
}
