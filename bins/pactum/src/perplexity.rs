//! `pactum perplexity`: how well a model foresees a text.

use std::path::PathBuf;

use pactum_cli::{Failure, Progress, Stop, Verbosity, output};
use pactum_data::read_text;
use pactum_model::{log_likelihoods, text_windows};

use crate::checkpoint::{Checkpoint, threads};

/// The longest text, in bytes.
const TEXT_BYTES_MAX: u64 = 1 << 30;

/// Measures how well a model foresees a text: loss, perplexity and bits per byte.
///
/// Every token is asked for once, with as much of the text before it as the context has room for beside its neighbours.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: pactum perplexity --model my-model held-out.txt")]
pub(crate) struct Args {
    /// The text, UTF-8 or .gz
    file: PathBuf,
    /// The model's folder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Tokens asked for in one pass; fewer see more of the text before them and take longer [default: half the context]
    #[arg(long)]
    stride: Option<usize>,
    /// Sequences worked on at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    rows: u32,
    /// Threads for computing; 0 takes all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

pub(crate) fn run(args: &Args, verbosity: Verbosity, stop: &Stop) -> Result<(), Failure> {
    let rows = usize::try_from(args.rows)?;
    let mut model = Checkpoint::open(&args.model, rows, threads(args.threads))?;
    let text = read_text(&args.file, TEXT_BYTES_MAX)?;
    let mut ids = vec![model.begin];
    ids.extend(model.tokenizer.encode(&text)?);
    if ids.len() == 1 {
        return Err(Failure::new(format!("{} is empty: choose a file with text", args.file.display())));
    }
    let context = model.engine.config().context;
    let stride = args.stride.unwrap_or(context / 2).clamp(1, context);
    let progress = Progress::new(verbosity.quiet);
    let (mut sum, mut done) = (0.0, 0);
    for group in text_windows(&ids, context, stride).chunks(rows) {
        if stop.is_stopped() {
            return Err(Failure::new("stopped before the end of the text"));
        }
        for found in log_likelihoods(&mut model.engine, &model.parameters, group)? {
            sum += found.log_probability;
            done += found.tokens;
        }
        progress.headline(format!("token {done} of {}", ids.len() - 1));
    }
    progress.finish();
    let loss = -sum / done as f64;
    let bits = -sum / std::f64::consts::LN_2 / text.len() as f64;
    output(format!(
        "text              {} bytes, {done} tokens, asked for {stride} at a time in a context of {context}\n\
         loss              {loss:.4} nats per token\n\
         perplexity        {:.4}\n\
         bits per byte     {bits:.4}",
        text.len(),
        loss.exp()
    ))
}
