//! What a local network consists of, and where its files are.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use pactum_cli::{Failure, Progress, Stop, available_memory};
use pactum_node::{Config, Place as Where, learner_config};
use pactum_protocol::{BlockNumber, Digest, Hparams};
use serde::{Deserialize, Serialize};

use super::board::Role;
use super::crew::Spec;
use super::{Args, speed};
use crate::cheat::Kind;
use crate::checkpoint::refuse_unless_fits;
use crate::paths;

/// Blocks before the first window, in which the nodes start and register.
const BLOCKS_BEFORE: u64 = 12;

/// The network as it was first started; the same for as long as its folder lives.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    #[serde(skip)]
    pub(super) dir: PathBuf,
    #[serde(skip)]
    pub(super) url: String,
    /// Where the honest miners train in this start.
    #[serde(skip)]
    pub(super) place: Where,
    /// Whether the honest miners keep on disk what they can in this start.
    #[serde(skip)]
    pub(super) offload: bool,
    pub(super) miners: u16,
    pub(super) validators: u16,
    pub(super) cheaters: Vec<Kind>,
    pub(super) hparams: Hparams,
    pub(super) inputs: Vec<PathBuf>,
}

/// One node of the network.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) cheat: Option<Kind>,
}

impl Plan {
    /// Reads the plan of the folder, or makes one from the arguments.
    pub(super) fn make(args: &Args, progress: &Progress, stop: &Stop) -> Result<Self, Failure> {
        if let Some(dir) = &args.dir {
            return Self::make_in(dir, args, progress, stop);
        }
        let dir = paths::fresh("localnet")?;
        let made = Self::make_in(&dir, args, progress, stop);
        if made.is_err() {
            // Nothing in it is of use to anybody.
            let _ = fs::remove_dir_all(&dir);
        }
        made
    }

