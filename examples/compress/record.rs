//! Records a pseudo-gradient of a small model in training: what stands in the error feedback after some windows, just before
//! it is compressed.
//!
//! ```console
//! $ cargo run --release -p pactum-examples --example record_gradients -- TEXT FILE [WINDOWS]
//! $ cargo bench -p pactum-benches --bench compress -- ratio FILE
//! ```
//!
//! Without arguments it trains on a generated text for two short windows and writes `gradients.bin`. The file holds, as
//! 64-bit little-endian numbers, how many tensors there are and for each how many dimensions and which; then all values
//! as `f32`.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;

use pactum_learner::{InnerConfig, Learner, LearnerConfig, ModelConfig, Weighted};

/// Sequences of a batch.
const ROWS: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let text = match arguments.first() {
        Some(file) => std::fs::read(file)?,
        None => generated(),
    };
    let file = arguments.get(1).map_or("gradients.bin", String::as_str);
    let windows = arguments.get(2).map_or(Ok(2), |word| word.parse())?;
    let config = LearnerConfig { inner: InnerConfig { batch: ROWS, ..InnerConfig::default() }, ..tiny() };
    if text.len() < 2 * config.model.context + 2 {
        return Err("the text is too short".into());
    }
    let mut miners = [Learner::new(config.clone(), 7)?, Learner::new(config.clone(), 7)?];
    for window in 0..windows {
        let (mut payloads, mut loss) = (Vec::new(), 0.0);
        for (which, miner) in miners.iter_mut().enumerate() {
            let mut batches = |step| Some(batch(&text, config.model.context, (window, which, step)));
            loss = miner.inner_steps(&mut batches, config.inner.steps, &mut || true)?.loss;
            payloads.extend(miner.compress());
        }
        println!("window {window}: loss {loss:.3} nats per byte");
        if window + 1 == windows {
            break;
        }
        for miner in &mut miners {
            let updates = payloads.iter().map(|payload| miner.check(payload)).collect::<Result<Vec<_>, _>>()?;
            let weighted = updates.iter().map(|update| Weighted { update, weight: 1.0 }).collect::<Vec<_>>();
            miner.apply(&weighted, Some(true))?;
        }
    }
    // A window that is left out keeps everything in the feedback.
    miners[0].skip();
    let shapes = config.model.parameters().into_iter().map(|parameter| parameter.shape).collect::<Vec<_>>();
    let bytes = encoded(&shapes, miners[0].feedback());
    std::fs::write(file, &bytes)?;
    println!("{} tensors, {} bytes in {file}", shapes.len(), bytes.len());
    Ok(())
}

/// The preset `tiny`: width 128, 4 layers, 0.85 million parameters; short windows.
fn tiny() -> LearnerConfig {
    let model =
        ModelConfig { width: 128, layers: 4, heads: 4, kv_heads: 2, ffn: 384, context: 64, ..ModelConfig::default() };
    LearnerConfig { model, inner: InnerConfig { steps: 5, ..InnerConfig::default() }, ..LearnerConfig::default() }
}

/// Sentences of a few words in an order that a small generator chooses.
fn generated() -> Vec<u8> {
    let words = ["the ", "sun ", "sea ", "rises ", "and ", "falls ", "over ", "a ", "stone. ", "wind "];
    let mut state = 1_u32;
    let next = std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        words[(state >> 24) as usize % words.len()]
    });
    next.take(4000).collect::<String>().into_bytes()
}

/// Rows of the text from places that depend on the window, the miner and the step.
fn batch(text: &[u8], context: usize, (window, which, step): (u64, usize, u32)) -> Vec<u32> {
    let room = text.len() - context - 1;
    let place = |row: usize| (window as usize * 7919 + which * room / 2 + step as usize * 1013 + row * 257) % room;
    (0..ROWS).flat_map(|row| text[place(row)..].iter().take(context + 1).map(|&byte| u32::from(byte))).collect()
}

fn encoded(shapes: &[Vec<usize>], values: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut number = |value: usize| bytes.extend_from_slice(&(value as u64).to_le_bytes());
    number(shapes.len());
    for shape in shapes {
        number(shape.len());
        shape.iter().copied().for_each(&mut number);
    }
    values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    bytes
}
