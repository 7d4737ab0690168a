//! The end of a window, the same for miners and validators: the chain's verdict, its payloads, the outer step.

use std::collections::BTreeMap;

use pactum_protocol::{
    Digest, Entry as ManifestEntry, Malformation, Manifest, Metagraph, Timestamp, Uid, Unfetched, Want, WindowPlan,
    verdict,
};

use crate::gather::{Until, drive};
use crate::node::{Node, Role, RoundError};
use crate::ports::{Chain, Clock, Exchange, Learner, Own, Ports};
use crate::report::{Outcome, WindowReport};
use crate::seal::unseal;

/// How many sources in turn may let a window's gathering down.
const ATTEMPTS_PER_WINDOW: u64 = 10;

/// What the chain decided for a window, and whatever of it could be had.
pub(crate) enum Decision<U> {
    /// No manifest.
    Empty,
    /// A manifest that does not fit the record.
    Void(Digest, &'static str),
    /// Not all of it could be fetched.
    Incomplete(Digest, Vec<Unfetched>),
    /// The manifest and its contributions.
    Whole(Whole<U>),
}

/// A manifest whose contributions are all here.
pub(crate) struct Whole<U> {
    pub(crate) digest: Digest,
    pub(crate) manifest: Manifest,
    /// Decoded, in uid order.
    pub(crate) updates: Vec<(ManifestEntry, U)>,
    /// Refused by every node alike.
    pub(crate) malformed: Vec<(Uid, Malformation)>,
}

/// How often a block what could not be had is asked for again.
const PAUSES_PER_BLOCK: u64 = 4;

type UpdateOf<P> = <<P as Ports>::Learner as Learner>::Update;

impl<P: Ports> Node<P> {
    /// Reads the verdict of a window whose `attest_by` has passed and gathers what it names, until `deadline`.
    pub(crate) async fn decide(
        &self,
        plan: &WindowPlan,
        deadline: Timestamp,
    ) -> Result<Decision<UpdateOf<P>>, RoundError> {
        let record = self.doors.chain.record(plan).await.map_err(RoundError::Chain)?;
        let Some(digest) = verdict(plan.window, plan, &record) else { return Ok(Decision::Empty) };
        let manifest = match self.manifest(digest, &record.metagraph, deadline).await {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return Ok(Decision::Void(digest, "the manifest is malformed")),
            Err(unfetched) => return Ok(Decision::Incomplete(digest, unfetched)),
        };
        if manifest.run != self.rules.run || manifest.window != plan.window {
            return Ok(Decision::Void(digest, "the manifest belongs to another run or window"));
        }
        if manifest.previous != self.standing.previous {
            return Ok(Decision::Void(digest, "the manifest does not follow the one before it"));
        }
        let wants = manifest.entries.iter().map(|entry| self.want(entry, &record.metagraph)).collect();
        let (payloads, unfetched) = self.gather(wants, &record.metagraph, deadline).await;
        if !unfetched.is_empty() {
            return Ok(Decision::Incomplete(digest, unfetched));
        }
        Ok(Decision::Whole(self.decode_all(digest, manifest, payloads).await))
    }

    /// The manifest named `digest`; `None` if those bytes are not a manifest.
    pub(crate) async fn manifest(
        &self,
        digest: Digest,
        metagraph: &Metagraph,
        deadline: Timestamp,
    ) -> Result<Option<Manifest>, Vec<Unfetched>> {
        let bytes = self.rules.limits.manifest_bytes_max as u64;
        let want = Want { digest, bytes, sources: self.sources(None, metagraph) };
        let (mut blobs, unfetched) = self.gather(vec![want], metagraph, deadline).await;
        let Some(bytes) = blobs.remove(&digest) else { return Err(unfetched) };
        let manifest = Manifest::decode(&bytes, &self.rules.limits).ok();
        self.doors.exchange.keep(bytes).await;
        Ok(manifest)
    }

    fn want(&self, entry: &ManifestEntry, metagraph: &Metagraph) -> Want {
        Want { digest: entry.payload, bytes: entry.bytes, sources: self.sources(Some(entry.uid), metagraph) }
    }

    /// Whom to ask for a blob: its owner first, if it has one, then the validators, then anybody.
    pub(crate) fn sources(&self, owner: Option<Uid>, metagraph: &Metagraph) -> Vec<Uid> {
        let own = self.uid_in(metagraph);
        let validators = metagraph.validators().into_iter().map(|neuron| neuron.uid);
        let anybody = metagraph.neurons.iter().map(|neuron| neuron.uid);
        let mut sources: Vec<Uid> = Vec::with_capacity(metagraph.neurons.len());
        for uid in owner.into_iter().chain(validators).chain(anybody) {
            if own != Some(uid) && !sources.contains(&uid) {
                sources.push(uid);
            }
        }
        sources
    }

