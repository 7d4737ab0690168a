//! One simulation from its seed, or many.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use pactum_protocol::{Digest, Window};
use pactum_round::{Doors, Identity, Learner, Node, Ports, Role, RoundError, Standing};
use pactum_scoring::ScoreBook;

use crate::audit::audit;
use crate::chain::SimChain;
use crate::check::Violation;
use crate::defect::Defect;
use crate::disk::{Saved, SimClock, SimJournal};
use crate::exchange::SimExchange;
use crate::executor::Executor;
use crate::faults;
use crate::key::SimOracle;
use crate::learner::SimLearner;
use crate::outcome::Outcome;
use crate::scenario::Scenario;
use crate::setup::Setup;
use crate::toy::ToyLearner;
use crate::trace::Kind;
use crate::world::{Event, Place, World};

/// How often a node may act at one instant before it is said to turn in circles.
const ACTS_PER_INSTANT: u32 = 1000;

/// The ports that the simulation fills.
struct SimPorts;

impl Ports for SimPorts {
    type Chain = SimChain;
    type Exchange = SimExchange;
    type Learner = SimLearner;
    type Journal = SimJournal;
    type Clock = SimClock;
}

/// Simulates `scenario` under `seed`. The same seed gives the same outcome, bit for bit.
#[must_use]
pub fn run(scenario: &Scenario, seed: u64) -> Outcome {
    let world = Rc::new(World::new(Setup::new(scenario, seed)));
    let mut executor = Executor::default();
    faults::plan(&world);
    while !is_over(&world) {
        let Some(event) = world.agenda.step() else { break };
        if let Some(event) = event {
            happen(&world, &mut executor, event);
        }
        executor.run();
    }
    let windows = audit(&world);
    Outcome::of(&world, &windows)
}

/// Simulates `scenario` under every seed in `seeds` on `threads` threads. The outcomes are in order of the seeds.
#[must_use]
pub fn sweep(scenario: &Scenario, seeds: std::ops::Range<u64>, threads: usize) -> Vec<Outcome> {
    let next = AtomicU64::new(seeds.start);
    let outcomes = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let outcome = run(scenario, seed);
            outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|outcome| outcome.seed);
    outcomes
}

/// Whether every node that is there, or will be, has committed the last window.
fn is_over(world: &World) -> bool {
    world.now() >= world.setup.horizon() || (world.now() >= world.setup.end() && world.everybody_is_done())
}

impl World {
    fn everybody_is_done(&self) -> bool {
        let (net, checker) = (self.net.borrow(), self.checker.borrow());
        let windows = self.setup.scenario.windows;
        let done = |node: usize| checker.newest[node].is_some_and(|entry| entry.next.0 >= windows);
        (0..self.setup.profiles.len()).all(|node| !net.is_alive(node) || done(node))
    }
}

fn happen(world: &Rc<World>, executor: &mut Executor, event: Event) {
    match event {
        Event::Letter(letter) => world.deliver(&letter),
        Event::Split(sides) => {
            world.record(Kind::Split, 0, 0, &Digest::ZERO);
            world.net.borrow_mut().sides = Some(sides);
        }
        Event::Heal => {
            world.record(Kind::Heal, 0, 0, &Digest::ZERO);
            world.net.borrow_mut().sides = None;
        }
        Event::Crash(node) => crash(world, executor, node),
        Event::Start(node) => start(world, executor, node),
    }
}

fn crash(world: &World, executor: &mut Executor, node: usize) {
    world.record(Kind::Crash, node, 0, &Digest::ZERO);
    let mut net = world.net.borrow_mut();
    net.away[node] += 1;
    net.forget(node);
    drop(net);
    world.idle(node);
    executor.kill(node);
}

fn start(world: &Rc<World>, executor: &mut Executor, node: usize) {
    let mut net = world.net.borrow_mut();
    net.away[node] = net.away[node].saturating_sub(1);
    let alive = net.is_alive(node);
    drop(net);
    if alive {
        world.record(Kind::Start, node, 0, &Digest::ZERO);
        executor.spawn(node, live(Place { world: Rc::clone(world), me: node }));
    }
}

/// The life of a node from a start to a crash or the end.
async fn live(place: Place) {
    let why = match boot(&place) {
        Ok(node) => attend(node, &place).await.err().map(|error| story(&error)),
        Err(error) => Some(error),
    };
    if let Some(why) = why {
        place.world.accuse(Violation::Failed { node: place.me, why });
    }
}

/// A node as it comes up from its disk.
fn boot(place: &Place) -> Result<Node<SimPorts>, String> {
    let Place { world, me } = place;
    let (rules, profile) = (world.setup.rules.clone(), place.profile());
    let saved = world.disks.borrow_mut()[*me].recover(&profile.defects);
    let toy = match &saved {
        Some(saved) => ToyLearner::restore(&rules.hparams, &saved.snapshot).map_err(|error| error.to_string())?,
        None => ToyLearner::new(&rules.hparams),
    };
    if let Some(saved) = &saved {
        world.checker.borrow_mut().restore(*me, &saved.entry, toy.state_digest());
    }
    let standing = standing(profile.role, saved);
    let doors = Doors {
        chain: SimChain(place.clone()),
        exchange: SimExchange::new(place.clone()),
        learner: SimLearner::new(toy, place.clone()),
        journal: SimJournal(place.clone()),
        clock: SimClock(place.clone()),
    };
    let identity = Identity { signer: Arc::new(profile.key), verifier: Arc::new(SimOracle), role: profile.role };
    Ok(Node::new(doors, rules, identity, standing))
}

fn standing(role: Role, saved: Option<Saved>) -> Standing {
    match saved {
        Some(Saved { entry, scores, submitted, .. }) => {
            Standing { next: entry.next, previous: entry.previous, scores, submitted }
        }
        None => {
            let scores = (role == Role::Validator).then(ScoreBook::new);
            Standing { next: Window(0), previous: Digest::ZERO, scores, submitted: None }
        }
    }
}

/// Joins, then does whatever is to be done until the last window is committed.
async fn attend(mut node: Node<SimPorts>, place: &Place) -> Result<(), RoundError> {
    let windows = place.world.setup.scenario.windows;
    node.join().await?;
    let (mut acts, mut since) = (0, place.now());
    while node.standing().next.0 < windows {
        if place.profile().has(Defect::Stall) && node.standing().next.0 > windows / 2 {
            return Ok(());
        }
        if let Some(report) = node.advance().await? {
            place.report(&report);
        }
        acts = if place.now() == since { acts + 1 } else { 0 };
        since = place.now();
        if acts > ACTS_PER_INSTANT {
            let why = "it turns in circles".to_owned();
            place.world.accuse(Violation::Failed { node: place.me, why });
            return Ok(());
        }
    }
    Ok(())
}

/// An error with its causes.
fn story(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
