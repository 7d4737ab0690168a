//! Whom to evaluate, when there is no time for all.

use std::collections::BTreeSet;

use pactum_protocol::{Digest, Hotkey, Uid};

use crate::book::{Peer, ScoreBook};

impl ScoreBook {
    /// At most `count` of `candidates` to evaluate in this window, the most urgent first.
    ///
    /// Four queues are served in turn: the new and then those judged longest ago, the most uncertain rating, the highest
    /// ordinal, and chance by `seed` (which nobody knows before payloads are public). So nobody can know that it will
    /// not be looked at.
    #[must_use]
    pub fn choose(&self, candidates: &[(Uid, Hotkey)], count: usize, seed: &Digest) -> Vec<Uid> {
        let known = |hotkey: &Hotkey| self.peer(hotkey).copied().unwrap_or_else(Peer::new);
        let by = |key: &dyn Fn(&Peer) -> f64| {
            let mut queue: Vec<(f64, Uid)> = candidates.iter().map(|(uid, key_)| (key(&known(key_)), *uid)).collect();
            queue.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            queue.into_iter().map(|(_, uid)| uid).collect::<Vec<_>>()
        };
        let mut chance: Vec<Uid> = candidates.iter().map(|(uid, _)| *uid).collect();
        chance.sort_by_key(|uid| Digest::derive("pactum 1 choice", &[&seed.0, &uid.0.to_le_bytes()]));
        let queues = [
            by(&|peer| peer.judged.map_or(-1.0, window_order)),
            by(&|peer| -peer.rating.sigma),
            by(&|peer| -peer.rating.ordinal()),
            chance,
        ];
        take_in_turn(&queues, count)
    }
}

#[expect(clippy::cast_precision_loss, reason = "windows below 2^53 are in order, and more there will not be")]
fn window_order(window: pactum_protocol::Window) -> f64 {
    window.0 as f64
}

fn take_in_turn(queues: &[Vec<Uid>], count: usize) -> Vec<Uid> {
    let mut queues: Vec<_> = queues.iter().map(|queue| queue.iter().copied()).collect();
    let (mut taken, mut chosen) = (BTreeSet::new(), Vec::new());
    loop {
        let before = chosen.len();
        for queue in &mut queues {
            if chosen.len() >= count {
                return chosen;
            }
            chosen.extend(queue.find(|uid| taken.insert(*uid)));
        }
        if chosen.len() == before {
            return chosen;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Evidence, Hparams, LossScore, Window};

    fn key(uid: u16) -> Hotkey {
        Hotkey([u8::try_from(uid).unwrap(); 32])
    }

    fn candidates(uids: std::ops::Range<u16>) -> Vec<(Uid, Hotkey)> {
        uids.map(|uid| (Uid(uid), key(uid))).collect()
    }

    /// A book in which the uids 0 to 5 were judged, higher uids doing better.
    fn book() -> ScoreBook {
        let rules = Hparams::preset("tiny").unwrap().scoring;
        let mut book = ScoreBook::new();
        for window in 0..10 {
            let evidence: Vec<Evidence> = (0..6)
                .map(|uid| {
                    let score = LossScore { mean: 0.01 * f64::from(uid + 1), stderr: 0.001, n: 16 };
                    Evidence { unassigned: Some(score), ..Evidence::unjudged(Uid(uid), key(uid)) }
                })
                .collect();
            book.update(Window(window), &evidence, &rules);
        }
        book
    }

    #[test]
    fn the_new_come_first_then_one_of_each_queue() {
        let chosen = book().choose(&candidates(0..8), 4, &Digest::ZERO);
        assert_eq!(chosen[..2], [Uid(6), Uid(7)], "never judged; the most uncertain of the others");
        assert_eq!(chosen[2], Uid(5), "the top");
    }

    #[test]
    fn everybody_has_a_chance() {
        let book = book();
        let seeds = (0..200u8).map(|seed| Digest::of(&[seed]));
        let seen: BTreeSet<Uid> = seeds.flat_map(|seed| book.choose(&candidates(0..8), 4, &seed)).collect();
        assert_eq!(seen.len(), 8);
    }

    proptest! {
        #[test]
        fn a_choice_is_bounded_without_repetition(n in 0u16..40, count in 0usize..50, seed in any::<[u8; 32]>()) {
            let chosen = book().choose(&candidates(0..n), count, &Digest(seed));
            let distinct: BTreeSet<_> = chosen.iter().collect();
            prop_assert_eq!(chosen.len(), count.min(usize::from(n)));
            prop_assert_eq!(distinct.len(), chosen.len());
            prop_assert_eq!(&chosen, &book().choose(&candidates(0..n), count, &Digest(seed)));
        }
    }
}
