//! What each cheater earns.

use pactum_sim::{Cheat, Claims, Outcome, Scenario, sweep};

fn with(cheat: Cheat) -> Vec<Outcome> {
    let claims = Claims {
        cheats_below: Some(0.1),
        boasts_below: Some(4.0),
        honest_above: Some(0.1),
        loss_below: Some(0.9),
        filled: Some(0.9),
    };
    let scenario = Scenario::new(cheat.name()).miners(6).validators(3).windows(30).cheat(cheat).claims(claims);
    sweep(&scenario, 0..6, 2)
}

fn check(cheat: Cheat) {
    let failures: Vec<String> = with(cheat).iter().filter_map(Outcome::failure).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn copying_does_not_pay() {
    check(Cheat::Copy);
}

#[test]
fn random_values_do_not_pay() {
    check(Cheat::Random);
}

#[test]
fn laziness_does_not_pay() {
    check(Cheat::Lazy);
}

#[test]
fn malformed_payloads_do_not_pay() {
    check(Cheat::Malformed);
}

#[test]
fn stale_state_does_not_pay() {
    check(Cheat::Stale);
}

#[test]
fn headers_of_old_windows_do_not_pay_and_are_told() {
    let outcomes = with(Cheat::Old);
    let failures: Vec<String> = outcomes.iter().filter_map(Outcome::failure).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    for outcome in outcomes {
        let told = outcome.summary.iter().any(|line| line.contains("header is of another window"));
        assert!(told, "{:?}", outcome.summary);
    }
}

#[test]
fn coming_late_does_not_pay() {
    check(Cheat::Late);
}

#[test]
fn the_opposite_does_not_pay() {
    check(Cheat::Flip);
}

#[test]
fn size_does_not_pay() {
    check(Cheat::Inflate);
}

#[test]
fn false_signatures_do_not_pay() {
    check(Cheat::Forge);
}

#[test]
fn honest_miners_earn_alike() {
    let scenario = Scenario::named("calm").unwrap();
    for outcome in sweep(&scenario, 0..6, 2) {
        let miners: Vec<f64> = outcome.weights[2..].iter().map(|node| node.weight).collect();
        assert_eq!(miners.len(), 8);
        assert!(miners.iter().all(|weight| (0.03..0.4).contains(weight)), "seed {}: {miners:?}", outcome.seed);
    }
}
