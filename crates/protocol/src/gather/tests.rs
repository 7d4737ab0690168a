use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Action, Event, Gather, GatherLimits, Unfetched, Want};
use crate::{Digest, Timestamp, Uid};

const DEADLINE: Timestamp = Timestamp(1000);

fn blob(name: usize) -> Vec<u8> {
    vec![u8::try_from(name).unwrap(); 3 + name]
}

fn want(name: usize, sources: &[u16]) -> Want {
    let blob = blob(name);
    let sources = sources.iter().map(|uid| Uid(*uid)).collect();
    Want { digest: Digest::of(&blob), bytes: blob.len() as u64, sources }
}

fn limits(parallel: usize, tries: u32) -> GatherLimits {
    GatherLimits { parallel, tries, attempt_millis: 100 }
}

fn arrived(want: usize, from: u16, bytes: Vec<u8>) -> Event {
    Event::Arrived { want, from: Uid(from), bytes }
}

fn failed(want: usize, from: u16) -> Event {
    Event::Failed { want, from: Uid(from) }
}

fn drain(gather: &mut Gather, now: u64) -> Vec<(usize, u16)> {
    std::iter::from_fn(|| gather.poll_action(Timestamp(now)))
        .filter_map(|action| match action {
            Action::Fetch { want, from } => Some((want, from.0)),
            Action::Abandon { .. } => None,
        })
        .collect()
}

#[test]
fn every_want_begins_at_the_source_that_the_caller_names_first() {
    let wants = (0..3).map(|name| want(name, &[12 - name as u16, 20, 21])).collect();
    let mut gather = Gather::new(wants, limits(8, 1), DEADLINE);
    assert_eq!(drain(&mut gather, 0), [(0, 12), (1, 11), (2, 10)]);
}

#[test]
fn a_failed_want_goes_to_its_next_source_behind_the_others() {
    let wants = (0..3).map(|name| want(name, &[10, 11])).collect();
    let mut gather = Gather::new(wants, limits(1, 2), DEADLINE);
    assert_eq!(drain(&mut gather, 0), [(0, 10)]);
    gather.handle(Timestamp(1), failed(0, 10));
    assert_eq!(drain(&mut gather, 1), [(1, 10)]);
    gather.handle(Timestamp(2), arrived(1, 10, blob(1)));
    assert_eq!(drain(&mut gather, 2), [(2, 10)]);
    gather.handle(Timestamp(3), arrived(2, 10, blob(2)));
    assert_eq!(drain(&mut gather, 3), [(0, 11)]);
    gather.handle(Timestamp(4), failed(0, 11));
    assert_eq!(drain(&mut gather, 4), [(0, 10)], "the second try of the first source");
}

#[test]
fn a_liar_is_not_asked_for_the_blob_again() {
    for lie in [b"lie".to_vec(), blob(0)[1..].to_vec(), Vec::new(), [blob(0), blob(0)].concat()] {
        let mut gather = Gather::new(vec![want(0, &[10, 11])], limits(8, 5), DEADLINE);
        let mut asked = BTreeMap::<u16, u32>::new();
        while let Some((want, from)) = drain(&mut gather, 0).pop() {
            *asked.entry(from).or_default() += 1;
            let event = if from == 10 { arrived(want, from, lie.clone()) } else { failed(want, from) };
            gather.handle(Timestamp(0), event);
        }
        assert_eq!(asked, BTreeMap::from([(10, 1), (11, 5)]));
        assert!(gather.is_done());
        assert_eq!(gather.finish().1, [Unfetched { digest: Digest::of(&blob(0)), tried: 6 }]);
    }
}

