//! The kernels on a CUDA device: first that payloads and parameters are those of the processor, then how near they come to a copy
//! in the device's memory, and last whole training steps beside PyTorch's. It has not run on a GPU yet.
//!
//! ```console
//! $ cargo run --release -p pactum-benches --features cuda --bin device
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its tables")]

mod step;
mod train;

use std::process::ExitCode;
use std::time::Instant;

use pactum_compress::{
    Compressor, DeviceCompressor, Layout, Limits, Mean, Quantiser, Settings, SparseUpdate, Uploaded, Weighted, decode,
    outer_step, outer_step_on_device,
};
use pactum_kernels::{Compress, Device, Feedback, Levels, Matrix, Picked};

type Error = Box<dyn std::error::Error>;

const EDGE: usize = 64;
const TOP_K: usize = 64;
const DECAY: f32 = 0.95;
const PEERS: usize = 20;
/// Times that work is queued between two looks at the clock, and looks.
const QUEUED: usize = 20;
const LOOKS: usize = 5;
/// The share of a copy's bandwidth that is aimed at.
const GOAL: f64 = 0.7;

fn main() -> ExitCode {
    let device = match Device::find() {
        Ok(device) => device,
        Err(error) => {
            eprintln!("nothing was measured: {error}");
            return ExitCode::FAILURE;
        }
    };
    match measure(&device) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", device.name());
            ExitCode::FAILURE
        }
    }
}

/// Tensors of a model with twenty layers of width 1024: 244 million parameters.
fn shapes() -> Vec<Vec<usize>> {
    let layer = [&[1024][..], &[1024, 1024], &[512, 1024], &[512, 1024], &[1024, 1024], &[1024], &[2816, 1024]];
    let layer = layer.into_iter().chain([&[2816, 1024][..], &[1024, 2816]]).map(<[usize]>::to_vec).collect::<Vec<_>>();
    let mut shapes = vec![vec![8192, 1024]];
    (0..20).for_each(|_| shapes.extend(layer.clone()));
    shapes
}

/// Numbers with heavy tails.
fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..len).map(|_| 1e-3 * uniform() * uniform() * uniform()).collect()
}

fn measure(device: &Device) -> Result<(), Error> {
    let layout = Layout::new(EDGE, shapes())?;
    println!("{}, {} parameters, top {TOP_K} of {}", device.name(), layout.len(), EDGE * EDGE);
    let (before, after) = (numbers(1, layout.len()), numbers(2, layout.len()));
    for quantiser in Quantiser::ALL {
        check_compress(device, &layout, Settings::new(TOP_K, quantiser), (&before, &after))?;
    }
    let updates = peers(&layout)?;
    for mean in [Mean::Peers, Mean::Contributors] {
        check_outer(device, &layout, &updates, mean)?;
    }
    println!("payloads, feedback and parameters are those of the processor, to the bit\n");
    println!("| work | ms | bytes of memory traffic an element | GB/s | of the copy's |");
    println!("|---|---|---|---|---|");
    let rate = copy(device, &layout)?;
    let shares = [compress(device, &layout, (&before, &after), rate)?, outer(device, &layout, &updates, rate)?];
    train::print(device, rate)?;
    println!();
    whole(device, &layout, (&before, &after))?;
    let reached = shares.iter().all(|&share| share >= GOAL);
    println!(
        "the goal of {GOAL} of a copy for compression and the outer step is {}",
        if reached { "reached" } else { "not reached" }
    );
    println!();
    step::print(device)
}

fn same(what: &str, here: &[f32], there: &[f32]) -> Result<(), Error> {
    let differ = here.iter().zip(there).position(|(here, there)| here.to_bits() != there.to_bits());
    differ.map_or(Ok(()), |place| Err(format!("{what} differs from the processor's at {place}").into()))
}

