//! A node over windows: where it stands, and what it does next.

use std::sync::Arc;

use pactum_protocol::{
    Digest, Hotkey, Hparams, Limits, Metagraph, Schedule, Sign, Timestamp, Uid, Verify, Window, WindowPlan,
};
use pactum_scoring::ScoreBook;

use crate::follow::{Step, follow};
use crate::ports::{BoxError, Chain, Clock, Entry, Head, Ports, Submitted};
use crate::report::{Outcome, WindowReport};
use crate::validator::Recent;

/// Why a round cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoundError {
    /// The chain cannot be used any more.
    #[error("the chain cannot be used")]
    Chain(#[source] BoxError),
    /// The learner failed.
    #[error("the learner failed")]
    Learner(#[source] BoxError),
    /// A window could not be made durable.
    #[error("the window could not be written to the journal")]
    Journal(#[source] BoxError),
}

/// What a node does in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Trains and submits.
    Miner,
    /// Checks, attests and scores.
    Validator,
}

/// What every node of a run agrees on.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The run's name: whatever all its nodes derive alike from the chain and the settings.
    pub run: Digest,
    /// The digest of `hparams`.
    pub digest: Digest,
    /// The consensus settings.
    pub hparams: Hparams,
    /// The windows.
    pub schedule: Schedule,
    /// The bounds on what strangers send.
    pub limits: Limits,
}

impl Rules {
    /// The rules of the run named `run` under `hparams`, with `limits` for this model.
    #[must_use]
    pub fn new(run: Digest, hparams: Hparams, limits: Limits) -> Self {
        Self { run, digest: hparams.digest(), schedule: Schedule::new(&hparams.time), hparams, limits }
    }

    pub(crate) fn blocks_millis(&self, blocks: u64) -> u64 {
        blocks.saturating_mul(self.hparams.time.block_millis)
    }

    pub(crate) fn has_checkpoint(&self, window: Window) -> bool {
        let every = u64::from(self.hparams.scoring.checkpoint_every.max(1));
        window.0 > 0 && window.0.is_multiple_of(every)
    }
}

/// Who this node is.
#[derive(Clone)]
pub struct Identity {
    /// Signs for this node's hotkey.
    pub signer: Arc<dyn Sign + Send + Sync>,
    /// Tells whether other nodes' signatures are true.
    pub verifier: Arc<dyn Verify + Send + Sync>,
    /// What the node does.
    pub role: Role,
}

/// Where a node stands between windows.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The first window that is not committed.
    pub next: Window,
    /// The newest manifest applied, [`Digest::ZERO`] before the first.
    pub previous: Digest,
    /// A validator's score book.
    pub scores: Option<ScoreBook>,
    /// A miner's payload of the window `next`, which its learner holds.
    pub submitted: Option<Submitted>,
}

/// The doors of a node, filled.
#[derive(Debug)]
pub struct Doors<P: Ports> {
    /// The public record.
    pub chain: P::Chain,
    /// The network of peers.
    pub exchange: P::Exchange,
    /// What happens to the parameters.
    pub learner: P::Learner,
    /// The disk.
    pub journal: P::Journal,
    /// Local time.
    pub clock: P::Clock,
}

/// A miner or a validator.
///
/// Dropping the future of any of its methods, at any await, loses at most the open window.
pub struct Node<P: Ports> {
    pub(crate) doors: Doors<P>,
    pub(crate) rules: Rules,
    pub(crate) identity: Identity,
    pub(crate) standing: Standing,
    /// The payload this node submitted, and in which window, until that window commits.
    pub(crate) submitted: Option<Submitted>,
    pub(crate) recent: Recent<<P::Learner as crate::ports::Learner>::Update>,
}

/// The public facts that a window opens with.
pub(crate) struct Opening {
    pub(crate) metagraph: Metagraph,
    pub(crate) seed: Digest,
    pub(crate) head: Head,
    pub(crate) opened: Timestamp,
}

impl<P: Ports> Node<P> {
    /// A node that stands at `standing` and whose learner holds the parameters of that window's start.
    pub fn new(doors: Doors<P>, rules: Rules, identity: Identity, standing: Standing) -> Self {
        let submitted = standing.submitted;
        Self { doors, rules, identity, standing, submitted, recent: Recent::default() }
    }

    /// Where the node stands.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The learner, for reading.
    pub fn learner(&self) -> &P::Learner {
        &self.doors.learner
    }

