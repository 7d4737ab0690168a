//! `pactum train`: one machine alone, the baseline of every network run.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use pactum_cli::{Failure, Progress, Stop, Verbosity, available_memory, output};
use pactum_data::{Dataset, Tokenizer};
use pactum_learner::{AloneOptions, AloneReport, Learner, LearnerConfig, RateSchedule, Scratch, train_alone};
use pactum_model::save_hf;
use pactum_node::{Scribe, learner_config};
use pactum_protocol::{Digest, Hparams};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{parse_bytes, refuse_unless_fits, threads};
use crate::paths;
use crate::place::Place;

/// Trains on this machine alone, with the same learner as a miner and no network.
///
/// Prints the held-out loss against the tokens trained on. With --dir everything is kept, and the same command goes on
/// where it stopped. With --out the model is left for `pactum generate` and for Hugging Face's transformers.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples: pactum train --data my-texts/ --batch 48 --windows 24 --report alone.json
          pactum train --data my-texts/ --schedule wsd --out my-model; pactum generate --model my-model \"It was\"
          pactum train --data my-texts/ --preset 150m --device cuda")]
pub(crate) struct Args {
    /// Text, Markdown, source code or .gz, a file or a folder [default: sources and READMEs in Cargo's registry folder]
    #[arg(long, value_name = "PATH")]
    data: Vec<PathBuf>,
    /// The model and its settings: micro, tiny, mini, 150m or 1b
    #[arg(long, default_value = "tiny")]
    preset: String,
    /// Windows in all, each of the preset's inner steps
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..))]
    windows: u64,
    /// Sequences in a step [default: the preset's]
    #[arg(long)]
    batch: Option<u32>,
    /// Held-out sequences to measure the loss on after each window
    #[arg(long, default_value_t = 32)]
    heldout: usize,
    /// Threads for computing; 0 takes all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
    #[command(flatten)]
    place: Place,
    /// How the learning rate runs: as the preset says (a cosine), constant, or constant with a fall in the last fifth (wsd)
    #[arg(long, value_enum, default_value_t = Schedule::Preset)]
    schedule: Schedule,
    /// The seed of the initial parameters and of the order of the samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to keep the data and the newest state [default: a new folder for temporary files]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Writes the loss against tokens as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Leaves the trained model in a folder, in Hugging Face's layout
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keep the optimizer's moments on disk: less than half of the memory, somewhat slower, the same bits
    #[arg(long)]
    offload: bool,
    /// Memory to keep within, such as 16GB [default: what this machine has left]
    #[arg(long, value_parser = parse_bytes)]
    memory: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Schedule {
    Preset,
    Constant,
    Wsd,
}

