//! Everything outside the nodes: time, the chain, the network, the disks, and whoever watches.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pactum_protocol::{BlockNumber, Digest, Timestamp};
use pactum_round::WindowReport;

use crate::agenda::{Agenda, Millis, sleep_until};
use crate::chain::Ledger;
use crate::check::{Checker, Violation};
use crate::disk::Disk;
use crate::network::Net;
use crate::setup::{Profile, Setup};
use crate::trace::{Kind, Trace};

/// What happens without a node's doing.
pub(crate) enum Event {
    /// A node starts, or is one reason less to be away.
    Start(usize),
    /// A node goes away: its memory is lost, its disk stays.
    Crash(usize),
    /// Nodes of different sides no longer reach each other.
    Split(Vec<bool>),
    /// They do again.
    Heal,
    /// Something arrives.
    Letter(Letter),
}

/// A message under way.
pub(crate) struct Letter {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) content: Content,
    /// Counts the receivers who took it.
    pub(crate) taken: Rc<Cell<usize>>,
}

/// What is in a letter, as bytes that the receiver must read.
#[derive(Clone)]
pub(crate) enum Content {
    Header(Rc<[u8]>),
    Proposal(Rc<[u8]>),
}

/// Everything outside the nodes.
pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) agenda: Rc<Agenda<Event>>,
    pub(crate) ledger: RefCell<Ledger>,
    pub(crate) net: RefCell<Net>,
    pub(crate) disks: RefCell<Vec<Disk>>,
    pub(crate) checker: RefCell<Checker>,
    pub(crate) trace: RefCell<Trace>,
    /// Until when each node computes.
    busy: Vec<Cell<Millis>>,
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let nodes = setup.profiles.len();
        Self {
            agenda: Rc::new(Agenda::new()),
            ledger: RefCell::new(Ledger::default()),
            net: RefCell::new(Net::new(setup.seed, nodes)),
            disks: RefCell::new(vec![Disk::default(); nodes]),
            checker: RefCell::new(Checker::new(nodes)),
            trace: RefCell::new(Trace::default()),
            busy: vec![Cell::new(0); nodes],
            setup,
        }
    }

    pub(crate) fn now(&self) -> Millis {
        self.agenda.now()
    }

    pub(crate) fn record(&self, kind: Kind, node: usize, number: u64, digest: &Digest) {
        self.trace.borrow_mut().record(kind, self.now(), (node as u64, number), digest);
    }

    pub(crate) fn accuse(&self, violation: Violation) {
        self.checker.borrow_mut().accuse(violation);
    }

    /// Forgets what a node that went away was computing.
    pub(crate) fn idle(&self, node: usize) {
        self.busy[node].set(0);
    }
}

/// A node's side of the world, shared by its ports.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) world: Rc<World>,
    pub(crate) me: usize,
}

impl Place {
    pub(crate) fn profile(&self) -> &Profile {
        &self.world.setup.profiles[self.me]
    }

    /// The node's own time: computing moves it on before the world follows.
    pub(crate) fn now(&self) -> Millis {
        self.world.now().max(self.world.busy[self.me].get())
    }

    /// What the node's clock shows.
    pub(crate) fn clock(&self) -> Timestamp {
        Timestamp(self.now().saturating_add(self.profile().skew))
    }

    /// Spends time on computing.
    pub(crate) fn compute(&self, millis: Millis) {
        self.world.busy[self.me].set(self.now().saturating_add(millis));
    }

    /// Lets the world catch up with what the node computed.
    pub(crate) async fn settle(&self) {
        let until = self.now();
        if until > self.world.now() {
            self.sleep_until(until).await;
        }
    }

    pub(crate) async fn sleep_until(&self, when: Millis) {
        sleep_until(Rc::clone(&self.world.agenda), when).await;
    }

    /// The newest block that the node sees.
    pub(crate) fn head(&self) -> BlockNumber {
        self.world.setup.block_at(self.world.now().saturating_sub(self.profile().lag))
    }

    pub(crate) fn report(&self, report: &WindowReport) {
        let manifest = report.manifest.unwrap_or(Digest::ZERO);
        self.world.record(Kind::Report, self.me, report.window.0, &manifest);
        self.world.checker.borrow_mut().report(self.me, report);
    }
}
