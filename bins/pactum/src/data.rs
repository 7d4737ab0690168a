//! `pactum data`: text to token shards, and what is in them.

use std::path::PathBuf;

use clap::Subcommand;
use pactum_cli::{Failure, Progress, Verbosity, output};
use pactum_data::{Dataset, Phase, PrepareOptions, Prepared, Tokenizer, prepare, registry_corpus};
use pactum_protocol::Digest;

/// How much text is read where the user names none.
const REGISTRY_BYTES_MAX: u64 = 8 << 20;

/// Turns text into a dataset of token shards, and shows what is in one.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example: pactum data prepare --out pactum-data my-texts/ notes.md.gz")]
pub(crate) enum Args {
    /// Reads text, Markdown, source code and .gz files into a dataset
    Prepare(PrepareArgs),
    /// Shows what is in a dataset, and checks every shard
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
    #[arg(long, default_value_t = 0.05)]
    heldout: f64,
}

pub(crate) fn run(args: &Args, verbosity: Verbosity) -> Result<(), Failure> {
    match args {
        Args::Prepare(args) => {
            let progress = Progress::new(verbosity.quiet);
            let prepared = args.prepare(&progress)?;
            progress.finish();
            for skipped in &prepared.skipped {
                output(format!("skipped {}: {}", skipped.path.display(), skipped.reason))?;
            }
            show(&Dataset::open(&args.out)?)
        }
        Args::Show { folder } => show(&Dataset::open(folder)?),
    }
}

impl PrepareArgs {
    fn prepare(&self, progress: &Progress) -> Result<Prepared, Failure> {
        let tokenizer = match &self.tokenizer {
            Some(file) => Tokenizer::open(file)?,
            None => Tokenizer::Bytes,
        };
        let options = PrepareOptions {
            tokenizer,
            heldout_fraction: self.heldout,
            context: self.context,
            ..PrepareOptions::default()
        };
        from_texts(&self.inputs, &self.out, &options, progress)
    }
}

/// Prepares a dataset from `inputs`, or from what is on every machine with Cargo if there are none.
pub(crate) fn from_texts(
    inputs: &[PathBuf],
    out: &std::path::Path,
    options: &PrepareOptions,
    progress: &Progress,
) -> Result<Prepared, Failure> {
    let found;
    let inputs = if inputs.is_empty() {
        found = registry_corpus(REGISTRY_BYTES_MAX)?;
        &found
    } else {
        inputs
    };
    let prepared = prepare(inputs, out, options, &mut |step| {
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
