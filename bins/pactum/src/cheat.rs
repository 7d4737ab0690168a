//! Dishonest miners, for trying out what they earn. Nothing but `localnet` starts them.

mod header;
mod payload;

use std::fmt;

use clap::ValueEnum;
use pactum_cli::{Failure, Stop};
use pactum_node::{Flags, Network, Trainer};
use pactum_round::Role;
use serde::{Deserialize, Serialize};

use self::header::Forger;
use self::payload::Cheat;
use crate::node;

/// How a miner cheats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Trains nothing and sends the newest payload of somebody else that it could get hold of
    Copy,
    /// Trains nothing and sends well-formed noise
    Random,
    /// Makes one inner step and claims to have made all
    Lazy,
    /// Sends payloads that are damaged, each window in another way
    Malformed,
    /// Sends headers that do not hold, each window in another way
    Forged,
}

/// A miner that cheats.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(value_enum)]
    kind: Kind,
    #[command(flatten)]
    pub(crate) node: Flags,
}

pub(crate) async fn run(args: Args, stop: Stop) -> Result<(), Failure> {
    let wrap = |trainer: Trainer, network: Network| {
        (Cheat::new(args.kind, trainer), Forger::new(args.kind == Kind::Forged, network))
    };
    node::run(&args.node, Role::Miner, wrap, stop).await
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Copy => "copy",
            Self::Random => "random",
            Self::Lazy => "lazy",
            Self::Malformed => "malformed",
            Self::Forged => "forged",
        })
    }
}
