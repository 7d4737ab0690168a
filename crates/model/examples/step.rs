//! Time of one training step (forward, backward, clipping, AdamW) of a preset or of a checkpoint's folder:
//! `step [PRESET|DIR] [ROWS] [THREADS] [STEPS] [FILE]`, and its rate beside that of a product of large matrices, which is what the
//! machine can do. That product takes as many threads as `RAYON_NUM_THREADS` says, otherwise all. With FILE, AdamW's moments lie there and not in memory.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use pactum_model::{
    AdamW, AdamWConfig, Engine, Executor, ModelConfig, MomentStore, StreamedAdamW, Tokens, initial_parameters, load_hf,
};

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
    let mut optimizer = Optimizer::new(&config, &engine, arguments.get(4))?;
    let mut gradient = vec![0.0; config.count()];
    let (mut times, mut losses) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        let start = Instant::now();
        losses.push(engine.loss_and_gradient(&parameters, &batch, &mut gradient)?);
        optimizer.step(&mut parameters, &gradient)?;
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

enum Optimizer {
    Here(AdamW),
    Away(StreamedAdamW, OnDisk),
}

impl Optimizer {
    fn new(config: &ModelConfig, engine: &Engine, file: Option<&String>) -> io::Result<Self> {
        let (settings, specs) = (AdamWConfig::default(), config.parameters());
        let Some(file) = file else { return Ok(Self::Here(AdamW::new(settings, &specs).on_threads_of(engine))) };
        let store = File::options().create(true).truncate(true).read(true).write(true).open(file)?;
        // What was never written is zero.
        store.set_len(8 * config.count() as u64)?;
        let store = OnDisk { file: Mutex::new(store), count: config.count() };
        Ok(Self::Away(StreamedAdamW::new(settings, &specs).on_threads_of(engine), store))
    }

    fn step(&mut self, parameters: &mut [f32], gradient: &[f32]) -> io::Result<()> {
        match self {
            Self::Here(optimizer) => optimizer.step(parameters, gradient, 1e-3),
            Self::Away(optimizer, store) => optimizer.step(parameters, gradient, 1e-3, store)?,
        };
        Ok(())
    }
}

/// All first moments, then all second ones.
struct OnDisk {
    file: Mutex<File>,
    count: usize,
}

impl OnDisk {
    fn read(&self, place: usize, values: &mut [f32]) -> io::Result<()> {
        let mut bytes = [0; 4 * PIECE];
        let mut file = self.at(place)?;
        values.chunks_mut(PIECE).try_for_each(|piece| {
            let bytes = &mut bytes[..4 * piece.len()];
            file.read_exact(bytes)?;
            let four = bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
            piece.iter_mut().zip(four).for_each(|(value, four)| *value = four);
            Ok(())
        })
    }

    fn write(&self, place: usize, values: &[f32]) -> io::Result<()> {
        let mut bytes = [0; 4 * PIECE];
        let mut file = self.at(place)?;
        values.chunks(PIECE).try_for_each(|piece| {
            bytes.chunks_exact_mut(4).zip(piece).for_each(|(four, value)| four.copy_from_slice(&value.to_le_bytes()));
            file.write_all(&bytes[..4 * piece.len()])
        })
    }

    fn at(&self, place: usize) -> io::Result<MutexGuard<'_, File>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(4 * place as u64))?;
        Ok(file)
    }
}

/// Values that are turned into bytes at once.
const PIECE: usize = 1 << 14;

impl MomentStore for OnDisk {
    fn read(&self, at: usize, first: &mut [f32], second: &mut [f32]) -> io::Result<()> {
        self.read(at, first)?;
        self.read(self.count + at, second)
    }

    fn write(&self, at: usize, first: &[f32], second: &[f32]) -> io::Result<()> {
        self.write(at, first)?;
        self.write(self.count + at, second)
    }
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