#[test]
fn a_silent_source_is_abandoned_but_may_still_deliver() {
    let mut gather = Gather::new(vec![want(0, &[10, 11])], limits(1, 1), DEADLINE);
    assert_eq!(drain(&mut gather, 0), [(0, 10)]);
    assert_eq!(gather.poll_timeout(), Some(Timestamp(100)));
    assert_eq!(gather.poll_action(Timestamp(99)), None);
    assert_eq!(gather.poll_action(Timestamp(100)), Some(Action::Abandon { want: 0, from: Uid(10) }));
    assert_eq!(gather.poll_action(Timestamp(100)), Some(Action::Fetch { want: 0, from: Uid(11) }));
    gather.handle(Timestamp(110), arrived(0, 10, blob(0)));
    assert_eq!(gather.poll_action(Timestamp(110)), Some(Action::Abandon { want: 0, from: Uid(11) }));
    assert!(gather.is_done());
    assert_eq!(gather.finish().0[&Digest::of(&blob(0))], blob(0));
}

#[test]
fn the_deadline_ends_everything() {
    let long = GatherLimits { attempt_millis: 5000, ..limits(1, 9) };
    let mut gather = Gather::new(vec![want(0, &[10]), want(1, &[11])], long, DEADLINE);
    assert_eq!(drain(&mut gather, 0), [(0, 10)]);
    assert_eq!(gather.poll_timeout(), Some(DEADLINE));
    assert!(!gather.is_done());
    assert_eq!(drain(&mut gather, DEADLINE.0), []);
    assert!(gather.is_done());
    let tried: Vec<u32> = gather.finish().1.iter().map(|unfetched| unfetched.tried).collect();
    assert_eq!(tried, [1, 0]);
}

#[test]
fn a_want_without_sources_is_reported_at_once() {
    let gather = Gather::new(vec![want(0, &[])], limits(1, 1), DEADLINE);
    assert!(gather.is_done());
    assert_eq!(gather.poll_timeout(), None);
    assert_eq!(gather.finish().1, [Unfetched { digest: Digest::of(&blob(0)), tried: 0 }]);
}

#[test]
fn equal_wants_are_fetched_once_from_the_sources_of_both() {
    let mut gather = Gather::new(vec![want(0, &[10]), want(0, &[11])], limits(8, 1), DEADLINE);
    assert_eq!(drain(&mut gather, 0), [(0, 10)]);
    gather.handle(Timestamp(0), failed(0, 10));
    assert_eq!(drain(&mut gather, 0), [(0, 11)]);
    gather.handle(Timestamp(0), arrived(0, 11, blob(0)));
    assert!(gather.is_done());
    let (blobs, unfetched) = gather.finish();
    assert_eq!((blobs.len(), unfetched.len()), (1, 0));
}

#[test]
fn events_that_nobody_expects_are_ignored() {
    let mut gather = Gather::new(vec![want(0, &[10, 11])], limits(1, 1), DEADLINE);
    for event in [failed(0, 10), failed(7, 10), arrived(7, 10, blob(0)), arrived(0, 10, blob(0))] {
        gather.handle(Timestamp(0), event);
    }
    assert_eq!(drain(&mut gather, 0), [(0, 10)]);
    gather.handle(Timestamp(0), failed(0, 11));
    assert_eq!(drain(&mut gather, 0), [], "the fetch from 10 is still in flight");
}

/// How a simulated source behaves.
#[derive(Clone, Copy, Debug)]
enum Conduct {
    Serves,
    Fails,
    Lies,
    Stalls,
}

#[derive(Clone, Debug)]
struct World {
    wants: Vec<Want>,
    conduct: Vec<Conduct>,
    /// Milliseconds that each source takes to answer, always less than an attempt may take.
    delay: Vec<u64>,
    limits: GatherLimits,
}

prop_compose! {
    fn any_world()(
        sources in proptest::collection::vec(proptest::collection::vec(0u16..6, 0..5), 0..10),
        conduct in proptest::collection::vec(
            prop::sample::select(vec![Conduct::Serves, Conduct::Fails, Conduct::Lies, Conduct::Stalls]), 6),
        delay in proptest::collection::vec(0u64..90, 6),
        parallel in 0usize..5,
        tries in 0u32..4,
    ) -> World {
        let wants = sources.iter().enumerate().map(|(name, sources)| want(name, sources)).collect();
        World { wants, conduct, delay, limits: limits(parallel, tries) }
    }
}

