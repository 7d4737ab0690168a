//! Many nodes, many windows, many faults, many seeds.

use pactum_sim::{Outcome, Scenario, run, sweep};

fn failures(outcomes: &[Outcome]) -> String {
    outcomes.iter().filter_map(Outcome::failure).collect::<Vec<_>>().join("\n")
}

/// 64 nodes for 100 windows with 10 % of fetches lost, crashes and partitions.
#[test]
fn committed_states_agree_for_200_seeds() {
    let scenario = Scenario::named("lossy").unwrap();
    let outcomes = sweep(&scenario, 0..200, 2);
    assert_eq!(outcomes.len(), 200);
    assert!(outcomes.iter().all(|outcome| outcome.agreed && outcome.violations.is_empty()), "{}", failures(&outcomes));
    let traces: std::collections::BTreeSet<_> = outcomes.iter().map(|outcome| outcome.trace_digest).collect();
    assert_eq!(traces.len(), 200);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let scenario = Scenario::named("lossy").unwrap().windows(20);
    let (one, other) = (run(&scenario, 11), run(&scenario, 11));
    assert_eq!(one, other);
    assert_ne!(one.trace_digest, run(&scenario, 12).trace_digest);
    assert_eq!(sweep(&scenario, 11..12, 2)[0], one);
}

#[test]
fn every_other_scenario_holds_for_its_first_seeds() {
    for listed in Scenario::list().iter().filter(|listed| listed.name != "lossy") {
        let outcomes = sweep(&Scenario::named(listed.name).unwrap(), 0..8, 2);
        assert_eq!(failures(&outcomes), "", "{}", listed.name);
    }
}

#[test]
fn whoever_comes_late_takes_over_a_checkpoint() {
    for outcome in sweep(&Scenario::named("join").unwrap(), 0..4, 2) {
        assert_eq!(outcome.failure(), None);
        assert!((1..=3).contains(&outcome.adopted), "seed {}: {}", outcome.seed, outcome.adopted);
    }
}

#[test]
fn faults_really_happen() {
    let outcome = run(&Scenario::named("lossy").unwrap().windows(20), 3);
    assert!(outcome.restored >= 5, "{}", outcome.restored);
    assert!(outcome.summary.iter().any(|line| line.contains("nobody served the payload")), "{:?}", outcome.summary);
}
