//! Time of one training step (forward, backward, clipping, AdamW) of a preset or of a checkpoint's folder:
//! `step [PRESET|DIR] [ROWS] [THREADS] [STEPS]`.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use pactum_model::{AdamW, AdamWConfig, Engine, Executor, ModelConfig, Tokens, initial_parameters, load_hf};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let name = arguments.first().map_or("tiny", String::as_str);
    let (config, mut parameters) = match ModelConfig::preset(name) {
        Some(config) => (config.clone(), initial_parameters(&config, 1)),
        None => load_hf(Path::new(name))?,
    };
    let (rows, threads, steps) = (number(1, 12)?, number(2, 1)?, number(3, 30)?.max(1));

    let columns = config.context + 1;
    let ids: Vec<u32> = (0..rows * columns).map(|i| (i * i * 31 + i * 7919) as u32 % config.vocab as u32).collect();
    let batch = Tokens { ids: &ids, rows, columns };
    let mut engine = Engine::new(&config, rows, threads)?;
    let mut optimizer = AdamW::new(AdamWConfig::default(), &config.parameters()).on_threads_of(&engine);
    let mut gradient = vec![0.0; config.count()];
    let (mut times, mut losses) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        let start = Instant::now();
        losses.push(engine.loss_and_gradient(&parameters, &batch, &mut gradient)?);
        optimizer.step(&mut parameters, &gradient, 1e-3);
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let (median, least) = (times[steps / 2], times[0]);
    let (count, context) = (config.count(), config.context);
    let tokens = (rows * context) as f64 / median * 1e3;
    let peak = peak_megabytes().map_or("?".to_owned(), |peak| format!("{peak:.0}"));
    losses.truncate(5);
    writeln!(
        std::io::stdout(),
        "{name}: {count} parameters, {rows} rows of {context}, {threads} threads: median {median:.2} ms, least \
         {least:.2} ms, {tokens:.0} tokens/s, peak {peak} MB, losses {losses:?}"
    )?;
    Ok(())
}

/// Greatest resident memory so far, where the system tells it.
fn peak_megabytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1e3)
}
