//! `pactum-validator`: a validator and nothing else.

use std::process::ExitCode;

use clap::Parser;
use pactum_cli::{Failure, Program, Stop, Verbosity, available_memory, output};
use pactum_node::{Event, Flags, Role, Runner};

/// Checks, scores and pays miners until it is stopped.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example: pactum-validator --chain ws://127.0.0.1:9944 --data pactum-data --dir validator"
)]
struct Args {
    #[command(flatten)]
    verbosity: Verbosity,
    #[command(flatten)]
    node: Flags,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let program = Program::new("pactum-validator", env!("CARGO_PKG_VERSION"));
    let program = if args.node.child { program.until_input_ends() } else { program };
    let verbosity = args.verbosity;
    program.run(&verbosity, |stop| run(args.node, stop))
}

async fn run(flags: Flags, stop: Stop) -> Result<(), Failure> {
    let config = flags.config(Role::Validator)?;
    config.place(Role::Validator).map_err(Failure::usage)?;
    let asked = stop.clone();
    let mut tell = |event: &Event| drop(output(flags.line(event)));
    let node = Runner::new(config, Role::Validator, move || !asked.is_stopped()).within(available_memory());
    tokio::select! {
        biased;
        () = stop.stopped() => Ok(()),
        ended = node.run(|trainer, network| (trainer, network), &mut tell) => Ok(ended?),
    }
}
