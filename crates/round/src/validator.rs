//! A validator's window: wait, collect, agree, gather, score, apply, commit.

use std::collections::{BTreeSet, VecDeque};

use futures_util::future::join;
use pactum_protocol::{
    BlockNumber, Digest, Draft, Entry, Manifest, Proposal, SignedHeader, Uid, Window, WindowPlan, proposers,
};

use crate::collect::Collected;
use crate::node::{Node, Opening, RoundError};
use crate::ports::{Chain, Clock, Exchange, Learner, Ports, Receipt};
use crate::report::WindowReport;
use crate::score::unscored;
use crate::settle::Decision;

/// For how many windows a validator remembers updates, to find old ones sent again a little changed.
const REMEMBERED: usize = 3;

/// How many payloads a validator remembers by their digest, to find old ones sent again as they were.
const DIGESTS: usize = 1 << 16;

/// How often a block a validator looks for proposals.
const LOOKS_PER_BLOCK: u64 = 4;

type UpdateOf<P> = <<P as Ports>::Learner as Learner>::Update;

/// The updates of the last windows.
#[derive(Debug)]
pub(crate) struct Recent<U> {
    windows: VecDeque<(Window, Vec<(Entry, U)>)>,
    payloads: BTreeSet<Digest>,
    /// The same in order of age.
    order: VecDeque<Digest>,
}

impl<U> Default for Recent<U> {
    fn default() -> Self {
        Self { windows: VecDeque::new(), payloads: BTreeSet::new(), order: VecDeque::new() }
    }
}

impl<U> Recent<U> {
    pub(crate) fn remember(&mut self, window: Window, updates: Vec<(Entry, U)>) {
        for (entry, _) in &updates {
            if self.payloads.insert(entry.payload) {
                self.order.push_back(entry.payload);
            }
        }
        while self.order.len() > DIGESTS {
            self.order.pop_front().map(|oldest| self.payloads.remove(&oldest));
        }
        self.windows.push_back((window, updates));
        if self.windows.len() > REMEMBERED {
            self.windows.pop_front();
        }
    }

    /// The payloads of earlier windows, as far back as is remembered.
    pub(crate) fn payloads(&self) -> &BTreeSet<Digest> {
        &self.payloads
    }

    /// Every update of the earlier windows that are remembered.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Window, &Entry, &U)> {
        self.windows.iter().flat_map(|(window, updates)| updates.iter().map(|(entry, update)| (*window, entry, update)))
    }
}

impl<P: Ports> Node<P> {
    pub(crate) async fn validate(&mut self, plan: &WindowPlan) -> Result<WindowReport, RoundError> {
        let mut report = self.report(plan.window);
        let opening = self.open(plan).await?;
        self.reach(plan.submit_by).await?;
        let seed = self.doors.chain.block_hash(plan.submit_by).await.map_err(RoundError::Chain)?;
        let mut collected = self.collect(plan, &opening).await;
        report.attested = self.agree(plan, &opening, seed, &collected).await?;
        self.reach(plan.attest_by).await?;
        let decision = self.decide(plan, self.due(&opening, plan.end)).await?;
        self.note_rest(plan, &opening, &mut collected);
        report.submissions = match &decision {
            Decision::Whole(whole) => self.score(plan, &opening, &collected, whole)?,
            _ => unscored(&collected),
        };
        self.close(plan, decision, &mut report).await?;
        self.measure(&mut report)?;
        report.weights = self.set_weights(plan, &opening).await?;
        Ok(report)
    }

