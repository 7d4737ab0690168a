//! The network: delays, losses, partitions, and who holds which blob.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use pactum_protocol::{Digest, Hotkey, Ineligible, Proposal, SignedHeader, Window};
use pactum_round::{Stray, Submission};

use crate::agenda::Millis;
use crate::random::Random;
use crate::trace::Kind;
use crate::world::{Content, Letter, World};

/// How many headers or proposals of one sender and window a receiver keeps.
const LETTERS_MAX: usize = 2;

const NETWORK: u64 = 12;

/// The state of the network, and what nodes keep of it.
pub(crate) struct Net {
    pub(crate) random: Random,
    /// The side of each node while the network is split.
    pub(crate) sides: Option<Vec<bool>>,
    /// For how many reasons each node is away.
    pub(crate) away: Vec<u32>,
    inboxes: Vec<Inbox>,
    /// Nobody sees the order of these.
    blobs: HashMap<Digest, Blob, BuildHasherDefault<FirstBytes>>,
    /// The payloads of each window, and who made them.
    sealed: BTreeMap<Window, Vec<(usize, Digest)>>,
}

/// The hash of what is a hash already.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // The length comes first, then the digest.
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }
}

/// What arrived at a node; lost in a crash.
#[derive(Clone, Default)]
struct Inbox {
    submissions: BTreeMap<Window, Vec<Submission>>,
    strays: BTreeMap<Hotkey, Ineligible>,
    proposals: BTreeMap<Window, Vec<Proposal>>,
}

/// A blob, and who has it.
struct Blob {
    bytes: Rc<[u8]>,
    /// The window whose `submit_by` it must wait for.
    sealed: Option<Window>,
    holders: Vec<Hold>,
}

/// A node's relation to a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Absent,
    Withheld,
    Served,
}

impl Net {
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        Self {
            random: Random::of(&[NETWORK, seed]),
            sides: None,
            away: vec![1; nodes],
            inboxes: vec![Inbox::default(); nodes],
            blobs: HashMap::default(),
            sealed: BTreeMap::new(),
        }
    }

    pub(crate) fn is_alive(&self, node: usize) -> bool {
        self.away[node] == 0
    }

    /// Whether a message gets from one node to another now.
    pub(crate) fn connects(&self, from: usize, to: usize) -> bool {
        let together = self.sides.as_ref().is_none_or(|sides| sides[from] == sides[to]);
        together && self.is_alive(from) && self.is_alive(to)
    }

    /// Keeps a blob on the disk of `node`. What is served stays served.
    pub(crate) fn keep(&mut self, node: usize, bytes: Vec<u8>, sealed: Option<Window>) -> Digest {
        let digest = Digest::of(&bytes);
        let nodes = self.away.len();
        let blob = self.blobs.entry(digest).or_insert_with(|| Blob {
            bytes: bytes.into(),
            sealed,
            holders: vec![Hold::Absent; nodes],
        });
        if let Some(window) = sealed {
            self.sealed.entry(window).or_default().push((node, digest));
        }
        match (sealed, &mut blob.holders[node]) {
            (None, hold) => *hold = Hold::Served,
            (Some(_), hold @ Hold::Absent) => *hold = Hold::Withheld,
            (Some(_), _) => {}
        }
        digest
    }

    /// Serves what `node` withheld of this blob.
    pub(crate) fn reveal(&mut self, node: usize, digest: &Digest) {
        if let Some(blob) = self.blobs.get_mut(digest)
            && blob.holders[node] == Hold::Withheld
        {
            blob.holders[node] = Hold::Served;
        }
    }

    /// A blob from the node's own disk.
    pub(crate) fn local(&self, node: usize, digest: &Digest) -> Option<Vec<u8>> {
        let blob = self.blobs.get(digest)?;
        (blob.holders[node] != Hold::Absent).then(|| blob.bytes.to_vec())
    }

    /// What `node` has of a blob, and the window that seals it.
    pub(crate) fn hold(&self, node: usize, digest: &Digest) -> (Hold, Option<Window>) {
        self.blobs.get(digest).map_or((Hold::Absent, None), |blob| (blob.holders[node], blob.sealed))
    }

    /// A blob, whoever has it: for those who audit and those who spy.
    pub(crate) fn any(&self, digest: &Digest) -> Option<&[u8]> {
        self.blobs.get(digest).map(|blob| &*blob.bytes)
    }

    /// A payload of `window` that a node other than `spy` made.
    pub(crate) fn secret(&self, spy: usize, window: Window) -> Option<(usize, Digest)> {
        self.sealed.get(&window)?.iter().find(|(owner, _)| *owner != spy).copied()
    }

    pub(crate) fn submissions(&self, node: usize, window: Window) -> Vec<Submission> {
        self.inboxes[node].submissions.get(&window).cloned().unwrap_or_default()
    }

    pub(crate) fn strays(&mut self, node: usize) -> Vec<Stray> {
        let strays = std::mem::take(&mut self.inboxes[node].strays);
        strays.into_iter().map(|(hotkey, why)| Stray { hotkey, why }).collect()
    }

    pub(crate) fn proposals(&self, node: usize, window: Window) -> Vec<Proposal> {
        self.inboxes[node].proposals.get(&window).cloned().unwrap_or_default()
    }

    /// What a node loses in a crash.
    pub(crate) fn forget(&mut self, node: usize) {
        self.inboxes[node] = Inbox::default();
    }

    /// Takes a submission, as a transport would that knows by its handshake who sends.
    fn take_submission(&mut self, node: usize, submission: Submission) -> bool {
        let (window, hotkey) = (submission.header.header.window, submission.header.hotkey);
        let list = self.inboxes[node].submissions.entry(window).or_default();
        let room = list.iter().filter(|other| other.header.hotkey == hotkey).count() < LETTERS_MAX;
        if room {
            list.push(submission);
        }
        room
    }

    fn take_proposal(&mut self, node: usize, proposal: Proposal) -> bool {
        let list = self.inboxes[node].proposals.entry(proposal.manifest.window).or_default();
        let room = list.iter().filter(|other| other.hotkey == proposal.hotkey).count() < LETTERS_MAX;
        if room {
            list.push(proposal);
        }
        room
    }

    /// Drops letters about windows that are over.
    fn prune(&mut self, node: usize, oldest: Window) {
        let inbox = &mut self.inboxes[node];
        inbox.submissions.retain(|window, _| *window >= oldest);
        inbox.proposals.retain(|window, _| *window >= oldest);
    }
}

