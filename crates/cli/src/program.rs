//! The frame of a program: from `main` to the exit code.

use std::future::Future;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::process::ExitCode;
use std::time::Duration;

use crate::screen::say;
use crate::{Failure, Stop, Verbosity};

/// Exit code of a program that was interrupted twice: 128 + SIGINT, as shells report it.
const INTERRUPTED: u8 = 130;
/// Exit code of a program that met a bug of its own, as the standard library has it.
const BUG: u8 = 101;
/// How long work that was handed to the runtime may take to end after the main future has.
const SHUTDOWN: Duration = Duration::from_secs(3);

/// A program's name and how it is to be run.
#[derive(Debug, Clone)]
pub struct Program {
    name: &'static str,
    version: &'static str,
    workers: usize,
    with_input: bool,
}

impl Program {
    /// A program; name and version are for messages. Two worker threads serve its network.
    pub fn new(name: &'static str, version: &'static str) -> Self {
        Self { name, version, workers: 2, with_input: false }
    }

    /// Sets the number of worker threads; at least one.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Makes the program stop when its standard input ends.
    ///
    /// A parent that gives its children a pipe thus leaves none behind, even when it is killed itself.
    #[must_use]
    pub fn until_input_ends(mut self) -> Self {
        self.with_input = true;
        self
    }

    /// Runs `main` to its end on the calling thread, and turns its result into an exit code.
    ///
    /// The main future may compute for as long as it likes: spawned tasks, the network and signals are served by worker
    /// threads meanwhile. It receives the [`Stop`] token that Ctrl-C and SIGTERM set off, and is expected to return soon
    /// after that. A failure is printed as one line on standard error.
    pub fn run<F>(self, verbosity: &Verbosity, main: impl FnOnce(Stop) -> F) -> ExitCode
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let bug = BugReport { name: self.name, version: self.version };
        panic::set_hook(Box::new(move |panic| say(&bug.sentence(panic))));
        match self.block_on(verbosity, main) {
            Ok(()) => ExitCode::SUCCESS,
            Err(Ended::Failed(failure)) => {
                say(&format!("error: {failure}"));
                ExitCode::from(failure.code())
            }
            Err(Ended::Bug) => ExitCode::from(BUG),
        }
    }

    fn block_on<F>(&self, verbosity: &Verbosity, main: impl FnOnce(Stop) -> F) -> Result<(), Ended>
    where
        F: Future<Output = Result<(), Failure>>,
    {
        verbosity.start()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.workers)
            .thread_name(self.name)
            .enable_all()
            .build()
            .map_err(|error| Failure::because("cannot start the threads of the program", &error))?;
        let stop = Stop::new();
        let result = panic::catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                self.listen(&stop)?;
                main(stop.clone()).await
            })
        }));
        runtime.shutdown_timeout(SHUTDOWN);
        Ok(result.map_err(|_| Ended::Bug)??)
    }

    fn listen(&self, stop: &Stop) -> Result<(), Failure> {
        stop.listen(INTERRUPTED).map_err(|error| Failure::because("cannot listen for the signal to stop", &error))?;
        if self.with_input {
            stop.follow_input().map_err(|error| Failure::because("cannot watch standard input", &error))?;
        }
        Ok(())
    }
}

/// How a program ends when not well.
enum Ended {
    Failed(Failure),
    Bug,
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What a panic says to the user: that it is not their mistake, and what to pass on.
struct BugReport {
    name: &'static str,
    version: &'static str,
}

impl BugReport {
    fn sentence(&self, panic: &PanicHookInfo<'_>) -> String {
        let payload = panic.payload();
        let cause = payload.downcast_ref::<&str>().copied();
        let cause = cause.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let Self { name, version } = self;
        format!("bug: {name} {version} met a case it should not have ({cause}) at {place}; please report this line")
    }
}