fn check_compress(
    device: &Device,
    layout: &Layout,
    settings: Settings,
    (before, after): (&[f32], &[f32]),
) -> Result<(), Error> {
    let mut here = numbers(3, layout.len());
    let mut there = device.upload(&here)?;
    let expected = Compressor::new(layout.clone(), settings)?.accumulate_and_compress(&mut here, before, after, DECAY);
    let (b, a) = (device.upload(before)?, device.upload(after)?);
    let mut compressor = DeviceCompressor::new(device, layout.clone(), settings)?;
    if compressor.accumulate_and_compress(&mut there, &b, &a, DECAY)? != expected {
        return Err("the payload differs from the processor's".into());
    }
    same("the feedback", &here, &there.read()?)
}

/// What some peers send: the same numbers, each peer's at other places.
fn peers(layout: &Layout) -> Result<Vec<SparseUpdate>, Error> {
    let settings = Settings::new(TOP_K, Quantiser::TwoLevels);
    let mut compressor = Compressor::new(layout.clone(), settings)?;
    let values = numbers(9, layout.len());
    let mut updates = Vec::new();
    for peer in 0..PEERS {
        let mut feedback = values.clone();
        feedback.rotate_left(peer * 977);
        updates.push(decode(&compressor.compress(&mut feedback), layout, &Limits::new(settings))?);
    }
    Ok(updates)
}

fn upload<'a>(device: &Device, updates: &'a [SparseUpdate]) -> Result<Vec<Uploaded<'a>>, Error> {
    Ok(updates.iter().map(|update| Uploaded::new(device, update)).collect::<Result<_, _>>()?)
}

fn check_outer(device: &Device, layout: &Layout, updates: &[SparseUpdate], mean: Mean) -> Result<(), Error> {
    let mut here = numbers(5, layout.len());
    let mut there = device.upload(&here)?;
    let uploaded = upload(device, updates)?;
    let peers = uploaded.iter().map(|update| (update, 1.0)).collect::<Vec<_>>();
    let report = outer_step_on_device(&mut there, layout, &peers, mean, 0.7)?;
    let weighted = updates.iter().map(|update| Weighted { update, weight: 1.0 }).collect::<Vec<_>>();
    if outer_step(&mut here, layout, &weighted, mean, 0.7) != report {
        return Err("the report of the outer step differs from the processor's".into());
    }
    same("a parameter", &here, &there.read()?)
}

/// Least seconds of some work, which is queued several times between two looks at the clock.
fn time(device: &Device, mut work: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    let mut least = f64::INFINITY;
    for _ in 0..=LOOKS {
        device.finish()?;
        let start = Instant::now();
        for _ in 0..QUEUED {
            work()?;
        }
        device.finish()?;
        least = least.min(start.elapsed().as_secs_f64() / QUEUED as f64);
    }
    Ok(least)
}

/// Prints a row and returns the rate in bytes a second.
fn row(name: &str, seconds: f64, (bytes, parameters): (f64, usize), copy: Option<f64>) -> f64 {
    let rate = bytes / seconds;
    let share = rate / copy.unwrap_or(rate);
    let each = bytes / parameters as f64;
    println!("| {name} | {:.3} | {each:.2} | {:.0} | {share:.2} |", seconds * 1e3, rate / 1e9);
    rate
}

fn copy(device: &Device, layout: &Layout) -> Result<f64, Error> {
    let from = device.zeros::<f32>(layout.len())?;
    let mut to = device.zeros::<f32>(layout.len())?;
    let seconds = time(device, || Ok(to.copy_from(&from)?))?;
    Ok(row("copy", seconds, (8.0 * layout.len() as f64, layout.len()), None))
}

/// The tensors as the kernels take them; every dimension of a matrix is a multiple of the edge.
fn matrices(layout: &Layout) -> Vec<Matrix> {
    let mut chunk = 0;
    let matrix = |tensor: &pactum_compress::TensorLayout| {
        let (rows, columns) = (tensor.shape[0], tensor.shape.get(1).copied().unwrap_or(1));
        let (bands, across) = if columns == 1 { (1, 1) } else { (rows / EDGE, columns / EDGE) };
        let matrix = Matrix { offset: tensor.offset, chunk, rows, columns, bands, across };
        chunk += matrix.chunks();
        matrix
    };
    layout.tensors().iter().map(matrix).collect()
}

