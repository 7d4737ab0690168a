//! The ledger and its file behind one lock, and the newest head for all who wait for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use pactum_chain::rpc::Refusal;
use pactum_chain::{Head, HistoryError, Ledger, SignedCall, Sr25519, SubmitError};
use pactum_protocol::{BlockNumber, Digest, Timestamp};
use tokio::sync::watch;

use crate::devchain::Halted;
use crate::store::Store;

#[derive(Debug)]
pub(crate) struct Engine {
    core: Mutex<Core>,
    head: watch::Sender<Head>,
    /// Why no more blocks are made, once that is so.
    stopped: watch::Sender<Option<Halted>>,
}

#[derive(Debug)]
struct Core {
    ledger: Ledger,
    /// None once the chain is closed.
    store: Option<Store>,
}

impl Engine {
    pub(crate) fn new(ledger: Ledger, store: Store) -> Self {
        let head = watch::Sender::new(ledger.head());
        Self { core: Mutex::new(Core { ledger, store: Some(store) }), head, stopped: watch::Sender::new(None) }
    }

    pub(crate) fn head(&self) -> Head {
        *self.head.borrow()
    }

    pub(crate) fn heads(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// Reads from the ledger; nothing once the chain is closed. Blocks while a block is being written.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Ledger) -> T) -> Option<T> {
        let core = self.core();
        core.store.is_some().then(|| read(&core.ledger))
    }

    pub(crate) fn block_hash(&self, block: BlockNumber) -> Result<Digest, BlockHashError> {
        let core = self.core();
        let head = core.ledger.head().number;
        if block > head {
            return Err(BlockHashError::Refused(HistoryError::NotYet { block, head }.into()));
        }
        if block.0 == 0 {
            return Ok(core.ledger.genesis_hash());
        }
        let store = core.store.as_ref().ok_or(BlockHashError::Closed)?;
        store.block_hash(block).map_err(|error| BlockHashError::Unreadable(error.to_string()))
    }

    /// Takes a call into the open block, whose number is returned; one taken before is not an error.
    pub(crate) fn apply(&self, call: &SignedCall) -> Result<BlockNumber, SubmitError> {
        match self.core().ledger.apply(call, &Sr25519) {
            Err(SubmitError::AlreadyIncluded { block }) => Ok(block),
            answer => answer,
        }
    }

    /// Closes the open block, makes it durable, and only then tells of it.
    pub(crate) fn seal(&self) -> Result<Head, Halted> {
        let mut core = self.core();
        if let Some(halted) = &*self.stopped.borrow() {
            return Err(halted.clone());
        }
        let Core { ledger, store } = &mut *core;
        let block = ledger.seal_block(now());
        let written = store.as_ref().map(|store| store.append(&block, ledger));
        if let Some(Err(error)) = written {
            // The ledger is ahead of the disk, so nothing that it says may be told any more.
            let halted = self.stop(&error.to_string());
            core.store = None;
            return Err(halted);
        }
        let head = core.ledger.head();
        drop(core);
        self.head.send_replace(head);
        Ok(head)
    }

    /// Makes no more blocks and wakes everybody who waits for one. The first reason stays.
    pub(crate) fn stop(&self, reason: &str) -> Halted {
        let halted = Halted { reason: reason.to_owned() };
        self.stopped.send_if_modified(|stopped| {
            let first = stopped.is_none();
            stopped.get_or_insert_with(|| halted.clone());
            first
        });
        halted
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.borrow().is_some()
    }

    /// Waits until [`stop`](Self::stop) was called.
    pub(crate) async fn halted(&self) -> Halted {
        let mut stopped = self.stopped.subscribe();
        let found = stopped.wait_for(Option::is_some).await.ok().and_then(|halted| halted.clone());
        found.unwrap_or_else(|| Halted { reason: "the chain is gone".into() })
    }

    /// Closes the file, so that another process may open it.
    pub(crate) fn release(&self) {
        self.core().store = None;
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a block's hash cannot be told.
pub(crate) enum BlockHashError {
    Refused(Refusal),
    Closed,
    Unreadable(String),
}

/// The time by this machine's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
