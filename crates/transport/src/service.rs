//! What a node answers.

use bytes::Bytes;
use pactum_protocol::{Digest, Hotkey};

/// What a node answers to its peers. The methods run on the runtime's blocking threads, so reading a file is fine.
///
/// A message may arrive twice, when the connection broke between its delivery and the acknowledgement.
pub trait Service: Send + Sync + 'static {
    /// Whether `peer` is known: asked when it connects and again at each of its requests. Must not block.
    fn admit(&self, peer: &Hotkey) -> bool;

    /// Takes one message; an error is told to its sender.
    fn message(&self, from: &Hotkey, topic: u8, bytes: Vec<u8>) -> Result<(), Refusal>;

    /// The blob named `digest`, as `from` may see it.
    fn blob(&self, from: &Hotkey, digest: &Digest) -> Blob;
}

/// What is known of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blob {
    /// Here it is.
    Found(Bytes),
    /// It is here, but its time has not come.
    Withheld,
    /// It is not here.
    Absent,
}

/// Why a message was not taken: a number whose meaning the two sides agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer refused the message with reason {0}")]
pub struct Refusal(pub u16);
