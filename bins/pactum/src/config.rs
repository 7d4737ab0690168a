//! `pactum config`: every setting with its default.

use clap::ValueEnum;
use pactum_cli::{Failure, output};
use pactum_node::{Config, Role};

/// Prints the full default configuration of a role, with a comment on every key.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: pactum config miner > miner.toml; pactum miner --config miner.toml")]
pub(crate) struct Args {
    /// Whose configuration
    #[arg(value_enum)]
    role: RoleArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleArg {
    Miner,
    Validator,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let role = match args.role {
        RoleArg::Miner => Role::Miner,
        RoleArg::Validator => Role::Validator,
    };
    output(Config::commented(role).trim_end())
}