impl Schedule {
    /// For a run of `total` steps.
    fn applied(self, preset: RateSchedule, warmup: u64, total: u64) -> RateSchedule {
        let peak = preset.peak();
        match self {
            Self::Preset => preset,
            Self::Constant => RateSchedule::Constant { peak, warmup },
            Self::Wsd => RateSchedule::Wsd { peak, warmup, total, decay: total / 5, floor: 0.0 },
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Report {
    /// After each window.
    points: Vec<Point>,
    preset: String,
    batch: u32,
    seed: u64,
    corpus: Digest,
    /// What the data was made from; empty for Cargo's registry folder.
    inputs: Vec<PathBuf>,
    /// How many held-out sequences the loss is the mean of.
    heldout: usize,
    /// The commit of the program that began, if it was built from one.
    commit: Option<String>,
    hparams: Hparams,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Point {
    window: u64,
    tokens: u64,
    inner_loss: f32,
    heldout_loss: f32,
}

pub(crate) fn run(args: &Args, verbosity: Verbosity, stop: &Stop) -> Result<(), Failure> {
    if let Some(file) = &args.report {
        paths::check_report(file)?;
    }
    let place = args.place.chosen()?;
    let progress = Progress::new(verbosity.quiet);
    let mut hparams = Hparams::preset(&args.preset).ok_or_else(|| {
        let presets = pactum_protocol::PRESETS.join(", ");
        Failure::new(format!("there is no preset {:?}; choose one of {presets}", args.preset))
    })?;
    hparams.inner.batch = args.batch.unwrap_or(hparams.inner.batch);
    let mut config = learner_config(&hparams);
    config.threads = threads(args.threads);
    let total = args.windows.saturating_mul(hparams.inner.steps.into());
    config.inner.rate = args.schedule.applied(config.inner.rate, hparams.inner.warmup.into(), total);
    let plan = config.memory()?;
    let available = args.memory.or_else(available_memory);
    let needed = match (place.is_device(), args.offload) {
        (false, false) => plan.alone_bytes(),
        (false, true) => plan.offloaded_bytes(),
        (true, _) => plan.accelerated_bytes(),
    };
    refuse_unless_fits("this training", needed, available, &plan)?;
    let dir = args.dir.clone().map_or_else(|| paths::fresh("train"), Ok)?;
    let accelerator = place.accelerator(&config, &dir)?;
    let folder = dir.join("data");
    let dataset = if dir.join(REPORT).exists() {
        Dataset::open(&folder)?
    } else {
        crate::data::for_run(&args.data, &folder, usize::try_from(hparams.model.context)?, &progress, stop)?
    };
    let mut session = Session::open(args, config, &dir, hparams, &dataset)?;
    if let Some(accelerator) = accelerator {
        progress.note(format!("device: {}", accelerator.describe()));
        session.learner = session.learner.accelerated(accelerator)?;
    }
    let trained = session.train(args, &dataset, &progress, stop);
    progress.finish();
    if let Some(file) = &args.report {
        session.report.write(file)?;
    }
    if let Some(out) = args.out.as_ref().filter(|_| trained.is_ok()) {
        session.export(&dataset, out)?;
    }
    output(format!("files in {}", dir.display()))?;
    trained
}

/// A learner, what it came to so far, and where both are kept.
struct Session {
    learner: Learner,
    scribe: Scribe,
    report: Report,
    dir: PathBuf,
}

impl Session {
    /// Goes on with what is in the folder, or begins.
    fn open(
        args: &Args,
        config: LearnerConfig,
        dir: &Path,
        hparams: Hparams,
        dataset: &Dataset,
    ) -> Result<Self, Failure> {
        let new = Report {
            points: Vec::new(),
            preset: args.preset.clone(),
            batch: u32::try_from(config.inner.batch)?,
            seed: args.seed,
            corpus: Digest(dataset.digest()),
            inputs: args.data.clone(),
            heldout: args.heldout,
            commit: option_env!("PACTUM_COMMIT").map(str::to_owned),
            hparams,
        };
        let report = match Report::read(&dir.join(REPORT))? {
            Some(kept) if kept.is_of(&new) => kept,
            None => new,
            Some(_) => {
                return Err(Failure::new(format!(
                    "{} was trained with other options (data, preset, batch, held-out sequences or seed) or by another \
                     version; give the same ones or choose another --dir",
                    dir.display()
                )));
            }
        };
        let scratch = if args.offload { Some(Box::new(scratch(dir)?) as Box<dyn Scratch>) } else { None };
        // A snapshot in the background would make the learner copy what it shares with it.
        let scribe = if args.offload { Scribe::in_foreground() } else { Scribe::in_background() };
        let learner = match (fs::File::open(dir.join(STATE)), scratch) {
            (Ok(mut snapshot), scratch) => Learner::restore_from(config, &mut snapshot, scratch)
                .map_err(|error| Failure::because(format!("cannot go on from {}", dir.display()), &error))?,
            (Err(error), Some(scratch)) if error.kind() == io::ErrorKind::NotFound => {
                Learner::new(config, args.seed)?.offloading(scratch)?
            }
            (Err(error), None) if error.kind() == io::ErrorKind::NotFound => Learner::new(config, args.seed)?,
            (Err(error), _) => {
                return Err(Failure::because(format!("cannot read {}", dir.join(STATE).display()), &error));
            }
        };
        let mut session = Self { learner, scribe, report, dir: dir.to_owned() };
        session.report.points.retain(|point| point.window < session.learner.window());
        // From here on the folder's data is that of this report.
        session.report.write_durably(&session.dir.join(REPORT))?;
        Ok(session)
    }

    /// Trains to the last window, or until the user stops it, and keeps each.
    fn train(&mut self, args: &Args, dataset: &Dataset, progress: &Progress, stop: &Stop) -> Result<(), Failure> {
        let trained = self.train_windows(args, dataset, progress, stop);
        // What was trained before a failure stays.
        let kept = self.scribe.settle().map_err(Failure::new);
        trained.and(kept)
    }

    fn train_windows(
        &mut self,
        args: &Args,
        dataset: &Dataset,
        progress: &Progress,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let per_window = u64::from(self.learner.config().inner.steps) * self.learner.config().model.context as u64;
        let per_window = per_window * u64::from(self.report.batch);
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&args.seed.to_le_bytes());
        let options = AloneOptions { windows: 1, heldout: args.heldout, seed };
        while self.learner.window() < args.windows && !stop.is_stopped() {
            let Some(report) = self.train_window(dataset, &options, stop)? else { break };
            let point = Point {
                window: report.window,
                tokens: (report.window + 1) * per_window,
                inner_loss: report.inner.loss,
                heldout_loss: report.heldout_loss,
            };
            progress.headline(format!("window {} of {}", point.window + 1, args.windows));
            output(format!(
                "{:>10} tokens  inner loss {:.4}  held-out loss {:.4} nats per token",
                point.tokens, point.inner_loss, point.heldout_loss
            ))?;
            self.report.points.push(point);
            self.keep()?;
        }
        Ok(())
    }

    /// One window, while the one before is being written; `None` if the user stopped it.
    fn train_window(
        &mut self,
        dataset: &Dataset,
        options: &AloneOptions,
        stop: &Stop,
    ) -> Result<Option<AloneReport>, Failure> {
        let Self { learner, scribe, .. } = self;
        let mut left = learner.config().inner.steps;
        let (mut written, mut told) = (Ok(()), None);
        let mut keep_going = || {
            left = left.saturating_sub(1);
            if left == 0 {
                // The window before is on disk before this one is committed: a crash costs one at most, and nothing that the
                // commit changes has to be copied.
                written = scribe.settle();
            }
            written.is_ok() && !stop.is_stopped()
        };
        train_alone(learner, dataset, options, &mut keep_going, &mut |report: &AloneReport| {
            told = Some(*report);
            true
        })?;
        written.map_err(Failure::new)?;
        Ok(told)
    }

    /// Begins to write down report and state. The report comes first: a point beyond the state is dropped when the training
    /// goes on, and measured again.
    fn keep(&mut self) -> Result<(), Failure> {
        let (dir, json) = (self.dir.clone(), serde_json::to_vec_pretty(&self.report)?);
        let snapshot = self.learner.capture(true);
        let write = move || {
            replace(&dir.join(REPORT), |file| file.write_all(&json))?;
            replace(&dir.join(STATE), |file| snapshot.write(file))
        };
        // A failure is no error that others can hold, but its sentence is one.
        self.scribe.write(move || write().map_err(|failure| failure.to_string().into())).map_err(Failure::new)
    }

    /// The model and its tokenizer, for those who use it.
    fn export(&self, dataset: &Dataset, out: &Path) -> Result<(), Failure> {
        save_hf(out, &self.learner.config().model, self.learner.parameters())?;
        if let Tokenizer::File(tokenizer) = dataset.tokenizer() {
            replace(&out.join("tokenizer.json"), |file| file.write_all(tokenizer.json()))?;
        }
        output(format!("model in {}", out.display()))
    }
}

/// A file without a name, which the system forgets with the process.
fn scratch(dir: &Path) -> Result<fs::File, Failure> {
    let path = dir.join("scratch");
    let file = fs::File::options().create(true).truncate(true).read(true).write(true).open(&path);
    let file = file.map_err(|error| Failure::because(format!("cannot write {}", path.display()), &error))?;
    // Where an open file cannot be removed it stays, and is emptied at the next start.
    let _ = fs::remove_file(&path);
    Ok(file)
}

/// Files of a training.
const REPORT: &str = "train.json";
const STATE: &str = "state.snapshot";

impl Report {
    /// The report of an earlier start; `None` if there was none.
    fn read(file: &Path) -> Result<Option<Self>, Failure> {
        match fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                let file = file.display();
                Failure::because(format!("{file} is damaged or of another version; choose another --dir"), &error)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::because(format!("cannot read {}", file.display()), &error)),
        }
    }

    /// Whether the training that this report is of may go on with the options of `other`, which may name no inputs.
    fn is_of(&self, other: &Self) -> bool {
        let options = |report: &Self| (report.batch, report.seed, report.corpus, report.heldout);
        let inputs = other.inputs.is_empty() || self.inputs == other.inputs;
        inputs && options(self) == options(other) && self.hparams == other.hparams
    }

    fn write_durably(&self, file: &Path) -> Result<(), Failure> {
        let json = serde_json::to_vec_pretty(self)?;
        replace(file, |file| file.write_all(&json))
    }

    fn write(&self, file: &Path) -> Result<(), Failure> {
        fs::write(file, serde_json::to_vec_pretty(self)?)
            .map_err(|error| Failure::because(format!("cannot write the report {}", file.display()), &error))
    }
}

/// Writes a file so that it is whole at any time, even when the power fails.
fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let draft = path.with_extension("draft");
    let written = || {
        let mut file = BufWriter::new(fs::File::create(&draft)?);
        write(&mut file)?;
        file.into_inner()?.sync_all()?;
        fs::rename(&draft, path)
    };
    written().map_err(|error| Failure::because(format!("cannot write {}", path.display()), &error))
}
