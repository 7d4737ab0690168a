//! A model's folder as the commands that use one read it, and what fits into memory.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use pactum_cli::{Failure, available_memory};
use pactum_data::Tokenizer;
use pactum_model::{Engine, ModelConfig, bytes_text, inspect_hf, load_hf};

/// A model with everything that is needed to run it.
pub(crate) struct Checkpoint {
    pub(crate) engine: Engine,
    pub(crate) parameters: Vec<f32>,
    pub(crate) tokenizer: Tokenizer,
    /// The token before the first one of a text.
    pub(crate) begin: u32,
}

impl Checkpoint {
    /// Reads a folder in Hugging Face's layout, for at most `rows` sequences at once.
    pub(crate) fn open(folder: &Path, rows: usize, threads: usize) -> Result<Self, Failure> {
        let found = inspect_hf(folder)?;
        let tokenizer = tokenizer(folder, &found.config)?;
        let plan = found.config.plan(rows)?;
        refuse_unless_fits("running this model", plan.inference_bytes(), available_memory(), &plan)?;
        let (config, parameters) = load_hf(folder)?;
        let begin = begin_of_text(folder, config.vocab).unwrap_or(tokenizer.end_of_text());
        Ok(Self { engine: Engine::new(&config, rows, threads)?, parameters, tokenizer, begin })
    }
}

/// The folder's `tokenizer.json`, or bytes where there is none and the model takes no more.
fn tokenizer(folder: &Path, config: &ModelConfig) -> Result<Tokenizer, Failure> {
    let path = folder.join("tokenizer.json");
    if !path.exists() && config.vocab != 256 {
        return Err(Failure::new(format!(
            "{} has no tokenizer.json, and its vocab_size is {}, not the 256 of bytes: put the model's tokenizer there",
            folder.display(),
            config.vocab
        )));
    }
    let tokenizer = if path.exists() { Tokenizer::open(&path)? } else { Tokenizer::Bytes };
    if tokenizer.vocab() as usize > config.vocab {
        return Err(Failure::new(format!(
            "{} has ids up to {}, but the model's vocab_size is {}: it belongs to another model",
            path.display(),
            tokenizer.vocab() - 1,
            config.vocab
        )));
    }
    Ok(tokenizer)
}

/// The token that the folder's configuration puts before a text, if it names one that the model has.
fn begin_of_text(folder: &Path, vocab: usize) -> Option<u32> {
    let file: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("config.json")).ok()?).ok()?;
    let id = u32::try_from(file.get("bos_token_id")?.as_u64()?).ok()?;
    ((id as usize) < vocab).then_some(id)
}

/// Says no, with the table, where more memory is needed than there is; where the system does not tell, anything fits.
pub(crate) fn refuse_unless_fits(
    what: &str,
    needed: u64,
    available: Option<u64>,
    table: impl Display,
) -> Result<(), Failure> {
    match available {
        Some(available) if needed > available => Err(Failure::new(format!(
            "{what} needs {} of memory and {} are left: choose a smaller model, batch or sequence, or another \
             machine\n{table}",
            bytes_text(needed),
            bytes_text(available)
        ))),
        _ => Ok(()),
    }
}

/// An amount of memory as people write it, such as `16GB` or `512 MB`; a bare number is bytes.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no amount of memory: write 512MB or 16GB");
    let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let number: f64 = text[..text.len() - unit.len()].parse().map_err(|_| wrong())?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err(wrong()),
    };
    Ok((number * factor) as u64)
}

/// A number of threads; 0 stands for all cores.
pub(crate) fn threads(wanted: usize) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if wanted == 0 { all() } else { wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory_are_understood() {
        for (text, bytes) in [
            ("16GB", 16_000_000_000),
            ("512 mb", 512_000_000),
            ("1.5kB", 1500),
            ("7", 7),
            ("0b", 0),
            ("2 TB", 2_000_000_000_000),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "GB", "-1GB", "1.2.3GB", "1 GiB", "many"] {
            let error = parse_bytes(text).unwrap_err();
            assert!(error.ends_with("is no amount of memory: write 512MB or 16GB"), "{error}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_with_the_table() {
        assert_eq!(refuse_unless_fits("it", 10, Some(10), "table"), Ok(()));
        assert_eq!(refuse_unless_fits("it", 10, None, "table"), Ok(()));
        let refusal = refuse_unless_fits("training", 2_000_000_000, Some(1_000_000_000), "table").unwrap_err();
        let text = refusal.to_string();
        assert!(text.starts_with("training needs 2.00 GB of memory and 1.00 GB are left: "), "{text}");
        assert!(text.ends_with("\ntable"), "{text}");
    }
}
