//! Who takes part, as the chain tells it.

use std::net::SocketAddr;

use crate::ids::{BlockNumber, Digest, Hotkey, Uid};

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

/// The validators in the order in which they propose a window's manifest: the first proposes, each next one takes over
/// after a time-out.
///
/// They are drawn one after the other, each with a chance in proportion to its stake, by `seed`, the hash of the
/// window's block `submit_by`. So many keys with little stake do not speak more often than one with all of it, and nobody
/// who tells everybody something else can keep every window empty.
#[must_use]
pub fn proposers(seed: &Digest, metagraph: &Metagraph) -> Vec<Uid> {
    let mut urn = metagraph.validators();
    let mut ranked = Vec::with_capacity(urn.len());
    while !urn.is_empty() {
        let drawn = Digest::derive("pactum 1 proposer", &[&seed.0, &(ranked.len() as u64).to_le_bytes()]);
        let neuron = urn.remove(place_in(&urn, &drawn));
        ranked.push(neuron.uid);
    }
    ranked
}

/// The place in a list of at least one neuron that a number drawn evenly falls on, where each has room by its stake.
fn place_in(urn: &[&Neuron], drawn: &Digest) -> usize {
    let total: u128 = urn.iter().map(|neuron| u128::from(neuron.stake)).sum();
    let number = drawn.0.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes));
    let mut left = number.checked_rem(total).unwrap_or(0);
    let covers = |neuron: &&Neuron| {
        let stake = u128::from(neuron.stake);
        let here = left < stake;
        left = left.saturating_sub(stake);
        here
    };
    urn.iter().position(covers).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neuron(uid: u16, stake: u64, permit: bool) -> Neuron {
        let hotkey = Hotkey([u8::try_from(uid).unwrap(); 32]);
        Neuron { uid: Uid(uid), hotkey, stake, permit, address: None, registered: BlockNumber(0) }
    }

    #[test]
    fn proposers_hold_a_permit_and_each_speaks_once() {
        let neurons = vec![neuron(1, 5, true), neuron(2, 9, false), neuron(4, 0, true), neuron(9, 5, true)];
        let metagraph = Metagraph { block: BlockNumber(3), neurons };
        for seed in (0..50_u8).map(|byte| Digest([byte; 32])) {
            let mut ranked = proposers(&seed, &metagraph);
            assert_eq!(ranked.last(), Some(&Uid(4)), "without a stake there is no room but at the end");
            ranked.sort();
            assert_eq!(ranked, [Uid(1), Uid(4), Uid(9)]);
        }
        assert!(proposers(&Digest::ZERO, &Metagraph::default()).is_empty());
    }

    #[test]
    fn who_proposes_first_is_drawn_by_stake() {
        let many = (2..12).map(|uid| neuron(uid, 1, true));
        let metagraph =
            Metagraph { block: BlockNumber(3), neurons: [neuron(1, 90, true)].into_iter().chain(many).collect() };
        let seeds = (0..1000_u64).map(|number| Digest::of(&number.to_le_bytes()));
        let first = seeds.filter(|seed| proposers(seed, &metagraph)[0] == Uid(1)).count();
        assert!((870..=930).contains(&first), "{first} of 1000 with 90 % of the stake");
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
