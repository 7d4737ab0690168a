//! The public record as the round sees it.

use std::sync::Arc;
use std::time::Instant;

use pactum_chain::{Call, Chain as _, ChainError, Wallet};
use pactum_protocol::{BlockNumber, Digest, Metagraph, Record, Timestamp, Uid, Window, WindowPlan};
use pactum_round::{BoxError, Chain, Clock, Head, Receipt};
use pactum_subtensor::Client;
use tokio::time::{Duration, sleep};

use crate::inbox::Inbox;

/// How many blocks pass between two looks at who takes part.
const LOOK_EVERY: u64 = 4;

/// The chain, and the key with which this node writes to it.
#[derive(Clone)]
pub(crate) struct Public {
    pub(crate) client: Arc<Client>,
    pub(crate) wallet: Arc<Wallet>,
    pub(crate) weights_version: u64,
    pub(crate) inbox: Arc<Inbox>,
}

impl Public {
    async fn write(&self, call: Call) -> Result<Receipt, BoxError> {
        match self.client.transact(&*self.wallet, call).await {
            Ok(_) => Ok(Receipt::Taken),
            Err(ChainError::Refused(why)) => Ok(Receipt::Refused(why.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps the inbox told of the newest block and of who takes part, until the chain is closed.
    pub(crate) async fn keep_told(self) {
        let mut looked = None;
        let mut next = BlockNumber(0);
        while let Ok(head) = self.client.until(next).await {
            self.inbox.set_head(head.number);
            next = BlockNumber(head.number.0.saturating_add(1));
            let due = looked.is_none_or(|last: u64| head.number.0.saturating_sub(last) >= LOOK_EVERY);
            if due && self.metagraph(head.number).await.is_ok() {
                looked = Some(head.number.0);
            }
        }
    }
}

impl Chain for Public {
    async fn head(&self) -> Result<Head, BoxError> {
        Ok(seen(self.client.head().await?))
    }

    async fn until(&self, block: BlockNumber) -> Result<Head, BoxError> {
        Ok(seen(self.client.until(block).await?))
    }

    async fn block_hash(&self, block: BlockNumber) -> Result<Digest, BoxError> {
        Ok(self.client.block_hash(block).await?)
    }

    async fn metagraph(&self, block: BlockNumber) -> Result<Metagraph, BoxError> {
        let metagraph = self.client.metagraph(block).await?;
        self.inbox.set_known(&metagraph);
        Ok(metagraph)
    }

    async fn record(&self, plan: &WindowPlan) -> Result<Record, BoxError> {
        Ok(self.client.record(plan).await?)
    }

    async fn attest(&self, window: Window, manifest: Digest) -> Result<Receipt, BoxError> {
        self.write(Call::Attest { window, manifest }).await
    }

    async fn set_weights(&self, weights: &[(Uid, u16)]) -> Result<Receipt, BoxError> {
        self.write(Call::SetWeights { weights: weights.to_vec(), version: self.weights_version }).await
    }
}

fn seen(head: pactum_chain::Head) -> Head {
    Head { block: head.number, time: head.time }
}

/// The clock of this machine, which never goes backwards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalClock(Instant);

impl Default for LocalClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for LocalClock {
    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    async fn sleep_until(&self, when: Timestamp) {
        sleep(Duration::from_millis(when.0.saturating_sub(self.now().0))).await;
    }
}
