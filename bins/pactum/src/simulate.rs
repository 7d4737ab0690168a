//! `pactum simulate`: real rounds in virtual time, with faults and attackers.

use pactum_cli::{Failure, Progress, Stop, Verbosity, output};
use pactum_sim::Scenario;

use crate::aside::aside;

/// Runs the nodes' own code over a simulated chain, network and clock, with faults and attackers drawn from a seed.
///
/// The same scenario and seed give the same trace. The learner is a toy; everything else is the real thing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: pactum simulate lossy --seeds 10")]
pub(crate) struct Args {
    /// Which scenario; without one, all are listed
    scenario: Option<String>,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many seeds to run, from the first on
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
}

pub(crate) async fn run(args: &Args, verbosity: Verbosity, stop: &Stop) -> Result<(), Failure> {
    let Some(name) = &args.scenario else { return list() };
    let scenario = Scenario::named(name)
        .ok_or_else(|| Failure::usage(format!("there is no scenario {name:?}; `pactum simulate` lists them")))?;
    let progress = Progress::new(verbosity.quiet);
    let mut failed = 0;
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        progress.headline(format!("{name}, seed {seed}"));
        let scenario = scenario.clone();
        let running = aside(move || pactum_sim::run(&scenario, seed));
        let outcome = tokio::select! {
            biased;
            () = stop.stopped() => return Err(Failure::new(format!("stopped before seed {seed} was done"))),
            outcome = running => outcome?,
        };
        for line in &outcome.summary {
            output(line)?;
        }
        for violation in &outcome.violations {
            output(format!("VIOLATION {violation}"))?;
        }
        failed += u64::from(!outcome.violations.is_empty());
    }
    progress.finish();
    if failed == 0 { Ok(()) } else { Err(Failure::new(format!("{failed} of {} seeds failed", args.seeds))) }
}

fn list() -> Result<(), Failure> {
    Scenario::list().iter().try_for_each(|scenario| output(format!("{:<16} {}", scenario.name, scenario.about)))
}
