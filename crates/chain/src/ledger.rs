//! The chain's rules as a pure, deterministic state machine: calls and times in, blocks and facts out.

use std::collections::BTreeMap;

use pactum_protocol::{BlockNumber, Digest, Hotkey, Metagraph, Record, Timestamp, Uid, Verify, Window};
use parity_scale_codec::{DecodeAll, Encode};
use serde::{Deserialize, Serialize};

use crate::block::{Block, BlockHeader, Head, calls_root};
use crate::call::SignedCall;
use crate::genesis::{Genesis, GenesisError};

mod epoch;
mod history;
mod rules;
mod state;
#[cfg(test)]
mod tests;

pub use rules::SubmitError;
use state::State;

/// The most calls in one block.
const BLOCK_CALLS_MAX: usize = 2048;

/// The state of a chain: sealed blocks' facts, and the block that calls are being gathered for.
///
/// The same genesis and the same calls and times in the same order give the same hashes and the same bytes everywhere.
#[derive(Clone, Debug)]
pub struct Ledger {
    genesis: Genesis,
    genesis_hash: Digest,
    state: State,
    /// The calls of the block that is not sealed yet; they are applied to the state already.
    open: Vec<SignedCall>,
}

/// Why the chain cannot tell how things stood at a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum HistoryError {
    /// The block is in the future.
    #[error("block {block} is not there yet: the newest is {head}")]
    NotYet {
        /// The block asked for.
        block: BlockNumber,
        /// The newest.
        head: BlockNumber,
    },
    /// The block is too far in the past.
    #[error("what was so at block {block} is forgotten: the chain remembers from block {oldest} on")]
    Forgotten {
        /// The block asked for.
        block: BlockNumber,
        /// The oldest that can be asked for.
        oldest: BlockNumber,
    },
}

/// Why a block does not continue a ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// One of its calls is not valid where it stands.
    #[error("block {number} holds a call that is refused: {source}")]
    Call {
        /// The block.
        number: BlockNumber,
        /// Why.
        source: SubmitError,
    },
    /// It is not the block that its calls and time lead to.
    #[error("block {number} does not follow from the blocks before it")]
    Differs {
        /// The block.
        number: BlockNumber,
    },
}

/// Why bytes are not a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not the state of a ledger with this genesis")]
pub struct SnapshotError;

impl Ledger {
    /// The chain at block 0.
    ///
    /// # Errors
    /// [`GenesisError`] if the rules cannot be.
    pub fn new(genesis: Genesis) -> Result<Self, GenesisError> {
        genesis.validate()?;
        let genesis_hash = genesis.hash();
        let state = State::new(genesis_hash.0, genesis.time);
        Ok(Self { genesis, genesis_hash, state, open: Vec::new() })
    }

    /// The chain's constants.
    #[must_use]
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The hash of block 0, which every call names.
    #[must_use]
    pub fn genesis_hash(&self) -> Digest {
        self.genesis_hash
    }

