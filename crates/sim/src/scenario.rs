//! What is simulated: how many nodes, for how long, and what goes wrong.

use pactum_protocol::{
    BlockNumber, Compression, DataRules, Digest, Hparams, Inner, Mean, Outer, Quantiser, ScoringRules, Time,
};

use crate::cheats::Cheat;
use crate::defect::Defect;

/// Everything about a simulation but its seed.
///
/// ```
/// use pactum_sim::{Cheat, Faults, Scenario};
///
/// let scenario = Scenario::new("mine").miners(6).windows(12).cheat(Cheat::Copy);
/// let rough = scenario.faults(Faults { fetch_loss: 0.2, ..Faults::default() });
/// assert!(pactum_sim::run(&rough, 7).violations.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    pub(crate) name: String,
    pub(crate) miners: u16,
    pub(crate) validators: u16,
    pub(crate) rogues: Vec<u16>,
    pub(crate) joiners: u16,
    pub(crate) windows: u64,
    pub(crate) max_entries: u32,
    pub(crate) faults: Faults,
    pub(crate) cheats: Vec<Cheat>,
    pub(crate) outages: Vec<Outage>,
    pub(crate) defects: Vec<(u16, Defect)>,
    pub(crate) claims: Claims,
}

/// What goes wrong by chance. Everything ends when the last window does; then all nodes must catch up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// The share of fetches that get no answer, in 0..=1.
    pub fetch_loss: f64,
    /// The share of headers and proposals that get lost on their way to one receiver, in 0..=1.
    pub message_loss: f64,
    /// The number of crashes, each of a random node at a random instant for up to three windows.
    pub crashes: u32,
    /// The number of times that the nodes fall into two groups without a link, each for up to two windows.
    pub partitions: u32,
    /// The number of times that the chain makes no block, each for up to two windows.
    pub stalls: u32,
    /// The share of miners that are slow to train and far away, in 0..=1.
    pub slow: f64,
}

/// A node that is away from the beginning of one window to the beginning of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The node's uid.
    pub node: u16,
    /// The first window that it misses.
    pub from: u64,
    /// The window in which it is back; after the last one if it stays away.
    pub to: u64,
}

/// What a run of the scenario must show besides agreement.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Claims {
    /// The most that a cheater may earn who spares itself work or does harm, as a fraction of the mean honest miner's
    /// weight.
    pub cheats_below: Option<f64>,
    /// The most that [`Cheat::Inflate`] may earn, which does an honest miner's work and overstates it.
    pub boasts_below: Option<f64>,
    /// The least that an honest miner may earn who was there from the start, as a fraction of the mean honest miner's
    /// weight.
    pub honest_above: Option<f64>,
    /// The most that may be left of the held-out loss, as a fraction of the loss at the start.
    pub loss_below: Option<f64>,
    /// The least share of windows that must have a manifest, in 0..=1.
    pub filled: Option<f64>,
}

/// A scenario that comes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What [`Scenario::named`] knows it by.
    pub name: &'static str,
    /// What happens in it.
    pub about: &'static str,
}

const LIST: [Listed; 6] = [
    Listed { name: "calm", about: "8 miners and 2 validators for 30 windows, and nothing goes wrong" },
    Listed { name: "lossy", about: "64 nodes for 100 windows: 10 % of fetches lost, crashes and partitions" },
    Listed { name: "cheats", about: "6 honest miners and one cheater of each kind for 40 windows" },
    Listed { name: "join", about: "3 of 9 miners come late, while fetches get lost" },
    Listed { name: "validator-down", about: "of 3 validators the one with the most stake goes away for good" },
    Listed {
        name: "rogue",
        about: "while the first of 4 validators is away, the second tells everybody something else",
    },
];

