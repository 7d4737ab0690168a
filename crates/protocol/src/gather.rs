//! Fetching blobs from many peers, some of whom are slow, absent or lying. Sans-I/O.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{Digest, Timestamp, Uid};

#[cfg(test)]
mod tests;

/// A blob to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Its digest.
    pub digest: Digest,
    /// The most bytes that it may have. The digest alone decides whether it is the right blob.
    pub bytes: u64,
    /// Who may have it.
    pub sources: Vec<Uid>,
}

/// Bounds on gathering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatherLimits {
    /// The most fetches in flight.
    pub parallel: usize,
    /// How often one source is asked for one blob.
    pub tries: u32,
    /// How long one fetch may take, in milliseconds.
    pub attempt_millis: u64,
}

impl Default for GatherLimits {
    fn default() -> Self {
        Self { parallel: 8, tries: 2, attempt_millis: 10_000 }
    }
}

/// What the driver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Fetch the blob with the index `want` from the peer `from`, and report an [`Event`].
    Fetch {
        /// The index of the blob in the list given to [`Gather::new`].
        want: usize,
        /// Whom to ask.
        from: Uid,
    },
    /// Give up a fetch that took too long. Should it arrive nevertheless, report it: it still counts.
    Abandon {
        /// The index of the blob.
        want: usize,
        /// Who was asked.
        from: Uid,
    },
}

/// What became of a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes arrived. They are checked here; false ones count as a failure, and their sender is not asked for this
    /// blob again.
    Arrived {
        /// The index of the blob.
        want: usize,
        /// Who sent it.
        from: Uid,
        /// The bytes; the driver reads at most [`Want::bytes`] of them.
        bytes: Vec<u8>,
    },
    /// The fetch failed.
    Failed {
        /// The index of the blob.
        want: usize,
        /// Who was asked.
        from: Uid,
    },
}

/// A blob that nobody gave. It never changes an aggregate: the node applies nothing and replays the window later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Unfetched {
    /// Its digest.
    pub digest: Digest,
    /// How many fetches were tried.
    pub tried: u32,
}

/// Fetches blobs from many sources at once: bounded, deterministic, and stopped by no single source.
///
/// Each blob is asked of its sources in the order given, at most
/// [`GatherLimits::tries`] times each and of one source at a time. A blob that failed goes behind those that wait.
///
/// The driver does what [`Gather::poll_action`] says until it says nothing more, then waits for an event or for
/// [`Gather::poll_timeout`], until [`Gather::is_done`].
///
/// ```
/// use pactum_protocol::{Action, Digest, Event, Gather, GatherLimits, Timestamp, Uid, Want};
///
/// let want = Want { digest: Digest::of(b"blob"), bytes: 4, sources: vec![Uid(7), Uid(8)] };
/// let mut gather = Gather::new(vec![want], GatherLimits::default(), Timestamp(60_000));
/// let now = Timestamp(0);
/// assert_eq!(gather.poll_action(now), Some(Action::Fetch { want: 0, from: Uid(7) }));
/// gather.handle(now, Event::Arrived { want: 0, from: Uid(7), bytes: b"lies".to_vec() });
/// assert_eq!(gather.poll_action(now), Some(Action::Fetch { want: 0, from: Uid(8) }));
/// gather.handle(now, Event::Arrived { want: 0, from: Uid(8), bytes: b"blob".to_vec() });
/// assert!(gather.is_done());
/// let (blobs, unfetched) = gather.finish();
/// assert_eq!(blobs[&Digest::of(b"blob")], b"blob");
/// assert!(unfetched.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct Gather {
    jobs: Vec<Job>,
    /// Indices of the jobs that wait for a fetch.
    waiting: VecDeque<usize>,
    /// Fetches that took too long and of which the driver has not yet been told.
    abandoned: VecDeque<(usize, Uid)>,
    in_flight: BTreeMap<usize, Flight>,
    limits: GatherLimits,
    deadline: Timestamp,
    expired: bool,
}

#[derive(Clone, Debug)]
struct Job {
    digest: Digest,
    bytes: u64,
    sources: Vec<Source>,
    /// The source to ask next.
    cursor: usize,
    tried: u32,
    blob: Option<Vec<u8>>,
    /// An earlier job has the same digest.
    repeated: bool,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    uid: Uid,
    asked: u32,
    tries_left: u32,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    from: Uid,
    until: Timestamp,
}

impl Gather {
    /// Begins to gather `wants` until `deadline`. Of two wants with one digest the first counts, with the sources of
    /// both.
    #[must_use]
    pub fn new(wants: Vec<Want>, limits: GatherLimits, deadline: Timestamp) -> Self {
        let limits = GatherLimits { parallel: limits.parallel.max(1), ..limits };
        let mut jobs: Vec<Job> = Vec::with_capacity(wants.len());
        let mut seen: BTreeMap<Digest, usize> = BTreeMap::new();
        for (index, want) in wants.into_iter().enumerate() {
            let first = *seen.entry(want.digest).or_insert(index);
            let sources = want.sources.clone();
            jobs.push(Job::new(want, first != index));
            jobs[first].add_sources(&sources, limits.tries);
        }
        let waiting = (0..jobs.len()).filter(|index| jobs[*index].next_source().is_some()).collect();
        Self { jobs, waiting, abandoned: VecDeque::new(), in_flight: BTreeMap::new(), limits, deadline, expired: false }
    }

