//! What a simulation came to.

use std::collections::BTreeMap;

use pactum_protocol::{Digest, Uid, Window};
use pactum_round::Role;

use crate::audit::Audited;
use crate::cheats::Cheat;
use crate::check::Violation;
use crate::scenario::Claims;
use crate::setup::Setup;
use crate::world::World;

/// What a simulation came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// BLAKE3 over everything that happened, in order.
    pub trace_digest: Digest,
    /// How many things happened.
    pub events: u64,
    /// How many windows there were.
    pub windows: u64,
    /// How many of them have a manifest.
    pub filled: u64,
    /// How many times a node came back from its disk.
    pub restored: u64,
    /// How many times a node took over a checkpoint instead of replaying every window.
    pub adopted: u64,
    /// Whether all committed parameters agree.
    pub agreed: bool,
    /// What must not happen and did.
    pub violations: Vec<Violation>,
    /// Every node's share of the weights at the end.
    pub weights: Vec<NodeWeight>,
    /// The held-out loss after each window.
    pub loss: Vec<f32>,
    /// The same for people.
    pub summary: Vec<String>,
}

/// A node's share of the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeWeight {
    /// The node.
    pub uid: Uid,
    /// What it is.
    pub role: Role,
    /// How it cheats, if it does.
    pub cheat: Option<Cheat>,
    /// Its share, the validators' weights averaged by stake, in 0..=1.
    pub weight: f64,
}

impl Outcome {
    /// How to see it again.
    #[must_use]
    pub fn replay(&self) -> String {
        format!("pactum simulate {} --seed {}", self.scenario, self.seed)
    }

    /// Every violation and how to replay it; `None` if all is well.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if self.violations.is_empty() {
            return None;
        }
        let lines: Vec<String> = self.violations.iter().map(|violation| format!("  {violation}")).collect();
        Some(format!("seed {} fails:\n{}\nreplay: {}", self.seed, lines.join("\n"), self.replay()))
    }

    pub(crate) fn of(world: &World, windows: &[Audited]) -> Self {
        let weights = weights(world);
        accuse_the_stuck(world);
        let filled = windows.iter().filter(|audited| audited.filled).count() as u64;
        let loss: Vec<f32> = windows.iter().map(|audited| audited.loss).collect();
        claims(world, &weights, filled, &loss);
        let mut trace = world.trace.borrow_mut();
        let checker = world.checker.borrow();
        let mut outcome = Self {
            scenario: world.setup.scenario.name().to_owned(),
            seed: world.setup.seed,
            trace_digest: trace.digest(),
            events: trace.events(),
            windows: world.setup.scenario.windows,
            filled,
            restored: checker.restored,
            adopted: checker.adopted,
            agreed: !checker.apart,
            violations: checker.violations.clone(),
            weights,
            loss,
            summary: Vec::new(),
        };
        outcome.summary = outcome.summarise(&checker.refusals);
        outcome
    }

    fn summarise(&self, refusals: &BTreeMap<Uid, BTreeMap<String, u64>>) -> Vec<String> {
        let mut lines = vec![
            format!("scenario {} · seed {} · trace {}", self.scenario, self.seed, self.trace_digest.short()),
            format!("windows {} · with a manifest {} · events {}", self.windows, self.filled, self.events),
            format!("returns from disk {} · checkpoints taken over {}", self.restored, self.adopted),
            format!("all committed states agree: {}", if self.agreed { "yes" } else { "no" }),
        ];
        if let (Some(first), Some(last)) = (self.loss.first(), self.loss.last()) {
            lines.push(format!("held-out loss {first:.3} → {last:.3}"));
        }
        let honest = honest_weight(&self.weights);
        lines.push(format!("an honest miner's weight is {honest:.4} on average"));
        for node in self.weights.iter().filter(|node| node.role == Role::Miner) {
            let reasons = refusals.get(&node.uid).into_iter().flatten();
            let reasons: String = reasons.map(|(why, times)| format!(" · {why} × {times}")).collect();
            let kind = node.cheat.map_or("honest", Cheat::name);
            if node.cheat.is_some() || !reasons.is_empty() {
                lines.push(format!("uid {} ({kind}) has weight {:.4}{reasons}", node.uid, node.weight));
            }
        }
        if !self.violations.is_empty() {
            lines.push(format!("seed {} fails · replay: {}", self.seed, self.replay()));
        }
        lines
    }
}