/// The kernel alone: error feedback, selection, quantising, residual.
fn compress(device: &Device, layout: &Layout, (before, after): (&[f32], &[f32]), copy: f64) -> Result<f64, Error> {
    let matrices = matrices(layout);
    let (before, after) = (device.upload(before)?, device.upload(after)?);
    let mut values = device.upload(&numbers(3, layout.len()))?;
    let mut picked = Picked::new(device, layout.chunks(), TOP_K)?.with_values(Levels::Exact)?;
    let mut least = f64::INFINITY;
    let tensors = matrices.iter().map(|matrix| (*matrix, matrix.lengths().map(|length| layout.kept(length, TOP_K))));
    let tensors = tensors.collect::<Vec<_>>();
    for levels in [Levels::One, Levels::Two, Levels::Eight, Levels::Exact, Levels::Later] {
        let of_value = if levels.gives_values() { 7 } else { 3 };
        let all = 16.0 * layout.len() as f64 + (8 + of_value * TOP_K) as f64 * layout.chunks() as f64;
        let work = Compress::new(device, &tensors, levels)?;
        let mut feedback = Feedback { values: &mut values, step: Some((&before, &after, DECAY)), subtract: true };
        let seconds = time(device, || Ok(work.run(&mut feedback, &mut picked)?))?;
        let rate = row(&format!("compress, {levels:?}"), seconds, (all, layout.len()), Some(copy));
        least = least.min(rate / copy);
    }
    Ok(least)
}

/// The outer step from updates that the device has already.
fn outer(device: &Device, layout: &Layout, updates: &[SparseUpdate], copy: f64) -> Result<f64, Error> {
    let uploaded = upload(device, updates)?;
    let peers = uploaded.iter().map(|update| (update, 1.0)).collect::<Vec<_>>();
    let mut theta = device.upload(&numbers(5, layout.len()))?;
    let sent = updates.iter().map(SparseUpdate::selected).sum::<usize>() as f64;
    let bytes = 8.0 * layout.len() as f64 + 6.0 * sent + (8 * PEERS * layout.chunks()) as f64;
    let mut least = f64::INFINITY;
    for mean in [Mean::Peers, Mean::Contributors] {
        let step = || outer_step_on_device(&mut theta, layout, &peers, mean, 0.7).map(drop).map_err(Error::from);
        let seconds = time(device, step)?;
        let rate = row(&format!("outer step, {PEERS} peers, {mean:?}"), seconds, (bytes, layout.len()), Some(copy));
        least = least.min(rate / copy);
    }
    Ok(least)
}

/// Everything to final bytes, entropy coding on the processor included, and an update's way to the device.
fn whole(device: &Device, layout: &Layout, (before, after): (&[f32], &[f32])) -> Result<(), Error> {
    let settings = Settings::new(TOP_K, Quantiser::TwoLevels);
    let mut compressor = DeviceCompressor::new(device, layout.clone(), settings)?;
    let (before, after) = (device.upload(before)?, device.upload(after)?);
    let mut feedback = device.upload(&numbers(3, layout.len()))?;
    let mut payload = Vec::new();
    let seconds = time(device, || {
        payload = compressor.accumulate_and_compress(&mut feedback, &before, &after, DECAY)?;
        Ok(())
    })?;
    println!("to final bytes, entropy coding on the processor included: {:.1} ms", seconds * 1e3);
    let update = decode(&payload, layout, &Limits::new(settings))?;
    let seconds = time(device, || Ok(Uploaded::new(device, &update).map(drop)?))?;
    println!("bringing one decoded update to the device: {:.1} ms", seconds * 1e3);
    Ok(())
}
