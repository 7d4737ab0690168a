//! Trains a small model on the bytes of a text, with the engine and the optimizer alone, and lets it write:
//! `train_tiny [TEXT [STEPS]]`. Without a text it learns a proverb by heart in a few seconds.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;
use std::path::Path;

use pactum_data::{Tokenizer, read_text};
use pactum_model::{
    AdamW, AdamWConfig, Engine, Executor as _, GenerateOptions, ModelConfig, RateSchedule, Tokens, generate,
    initial_parameters,
};

const ROWS: usize = 8;
const PROVERB: &str = "a stitch in time saves nine; many hands make light work; ";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = match arguments.first() {
        Some(path) => read_text(Path::new(path), 1 << 30)?,
        None => PROVERB.repeat(40),
    };
    let steps: u64 = arguments.get(1).map_or(Ok(120), |steps| steps.parse())?;
    let text: Vec<u32> = text.bytes().map(u32::from).collect();
    let config = ModelConfig { width: 64, layers: 2, heads: 4, ffn: 128, ..ModelConfig::default() };
    let columns = config.context + 1;
    if text.len() <= columns {
        return Err("the text is too short: choose a longer one".into());
    }

    let mut parameters = initial_parameters(&config, 1);
    let mut engine = Engine::new(&config, ROWS, 1)?;
    let mut optimizer = AdamW::new(AdamWConfig::default(), &config.parameters());
    let mut gradient = vec![0.0; config.count()];
    let schedule = RateSchedule::Wsd { peak: 1e-2, warmup: 10, total: steps, decay: steps / 4, floor: 0.0 };
    for step in 0..steps {
        let place = |row: usize| (step as usize * 7919 + row * 104_729) % (text.len() - columns);
        let ids: Vec<u32> = (0..ROWS).flat_map(|row| &text[place(row)..][..columns]).copied().collect();
        let loss = engine.loss_and_gradient(&parameters, &Tokens { ids: &ids, rows: ROWS, columns }, &mut gradient)?;
        optimizer.step(&mut parameters, &gradient, schedule.rate(step));
        if step % 20 == 0 || step + 1 == steps {
            println!("step {step}: {loss:.3} nats per byte");
        }
    }
    let prompt = &text[..8];
    let options = GenerateOptions { tokens: 60, temperature: 0.0, ..GenerateOptions::default() };
    let written = generate(&mut engine, &parameters, prompt, options)?;
    println!("{}|{}", Tokenizer::Bytes.decode(prompt), Tokenizer::Bytes.decode(&written));
    Ok(())
}
