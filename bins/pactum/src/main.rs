//! `pactum`: the operator's program.

mod aside;
mod chain;
mod cheat;
mod checkpoint;
mod config;
mod data;
mod generate;
mod localnet;
mod model;
mod node;
mod paths;
mod perplexity;
mod place;
mod simulate;
mod train;
mod wallet;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pactum_cli::{Failure, Program, Stop, Verbosity};

/// Trains language models on computers that do not know or trust each other.
#[derive(Debug, Parser)]
#[command(name = "pactum", version, after_help = "Begin with: pactum localnet")]
struct Args {
    #[command(flatten)]
    verbosity: Verbosity,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Localnet(localnet::Args),
    Chain(chain::Args),
    Miner(node::MinerArgs),
    Validator(node::ValidatorArgs),
    Train(train::Args),
    Generate(generate::Args),
    Perplexity(perplexity::Args),
    #[command(subcommand)]
    Model(model::Args),
    #[command(subcommand)]
    Wallet(wallet::Args),
    #[command(subcommand)]
    Data(data::Args),
    Simulate(simulate::Args),
    Config(config::Args),
    #[command(hide = true)]
    Cheat(cheat::Args),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let program = Program::new("pactum", env!("CARGO_PKG_VERSION"));
    let program = if args.command.is_child() { program.until_input_ends() } else { program };
    let verbosity = args.verbosity;
    program.run(&verbosity, |stop| run(args.command, verbosity, stop))
}

async fn run(command: Command, verbosity: Verbosity, stop: Stop) -> Result<(), Failure> {
    match command {
        Command::Localnet(args) => localnet::run(args, verbosity, stop).await,
        Command::Chain(args) => chain::run(args, stop).await,
        Command::Miner(args) => node::mine(args, stop).await,
        Command::Validator(args) => node::validate(args, stop).await,
        Command::Train(args) => train::run(&args, verbosity, &stop),
        Command::Generate(args) => generate::run(&args, &stop),
        Command::Perplexity(args) => perplexity::run(&args, verbosity, &stop),
        Command::Model(args) => model::run(&args),
        Command::Wallet(args) => wallet::run(&args),
        Command::Data(args) => data::run(&args, verbosity, &stop),
        Command::Simulate(args) => simulate::run(&args, verbosity, &stop).await,
        Command::Config(args) => config::run(&args),
        Command::Cheat(args) => cheat::run(args, stop).await,
    }
}

impl Command {
    /// Whether the process belongs to a parent that holds its standard input.
    fn is_child(&self) -> bool {
        match self {
            Self::Chain(args) => args.child,
            Self::Miner(args) => args.node.child,
            Self::Validator(args) => args.node.child,
            Self::Cheat(args) => args.node.child,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn check_help(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains(&path[1..]), "{path}: {help:?}");
        for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
            check_help(below, &path);
        }
    }

    #[test]
    fn the_help_of_every_command_ends_with_an_example() {
        let command = Args::command();
        command.clone().debug_assert();
        check_help(&command, "");
    }
}