    /// What to do now; ask until there is nothing more.
    pub fn poll_action(&mut self, now: Timestamp) -> Option<Action> {
        self.expire(now);
        if let Some((want, from)) = self.abandoned.pop_front() {
            return Some(Action::Abandon { want, from });
        }
        if self.expired || self.in_flight.len() >= self.limits.parallel {
            return None;
        }
        while let Some(want) = self.waiting.pop_front() {
            if let Some(from) = self.jobs[want].ask() {
                let until = now.after(self.limits.attempt_millis).min(self.deadline);
                self.in_flight.insert(want, Flight { from, until });
                return Some(Action::Fetch { want, from });
            }
        }
        None
    }

    /// When to call [`Gather::poll_action`] again if no event comes before; none if there is nothing to wait for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.in_flight.values().map(|flight| flight.until).min()
    }

    /// Tells what became of a fetch. Events of fetches that nobody asked for are ignored, but for bytes that were
    /// asked for earlier and are right.
    pub fn handle(&mut self, now: Timestamp, event: Event) {
        self.expire(now);
        match event {
            Event::Failed { want, from } => self.fail(want, from),
            Event::Arrived { want, from, bytes } => self.arrive(want, from, bytes),
        }
    }

    /// Whether every blob has arrived or can no longer arrive.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let idle = self.in_flight.is_empty() && self.waiting.is_empty();
        (self.expired || idle) && self.abandoned.is_empty()
    }

    /// The blobs that arrived, and those that did not in the order of the wants.
    #[must_use]
    pub fn finish(self) -> (BTreeMap<Digest, Vec<u8>>, Vec<Unfetched>) {
        let mut blobs = BTreeMap::new();
        let mut unfetched = Vec::new();
        for job in self.jobs.into_iter().filter(|job| !job.repeated) {
            match job.blob {
                Some(blob) => {
                    blobs.insert(job.digest, blob);
                }
                None => unfetched.push(Unfetched { digest: job.digest, tried: job.tried }),
            }
        }
        (blobs, unfetched)
    }

    /// Ends the fetches whose time is over, all of them at the deadline.
    fn expire(&mut self, now: Timestamp) {
        self.expired |= now >= self.deadline;
        let over: Vec<usize> = self.in_flight.iter().filter(|(_, f)| f.until <= now).map(|(want, _)| *want).collect();
        for want in over {
            if let Some(flight) = self.in_flight.remove(&want) {
                self.abandoned.push_back((want, flight.from));
                self.requeue(want);
            }
        }
    }

    fn fail(&mut self, want: usize, from: Uid) {
        if self.in_flight.get(&want).is_some_and(|flight| flight.from == from) {
            self.in_flight.remove(&want);
            self.requeue(want);
        }
    }

    fn arrive(&mut self, want: usize, from: Uid, bytes: Vec<u8>) {
        let Some(job) = self.jobs.get_mut(want).filter(|job| job.was_asked(from) && job.blob.is_none()) else {
            return;
        };
        if !job.fits(&bytes) {
            job.strike(from);
            return self.fail(want, from);
        }
        job.blob = Some(bytes);
        self.waiting.retain(|other| *other != want);
        // Somebody else may be on the same errand by now.
        if let Some(flight) = self.in_flight.remove(&want).filter(|flight| flight.from != from) {
            self.abandoned.push_back((want, flight.from));
        }
    }

    fn requeue(&mut self, want: usize) {
        if self.jobs[want].next_source().is_some() {
            self.waiting.push_back(want);
        }
    }
}

impl Job {
    fn new(want: Want, repeated: bool) -> Self {
        let Want { digest, bytes, sources: _ } = want;
        Self { digest, bytes, sources: Vec::new(), cursor: 0, tried: 0, blob: None, repeated }
    }

    fn add_sources(&mut self, uids: &[Uid], tries: u32) {
        for &uid in uids {
            if self.sources.iter().all(|source| source.uid != uid) {
                self.sources.push(Source { uid, asked: 0, tries_left: tries });
            }
        }
    }

    /// The position of the source to ask next.
    fn next_source(&self) -> Option<usize> {
        let count = self.sources.len();
        (0..count).map(|step| (self.cursor + step) % count).find(|at| self.sources[*at].tries_left > 0)
    }

    fn ask(&mut self) -> Option<Uid> {
        let at = self.next_source()?;
        let source = &mut self.sources[at];
        source.tries_left -= 1;
        source.asked += 1;
        self.tried += 1;
        self.cursor = (at + 1) % self.sources.len();
        Some(self.sources[at].uid)
    }

    fn was_asked(&self, uid: Uid) -> bool {
        self.sources.iter().any(|source| source.uid == uid && source.asked > 0)
    }

    fn fits(&self, bytes: &[u8]) -> bool {
        u64::try_from(bytes.len()).is_ok_and(|len| len <= self.bytes) && Digest::of(bytes) == self.digest
    }

    /// Never asks `uid` for this blob again.
    fn strike(&mut self, uid: Uid) {
        for source in self.sources.iter_mut().filter(|source| source.uid == uid) {
            source.tries_left = 0;
        }
    }
}
