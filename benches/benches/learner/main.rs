//! The learner's own work beside training: how many contributions are judged in a second, and how long a snapshot holds up
//! the next window.
//!
//! ```console
//! $ cargo bench -p pactum-benches --bench learner             # both tables
//! $ cargo bench -p pactum-benches --bench learner -- judge
//! $ cargo bench -p pactum-benches --bench learner -- keep
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints its tables")]

mod judge;
mod keep;

use pactum_learner::{InnerConfig, Learner, LearnerConfig, ModelConfig};

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    // `cargo test --all-targets` starts benches too, without this flag.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let words = arguments.iter().map(String::as_str).filter(|word| *word != "--bench").collect::<Vec<_>>();
    match words[..] {
        [] => judge::print().and_then(|()| keep::print()),
        ["judge"] => judge::print(),
        ["keep"] => keep::print(),
        _ => Err("choose `judge` or `keep`".into()),
    }
}

/// A learner of the model on both cores, with `batch` sequences in a step.
fn learner(model: ModelConfig, batch: usize) -> Result<Learner, Error> {
    let inner = InnerConfig { batch, ..InnerConfig::default() };
    Ok(Learner::new(LearnerConfig { model, inner, threads: 2, ..LearnerConfig::default() }, 1)?)
}

/// Rows of tokens that look like chance.
fn rows(model: &ModelConfig, rows: usize, seed: u64) -> Vec<u32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as u32 % model.vocab as u32
    };
    (0..rows * (model.context + 1)).map(|_| next()).collect()
}

/// One window's training of one step, and its payload; the parameters stay.
fn contribution(learner: &mut Learner, batch: usize, seed: u64) -> Result<Vec<u8>, Error> {
    let ids = rows(&learner.config().model.clone(), batch, seed);
    learner.inner_steps(&mut |_| Some(ids.clone()), 1, &mut || true)?;
    let payload = learner.compress().ok_or("no step was made")?;
    learner.skip();
    Ok(payload)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
