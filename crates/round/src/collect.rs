//! A validator's fast checks: which submissions of a window are good, and what is wrong with the others.

use std::collections::{BTreeMap, BTreeSet};

use pactum_protocol::{
    Digest, HeaderRules, Hotkey, Ineligible, Metagraph, Proposal, Reveal, SignedHeader, Uid, VERSION, Want, WindowPlan,
    judge_header, judge_payload, judge_probe, judge_replays, probe_seed,
};

use pactum_scoring::{Overlap, Penalty, judge_overlaps};

use crate::node::{Node, Opening};
use crate::ports::{Clock, Exchange, Learner, Ports, Stray, Submission};
use crate::seal::unseal;

/// A submission that passed every check.
pub(crate) struct Accepted<U> {
    pub(crate) header: SignedHeader,
    pub(crate) update: U,
}

/// A submission that did not.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) uid: Uid,
    pub(crate) hotkey: Hotkey,
    pub(crate) payload_bytes: u64,
    pub(crate) why: Refusal,
}

/// Why: by the public record, or for a local reason that must never change an aggregate.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    Ineligible(Ineligible),
    Unfetched,
}

/// The result of the fast checks.
pub(crate) struct Collected<U> {
    pub(crate) accepted: Vec<Accepted<U>>,
    pub(crate) refused: Vec<Refused>,
}

type UpdateOf<P> = <<P as Ports>::Learner as Learner>::Update;

impl<P: Ports> Node<P> {
    /// Checks the headers that came in time, fetches their payloads and decodes them.
    pub(crate) async fn collect(&self, plan: &WindowPlan, opening: &Opening) -> Collected<UpdateOf<P>> {
        let mut refused = Vec::new();
        let mut headers = Vec::new();
        let mut seen = BTreeSet::new();
        for submission in self.doors.exchange.submissions(plan.window) {
            // The first header of a hotkey counts; it cannot take it back.
            if !seen.insert(submission.header.hotkey) {
                continue;
            }
            match self.judge(&submission, plan, opening) {
                Ok(()) => headers.push(submission.header),
                Err(why) => refused.extend(Refused::by(&submission.header, why, &opening.metagraph)),
            }
        }
        // Over before the turn of the second in rank, so that whoever withholds does not make two propose at once.
        let quarter = self.rules.blocks_millis(plan.attest_by.0.saturating_sub(plan.submit_by.0)) / 4;
        let (accepted, mut bad) = self.fetch_all(headers, opening, quarter, None).await;
        refused.append(&mut bad);
        let repeated = self.repeated(plan, opening, &accepted.iter().collect::<Vec<_>>());
        let mut collected = Collected { accepted: Vec::with_capacity(accepted.len()), refused };
        for one in accepted {
            match repeated.get(&one.header.header.uid) {
                Some(why) => collected.refused.push(Refused::new(&one.header, Refusal::Ineligible(*why))),
                None => collected.accepted.push(one),
            }
        }
        collected
    }

    /// Who sent again what was sent before, or sent much the same as somebody else.
    fn repeated(
        &self,
        plan: &WindowPlan,
        opening: &Opening,
        accepted: &[&Accepted<UpdateOf<P>>],
    ) -> BTreeMap<Uid, Ineligible> {
        let learner = &self.doors.learner;
        let mut overlaps = Vec::new();
        for (at, one) in accepted.iter().enumerate() {
            let uid = one.header.header.uid;
            let beside = accepted[..at].iter().map(|other| (plan.window, other.header.header.uid, &other.update));
            let before = self.recent.all().filter(|(_, entry, _)| entry.hotkey != one.header.hotkey);
            let before = before.map(|(window, entry, update)| (window, entry.uid, update));
            overlaps.extend(beside.chain(before).map(|(window, other, update)| Overlap {
                uid,
                other,
                window,
                fraction: learner.overlap(&one.update, update),
            }));
        }
        let most = f64::from(self.rules.hparams.scoring.overlap_max);
        let blamed = judge_overlaps(plan.window, &overlaps, most, &opening.metagraph).into_iter();
        let mut repeated: BTreeMap<Uid, Ineligible> = blamed
            .map(|(uid, penalty)| match penalty {
                Penalty::Replayed => (uid, Ineligible::Replayed),
                _ => (uid, Ineligible::Overlapping),
            })
            .collect();
        let reveals: Vec<Reveal> = accepted
            .iter()
            .map(|one| {
                let header = &one.header.header;
                Reveal { uid: header.uid, payload: header.payload }
            })
            .collect();
        let same = judge_replays(&reveals, self.recent.payloads(), &opening.metagraph);
        repeated.extend(same.into_iter().map(|uid| (uid, Ineligible::Replayed)));
        repeated
    }

    /// Fetches and decodes what `headers` announce, from their owners, or from `also` as well.
    async fn fetch_all(
        &self,
        headers: Vec<SignedHeader>,
        opening: &Opening,
        millis: u64,
        also: Option<Uid>,
    ) -> (Vec<Accepted<UpdateOf<P>>>, Vec<Refused>) {
        let wants = headers.iter().map(|signed| announced(signed, also)).collect();
        let deadline = self.doors.clock.now().after(millis);
        let (payloads, _) = self.gather(wants, &opening.metagraph, deadline).await;
        let mut accepted = Vec::with_capacity(headers.len());
        let mut refused = Vec::new();
        for header in headers {
            let Some(blob) = payloads.get(&header.header.payload) else {
                refused.push(Refused::new(&header, Refusal::Unfetched));
                continue;
            };
            match self.read(&header, blob) {
                Ok(update) => accepted.push(Accepted { header, update }),
                Err(why) => refused.push(Refused::new(&header, Refusal::Ineligible(why))),
            }
        }
        for blob in payloads.into_values() {
            self.doors.exchange.keep(blob).await;
        }
        (accepted, refused)
    }

