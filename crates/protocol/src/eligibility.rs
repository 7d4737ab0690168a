//! Which submissions take part in a window, decided from what every node can see.

use std::collections::{BTreeMap, BTreeSet};

use crate::header::SignedHeader;
use crate::ids::{BlockNumber, Digest, Uid, Verify, Window};
use crate::metagraph::Metagraph;

#[cfg(test)]
mod tests;

/// Why a submission takes no part in its window. Costs its sender the window and nobody else anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Ineligible {
    /// Nobody is registered under this uid.
    #[error("uid is not registered")]
    NotRegistered,
    /// The uid belongs to another key.
    #[error("uid belongs to another key")]
    WrongHotkey,
    /// The signature is false.
    #[error("signature is false")]
    BadSignature,
    /// The header is of another run.
    #[error("header is of another run")]
    WrongRun,
    /// The header speaks another version of the protocol.
    #[error("header speaks another protocol version")]
    WrongVersion,
    /// The sender uses other settings.
    #[error("sender uses other settings")]
    WrongHparams,
    /// The header is of another window.
    #[error("header is of another window")]
    WrongWindow,
    /// The bytes sent as a header are none.
    #[error("header cannot be read")]
    Unreadable,
    /// The sender builds on another manifest.
    #[error("sender builds on another manifest")]
    WrongPrevious,
    /// The header arrived after the deadline.
    #[error("header arrived late")]
    Late,
    /// The uid has no data assigned to it, or the sender claims more samples than it was assigned.
    #[error("claims samples that were not assigned")]
    Unassigned,
    /// The payload is longer than the model's shape allows.
    #[error("payload is too large")]
    TooLarge,
    /// The payload has not the length or the digest that the header tells.
    #[error("payload is not the one announced")]
    WrongDigest,
    /// The payload cannot be decoded.
    #[error("payload is malformed: {0}")]
    Malformed(Malformation),
    /// The state probe is false: the sender does not hold the committed parameters.
    #[error("state probe is false")]
    OutOfSync,
    /// The same payload was submitted before, or in this window by somebody who registered earlier.
    #[error("payload was submitted before")]
    Replayed,
    /// The payload shares too many coordinates with another one.
    #[error("payload overlaps another too much")]
    Overlapping,
}

/// What is wrong with the bytes of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Malformation {
    /// The magic bytes, the version or the settings at its beginning are false.
    Header,
    /// It is for another layout of parameters.
    Layout,
    /// It ends too early.
    Truncated,
    /// It goes on after its end.
    Trailing,
    /// A chunk has too many or too few values.
    Count,
    /// An index is out of range, repeated or out of order.
    Index,
    /// A scale or value is not finite or out of bounds.
    Scale,
    /// Anything else.
    Other,
}

impl std::fmt::Display for Malformation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "false header",
            Self::Layout => "other layout",
            Self::Truncated => "truncated",
            Self::Trailing => "bytes after its end",
            Self::Count => "wrong number of values",
            Self::Index => "index out of range or order",
            Self::Scale => "scale out of bounds",
            Self::Other => "not decodable",
        })
    }
}

/// What a header must say to be eligible in one window.
#[derive(Clone, Copy, Debug)]
pub struct HeaderRules<'a> {
    /// The run.
    pub run: Digest,
    /// The version of the protocol.
    pub version: u16,
    /// The window.
    pub window: Window,
    /// The digest of the newest manifest before this window.
    pub previous: Digest,
    /// The digest of the settings.
    pub hparams: Digest,
    /// The header must have arrived while the chain's newest block was before this one.
    pub submit_by: BlockNumber,
    /// The longest payload, in bytes.
    pub payload_bytes_max: u64,
    /// The most samples that a uid gets in a window.
    pub samples_max: u32,
    /// The uids below this number get samples.
    pub slots: u32,
    /// The participants.
    pub metagraph: &'a Metagraph,
}