    /// Does the next thing there is to do and returns the report of a window if one ended.
    ///
    /// # Errors
    /// [`RoundError`] when a port of this node's own cannot go on; never by anything that a peer does.
    pub async fn advance(&mut self) -> Result<Option<WindowReport>, RoundError> {
        let head = self.doors.chain.head().await.map_err(RoundError::Chain)?;
        let report = match follow(&self.rules.schedule, self.standing.next, head.block) {
            Step::Wait(block) => {
                self.doors.chain.until(block).await.map_err(RoundError::Chain)?;
                return Ok(None);
            }
            Step::Run(plan) if self.identity.role == Role::Miner => self.mine(&plan).await?,
            Step::Run(plan) => self.validate(&plan).await?,
            Step::Replay(plan) => self.replay(&plan, head).await?,
        };
        Ok(Some(report))
    }

    async fn replay(&mut self, plan: &WindowPlan, head: Head) -> Result<WindowReport, RoundError> {
        let deadline = self.doors.clock.now().after(self.rules.blocks_millis(self.rules.hparams.time.window_blocks));
        let mut report = self.report(plan.window);
        report.replayed = true;
        let settled = self.decide(plan, deadline).await?;
        self.close(plan, settled, &mut report).await?;
        self.measure(&mut report)?;
        if matches!(report.outcome, Outcome::Incomplete(_)) {
            // Whoever holds what is missing may be back a block later; or nobody will be, and a checkpoint has to do.
            let next = pactum_protocol::BlockNumber(head.block.0.saturating_add(1));
            self.doors.chain.until(next).await.map_err(RoundError::Chain)?;
            self.join().await?;
        }
        Ok(report)
    }

    /// A validator measures the loss after every window, however it got through it.
    pub(crate) fn measure(&mut self, report: &mut WindowReport) -> Result<(), RoundError> {
        use crate::ports::Learner;
        if self.identity.role == Role::Validator && !matches!(report.outcome, Outcome::Incomplete(_)) {
            report.heldout_loss = Some(self.doors.learner.heldout_loss().map_err(RoundError::Learner)?);
        }
        Ok(())
    }

    pub(crate) fn report(&self, window: Window) -> WindowReport {
        use crate::ports::Learner;
        WindowReport::new(window, self.doors.learner.state_digest())
    }

    pub(crate) async fn open(&self, plan: &WindowPlan) -> Result<Opening, RoundError> {
        let chain = &self.doors.chain;
        let head = chain.head().await.map_err(RoundError::Chain)?;
        let opened = self.doors.clock.now();
        let metagraph = chain.metagraph(plan.first).await.map_err(RoundError::Chain)?;
        let seed = chain.block_hash(plan.first).await.map_err(RoundError::Chain)?;
        self.offer_checkpoint(plan.window).await;
        Ok(Opening { metagraph, seed, head, opened })
    }

    pub(crate) fn uid_in(&self, metagraph: &Metagraph) -> Option<Uid> {
        metagraph.by_hotkey(&self.hotkey()).map(|neuron| neuron.uid)
    }

    pub(crate) fn hotkey(&self) -> Hotkey {
        self.identity.signer.hotkey()
    }

    /// The local time at which `block` is due, as seen from an opening.
    pub(crate) fn due(&self, opening: &Opening, block: pactum_protocol::BlockNumber) -> Timestamp {
        opening.opened.after(self.rules.blocks_millis(block.0.saturating_sub(opening.head.block.0)))
    }

    async fn offer_checkpoint(&self, window: Window) {
        use crate::ports::{Exchange, Learner};
        if self.rules.has_checkpoint(window) {
            self.doors.exchange.keep(self.doors.learner.checkpoint()).await;
        }
    }

    pub(crate) fn commit(&mut self, next: Window, previous: Digest) -> Result<Entry, RoundError> {
        use crate::ports::{Journal, Learner};
        let entry = Entry { next, previous, state: self.doors.learner.state_digest() };
        let snapshot = self.doors.learner.snapshot().map_err(RoundError::Learner)?;
        self.doors.journal.commit(&entry, snapshot, self.standing.scores.as_ref()).map_err(RoundError::Journal)?;
        self.standing.next = next;
        self.standing.previous = previous;
        self.standing.submitted = None;
        Ok(entry)
    }

    /// Has what the open window's training came to written down before anybody is told of it.
    pub(crate) fn prepare(&mut self, submitted: Submitted) -> Result<(), RoundError> {
        use crate::ports::{Journal, Learner};
        let Standing { next, previous, .. } = self.standing;
        let entry = Entry { next, previous, state: self.doors.learner.state_digest() };
        let snapshot = self.doors.learner.snapshot().map_err(RoundError::Learner)?;
        self.doors.journal.prepare(&entry, &submitted, snapshot).map_err(RoundError::Journal)?;
        self.standing.submitted = Some(submitted);
        self.submitted = Some(submitted);
        Ok(())
    }
}