impl World {
    /// The share of fetches and of messages lost now.
    pub(crate) fn losses(&self) -> (f64, f64) {
        let faults = &self.setup.scenario.faults;
        if self.now() < self.setup.end() { (faults.fetch_loss, faults.message_loss) } else { (0.0, 0.0) }
    }

    /// How long a message from one node takes to another, with jitter.
    pub(crate) fn delay(&self, from: usize, to: usize) -> Millis {
        let base = self.setup.delay(from, to);
        base + self.net.borrow_mut().random.below(base / 2 + 1)
    }

    /// A letter has come to its receiver, who may be away.
    pub(crate) fn deliver(&self, letter: &Letter) {
        let connected = self.net.borrow().connects(letter.from, letter.to);
        let lost = self.net.borrow_mut().random.chance(self.losses().1);
        if !connected || lost {
            return self.record(Kind::Lost, letter.to, letter.from as u64, &Digest::ZERO);
        }
        let taken = match &letter.content {
            Content::Header(bytes) => self.header(letter, bytes),
            Content::Proposal(bytes) => self.proposal(letter, bytes),
        };
        letter.taken.set(letter.taken.get() + usize::from(taken));
    }

    fn header(&self, letter: &Letter, bytes: &[u8]) -> bool {
        self.record(Kind::Header, letter.to, letter.from as u64, &Digest::of(bytes));
        let sender = self.setup.neurons[letter.from].hotkey;
        let arrived = self.setup.block_at(self.now().saturating_sub(self.setup.profiles[letter.to].lag));
        let here = self.setup.rules.schedule.window_at(arrived).unwrap_or_default();
        let mut net = self.net.borrow_mut();
        match self.readable(bytes, sender, here) {
            Ok(header) => {
                net.prune(letter.to, Window(here.0.saturating_sub(1)));
                net.take_submission(letter.to, Submission { header, arrived })
            }
            Err(why) => {
                net.inboxes[letter.to].strays.entry(sender).or_insert(why);
                false
            }
        }
    }

    /// The header of `sender` in `bytes`, if it can count in a window that is open `here` or next.
    fn readable(&self, bytes: &[u8], sender: Hotkey, here: Window) -> Result<SignedHeader, Ineligible> {
        let signed = SignedHeader::decode(bytes, &self.setup.rules.limits).map_err(|_| Ineligible::Unreadable)?;
        if signed.hotkey != sender {
            return Err(Ineligible::WrongHotkey);
        }
        let near = (here.0..=here.0 + 1).contains(&signed.header.window.0);
        if near { Ok(signed) } else { Err(Ineligible::WrongWindow) }
    }

    fn proposal(&self, letter: &Letter, bytes: &[u8]) -> bool {
        self.record(Kind::Proposal, letter.to, letter.from as u64, &Digest::of(bytes));
        let Ok(proposal) = Proposal::decode(bytes, &self.setup.rules.limits) else { return false };
        let sender = self.setup.neurons[letter.from].hotkey;
        proposal.hotkey == sender && self.net.borrow_mut().take_proposal(letter.to, proposal)
    }
}
