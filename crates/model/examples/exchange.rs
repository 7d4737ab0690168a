//! Exchange of checkpoints with Hugging Face transformers:
//! `exchange logits DIR ID...` prints the logits after the given tokens, one per line;
//! `exchange copy FROM TO BYTES` reads a checkpoint and writes it again, in shards of at most so many bytes.

use std::error::Error;
use std::io::Write;
use std::path::Path;

use pactum_model::{Engine, load_hf, save_hf_sharded};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["logits", folder, ids @ ..] => logits(Path::new(folder), ids),
        ["copy", from, to, bytes] => {
            let (config, parameters) = load_hf(Path::new(from))?;
            Ok(save_hf_sharded(Path::new(to), &config, &parameters, bytes.parse()?)?)
        }
        _ => Err("usage: exchange logits DIR ID... | exchange copy FROM TO BYTES".into()),
    }
}

fn logits(folder: &Path, ids: &[&str]) -> Result<(), Box<dyn Error>> {
    let (config, parameters) = load_hf(folder)?;
    let ids: Vec<u32> = ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
    let logits = Engine::new(&config, 1, 1)?.next_logits(&parameters, &ids)?;
    let mut out = std::io::stdout().lock();
    logits.iter().try_for_each(|logit| writeln!(out, "{logit:e}"))?;
    Ok(())
}
