//! `pactum data`: text to token shards, and what is in them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Subcommand;
use pactum_cli::{Failure, Progress, Stop, Verbosity, output};
use pactum_data::{Dataset, Phase, PrepareOptions, Prepared, REGISTRY_BYTES, Tokenizer, prepare, registry_corpus};
use pactum_protocol::Digest;

/// The share of the text that is never trained on: enough to measure on, of a text as small as that of a first try.
const HELDOUT: f64 = 0.05;
/// The most text that is taken, after decompression.
const BYTES_MAX: u64 = 16 << 30;
/// How many of the files that were left out are named.
const SKIPPED_NAMED: usize = 5;
/// How often it is shown how far the reading is: where progress goes to a file, each time is a line.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Turns text into a dataset of token shards, and shows what is in one.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example: pactum data prepare --out pactum-data my-texts/ notes.md.gz")]
pub(crate) enum Args {
    /// Reads text, Markdown, source code and .gz files into a dataset
    #[command(after_help = "Example: pactum data prepare --out pactum-data --context 256 my-texts/")]
    Prepare(PrepareArgs),
    /// Shows what is in a dataset, and checks every shard
    #[command(after_help = "Example: pactum data show pactum-data")]
    Show {
        /// The dataset's folder
        #[arg(default_value = "pactum-data")]
        folder: PathBuf,
    },
}

/// What to read, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct PrepareArgs {
    /// Files and folders; without any, sources and READMEs in Cargo's registry folder
    inputs: Vec<PathBuf>,
    /// Where to write the dataset
    #[arg(long, default_value = "pactum-data")]
    out: PathBuf,
    /// A tokenizer.json; without it, one token a byte
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// The longest training sequence that the dataset must serve, in tokens
    #[arg(long, default_value_t = 64)]
    context: usize,
    /// The share of the text that is never trained on
    #[arg(long, default_value_t = HELDOUT)]
    heldout: f64,
    /// The most text to take, in bytes after decompression
    #[arg(long, value_name = "BYTES", default_value_t = BYTES_MAX)]
    bytes_max: u64,
}

pub(crate) fn run(args: &Args, verbosity: Verbosity, stop: &Stop) -> Result<(), Failure> {
    match args {
        Args::Prepare(args) => {
            let progress = Progress::new(verbosity.quiet);
            let prepared = from_texts(&args.inputs, &args.out, &args.options()?, &progress, stop)?;
            progress.finish();
            for skipped in &prepared.skipped {
                output(format!("skipped {}: {}", skipped.path.display(), skipped.reason))?;
            }
            if prepared.truncated {
                output(truncated(args.bytes_max))?;
            }
            show(&Dataset::open(&args.out)?)
        }
        Args::Show { folder } => show(&Dataset::open(folder)?),
    }
}

impl PrepareArgs {
    fn options(&self) -> Result<PrepareOptions, Failure> {
        let tokenizer = match &self.tokenizer {
            Some(file) => Tokenizer::open(file)?,
            None => Tokenizer::Bytes,
        };
        let heldout_fraction = self.heldout;
        Ok(PrepareOptions { tokenizer, heldout_fraction, bytes_max: self.bytes_max, ..options(self.context) })
    }
}

fn options(context: usize) -> PrepareOptions {
    PrepareOptions { heldout_fraction: HELDOUT, bytes_max: BYTES_MAX, context, ..PrepareOptions::default() }
}

fn truncated(bytes_max: u64) -> String {
    format!("only the first {bytes_max} bytes of text were taken; `pactum data prepare --bytes-max` sets another bound")
}

/// Prepares the dataset of a run on this machine alone, with bytes as tokens, and says what it leaves out.
pub(crate) fn for_run(
    inputs: &[PathBuf],
    out: &Path,
    context: usize,
    progress: &Progress,
    stop: &Stop,
) -> Result<Dataset, Failure> {
    let prepared = from_texts(inputs, out, &options(context), progress, stop)?;
    // What is in Cargo's folder nobody chose, and nobody misses.
    let left_out = if inputs.is_empty() { &[] } else { prepared.skipped.as_slice() };
    for skipped in left_out.iter().take(SKIPPED_NAMED) {
        progress.note(format!("skipped {}: {}", skipped.path.display(), skipped.reason));
    }
    if left_out.len() > SKIPPED_NAMED {
        progress.note(format!("skipped {} more files", left_out.len() - SKIPPED_NAMED));
    }
    if prepared.truncated {
        progress.note(truncated(BYTES_MAX));
    }
    Ok(Dataset::open(out)?)
}

/// Prepares a dataset from `inputs`, or from what is on every machine with Cargo if there are none.
fn from_texts(
    inputs: &[PathBuf],
    out: &Path,
    options: &PrepareOptions,
    progress: &Progress,
    stop: &Stop,
) -> Result<Prepared, Failure> {
    let found;
    let inputs = if inputs.is_empty() {
        found = registry_corpus(REGISTRY_BYTES)
            .map_err(|error| Failure::new(format!("{error} (--data PATH; after `data prepare`, PATH alone)")))?;
        &found
    } else {
        inputs
    };
    let mut shown: Option<Instant> = None;
    let prepared = prepare(inputs, out, options, &mut |step| {
        if shown.is_some_and(|shown| shown.elapsed() < SHOW_EVERY) {
            return !stop.is_stopped();
        }
        shown = Some(Instant::now());
        let doing = match step.phase {
            Phase::Reading => "reading",
            _ => "writing",
        };
        progress.headline(format!(
            "{doing} text: file {} of {}, {:.1} MB, {} tokens",
            step.files_done,
            step.files,
            step.bytes as f64 / 1e6,
            step.tokens
        ));
        !stop.is_stopped()
    })?;
    Ok(prepared)
}

fn show(dataset: &Dataset) -> Result<(), Failure> {
    let index = dataset.index();
    let source = &index.source;
    output(format!(
        "dataset     {}\ndigest      {}\nvocabulary  {}\ntokens      {} in {} shards, {} more held out\nsource      {} documents, {} bytes; {} files skipped",
        dataset.folder().display(),
        Digest(dataset.digest()),
        index.vocab,
        index.tokens(),
        index.shards.len(),
        index.heldout.tokens,
        source.documents,
        source.bytes,
        source.skipped,
    ))
}
