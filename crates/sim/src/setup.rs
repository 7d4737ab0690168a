//! What the seed decides before time begins: who the nodes are and how they are placed.

use pactum_protocol::{BlockNumber, Digest, Limits, Neuron, Sign, Timestamp, Uid, Window, run_digest};
use pactum_round::{Role, Rules, SEAL_BYTES};

use crate::agenda::Millis;
use crate::cheats::Cheat;
use crate::defect::Defect;
use crate::key::SimKey;
use crate::random::Random;
use crate::scenario::Scenario;
use crate::toy::payload_bytes;

/// Windows after the last one in which no fault happens and everybody must catch up.
const GRACE: u64 = 6;

/// A validator's stake, and by how much each next one has less.
const STAKE: (u64, u64) = (1000, 60);

const PROFILE: u64 = 10;
const LINK: u64 = 11;
const STALL: u64 = 15;

/// All that stays the same during a run.
pub(crate) struct Setup {
    pub(crate) scenario: Scenario,
    pub(crate) seed: u64,
    pub(crate) rules: Rules,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) neurons: Vec<Neuron>,
    /// After which block the next one is late, and by how much; in order.
    stalls: Vec<(BlockNumber, Millis)>,
}

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) key: SimKey,
    pub(crate) role: Role,
    pub(crate) cheat: Option<Cheat>,
    /// A validator that proposes and attests to lies.
    pub(crate) rogue: bool,
    pub(crate) defects: Vec<Defect>,
    /// The window in which it first starts.
    pub(crate) joins: u64,
    /// How much later than the chain it sees a block.
    pub(crate) lag: Millis,
    /// What its clock shows at virtual time 0.
    pub(crate) skew: Millis,
    /// How long one inner step takes.
    pub(crate) step: Millis,
    /// By what the delay of its links is multiplied.
    pub(crate) far: u64,
}

impl Profile {
    pub(crate) fn has(&self, defect: Defect) -> bool {
        self.defects.contains(&defect)
    }
}

impl Setup {
    pub(crate) fn new(scenario: &Scenario, seed: u64) -> Self {
        let hparams = scenario.hparams(seed);
        let count = usize::try_from(hparams.compression.top_k).unwrap_or(usize::MAX);
        let limits = Limits::new(payload_bytes(count) as u64 + SEAL_BYTES, scenario.max_entries);
        let run = run_digest(&block_hash(seed, BlockNumber(0)), &hparams.digest());
        let rules = Rules::new(run, hparams, limits);
        let profiles: Vec<Profile> = (0..scenario.nodes()).map(|uid| profile(scenario, seed, uid)).collect();
        let neurons = (0..).zip(&profiles).map(|(uid, profile)| neuron(&rules, uid, profile)).collect();
        let stalls = stalls(scenario, seed, &rules);
        Self { scenario: scenario.clone(), seed, rules, profiles, neurons, stalls }
    }

    pub(crate) fn block_millis(&self) -> Millis {
        self.rules.hparams.time.block_millis
    }

    /// When the chain makes `block`.
    pub(crate) fn time_of(&self, block: BlockNumber) -> Millis {
        let late = self.stalls.iter().take_while(|(after, _)| *after < block).map(|(_, late)| late);
        block.0.saturating_mul(self.block_millis()).saturating_add(late.sum())
    }

    /// The chain's newest block at `now`.
    pub(crate) fn block_at(&self, now: Millis) -> BlockNumber {
        let mut late = 0;
        for (after, more) in &self.stalls {
            let next = BlockNumber(after.0 + 1);
            if now < self.time_of(next) {
                return BlockNumber((now - late) / self.block_millis()).min(*after);
            }
            late += more;
        }
        BlockNumber((now - late) / self.block_millis())
    }

    /// When `window` begins.
    pub(crate) fn start_of(&self, window: u64) -> Millis {
        self.time_of(self.rules.schedule.plan(Window(window)).first)
    }

    /// When the last window ends, and with it every fault.
    pub(crate) fn end(&self) -> Millis {
        self.start_of(self.scenario.windows)
    }

    /// When the simulation is over at the latest.
    pub(crate) fn horizon(&self) -> Millis {
        self.start_of(self.scenario.windows.saturating_add(GRACE))
    }

    pub(crate) fn block_hash(&self, block: BlockNumber) -> Digest {
        block_hash(self.seed, block)
    }

