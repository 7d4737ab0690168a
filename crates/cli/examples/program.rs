//! A program with everything that `pactum-cli` gives: try `--help`, Ctrl-C, `-v`, `| cat`, and the ways to end.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use pactum_cli::{Failure, Program, Progress, Stop, Verbosity};

/// Ends in the way that it is told to.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    verbosity: Verbosity,
    /// The way to end
    #[arg(value_enum, default_value = "done")]
    end: End,
    /// Stop when standard input ends
    #[arg(long)]
    with_input: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum End {
    /// With a result on standard output
    Done,
    /// With an error that has a cause
    Failed,
    /// With a panic
    Bug,
    /// When it is told to stop
    Stopped,
    /// Never: being told to stop changes nothing
    Never,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut program = Program::new("program", env!("CARGO_PKG_VERSION")).workers(1);
    if arguments.with_input {
        program = program.until_input_ends();
    }
    program.run(&arguments.verbosity, |stop| end(arguments.end, stop, arguments.verbosity.quiet))
}

async fn end(way: End, stop: Stop, quiet: bool) -> Result<(), Failure> {
    let progress = Progress::new(quiet);
    progress.headline("running");
    progress.row("way", "chosen");
    tracing::info!(target: "pactum_program", "this is a log line");
    match way {
        End::Done => {}
        End::Failed => drop(std::fs::read("/no/such/file").map_err(|e| Failure::because("cannot read the input", &e))?),
        #[expect(clippy::panic, reason = "it shows what a bug looks like")]
        End::Bug => panic!("one apple too many"),
        End::Stopped => {
            stop.stopped().await;
            progress.note("stopping");
        }
        End::Never => loop {
            stop.stopped().await;
            progress.note("told to stop");
            tokio::time::sleep(Duration::from_secs(3600)).await;
        },
    }
    progress.finish();
    pactum_cli::output("done")
}
