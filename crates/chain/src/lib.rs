#![doc = include_str!("../README.md")]

mod wallet;

mod block;
mod call;
mod genesis;

mod fixed;
mod ledger;
mod yuma;

mod chain;
mod memory;
pub mod rpc;

pub use block::{Block, BlockHeader, Head};
pub use call::{CALL_BYTES_MAX, Call, CallError, SignedCall};
pub use chain::{Chain, ChainError};
pub use genesis::{Genesis, GenesisError, RUN_BYTES_MAX, UIDS_MAX};
pub use ledger::{HistoryError, Ledger, ReplayError, SnapshotError, SubmitError};
pub use memory::MemoryChain;
pub use pactum_protocol::{BlockNumber, Digest, Hotkey, Sign, Timestamp, Uid, Window};
pub use wallet::{Sr25519, Ss58Error, Wallet, WalletError, parse_ss58, ss58};
pub use yuma::{Shares, Voter, yuma};