/// Judges a header that arrived when the chain's newest block was `arrived`.
///
/// Whatever is found after the signature was found true is the sender's own fault; but a true header of another run or
/// window may be sent again by anybody.
///
/// # Errors
/// The first rule that the header breaks.
pub fn judge_header(
    signed: &SignedHeader,
    arrived: BlockNumber,
    rules: &HeaderRules<'_>,
    verify: &(impl Verify + ?Sized),
) -> Result<(), Ineligible> {
    let header = &signed.header;
    let neuron = rules.metagraph.by_uid(header.uid).ok_or(Ineligible::NotRegistered)?;
    let assigned = u32::from(header.uid.0) < rules.slots && header.samples <= rules.samples_max;
    require(neuron.hotkey == signed.hotkey, Ineligible::WrongHotkey)?;
    require(signed.verify(verify), Ineligible::BadSignature)?;
    require(header.run == rules.run, Ineligible::WrongRun)?;
    require(header.version == rules.version, Ineligible::WrongVersion)?;
    require(header.hparams == rules.hparams, Ineligible::WrongHparams)?;
    require(header.window == rules.window, Ineligible::WrongWindow)?;
    require(arrived < rules.submit_by, Ineligible::Late)?;
    require(header.previous == rules.previous, Ineligible::WrongPrevious)?;
    require(assigned, Ineligible::Unassigned)?;
    require(header.payload_bytes <= rules.payload_bytes_max, Ineligible::TooLarge)
}

/// Judges the state probe of a header against the `expected` one, which the judge takes of its own parameters with the
/// seed [`probe_seed`].
///
/// # Errors
/// [`Ineligible::OutOfSync`] if they differ.
pub fn judge_probe(signed: &SignedHeader, expected: &Digest) -> Result<(), Ineligible> {
    require(signed.header.probe == *expected, Ineligible::OutOfSync)
}

/// Judges the bytes that were served for a header.
///
/// # Errors
/// [`Ineligible::WrongDigest`] if their length or digest is not the announced one.
pub fn judge_payload(signed: &SignedHeader, payload: &[u8]) -> Result<(), Ineligible> {
    let announced = u64::try_from(payload.len()).is_ok_and(|bytes| bytes == signed.header.payload_bytes);
    require(announced && Digest::of(payload) == signed.header.payload, Ineligible::WrongDigest)
}

/// A payload that somebody claims in this window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reveal {
    /// Who claims it.
    pub uid: Uid,
    /// Its digest.
    pub payload: Digest,
}

/// The uids whose payload is a replay.
///
/// A payload that is in `earlier` (the digests submitted in earlier windows) is a replay whoever sends it. Of several
/// equal payloads in one window the one whose sender registered first stays, and of senders that registered in one
/// block the one with the lowest uid: which header arrived first cannot be decided from the public record. Who makes
/// digests begin with their owner's key, as the round does, leaves nobody another's digest to claim.
#[must_use]
pub fn judge_replays(reveals: &[Reveal], earlier: &BTreeSet<Digest>, metagraph: &Metagraph) -> BTreeSet<Uid> {
    let seniority = |uid: Uid| {
        let registered = metagraph.by_uid(uid).map_or(BlockNumber(u64::MAX), |neuron| neuron.registered);
        (registered, uid)
    };
    let mut owners: BTreeMap<Digest, (BlockNumber, Uid)> = BTreeMap::new();
    for reveal in reveals {
        let candidate = seniority(reveal.uid);
        let owner = owners.entry(reveal.payload).or_insert(candidate);
        *owner = candidate.min(*owner);
    }
    let is_owner = |reveal: &Reveal| owners.get(&reveal.payload).is_some_and(|(_, uid)| *uid == reveal.uid);
    reveals.iter().filter(|r| earlier.contains(&r.payload) || !is_owner(r)).map(|r| r.uid).collect()
}

/// The seed of the state probe of `uid` on top of the manifest `previous`. Since it holds the uid, a probe cannot be
/// copied from a neighbour.
#[must_use]
pub fn probe_seed(previous: &Digest, uid: Uid) -> Digest {
    Digest::derive("pactum 1 probe seed", &[&previous.0, &uid.0.to_le_bytes()])
}

fn require(holds: bool, otherwise: Ineligible) -> Result<(), Ineligible> {
    if holds { Ok(()) } else { Err(otherwise) }
}
