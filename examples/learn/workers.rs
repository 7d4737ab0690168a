//! Two miners train on different halves of a text and exchange compressed pseudo-gradients: after every window both
//! hold the same parameters, bit for bit.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;

use pactum_learner::{InnerConfig, Learner, LearnerConfig, ModelConfig, Weighted};

const ROWS: usize = 4;
const TEXT: &str = "the sun rises and the sun sets, and it hastens to the place where it rises again; ";

fn main() -> Result<(), Box<dyn Error>> {
    let model =
        ModelConfig { width: 32, layers: 2, heads: 2, kv_heads: 1, ffn: 64, context: 32, ..ModelConfig::default() };
    let inner = InnerConfig { steps: 10, batch: ROWS, ..InnerConfig::default() };
    let config = LearnerConfig { model, inner, ..LearnerConfig::default() };
    let mut miners = [Learner::new(config.clone(), 7)?, Learner::new(config, 7)?];

    for window in 0..8 {
        let mut payloads = Vec::new();
        for (which, miner) in miners.iter_mut().enumerate() {
            let mut batches = |step| Some(batch(which, step));
            miner.inner_steps(&mut batches, 10, &mut || true)?;
            payloads.extend(miner.compress());
        }
        for miner in &mut miners {
            let updates = payloads.iter().map(|payload| miner.check(payload)).collect::<Result<Vec<_>, _>>()?;
            let weighted: Vec<_> = updates.iter().map(|update| Weighted { update, weight: 1.0 }).collect();
            miner.apply(&weighted, Some(true))?;
        }
        assert_eq!(miners[0].state_digest(), miners[1].state_digest(), "both applied the same payloads");
        let loss = miners[0].heldout_loss(&batch(0, 1000))?;
        let bytes: usize = payloads.iter().map(Vec::len).sum();
        println!("window {window}: loss {loss:.3} nats per byte, {bytes} bytes sent by both");
    }
    Ok(())
}

/// Some rows of the text, from a place that depends on the miner and the step.
fn batch(which: usize, step: u32) -> Vec<u32> {
    let text: Vec<u32> = TEXT.bytes().map(u32::from).collect();
    let begin = step as usize * 13 + which * text.len() / 2;
    (0..ROWS).flat_map(|row| text.iter().copied().cycle().skip((begin + row * 17) % text.len()).take(33)).collect()
}