    /// The newest sealed block.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { number: BlockNumber(self.state.number), hash: Digest(self.state.hash), time: Timestamp(self.state.time) }
    }

    /// Applies a call to the open block and returns that block's number. A refused call changes nothing.
    ///
    /// # Errors
    /// [`SubmitError`] says which rule refused it.
    pub fn apply(&mut self, call: &SignedCall, verify: &dyn Verify) -> Result<BlockNumber, SubmitError> {
        if call.genesis != self.genesis_hash {
            return Err(SubmitError::OtherChain { expected: self.genesis_hash });
        }
        if !call.verify(verify) {
            return Err(SubmitError::BadSignature);
        }
        if self.open.len() >= BLOCK_CALLS_MAX {
            return Err(SubmitError::BlockFull);
        }
        rules::apply(&self.genesis, &mut self.state, call)?;
        self.open.push(call.clone());
        Ok(BlockNumber(self.state.number + 1))
    }

    /// Closes the open block at `time`, or one millisecond after its parent if that is later: a chain's time rises.
    pub fn seal_block(&mut self, time: Timestamp) -> Block {
        let calls = std::mem::take(&mut self.open);
        let state = &mut self.state;
        let time = Timestamp(time.0.max(state.time.saturating_add(1)));
        let number = BlockNumber(state.number + 1);
        let header = BlockHeader { number, parent: Digest(state.hash), time, calls: calls_root(&calls) };
        state.number = number.0;
        state.time = time.0;
        state.hash = header.hash().0;
        epoch::close(&self.genesis, state);
        Block { header, calls }
    }

    /// Applies a block that was sealed before, whose calls and hash must be what this ledger would have made of them.
    ///
    /// # Errors
    /// [`ReplayError`] if the block is another one; the ledger is not to be used any more then.
    pub fn replay(&mut self, block: &Block, verify: &dyn Verify) -> Result<(), ReplayError> {
        let number = block.header.number;
        for call in &block.calls {
            self.apply(call, verify).map_err(|source| ReplayError::Call { number, source })?;
        }
        let sealed = self.seal_block(block.header.time);
        if sealed.header == block.header { Ok(()) } else { Err(ReplayError::Differs { number }) }
    }

    /// The number that the next call of `hotkey` must carry, counting those of the open block.
    #[must_use]
    pub fn nonce(&self, hotkey: &Hotkey) -> u64 {
        self.state.seat_of(&hotkey.0).map_or(self.state.nonce_floor, |(_, seat)| seat.nonce)
    }

    /// Who took part once `block` was sealed.
    ///
    /// # Errors
    /// [`HistoryError`] if the block is not sealed yet or too old.
    pub fn metagraph_at(&self, block: BlockNumber) -> Result<Metagraph, HistoryError> {
        history::metagraph_at(&self.state, block)
    }

    /// What bears on `window` once `at` was sealed: the participants, and the attestations of that window and of the
    /// [`ACTIVE_WINDOWS`](pactum_protocol::ACTIVE_WINDOWS) before it.
    ///
    /// # Errors
    /// [`HistoryError`] if the block is not sealed yet or too old.
    pub fn record(&self, window: Window, at: BlockNumber) -> Result<Record, HistoryError> {
        history::record(&self.state, window, at)
    }

    /// The newest weights of every validator that has set some.
    #[must_use]
    pub fn weights(&self) -> BTreeMap<Uid, Vec<(Uid, u16)>> {
        let set = self.state.seats().filter(|(_, seat)| !seat.weights.is_empty());
        set.map(|(uid, seat)| (Uid(uid), seat.weights.iter().map(|(to, weight)| (Uid(*to), *weight)).collect()))
            .collect()
    }

    /// What every neuron has earned since it registered.
    #[must_use]
    pub fn emission(&self) -> BTreeMap<Uid, u64> {
        self.state.seats().map(|(uid, seat)| (Uid(uid), seat.earned)).collect()
    }

    /// What was emitted but is not distributed yet: the present epoch's, and what rounding left over.
    #[must_use]
    pub fn undistributed(&self) -> u64 {
        self.state.undistributed
    }

    /// What neurons had earned that were replaced since; it is gone with them.
    #[must_use]
    pub fn forfeited(&self) -> u64 {
        self.state.forfeited
    }

    /// The sealed state as bytes. Calls of an open block are in it already, so take it right after sealing.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        (self.genesis_hash.0, &self.state).encode()
    }

    /// The ledger that [`snapshot`](Self::snapshot) made `bytes` of.
    ///
    /// # Errors
    /// [`SnapshotError`] if they are anything else.
    pub fn restore(genesis: Genesis, bytes: &[u8]) -> Result<Self, SnapshotError> {
        genesis.validate().map_err(|_| SnapshotError)?;
        let (hash, state) = <([u8; 32], State)>::decode_all(&mut &*bytes).map_err(|_| SnapshotError)?;
        let genesis_hash = genesis.hash();
        if hash != genesis_hash.0 || !state.is_sound(&genesis) {
            return Err(SnapshotError);
        }
        Ok(Self { genesis, genesis_hash, state, open: Vec::new() })
    }
}
