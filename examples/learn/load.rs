//! Reads a model that Hugging Face's transformers could read too, continues a text with it, and says how likely it finds
//! two others: `load_hf_and_generate [FOLDER [PROMPT]]`. Without a folder one with an untrained model is made, which writes noise.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;
use std::path::{Path, PathBuf};

use pactum_data::{TextStream, Tokenizer};
use pactum_model::{
    Continuation, Engine, GenerateOptions, ModelConfig, generate_each, initial_parameters, load_hf, log_likelihoods,
    save_hf,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = match arguments.next() {
        Some(folder) => PathBuf::from(folder),
        None => untrained(Path::new("untrained"))?,
    };
    let prompt = arguments.next().map_or("Once".to_owned(), |prompt| prompt.to_string_lossy().into_owned());

    let (config, parameters) = load_hf(&folder)?;
    let file = folder.join("tokenizer.json");
    let tokenizer = if file.exists() { Tokenizer::open(&file)? } else { Tokenizer::Bytes };
    println!("{} parameters in {} blocks", config.count(), config.layers);

    let mut engine = Engine::new(&config, 2, 1)?;
    let ids = tokenizer.encode(&prompt)?;
    let options = GenerateOptions { tokens: 40, temperature: 0.8, top_p: 0.95, seed: 1 };
    let mut stream = TextStream::new(&tokenizer);
    print!("{prompt}");
    generate_each(&mut engine, &parameters, &ids, options, |id| {
        print!("{}", stream.push(id));
        id != tokenizer.end_of_text()
    })?;
    println!("{}", stream.finish());

    let [one, other] = [" upon a time", " xq zv"].map(|text| tokenizer.encode(text));
    let (one, other) = (one?, other?);
    let asked = [&one, &other].map(|tokens| Continuation { before: &ids, tokens });
    for found in log_likelihoods(&mut engine, &parameters, &asked)? {
        println!("{} tokens, log-probability {:.2}", found.tokens, found.log_probability);
    }
    Ok(())
}

fn untrained(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let config = ModelConfig::default();
    save_hf(folder, &config, &initial_parameters(&config, 1))?;
    Ok(folder.to_owned())
}
