//! Drives the sans-I/O gather machine: the one place of a round with real concurrency.

use std::collections::BTreeMap;

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use pactum_protocol::{Action, Digest, Event, Gather, GatherLimits, Metagraph, Timestamp, Uid, Unfetched, Want};

use crate::ports::{Clock, Exchange};

/// How long to try.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    /// When to give up.
    pub(crate) deadline: Timestamp,
    /// How long one source may take before the next is asked as well.
    pub(crate) attempt_millis: u64,
}

/// Fetches `wants` until everything is there or `deadline` passes.
pub(crate) async fn drive<E: Exchange, C: Clock>(
    exchange: &E,
    clock: &C,
    metagraph: &Metagraph,
    wants: &[Want],
    until: Until,
) -> (BTreeMap<Digest, Vec<u8>>, Vec<Unfetched>) {
    let limits = GatherLimits { attempt_millis: until.attempt_millis, ..GatherLimits::default() };
    let mut gather = Gather::new(wants.to_vec(), limits, until.deadline);
    let mut fetches = FuturesUnordered::new();
    while !gather.is_done() {
        while let Some(action) = gather.poll_action(clock.now()) {
            // An abandoned fetch may run on: if it brings its blob after all, the better.
            if let Action::Fetch { want, from } = action {
                fetches.push(fetch(exchange, metagraph, want, &wants[want], from));
            }
        }
        let Some(alarm) = gather.poll_timeout() else { break };
        let alarm = std::pin::pin!(clock.sleep_until(alarm));
        if let Either::Left((Some(event), _)) = select(fetches.next(), alarm).await {
            gather.handle(clock.now(), event);
        }
    }
    drop(fetches);
    gather.finish()
}

async fn fetch<E: Exchange>(exchange: &E, metagraph: &Metagraph, want: usize, wanted: &Want, from: Uid) -> Event {
    let Some(neuron) = metagraph.by_uid(from) else { return Event::Failed { want, from } };
    match exchange.fetch(neuron, &wanted.digest, wanted.bytes).await {
        Some(bytes) => Event::Arrived { want, from, bytes },
        None => Event::Failed { want, from },
    }
}
