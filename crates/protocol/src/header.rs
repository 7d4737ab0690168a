//! What a miner commits to before anybody sees its payload.

use crate::ids::{Digest, Hotkey, Sign, Signature, Uid, Verify, Window};
use crate::limits::Limits;
use crate::wire::{self, WireError};

/// The version of the protocol that this release speaks.
pub const VERSION: u16 = 1;

/// What a miner says about its contribution to one window.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Header {
    /// The run, see [`run_digest`](crate::run_digest).
    pub run: Digest,
    /// The version of the protocol, see [`VERSION`].
    pub version: u16,
    /// The window.
    pub window: Window,
    /// The miner's uid.
    pub uid: Uid,
    /// The digest of the newest manifest before this window; [`Digest::ZERO`] if there was none.
    pub previous: Digest,
    /// The digest of the settings.
    pub hparams: Digest,
    /// The state probe for [`probe_seed`](crate::probe_seed): proof that the miner holds the committed parameters.
    pub probe: Digest,
    /// The digest of the payload.
    pub payload: Digest,
    /// The length of the payload in bytes.
    pub payload_bytes: u64,
    /// Samples trained on.
    pub samples: u32,
    /// The mean loss over the inner steps, in nats per token; the miner's word, never used for its reward.
    pub inner_loss: f32,
}

/// A header with its owner's signature.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SignedHeader {
    /// What is signed.
    pub header: Header,
    /// Who signed.
    pub hotkey: Hotkey,
    /// The signature over [`Header::message`].
    pub signature: Signature,
}

impl Header {
    /// The bytes to sign: a prefix that no other kind of message begins with, then the canonical bytes.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        wire::message(self)
    }
}

impl SignedHeader {
    /// Signs `header`.
    #[must_use]
    pub fn sign(header: Header, key: &(impl Sign + ?Sized)) -> Self {
        Self { hotkey: key.hotkey(), signature: key.sign(&header.message()), header }
    }

    /// Whether the signature is true.
    #[must_use]
    pub fn verify(&self, verify: &(impl Verify + ?Sized)) -> bool {
        verify.verify(&self.hotkey, &self.header.message(), &self.signature)
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Reads the canonical bytes. The signature is not checked.
    ///
    /// # Errors
    /// If the bytes are too many, malformed or not canonical, or if the loss is not finite.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, WireError> {
        let signed: Self = wire::decode(bytes, limits)?;
        signed.check()?;
        Ok(signed)
    }

    pub(crate) fn check(&self) -> Result<(), WireError> {
        if self.header.inner_loss.is_finite() {
            Ok(())
        } else {
            Err(WireError::Invalid { what: "inner loss is not finite" })
        }
    }
}
