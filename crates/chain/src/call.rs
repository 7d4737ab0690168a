//! What a key may ask of the chain, signed so that it counts once and on one chain only.

use std::net::{IpAddr, SocketAddr};

use pactum_protocol::{Digest, Hotkey, Sign, Signature, Uid, Verify, Window};
use parity_scale_codec::{Decode, DecodeAll, Encode};

#[cfg(test)]
mod tests;

/// The most bytes of an encoded [`SignedCall`].
pub const CALL_BYTES_MAX: usize = 4096;

/// Keeps a signature over a call from being taken for one over anything else.
const DOMAIN: &[u8] = b"pactum-call-1";

/// What a key asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// A uid for the signing key, with the faucet's grant as its balance.
    Register,
    /// Moves `amount` from the key's balance to its stake.
    AddStake {
        /// In the chain's smallest unit.
        amount: u64,
    },
    /// Tells where the key's node listens.
    ServeAddress {
        /// The address that others connect to.
        address: SocketAddr,
    },
    /// Commits a validator to a window's manifest; once for each window, in rising order.
    Attest {
        /// The window.
        window: Window,
        /// The digest of its manifest.
        manifest: Digest,
    },
    /// Replaces a validator's weights.
    SetWeights {
        /// Whom it thinks worth how much; only the proportions count.
        weights: Vec<(Uid, u16)>,
        /// The version of the rules by which the weights were found.
        version: u64,
    },
}

/// A call with what makes it count once: the chain it is for, a number, a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCall {
    /// Whose call it is.
    pub hotkey: Hotkey,
    /// How many calls of this key the chain took before this one.
    pub nonce: u64,
    /// The hash of the chain's genesis.
    pub genesis: Digest,
    /// What is asked for.
    pub call: Call,
    /// By `hotkey`, over [`digest`](Self::digest).
    pub signature: Signature,
}

/// Why bytes are not a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// They are too many.
    #[error("a call has at most {CALL_BYTES_MAX} bytes")]
    TooLong,
    /// They are not in the layout of a call.
    #[error("the bytes are not a signed call")]
    Malformed,
}

#[derive(Encode, Decode)]
enum RawCall {
    #[codec(index = 0)]
    Register,
    #[codec(index = 1)]
    AddStake(u64),
    #[codec(index = 2)]
    ServeAddress(RawAddress),
    #[codec(index = 3)]
    Attest(u64, [u8; 32]),
    #[codec(index = 4)]
    SetWeights(Vec<(u16, u16)>, u64),
}

/// A socket address without the parts that mean nothing to others (flow label and scope).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum RawAddress {
    #[codec(index = 0)]
    V4([u8; 4], u16),
    #[codec(index = 1)]
    V6([u8; 16], u16),
}

type RawSigned = ([u8; 32], u64, [u8; 32], RawCall, [u8; 64]);

impl SignedCall {
    /// Signs `call` as number `nonce` of the signer's calls on the chain with that genesis hash.
    #[must_use]
    pub fn sign(genesis: Digest, nonce: u64, call: Call, signer: &dyn Sign) -> Self {
        let hotkey = signer.hotkey();
        let mut signed = Self { hotkey, nonce, genesis, call, signature: Signature([0; 64]) };
        signed.signature = signer.sign(&signed.digest().0);
        signed
    }

    /// Whether the signature is the hotkey's.
    #[must_use]
    pub fn verify(&self, verify: &dyn Verify) -> bool {
        verify.verify(&self.hotkey, &self.digest().0, &self.signature)
    }

    /// The BLAKE3 digest of everything but the signature; what is signed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let raw = RawCall::from(&self.call);
        Digest::of(&(DOMAIN, self.hotkey.0, self.nonce, self.genesis.0, raw).encode())
    }

    /// The call as SCALE bytes: (hotkey, nonce, genesis, call, signature).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        (self.hotkey.0, self.nonce, self.genesis.0, RawCall::from(&self.call), self.signature.0).encode()
    }

    /// The call that `bytes` hold; its signature is not looked at.
    ///
    /// # Errors
    /// [`CallError`] if they are too many, malformed, or go on after the call.
    pub fn decode(bytes: &[u8]) -> Result<Self, CallError> {
        if bytes.len() > CALL_BYTES_MAX {
            return Err(CallError::TooLong);
        }
        let (hotkey, nonce, genesis, call, signature) =
            RawSigned::decode_all(&mut &*bytes).map_err(|_| CallError::Malformed)?;
        Ok(Self {
            hotkey: Hotkey(hotkey),
            nonce,
            genesis: Digest(genesis),
            call: call.into(),
            signature: Signature(signature),
        })
    }
}

impl From<&Call> for RawCall {
    fn from(call: &Call) -> Self {
        match call {
            Call::Register => Self::Register,
            Call::AddStake { amount } => Self::AddStake(*amount),
            Call::ServeAddress { address } => Self::ServeAddress((*address).into()),
            Call::Attest { window, manifest } => Self::Attest(window.0, manifest.0),
            Call::SetWeights { weights, version } => {
                Self::SetWeights(weights.iter().map(|(uid, weight)| (uid.0, *weight)).collect(), *version)
            }
        }
    }
}

impl From<RawCall> for Call {
    fn from(raw: RawCall) -> Self {
        match raw {
            RawCall::Register => Self::Register,
            RawCall::AddStake(amount) => Self::AddStake { amount },
            RawCall::ServeAddress(address) => Self::ServeAddress { address: address.into() },
            RawCall::Attest(window, manifest) => Self::Attest { window: Window(window), manifest: Digest(manifest) },
            RawCall::SetWeights(weights, version) => {
                Self::SetWeights { weights: weights.into_iter().map(|(uid, w)| (Uid(uid), w)).collect(), version }
            }
        }
    }
}

impl From<SocketAddr> for RawAddress {
    fn from(address: SocketAddr) -> Self {
        match address.ip() {
            IpAddr::V4(ip) => Self::V4(ip.octets(), address.port()),
            IpAddr::V6(ip) => Self::V6(ip.octets(), address.port()),
        }
    }
}

impl From<RawAddress> for SocketAddr {
    fn from(raw: RawAddress) -> Self {
        match raw {
            RawAddress::V4(ip, port) => (ip, port).into(),
            RawAddress::V6(ip, port) => (ip, port).into(),
        }
    }
}
