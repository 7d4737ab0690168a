//! What a ledger remembers, in the form in which it is kept on disk.

use std::collections::VecDeque;

use pactum_protocol::{BlockNumber, Hotkey, Neuron, Uid};
use parity_scale_codec::{Decode, Encode};

use crate::call::RawAddress;
use crate::genesis::{Genesis, UIDS_MAX};

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct State {
    pub(super) number: u64,
    pub(super) hash: [u8; 32],
    pub(super) time: u64,
    /// At its place in this list is a neuron's uid.
    pub(super) seats: Vec<Seat>,
    /// Above every nonce of a neuron that was replaced, so that none of its calls is ever valid again.
    pub(super) nonce_floor: u64,
    pub(super) undistributed: u64,
    pub(super) forfeited: u64,
    /// The block of the newest distribution.
    pub(super) last_epoch: u64,
    /// Whether the open block changes who takes part.
    pub(super) changed: bool,
    /// Who took part, from the block of each entry to that of the next.
    pub(super) versions: VecDeque<(u64, Vec<Row>)>,
    /// In the order of inclusion.
    pub(super) attestations: VecDeque<Attested>,
    /// The block of the newest attestation that was forgotten.
    pub(super) attestations_gone: Option<u64>,
}

/// What one neuron has and did.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Seat {
    pub(super) row: Row,
    pub(super) balance: u64,
    pub(super) nonce: u64,
    /// The digest of its newest call and the block that includes it.
    pub(super) newest_call: ([u8; 32], u64),
    /// (window, manifest, block) of its newest attestation.
    pub(super) attested: Option<(u64, [u8; 32], u64)>,
    /// The block of its newest weights; at first that of its registration.
    pub(super) updated: u64,
    pub(super) weights: Vec<(u16, u16)>,
    pub(super) bonds: Vec<(u16, u16)>,
    pub(super) earned: u64,
    /// What it got in the newest distribution.
    pub(super) latest: u64,
}

/// The public part of a neuron.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Row {
    pub(super) hotkey: [u8; 32],
    pub(super) stake: u64,
    pub(super) permit: bool,
    pub(super) address: Option<RawAddress>,
    pub(super) registered: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Attested {
    pub(super) uid: u16,
    pub(super) hotkey: [u8; 32],
    pub(super) window: u64,
    pub(super) manifest: [u8; 32],
    pub(super) block: u64,
}

impl State {
    pub(super) fn new(hash: [u8; 32], time: u64) -> Self {
        Self {
            number: 0,
            hash,
            time,
            seats: Vec::new(),
            nonce_floor: 0,
            undistributed: 0,
            forfeited: 0,
            last_epoch: 0,
            changed: false,
            versions: VecDeque::from([(0, Vec::new())]),
            attestations: VecDeque::new(),
            attestations_gone: None,
        }
    }

    pub(super) fn seats(&self) -> impl Iterator<Item = (u16, &Seat)> {
        (0..=u16::MAX).zip(&self.seats)
    }

    pub(super) fn seat_of(&self, hotkey: &[u8; 32]) -> Option<(u16, &Seat)> {
        self.seats().find(|(_, seat)| seat.row.hotkey == *hotkey)
    }

    pub(super) fn seat_of_mut(&mut self, hotkey: &[u8; 32]) -> Option<(u16, &mut Seat)> {
        (0..=u16::MAX).zip(&mut self.seats).find(|(_, seat)| seat.row.hotkey == *hotkey)
    }

    /// Whether every number that is used as a place or a bound is within the genesis' limits.
    pub(super) fn is_sound(&self, genesis: &Genesis) -> bool {
        let uids = self.seats.len();
        let known = |pairs: &[(u16, u16)]| pairs.iter().all(|(uid, _)| usize::from(*uid) < uids);
        uids <= usize::from(genesis.uids_max.min(UIDS_MAX))
            && self.seats.iter().all(|seat| known(&seat.weights) && known(&seat.bonds))
            && self.versions.iter().all(|(_, rows)| rows.len() <= usize::from(UIDS_MAX))
            && !self.versions.is_empty()
            && self.number < u64::MAX
    }
}

impl Row {
    pub(super) fn neuron(&self, uid: u16) -> Neuron {
        Neuron {
            uid: Uid(uid),
            hotkey: Hotkey(self.hotkey),
            stake: self.stake,
            permit: self.permit,
            address: self.address.map(Into::into),
            registered: BlockNumber(self.registered),
        }
    }
}
