#![doc = include_str!("../README.md")]

mod endpoint;
mod limits;
mod service;

mod dial;
mod hello;
mod link;
mod pool;
mod request;
mod runtime;
mod serve;
mod tls;

mod bucket;
mod frame;

mod store;

#[cfg(test)]
mod tests;

pub use bytes::Bytes;
pub use dial::ConnectError;
pub use endpoint::{BindError, Endpoint, EndpointConfig, PeerAddress};
pub use hello::Objection;
pub use limits::TransportLimits;
pub use pactum_protocol::{Digest, Hotkey, Sign, Signature, Verify};
pub use request::{FetchError, SendError};
pub use service::{Blob, Refusal, Service};
pub use store::{BlobStore, StoreError};
