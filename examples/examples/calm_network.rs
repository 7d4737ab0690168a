//! A whole network in virtual time: the nodes' own code over a simulated chain and network.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;

use pactum_sim::Scenario;

fn main() -> Result<(), Box<dyn Error>> {
    let scenario = Scenario::named("calm").ok_or("the scenario is gone")?;
    let outcome = pactum_sim::run(&scenario, 1);
    outcome.summary.iter().for_each(|line| println!("{line}"));
    // The same seed gives the same trace.
    assert_eq!(pactum_sim::run(&scenario, 1).trace_digest, outcome.trace_digest);
    assert!(outcome.agreed && outcome.violations.is_empty());
    Ok(())
}