impl Scenario {
    /// Four honest miners and two validators for ten windows without faults.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            miners: 4,
            validators: 2,
            rogues: Vec::new(),
            joiners: 0,
            windows: 10,
            max_entries: 20,
            faults: Faults::default(),
            cheats: Vec::new(),
            outages: Vec::new(),
            defects: Vec::new(),
            claims: Claims::default(),
        }
    }

    /// The scenarios that come along.
    #[must_use]
    pub fn list() -> &'static [Listed] {
        &LIST
    }

    /// The scenario of this name, if it is in [`Scenario::list`].
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let base = Self::new(name);
        let learns = Claims { loss_below: Some(0.7), filled: Some(0.9), ..Claims::default() };
        let fair = Claims { honest_above: Some(0.1), ..learns };
        Some(match name {
            "calm" => base.miners(8).windows(30).claims(fair),
            "lossy" => base
                .miners(60)
                .validators(4)
                .windows(100)
                .max_entries(16)
                .faults(ROUGH)
                .claims(Claims { filled: Some(0.5), ..learns }),
            "cheats" => {
                let claims = Claims { cheats_below: Some(0.1), boasts_below: Some(4.0), ..fair };
                let base = base.miners(6).validators(3).windows(40).claims(claims);
                Cheat::ALL.iter().fold(base, |scenario, cheat| scenario.cheat(*cheat))
            }
            "join" => base.miners(6).joiners(3).windows(40).faults(Faults { fetch_loss: 0.1, ..CALM }).claims(learns),
            "validator-down" => {
                let outage = Outage { node: 0, from: 8, to: u64::MAX };
                let claims = Claims { filled: Some(0.7), ..learns };
                base.miners(6).validators(3).windows(40).outage(outage).claims(claims)
            }
            "rogue" => {
                // Whoever proposes can keep windows empty while it is its turn, but must not part the honest.
                let outage = Outage { node: 0, from: 8, to: 16 };
                let claims = Claims { filled: Some(0.6), ..learns };
                base.miners(6).validators(4).rogue(1).windows(40).outage(outage).claims(claims)
            }
            _ => return None,
        })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets the number of honest miners that are there from the start.
    #[must_use]
    pub fn miners(self, miners: u16) -> Self {
        Self { miners, ..self }
    }

    /// Sets the number of validators; they have the lowest uids, and uid 0 has the most stake.
    #[must_use]
    pub fn validators(self, validators: u16) -> Self {
        Self { validators, ..self }
    }

    /// Lets the validator with this uid propose one manifest to some and another to others, and attest to a third that
    /// nobody has.
    #[must_use]
    pub fn rogue(mut self, node: u16) -> Self {
        self.rogues.push(node);
        self
    }

    /// Sets the number of honest miners that come in the first half of the run.
    #[must_use]
    pub fn joiners(self, joiners: u16) -> Self {
        Self { joiners, ..self }
    }

    /// Sets the number of windows.
    #[must_use]
    pub fn windows(self, windows: u64) -> Self {
        Self { windows, ..self }
    }

    /// Sets how many contributions a window can have.
    #[must_use]
    pub fn max_entries(self, max_entries: u32) -> Self {
        Self { max_entries, ..self }
    }

    /// Sets what goes wrong by chance.
    #[must_use]
    pub fn faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// Adds a miner that cheats.
    #[must_use]
    pub fn cheat(mut self, cheat: Cheat) -> Self {
        self.cheats.push(cheat);
        self
    }

    /// Adds a node's absence.
    #[must_use]
    pub fn outage(mut self, outage: Outage) -> Self {
        self.outages.push(outage);
        self
    }

    /// Plants a defect in the node with this uid, to see that the checkers find it.
    #[must_use]
    pub fn defect(mut self, node: u16, defect: Defect) -> Self {
        self.defects.push((node, defect));
        self
    }

    /// Sets what a run must show.
    #[must_use]
    pub fn claims(self, claims: Claims) -> Self {
        Self { claims, ..self }
    }

    /// The consensus settings under this seed.
    #[must_use]
    pub fn hparams(&self, seed: u64) -> Hparams {
        let base = Hparams::preset("tiny").unwrap_or_else(|| unreachable!("the smallest preset exists"));
        Hparams {
            preset: "toy".to_owned(),
            seed,
            dataset: Digest::derive("pactum sim 1 dataset", &[&seed.to_le_bytes()]),
            time: TIME,
            inner: Inner { steps: 8, batch: 4, rate: 0.1, ..base.inner },
            outer: Outer { rate: 1.0, mean: Mean::Contributors },
            compression: Compression { edge: 16, top_k: 16, decay: 0.95, quantiser: Quantiser::SignScale },
            data: DataRules { slots: self.nodes().into() },
            scoring: ScoringRules { sequences: 32, max_entries: self.max_entries, ..base.scoring },
            ..base
        }
    }

    /// Validators, honest miners, cheaters and joiners: uids in this order.
    pub(crate) fn nodes(&self) -> u16 {
        let cheats = u16::try_from(self.cheats.len()).unwrap_or(u16::MAX);
        [self.validators, self.miners, cheats, self.joiners].into_iter().fold(0, u16::saturating_add).max(1)
    }
}

const CALM: Faults = Faults { fetch_loss: 0.0, message_loss: 0.0, crashes: 0, partitions: 0, stalls: 0, slow: 0.0 };
const ROUGH: Faults = Faults { fetch_loss: 0.1, message_loss: 0.05, crashes: 24, partitions: 2, stalls: 2, slow: 0.1 };

const TIME: Time =
    Time { start: BlockNumber(1), window_blocks: 12, submit_by: 6, attest_by: 10, gather_by: 11, block_millis: 1000 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_scenario_exists_and_has_valid_settings() {
        for Listed { name, about } in Scenario::list() {
            let scenario = Scenario::named(name).unwrap();
            assert_eq!(scenario.name(), *name);
            assert_eq!(scenario.hparams(3).validate(), Ok(()), "{name}");
            assert!(!about.is_empty() && scenario.windows > 0);
        }
        assert_eq!(Scenario::named("nonsense"), None);
    }

    #[test]
    fn uids_go_to_everybody() {
        let scenario = Scenario::new("x").miners(5).validators(2).joiners(1).cheat(Cheat::Copy);
        assert_eq!(scenario.nodes(), 9);
    }
}
