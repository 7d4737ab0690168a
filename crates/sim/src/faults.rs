//! The plan of what goes wrong when, drawn before time begins.

use crate::agenda::Millis;
use crate::random::Random;
use crate::setup::Setup;
use crate::world::{Event, World};

const FAULTS: u64 = 14;

/// Puts every start, crash, return and partition on the agenda.
pub(crate) fn plan(world: &World) {
    let setup = &world.setup;
    let mut random = Random::of(&[FAULTS, setup.seed]);
    for (node, profile) in setup.profiles.iter().enumerate() {
        let first = if profile.joins == 0 { 0 } else { setup.start_of(profile.joins) };
        world.agenda.at(first + random.below(setup.block_millis()), Event::Start(node));
    }
    for outage in &setup.scenario.outages {
        let node = usize::from(outage.node);
        world.agenda.at(setup.start_of(outage.from), Event::Crash(node));
        if outage.to <= setup.scenario.windows {
            world.agenda.at(setup.start_of(outage.to), Event::Start(node));
        }
    }
    for _ in 0..setup.scenario.faults.crashes {
        let node = random.index(setup.profiles.len());
        let (from, to) = spell(setup, &mut random, 3);
        world.agenda.at(from, Event::Crash(node));
        world.agenda.at(to, Event::Start(node));
    }
    partitions(world, &mut random);
}

/// Partitions one after the other, so that none ends another.
fn partitions(world: &World, random: &mut Random) {
    let setup = &world.setup;
    let count = u64::from(setup.scenario.faults.partitions);
    for number in 0..count {
        let share = setup.end() / count;
        let window = setup.start_of(1) - setup.start_of(0);
        let from = number * share + random.below(share / 2);
        let to = (from + random.within(window / 4, 2 * window)).min((number + 1) * share - 1);
        let minority = 0.1 + 0.4 * random.unit();
        let sides = (0..setup.profiles.len()).map(|_| random.chance(minority)).collect();
        world.agenda.at(from, Event::Split(sides));
        world.agenda.at(to, Event::Heal);
    }
}

/// A time of up to `windows` windows that ends with the faults at the latest.
fn spell(setup: &Setup, random: &mut Random, windows: u64) -> (Millis, Millis) {
    let window = setup.start_of(1) - setup.start_of(0);
    let from = random.below(setup.end());
    let to = from + random.within(setup.block_millis(), windows * window);
    (from, to.min(setup.end()))
}
