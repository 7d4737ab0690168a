//! A node's door to the network.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pactum_protocol::{Digest, Header, Neuron, Proposal, SignedHeader, Window};
use pactum_round::{Exchange, Stray, Submission};

use crate::agenda::Millis;
use crate::cheats::Cheat;
use crate::check::Violation;
use crate::defect::Defect;
use crate::network::Hold;
use crate::trace::Kind;
use crate::world::{Content, Event, Letter, Place};

/// How long a node waits for the answer of a peer that gives none.
const TIMEOUT: Millis = 500;

/// A node's door to the network.
pub(crate) struct SimExchange {
    place: Place,
    /// The header of the window before, for those who send old ones.
    last: RefCell<Option<SignedHeader>>,
}

impl SimExchange {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, last: RefCell::new(None) }
    }

    /// Sends `content` and waits until it has come to everybody. Returns how many took it.
    async fn send(&self, content: Content, to: &[Neuron]) -> usize {
        let Place { world, me } = &self.place;
        let taken = Rc::new(Cell::new(0));
        let mut last = world.now();
        for neuron in to {
            let to = usize::from(neuron.uid.0);
            if to != *me {
                let when = world.now() + world.delay(*me, to);
                let letter = Letter { from: *me, to, content: content.clone(), taken: Rc::clone(&taken) };
                world.agenda.at(when, Event::Letter(letter));
                last = last.max(when);
            }
        }
        self.place.sleep_until(last).await;
        taken.get()
    }

    /// What becomes of a header on its way out of this node.
    async fn doctor(&self, signed: &SignedHeader) -> SignedHeader {
        let Place { world, .. } = &self.place;
        let before = self.last.replace(Some(*signed));
        match self.place.profile().cheat {
            Some(Cheat::Late) => {
                let plan = world.setup.rules.schedule.plan(signed.header.window);
                self.place.sleep_until(world.setup.time_of(plan.submit_by) + TIMEOUT).await;
            }
            Some(Cheat::Stale) => {
                let Some(SignedHeader { header: old, .. }) = before else { return *signed };
                let header = Header { previous: old.previous, probe: old.probe, ..signed.header };
                return SignedHeader::sign(header, &self.place.profile().key);
            }
            Some(Cheat::Old) => return before.unwrap_or(*signed),
            Some(Cheat::Forge) => {
                let mut forged = *signed;
                forged.signature.0[0] ^= 1;
                return forged;
            }
            Some(Cheat::Copy) => self.spy(signed.header.window).await,
            _ => {}
        }
        *signed
    }

    /// The proposal without its last entry, or with one entry that outweighs all others, signed again.
    fn bent(&self, proposal: &Proposal) -> Proposal {
        let mut manifest = proposal.manifest.clone();
        match manifest.entries.first_mut() {
            Some(first) if manifest.window.0 % 2 == 1 => first.weight = 1e6,
            _ => drop(manifest.entries.pop()),
        }
        Proposal::sign(manifest, &proposal.headers, proposal.proposer, &self.place.profile().key)
    }

    /// Tries to get somebody's payload of this window, whose digest it has learnt from a talkative validator.
    async fn spy(&self, window: Window) {
        let secret = self.place.world.net.borrow().secret(self.place.me, window);
        if let Some((owner, digest)) = secret {
            let neuron = self.place.world.setup.neurons[owner];
            self.fetch(&neuron, &digest, u64::MAX).await;
        }
    }

    /// What `from` answers to a request that has just reached it.
    fn answer(&self, from: usize, digest: &Digest) -> Option<Vec<u8>> {
        let Place { world, me } = &self.place;
        let (hold, sealed) = world.net.borrow().hold(from, digest);
        let kind = match hold {
            Hold::Served => Kind::Served,
            Hold::Withheld => Kind::Withheld,
            Hold::Absent => Kind::Absent,
        };
        world.record(kind, *me, from as u64, digest);
        if hold != Hold::Served {
            return None;
        }
        if let Some(window) = sealed
            && world.now() < world.setup.time_of(world.setup.rules.schedule.plan(window).submit_by)
        {
            world.accuse(Violation::Early { window, from, to: *me });
        }
        world.net.borrow().local(from, digest)
    }
}

impl Exchange for SimExchange {
    async fn submit(&self, header: &SignedHeader, payload: Vec<u8>, validators: &[Neuron]) -> usize {
        self.place.settle().await;
        let Place { world, me } = &self.place;
        let sealed = Some(header.header.window);
        let digest = world.net.borrow_mut().keep(*me, payload, sealed);
        if self.place.profile().has(Defect::Early) {
            world.net.borrow_mut().reveal(*me, &digest);
        }
        let header = self.doctor(header).await;
        self.send(Content::Header(header.encode().into()), validators).await
    }

    async fn reveal(&self, payload: &Digest) {
        self.place.settle().await;
        self.place.world.net.borrow_mut().reveal(self.place.me, payload);
    }

    fn submissions(&self, window: Window) -> Vec<Submission> {
        self.place.world.net.borrow().submissions(self.place.me, window)
    }

    fn strays(&self) -> Vec<Stray> {
        self.place.world.net.borrow_mut().strays(self.place.me)
    }

    async fn propose(&self, proposal: &Proposal, to: &[Neuron]) {
        self.place.settle().await;
        let whole = Content::Proposal(proposal.encode().into());
        if !self.place.profile().rogue {
            self.send(whole, to).await;
            return;
        }
        let (odd, even): (Vec<Neuron>, Vec<Neuron>) = to.iter().partition(|neuron| neuron.uid.0 % 2 == 1);
        self.send(whole, &even).await;
        self.send(Content::Proposal(self.bent(proposal).encode().into()), &odd).await;
    }

    fn proposals(&self, window: Window) -> Vec<Proposal> {
        self.place.world.net.borrow().proposals(self.place.me, window)
    }

    async fn local(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.place.world.net.borrow().local(self.place.me, digest)
    }

    async fn fetch(&self, from: &Neuron, digest: &Digest, bytes_max: u64) -> Option<Vec<u8>> {
        self.place.settle().await;
        let Place { world, me } = &self.place;
        let from = usize::from(from.uid.0);
        let trip = 2 * world.delay(*me, from);
        let lost = world.net.borrow_mut().random.chance(world.losses().0);
        let silent = lost || !world.net.borrow().connects(*me, from);
        self.place.sleep_until(world.now() + if silent { TIMEOUT } else { trip }).await;
        if silent || !world.net.borrow().connects(*me, from) {
            world.record(Kind::Lost, *me, from as u64, digest);
            return None;
        }
        self.answer(from, digest).filter(|bytes| bytes.len() as u64 <= bytes_max)
    }

    async fn keep(&self, blob: Vec<u8>) {
        self.place.world.net.borrow_mut().keep(self.place.me, blob, None);
    }
}