    /// Fetches `wants`, from this node's own store first.
    pub(crate) async fn gather(
        &self,
        wants: Vec<Want>,
        metagraph: &Metagraph,
        deadline: Timestamp,
    ) -> (BTreeMap<Digest, Vec<u8>>, Vec<Unfetched>) {
        let mut here = BTreeMap::new();
        let mut missing = Vec::new();
        for want in wants {
            match self.doors.exchange.local(&want.digest).await {
                Some(bytes) => drop(here.insert(want.digest, bytes)),
                None => missing.push(want),
            }
        }
        let time = &self.rules.hparams.time;
        // Nor may one source use up the time there is, where that is short.
        let left = deadline.0.saturating_sub(self.doors.clock.now().0);
        let share = self.rules.blocks_millis(time.window_blocks) / ATTEMPTS_PER_WINDOW;
        let attempt_millis = share.min(left / 3).max(1);
        let until = Until { deadline, attempt_millis };
        // Nodes see a block at different times: whoever withholds now may serve a moment later.
        let pause = (self.rules.blocks_millis(1) / PAUSES_PER_BLOCK).max(1);
        loop {
            let (mut fetched, unfetched) =
                drive(&self.doors.exchange, &self.doors.clock, metagraph, &missing, until).await;
            here.append(&mut fetched);
            let again = self.doors.clock.now().after(pause);
            if unfetched.is_empty() || again >= deadline {
                return (here, unfetched);
            }
            missing.retain(|want| unfetched.iter().any(|lost| lost.digest == want.digest));
            self.doors.clock.sleep_until(again).await;
        }
    }

    async fn decode_all(
        &self,
        digest: Digest,
        manifest: Manifest,
        mut payloads: BTreeMap<Digest, Vec<u8>>,
    ) -> Whole<UpdateOf<P>> {
        let mut updates = Vec::with_capacity(manifest.entries.len());
        let mut malformed = Vec::new();
        for entry in &manifest.entries {
            let Some(bytes) = payloads.remove(&entry.payload) else { continue };
            match unseal(&entry.hotkey, &bytes).and_then(|payload| self.doors.learner.decode(payload)) {
                Ok(update) => updates.push((*entry, update)),
                Err(reason) => malformed.push((entry.uid, reason)),
            }
            // Whoever replays this window later may ask this node.
            self.doors.exchange.keep(bytes).await;
        }
        Whole { digest, manifest, updates, malformed }
    }

    /// Applies a decision and commits the window, or leaves it open if something is missing.
    pub(crate) async fn close(
        &mut self,
        plan: &WindowPlan,
        decision: Decision<UpdateOf<P>>,
        report: &mut WindowReport,
    ) -> Result<(), RoundError> {
        let previous = self.standing.previous;
        match decision {
            Decision::Incomplete(digest, unfetched) => {
                report.manifest = Some(digest);
                report.outcome = Outcome::Incomplete(unfetched);
                return Ok(());
            }
            Decision::Empty => self.conclude(plan, &[], previous, report)?,
            Decision::Void(digest, why) => {
                report.manifest = Some(digest);
                self.conclude(plan, &[], previous, report)?;
                report.outcome = Outcome::Void(why);
            }
            Decision::Whole(whole) => self.conclude_whole(plan, whole, report)?,
        }
        Ok(())
    }

    fn conclude_whole(
        &mut self,
        plan: &WindowPlan,
        whole: Whole<UpdateOf<P>>,
        report: &mut WindowReport,
    ) -> Result<(), RoundError> {
        let own = self.submitted.filter(|own| own.window == plan.window).map(|own| own.payload);
        report.manifest = Some(whole.digest);
        report.included = own.is_some_and(|own| whole.updates.iter().any(|(entry, _)| entry.payload == own));
        report.malformed = whole.malformed;
        let updates: Vec<_> = whole.updates.iter().map(|(entry, update)| (entry.weight, update)).collect();
        self.conclude(plan, &updates, whole.digest, report)?;
        if self.identity.role == Role::Validator {
            self.recent.remember(plan.window, whole.updates);
        }
        Ok(())
    }

    /// The one point at which committed state changes.
    fn conclude(
        &mut self,
        plan: &WindowPlan,
        updates: &[(f32, &UpdateOf<P>)],
        previous: Digest,
        report: &mut WindowReport,
    ) -> Result<(), RoundError> {
        let own = match self.submitted.take_if(|own| own.window <= plan.window) {
            Some(own) if own.window < plan.window => Own::Nothing,
            None => Own::Nothing,
            Some(_) if report.included => Own::Included,
            Some(_) => Own::LeftOut,
        };
        let next = plan.window.next();
        report.skipped = self.doors.learner.apply(updates, own, next).map_err(RoundError::Learner)?;
        report.outcome = if updates.is_empty() { Outcome::Empty } else { Outcome::Applied { peers: updates.len() } };
        report.state = self.commit(next, previous)?.state;
        Ok(())
    }
}