    /// The contribution in the blob that a header announces.
    fn read(&self, header: &SignedHeader, blob: &[u8]) -> Result<UpdateOf<P>, Ineligible> {
        judge_payload(header, blob)?;
        let payload = unseal(&header.hotkey, blob).map_err(Ineligible::Malformed)?;
        self.doors.learner.decode(payload).map_err(Ineligible::Malformed)
    }

    /// Adds those whose header came after the deadline or can count in no window, so that it is said and counted.
    pub(crate) fn note_rest(&self, plan: &WindowPlan, opening: &Opening, collected: &mut Collected<UpdateOf<P>>) {
        let mut heard: BTreeSet<Hotkey> = collected.refused.iter().map(|refused| refused.hotkey).collect();
        heard.extend(collected.accepted.iter().map(|accepted| accepted.header.hotkey));
        for submission in self.doors.exchange.submissions(plan.window) {
            let late = submission.arrived >= plan.submit_by && submission.header.verify(&*self.identity.verifier);
            if late && heard.insert(submission.header.hotkey) {
                collected.refused.push(Refused::new(&submission.header, Refusal::Ineligible(Ineligible::Late)));
            }
        }
        for Stray { hotkey, why } in self.doors.exchange.strays() {
            let Some(neuron) = opening.metagraph.by_hotkey(&hotkey) else { continue };
            if heard.insert(hotkey) {
                let why = Refusal::Ineligible(why);
                collected.refused.push(Refused { uid: neuron.uid, hotkey, payload_bytes: 0, why });
            }
        }
    }

    fn judge(&self, submission: &Submission, plan: &WindowPlan, opening: &Opening) -> Result<(), Ineligible> {
        let inner = &self.rules.hparams.inner;
        let rules = HeaderRules {
            run: self.rules.run,
            version: VERSION,
            window: plan.window,
            previous: self.standing.previous,
            hparams: self.rules.digest,
            submit_by: plan.submit_by,
            payload_bytes_max: self.rules.limits.payload_bytes_max,
            samples_max: inner.steps.saturating_mul(inner.batch),
            slots: self.rules.hparams.data.slots,
            metagraph: &opening.metagraph,
        };
        judge_header(&submission.header, submission.arrived, &rules, &*self.identity.verifier)?;
        let header = &submission.header.header;
        let expected = self.doors.learner.probe(&probe_seed(&header.previous, header.uid));
        judge_probe(&submission.header, &expected)
    }

    /// Whether another validator's proposal holds by this node's own checks. When its headers arrived is the
    /// proposer's word: only this node's own proposals vouch for that.
    pub(crate) async fn acceptable(
        &self,
        proposal: &Proposal,
        plan: &WindowPlan,
        opening: &Opening,
        (seed, collected): (Digest, &Collected<UpdateOf<P>>),
    ) -> bool {
        let proposer = opening.metagraph.by_uid(proposal.proposer);
        let permitted = proposer.is_some_and(|neuron| neuron.permit && neuron.hotkey == proposal.hotkey);
        let expected = self.manifest_of(plan, seed, &proposal.headers);
        if !permitted || proposal.manifest != expected || proposal.verify(&*self.identity.verifier).is_err() {
            return false;
        }
        let known = |signed: &&SignedHeader| collected.accepted.iter().any(|accepted| accepted.header == **signed);
        let news: Vec<SignedHeader> = proposal.headers.iter().filter(|signed| !known(signed)).copied().collect();
        let in_time = |header: SignedHeader| Submission { header, arrived: plan.first };
        if !news.iter().all(|header| self.judge(&in_time(*header), plan, opening).is_ok()) {
            return false;
        }
        let millis = self.rules.blocks_millis(plan.attest_by.0.saturating_sub(plan.submit_by.0)) / 4;
        let (accepted, refused) = self.fetch_all(news, opening, millis, Some(proposal.proposer)).await;
        let named = collected.accepted.iter().filter(|one| proposal.headers.contains(&one.header));
        let all: Vec<_> = named.chain(&accepted).collect();
        refused.is_empty() && self.repeated(plan, opening, &all).is_empty()
    }
}

fn announced(signed: &SignedHeader, also: Option<Uid>) -> Want {
    let header = &signed.header;
    let sources = std::iter::once(header.uid).chain(also).collect();
    Want { digest: header.payload, bytes: header.payload_bytes, sources }
}

impl Refused {
    /// The refusal of a header that may name a foreign uid: it is told under its sender's own, if it has one.
    fn by(signed: &SignedHeader, why: Ineligible, metagraph: &Metagraph) -> Option<Self> {
        let neuron = metagraph.by_hotkey(&signed.hotkey)?;
        Some(Self { uid: neuron.uid, ..Self::new(signed, Refusal::Ineligible(why)) })
    }

    /// Whether the work in it is somebody else's, or was sent before.
    pub(crate) fn is_copy(&self) -> bool {
        matches!(self.why, Refusal::Ineligible(Ineligible::Replayed | Ineligible::Overlapping))
    }

    fn new(signed: &SignedHeader, why: Refusal) -> Self {
        let header = &signed.header;
        Self { uid: header.uid, hotkey: signed.hotkey, payload_bytes: header.payload_bytes, why }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ineligible(why) => why.fmt(f),
            Self::Unfetched => f.write_str("nobody served the payload that it announced in time"),
        }
    }
}
