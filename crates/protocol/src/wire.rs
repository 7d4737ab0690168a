//! The byte formats. Domain types know nothing of them: each has a mirror here that derives rkyv.
//!
//! A message is four bytes (`P`, its kind, the version of the format as a little-endian `u16`), then its rkyv archive.
//! Reading is bounded by length, validated, and strict: what would not be written again as the same bytes is refused,
//! so that a message has one digest.

use rkyv::api::high::HighSerializer;
use rkyv::rancor;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Serialize};

use crate::limits::Limits;

mod mirror;
#[cfg(test)]
mod tests;

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// There are more bytes than a message of this kind may have.
    #[error("message has {bytes} bytes, at most {most} are allowed")]
    TooLong {
        /// How many there are.
        bytes: usize,
        /// How many there may be.
        most: usize,
    },
    /// The message is of another kind or format version, or cut off.
    #[error("bytes are not a message of the expected kind and version")]
    WrongKind,
    /// The bytes are no valid archive.
    #[error("message is malformed")]
    Malformed,
    /// The message is valid, but not in the one form in which it may be written.
    #[error("message is not in its canonical form")]
    NotCanonical,
    /// A field has a value that it must not have.
    #[error("message is invalid: {what}")]
    Invalid {
        /// Which.
        what: &'static str,
    },
}

/// A domain type that has a mirror.
pub(crate) trait Message: Sized {
    /// The mirror.
    type Wire: for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, rancor::Error>>;
    /// What distinguishes its bytes from those of other kinds.
    const KIND: u8;

    fn to_wire(&self) -> Self::Wire;
    fn bytes_max(limits: &Limits) -> usize;
    /// Validates and reads an archive without its envelope.
    fn read(archive: &[u8]) -> Option<Self>;
}

/// A message that is signed.
pub(crate) trait Signed {
    /// What is signed of it.
    type Part: for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, rancor::Error>>;
    /// What no other signed thing begins with; ends in a zero byte.
    const DOMAIN: &'static [u8];

    fn signed_part(&self) -> Self::Part;
}

const FORMAT: u16 = 1;
const ENVELOPE: usize = 4;

fn envelope(kind: u8) -> [u8; ENVELOPE] {
    let [low, high] = FORMAT.to_le_bytes();
    [b'P', kind, low, high]
}

pub(crate) fn encode<M: Message>(message: &M) -> Vec<u8> {
    let mut bytes = envelope(M::KIND).to_vec();
    bytes.extend_from_slice(&archive(&message.to_wire()));
    bytes
}

pub(crate) fn decode<M: Message>(bytes: &[u8], limits: &Limits) -> Result<M, WireError> {
    let most = M::bytes_max(limits);
    if bytes.len() > most {
        return Err(WireError::TooLong { bytes: bytes.len(), most });
    }
    let archive = bytes.strip_prefix(&envelope(M::KIND)).ok_or(WireError::WrongKind)?;
    let message = M::read(archive).ok_or(WireError::Malformed)?;
    if encode(&message) == bytes { Ok(message) } else { Err(WireError::NotCanonical) }
}

pub(crate) fn message<M: Signed>(message: &M) -> Vec<u8> {
    let mut bytes = M::DOMAIN.to_vec();
    bytes.extend_from_slice(&archive(&message.signed_part()));
    bytes
}

fn archive<W>(wire: &W) -> AlignedVec
where
    W: Archive + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, rancor::Error>>,
{
    // Writing into memory fails only if lengths overflow 32 bits, which `Limits` exclude for whatever was read; what
    // is too large to write has no canonical form and is refused by every reader.
    rkyv::to_bytes::<rancor::Error>(wire).unwrap_or_default()
}
