//! The form in which a book is kept: readable by older and newer releases.
//!
//! Unknown fields are passed over and missing ones have defaults, so that either release reads the other's book; only a
//! change of meaning raises the version, and a book of a newer version is read for what this release understands of it.

use std::collections::BTreeMap;

use pactum_protocol::{Hotkey, Window};
use serde::{Deserialize, Serialize};

use super::{Peer, ScoreBook};

const VERSION: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Saved {
    version: u32,
    scored: Option<Window>,
    peers: BTreeMap<Hotkey, Peer>,
}

impl Default for Saved {
    fn default() -> Self {
        Self { version: VERSION, scored: None, peers: BTreeMap::new() }
    }
}

impl From<ScoreBook> for Saved {
    fn from(book: ScoreBook) -> Self {
        Self { version: VERSION, scored: book.scored, peers: book.peers }
    }
}

impl From<Saved> for ScoreBook {
    /// Every number is brought into its range: a file may say anything.
    fn from(saved: Saved) -> Self {
        let peers = saved.peers.into_iter().map(|(hotkey, peer)| (hotkey, sanitised(peer))).collect();
        let mut book = Self { scored: saved.scored, peers };
        book.forget();
        book
    }
}

fn sanitised(peer: Peer) -> Peer {
    let range = super::VALUE_RANGE;
    let within = |value: f64, low: f64, high: f64, otherwise| {
        if value.is_finite() { value.clamp(low, high) } else { otherwise }
    };
    Peer {
        rating: peer.rating.sanitised(),
        value: within(peer.value, *range.start(), *range.end(), 0.0),
        proof: peer.proof.sanitised(),
        standing: within(peer.standing, 0.0, 1.0, 1.0),
        ..peer
    }
}
