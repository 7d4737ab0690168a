//! Who takes part, as the chain tells it.

use std::net::SocketAddr;

use crate::ids::{BlockNumber, Hotkey, Uid, Window};

/// One registered participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Neuron {
    /// Its number.
    pub uid: Uid,
    /// Its key.
    pub hotkey: Hotkey,
    /// Its stake in the chain's smallest unit.
    pub stake: u64,
    /// Whether it may act as a validator.
    pub permit: bool,
    /// Where it listens, if it said so.
    pub address: Option<SocketAddr>,
    /// The block in which it registered.
    pub registered: BlockNumber,
}

/// All participants at one block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Metagraph {
    /// The block.
    pub block: BlockNumber,
    /// The participants in strictly rising order of their uids.
    pub neurons: Vec<Neuron>,
}

impl Metagraph {
    /// The participant with `uid`.
    #[must_use]
    pub fn by_uid(&self, uid: Uid) -> Option<&Neuron> {
        self.neurons.binary_search_by_key(&uid, |neuron| neuron.uid).ok().map(|at| &self.neurons[at])
    }

    /// The participant with `hotkey`.
    #[must_use]
    pub fn by_hotkey(&self, hotkey: &Hotkey) -> Option<&Neuron> {
        self.neurons.iter().find(|neuron| neuron.hotkey == *hotkey)
    }

    /// The participants with a permit, those with the most stake first, then by uid.
    #[must_use]
    pub fn validators(&self) -> Vec<&Neuron> {
        let mut permitted: Vec<&Neuron> = self.neurons.iter().filter(|neuron| neuron.permit).collect();
        permitted.sort_by_key(|neuron| (std::cmp::Reverse(neuron.stake), neuron.uid));
        permitted
    }
}

/// The validators in the order in which they propose the manifest of `window`: the first proposes, each next one
/// takes over after a time-out. By stake, then uid, and rotated by one place from window to window, so that nobody who
/// tells everybody something else can keep every window empty.
#[must_use]
pub fn proposers(window: Window, metagraph: &Metagraph) -> Vec<Uid> {
    let mut ranked: Vec<Uid> = metagraph.validators().into_iter().map(|neuron| neuron.uid).collect();
    let count = u64::try_from(ranked.len().max(1)).unwrap_or(u64::MAX);
    let turn = usize::try_from(window.0 % count).unwrap_or(0);
    ranked.rotate_left(turn);
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neuron(uid: u16, stake: u64, permit: bool) -> Neuron {
        let hotkey = Hotkey([u8::try_from(uid).unwrap(); 32]);
        Neuron { uid: Uid(uid), hotkey, stake, permit, address: None, registered: BlockNumber(0) }
    }

    #[test]
    fn proposers_rank_by_stake_then_uid_and_hold_a_permit() {
        let neurons = vec![neuron(1, 5, true), neuron(2, 9, false), neuron(4, 7, true), neuron(9, 5, true)];
        let metagraph = Metagraph { block: BlockNumber(3), neurons };
        assert_eq!(proposers(Window(0), &metagraph), [Uid(4), Uid(1), Uid(9)]);
        assert_eq!(proposers(Window(1), &metagraph), [Uid(1), Uid(9), Uid(4)]);
        assert_eq!(proposers(Window(3), &metagraph), proposers(Window(0), &metagraph));
        assert!(proposers(Window(5), &Metagraph::default()).is_empty());
    }

    #[test]
    fn neurons_are_found_by_uid_and_by_key() {
        let metagraph = Metagraph { block: BlockNumber(3), neurons: vec![neuron(1, 5, true), neuron(4, 7, true)] };
        assert_eq!(metagraph.by_uid(Uid(4)).unwrap().stake, 7);
        assert_eq!(metagraph.by_uid(Uid(2)), None);
        assert_eq!(metagraph.by_hotkey(&Hotkey([1; 32])).unwrap().uid, Uid(1));
        assert_eq!(metagraph.by_hotkey(&Hotkey([2; 32])), None);
    }
}
