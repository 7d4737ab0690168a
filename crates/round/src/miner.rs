//! A miner's window: train, publish, wait, gather, apply, commit.

use pactum_protocol::{BlockNumber, Digest, Header, SignedHeader, Uid, VERSION, WindowPlan, probe_seed};

use crate::node::{Node, Opening, RoundError};
use crate::ports::{Chain, Clock, Exchange, InnerReport, Learner, Ports, Submitted, TrainJob};
use crate::report::WindowReport;
use crate::seal::seal;

/// The share of the time until `submit_by` that is left for compressing and delivering, as a divisor.
const PUBLISHING_SHARE: u64 = 8;

impl<P: Ports> Node<P> {
    pub(crate) async fn mine(&mut self, plan: &WindowPlan) -> Result<WindowReport, RoundError> {
        let mut report = self.report(plan.window);
        let opening = self.open(plan).await?;
        let uid = self.uid_in(&opening.metagraph);
        report.idle = idle(uid, self.rules.hparams.data.slots);
        if let Some(uid) = uid.filter(|_| report.idle.is_none()) {
            // A node that starts again may have a payload of this window already.
            let submitted = self.submitted.filter(|own| own.window == plan.window);
            let inner = submitted.map_or_else(|| self.train(plan, &opening, uid), |own| Ok(own.inner))?;
            report.inner = Some(inner);
            if let Some((bytes, delivered)) = self.publish(plan, &opening, uid, inner).await? {
                report.payload_bytes = Some(bytes);
                report.delivered = delivered;
            }
        }
        self.reach(plan.submit_by).await?;
        if let Some(own) = self.submitted {
            self.doors.exchange.reveal(&own.payload).await;
        }
        self.reach(plan.attest_by).await?;
        let decision = self.decide(plan, self.due(&opening, plan.end)).await?;
        self.close(plan, decision, &mut report).await?;
        Ok(report)
    }

    pub(crate) async fn reach(&self, block: BlockNumber) -> Result<(), RoundError> {
        self.doors.chain.until(block).await.map_err(RoundError::Chain).map(|_| ())
    }

    fn train(&mut self, plan: &WindowPlan, opening: &Opening, uid: Uid) -> Result<InnerReport, RoundError> {
        let due = self.due(opening, plan.submit_by);
        let reserve = (due.0.saturating_sub(opening.opened.0)) / PUBLISHING_SHARE;
        let job = TrainJob { window: plan.window, uid, seed: opening.seed };
        let clock = &self.doors.clock;
        let mut keep_going = || clock.now().after(reserve) < due;
        self.doors.learner.train(&job, &mut keep_going).map_err(RoundError::Learner)
    }

    /// Commits to a payload, if there is one. Returns its length and how many validators took the header.
    async fn publish(
        &mut self,
        plan: &WindowPlan,
        opening: &Opening,
        uid: Uid,
        inner: InnerReport,
    ) -> Result<Option<(u64, usize)>, RoundError> {
        let Some(payload) = self.doors.learner.payload() else { return Ok(None) };
        let payload = seal(&self.hotkey(), &payload);
        let header = self.header(plan, uid, inner, &payload);
        let bytes = header.payload_bytes;
        let submitted = Submitted { window: plan.window, payload: header.payload, inner };
        if self.submitted != Some(submitted) {
            self.prepare(submitted)?;
        }
        let signed = SignedHeader::sign(header, &*self.identity.signer);
        let validators: Vec<_> = opening.metagraph.validators().into_iter().cloned().collect();
        Ok(Some((bytes, self.doors.exchange.submit(&signed, payload, &validators).await)))
    }

    fn header(&self, plan: &WindowPlan, uid: Uid, inner: InnerReport, payload: &[u8]) -> Header {
        let previous = self.standing.previous;
        Header {
            run: self.rules.run,
            version: VERSION,
            window: plan.window,
            uid,
            previous,
            hparams: self.rules.digest,
            probe: self.doors.learner.probe(&probe_seed(&previous, uid)),
            payload: Digest::of(payload),
            payload_bytes: payload.len() as u64,
            samples: inner.samples,
            inner_loss: inner.loss,
        }
    }
}

/// Why a node with this uid has nothing to train on.
fn idle(uid: Option<Uid>, slots: u32) -> Option<&'static str> {
    match uid {
        None => Some("the chain does not know this key any more; start the node again to register it"),
        Some(uid) if u32::from(uid.0) >= slots => {
            Some("this uid gets no samples, since the run has fewer slots than uids")
        }
        Some(_) => None,
    }
}
