//! The processes of a local network: started, listened to, started again when they fall, and never left behind.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long a process may take to end once it was asked to.
const GRACE: Duration = Duration::from_secs(5);
/// A process is not started again sooner than this after it was started: what made it end may pass.
const LIFE_MIN: Duration = Duration::from_secs(1);
/// How the names of the variables begin that programs of this project read.
const VARIABLES: &str = "PACTUM_";
/// The one of them that is for every process: how much it logs.
const LOG_LEVELS: &str = "PACTUM_LOG";

/// How to start one process: this very program with a subcommand.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    /// What people call it.
    pub(super) name: String,
    /// The arguments, the subcommand first.
    pub(super) args: Vec<OsString>,
    /// Where its log goes.
    pub(super) log: PathBuf,
    /// Where its process id stands while it runs.
    pub(super) pid: PathBuf,
}

/// What a process did.
#[derive(Debug)]
pub(super) enum Happening {
    /// It printed a line.
    Line(String),
    /// It ended.
    Ended {
        /// What the system says of it.
        how: String,
    },
}

/// All processes.
pub(super) struct Crew {
    program: PathBuf,
    members: Vec<Member>,
    listeners: JoinSet<()>,
    sender: mpsc::Sender<(usize, Happening)>,
    happenings: mpsc::Receiver<(usize, Happening)>,
}

struct Member {
    spec: Spec,
    /// Held open while the process shall run: it ends when this is closed, also by the death of this process.
    leash: Option<ChildStdin>,
    running: bool,
}

impl Crew {
    pub(super) fn new() -> io::Result<Self> {
        let (sender, happenings) = mpsc::channel(256);
        let program = std::env::current_exe()?;
        Ok(Self { program, members: Vec::new(), listeners: JoinSet::new(), sender, happenings })
    }

    /// Starts a process and returns its number.
    pub(super) fn start(&mut self, spec: Spec) -> io::Result<usize> {
        self.members.push(Member { spec, leash: None, running: false });
        let number = self.members.len() - 1;
        self.restart(number)?;
        Ok(number)
    }

    /// Starts a process that has ended again.
    pub(super) fn restart(&mut self, number: usize) -> io::Result<()> {
        let member = &mut self.members[number];
        let log = File::options().create(true).append(true).open(&member.spec.log)?;
        let mut command = Command::new(&self.program);
        command.args(&member.spec.args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        // What a node is, the plan alone decides, and no variable that was set for a node of one's own.
        let foreign = |name: &OsString| name.to_string_lossy().starts_with(VARIABLES) && name != LOG_LEVELS;
        for name in std::env::vars_os().map(|(name, _)| name).filter(foreign) {
            command.env_remove(name);
        }
        // Ctrl-C in a terminal is for this process; the others hear of it through their leash, in order.
        #[cfg(unix)]
        command.process_group(0);
        let mut process = command.spawn()?;
        if let Some(pid) = process.id() {
            std::fs::write(&member.spec.pid, pid.to_string())?;
        }
        member.leash = process.stdin.take();
        member.running = true;
        let lines = process.stdout.take();
        let sender = self.sender.clone();
        let earliest = Instant::now() + LIFE_MIN;
        self.listeners.spawn(async move {
            if let Some(lines) = lines {
                listen(number, lines, &sender).await;
            }
            let how = process.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
            tokio::time::sleep_until(earliest).await;
            let _ = sender.send((number, Happening::Ended { how })).await;
        });
        Ok(())
    }

    /// The next thing that a process did. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> (usize, Happening) {
        // A sender lives in `self`, so the channel never closes.
        let Some((number, happening)) = self.happenings.recv().await else { return std::future::pending().await };
        if matches!(happening, Happening::Ended { .. }) {
            let _ = std::fs::remove_file(&self.members[number].spec.pid);
            self.members[number].running = false;
            self.members[number].leash = None;
        }
        (number, happening)
    }

    /// The name of a process.
    pub(super) fn name(&self, number: usize) -> &str {
        &self.members[number].spec.name
    }

    /// Changes how a process is started the next time.
    pub(super) fn respec(&mut self, number: usize, spec: Spec) {
        self.members[number].spec = spec;
    }

    /// Asks one process to end.
    pub(super) fn release(&mut self, number: usize) {
        self.members[number].leash = None;
    }

    /// Asks every process to end, `last` after all others have; what they still say goes to `hear`.
    pub(super) async fn stop(mut self, last: usize, hear: &mut dyn FnMut(&str, Happening)) {
        for number in (0..self.members.len()).filter(|number| *number != last) {
            self.release(number);
        }
        self.wait_for(|number| number != last, hear).await;
        self.release(last);
        self.wait_for(|_| true, hear).await;
        // Whoever is still there is killed as its listener is dropped.
        self.listeners.shutdown().await;
    }

    async fn wait_for(&mut self, whom: impl Fn(usize) -> bool, hear: &mut dyn FnMut(&str, Happening)) {
        let all_ended = async {
            while self.members.iter().enumerate().any(|(number, member)| whom(number) && member.running) {
                let (number, happening) = self.next().await;
                hear(self.name(number), happening);
            }
        };
        let _ = tokio::time::timeout(GRACE, all_ended).await;
    }
}

async fn listen(number: usize, lines: ChildStdout, sender: &mpsc::Sender<(usize, Happening)>) {
    let mut lines = BufReader::new(lines).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if sender.send((number, Happening::Line(line))).await.is_err() {
            return;
        }
    }
}
