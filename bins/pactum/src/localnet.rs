//! `pactum localnet`: a network of strangers on one machine, each a process of its own.

mod board;
mod crew;
mod plan;
mod report;
mod speed;
mod summary;
mod view;
mod watch;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pactum_cli::{Failure, Progress, Stop, Verbosity};
use pactum_node::Event;

use crate::aside::aside;
use crate::cheat::Kind;
use crate::paths;
use crate::place::Place;
use board::{Board, Logged};
use crew::{Crew, Happening};
use plan::Plan;
use report::{Report, Told};
use watch::Watch;

/// Starts a chain, validators and miners on this machine, and trains a model until a number of windows is done.
///
/// No account, wallet, port, GPU or network is needed. With --dir everything is kept, and the same command goes on
/// where it stopped. With --device the honest miners train there, and everybody else computes on the processor.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example: pactum localnet --data my-texts/ --miners 6 --dir run1 --report run1.json")]
pub(crate) struct Args {
    /// Text, Markdown, source code or .gz, a file or a folder [default: sources and READMEs in Cargo's registry folder]
    #[arg(long, value_name = "PATH")]
    data: Vec<PathBuf>,
    /// Honest miners
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    miners: u16,
    /// Validators
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    validators: u16,
    /// Windows in all; a run that was stopped goes on to this number
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..))]
    windows: u64,
    /// The model and its settings: micro, tiny, mini, 150m or 1b
    #[arg(long, default_value = "tiny")]
    preset: String,
    /// Where to keep everything [default: a new folder for temporary files]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Adds one dishonest miner of each kind
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    cheaters: Vec<Kind>,
    /// Starts one more miner when half of the windows are done
    #[arg(long)]
    late_miner: bool,
    /// Writes the report as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The seed of the initial parameters
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The honest miners keep moments on disk, and error feedback while they train: less memory, more waiting
    #[arg(long)]
    offload: bool,
    #[command(flatten)]
    place: Place,
}

/// How many windows the network may go past the last one while a node catches up.
const PATIENCE: u64 = 4;
/// How often one process is started again without ending a window in between.
const RESTARTS_MAX: u32 = 5;
/// How long the making of the plan may take to end once it was asked to.
const STOPPING: Duration = Duration::from_secs(1);
/// The file of everything that nodes told.
const EVENTS: &str = "events.ndjson";

pub(crate) async fn run(args: Args, verbosity: Verbosity, stop: Stop) -> Result<(), Failure> {
    if let Some(file) = &args.report {
        paths::check_report(file)?;
    }
    args.place.chosen()?;
    let progress = Progress::new(verbosity.quiet);
    let plan = make_plan(&args, &progress, &stop).await?;
    progress.note(format!("files in {}", plan.dir.display()));
    let mut network = Network::start(&args, plan, progress.clone(), &stop).await?;
    let ended = network.watch(&stop).await;
    progress.headline("stopping");
    let Network { plan, mut board, crew, watch, chain, mut log, .. } = network;
    let facts = watch.close().await;
    crew.stop(chain, &mut |name, happening| drop(note(&mut board, &mut log, name, happening))).await;
    progress.finish();
    let stopped = stop.is_stopped();
    let report = Report::new(&Told { args: &args, plan: &plan, board: &board, facts: &facts, stopped });
    // Whatever ended the run: what it came to is told before that.
    if let Some(file) = &args.report {
        report.write(file)?;
    }
    summary::print(&plan, &report, &board)?;
    ended?;
    verdict(&plan, &board, args.windows, stopped)
}

/// Makes the plan on a thread of its own: the text is read until the user stops it, but a step of a large model, by which
/// this machine is measured, may take longer than anybody waits.
async fn make_plan(args: &Args, progress: &Progress, stop: &Stop) -> Result<Plan, Failure> {
    let (args, progress, asked) = (args.clone(), progress.clone(), stop.clone());
    let making = aside(move || Plan::make(&args, &progress, &asked));
    let given_up = async {
        stop.stopped().await;
        tokio::time::sleep(STOPPING).await;
    };
    tokio::select! {
        biased;
        made = making => made?,
        () = given_up => Err(Failure::new("stopped before the network was started")),
    }
}

/// An error if the nodes differ, or if one did not come to the end of a run that nobody stopped.
fn verdict(plan: &Plan, board: &Board, windows: u64, stopped: bool) -> Result<(), Failure> {
    let (dir, logs) = (plan.dir.display(), plan.dir.join("logs"));
    if !board.same() {
        return Err(Failure::new(format!(
            "the nodes do not agree on the parameters; their logs are in {}",
            logs.display()
        )));
    }
    match board.behind(windows - 1).as_slice() {
        behind if behind.is_empty() || stopped => Ok(()),
        behind => Err(Failure::new(format!(
            "{} did not reach window {windows}; the same command with --dir {dir} goes on, and the logs are in {}",
            behind.join(", "),
            logs.display()
        ))),
    }
}

/// Everything that runs.
struct Network {
    plan: Plan,
    board: Board,
    crew: Crew,
    watch: Watch,
    log: File,
    progress: Progress,
    /// The number of the chain's process.
    chain: usize,
    /// How often each process was started again since it last ended a window.
    restarts: BTreeMap<usize, u32>,
    windows: u64,
    late: bool,
}

