//! Writing things down while the work goes on.

use std::thread::{self, JoinHandle};

use pactum_round::BoxError;
use tracing::warn;

/// Writes one thing at a time, on a thread of its own, and says of each whether it was written before the next is begun.
///
/// What was given to it is written also if it is dropped.
#[derive(Debug)]
pub struct Scribe {
    writing: Option<JoinHandle<Result<(), BoxError>>>,
    /// Whether anything is written while the work goes on.
    background: bool,
}

impl Scribe {
    /// One that writes while the work goes on.
    #[must_use]
    pub fn in_background() -> Self {
        Self { writing: None, background: true }
    }

    /// One that lets the work wait for everything that is written, which then need not share its memory with it.
    #[must_use]
    pub fn in_foreground() -> Self {
        Self { writing: None, background: false }
    }

    /// Begins to `write`, once the thing before is written.
    ///
    /// # Errors
    /// If the thing before could not be written, or no thread can be had; and in the foreground if `write` fails.
    pub fn write(&mut self, write: impl FnOnce() -> Result<(), BoxError> + Send + 'static) -> Result<(), BoxError> {
        self.settle()?;
        if !self.background {
            return write();
        }
        self.writing = Some(thread::Builder::new().name("pactum-scribe".to_owned()).spawn(write)?);
        Ok(())
    }

    /// Waits until everything given so far is written.
    ///
    /// # Errors
    /// If the last of it could not be written.
    pub fn settle(&mut self) -> Result<(), BoxError> {
        match self.writing.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(written)) => written,
            Some(Err(_)) => Err("the thread that writes snapshots has panicked".into()),
        }
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        if let Err(error) = self.settle() {
            warn!(%error, "the newest snapshot could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn the_work_goes_on_while_something_is_written() {
        let (go_on, waits) = mpsc::channel();
        let mut scribe = Scribe::in_background();
        // It cannot be written before this thread has come further.
        scribe.write(move || Ok(waits.recv()?)).unwrap();
        go_on.send(()).unwrap();
        scribe.settle().unwrap();
        scribe.settle().unwrap();
    }

    #[test]
    fn a_failure_is_heard_of_before_the_next_thing_is_begun() {
        let mut scribe = Scribe::in_background();
        scribe.write(|| Err("no space".into())).unwrap();
        let error = scribe.write(|| panic!("this must not be begun")).unwrap_err();
        assert_eq!(error.to_string(), "no space");
        // It was told once.
        scribe.settle().unwrap();
        scribe.write(|| std::panic::resume_unwind(Box::new(()))).unwrap();
        assert!(scribe.settle().unwrap_err().to_string().contains("has panicked"));
    }

    #[test]
    fn in_the_foreground_it_is_written_at_once() {
        let mut scribe = Scribe::in_foreground();
        assert_eq!(scribe.write(|| Err("no space".into())).unwrap_err().to_string(), "no space");
        let done = Arc::new(AtomicBool::new(false));
        let set = Arc::clone(&done);
        scribe
            .write(move || {
                set.store(true, Ordering::Relaxed);
                Ok(())
            })
            .unwrap();
        assert!(done.load(Ordering::Relaxed));
    }

    #[test]
    fn what_was_begun_is_written_when_it_is_dropped() {
        let (go_on, waits) = mpsc::channel();
        let done = Arc::new(AtomicBool::new(false));
        let set = Arc::clone(&done);
        let mut scribe = Scribe::in_background();
        scribe
            .write(move || {
                waits.recv()?;
                set.store(true, Ordering::Relaxed);
                Ok(())
            })
            .unwrap();
        go_on.send(()).unwrap();
        drop(scribe);
        assert!(done.load(Ordering::Relaxed));
    }
}
