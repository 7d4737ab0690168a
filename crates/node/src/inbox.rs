//! What strangers sent: kept until the round asks for it, bounded in every direction.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pactum_protocol::{
    BlockNumber, Digest, Hotkey, Ineligible, Limits, Metagraph, Neuron, Proposal, Schedule, SignedHeader, Window,
};
use pactum_round::{Stray, Submission};
use pactum_transport::{Blob, BlobStore, Refusal, Service};

#[cfg(test)]
mod tests;

/// The topic of a miner's signed header.
pub(crate) const HEADER: u8 = 1;
/// The topic of a validator's proposal.
pub(crate) const PROPOSAL: u8 = 2;

/// Why a message was not taken.
mod refusal {
    use super::Refusal;

    pub(super) const TOPIC: Refusal = Refusal(1);
    pub(super) const MALFORMED: Refusal = Refusal(2);
    pub(super) const NOT_YOURS: Refusal = Refusal(3);
    pub(super) const OTHER_WINDOW: Refusal = Refusal(4);
    pub(super) const TWICE: Refusal = Refusal(5);
}

/// Whom this node knows, and what they sent for the windows around the newest block.
pub(crate) struct Inbox {
    limits: Limits,
    schedule: Schedule,
    blobs: Arc<BlobStore>,
    head: AtomicU64,
    mail: Mutex<Mail>,
}

#[derive(Default)]
struct Mail {
    known: BTreeMap<Hotkey, Option<SocketAddr>>,
    /// The block as of which they are known.
    as_of: BlockNumber,
    submissions: BTreeMap<Window, Vec<Submission>>,
    /// Only those known get as far as this, so there are at most as many as participants.
    strays: BTreeMap<Hotkey, Ineligible>,
    proposals: BTreeMap<Window, Vec<Proposal>>,
}

impl Inbox {
    pub(crate) fn new(limits: Limits, schedule: Schedule, blobs: Arc<BlobStore>) -> Self {
        Self { limits, schedule, blobs, head: AtomicU64::new(0), mail: Mutex::default() }
    }

    /// Tells the newest block, by which arrivals are dated, and forgets windows long over.
    pub(crate) fn set_head(&self, block: BlockNumber) {
        self.head.fetch_max(block.0, Ordering::Relaxed);
        let Some(Window(now)) = self.window() else { return };
        let oldest = Window(now.saturating_sub(1));
        let mut mail = self.mail();
        mail.submissions.retain(|window, _| *window >= oldest);
        mail.proposals.retain(|window, _| *window >= oldest);
    }

    /// Tells who takes part, and where; others are not spoken to. What is older than what is known is passed over.
    pub(crate) fn set_known(&self, metagraph: &Metagraph) {
        let mut mail = self.mail();
        let mail = &mut *mail;
        if metagraph.block < mail.as_of {
            return;
        }
        mail.as_of = metagraph.block;
        mail.known = metagraph.neurons.iter().map(|neuron| (neuron.hotkey, neuron.address)).collect();
        mail.strays.retain(|hotkey, _| mail.known.contains_key(hotkey));
    }

    /// Where a peer is now: what the record of an earlier window names may be a place that it has left.
    pub(crate) fn address_of(&self, neuron: &Neuron) -> Option<SocketAddr> {
        self.mail().known.get(&neuron.hotkey).copied().flatten().or(neuron.address)
    }

    pub(crate) fn submissions(&self, window: Window) -> Vec<Submission> {
        self.mail().submissions.get(&window).cloned().unwrap_or_default()
    }

    /// Who sent what was not taken as a header, and the first reason, since this was last asked.
    pub(crate) fn strays(&self) -> Vec<Stray> {
        let strays = std::mem::take(&mut self.mail().strays);
        strays.into_iter().map(|(hotkey, why)| Stray { hotkey, why }).collect()
    }

    pub(crate) fn proposals(&self, window: Window) -> Vec<Proposal> {
        self.mail().proposals.get(&window).cloned().unwrap_or_default()
    }

    fn take_header(&self, from: &Hotkey, bytes: &[u8]) -> Result<(), Refusal> {
        let taken = self.keep_header(from, bytes);
        let why = match taken {
            Err(refusal::MALFORMED) => Ineligible::Unreadable,
            Err(refusal::NOT_YOURS) => Ineligible::WrongHotkey,
            Err(refusal::OTHER_WINDOW) => Ineligible::WrongWindow,
            _ => return taken,
        };
        self.mail().strays.entry(*from).or_insert(why);
        taken
    }

    fn keep_header(&self, from: &Hotkey, bytes: &[u8]) -> Result<(), Refusal> {
        let header = SignedHeader::decode(bytes, &self.limits).map_err(|_| refusal::MALFORMED)?;
        let window = header.header.window;
        self.require(header.hotkey == *from, window)?;
        let arrived = BlockNumber(self.head.load(Ordering::Relaxed));
        let mut mail = self.mail();
        let box_of_window = mail.submissions.entry(window).or_default();
        match box_of_window.iter().find(|submission| submission.header.hotkey == *from) {
            // The same once more, since the acknowledgement was lost.
            Some(earlier) if earlier.header.header == header.header => Ok(()),
            Some(_) => Err(refusal::TWICE),
            None => {
                box_of_window.push(Submission { header, arrived });
                Ok(())
            }
        }
    }

    fn take_proposal(&self, from: &Hotkey, bytes: &[u8]) -> Result<(), Refusal> {
        let proposal = Proposal::decode(bytes, &self.limits).map_err(|_| refusal::MALFORMED)?;
        let window = proposal.manifest.window;
        self.require(proposal.hotkey == *from, window)?;
        let mut mail = self.mail();
        let box_of_window = mail.proposals.entry(window).or_default();
        if box_of_window.iter().any(|earlier| earlier.hotkey == *from) {
            return Err(refusal::TWICE);
        }
        box_of_window.push(proposal);
        Ok(())
    }

    fn require(&self, own: bool, window: Window) -> Result<(), Refusal> {
        if !own {
            return Err(refusal::NOT_YOURS);
        }
        // A peer may have heard earlier that the next window began; what is of the last one comes too late in any case.
        let near = self.window().is_some_and(|Window(now)| (now..=now + 1).contains(&window.0));
        if near { Ok(()) } else { Err(refusal::OTHER_WINDOW) }
    }

    fn window(&self) -> Option<Window> {
        self.schedule.window_at(BlockNumber(self.head.load(Ordering::Relaxed)))
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service for Inbox {
    fn admit(&self, peer: &Hotkey) -> bool {
        self.mail().known.contains_key(peer)
    }

    fn message(&self, from: &Hotkey, topic: u8, bytes: Vec<u8>) -> Result<(), Refusal> {
        match topic {
            HEADER => self.take_header(from, &bytes),
            PROPOSAL => self.take_proposal(from, &bytes),
            _ => Err(refusal::TOPIC),
        }
    }

    fn blob(&self, _from: &Hotkey, digest: &Digest) -> Blob {
        self.blobs.serve(digest)
    }
}
