//! What a run needs from a chain, whichever chain it is.

use std::collections::BTreeMap;
use std::future::Future;

use pactum_protocol::{BlockNumber, Digest, Hotkey, Metagraph, Record, Sign, Uid, WindowPlan};

use crate::block::Head;
use crate::call::{Call, SignedCall};
use crate::genesis::Genesis;
use crate::ledger::{HistoryError, SubmitError};

/// How often a call is signed anew because another call of the same key came first.
const NONCE_TRIES: u32 = 16;

/// The public record of a run. An implementation over a network waits while the chain is away.
pub trait Chain: Send + Sync {
    /// The chain's constants.
    fn genesis(&self) -> impl Future<Output = Result<Genesis, ChainError>> + Send;

    /// The newest block.
    fn head(&self) -> impl Future<Output = Result<Head, ChainError>> + Send;

    /// Waits for a head at or past `block` and returns it.
    fn until(&self, block: BlockNumber) -> impl Future<Output = Result<Head, ChainError>> + Send;

    /// The hash of `block`; the genesis hash for block 0.
    fn block_hash(&self, block: BlockNumber) -> impl Future<Output = Result<Digest, ChainError>> + Send;

    /// Who took part as of `block`.
    fn metagraph(&self, block: BlockNumber) -> impl Future<Output = Result<Metagraph, ChainError>> + Send;

    /// What decides the manifest of the plan's window: all of it as of `plan.attest_by`, which must be there already.
    fn record(&self, plan: &WindowPlan) -> impl Future<Output = Result<Record, ChainError>> + Send;

    /// What each neuron earned since it registered, in the chain's smallest unit.
    fn emission(&self) -> impl Future<Output = Result<BTreeMap<Uid, u64>, ChainError>> + Send;

    /// The newest weights of each validator.
    fn weights(&self) -> impl Future<Output = Result<BTreeMap<Uid, Vec<(Uid, u16)>>, ChainError>> + Send;

    /// The nonce of the next call of `hotkey`.
    fn nonce(&self, hotkey: &Hotkey) -> impl Future<Output = Result<u64, ChainError>> + Send;

    /// Submits a call, waits until a sealed block includes it and returns that block. Submitting the same call again
    /// is harmless.
    fn submit(&self, call: &SignedCall) -> impl Future<Output = Result<BlockNumber, ChainError>> + Send;

    /// Signs `call` with the next nonce and submits it, again when another call of the same key came first. A
    /// registration or an attestation that is there already counts as made.
    fn transact(
        &self,
        signer: &(dyn Sign + Sync),
        call: Call,
    ) -> impl Future<Output = Result<BlockNumber, ChainError>> + Send {
        async move {
            let genesis = self.block_hash(BlockNumber(0)).await?;
            let mut tries = 1;
            loop {
                let nonce = self.nonce(&signer.hotkey()).await?;
                let signed = SignedCall::sign(genesis, nonce, call.clone(), signer);
                match self.submit(&signed).await {
                    Err(ChainError::Refused(SubmitError::WrongNonce { .. })) if tries < NONCE_TRIES => tries += 1,
                    Err(ChainError::Refused(refusal)) => return done_before(&call, refusal),
                    answer => return answer,
                }
            }
        }
    }
}

/// Why a chain does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The chain refused a call.
    #[error("the chain refused the call: {0}")]
    Refused(#[from] SubmitError),
    /// The chain cannot tell how things stood then.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Another chain than the one first met answers at the address.
    #[error(
        "the chain has genesis {found} but this node follows the chain with genesis {expected}: \
         point it at that chain, or start it with a new folder"
    )]
    OtherChain {
        /// The genesis hash of the chain that this node follows.
        expected: Digest,
        /// That of the chain that answers.
        found: Digest,
    },
    /// The answer makes no sense.
    #[error("the chain's answer cannot be read: {reason}; the node and the chain may be of different versions")]
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// The chain was closed on this side.
    #[error("the chain is closed")]
    Closed,
}

fn done_before(call: &Call, refusal: SubmitError) -> Result<BlockNumber, ChainError> {
    match (call, &refusal) {
        (Call::Register, SubmitError::AlreadyRegistered { block, .. }) => Ok(*block),
        (Call::Attest { manifest, .. }, SubmitError::AlreadyAttested { manifest: before, block })
            if manifest == before =>
        {
            Ok(*block)
        }
        _ => Err(refusal.into()),
    }
}
