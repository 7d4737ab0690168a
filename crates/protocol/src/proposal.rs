//! How validators show each other what they would commit.

use std::collections::BTreeMap;

use crate::header::SignedHeader;
use crate::ids::{Hotkey, Sign, Signature, Uid, Verify};
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::wire::{self, WireError};

#[cfg(test)]
mod tests;

/// A validator's manifest with the headers that its entries rest on.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Proposal {
    /// The manifest.
    pub manifest: Manifest,
    /// One header for each entry, in uid order.
    pub headers: Vec<SignedHeader>,
    /// The proposing validator.
    pub proposer: Uid,
    /// Its key.
    pub hotkey: Hotkey,
    /// Its signature over [`Proposal::message`].
    pub signature: Signature,
}

/// Why a proposal cannot be believed, whatever the receiver knows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposalError {
    /// The proposer did not sign this.
    #[error("the proposer's signature is false")]
    BadSignature,
    /// The headers are not exactly those of the entries.
    #[error("entry of uid {uid} has no header that says the same")]
    Unproven {
        /// Whose entry it is.
        uid: Uid,
    },
    /// There is a header without an entry.
    #[error("header of uid {uid} has no entry")]
    Superfluous {
        /// Whose header it is.
        uid: Uid,
    },
    /// A miner did not sign its header.
    #[error("header of uid {uid} has a false signature")]
    BadHeader {
        /// Whose header it is.
        uid: Uid,
    },
}

impl Proposal {
    /// Signs `manifest`; of `headers` those that belong to an entry are enclosed.
    #[must_use]
    pub fn sign(manifest: Manifest, headers: &[SignedHeader], proposer: Uid, key: &(impl Sign + ?Sized)) -> Self {
        let by_uid: BTreeMap<Uid, &SignedHeader> = headers.iter().map(|signed| (signed.header.uid, signed)).collect();
        let enclosed = manifest.entries.iter().filter_map(|entry| by_uid.get(&entry.uid).copied().copied());
        let mut proposal = Self {
            headers: enclosed.collect(),
            manifest,
            proposer,
            hotkey: key.hotkey(),
            signature: Signature([0; 64]),
        };
        proposal.signature = key.sign(&proposal.message());
        proposal
    }

    /// The bytes to sign: everything but the signature, after a prefix that no other kind of message begins with.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        wire::message(self)
    }

    /// Checks the proposer's signature, that entries and headers say the same, and every miner's signature.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn verify(&self, verify: &(impl Verify + ?Sized)) -> Result<(), ProposalError> {
        if !verify.verify(&self.hotkey, &self.message(), &self.signature) {
            return Err(ProposalError::BadSignature);
        }
        let mut headers: BTreeMap<Uid, &SignedHeader> =
            self.headers.iter().map(|signed| (signed.header.uid, signed)).collect();
        for entry in &self.manifest.entries {
            let uid = entry.uid;
            let signed = headers.remove(&uid).ok_or(ProposalError::Unproven { uid })?;
            let header = &signed.header;
            let same = (signed.hotkey, header.payload, header.payload_bytes, header.window)
                == (entry.hotkey, entry.payload, entry.bytes, self.manifest.window);
            if !same {
                return Err(ProposalError::Unproven { uid });
            }
            if !signed.verify(verify) {
                return Err(ProposalError::BadHeader { uid });
            }
        }
        headers.into_keys().next().map_or(Ok(()), |uid| Err(ProposalError::Superfluous { uid }))
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Reads the canonical bytes. No signature is checked: see [`Proposal::verify`].
    ///
    /// # Errors
    /// As [`Manifest::decode`] and [`SignedHeader::decode`]; also if the headers are not in uid order.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, WireError> {
        let proposal: Self = wire::decode(bytes, limits)?;
        proposal.manifest.check(limits)?;
        proposal.headers.iter().try_for_each(SignedHeader::check)?;
        if proposal.headers.is_sorted_by(|a, b| a.header.uid < b.header.uid) {
            Ok(proposal)
        } else {
            Err(WireError::Invalid { what: "headers are not in uid order" })
        }
    }
}
