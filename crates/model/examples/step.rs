//! Time of one training step (forward, backward, clipping, AdamW) of a preset or of a checkpoint's folder:
//! `step [PRESET|DIR] [ROWS] [THREADS] [STEPS]`, and its rate beside that of a product of large matrices, which is what the
//! machine can do. That product takes as many threads as `RAYON_NUM_THREADS` says, otherwise all.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
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
    let rate = config.plan(rows)?.train_flops() as f64 * tokens / 1e9;
    let limit = product_rate()? / 1e9;
    let share = 100.0 * rate / limit;
    losses.truncate(5);
    writeln!(
        std::io::stdout(),
        "{name}: {count} parameters, {rows} rows of {context}, {threads} threads: median {median:.2} ms, least \
         {least:.2} ms, {tokens:.0} tokens/s, peak {peak} MB, losses {losses:?}, {rate:.0} of {limit:.0} GFLOP/s: {share:.0} %"
    )?;
    Ok(())
}

/// Operations a second of a product of two matrices, by the library that the engine takes for its own.
fn product_rate() -> Result<f64, Box<dyn Error>> {
    const SIDE: usize = 2048;
    let square = Tensor::ones((SIDE, SIDE), DType::F32, &Device::Cpu)?;
    let mut least = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        square.matmul(&square)?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(2.0 * (SIDE as f64).powi(3) / least)
}

/// Greatest resident memory so far, where the system tells it.
fn peak_megabytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1e3)
}
