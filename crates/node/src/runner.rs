//! A node from its configuration to its last window.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pactum_chain::{Call, Chain as _, ChainError, Sr25519, Wallet, WalletError};
use pactum_data::{Dataset, OpenError};
use pactum_learner::{Accelerator, LearnerConfig, LearnerError, MemoryPlan, bytes_text};
use pactum_protocol::{Digest, Hparams, Limits, Metagraph, Neuron, Schedule, Sign, Uid, Window, WireError, run_digest};
use pactum_round::{Doors, Exchange, Identity, Learner, Node, Ports, Role, RoundError, Rules, SEAL_BYTES, Standing};
use pactum_scoring::ScoreBook;
use pactum_subtensor::{Client, ConnectError, Link};
use pactum_transport::{BindError, BlobStore, Endpoint, EndpointConfig, StoreError, TransportLimits};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::Config;
use crate::event::{Event, Started, WindowEvent};
use crate::exchange::Network;
use crate::inbox::Inbox;
use crate::journal::{DiskJournal, JournalError, write_durably};
use crate::place::PlaceError;
use crate::public::{LocalClock, Public};
use crate::trainer::{Meter, Trainer, TrainerError, learner_config};

/// The shortest and the longest time a peer is given to answer.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(400), Duration::from_secs(10));
/// How many peers may in turn be waited for in vain in one window.
const PATIENCE_SHARE: u64 = 10;

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The node's folder cannot be used.
    #[error("cannot use the folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another node runs in the folder.
    #[error("another node runs in {path}; stop it, or choose another folder with --dir")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The folder is of another run.
    #[error("{path} belongs to another run; choose another folder with --dir, or another chain with --chain")]
    OtherRun {
        /// The folder.
        path: PathBuf,
    },
    /// The wallet cannot be read or made.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The chain's address is wrong.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The chain refuses this node.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The chain carries no settings that this release understands.
    #[error("the chain's run cannot be read ({0}); this program and the chain may be of different versions")]
    Run(WireError),
    /// The settings make no sense.
    #[error("the run's settings are not valid: {0}")]
    Hparams(#[from] pactum_protocol::HparamsError),
    /// The run's settings describe no learner.
    #[error(transparent)]
    Learner(#[from] LearnerError),
    /// The run's model does not fit into this machine's memory.
    #[error(
        "this node needs {} of memory and {} are left: choose another machine, or stop what else runs here\n{plan}",
        bytes_text(*.needed),
        bytes_text(*.available)
    )]
    Memory {
        /// Bytes that the node holds.
        needed: u64,
        /// Bytes that are left.
        available: u64,
        /// What takes how much.
        plan: Box<MemoryPlan>,
    },
    /// The device cannot be used.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The dataset cannot be used.
    #[error(transparent)]
    Data(#[from] OpenError),
    /// The dataset is not the run's.
    #[error("{path} is another dataset (digest {found}) than the run trains on ({expected}); prepare the run's data")]
    OtherData {
        /// The dataset's folder.
        path: PathBuf,
        /// Its digest.
        found: Digest,
        /// The digest in the run's settings.
        expected: Digest,
    },
    /// The learner cannot be set up.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The blobs cannot be kept.
    #[error(transparent)]
    Blobs(#[from] StoreError),
    /// The network cannot be reached.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The round cannot go on.
    #[error(transparent)]
    Round(#[from] RoundError),
}

/// One node: its configuration, what it does, and whether it shall go on.
pub struct Runner {
    config: Config,
    role: Role,
    keep_going: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Bytes that the node must keep within.
    memory: Option<u64>,
}

/// The ports of a node that runs.
struct Live<L, E>(std::marker::PhantomData<(L, E)>);

impl<L: Learner, E: Exchange> Ports for Live<L, E> {
    type Chain = Public;
    type Exchange = E;
    type Learner = L;
    type Journal = DiskJournal;
    type Clock = LocalClock;
}

/// What the chain says of the run.
struct Run {
    hparams: Hparams,
    digest: Digest,
    weights_version: u64,
}

impl Runner {
    /// A node that trains as long as `keep_going` says so; to end it, drop the future of [`Runner::run`].
    pub fn new(config: Config, role: Role, keep_going: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { config, role, keep_going: Arc::new(keep_going), memory: None }
    }

    /// Refuses a run whose learner takes more than so many bytes of memory, before any of them are allocated.
    #[must_use]
    pub fn within(self, memory: Option<u64>) -> Self {
        Self { memory, ..self }
    }

    /// Runs the node: finds the chain, recovers what was committed, registers, catches up, and takes part in one
    /// window after the other. What happens is told to `tell`. `wrap` may put others around the learner and the network.
    ///
    /// # Errors
    /// [`NodeError`] says what to do about it. Peers cause none, and a chain that is away is waited for.
    pub async fn run<L: Learner, E: Exchange>(
        self,
        wrap: impl FnOnce(Trainer, Network) -> (L, E),
        tell: &mut dyn FnMut(&Event),
    ) -> Result<(), NodeError> {
        let _lock = self.lock()?;
        let wallet = Arc::new(self.wallet()?);
        tell(&Event::phase("looking for the chain"));
        let client = Arc::new(Client::connect(&self.config.chain, None)?);
        let run = read_run(&client).await?;
        self.claim(&run)?;
        let learner = LearnerConfig { threads: self.config.threads(), ..learner_config(&run.hparams) };
        self.refuse_unless_fits(&learner)?;
        // A device is looked for before anything is read that takes long.
        let accelerator = self.config.place(self.role)?.accelerator(&learner, &self.config.dir)?;
        if let Some(accelerator) = &accelerator {
            tell(&Event::phase(&format!("device: {}", accelerator.describe())));
        }
        let (mut trainer, journal, standing) = self.recover(&run, accelerator)?;
        let meter = trainer.meter();
        let parameters = trainer.parameters();
        let limits = Limits::new(trainer.payload_bytes_max() + SEAL_BYTES, run.hparams.scoring.max_entries);
        let network = self.network(&run, limits, &wallet)?;
        let uid = self.register(&client, &wallet, &network).await?;
        let started = Started {
            hotkey: wallet.hotkey(),
            uid,
            address: network.endpoint.local_addr().map(|address| address.to_string()).unwrap_or_default(),
            next: standing.next,
            parameters,
        };
        tell(&Event::Started(started));
        if let Some(event) = self.recovered(&mut trainer, &standing)? {
            tell(&event);
        }
        let public = Public {
            client: Arc::clone(&client),
            wallet: Arc::clone(&wallet),
            weights_version: run.weights_version,
            inbox: Arc::clone(&network.inbox),
        };
        let _told = Background(tokio::spawn(public.clone().keep_told()));
        let (learner, exchange) = wrap(trainer, network);
        let doors: Doors<Live<L, E>> =
            Doors { chain: public, exchange, learner, journal, clock: LocalClock::default() };
        let identity = Identity { signer: wallet, verifier: Arc::new(Sr25519), role: self.role };
        let node = Node::new(doors, Rules::new(run.digest, run.hparams, limits), identity, standing);
        watch_over(node, &client, &meter, tell).await
    }

    /// Keeps a second process out of the folder for as long as the file is open.
    fn lock(&self) -> Result<File, NodeError> {
        let path = &self.config.dir;
        let folder = |source| NodeError::Folder { path: path.clone(), source };
        fs::create_dir_all(path).map_err(folder)?;
        let file = File::options().create(true).truncate(false).write(true).open(path.join("lock")).map_err(folder)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(NodeError::Busy { path: path.clone() }),
            Err(fs::TryLockError::Error(source)) => Err(folder(source)),
        }
    }

    /// Notes in the folder which run it belongs to, so that it is never used for another.
    fn claim(&self, run: &Run) -> Result<(), NodeError> {
        let path = self.config.dir.join("run");
        let folder = |source| NodeError::Folder { path: self.config.dir.clone(), source };
        match fs::read_to_string(&path) {
            Ok(text) if text.trim() == run.digest.to_string() => Ok(()),
            Ok(_) => Err(NodeError::OtherRun { path: self.config.dir.clone() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write_durably(&path, run.digest.to_string().as_bytes()).map_err(folder)
            }
            Err(error) => Err(folder(error)),
        }
    }

    fn wallet(&self) -> Result<Wallet, NodeError> {
        let path = self.config.wallet_path();
        if path.exists() {
            return Ok(Wallet::load(&path)?);
        }
        let wallet = Wallet::generate();
        wallet.save(&path)?;
        info!(path = %path.display(), "made a new wallet; keep a copy of it");
        Ok(wallet)
    }

    /// Says no before anything is allocated, since a system without memory ends processes without a word.
    fn refuse_unless_fits(&self, learner: &LearnerConfig) -> Result<(), NodeError> {
        let plan = learner.memory()?;
        let needed = self.config.memory(self.role, &plan);
        match self.memory {
            Some(available) if needed > available => Err(NodeError::Memory { needed, available, plan: Box::new(plan) }),
            _ => Ok(()),
        }
    }

    /// The learner at the newest committed window, and the journal that says so.
    fn recover(
        &self,
        run: &Run,
        accelerator: Option<Box<dyn Accelerator>>,
    ) -> Result<(Trainer, DiskJournal, Standing), NodeError> {
        let dataset = Dataset::open(&self.config.data)?;
        let found = Digest(dataset.digest());
        let expected = run.hparams.dataset;
        if found != expected {
            return Err(NodeError::OtherData { path: self.config.data.clone(), found, expected });
        }
        let mut trainer =
            Trainer::new(&run.hparams, dataset, self.role, self.config.threads(), Arc::clone(&self.keep_going))?;
        let mut journal = DiskJournal::open(&self.config.dir.join("journal"))?;
        if self.config.offload {
            journal = journal.in_foreground();
        }
        let scores = (self.role == Role::Validator).then(ScoreBook::new);
        let offload = self.config.offload && self.role == Role::Miner;
        let mut scratch = if offload { Some(self.scratch()?) } else { None };
        let mut standing = Standing { next: Window(0), previous: Digest::ZERO, scores, submitted: None };
        if let Some(recovered) = journal.recover()? {
            if recovered.damaged > 0 {
                warn!(windows = recovered.damaged, "the newest snapshot is damaged; going on from the one before");
            }
            trainer.restore(&recovered, scratch.take())?;
            standing.next = recovered.entry.next;
            standing.previous = recovered.entry.previous;
            standing.scores = recovered.scores.or(standing.scores);
            standing.submitted = recovered.submitted.filter(|_| self.role == Role::Miner);
        }
        if let Some(scratch) = scratch {
            let folder = |source| NodeError::Folder { path: self.config.dir.clone(), source };
            trainer = trainer.offloading(scratch).map_err(folder)?;
        }
        if let Some(accelerator) = accelerator {
            trainer = trainer.accelerated(accelerator)?;
        }
        Ok((trainer, journal, standing))
    }

    /// Tells of the newest window committed before the start: its own event may have been lost in the stop.
    fn recovered(&self, trainer: &mut Trainer, standing: &Standing) -> Result<Option<Event>, NodeError> {
        let Some(window) = standing.next.0.checked_sub(1) else { return Ok(None) };
        let measure = |trainer: &mut Trainer| trainer.heldout_loss().map_err(RoundError::Learner);
        let heldout_loss = if self.role == Role::Validator { Some(measure(trainer)?) } else { None };
        let event = found("recovered", window, trainer.state_digest(), &trainer.meter());
        Ok(Some(Event::Window(Box::new(WindowEvent { heldout_loss, ..event }))))
    }

    /// A file without a name: the system forgets it with the process.
    fn scratch(&self) -> Result<File, NodeError> {
        let path = self.config.dir.join("scratch");
        let folder = |source| NodeError::Folder { path: self.config.dir.clone(), source };
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&path).map_err(folder)?;
        // Where an open file cannot be removed it stays, and is emptied at the next start.
        let _ = fs::remove_file(&path);
        Ok(file)
    }

    fn network(&self, run: &Run, limits: Limits, wallet: &Arc<Wallet>) -> Result<Network, NodeError> {
        let blobs = Arc::new(BlobStore::open(self.config.dir.join("blobs"), self.config.blob_bytes_max)?);
        // Whoever announced these is gone, and the open window with it.
        blobs.drop_withheld();
        let schedule = Schedule::new(&run.hparams.time);
        let inbox = Arc::new(Inbox::new(limits, schedule, Arc::clone(&blobs)));
        let config = EndpointConfig { listen: self.config.listen, run: run.digest, limits: patience(&run.hparams) };
        let signer = Arc::clone(wallet);
        let endpoint = Endpoint::bind(config, signer, Arc::new(Sr25519), Arc::clone(&inbox) as _)?;
        Ok(Network { endpoint, inbox, blobs, hotkey: wallet.hotkey() })
    }

    /// Makes the chain know this node: its key, its address and, of a validator, its stake.
    async fn register(&self, client: &Client, wallet: &Wallet, network: &Network) -> Result<Uid, NodeError> {
        let known = self.neuron(client, wallet).await?;
        if known.is_none() {
            client.transact(wallet, Call::Register).await?;
        }
        let bound = network
            .endpoint
            .local_addr()
            .map_err(|source| BindError::Listen { address: self.config.listen, source })?;
        let address = self.config.advertise.unwrap_or(bound);
        if known.and_then(|neuron| neuron.address) != Some(address) {
            client.transact(wallet, Call::ServeAddress { address }).await?;
        }
        let staked = known.is_some_and(|neuron| neuron.stake > 0);
        if self.role == Role::Validator && !staked {
            client.transact(wallet, Call::AddStake { amount: self.config.stake }).await?;
        }
        let neuron = self.neuron(client, wallet).await?;
        Ok(neuron.map(|neuron| neuron.uid).unwrap_or_default())
    }

    async fn neuron(&self, client: &Client, wallet: &Wallet) -> Result<Option<Neuron>, NodeError> {
        let head = client.head().await?;
        let metagraph: Metagraph = client.metagraph(head.number).await?;
        Ok(metagraph.by_hotkey(&wallet.hotkey()).copied())
    }
}

/// A task that ends with its owner.
struct Background(tokio::task::JoinHandle<()>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn read_run(client: &Client) -> Result<Run, NodeError> {
    let genesis = client.genesis().await?;
    let hparams = Hparams::decode(&genesis.run, &Limits::default()).map_err(NodeError::Run)?;
    hparams.validate()?;
    let digest = run_digest(&genesis.hash(), &hparams.digest());
    Ok(Run { hparams, digest, weights_version: genesis.weights_version })
}

/// One window after the other.
async fn watch_over<L: Learner, E: Exchange>(
    mut node: Node<Live<L, E>>,
    client: &Client,
    meter: &Meter,
    tell: &mut dyn FnMut(&Event),
) -> Result<(), NodeError> {
    let mut connection = client.link();
    let mut stands = node.standing().next;
    attend(node.join(), &mut connection, tell).await?;
    loop {
        if let Some(event) = joined(&node, stands, meter) {
            tell(&Event::Window(Box::new(event)));
        }
        stands = node.standing().next;
        if let Some(report) = attend(node.advance(), &mut connection, tell).await? {
            let event = WindowEvent::new(&report, &meter.read());
            stands = if event.is_committed() { stands.next() } else { stands };
            tell(&Event::Window(Box::new(event)));
        }
    }
}

/// The window whose parameters the node took over, if it is past the one where its work has brought it.
fn joined<P: Ports>(node: &Node<P>, stood: Window, meter: &Meter) -> Option<WindowEvent> {
    let stands = node.standing().next;
    let window = stands.0.checked_sub(1).filter(|_| stands > stood)?;
    Some(found("joined", window, node.learner().state_digest(), meter))
}

/// A window that was not lived through but found, with the parameters after it.
fn found(outcome: &str, window: u64, state: Digest, meter: &Meter) -> WindowEvent {
    let (outcome, state, memory) = (outcome.to_owned(), Some(state), meter.read().memory);
    WindowEvent { window, outcome, state, memory, replayed: true, ..WindowEvent::default() }
}

/// Does `work`, and says when the chain goes and comes back meanwhile.
async fn attend<T>(
    work: impl Future<Output = T>,
    connection: &mut watch::Receiver<Link>,
    tell: &mut dyn FnMut(&Event),
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            Ok(()) = connection.changed() => {
                let away = matches!(*connection.borrow_and_update(), Link::Waiting { .. });
                tell(&Event::phase(if away { "waiting for the chain" } else { "up" }));
            }
            done = &mut work => return done,
        }
    }
}

