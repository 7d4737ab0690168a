//! What is known of the network from what its nodes said: the live view and the report are read off it.

use std::collections::BTreeMap;

use pactum_node::{Event, Started, SubmissionEvent, WindowEvent};
use pactum_protocol::Digest;
use serde::{Deserialize, Serialize};

/// One line of the event log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Logged {
    /// The node's name.
    pub(super) node: String,
    /// What it said.
    pub(super) event: Event,
}

impl Logged {
    /// Whether the node did the work of a window, and does not only tell where it stands.
    pub(super) fn ended_window(&self) -> bool {
        let Event::Window(window) = &self.event else { return false };
        matches!(window.outcome.as_str(), "applied" | "empty" | "void")
    }
}

/// What a node is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Validator,
    Miner,
}

/// What one node said.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) role: Role,
    pub(super) cheat: Option<String>,
    pub(super) started: Option<Started>,
    pub(super) phase: String,
    /// Whether nobody waits for it any more.
    pub(super) given_up: bool,
    pub(super) windows: BTreeMap<u64, WindowEvent>,
}

/// All nodes by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Board {
    pub(super) seats: BTreeMap<String, Seat>,
}

impl Board {
    /// Adds a node, unless it is there already from an earlier run.
    pub(super) fn seat(&mut self, name: &str, role: Role, cheat: Option<String>) {
        let (phase, windows) = ("starting".to_owned(), BTreeMap::new());
        let seat = Seat { role, cheat, started: None, phase, given_up: false, windows };
        self.seats.entry(name.to_owned()).or_insert(seat);
    }

    /// Takes in what a node said.
    pub(super) fn hear(&mut self, name: &str, event: Event) {
        let Some(seat) = self.seats.get_mut(name) else { return };
        match event {
            Event::Started(started) => {
                seat.phase = "up".to_owned();
                seat.started = Some(started);
            }
            Event::Phase { phase } => seat.phase = phase,
            Event::Window(window) if window.outcome == "recovered" => {
                seat.windows.entry(window.window).or_insert(*window);
            }
            // A window left incomplete is told again once it is replayed, and so is one whose commit a crash has undone: of
            // that the first telling says more.
            Event::Window(window) => {
                let is_told = |told: &WindowEvent| told.is_committed() && !told.replayed && told.state == window.state;
                if !(window.replayed && seat.windows.get(&window.window).is_some_and(is_told)) {
                    seat.windows.insert(window.window, *window);
                }
            }
        }
    }

    /// Notes what a node does, or what is done to it.
    pub(super) fn phase(&mut self, name: &str, phase: &str) {
        if let Some(seat) = self.seats.get_mut(name) {
            phase.clone_into(&mut seat.phase);
        }
    }

    /// Notes that a node will not come back.
    pub(super) fn give_up(&mut self, name: &str) {
        self.phase(name, "given up");
        if let Some(seat) = self.seats.get_mut(name) {
            seat.given_up = true;
        }
    }

    /// Whether a node that may still come has not committed `window`.
    pub(super) fn waits_for(&self, window: u64) -> bool {
        self.seats.values().any(|seat| !seat.given_up && !seat.committed(window))
    }

    /// The names of the nodes that have not committed `window`.
    pub(super) fn behind(&self, window: u64) -> Vec<&str> {
        let behind = self.seats.iter().filter(|(_, seat)| !seat.committed(window));
        behind.map(|(name, _)| name.as_str()).collect()
    }

    /// The newest window that some node committed.
    pub(super) fn newest(&self) -> Option<u64> {
        self.seats.values().filter_map(|seat| seat.windows.keys().next_back()).max().copied()
    }

    /// Whether nodes that committed the same window stand at the same parameters, in every window.
    pub(super) fn same(&self) -> bool {
        let mut states: BTreeMap<u64, Digest> = BTreeMap::new();
        let mut same = true;
        for (window, event) in self.seats.values().flat_map(|seat| &seat.windows).filter(|(_, e)| e.is_committed()) {
            if let Some(state) = event.state {
                same &= *states.entry(*window).or_insert(state) == state;
            }
        }
        same
    }

    /// The held-out loss after each window, by whichever validator measured it first in order of names.
    pub(super) fn heldout(&self) -> BTreeMap<u64, f32> {
        let mut losses = BTreeMap::new();
        for (window, event) in self.validators().flat_map(|seat| &seat.windows) {
            if let Some(loss) = event.heldout_loss {
                losses.entry(*window).or_insert(loss);
            }
        }
        losses
    }

    /// The submissions of each window, by whichever validator judged them first in order of names.
    pub(super) fn submissions(&self) -> BTreeMap<u64, &[SubmissionEvent]> {
        let mut all: BTreeMap<u64, &[SubmissionEvent]> = BTreeMap::new();
        for (window, event) in self.validators().flat_map(|seat| &seat.windows) {
            if !event.submissions.is_empty() {
                all.entry(*window).or_insert(&event.submissions);
            }
        }
        all
    }

    /// The held-out losses after the first and the last measured window, as [`heldout`](Self::heldout) has them.
    pub(super) fn heldout_ends(&self) -> (Option<f32>, Option<f32>) {
        let loss = |(window, event): (&u64, &WindowEvent)| Some((*window, event.heldout_loss?));
        let first = self.validators().filter_map(|seat| seat.windows.iter().find_map(loss));
        let last = self.validators().rev().filter_map(|seat| seat.windows.iter().rev().find_map(loss));
        let first = first.min_by_key(|(window, _)| *window);
        (first.map(|(_, loss)| loss), last.max_by_key(|(window, _)| *window).map(|(_, loss)| loss))
    }

    /// What the validators last said of `uid`. Each look goes back over few windows, however long the run is.
    pub(super) fn judged(&self, uid: u16) -> Option<&SubmissionEvent> {
        let told = self.validators().rev().filter_map(Seat::told);
        let (_, newest) = told.max_by_key(|(window, _)| *window)?;
        newest.iter().find(|submission| submission.uid.0 == uid)
    }

    fn validators(&self) -> impl DoubleEndedIterator<Item = &Seat> {
        self.seats.values().filter(|seat| seat.role == Role::Validator)
    }
}

impl Seat {
    /// The newest window in which it judged somebody, and what it said.
    fn told(&self) -> Option<(u64, &[SubmissionEvent])> {
        let told = self.windows.iter().rev().find(|(_, event)| !event.submissions.is_empty());
        told.map(|(window, event)| (*window, event.submissions.as_slice()))
    }

    /// Whether this node has committed `window`, or joined from a checkpoint after it.
    fn committed(&self, window: u64) -> bool {
        let joined_later = self.started.as_ref().is_some_and(|started| started.next.0 > window);
        joined_later || self.windows.get(&window).is_some_and(WindowEvent::is_committed)
    }

    /// The digest of its parameters after `last`, or after the newest window before that.
    pub(super) fn state(&self, last: u64) -> Option<Digest> {
        self.windows.range(..=last).rev().find(|(_, event)| event.is_committed()).and_then(|(_, event)| event.state)
    }

    /// How many windows changed its parameters. One whose telling was lost in a crash is known as recovered only.
    pub(super) fn applied(&self, last: u64) -> usize {
        let windows = self.windows.range(..=last).map(|(_, event)| event.outcome.as_str());
        windows.filter(|outcome| matches!(*outcome, "applied" | "recovered")).count()
    }
}

#[cfg(test)]
mod tests;
