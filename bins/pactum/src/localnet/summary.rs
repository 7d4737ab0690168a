//! What a local network came to, in a few lines.

use pactum_cli::{Failure, output};
use pactum_data::Dataset;
use pactum_model::{Engine, GenerateOptions, generate};
use pactum_node::{latest_parameters, model_config};

use super::board::Board;
use super::plan::Plan;
use super::report::Report;

/// How much text the model writes.
const TOKENS: usize = 240;

pub(super) fn print(plan: &Plan, report: &Report, board: &Board) -> Result<(), Failure> {
    let losses: Vec<f32> = report.heldout_loss.iter().flatten().copied().collect();
    let submissions = report.submissions.len();
    let refused = report.submissions.iter().filter(|submission| submission.status == "refused").count();
    output(format!("\nwindows       {} ({} with a held-out loss)", report.windows, losses.len()))?;
    if let (Some(first), Some(last)) = (losses.first(), losses.last()) {
        output(format!("held-out loss {first:.3} after the first window, {last:.3} after the last, in nats per byte"))?;
    }
    output(format!("submissions   {submissions}, {refused} of them refused"))?;
    if let Some(ratio) = report.compression_ratio {
        output(format!("compression   {ratio:.0} to 1 against dense f32"))?;
    }
    for node in report.nodes.iter().filter(|node| node.role == "miner") {
        let judged = node.uid.and_then(|uid| board.judged(uid));
        let weight = judged.map_or(0.0, |judged| judged.weight);
        let earned = node.uid.and_then(|uid| report.emission.get(&uid)).copied().unwrap_or(0.0);
        output(format!("{:<13} weight {weight:.3}, {:.1} % of the emission", node.name, 100.0 * earned))?;
    }
    output(format!("agreed        {}", agreement(report)))?;
    match written(plan) {
        Ok(text) => output(format!("\nthe model writes:\n{}\n", indent(&text)))?,
        Err(error) => output(format!("the model cannot write: {error}"))?,
    }
    output(format!("files         {}", plan.dir.display()))
}

fn agreement(report: &Report) -> &'static str {
    match (report.agreed, report.done) {
        (true, true) => "yes: all nodes hold the same parameters",
        (true, false) => "yes, as far as each node came",
        (false, _) => "NO",
    }
}

/// Some lines that the trained model writes.
fn written(plan: &Plan) -> Result<String, Failure> {
    let config = model_config(&plan.hparams.model);
    let parameters = latest_parameters(&plan.dir.join("nodes").join("validator-1"), &plan.hparams)?;
    let dataset = Dataset::open(&plan.dir.join("data"))?;
    let tokenizer = dataset.tokenizer();
    let prompt = tokenizer.encode("\n")?;
    let mut engine = Engine::new(&config, 1, 1)?;
    let options =
        GenerateOptions { tokens: TOKENS, temperature: 0.8, seed: plan.hparams.seed, ..GenerateOptions::default() };
    let ids = generate(&mut engine, &parameters, &prompt, options)?;
    Ok(tokenizer.decode(&ids))
}

/// Text of a young model may hold anything: only what can be shown is.
fn indent(text: &str) -> String {
    let shown: String = text.chars().map(|c| if c == '\n' || !c.is_control() { c } else { '·' }).collect();
    shown.trim().lines().map(|line| format!("  | {line}")).collect::<Vec<_>>().join("\n")
}
