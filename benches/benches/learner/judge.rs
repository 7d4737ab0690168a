//! Contributions judged in a second, against the way that copies the model and measures both losses for each.

use std::time::Instant;

use pactum_learner::{Learner, ModelConfig, SparseUpdate};
use pactum_model::{Engine, Executor as _, Tokens};

use crate::{Error, contribution, learner, median, rows};

/// Contributions in a round.
const PEERS: u64 = 8;
/// Sequences that a contribution is judged on.
const SEQUENCES: usize = 4;
const ROUNDS: usize = 5;
const STEP: f32 = 0.2;

pub(crate) fn print() -> Result<(), Error> {
    let model = ModelConfig::preset("mini").ok_or("there is no preset mini")?;
    let mut learner = learner(model.clone(), SEQUENCES)?;
    let payloads = (0..PEERS).map(|peer| contribution(&mut learner, SEQUENCES, peer)).collect::<Result<Vec<_>, _>>()?;
    let updates = payloads.iter().map(|payload| learner.check(payload)).collect::<Result<Vec<_>, _>>()?;
    let mut naive = Naive { engine: Engine::new(&model, SEQUENCES, 2)?, model };
    println!(
        "{} contributions of `mini` ({} parameters), each judged on {SEQUENCES} sequences of {} tokens, 2 threads, median of {ROUNDS} rounds\n",
        PEERS,
        learner.parameters().len(),
        naive.model.context
    );
    println!("| judged on | copying, two losses each | learner | ratio |\n|---|---|---|---|");
    for (title, kinds) in [
        ("the same sequences for all", &[false][..]),
        ("sequences of its own", &[true]),
        ("both, as by a validator", &[true, false]),
    ] {
        let (mut slow, mut fast, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS as u64 {
            let batches: Vec<_> = (0..PEERS).map(|peer| sets(&naive.model, round, peer, kinds)).collect();
            let before = naive.all(&learner, &updates, &batches)?;
            let after = all(&mut learner, &updates, &batches)?;
            slow.push(before);
            fast.push(after);
            ratios.push(after / before);
        }
        println!("| {title} | {:.2} /s | {:.2} /s | {:.2} |", median(slow), median(fast), median(ratios));
    }
    screened(&mut learner, &updates)
}

/// What a contribution is judged on: sequences of its own (`true`) or those of all.
fn sets(model: &ModelConfig, round: u64, peer: u64, kinds: &[bool]) -> Vec<Vec<u32>> {
    let seed = |own: bool| 1000 + 100 * round + u64::from(own) * (1 + peer);
    kinds.iter().map(|&own| rows(model, SEQUENCES, seed(own))).collect()
}

/// One gradient serves all.
fn screened(learner: &mut Learner, updates: &[SparseUpdate]) -> Result<(), Error> {
    let among: Vec<&SparseUpdate> = updates.iter().cycle().take(256).collect();
    let batch = rows(&learner.config().model.clone(), SEQUENCES, 7);
    let began = Instant::now();
    learner.screen(&among, &batch)?;
    println!(
        "\nscreening {} contributions by one gradient: {:.0} /s",
        among.len(),
        among.len() as f64 / began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Contributions judged in a second by the learner.
fn all(learner: &mut Learner, updates: &[SparseUpdate], batches: &[Vec<Vec<u32>>]) -> Result<f64, Error> {
    let among: Vec<&SparseUpdate> = updates.iter().collect();
    let began = Instant::now();
    for (update, sets) in updates.iter().zip(batches) {
        for batch in sets {
            learner.judge(update, &among, STEP, batch)?;
        }
    }
    Ok(updates.len() as f64 / began.elapsed().as_secs_f64())
}

/// The straightforward way.
struct Naive {
    engine: Engine,
    model: ModelConfig,
}

impl Naive {
    fn all(&mut self, learner: &Learner, updates: &[SparseUpdate], batches: &[Vec<Vec<u32>>]) -> Result<f64, Error> {
        let began = Instant::now();
        for (update, sets) in updates.iter().zip(batches) {
            let mut moved = learner.parameters().to_vec();
            update.add_to(&mut moved, -STEP);
            for ids in sets {
                let batch = Tokens { ids, rows: SEQUENCES, columns: self.model.context + 1 };
                self.engine.forward_losses(learner.parameters(), &batch)?;
                self.engine.forward_losses(&moved, &batch)?;
            }
        }
        Ok(updates.len() as f64 / began.elapsed().as_secs_f64())
    }
}