    /// How long a message takes between two nodes, one way, without jitter.
    pub(crate) fn delay(&self, from: usize, to: usize) -> Millis {
        let pair = [from.min(to) as u64, from.max(to) as u64];
        let base = Random::of(&[LINK, self.seed, pair[0], pair[1]]).within(3, 60);
        base * self.profiles[from].far.max(self.profiles[to].far)
    }
}

/// The chain's time at virtual time 0.
pub(crate) const GENESIS: Timestamp = Timestamp(1_700_000_000_000);

fn block_hash(seed: u64, block: BlockNumber) -> Digest {
    Digest::derive("pactum sim 1 block", &[&seed.to_le_bytes(), &block.0.to_le_bytes()])
}

fn stalls(scenario: &Scenario, seed: u64, rules: &Rules) -> Vec<(BlockNumber, Millis)> {
    let mut random = Random::of(&[STALL, seed]);
    let last = rules.schedule.plan(Window(scenario.windows)).first;
    let blocks: std::collections::BTreeSet<u64> =
        (0..scenario.faults.stalls).map(|_| random.within(1, last.0)).collect();
    let window = rules.schedule.millis_between(BlockNumber(0), BlockNumber(rules.hparams.time.window_blocks));
    blocks.into_iter().map(|block| (BlockNumber(block), random.within(1, 2 * window))).collect()
}

fn profile(scenario: &Scenario, seed: u64, uid: u16) -> Profile {
    let mut random = Random::of(&[PROFILE, seed, uid.into()]);
    let miner = uid.checked_sub(scenario.validators);
    let cheat = miner.and_then(|miner| miner.checked_sub(scenario.miners));
    let joiner = usize::from(scenario.nodes() - 1 - uid) < usize::from(scenario.joiners);
    let slow = miner.is_some() && cheat.is_none() && random.chance(scenario.faults.slow);
    Profile {
        key: SimKey::new(seed, uid.into()),
        role: if miner.is_some() { Role::Miner } else { Role::Validator },
        cheat: cheat.and_then(|at| scenario.cheats.get(usize::from(at)).copied()),
        rogue: miner.is_none() && scenario.rogues.contains(&uid),
        defects: scenario.defects.iter().filter(|(node, _)| *node == uid).map(|(_, defect)| *defect).collect(),
        joins: if joiner { random.within(2, (scenario.windows / 2).max(3)) } else { 0 },
        lag: random.within(0, 150),
        skew: GENESIS.0 + random.within(0, 600_000),
        step: if slow { random.within(700, 900) } else { random.within(60, 240) },
        far: if slow { 6 } else { 1 },
    }
}

fn neuron(rules: &Rules, uid: u16, profile: &Profile) -> Neuron {
    let permit = profile.role == Role::Validator;
    let (most, less) = STAKE;
    let first = rules.schedule.plan(Window(profile.joins)).first;
    Neuron {
        uid: Uid(uid),
        hotkey: profile.key.hotkey(),
        stake: if permit { most.saturating_sub(less * u64::from(uid)).max(1) } else { 0 },
        permit,
        address: None,
        registered: if profile.joins == 0 { BlockNumber(0) } else { first },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Faults;

    #[test]
    fn blocks_come_in_order_and_time_and_height_tell_the_same_with_stalls() {
        let faults = Faults { stalls: 5, ..Faults::default() };
        for seed in 0..20 {
            let setup = Setup::new(&Scenario::new("stalls").faults(faults), seed);
            assert!(!setup.stalls.is_empty());
            for block in (0..140).map(BlockNumber) {
                let (time, next) = (setup.time_of(block), setup.time_of(BlockNumber(block.0 + 1)));
                assert!(next >= time + setup.block_millis());
                assert_eq!([time, (time + next) / 2, next - 1].map(|now| setup.block_at(now)), [block; 3]);
            }
        }
    }

    #[test]
    fn only_validators_have_stake_and_only_joiners_come_late() {
        let scenario = Scenario::new("x").miners(3).validators(2).joiners(2).cheat(Cheat::Lazy).windows(20);
        let setup = Setup::new(&scenario, 4);
        let staked: Vec<bool> = setup.neurons.iter().map(|neuron| neuron.stake > 0 && neuron.permit).collect();
        assert_eq!(staked, [true, true, false, false, false, false, false, false]);
        let late: Vec<bool> = setup.profiles.iter().map(|profile| profile.joins > 0).collect();
        assert_eq!(late, [false, false, false, false, false, false, true, true]);
        let cheats: Vec<usize> = (0..8).filter(|uid| setup.profiles[*uid].cheat.is_some()).collect();
        assert_eq!(cheats, [5]);
    }
}
