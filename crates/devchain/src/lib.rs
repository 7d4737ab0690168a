#![doc = include_str!("../README.md")]

mod devchain;
mod engine;
mod server;
mod store;

pub use devchain::{DevChain, DevChainConfig, Halted, Production, StartError};
pub use pactum_chain::Genesis;
pub use store::StoreError;
