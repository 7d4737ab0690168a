//! Whole training steps: tokens a second and the share of the device's arithmetic that the model needs, beside PyTorch's in
//! turn where it is installed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use pactum_kernels::{Attention, AttentionGradient, Bf16, Device, Factor, Product};
use pactum_model::{
    AdamWConfig, DeviceEngine, DeviceTrainer, ModelConfig, Precision, Tokens, bytes_text, initial_parameters,
};

use crate::{Error, time};

/// Presets, and rows of 2048 tokens in a step.
const MODELS: [(&str, usize); 2] = [("150m", 16), ("1b", 4)];
const ROUNDS: usize = 5;
const STEPS: usize = 5;
const RATE: f32 = 1e-4;
/// What devices are said to reach in bf16 without sparsity, in FLOP/s, by a part of their names (NVIDIA's data sheets).
const PEAKS: [(&str, f64); 5] =
    [("H100 PCIe", 756e12), ("H100", 989e12), ("H200", 989e12), ("A100", 312e12), ("B200", 2250e12)];
/// Rows, columns and depth of the product whose speed is told too.
const EDGE: usize = 8192;

/// Prints a table for each model.
pub(crate) fn print(device: &Device) -> Result<(), Error> {
    let product = product(device)?;
    let peak = PEAKS.iter().find(|(name, _)| device.name().contains(name)).map_or(product, |(_, peak)| *peak);
    println!("a product of {EDGE}³ in bf16: {:.0} TFLOP/s; MFU is of {:.0} TFLOP/s", product / 1e12, peak / 1e12);
    MODELS.iter().try_for_each(|(name, _)| attention(device, name))?;
    MODELS.iter().try_for_each(|(name, rows)| model(device, name, *rows, peak))
}

/// FLOP/s of one large product.
fn product(device: &Device) -> Result<f64, Error> {
    let (left, right) = (device.zeros::<Bf16>(EDGE * EDGE)?, device.zeros::<Bf16>(EDGE * EDGE)?);
    let mut out = device.zeros::<Bf16>(EDGE * EDGE)?;
    let factor = |numbers| Factor::new(numbers, EDGE, EDGE);
    let by = Product { left: factor(&left), right: factor(&right).transposed() };
    let seconds = time(device, || Ok(by.set(&mut out)?))?;
    Ok(2.0 * (EDGE as f64).powi(3) / seconds)
}

/// Attention of a preset, forward and backward: FLOP of what causality leaves, the backward pass being five products
/// where the forward one is two.
fn attention(device: &Device, name: &str) -> Result<(), Error> {
    let config = ModelConfig::preset(name).ok_or("there is no such preset")?;
    let ModelConfig { heads, kv_heads, context, .. } = config;
    let shape = Attention { heads, kv_heads, width: config.head_width(), length: context };
    let (tokens, mixed) = (4 * shape.length, 4 * shape.length * shape.heads * shape.width);
    let fused_len = mixed + 2 * tokens * shape.kv_heads * shape.width;
    let (fused, slope) = (device.zeros::<Bf16>(fused_len)?, device.zeros::<Bf16>(mixed)?);
    let (mut out, mut logs) = (device.zeros::<Bf16>(mixed)?, device.zeros(tokens * shape.heads)?);
    let forward = time(device, || Ok(shape.forward(&fused, &mut out, &mut logs)?))?;
    let (mut gradient, mut pulls) = (device.zeros::<Bf16>(fused_len)?, device.zeros(tokens * shape.heads)?);
    let (fused, mixed_there, logs) = (&fused, &out, &logs);
    let mut pass = AttentionGradient {
        fused,
        mixed: mixed_there,
        logs,
        slope: &slope,
        gradient: &mut gradient,
        pulls: &mut pulls,
    };
    let backward = time(device, || Ok(shape.backward(&mut pass)?))?;
    let product = (mixed * (shape.length + 1)) as f64;
    let [forward, backward] = [2.0 * product / forward, 5.0 * product / backward].map(|rate| rate / 1e12);
    let by = shape.made_by(device);
    println!("attention of {name} in bf16 by {by}: forward {forward:.0} TFLOP/s, backward {backward:.0} TFLOP/s");
    Ok(())
}

