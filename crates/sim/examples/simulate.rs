//! Runs a scenario: `cargo run -p pactum-sim --example simulate -- lossy 7`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use pactum_sim::{Scenario, run};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "calm".to_owned());
    let seed = arguments.next().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let Some(scenario) = Scenario::named(&name) else {
        println!("there is no scenario {name:?}");
        return;
    };
    let outcome = run(&scenario, seed);
    outcome.summary.iter().for_each(|line| println!("{line}"));
    outcome.violations.iter().for_each(|violation| println!("violation: {violation}"));
}
