//! Blocks: a header with a hash, and the calls below it.

use pactum_protocol::{BlockNumber, Digest, Timestamp};
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::call::{CallError, SignedCall};

/// The newest block, or one that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its height.
    pub number: BlockNumber,
    /// Its hash.
    pub hash: Digest,
    /// The time it carries.
    pub time: Timestamp,
}

/// What the hash of a block covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// The height, 1 for the first block after genesis.
    pub number: BlockNumber,
    /// The hash of the block before; of the genesis for the first.
    pub parent: Digest,
    /// The time, later than the parent's.
    pub time: Timestamp,
    /// The digest of the block's calls in order.
    pub calls: Digest,
}

impl BlockHeader {
    /// The block's hash: BLAKE3 of the SCALE encoding of (parent, number, time, calls).
    #[must_use]
    pub fn hash(&self) -> Digest {
        Digest::of(&(self.parent.0, self.number.0, self.time.0, self.calls.0).encode())
    }

    /// The header as a head.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { number: self.number, hash: self.hash(), time: self.time }
    }
}

/// A block as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The header.
    pub header: BlockHeader,
    /// The calls, in the order in which they were applied.
    pub calls: Vec<SignedCall>,
}

impl Block {
    /// The block as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let calls: Vec<Vec<u8>> = self.calls.iter().map(SignedCall::encode).collect();
        let header = &self.header;
        (header.number.0, header.parent.0, header.time.0, header.calls.0, calls).encode()
    }

    /// The block that `bytes` hold, by which nothing is proved yet.
    ///
    /// # Errors
    /// [`CallError`] if the bytes are not a block.
    pub fn decode(bytes: &[u8]) -> Result<Self, CallError> {
        type Raw = (u64, [u8; 32], u64, [u8; 32], Vec<Vec<u8>>);
        let mut rest = bytes;
        let (number, parent, time, root, calls) = Raw::decode(&mut rest).map_err(|_| CallError::Malformed)?;
        if !rest.is_empty() {
            return Err(CallError::Malformed);
        }
        let calls = calls.iter().map(|call| SignedCall::decode(call)).collect::<Result<Vec<_>, _>>()?;
        let header = BlockHeader {
            number: BlockNumber(number),
            parent: Digest(parent),
            time: Timestamp(time),
            calls: Digest(root),
        };
        Ok(Self { header, calls })
    }
}

/// The digest of a block's calls.
pub(crate) fn calls_root(calls: &[SignedCall]) -> Digest {
    let calls: Vec<Vec<u8>> = calls.iter().map(SignedCall::encode).collect();
    Digest::of(&calls.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_hashes_to_its_golden_value() {
        let header = BlockHeader {
            number: BlockNumber(7),
            parent: Digest([1; 32]),
            time: Timestamp(1_700_000_000_000),
            calls: calls_root(&[]),
        };
        assert_eq!(header.hash().to_string(), "d09c8a443b6cd1d5a0355a5b9c535050d490b8cb79c9db2c818c387e398e0acb");
        assert_eq!(header.head(), Head { number: BlockNumber(7), hash: header.hash(), time: header.time });
    }

    #[test]
    fn a_block_survives_its_bytes_and_refuses_others() {
        let header =
            BlockHeader { number: BlockNumber(1), parent: Digest([1; 32]), time: Timestamp(5), calls: calls_root(&[]) };
        let block = Block { header, calls: Vec::new() };
        let mut bytes = block.encode();
        assert_eq!(Block::decode(&bytes), Ok(block));
        bytes.push(0);
        assert_eq!(Block::decode(&bytes), Err(CallError::Malformed));
        assert_eq!(Block::decode(&bytes[..40]), Err(CallError::Malformed));
    }
}
