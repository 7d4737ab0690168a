//! The chain: blocks come in time, and every node reads the same record a little late.

use std::collections::BTreeMap;

use pactum_protocol::{
    ACTIVE_WINDOWS, Attestation, BlockNumber, Digest, Metagraph, Record, Timestamp, Uid, Window, WindowPlan,
};
use pactum_round::{BoxError, Chain, Head, Receipt};

use crate::setup::{GENESIS, Setup};
use crate::trace::Kind;
use crate::world::Place;

/// What makes a digest of which nobody knows the manifest.
const LIE: &str = "pactum sim 1 lie";

/// What nodes wrote on the chain.
#[derive(Default)]
pub(crate) struct Ledger {
    attestations: BTreeMap<Window, Vec<Attestation>>,
    /// The newest weights of each validator.
    pub(crate) weights: BTreeMap<Uid, Vec<(Uid, u16)>>,
}

impl Ledger {
    pub(crate) fn metagraph(setup: &Setup, block: BlockNumber) -> Metagraph {
        let here = setup.neurons.iter().filter(|neuron| neuron.registered <= block);
        Metagraph { block, neurons: here.copied().collect() }
    }

    pub(crate) fn record(&self, setup: &Setup, plan: &WindowPlan) -> Record {
        let oldest = Window(plan.window.0.saturating_sub(ACTIVE_WINDOWS));
        let in_time = |a: &&Attestation| a.block <= plan.attest_by;
        let attestations = self.attestations.range(oldest..=plan.window).flat_map(|(_, all)| all);
        Record {
            metagraph: Self::metagraph(setup, plan.attest_by),
            attestations: attestations.filter(in_time).copied().collect(),
        }
    }
}

/// A node's door to the chain.
pub(crate) struct SimChain(pub(crate) Place);

impl SimChain {
    fn head_now(&self) -> Head {
        let block = self.0.head();
        Head { block, time: Timestamp(GENESIS.0 + self.0.world.setup.time_of(block)) }
    }

    /// Writes to the next block, once the transaction has reached the chain.
    async fn include<T>(&self, write: impl FnOnce(&mut Ledger, BlockNumber) -> T) -> T {
        self.0.settle().await;
        self.0.sleep_until(self.0.now() + self.0.profile().lag / 2).await;
        let world = &self.0.world;
        let block = BlockNumber(world.setup.block_at(world.now()).0 + 1);
        write(&mut world.ledger.borrow_mut(), block)
    }

    fn uid(&self) -> Uid {
        self.0.world.setup.neurons[self.0.me].uid
    }

    fn permitted(&self) -> bool {
        self.0.world.setup.neurons[self.0.me].permit
    }
}

impl Chain for SimChain {
    async fn head(&self) -> Result<Head, BoxError> {
        self.0.settle().await;
        Ok(self.head_now())
    }

    async fn until(&self, block: BlockNumber) -> Result<Head, BoxError> {
        self.0.settle().await;
        self.0.sleep_until(self.0.world.setup.time_of(block) + self.0.profile().lag).await;
        Ok(self.head_now())
    }

    async fn block_hash(&self, block: BlockNumber) -> Result<Digest, BoxError> {
        if block > self.0.head() {
            return Err(format!("block {block} is not there yet").into());
        }
        Ok(self.0.world.setup.block_hash(block))
    }

    async fn metagraph(&self, block: BlockNumber) -> Result<Metagraph, BoxError> {
        Ok(Ledger::metagraph(&self.0.world.setup, block))
    }

    async fn record(&self, plan: &WindowPlan) -> Result<Record, BoxError> {
        if plan.attest_by > self.0.head() {
            return Err(format!("the record of window {} is not complete yet", plan.window).into());
        }
        let world = &self.0.world;
        Ok(world.ledger.borrow().record(&world.setup, plan))
    }

    async fn attest(&self, window: Window, manifest: Digest) -> Result<Receipt, BoxError> {
        if !self.permitted() {
            return Ok(Receipt::Refused("no permit".to_owned()));
        }
        let manifest = if self.0.profile().rogue { Digest::derive(LIE, &[&manifest.0]) } else { manifest };
        let (uid, hotkey) = (self.uid(), self.0.world.setup.neurons[self.0.me].hotkey);
        self.include(|ledger, block| {
            let attestation = Attestation { uid, hotkey, window, manifest, block };
            ledger.attestations.entry(window).or_default().push(attestation);
        })
        .await;
        self.0.world.record(Kind::Attest, self.0.me, window.0, &manifest);
        Ok(Receipt::Taken)
    }

    async fn set_weights(&self, weights: &[(Uid, u16)]) -> Result<Receipt, BoxError> {
        if !self.permitted() {
            return Ok(Receipt::Refused("no permit".to_owned()));
        }
        let uid = self.uid();
        self.include(|ledger, _| ledger.weights.insert(uid, weights.to_vec())).await;
        let bytes: Vec<u8> =
            weights.iter().flat_map(|(uid, weight)| [uid.0.to_le_bytes(), weight.to_le_bytes()]).flatten().collect();
        self.0.world.record(Kind::Weights, self.0.me, weights.len() as u64, &Digest::of(&bytes));
        Ok(Receipt::Taken)
    }
}
