//! The flags that every program with a node in it has; each overrides the environment, which overrides the file.

use std::net::SocketAddr;
use std::path::PathBuf;

use pactum_round::Role;

use crate::config::{Config, ConfigError};
use crate::event::Event;
use crate::place::{Device, Precision};

/// Settings of a node on the command line.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// A TOML file with settings (`pactum config` prints one)
    #[arg(long, value_name = "FILE", env = "PACTUM_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where the node keeps its wallet, journal, snapshots and blobs
    #[arg(long, value_name = "DIR", env = "PACTUM_DIR")]
    pub dir: Option<PathBuf>,
    /// The prepared dataset
    #[arg(long, value_name = "DIR", env = "PACTUM_DATA")]
    pub data: Option<PathBuf>,
    /// The chain's WebSocket address
    #[arg(long, value_name = "URL", env = "PACTUM_CHAIN")]
    pub chain: Option<String>,
    /// Where to listen for peers; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", env = "PACTUM_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// The address that peers are told, if it differs
    #[arg(long, value_name = "ADDRESS", env = "PACTUM_ADVERTISE")]
    pub advertise: Option<SocketAddr>,
    /// The wallet's file
    #[arg(long, value_name = "FILE", env = "PACTUM_WALLET")]
    pub wallet: Option<PathBuf>,
    /// Threads for computing; 0 takes all cores
    #[arg(long, value_name = "N", env = "PACTUM_THREADS")]
    pub threads: Option<usize>,
    /// Keep a miner's moments on disk, and its error feedback while it trains: less memory, more waiting
    #[arg(long, env = "PACTUM_OFFLOAD")]
    pub offload: bool,
    /// Where a miner trains and a validator judges; all but the processor need a program built with the feature `cuda`
    #[arg(long, value_enum, env = "PACTUM_DEVICE")]
    pub device: Option<Device>,
    /// What the products of matrices on a device are made of; a validator takes f32 only [default of a miner: bf16]
    #[arg(long, value_enum, env = "PACTUM_PRECISION")]
    pub precision: Option<Precision>,
    /// Print what happens as one JSON object a line on standard output
    #[arg(long)]
    pub events: bool,
    /// End when standard input ends
    #[arg(long, hide = true)]
    pub child: bool,
}

impl Flags {
    /// The configuration of `role` with these flags applied.
    ///
    /// # Errors
    /// As [`Config::read`], if a file is named.
    pub fn config(&self, role: Role) -> Result<Config, ConfigError> {
        let mut config = match &self.config {
            Some(path) => Config::read(path, role)?,
            None => Config::of(role),
        };
        set(&mut config.dir, &self.dir);
        set(&mut config.data, &self.data);
        set(&mut config.chain, &self.chain);
        set(&mut config.listen, &self.listen);
        set(&mut config.threads, &self.threads);
        set(&mut config.device, &self.device);
        config.precision = self.precision.or(config.precision);
        config.offload |= self.offload;
        config.advertise = self.advertise.or(config.advertise);
        config.wallet = self.wallet.clone().or(config.wallet);
        Ok(config)
    }
}

impl Flags {
    /// An event as the line to print: JSON if asked for, a sentence otherwise.
    #[must_use]
    pub fn line(&self, event: &Event) -> String {
        let json = self.events.then(|| serde_json::to_string(event).ok()).flatten();
        json.unwrap_or_else(|| event.to_string())
    }
}

fn set<T: Clone>(setting: &mut T, flag: &Option<T>) {
    if let Some(value) = flag {
        setting.clone_from(value);
    }
}