    /// Attests to the first proposal that holds, this node's own once its turn has come.
    async fn agree(
        &self,
        plan: &WindowPlan,
        opening: &Opening,
        seed: Digest,
        collected: &Collected<UpdateOf<P>>,
    ) -> Result<Option<Receipt>, RoundError> {
        let ranks = proposers(&seed, &opening.metagraph);
        let own = self.uid_in(&opening.metagraph);
        let Some(rank) = ranks.iter().position(|uid| Some(*uid) == own) else { return Ok(None) };
        let mut looked_at = BTreeSet::new();
        loop {
            let head = self.doors.chain.head().await.map_err(RoundError::Chain)?;
            if head.block >= plan.attest_by {
                return Ok(None);
            }
            let mut proposals = self.doors.exchange.proposals(plan.window);
            // Who speaks before its turn is heard when that comes.
            proposals.retain(|one| turn_of(plan, &ranks, one.proposer).is_some_and(|turn| head.block >= turn));
            proposals.retain(|one| looked_at.insert(one.hotkey));
            proposals.sort_by_key(|one| turn_of(plan, &ranks, one.proposer));
            if let Some(proposal) = self.first_good(proposals, plan, opening, (seed, collected)).await {
                return self.attest(&proposal.manifest).await.map(Some);
            }
            if head.block >= turn(plan, rank) {
                let proposal = self.proposal(plan, ranks[rank], seed, collected);
                let others: Vec<_> = opening.metagraph.validators().into_iter().cloned().collect();
                let told = self.doors.exchange.propose(&proposal, &others);
                let (receipt, ()) = join(self.attest(&proposal.manifest), told).await;
                return receipt.map(Some);
            }
            let look = self.rules.blocks_millis(1) / LOOKS_PER_BLOCK;
            self.doors.clock.sleep_until(self.doors.clock.now().after(look.max(1))).await;
        }
    }

    async fn first_good(
        &self,
        proposals: Vec<Proposal>,
        plan: &WindowPlan,
        opening: &Opening,
        known: (Digest, &Collected<UpdateOf<P>>),
    ) -> Option<Proposal> {
        for proposal in proposals {
            if self.acceptable(&proposal, plan, opening, known).await {
                return Some(proposal);
            }
        }
        None
    }

    async fn attest(&self, manifest: &Manifest) -> Result<Receipt, RoundError> {
        let bytes = manifest.encode();
        let digest = Digest::of(&bytes);
        self.doors.exchange.keep(bytes).await;
        self.doors.chain.attest(manifest.window, digest).await.map_err(RoundError::Chain)
    }

    fn proposal(&self, plan: &WindowPlan, proposer: Uid, seed: Digest, collected: &Collected<UpdateOf<P>>) -> Proposal {
        let mut headers: Vec<SignedHeader> = collected.accepted.iter().map(|accepted| accepted.header).collect();
        // Where there is not room for all, chance decides, and not who lives nearest.
        let place = |header: &SignedHeader| Digest::derive("pactum 1 room", &[&seed.0, &header.hotkey.0]);
        headers.sort_by_cached_key(place);
        let manifest = self.manifest_of(plan, seed, &headers);
        Proposal::sign(manifest, &headers, proposer, &*self.identity.signer)
    }

    /// The manifest that these headers make, each with the same weight: all that a proposer may choose is whose.
    pub(crate) fn manifest_of(&self, plan: &WindowPlan, seed: Digest, headers: &[SignedHeader]) -> Manifest {
        let mut draft = self.draft(plan, seed);
        headers.iter().for_each(|header| draft.accept(header, 1.0));
        draft.build(self.rules.hparams.scoring.max_entries)
    }

    /// The manifest of the window as far as the record decides it.
    fn draft(&self, plan: &WindowPlan, seed: Digest) -> Draft {
        let draft = Draft::new(self.rules.run, plan.window, self.standing.previous, seed);
        if self.rules.has_checkpoint(plan.window) {
            draft.with_checkpoint(self.doors.learner.state_digest())
        } else {
            draft
        }
    }
}

/// The block from which the proposer of this rank may speak, so that a dead one costs a third of the time.
fn turn(plan: &WindowPlan, rank: usize) -> BlockNumber {
    let span = plan.attest_by.0.saturating_sub(plan.submit_by.0);
    let rank = u64::try_from(rank).unwrap_or(u64::MAX);
    BlockNumber(plan.submit_by.0.saturating_add((span / 3).max(1).saturating_mul(rank)))
}

/// From when the proposal of this uid is heard; never if it is no proposer.
fn turn_of(plan: &WindowPlan, ranks: &[Uid], uid: Uid) -> Option<BlockNumber> {
    ranks.iter().position(|other| *other == uid).map(|rank| turn(plan, rank))
}
