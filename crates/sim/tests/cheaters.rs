//! What each cheater earns.

use pactum_sim::{Cheat, Claims, Outcome, Scenario, sweep};

fn with(cheat: Cheat) -> Vec<Outcome> {
    let claims = Claims {
        cheats_below: Some(0.1),
        boasts_below: Some(4.0),
        honest_above: None,
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
