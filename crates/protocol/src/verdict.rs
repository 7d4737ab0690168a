//! Which manifest a window has, read from the chain alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{BlockNumber, Digest, Hotkey, Uid, Window};
use crate::metagraph::Metagraph;
use crate::schedule::WindowPlan;

#[cfg(test)]
mod tests;

/// A validator that committed nothing in this many windows before the present one stops counting as active.
pub const ACTIVE_WINDOWS: u64 = 8;

/// A manifest digest that somebody committed on the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Attestation {
    /// Who committed.
    pub uid: Uid,
    /// Its key at that time.
    pub hotkey: Hotkey,
    /// The window it speaks of.
    pub window: Window,
    /// The digest of the manifest.
    pub manifest: Digest,
    /// The block that includes it.
    pub block: BlockNumber,
}

/// What the chain says that bears on one window.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Record {
    /// The participants as of the block `attest_by`.
    pub metagraph: Metagraph,
    /// The attestations of this window and of the [`ACTIVE_WINDOWS`] before it, included at or before the block
    /// `attest_by`, in the order in which the chain has them.
    pub attestations: Vec<Attestation>,
}

/// The digest of the manifest of `window`; none if the window is empty.
///
/// It is the digest that validators with more than half of the active stake and at least a third of all permitted
/// stake committed for this window in a block at or before `attest_by`. Active is who holds a permit and committed
/// for this window or for one of the [`ACTIVE_WINDOWS`] before it. Of one validator's attestations for one window the
/// first in the chain's order counts, and only if the uid still belongs to the key that made it.
#[must_use]
pub fn verdict(window: Window, plan: &WindowPlan, record: &Record) -> Option<Digest> {
    let first = first_of_each(window, plan, record);
    let stake: BTreeMap<Uid, u64> = record.metagraph.validators().iter().map(|n| (n.uid, n.stake)).collect();
    let stake_of = |uid: &Uid| u128::from(stake.get(uid).copied().unwrap_or(0));

    let active: BTreeSet<Uid> = first.keys().map(|(uid, _)| *uid).collect();
    let active_stake: u128 = active.iter().map(stake_of).sum();
    let permitted_stake: u128 = stake.keys().map(stake_of).sum();

    let mut committed: BTreeMap<Digest, u128> = BTreeMap::new();
    for ((uid, _), digest) in first.iter().filter(|((_, of), _)| *of == window) {
        *committed.entry(*digest).or_default() += stake_of(uid);
    }
    let carries = |sum: u128| sum * 2 > active_stake && sum * 3 >= permitted_stake;
    committed.into_iter().find(|(_, sum)| carries(*sum)).map(|(digest, _)| digest)
}

/// The attestation that counts for each permitted validator and each window that matters.
fn first_of_each(window: Window, plan: &WindowPlan, record: &Record) -> BTreeMap<(Uid, Window), Digest> {
    let oldest = Window(window.0.saturating_sub(ACTIVE_WINDOWS));
    let mut in_order: Vec<&Attestation> = record
        .attestations
        .iter()
        .filter(|a| a.block <= plan.attest_by && (oldest..=window).contains(&a.window))
        .filter(|a| record.metagraph.by_uid(a.uid).is_some_and(|n| n.permit && n.hotkey == a.hotkey))
        .collect();
    in_order.sort_by_key(|a| a.block);
    let mut first = BTreeMap::new();
    for a in in_order {
        first.entry((a.uid, a.window)).or_insert(a.manifest);
    }
    first
}
