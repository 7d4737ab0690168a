//! The start of a window's training while the updates of the window before are still on their way.
//!
//! With `apply_delay` 1 the committed parameters lag: θ(w+1) = θ(w) − α·G(w−1), a function of public payloads alone, where
//! G(w−1) is the aggregate of what all peers sent in window w−1. What this node sent then is known to it at once, though, and
//! "Eager Updates For Overlapped Communication and Computation in DiLoCo" (Kale, Douillard, Donchev; arXiv:2502.12996)
//! corrects the trajectory by it: a worker among M steps along its own newest outer gradient together with the others' old
//! ones,
//!
//! ```text
//! step(w) = 1/M · Δ_own(w) + (G(w−1) − 1/M · Δ_own(w−1))
//! ```
//!
//! The outer optimizer here is plain gradient descent, so the sum of those steps telescopes: all old own parts cancel, and what
//! is left is the committed parameters less the worker's share of what is on its way,
//!
//! ```text
//! start(w) = θ(w) − α·s·p(w−1)        p: the node's own payload, decoded; s: its share, 1/M for a mean over peers
//! ```
//!
//! A mean over contributors divides each coordinate by the number of those that sent it. How many that will be is not known
//! yet, so s is its mean in the aggregate that was applied last: over all coordinates that peers sent, 1 / contributors
//! averages to the size of their union over the sum of their sizes. Like M this follows from public payloads.
//!
//! That is where window w trains from, on a copy. Its pseudo-gradient is start(w) − θ'(w): relative to where it began, so that
//! no step is counted twice. Nothing that another node sees depends on the start. Before the first aggregate s is 1; alone it
//! stays 1, and the start is the committed parameters of the same run without delay, bit for bit.
//!
//! What the others have on its way no node can know, so a delay still costs: see the convergence example.

use crate::Learner;
use crate::learner::Sent;
use pactum_compress::{Layout, Mean, Weighted, aggregate};
use std::sync::Arc;

/// The share of an own payload that a window's training starts ahead of the committed parameters.
pub(crate) struct Ahead {
    sent: Arc<Sent>,
    scale: f32,
}

impl Learner {
    /// `None` where training starts at the committed parameters.
    pub(crate) fn ahead(&self) -> Option<Ahead> {
        let scale = -(self.config.outer.rate * self.committed.share);
        self.committed.sent.as_ref().map(|sent| Ahead { sent: Arc::clone(sent), scale })
    }
}

/// What part of a peer's values the mean over `updates` keeps, on average over all values.
pub(crate) fn share(layout: &Layout, updates: &[Weighted<'_>], mean: Mean) -> f32 {
    let sent: usize = updates.iter().map(|peer| peer.update.selected()).sum();
    match mean {
        Mean::Contributors if sent > 0 => aggregate(layout, updates, mean).0.selected() as f32 / sent as f32,
        _ => 1.0 / updates.len().max(1) as f32,
    }
}

impl Ahead {
    /// From the committed parameters to the start.
    pub(crate) fn step(&self, theta: &mut [f32]) {
        self.sent.update.add_to(theta, self.scale);
    }

    /// The same, with what [`Ahead::leave`] needs to undo it.
    pub(crate) fn enter(&self, theta: &mut [f32]) -> Vec<f32> {
        let saved = self.sent.update.read_from(theta);
        self.step(theta);
        saved
    }

    /// Back to the committed parameters, bit for bit.
    pub(crate) fn leave(&self, theta: &mut [f32], saved: &[f32]) {
        self.sent.update.write_to(theta, saved);
    }
}

#[cfg(test)]
mod tests;
