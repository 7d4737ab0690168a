//! `pactum miner` and `pactum validator`: one node of a network.

use pactum_cli::{Failure, Stop, available_memory, output};
use pactum_node::{Event, Flags, Network, Runner, Trainer};
use pactum_round::{Exchange, Learner, Role};

/// Trains, and submits what it learned, until it is stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: pactum miner --chain ws://127.0.0.1:9944 --data pactum-data --dir miner")]
pub(crate) struct MinerArgs {
    #[command(flatten)]
    pub(crate) node: Flags,
}

/// Checks, scores and pays miners until it is stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: pactum validator --chain ws://127.0.0.1:9944 --data pactum-data --dir validator")]
pub(crate) struct ValidatorArgs {
    #[command(flatten)]
    pub(crate) node: Flags,
}

pub(crate) async fn mine(args: MinerArgs, stop: Stop) -> Result<(), Failure> {
    run(&args.node, Role::Miner, |trainer, network| (trainer, network), stop).await
}

pub(crate) async fn validate(args: ValidatorArgs, stop: Stop) -> Result<(), Failure> {
    run(&args.node, Role::Validator, |trainer, network| (trainer, network), stop).await
}

/// Runs a node whose learner and network are what `wrap` makes of the real ones.
pub(crate) async fn run<L: Learner, E: Exchange>(
    flags: &Flags,
    role: Role,
    wrap: impl FnOnce(Trainer, Network) -> (L, E),
    stop: Stop,
) -> Result<(), Failure> {
    let config = flags.config(role)?;
    config.place(role).map_err(Failure::usage)?;
    let asked = stop.clone();
    // A reader that went away is no reason to stop training.
    let mut tell = |event: &Event| drop(output(flags.line(event)));
    let node = Runner::new(config, role, move || !asked.is_stopped()).within(available_memory());
    tokio::select! {
        biased;
        () = stop.stopped() => Ok(()),
        ended = node.run(wrap, &mut tell) => Ok(ended?),
    }
}
