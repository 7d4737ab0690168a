//! The threads of one engine.

use std::sync::{Mutex, PoisonError};

/// Runs independent pieces of work, on a pool of its own or on the calling thread alone.
///
/// The pieces are cut by size, never by the number of threads, so the same bits come out of any team.
#[derive(Debug)]
pub(crate) struct Team {
    pool: Option<rayon::ThreadPool>,
}

impl Team {
    /// The calling thread alone.
    pub(crate) fn alone() -> Self {
        Self { pool: None }
    }

    /// One thread, or none, needs no pool.
    pub(crate) fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        if threads <= 1 {
            return Ok(Self::alone());
        }
        let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
        builder.thread_name(|index| format!("engine-{index}")).build().map(|pool| Self { pool: Some(pool) })
    }

    /// Runs a whole step on the team, so that the pieces inside it start without waking the pool each time.
    pub(crate) fn enter<R: Send>(&self, step: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(step),
            None => step(),
        }
    }

    /// Runs the task on each item; call it within [`Team::enter`].
    pub(crate) fn each<I>(&self, items: I, task: impl Fn(I::Item) + Sync)
    where
        I: Iterator<Item: Send> + Send,
    {
        if self.pool.is_none() {
            return items.for_each(task);
        }
        let task = &task;
        rayon::scope(|scope| items.for_each(|item| scope.spawn(move |_| task(item))));
    }
}

/// Working memory lent to the pieces of work: as many as run at once are made, then they are used again.
pub(crate) struct Lent<T> {
    free: Mutex<Vec<T>>,
}

impl<T> Lent<T> {
    pub(crate) fn new() -> Self {
        Self { free: Mutex::new(Vec::new()) }
    }

    /// Lends one to the task; what it holds is what an earlier task left.
    pub(crate) fn lend<R>(&self, make: impl FnOnce() -> T, task: impl FnOnce(&mut T) -> R) -> R {
        let taken = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut item = taken.unwrap_or_else(make);
        let result = task(&mut item);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(item);
        result
    }
}
