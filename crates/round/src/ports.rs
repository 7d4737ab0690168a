//! The five doors through which a round touches the world.
//!
//! A node fills them with a network, a chain client, a trainer and a disk; the simulator fills them with virtual ones.
//! The futures need not be `Send`: a round runs on one task.
#![expect(async_fn_in_trait, reason = "a round is one task on one thread, so its futures need no Send bound")]

use std::io::{self, Write};

use pactum_protocol::{
    BlockNumber, Digest, Hotkey, Ineligible, Malformation, Metagraph, Neuron, Proposal, Record, SignedHeader,
    Timestamp, Uid, Window, WindowPlan,
};

/// What a port reports when it cannot go on; the round stops with it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// All five ports, with one type each.
pub trait Ports {
    /// The public record.
    type Chain: Chain;
    /// The network of peers.
    type Exchange: Exchange;
    /// What happens to the parameters.
    type Learner: Learner;
    /// The disk.
    type Journal: Journal;
    /// Local time.
    type Clock: Clock;
}

/// The newest block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its height.
    pub block: BlockNumber,
    /// The time it carries.
    pub time: Timestamp,
}

/// What became of a transaction that the round may do without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The chain took it.
    Taken,
    /// The chain refused it, and why.
    Refused(String),
}

/// The public record. An implementation waits while the chain is away; an error ends the node.
pub trait Chain {
    /// The newest block.
    async fn head(&self) -> Result<Head, BoxError>;

    /// Waits for a head at or past `block`.
    async fn until(&self, block: BlockNumber) -> Result<Head, BoxError>;

    /// The hash of `block`, which the head has reached.
    async fn block_hash(&self, block: BlockNumber) -> Result<Digest, BoxError>;

    /// Who takes part, as of `block`.
    async fn metagraph(&self, block: BlockNumber) -> Result<Metagraph, BoxError>;

    /// What decides the manifest of the plan's window: all of it as of `plan.attest_by`.
    async fn record(&self, plan: &WindowPlan) -> Result<Record, BoxError>;

    /// Commits this validator to a manifest.
    async fn attest(&self, window: Window, manifest: Digest) -> Result<Receipt, BoxError>;

    /// Sets this validator's weights.
    async fn set_weights(&self, weights: &[(Uid, u16)]) -> Result<Receipt, BoxError>;
}

/// A header as a validator received it.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// What the miner signed.
    pub header: SignedHeader,
    /// The newest block when it came.
    pub arrived: BlockNumber,
}

/// Something sent as a header that can count in no window. Who sent it is known by the connection it came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Who sent it.
    pub hotkey: Hotkey,
    /// Why it cannot count.
    pub why: Ineligible,
}

/// The network of peers. Nothing that a peer does is an error here: it is an absence.
pub trait Exchange {
    /// Keeps `payload`, withheld from everybody, and delivers its header to `validators`. Returns how many took it.
    async fn submit(&self, header: &SignedHeader, payload: Vec<u8>, validators: &[Neuron]) -> usize;

    /// Serves the withheld `payload` from now on.
    async fn reveal(&self, payload: &Digest);

    /// The headers received for `window`, in order of arrival.
    fn submissions(&self, window: Window) -> Vec<Submission>;

    /// What has come since this was last asked that can count in no window, at most one of each peer.
    fn strays(&self) -> Vec<Stray>;

    /// Sends a proposal to other validators.
    async fn propose(&self, proposal: &Proposal, to: &[Neuron]);

    /// The proposals received for `window`, in order of arrival.
    fn proposals(&self, window: Window) -> Vec<Proposal>;

    /// The blob named `digest`, if this node has it.
    async fn local(&self, digest: &Digest) -> Option<Vec<u8>>;

    /// Asks `from` for the blob named `digest`, of at most `bytes_max` bytes. `None` if it cannot be had from there.
    async fn fetch(&self, from: &Neuron, digest: &Digest, bytes_max: u64) -> Option<Vec<u8>>;

    /// Keeps a public blob and serves it to others.
    async fn keep(&self, blob: Vec<u8>);
}

/// What a miner trains on in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainJob {
    /// The window.
    pub window: Window,
    /// Whose samples.
    pub uid: Uid,
    /// The hash of the window's first block, which assigns the samples.
    pub seed: Digest,
}

/// What the inner steps came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct InnerReport {
    /// Steps made; fewer than H when time ran out.
    pub steps: u32,
    /// Sequences trained on.
    pub samples: u32,
    /// Mean loss over the steps, in nats per token.
    pub loss: f32,
}

/// Whom to judge, and on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgeJob {
    /// The window.
    pub window: Window,
    /// Whose contribution.
    pub uid: Uid,
    /// The hash of the window's first block, which assigned the samples.
    pub assigned: Digest,
    /// The hash of a block after `submit_by`, which draws the samples to judge on.
    pub draw: Digest,
}