fn accuse_the_stuck(world: &World) {
    let net = world.net.borrow();
    for node in (0..world.setup.profiles.len()).filter(|node| net.is_alive(*node)) {
        let next = world.checker.borrow().newest[node].map_or(Window(0), |entry| entry.next);
        if next.0 < world.setup.scenario.windows {
            world.accuse(Violation::Stuck { node, next });
        }
    }
}

fn claims(world: &World, weights: &[NodeWeight], filled: u64, loss: &[f32]) {
    let Claims { loss_below, filled: least, .. } = world.setup.scenario.claims;
    let honest = honest_weight(weights);
    for node in weights.iter().filter(|node| node.role == Role::Miner) {
        if let Some(violation) = wages(world, node, honest) {
            world.accuse(violation);
        }
    }
    if let (Some(&first), Some(&last), Some(share)) = (loss.first(), loss.last(), loss_below)
        && f64::from(last) >= share * f64::from(first)
    {
        world.accuse(Violation::Unlearnt { first, last });
    }
    let windows = world.setup.scenario.windows;
    #[expect(clippy::cast_precision_loss, reason = "windows are few")]
    let too_few = least.is_some_and(|share| (filled as f64) < share * windows as f64);
    if too_few {
        world.accuse(Violation::Empty { filled, windows });
    }
}

/// What is wrong with the weight of a miner.
fn wages(world: &World, node: &NodeWeight, honest: f64) -> Option<Violation> {
    let Claims { cheats_below, boasts_below, honest_above, .. } = world.setup.scenario.claims;
    let &NodeWeight { uid, weight, .. } = node;
    let Some(cheat) = node.cheat else {
        let there = world.setup.profiles[usize::from(uid.0)].joins == 0;
        let starved = there && honest_above.is_some_and(|share| weight <= share * honest);
        return starved.then_some(Violation::Starved { uid, weight, honest });
    };
    let most = if cheat == Cheat::Inflate { boasts_below } else { cheats_below };
    let overpaid = most.is_some_and(|share| weight >= share * honest);
    overpaid.then_some(Violation::Overpaid { cheat, uid, weight, honest })
}

fn honest_weight(weights: &[NodeWeight]) -> f64 {
    let honest: Vec<f64> =
        weights.iter().filter(|n| n.role == Role::Miner && n.cheat.is_none()).map(|n| n.weight).collect();
    #[expect(clippy::cast_precision_loss, reason = "nodes are few")]
    let count = honest.len().max(1) as f64;
    honest.iter().sum::<f64>() / count
}

fn weights(world: &World) -> Vec<NodeWeight> {
    let setup = &world.setup;
    let shares = shares(world);
    let of = |uid: &Uid| shares.get(uid).copied().unwrap_or(0.0);
    let node = |(neuron, profile): (&pactum_protocol::Neuron, &crate::setup::Profile)| NodeWeight {
        uid: neuron.uid,
        role: profile.role,
        cheat: profile.cheat,
        weight: of(&neuron.uid),
    };
    setup.neurons.iter().zip(&setup.profiles).map(node).collect()
}

/// The validators' newest weights, each summing to 1, averaged by stake.
fn shares(world: &World) -> BTreeMap<Uid, f64> {
    let Setup { neurons, .. } = &world.setup;
    let ledger = world.ledger.borrow();
    let mut shares: BTreeMap<Uid, f64> = BTreeMap::new();
    let mut all = 0.0;
    for (validator, weights) in &ledger.weights {
        let sum: f64 = weights.iter().map(|(_, weight)| f64::from(*weight)).sum();
        if sum <= 0.0 {
            continue;
        }
        #[expect(clippy::cast_precision_loss, reason = "stakes are small here")]
        let stake = neurons[usize::from(validator.0)].stake as f64;
        all += stake;
        for (uid, weight) in weights {
            *shares.entry(*uid).or_default() += stake * f64::from(*weight) / sum;
        }
    }
    shares.values_mut().for_each(|share| *share /= all);
    shares
}
