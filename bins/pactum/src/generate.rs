//! `pactum generate`: a text, continued by a model.

use std::path::PathBuf;

use pactum_cli::{Failure, Stop, output, output_part};
use pactum_data::TextStream;
use pactum_model::{GenerateOptions, generate_each};

use crate::checkpoint::{Checkpoint, threads};

/// Continues a text with a model, and writes each word as soon as it is chosen.
///
/// The folder holds config.json, safetensors files and, unless the model was trained on bytes, tokenizer.json: as
/// `pactum train --out` or Hugging Face's transformers leave it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples: pactum train --data my-texts/ --out my-model
          pactum generate --model my-model \"Once upon a time\"
          pactum generate --model my-model --temperature 0 --tokens 50 \"To be\"")]
pub(crate) struct Args {
    /// The text to continue; without any, a new one is begun
    #[arg(default_value = "", hide_default_value = true)]
    prompt: String,
    /// The model's folder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The most tokens to write; fewer if the model ends the text
    #[arg(long, default_value_t = 200)]
    tokens: usize,
    /// How far to stray from what is likeliest: 0 never does, 1 draws as the model learned it
    #[arg(long, default_value_t = 0.8)]
    temperature: f32,
    /// Draw from the fewest likeliest tokens that share this part of the probability
    #[arg(long, default_value_t = 0.95)]
    top_p: f32,
    /// Another seed draws another text
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write only what is new, not the text given
    #[arg(long)]
    continuation: bool,
    /// Threads for computing; 0 takes all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Result<(), Failure> {
    let mut model = Checkpoint::open(&args.model, 1, threads(args.threads))?;
    let mut prompt = vec![model.begin];
    prompt.extend(model.tokenizer.encode(&args.prompt)?);
    let options =
        GenerateOptions { tokens: args.tokens, temperature: args.temperature, top_p: args.top_p, seed: args.seed };
    let end = model.tokenizer.end_of_text();
    let mut stream = TextStream::new(&model.tokenizer);
    let mut told = if args.continuation { Ok(true) } else { output_part(&args.prompt) };
    generate_each(&mut model.engine, &model.parameters, &prompt, options, |id| {
        if id == end || stop.is_stopped() || told != Ok(true) {
            return false;
        }
        told = output_part(stream.push(id));
        true
    })?;
    told?;
    output(stream.finish())
}