/// How long peers are waited for, in proportion to the window.
fn patience(hparams: &Hparams) -> TransportLimits {
    let window = hparams.time.window_blocks.saturating_mul(hparams.time.block_millis);
    let share = Duration::from_millis(window / PATIENCE_SHARE).clamp(PATIENCE.0, PATIENCE.1);
    let limits = TransportLimits::default();
    TransportLimits {
        handshake_timeout: share.min(limits.handshake_timeout),
        request_timeout: share.min(limits.request_timeout),
        ..limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Device;

    #[test]
    fn what_is_too_large_is_refused_with_the_table() {
        let learner = learner_config(&Hparams::preset("micro").unwrap());
        let plan = learner.memory().unwrap();
        for (role, offload, needed) in [
            (Role::Miner, false, plan.network_bytes()),
            (Role::Miner, true, plan.offloaded_network_bytes()),
            (Role::Validator, false, plan.validator_bytes()),
        ] {
            let config = Config { offload, ..Config::of(role) };
            let within =
                |memory| Runner::new(config.clone(), role, || true).within(memory).refuse_unless_fits(&learner);
            assert!(within(None).is_ok() && within(Some(needed)).is_ok());
            let refusal = within(Some(needed - 1)).unwrap_err().to_string();
            assert!(refusal.starts_with("this node needs ") && refusal.contains(" a validator "), "{refusal}");
        }
    }

    #[test]
    fn a_device_takes_the_engines_buffers_off_this_machine() {
        let plan = learner_config(&Hparams::preset("micro").unwrap()).memory().unwrap();
        let there = |role, offload| Config { device: Device::Cuda, offload, ..Config::of(role) }.memory(role, &plan);
        assert_eq!(there(Role::Miner, false), plan.accelerated_network_bytes());
        assert_eq!(there(Role::Miner, true), plan.accelerated_bytes());
        assert_eq!(there(Role::Validator, false), plan.model.vector_bytes);
    }
}
