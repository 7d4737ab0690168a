//! Time of one training step (forward, backward, AdamW) of a preset: `step [PRESET] [ROWS] [THREADS] [STEPS]`.

use std::error::Error;
use std::io::Write;
use std::time::Instant;

use pactum_model::{AdamW, AdamWConfig, Engine, Executor, ModelConfig, Tokens, initial_parameters};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let preset = arguments.first().map_or("tiny", String::as_str);
    let config = ModelConfig::preset(preset).ok_or("unknown preset")?;
    let (rows, threads, steps) = (number(1, 12)?, number(2, 1)?, number(3, 30)?);

    let columns = config.context + 1;
    let ids: Vec<u32> = (0..rows * columns).map(|i| (i * i * 31 + i * 7919) as u32 % config.vocab as u32).collect();
    let batch = Tokens { ids: &ids, rows, columns };
    let mut parameters = initial_parameters(&config, 1);
    let mut engine = Engine::new(&config, rows, threads)?;
    let mut optimizer = AdamW::new(AdamWConfig::default(), &config.parameters());
    let mut gradient = vec![0.0; config.count()];
    let mut times = Vec::new();
    let mut loss = 0.0;
    for _ in 0..steps.max(1) {
        let start = Instant::now();
        loss = engine.loss_and_gradient(&parameters, &batch, &mut gradient)?;
        optimizer.step(&mut parameters, &gradient, 1e-3);
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let (median, least) = (times[times.len() / 2], times[0]);
    let tokens = (rows * config.context) as f64;
    writeln!(
        std::io::stdout(),
        "{preset}: {} parameters, {rows} rows of {}, {threads} threads: median {median:.2} ms, least {least:.2} ms, \
         {:.0} tokens/s, last loss {loss:.4}",
        config.count(),
        config.context,
        tokens / median * 1e3
    )?;
    Ok(())
}
