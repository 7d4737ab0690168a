//! A chain in memory whose blocks are made by hand.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pactum_protocol::{BlockNumber, Digest, Hotkey, Metagraph, Record, Timestamp, Uid, Verify, WindowPlan};
use tokio::sync::watch;

use crate::block::Head;
use crate::call::SignedCall;
use crate::chain::{Chain, ChainError};
use crate::genesis::{Genesis, GenesisError};
use crate::ledger::{HistoryError, Ledger, SubmitError};

/// A chain that lives in this process alone, for tests and simulations. Clones share it. It makes a block when
/// [`seal`](Self::seal) is called and at no other time.
#[derive(Clone)]
pub struct MemoryChain {
    shared: Arc<Shared>,
}

struct Shared {
    core: Mutex<Core>,
    head: watch::Sender<Head>,
    verify: Box<dyn Verify + Send + Sync>,
}

struct Core {
    ledger: Ledger,
    /// The hash of every block, from block 0 on.
    hashes: Vec<Digest>,
}

impl MemoryChain {
    /// A chain at block 0 that checks signatures with `verify`.
    ///
    /// # Errors
    /// [`GenesisError`] if the rules cannot be.
    pub fn new(genesis: Genesis, verify: impl Verify + Send + Sync + 'static) -> Result<Self, GenesisError> {
        let ledger = Ledger::new(genesis)?;
        let (head, _) = watch::channel(ledger.head());
        let core = Mutex::new(Core { hashes: vec![ledger.genesis_hash()], ledger });
        Ok(Self { shared: Arc::new(Shared { core, head, verify: Box::new(verify) }) })
    }

    /// Makes a block of the calls submitted since the last one, at `time` or right after the last one's.
    pub fn seal(&self, time: Timestamp) -> Head {
        let mut core = self.core();
        core.ledger.seal_block(time);
        let head = core.ledger.head();
        core.hashes.push(head.hash);
        drop(core);
        self.shared.head.send_replace(head);
        head
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.shared.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, call: &SignedCall) -> Result<BlockNumber, SubmitError> {
        match self.core().ledger.apply(call, &*self.shared.verify) {
            Err(SubmitError::AlreadyIncluded { block }) => Ok(block),
            answer => answer,
        }
    }
}

impl fmt::Debug for MemoryChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryChain").field("head", &*self.shared.head.borrow()).finish_non_exhaustive()
    }
}

impl Chain for MemoryChain {
    async fn genesis(&self) -> Result<Genesis, ChainError> {
        Ok(self.core().ledger.genesis().clone())
    }

    async fn head(&self) -> Result<Head, ChainError> {
        Ok(self.core().ledger.head())
    }

    async fn until(&self, block: BlockNumber) -> Result<Head, ChainError> {
        let mut heads = self.shared.head.subscribe();
        let head = heads.wait_for(|head| head.number >= block).await.map_err(|_| ChainError::Closed)?;
        Ok(*head)
    }

    async fn block_hash(&self, block: BlockNumber) -> Result<Digest, ChainError> {
        let core = self.core();
        let found = usize::try_from(block.0).ok().and_then(|index| core.hashes.get(index));
        found.copied().ok_or_else(|| HistoryError::NotYet { block, head: core.ledger.head().number }.into())
    }

    async fn metagraph(&self, block: BlockNumber) -> Result<Metagraph, ChainError> {
        Ok(self.core().ledger.metagraph_at(block)?)
    }

    async fn record(&self, plan: &WindowPlan) -> Result<Record, ChainError> {
        Ok(self.core().ledger.record(plan.window, plan.attest_by)?)
    }

    async fn emission(&self) -> Result<BTreeMap<Uid, u64>, ChainError> {
        Ok(self.core().ledger.emission())
    }

    async fn weights(&self) -> Result<BTreeMap<Uid, Vec<(Uid, u16)>>, ChainError> {
        Ok(self.core().ledger.weights())
    }

    async fn nonce(&self, hotkey: &Hotkey) -> Result<u64, ChainError> {
        Ok(self.core().ledger.nonce(hotkey))
    }

    async fn submit(&self, call: &SignedCall) -> Result<BlockNumber, ChainError> {
        let block = self.apply(call)?;
        self.until(block).await?;
        Ok(block)
    }
}