/// The losses of the same sequences without and with one contribution, in nats per token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// On samples that the miner was assigned: (before, after).
    pub assigned: Vec<(f32, f32)>,
    /// On samples that nobody was assigned: (before, after).
    pub unassigned: Vec<(f32, f32)>,
}

/// What becomes of this node's own pending contribution when a window commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// It made none in this window: error feedback stays as it is.
    Nothing,
    /// The manifest names it: error feedback keeps only what was not sent.
    Included,
    /// The manifest leaves it out: error feedback keeps all of it.
    LeftOut,
}

/// What happens to the parameters. All calls are plain: training holds the round's task, never the network's.
pub trait Learner {
    /// A decoded payload.
    type Update;

    /// Makes up to H inner steps on a working copy, as long as `keep_going` says so.
    fn train(&mut self, job: &TrainJob, keep_going: &mut dyn FnMut() -> bool) -> Result<InnerReport, BoxError>;

    /// The payload of the last training, `None` if no step was made.
    fn payload(&mut self) -> Option<Vec<u8>>;

    /// Decodes a stranger's payload, or says what is wrong with it.
    fn decode(&self, payload: &[u8]) -> Result<Self::Update, Malformation>;

    /// The share of the smaller update's coordinates that the other one also names, in 0..=1.
    fn overlap(&self, one: &Self::Update, other: &Self::Update) -> f64;

    /// BLAKE3 over chunks of the committed parameters chosen by `seed`.
    fn probe(&self, seed: &Digest) -> Digest;

    /// Judges one contribution, scaled down as in the aggregate of all contributions of its window, `among`. The
    /// committed parameters keep their bits.
    fn judge(&mut self, job: &JudgeJob, update: &Self::Update, among: &[&Self::Update]) -> Result<Evidence, BoxError>;

    /// The outer step over `updates` with their weights, in the order given, and the start of window `next`.
    /// An empty list changes no parameter. Returns the tensors left alone since their aggregate was not finite.
    fn apply(&mut self, updates: &[(f32, &Self::Update)], own: Own, next: Window) -> Result<Vec<usize>, BoxError>;

    /// The mean loss on held-out samples, in nats per token.
    fn heldout_loss(&mut self) -> Result<f32, BoxError>;

    /// The digest of [`Learner::checkpoint`].
    fn state_digest(&self) -> Digest;

    /// The committed parameters as a blob.
    fn checkpoint(&self) -> Vec<u8>;

    /// How long a checkpoint is, in bytes.
    fn checkpoint_bytes(&self) -> u64;

    /// Takes over a verified checkpoint as the parameters at the start of `window`.
    fn adopt(&mut self, window: Window, checkpoint: &[u8]) -> Result<(), BoxError>;

    /// Everything needed to go on after a restart, with the payload of the open window, if there is one.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, BoxError>;
}

/// A learner's state at one moment, which can be written while the learner goes on.
pub trait Snapshot: Send {
    /// Writes it.
    ///
    /// # Errors
    /// If `out` fails.
    fn write(&self, out: &mut dyn Write) -> io::Result<()>;
}

impl Snapshot for Vec<u8> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self)
    }
}

/// One committed window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The first window that is not committed yet.
    pub next: Window,
    /// The newest manifest applied.
    pub previous: Digest,
    /// The digest of the parameters at the start of `next`.
    pub state: Digest,
}

/// A payload that a miner submitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Submitted {
    /// In which window.
    pub window: Window,
    /// Its digest.
    pub payload: Digest,
    /// The training that it came from.
    pub inner: InnerReport,
}

/// The disk. What it is given may become durable while the node goes on, in the order given, each whole or absent after a
/// crash; neither method returns before all that was given earlier is durable.
///
/// So a crash costs the open window at most. Whatever a miner alone knows of a window is given by [`Journal::prepare`], which
/// the commit waits for; if the commit itself is lost, what was prepared and the public record make it again.
pub trait Journal {
    /// Notes that the window at which the node stands has a payload, with the learner's snapshot that holds it.
    fn prepare(&mut self, entry: &Entry, submitted: &Submitted, snapshot: Box<dyn Snapshot>) -> Result<(), BoxError>;

    /// Makes `entry` the newest, with the learner's snapshot and, on a validator, the score book, which nothing could make
    /// again: it is durable when this returns.
    fn commit(
        &mut self,
        entry: &Entry,
        snapshot: Box<dyn Snapshot>,
        scores: Option<&pactum_scoring::ScoreBook>,
    ) -> Result<(), BoxError>;
}

/// Local time.
pub trait Clock {
    /// Milliseconds of local time. Only differences are used.
    fn now(&self) -> Timestamp;

    /// Waits until local time reaches `when`.
    async fn sleep_until(&self, when: Timestamp);
}
