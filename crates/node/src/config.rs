//! The operator's settings: a TOML file, overridden by the environment and by flags.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use pactum_learner::MemoryPlan;
use pactum_round::Role;
use serde::{Deserialize, Serialize};

use crate::place::{Device, Place, PlaceError, Precision};

/// What an operator decides about one node. Nothing in here changes what other nodes compute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the node keeps its wallet, journal, snapshots and blobs.
    pub dir: PathBuf,
    /// The prepared dataset.
    pub data: PathBuf,
    /// The chain's WebSocket address.
    pub chain: String,
    /// Where to listen for peers; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The address that peers are told, if it differs from `listen`.
    pub advertise: Option<SocketAddr>,
    /// The wallet's file; by default `wallet.json` in `dir`.
    pub wallet: Option<PathBuf>,
    /// Threads for computing; 0 takes all cores.
    pub threads: usize,
    /// Whether a miner keeps its optimizer's moments on disk, and its error feedback while it trains.
    pub offload: bool,
    /// Where a miner trains and a validator judges.
    pub device: Device,
    /// How finely a device computes; by default bf16 for a miner, f32 for a validator.
    pub precision: Option<Precision>,
    /// The stake that a validator adds when it registers, in the chain's smallest unit.
    pub stake: u64,
    /// How many bytes of other nodes' blobs to keep.
    pub blob_bytes_max: u64,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no configuration.
    #[error("the configuration {path} is not valid: {message}; `pactum config` prints every key with its default")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        message: String,
    },
}

impl Config {
    /// The defaults of a role.
    #[must_use]
    pub fn of(role: Role) -> Self {
        let dir = match role {
            Role::Miner => "pactum-miner",
            Role::Validator => "pactum-validator",
        };
        Self { dir: dir.into(), ..Self::default() }
    }

    /// Reads a file over the defaults of `role`.
    ///
    /// # Errors
    /// If the file cannot be read, is not TOML, or has a key that does not exist.
    pub fn read(path: &Path, role: Role) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, role).map_err(|message| ConfigError::Invalid { path: path.to_owned(), message })
    }

    fn parse(text: &str, role: Role) -> Result<Self, String> {
        let given: toml::Table = text.parse().map_err(|error: toml::de::Error| one_line(&error))?;
        let mut all = toml::Table::try_from(Self::of(role)).map_err(|error| error.to_string())?;
        all.extend(given);
        all.try_into().map_err(|error: toml::de::Error| one_line(&error))
    }

    /// The full default configuration of a role, with a comment on every key.
    #[must_use]
    pub fn commented(role: Role) -> String {
        let config = Self::of(role);
        let (name, compute) = match role {
            Role::Miner => ("miner", "train"),
            Role::Validator => ("validator", "judge"),
        };
        let stake = match role {
            Role::Miner => String::new(),
            Role::Validator => format!(
                "\n# The stake to add when registering, in the chain's smallest unit.\nstake = {}\n",
                config.stake
            ),
        };
        let offload = match role {
            Role::Validator => String::new(),
            Role::Miner => format!(
                "\n# Keep the optimizer's moments on disk, and the error feedback while training: less memory, more waiting.\n\
                 offload = {}\n",
                config.offload
            ),
        };
        let precision = match role {
            Role::Validator => "",
            Role::Miner => "\n# How finely a device trains, \"f32\" or \"bf16\".\n# precision = \"bf16\"\n",
        };
        format!(
            "# Configuration of a Pactum {name}. Every key is optional; these are the defaults.\n\
             \n# Where the node keeps its wallet, journal, snapshots and blobs.\ndir = {dir:?}\n\
             \n# The prepared dataset (`pactum data prepare`); its digest must be the run's.\ndata = {data:?}\n\
             \n# The chain's WebSocket address.\nchain = {chain:?}\n\
             \n# Where to listen for peers, by UDP; port 0 takes any free one.\nlisten = \"{listen}\"\n\
             \n# The address that peers are told, if it differs from `listen` (behind a router, say).\n# advertise = \"203.0.113.7:7700\"\n\
             \n# The wallet's file; by default `wallet.json` in `dir`, made at the first start.\n# wallet = \"wallet.json\"\n\
             \n# Threads for computing; 0 takes all cores.\nthreads = {threads}\n\
             {offload}\
             \n# Where to {compute}: \"cpu\", \"cuda\" or \"emulation\"; all but the first need a program built with devices.\n\
             device = \"{device}\"\n\
             {precision}\
             {stake}\
             \n# How many bytes of blobs to keep and serve to others.\nblob_bytes_max = {blobs}\n",
            dir = config.dir,
            data = config.data,
            chain = config.chain,
            listen = config.listen,
            threads = config.threads,
            device = config.device,
            blobs = config.blob_bytes_max,
        )
    }

    /// The wallet's file.
    #[must_use]
    pub fn wallet_path(&self) -> PathBuf {
        self.wallet.clone().unwrap_or_else(|| self.dir.join("wallet.json"))
    }

    /// Where a node of `role` computes.
    ///
    /// # Errors
    /// If there is no such place.
    pub fn place(&self, role: Role) -> Result<Place, PlaceError> {
        match role {
            Role::Miner => Place::new(self.device, self.precision),
            Role::Validator => Place::for_judging(self.device, self.precision),
        }
    }

    /// Bytes of this machine's memory that a node of `role` holds of a run whose learner `plan` describes.
    #[must_use]
    pub fn memory(&self, role: Role, plan: &MemoryPlan) -> u64 {
        match (role, self.device, self.offload) {
            (Role::Miner, Device::Cpu, false) => plan.network_bytes(),
            (Role::Miner, Device::Cpu, true) => plan.offloaded_network_bytes(),
            (Role::Miner, _, false) => plan.accelerated_network_bytes(),
            (Role::Miner, _, true) => plan.accelerated_bytes(),
            (Role::Validator, Device::Cpu, _) => plan.validator_bytes(),
            (Role::Validator, ..) => plan.model.vector_bytes,
        }
    }

    /// How many threads to compute with.
    #[must_use]
    pub fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        if self.threads == 0 { all() } else { self.threads }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dir: "pactum-node".into(),
            data: "pactum-data".into(),
            chain: "ws://127.0.0.1:9944".to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertise: None,
            wallet: None,
            threads: 0,
            offload: false,
            device: Device::Cpu,
            precision: None,
            stake: 1_000_000_000,
            blob_bytes_max: 8 << 30,
        }
    }
}

fn one_line(error: &toml::de::Error) -> String {
    error.to_string().lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_configuration_reads_as_the_defaults() {
        for role in [Role::Miner, Role::Validator] {
            assert_eq!(Config::parse(&Config::commented(role), role), Ok(Config::of(role)));
        }
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = Config::parse("thread = 3", Role::Miner).unwrap_err();
        assert!(error.contains("thread"), "{error}");
    }

    #[test]
    fn what_is_not_given_keeps_its_default() {
        let config = Config::parse("threads = 3", Role::Validator).unwrap();
        assert_eq!(config, Config { threads: 3, ..Config::of(Role::Validator) });
    }
}