    fn make_in(dir: &Path, args: &Args, progress: &Progress, stop: &Stop) -> Result<Self, Failure> {
        fs::create_dir_all(dir.join("logs"))
            .and_then(|()| fs::create_dir_all(dir.join("pids")))
            .map_err(|error| Failure::because(format!("cannot write to {}", dir.display()), &error))?;
        let file = dir.join("localnet.json");
        let plan = match fs::read(&file) {
            Ok(bytes) => Self::read(&bytes, &file, args)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let plan = Self::begin(args, dir, progress, stop)?;
                fs::write(dir.join(SETTINGS), toml::to_string_pretty(&plan.hparams)?)?;
                fs::write(&file, serde_json::to_vec_pretty(&plan)?)?;
                plan
            }
            Err(error) => return Err(Failure::because(format!("cannot read {}", file.display()), &error)),
        };
        Ok(Self { dir: dir.to_owned(), place: args.place.chosen()?, offload: args.offload, ..plan })
    }

    fn read(bytes: &[u8], file: &Path, args: &Args) -> Result<Self, Failure> {
        let plan: Self = serde_json::from_slice(bytes).map_err(|error| {
            Failure::because(format!("{} is damaged; choose another --dir", file.display()), &error)
        })?;
        let same = plan.miners == args.miners
            && plan.validators == args.validators
            && kinds(&plan.cheaters) == kinds(&args.cheaters)
            && plan.hparams.preset == args.preset
            && plan.hparams.seed == args.seed
            && (args.data.is_empty() || plan.inputs == args.data);
        if same {
            return Ok(plan);
        }
        Err(Failure::new(format!(
            "{} was made with other options (data, miners, validators, cheaters, preset or seed); give the same ones or \
             choose another --dir",
            file.display()
        )))
    }

    fn begin(args: &Args, dir: &Path, progress: &Progress, stop: &Stop) -> Result<Self, Failure> {
        let mut hparams = Hparams::preset(&args.preset).ok_or_else(|| {
            Failure::new(format!(
                "there is no preset {:?}; choose one of {}",
                args.preset,
                pactum_protocol::PRESETS.join(", ")
            ))
        })?;
        let cheaters = kinds(&args.cheaters);
        let miners = u64::from(args.miners) + u64::try_from(cheaters.len())?;
        refuse_too_large(&hparams, args, cheaters.len() as u64)?;
        let nodes = u32::try_from(miners)? + u32::from(args.validators);
        let context = usize::try_from(hparams.model.context)?;
        let dataset = crate::data::for_run(&args.data, &dir.join("data"), context, progress, stop)?;
        hparams.seed = args.seed;
        hparams.dataset = Digest(dataset.digest());
        // One more, for a miner that comes late.
        hparams.data.slots = nodes + 1;
        hparams.time.start = BlockNumber(BLOCKS_BEFORE);
        progress.headline("measuring this machine");
        let miners = usize::from(args.miners) + cheaters.len();
        speed::set_pace(&mut hparams, miners, args.place.chosen()?, dir)?;
        hparams.validate()?;
        Ok(Self {
            dir: dir.to_owned(),
            url: String::new(),
            place: Where::PROCESSOR,
            offload: false,
            miners: args.miners,
            validators: args.validators,
            cheaters,
            hparams,
            inputs: args.data.clone(),
        })
    }

    /// All nodes, validators first.
    pub(super) fn seats(&self) -> Vec<Place> {
        let validators = (1..=self.validators).map(|n| Place::new(format!("validator-{n}"), Role::Validator, None));
        let miners = (1..=self.miners).map(|n| Place::new(format!("miner-{n}"), Role::Miner, None));
        let cheaters = self.cheaters.iter().map(|kind| Place::new(format!("cheat-{kind}"), Role::Miner, Some(*kind)));
        let late = self.has_late().then(Place::late);
        validators.chain(miners).chain(cheaters).chain(late).collect()
    }

    /// Whether the late miner has come already.
    pub(super) fn has_late(&self) -> bool {
        self.dir.join("nodes").join(LATE).exists()
    }

    /// Removes the process ids of nodes that an earlier run could not remove, since it was killed.
    pub(super) fn forget_processes(&self) {
        for place in self.seats() {
            // One that is not there is the rule; one that stays says what is not so, and harms nobody.
            let _ = fs::remove_file(self.dir.join("pids").join(place.name));
        }
    }

    pub(super) fn log_file(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    pub(super) fn chain_spec(&self, listen: &str) -> Spec {
        let hparams = self.dir.join(SETTINGS);
        let args = vec![
            "chain".into(),
            "--child".into(),
            "--listen".into(),
            listen.into(),
            "--dir".into(),
            self.dir.join("chain").into(),
            "--hparams".into(),
            hparams.into(),
        ];
        self.spec("chain", args)
    }

    pub(super) fn node_spec(&self, place: &Place) -> Spec {
        let mut args: Vec<OsString> = match (place.role, place.cheat) {
            (_, Some(kind)) => vec!["cheat".into(), kind.to_string().into()],
            (Role::Miner, None) => vec!["miner".into()],
            (Role::Validator, None) => vec!["validator".into()],
        };
        args.extend(
            ["--child", "--events", "--threads", "1", "--listen", "127.0.0.1:0", "--chain"].map(OsString::from),
        );
        args.push(self.url.clone().into());
        if (place.role, place.cheat) == (Role::Miner, None) {
            args.extend(self.honest_args());
        }
        args.push("--dir".into());
        args.push(self.dir.join("nodes").join(&place.name).into());
        args.push("--data".into());
        args.push(self.dir.join("data").into());
        self.spec(&place.name, args)
    }

    /// What the user chose for the honest miners.
    fn honest_args(&self) -> Vec<OsString> {
        let mut args = Vec::new();
        if self.place.is_device() {
            let (device, precision) = (self.place.device().to_string(), self.place.precision().to_string());
            args.extend(["--device".to_owned(), device, "--precision".to_owned(), precision]);
        }
        if self.offload {
            args.push("--offload".to_owned());
        }
        args.into_iter().map(OsString::from).collect()
    }

    fn spec(&self, name: &str, args: Vec<OsString>) -> Spec {
        let pid = self.dir.join("pids").join(name);
        Spec { name: name.to_owned(), args, log: self.log_file(name), pid }
    }
}

/// Says no before anything is allocated, since a system without memory ends processes without a word.
fn refuse_too_large(hparams: &Hparams, args: &Args, cheaters: u64) -> Result<(), Failure> {
    let one = learner_config(hparams).memory()?;
    let [miners, validators] = [args.miners, args.validators].map(u64::from);
    let what = format!("a network of {} nodes", miners + cheaters + validators);
    let device = args.place.chosen()?.device();
    let honest = Config { device, offload: args.offload, ..Config::of(pactum_node::Role::Miner) };
    let seats = [
        (miners, honest.memory(pactum_node::Role::Miner, &one)),
        (cheaters, one.network_bytes()),
        (validators, one.validator_bytes()),
    ];
    let bytes = seats.iter().fold(0_u64, |sum, (nodes, bytes)| sum.saturating_add(bytes.saturating_mul(*nodes)));
    refuse_unless_fits(&what, bytes, available_memory(), &one)
}

const LATE: &str = "miner-late";
/// The file of the run's settings. The chain compares it with those that it was started with, so it is written once.
const SETTINGS: &str = "run.toml";

/// Each kind once, in one order: a kind is one node, and naming it twice or later makes no other network.
fn kinds(given: &[Kind]) -> Vec<Kind> {
    BTreeSet::from_iter(given.iter().copied()).into_iter().collect()
}

impl Place {
    fn new(name: String, role: Role, cheat: Option<Kind>) -> Self {
        Self { name, role, cheat }
    }

    /// The miner that starts when half of the windows are done.
    pub(super) fn late() -> Self {
        Self::new(LATE.to_owned(), Role::Miner, None)
    }
}