fn model(device: &Device, name: &str, rows: usize, peak: f64) -> Result<(), Error> {
    let config = ModelConfig::preset(name).ok_or("there is no such preset")?;
    let columns = config.context + 1;
    let ids: Vec<u32> = (0..rows * columns).map(|i| ((i * i * 31 + i * 7919) % config.vocab) as u32).collect();
    let batch = Tokens { ids: &ids, rows, columns };
    let mut engine = DeviceEngine::new(device, &config, rows, (Precision::Bf16, false))?;
    engine.write_parameters(&initial_parameters(&config, 1))?;
    let mut trainer = DeviceTrainer::new(engine, AdamWConfig::default())?;
    let mut torch = Torch::start(&config, rows);
    let (tokens, flops) = ((rows * config.context) as f64, config.plan(rows)?.train_flops() as f64);
    let show = |seconds: f64| format!("{:.0} tokens/s, MFU {:.3}", tokens / seconds, tokens / seconds * flops / peak);
    let bytes = DeviceEngine::train_bytes(&config, rows, (Precision::Bf16, false))?;
    println!("\n{name}, {rows} rows of {} tokens in a step, {}", config.context, bytes_text(bytes));
    let mut ratios = Vec::new();
    // The first round is for compilers and caches.
    for round in 0..=ROUNDS {
        let (ours, loss) = steps(&mut trainer, &batch)?;
        let theirs = torch.as_mut().map(Torch::steps).transpose()?;
        if round == 0 {
            continue;
        }
        let beside =
            theirs.map_or_else(|| "PyTorch is not there".to_owned(), |seconds| format!("PyTorch {}", show(seconds)));
        println!("round {round}: pactum {}, loss {loss:.3}   {beside}", show(ours));
        ratios.extend(theirs.map(|seconds| seconds / ours));
    }
    ratios.sort_by(f64::total_cmp);
    if let Some(median) = ratios.get(ratios.len() / 2) {
        println!("median of the ratios of tokens/s: {median:.2}");
    }
    Ok(())
}

/// Median seconds of some steps, and the last loss.
fn steps(trainer: &mut DeviceTrainer, batch: &Tokens<'_>) -> Result<(f64, f32), Error> {
    let (mut times, mut loss) = (Vec::new(), 0.0);
    for _ in 0..STEPS {
        let start = Instant::now();
        loss = trainer.step(batch, RATE)?.loss;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok((times[STEPS / 2], loss))
}

/// PyTorch's side, in a process of its own.
struct Torch {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Torch {
    /// None where Python or PyTorch with CUDA is not there.
    fn start(config: &ModelConfig, rows: usize) -> Option<Torch> {
        let sizes = [config.vocab, config.width, config.layers, config.heads, config.kv_heads, config.ffn];
        let sizes = sizes.into_iter().chain([config.context, rows]).map(|size| size.to_string());
        let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
        let mut command = Command::new(python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/torch/device.py")).args(sizes);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let mut output = BufReader::new(child.stdout.take()?);
        let mut line = String::new();
        output.read_line(&mut line).ok()?;
        (line.trim() == "ready").then_some(Torch { child, output })
    }

    /// Median seconds of as many steps.
    fn steps(&mut self) -> Result<f64, Error> {
        let input = self.child.stdin.as_mut().ok_or("PyTorch's side has no input")?;
        writeln!(input, "{STEPS}")?;
        input.flush()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }
}

impl Drop for Torch {
    fn drop(&mut self) {
        // The end of its input ends the child.
        self.child.stdin = None;
        let _ = self.child.wait();
    }
}