impl World {
    fn answers_at(&self, from: Uid, now: u64) -> Option<u64> {
        let source = usize::from(from.0);
        (!matches!(self.conduct[source], Conduct::Stalls)).then(|| now + self.delay[source])
    }

    fn answer(&self, want: usize, from: u16) -> Event {
        match self.conduct[usize::from(from)] {
            Conduct::Serves => arrived(want, from, blob(want)),
            Conduct::Lies => arrived(want, from, vec![0xff; 3 + want]),
            Conduct::Fails | Conduct::Stalls => failed(want, from),
        }
    }
}

/// What happened in a run of a [`World`].
#[derive(Debug, PartialEq)]
struct Trace {
    actions: Vec<(u64, Action)>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    unfetched: Vec<Unfetched>,
}

/// Drives a gathering to its end in virtual time and checks the bounds on the way.
fn run(world: &World, deadline: Timestamp) -> Trace {
    let mut gather = Gather::new(world.wants.clone(), world.limits, deadline);
    let mut actions = Vec::new();
    let mut pending: BTreeSet<(u64, usize, u16)> = BTreeSet::new();
    let mut open: BTreeSet<(usize, u16)> = BTreeSet::new();
    let mut now = 0;
    loop {
        while let Some(action) = gather.poll_action(Timestamp(now)) {
            actions.push((now, action));
            match action {
                Action::Abandon { want, from } => assert!(open.remove(&(want, from.0))),
                Action::Fetch { want, from } => {
                    assert!(open.insert((want, from.0)));
                    pending.extend(world.answers_at(from, now).map(|at| (at, want, from.0)));
                }
            }
            assert!(open.len() <= world.limits.parallel.max(1));
        }
        if gather.is_done() {
            break;
        }
        let timeout = gather.poll_timeout().expect("something is under way").0;
        match pending.first().copied().filter(|(at, ..)| *at < timeout) {
            None => now = timeout,
            Some(next @ (at, want, from)) => {
                pending.remove(&next);
                open.remove(&(want, from));
                now = at;
                let event = world.answer(want, from);
                gather.handle(Timestamp(now), event);
            }
        }
    }
    assert!(now <= deadline.0);
    let (blobs, unfetched) = gather.finish();
    Trace { actions, blobs, unfetched }
}

proptest! {
    #[test]
    fn every_want_is_delivered_or_reported(world in any_world(), deadline in 1u64..3000) {
        let trace = run(&world, Timestamp(deadline));
        let named: BTreeSet<Digest> = trace.unfetched.iter().map(|unfetched| unfetched.digest).collect();
        prop_assert_eq!(trace.blobs.len() + named.len(), world.wants.len());
        for (name, want) in world.wants.iter().enumerate() {
            match trace.blobs.get(&want.digest) {
                Some(found) => prop_assert_eq!(found, &blob(name)),
                None => prop_assert!(named.contains(&want.digest)),
            }
        }
    }

    #[test]
    fn no_source_is_asked_more_often_than_allowed(world in any_world()) {
        let mut asked: BTreeMap<(usize, Uid), u32> = BTreeMap::new();
        for (_, action) in run(&world, Timestamp(1_000_000)).actions {
            if let Action::Fetch { want, from } = action {
                let times = asked.entry((want, from)).or_default();
                *times += 1;
                prop_assert!(*times <= world.limits.tries);
                prop_assert!(world.wants[want].sources.contains(&from));
            }
        }
    }

    #[test]
    fn bad_sources_stop_nobody(world in any_world()) {
        let trace = run(&world, Timestamp(1_000_000));
        for want in world.wants.iter().filter(|_| world.limits.tries > 0) {
            let served = want.sources.iter().any(|uid| matches!(world.conduct[usize::from(uid.0)], Conduct::Serves));
            prop_assert_eq!(trace.blobs.contains_key(&want.digest), served);
        }
    }

    #[test]
    fn the_same_world_takes_the_same_course(world in any_world(), deadline in 1u64..3000) {
        prop_assert_eq!(run(&world, Timestamp(deadline)), run(&world, Timestamp(deadline)));
    }
}
