//! `pactum train`: one machine alone, the baseline of every network run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pactum_cli::{Failure, Progress, Stop, Verbosity, output};
use pactum_data::{Dataset, PrepareOptions, Tokenizer};
use pactum_learner::{AloneOptions, AloneReport, Learner, LearnerConfig, train_alone};
use pactum_node::learner_config;
use pactum_protocol::{Digest, Hparams};
use serde::{Deserialize, Serialize};

/// Trains on this machine alone, with the same learner as a miner and no network.
///
/// Prints the held-out loss against the tokens trained on. With --dir everything is kept, and the same command goes on
/// where it stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: pactum train --data my-texts/ --batch 48 --windows 24 --report alone.json")]
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
    /// The seed of the initial parameters and of the order of the samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to keep the data and the newest state [default: a new folder for temporary files]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Writes the loss against tokens as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Report {
    /// After each window.
    points: Vec<Point>,
    preset: String,
    batch: u32,
    seed: u64,
    corpus: Digest,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Point {
    window: u64,
    tokens: u64,
    inner_loss: f32,
    heldout_loss: f32,
}

pub(crate) fn run(args: &Args, verbosity: Verbosity, stop: &Stop) -> Result<(), Failure> {
    let progress = Progress::new(verbosity.quiet);
    let mut hparams = Hparams::preset(&args.preset).ok_or_else(|| {
        let presets = pactum_protocol::PRESETS.join(", ");
        Failure::new(format!("there is no preset {:?}; choose one of {presets}", args.preset))
    })?;
    hparams.inner.batch = args.batch.unwrap_or(hparams.inner.batch);
    let dir =
        args.dir.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("pactum-train-{}", std::process::id())));
    let dataset = dataset(args, &hparams, &dir, &progress)?;
    let mut config = learner_config(&hparams);
    config.threads = threads(args.threads);
    let mut session = Session::open(args, config, &dir, &dataset)?;
    session.train(args, &dataset, &progress, stop)?;
    progress.finish();
    if let Some(file) = &args.report {
        session.report.write(file)?;
    }
    output(format!("files in {}", dir.display()))
}

/// A learner, what it came to so far, and where both are kept.
struct Session {
    learner: Learner,
    report: Report,
    dir: PathBuf,
}

impl Session {
    /// Goes on with what is in the folder, or begins.
    fn open(args: &Args, config: LearnerConfig, dir: &Path, dataset: &Dataset) -> Result<Self, Failure> {
        let corpus = Digest(dataset.digest());
        let batch = u32::try_from(config.inner.batch)?;
        let kept = match fs::read(dir.join("train.json")) {
            Ok(bytes) => Some(serde_json::from_slice::<Report>(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::because(format!("cannot read {}", dir.display()), &error)),
        };
        let Some(report) = kept else {
            let learner = Learner::new(config, args.seed)?;
            let report = Report { points: Vec::new(), preset: args.preset.clone(), batch, seed: args.seed, corpus };
            return Ok(Self { learner, report, dir: dir.to_owned() });
        };
        if (report.preset.as_str(), report.batch, report.seed, report.corpus)
            != (&args.preset, batch, args.seed, corpus)
        {
            return Err(Failure::new(format!(
                "{} was trained with other options (data, preset, batch or seed); give the same ones or choose another --dir",
                dir.display()
            )));
        }
        let snapshot = fs::read(dir.join("state.snapshot"))?;
        let learner = Learner::restore(config, &snapshot)
            .map_err(|error| Failure::because(format!("cannot go on from {}", dir.display()), &error))?;
        let mut report = report;
        // The report is written after the snapshot: what it lacks is measured again.
        report.points.retain(|point| point.window < learner.window());
        Ok(Self { learner, report, dir: dir.to_owned() })
    }

    fn train(&mut self, args: &Args, dataset: &Dataset, progress: &Progress, stop: &Stop) -> Result<(), Failure> {
        let per_window = u64::from(self.learner.config().inner.steps) * self.learner.config().model.context as u64;
        let per_window = per_window * u64::from(self.report.batch);
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&args.seed.to_le_bytes());
        while self.learner.window() < args.windows && !stop.is_stopped() {
            let options = AloneOptions { windows: 1, heldout: args.heldout, seed };
            let mut told = None;
            train_alone(&mut self.learner, dataset, &options, &mut |report: &AloneReport| {
                told = Some(*report);
                true
            })?;
            let Some(report) = told else { break };
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

    fn keep(&self) -> Result<(), Failure> {
        replace(&self.dir.join("state.snapshot"), &self.learner.snapshot(true))?;
        replace(&self.dir.join("train.json"), &serde_json::to_vec_pretty(&self.report)?)
    }
}

impl Report {
    fn write(&self, file: &Path) -> Result<(), Failure> {
        fs::write(file, serde_json::to_vec_pretty(self)?)
            .map_err(|error| Failure::because(format!("cannot write the report {}", file.display()), &error))
    }
}

/// Writes a file so that it is whole at any time.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let draft = path.with_extension("draft");
    fs::write(&draft, bytes)
        .and_then(|()| fs::rename(&draft, path))
        .map_err(|error| Failure::because(format!("cannot write {}", path.display()), &error))
}

fn dataset(args: &Args, hparams: &Hparams, dir: &Path, progress: &Progress) -> Result<Dataset, Failure> {
    let folder = dir.join("data");
    if !folder.join("index.json").exists() {
        let context = usize::try_from(hparams.model.context)?;
        let options = PrepareOptions {
            tokenizer: Tokenizer::Bytes,
            heldout_fraction: 0.05,
            context,
            ..PrepareOptions::default()
        };
        crate::data::from_texts(&args.data, &folder, &options, progress)?;
    }
    Ok(Dataset::open(&folder)?)
}

fn threads(wanted: usize) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if wanted == 0 { all() } else { wanted }
}