impl Network {
    async fn start(args: &Args, plan: Plan, progress: Progress, stop: &Stop) -> Result<Self, Failure> {
        progress.headline("starting the chain");
        let mut crew = Crew::new()?;
        let chain = crew.start(plan.chain_spec("127.0.0.1:0"))?;
        let url = tokio::select! {
            biased;
            () = stop.stopped() => return Err(Failure::new("stopped before the chain was up")),
            url = listening(&mut crew, &plan) => url?,
        };
        plan.forget_processes();
        // Started again, it must be where the nodes look for it.
        crew.respec(chain, plan.chain_spec(url.trim_start_matches("ws://")));
        let (board, log) = open_log(&plan)?;
        let watch = Watch::start(&url)?;
        let mut network = Self {
            board,
            crew,
            watch,
            log,
            progress,
            chain,
            restarts: BTreeMap::new(),
            windows: args.windows,
            late: args.late_miner && !plan.has_late(),
            plan,
        };
        network.plan.url = url;
        for seat in network.plan.seats() {
            network.seat(&seat)?;
        }
        Ok(network)
    }

    fn seat(&mut self, seat: &plan::Place) -> Result<(), Failure> {
        self.board.seat(&seat.name, seat.role, seat.cheat.map(|kind| kind.to_string()));
        self.crew.start(self.plan.node_spec(seat))?;
        Ok(())
    }

    /// Listens and shows until every node has done the last window, or the user stops it.
    async fn watch(&mut self, stop: &Stop) -> Result<(), Failure> {
        let last = self.windows - 1;
        // An earlier run may have gone past the last window already: a node that is behind gets its time all the same.
        let patience_ends = last.max(self.board.newest().unwrap_or(0)) + PATIENCE;
        while self.board.waits_for(last) {
            view::show(&self.progress, self);
            tokio::select! {
                biased;
                () = stop.stopped() => return Ok(()),
                (number, happening) = self.crew.next() => self.take(number, happening)?,
                () = self.watch.changed() => {}
            }
            if self.board.newest().is_some_and(|newest| newest >= patience_ends) {
                return Ok(());
            }
            if self.late && self.board.newest().is_some_and(|newest| newest >= self.windows / 2) {
                self.late = false;
                self.seat(&plan::Place::late())?;
            }
        }
        Ok(())
    }

    fn take(&mut self, number: usize, happening: Happening) -> Result<(), Failure> {
        let name = self.crew.name(number).to_owned();
        match happening {
            Happening::Ended { how } => self.revive(number, &name, &how),
            line @ Happening::Line(_) => {
                if note(&mut self.board, &mut self.log, &name, line)? {
                    // It works, and so does the chain: only falling again and again without a window between counts.
                    self.restarts.remove(&number);
                    self.restarts.remove(&self.chain);
                }
                Ok(())
            }
        }
    }

    /// Starts a process again that ended by itself. A node that does not come up is left out in the end.
    fn revive(&mut self, number: usize, name: &str, how: &str) -> Result<(), Failure> {
        let restarts = self.restarts.entry(number).or_default();
        *restarts += 1;
        if *restarts <= RESTARTS_MAX {
            self.progress.note(format!("{name} ended ({how}); starting it again"));
            self.board.phase(name, "starting again");
            let started = self.crew.restart(number);
            return started.map_err(|error| Failure::because(format!("cannot start {name} again"), &error));
        }
        let said = last_line(&self.plan.log_file(name));
        let why = format!("{name} ended again and again ({how}): {said}");
        if number == self.chain {
            return Err(Failure::new(why));
        }
        self.progress.note(format!("{why}; the others go on without it"));
        self.board.give_up(name);
        Ok(())
    }
}

/// Takes a line that a node printed into the board and the log, and says whether the node ended a window.
fn note(board: &mut Board, log: &mut File, name: &str, happening: Happening) -> Result<bool, Failure> {
    let Happening::Line(line) = happening else { return Ok(false) };
    let Ok(event) = serde_json::from_str::<Event>(&line) else { return Ok(false) };
    let logged = Logged { node: name.to_owned(), event };
    let line = format!("{}\n", serde_json::to_string(&logged)?);
    log.write_all(line.as_bytes()).map_err(|error| Failure::because(format!("cannot write {EVENTS}"), &error))?;
    let ended = logged.ended_window();
    board.hear(&logged.node, logged.event);
    Ok(ended)
}

/// Waits for the chain's address, which is the first line that it prints.
async fn listening(crew: &mut Crew, plan: &Plan) -> Result<String, Failure> {
    match crew.next().await {
        (_, Happening::Line(url)) => Ok(url),
        (number, Happening::Ended { how }) => {
            let said = last_line(&plan.log_file(crew.name(number)));
            Err(Failure::new(format!("the chain did not start ({how}): {said}")))
        }
    }
}

/// The board as an earlier run with the same folder left it, and the log to which it goes on.
fn open_log(plan: &Plan) -> Result<(Board, File), Failure> {
    let path = plan.dir.join(EVENTS);
    let mut board = Board::default();
    for seat in plan.seats() {
        board.seat(&seat.name, seat.role, seat.cheat.map(|kind| kind.to_string()));
    }
    let failed = |error| Failure::because(format!("cannot use {}", path.display()), &error);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        found => found.map_err(failed)?,
    };
    // A line cut short or damaged by a crash is passed over, and the others count.
    for line in String::from_utf8_lossy(&text).lines() {
        if let Ok(logged) = serde_json::from_str::<Logged>(line) {
            board.hear(&logged.node, logged.event);
        }
    }
    let mut log = File::options().create(true).append(true).open(&path).map_err(failed)?;
    if !text.is_empty() && !text.ends_with(b"\n") {
        log.write_all(b"\n").map_err(failed)?;
    }
    Ok((board, log))
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
}
