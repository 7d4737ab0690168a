//! Dishonest miners. Each runs the same node as everybody else, behind ports that lie for it.

use std::fmt;

use crate::random::Random;
use crate::toy::{DIMENSION, ToyUpdate};

/// By how much an inflated update is too large.
const INFLATION: f32 = 50.0;

/// What a dishonest miner does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Cheat {
    /// Sends what another miner sent in the window before, every other time a little changed; also asks miners for
    /// their payloads before `submit_by`.
    Copy,
    /// Sends values of an honest size at random places with random signs.
    Random,
    /// Makes one inner step and claims all of them.
    Lazy,
    /// Sends payloads that cannot be decoded: cut off, too long, out of order, not finite, too large.
    Malformed,
    /// Builds on the state of an earlier window.
    Stale,
    /// Sends the header of the window before once more.
    Old,
    /// Sends its header after `submit_by`.
    Late,
    /// Sends the opposite of its update.
    Flip,
    /// Sends its update many times as large.
    Inflate,
    /// Signs falsely.
    Forge,
}

impl Cheat {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Copy,
        Self::Random,
        Self::Lazy,
        Self::Malformed,
        Self::Stale,
        Self::Old,
        Self::Late,
        Self::Flip,
        Self::Inflate,
        Self::Forge,
    ];

    /// Its name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Random => "random",
            Self::Lazy => "lazy",
            Self::Malformed => "malformed",
            Self::Stale => "stale",
            Self::Old => "old",
            Self::Late => "late",
            Self::Flip => "flip",
            Self::Inflate => "inflate",
            Self::Forge => "forge",
        }
    }
}

impl fmt::Display for Cheat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A cheater's memory.
#[derive(Clone, Debug)]
pub(crate) struct Cheater {
    cheat: Cheat,
    random: Random,
    /// What others sent in the newest window that was applied.
    loot: Vec<ToyUpdate>,
    sent: Option<ToyUpdate>,
    times: usize,
}

impl Cheater {
    pub(crate) fn new(cheat: Cheat, random: Random) -> Self {
        Self { cheat, random, loot: Vec::new(), sent: None, times: 0 }
    }

    /// Looks at the contributions that a window applied.
    pub(crate) fn watch(&mut self, updates: &[(f32, &ToyUpdate)]) {
        let others = updates.iter().filter(|(_, update)| Some(*update) != self.sent.as_ref());
        self.loot = others.map(|(_, update)| (*update).clone()).collect();
    }

    /// What it sends in the place of an honest update.
    pub(crate) fn payload(&mut self, honest: &ToyUpdate) -> Option<Vec<u8>> {
        self.times += 1;
        let scaled = |update: &ToyUpdate, by: f32| ToyUpdate(update.0.iter().map(|(at, v)| (*at, by * v)).collect());
        let update = match self.cheat {
            Cheat::Malformed => return Some(malformed(honest.encode(), self.times)),
            Cheat::Copy => {
                let victim = self.loot.get(self.random.index(self.loot.len()))?;
                scaled(victim, if self.times.is_multiple_of(2) { 1.0 } else { 0.97 })
            }
            Cheat::Random => self.scatter(honest),
            Cheat::Flip => scaled(honest, -1.0),
            Cheat::Inflate => scaled(honest, INFLATION),
            Cheat::Lazy | Cheat::Stale | Cheat::Old | Cheat::Late | Cheat::Forge => honest.clone(),
        };
        self.sent = Some(update.clone());
        Some(update.encode())
    }

    /// The same sizes elsewhere.
    fn scatter(&mut self, honest: &ToyUpdate) -> ToyUpdate {
        let mut places = std::collections::BTreeSet::new();
        while places.len() < honest.0.len() {
            places.insert(u8::try_from(self.random.index(DIMENSION)).unwrap_or(u8::MAX));
        }
        let sign = |random: &mut Random| if random.chance(0.5) { 1.0 } else { -1.0 };
        ToyUpdate(places.into_iter().zip(&honest.0).map(|(at, (_, v))| (at, sign(&mut self.random) * v)).collect())
    }
}

fn malformed(mut bytes: Vec<u8>, times: usize) -> Vec<u8> {
    match times % 5 {
        0 => bytes.truncate(bytes.len() / 2),
        1 => bytes.push(0),
        2 => bytes[4..8].copy_from_slice(&f32::NAN.to_le_bytes()),
        3 => bytes[3..].reverse(),
        _ => bytes.resize(1 << 20, 0),
    }
    bytes
}

#[cfg(test)]
mod tests {
    use pactum_round::Learner;

    use super::*;
    use crate::scenario::Scenario;
    use crate::toy::ToyLearner;

    fn honest() -> ToyUpdate {
        ToyUpdate((0..16).map(|at| (at * 7, f32::from(at) - 7.5)).collect())
    }

    fn sent(cheat: Cheat, seen: &[(f32, &ToyUpdate)]) -> Vec<Option<Vec<u8>>> {
        let mut cheater = Cheater::new(cheat, Random::of(&[1]));
        cheater.watch(seen);
        (0..5).map(|_| cheater.payload(&honest())).collect()
    }

    #[test]
    fn lies_are_well_formed_except_where_that_is_the_point() {
        let hparams = Scenario::new("x").hparams(1);
        let most = pactum_protocol::Limits::default().payload_bytes_max.min(1 << 16);
        let toy = ToyLearner::new(&hparams);
        let other = ToyUpdate((0..16).map(|at| (at, 1.0)).collect());
        for cheat in Cheat::ALL {
            for payload in sent(cheat, &[(1.0, &other)]) {
                let payload = payload.unwrap();
                let good = payload.len() as u64 <= most && toy.decode(&payload).is_ok();
                assert_eq!(good, cheat != Cheat::Malformed, "{cheat}");
            }
        }
    }

    #[test]
    fn a_copycat_has_nothing_to_send_until_it_has_seen_something() {
        assert!(sent(Cheat::Copy, &[]).iter().all(Option::is_none));
        let other = ToyUpdate((0..16).map(|at| (at, 1.0)).collect());
        let sent = sent(Cheat::Copy, &[(1.0, &other)]);
        assert!(sent.contains(&Some(other.encode())));
        assert!(sent.iter().any(|payload| *payload != Some(other.encode())));
    }

    #[test]
    fn a_scattered_update_keeps_its_sizes_and_a_flipped_one_its_places() {
        let toy = ToyLearner::new(&Scenario::new("x").hparams(1));
        let decode = |cheat| toy.decode(sent(cheat, &[])[0].as_ref().unwrap()).unwrap();
        let scattered = decode(Cheat::Random);
        assert!((scattered.norm() - honest().norm()).abs() < 1e-6 && scattered.overlap(&honest()) < 0.5);
        let flipped = decode(Cheat::Flip);
        let mut sum = vec![0.0; DIMENSION];
        flipped.add_to(&mut sum, 1.0);
        honest().add_to(&mut sum, 1.0);
        assert!(sum.iter().all(|value| *value == 0.0));
    }
}
