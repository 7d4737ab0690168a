//! The public record of one window.

use std::collections::BTreeMap;

use crate::header::SignedHeader;
use crate::ids::{Digest, Hotkey, Uid, Window};
use crate::limits::Limits;
use crate::wire::{self, WireError};

#[cfg(test)]
mod tests;

/// One contribution that the window's aggregate contains.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Entry {
    /// The contributor's uid.
    pub uid: Uid,
    /// The contributor's key.
    pub hotkey: Hotkey,
    /// The digest of the payload.
    pub payload: Digest,
    /// The length of the payload in bytes.
    pub bytes: u64,
    /// The weight of the contribution in the aggregate, above 0; 1 as a rule.
    pub weight: f32,
}

/// The public record of one window: with θ₀ and the payloads, the chain of manifests fixes the parameters bit for bit.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Manifest {
    /// The run.
    pub run: Digest,
    /// The window.
    pub window: Window,
    /// The digest of the newest manifest before this one; [`Digest::ZERO`] if there was none. Empty windows leave no
    /// manifest and are passed over.
    pub previous: Digest,
    /// The contributions in strictly rising order of their uids.
    pub entries: Vec<Entry>,
    /// The seed for scoring: the hash of the block `submit_by`.
    pub seed: Digest,
    /// The state digest of the parameters at the start of the window, if this window has a checkpoint.
    pub checkpoint: Option<Digest>,
}

impl Manifest {
    /// The BLAKE3 digest of [`Manifest::encode`]: what validators commit on the chain.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// If the bytes are too many, malformed or not canonical, or if there are too many entries, entries out of order,
    /// two entries with one payload, payloads over the limit, or weights that are not finite and above 0.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, WireError> {
        let manifest: Self = wire::decode(bytes, limits)?;
        manifest.check(limits)?;
        Ok(manifest)
    }

    /// The entry of `uid`.
    #[must_use]
    pub fn entry(&self, uid: Uid) -> Option<&Entry> {
        self.entries.binary_search_by_key(&uid, |entry| entry.uid).ok().map(|at| &self.entries[at])
    }

    pub(crate) fn check(&self, limits: &Limits) -> Result<(), WireError> {
        let rule = |holds: bool, what| if holds { Ok(()) } else { Err(WireError::Invalid { what }) };
        let entries = &self.entries;
        rule(entries.len() <= limits.entries_max, "too many entries")?;
        rule(entries.is_sorted_by(|a, b| a.uid < b.uid), "entries are not in uid order")?;
        rule(entries.iter().all(|entry| entry.bytes <= limits.payload_bytes_max), "payload is too large")?;
        rule(entries.iter().all(|entry| entry.weight.is_finite() && entry.weight > 0.0), "weight is not above 0")?;
        let payloads: std::collections::BTreeSet<_> = entries.iter().map(|entry| entry.payload).collect();
        rule(payloads.len() == entries.len(), "two entries have one payload")
    }
}

/// A manifest in the making: judged submissions go in, in order of preference; the manifest comes out in uid order.
///
/// ```
/// use pactum_protocol::{Digest, Draft, Window};
///
/// let draft = Draft::new(Digest::of(b"run"), Window(0), Digest::ZERO, Digest::of(b"block 9"));
/// assert!(draft.build(64).entries.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct Draft {
    base: Manifest,
    accepted: Vec<Entry>,
}

impl Draft {
    /// A manifest of `window` with no entries yet; the arguments are the manifest's fields of the same names.
    #[must_use]
    pub fn new(run: Digest, window: Window, previous: Digest, seed: Digest) -> Self {
        let base = Manifest { run, window, previous, entries: Vec::new(), seed, checkpoint: None };
        Self { base, accepted: Vec::new() }
    }

    /// Names the state digest of the parameters at the start of the window.
    #[must_use]
    pub fn with_checkpoint(mut self, state: Digest) -> Self {
        self.base.checkpoint = Some(state);
        self
    }

    /// Takes a submission that was found eligible. Of two with one uid or one payload the first taken stays.
    pub fn accept(&mut self, signed: &SignedHeader, weight: f32) {
        let header = &signed.header;
        let entry = Entry {
            uid: header.uid,
            hotkey: signed.hotkey,
            payload: header.payload,
            bytes: header.payload_bytes,
            weight,
        };
        let taken = self.accepted.iter().any(|other| other.uid == entry.uid || other.payload == entry.payload);
        if !taken {
            self.accepted.push(entry);
        }
    }

    /// The manifest of the first `max_entries` that were taken.
    #[must_use]
    pub fn build(self, max_entries: u32) -> Manifest {
        let most = usize::try_from(max_entries).unwrap_or(usize::MAX);
        let entries: BTreeMap<Uid, Entry> = self.accepted.into_iter().take(most).map(|e| (e.uid, e)).collect();
        Manifest { entries: entries.into_values().collect(), ..self.base }
    }
}
