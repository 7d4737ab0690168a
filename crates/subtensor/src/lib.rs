#![doc = include_str!("../README.md")]

mod client;
mod link;

pub use client::{Client, ConnectError};
pub use link::Link;
pub use pactum_chain::{Chain, ChainError};
