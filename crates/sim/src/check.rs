//! What must hold, whatever goes wrong.

use std::collections::BTreeMap;

use pactum_protocol::{Digest, Uid, Window};
use pactum_round::{Entry, Outcome, WindowReport};

use crate::cheats::Cheat;

/// How many violations a run reports.
const MOST: usize = 16;

/// Something that must never happen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Two nodes have committed different parameters at the start of one window.
    #[error("node {node} and node {other} have different parameters at the start of window {window}")]
    Diverged {
        /// The window.
        window: Window,
        /// The node that committed last.
        node: usize,
        /// The node that committed first.
        other: usize,
    },
    /// A node committed a window that it had committed before.
    #[error("node {node} went back from window {from} to window {to}")]
    Regressed {
        /// The node.
        node: usize,
        /// Where it stood.
        from: Window,
        /// Where it then stood.
        to: Window,
    },
    /// A node came back from a crash with other parameters than it had committed.
    #[error("node {node} restored other parameters than it committed for window {window}")]
    Forgotten {
        /// The node.
        node: usize,
        /// The window.
        window: Window,
    },
    /// A payload was served before its window's `submit_by`.
    #[error("node {to} got a payload of window {window} from node {from} before the deadline for headers")]
    Early {
        /// The window.
        window: Window,
        /// Who served it.
        from: usize,
        /// Who got it.
        to: usize,
    },
    /// A node committed something else than what the chain's record and the payloads give when replayed.
    #[error("node {node} did not commit what the record gives for window {window}")]
    Unapplied {
        /// The node.
        node: usize,
        /// The window.
        window: Window,
    },
    /// The chain decided on a manifest that nobody has, or that does not fit the record.
    #[error("the manifest of window {window} cannot be replayed: {why}")]
    Unsound {
        /// The window.
        window: Window,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A node that is alive did not catch up after the faults had stopped.
    #[error("node {node} is stuck before window {next}")]
    Stuck {
        /// The node.
        node: usize,
        /// The first window that it has not committed.
        next: Window,
    },
    /// A node stopped by an error, or turned in circles.
    #[error("node {node} failed: {why}")]
    Failed {
        /// The node.
        node: usize,
        /// The error and its causes.
        why: String,
    },
    /// A cheater earned more than the scenario allows.
    #[error("the cheater {cheat} with uid {uid} has weight {weight:.4}, an honest miner {honest:.4} on average")]
    Overpaid {
        /// What it does.
        cheat: Cheat,
        /// Its uid.
        uid: Uid,
        /// Its share of all weights.
        weight: f64,
        /// The mean share of an honest miner.
        honest: f64,
    },
    /// An honest miner earned less than the scenario demands.
    #[error("the honest miner with uid {uid} has weight {weight:.4}, an honest miner {honest:.4} on average")]
    Starved {
        /// Its uid.
        uid: Uid,
        /// Its share of all weights.
        weight: f64,
        /// The mean share of an honest miner.
        honest: f64,
    },
    /// The loss did not fall as far as the scenario demands.
    #[error("the held-out loss went from {first} to {last} only")]
    Unlearnt {
        /// At the start.
        first: f32,
        /// At the end.
        last: f32,
    },
    /// Fewer windows have a manifest than the scenario demands.
    #[error("only {filled} of {windows} windows have a manifest")]
    Empty {
        /// Windows with a manifest.
        filled: u64,
        /// All windows.
        windows: u64,
    },
}

/// Watches every commit while it happens.
pub(crate) struct Checker {
    pub(crate) violations: Vec<Violation>,
    /// Every commit, in order.
    pub(crate) commits: Vec<(usize, Entry)>,
    /// The newest commit of each node.
    pub(crate) newest: Vec<Option<Entry>>,
    /// Whether nodes have come apart, even if that is no longer in the list.
    pub(crate) apart: bool,
    /// How many checkpoints were taken over.
    pub(crate) adopted: u64,
    /// How many times a node came back from its disk.
    pub(crate) restored: u64,
    /// Why submissions were refused, by uid.
    pub(crate) refusals: BTreeMap<Uid, BTreeMap<String, u64>>,
    states: BTreeMap<Window, (Digest, usize)>,
}

impl Checker {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            violations: Vec::new(),
            commits: Vec::new(),
            newest: vec![None; nodes],
            apart: false,
            adopted: 0,
            restored: 0,
            refusals: BTreeMap::new(),
            states: BTreeMap::new(),
        }
    }

    pub(crate) fn accuse(&mut self, violation: Violation) {
        self.apart |= matches!(violation, Violation::Diverged { .. } | Violation::Unapplied { .. });
        if self.violations.len() < MOST && !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }

    pub(crate) fn commit(&mut self, node: usize, entry: &Entry) {
        let window = entry.next;
        let before = self.newest[node].replace(*entry).map_or(Window(0), |before| before.next);
        if before >= window {
            self.accuse(Violation::Regressed { node, from: before, to: window });
        }
        self.adopted += u64::from(before.next() < window);
        let (state, other) = *self.states.entry(window).or_insert((entry.state, node));
        if state != entry.state {
            self.accuse(Violation::Diverged { window, node, other });
        }
        self.commits.push((node, *entry));
    }

    pub(crate) fn restore(&mut self, node: usize, entry: &Entry, state: Digest) {
        self.restored += 1;
        if entry.state != state || self.newest[node].is_some_and(|newest| newest != *entry) {
            self.accuse(Violation::Forgotten { node, window: entry.next });
        }
    }

    pub(crate) fn report(&mut self, node: usize, report: &WindowReport) {
        if let Outcome::Void(why) = report.outcome {
            self.accuse(Violation::Unsound { window: report.window, why });
        }
        if self.newest[node].is_some_and(|newest| newest.state != report.state) {
            self.accuse(Violation::Unapplied { node, window: report.window });
        }
        for submission in &report.submissions {
            if let Some(why) = &submission.refused {
                *self.refusals.entry(submission.uid).or_default().entry(why.clone()).or_default() += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(next: u64, state: &[u8]) -> Entry {
        Entry { next: Window(next), previous: Digest::ZERO, state: Digest::of(state) }
    }

    #[test]
    fn nodes_may_commit_the_same_in_any_order_and_leap_forward() {
        let mut checker = Checker::new(2);
        for (node, next) in [(0, 1), (1, 1), (1, 2), (0, 2), (0, 9)] {
            checker.commit(node, &entry(next, &next.to_le_bytes()));
        }
        assert_eq!((checker.violations.len(), checker.apart, checker.adopted), (0, false, 1));
    }

    #[test]
    fn a_second_commit_and_another_state_are_seen() {
        let mut checker = Checker::new(2);
        checker.commit(0, &entry(1, b"a"));
        checker.commit(0, &entry(1, b"a"));
        checker.commit(1, &entry(1, b"b"));
        let regressed = Violation::Regressed { node: 0, from: Window(1), to: Window(1) };
        let diverged = Violation::Diverged { window: Window(1), node: 1, other: 0 };
        assert_eq!(checker.violations, [regressed, diverged]);
        assert!(checker.apart);
    }

    #[test]
    fn a_long_list_is_cut_but_disagreement_is_remembered() {
        let mut checker = Checker::new(99);
        for node in 0..99 {
            checker.accuse(Violation::Stuck { node, next: Window(0) });
        }
        assert!(checker.violations.len() == MOST && !checker.apart);
        checker.accuse(Violation::Unapplied { node: 1, window: Window(0) });
        assert!(checker.violations.len() == MOST && checker.apart);
    }
}
