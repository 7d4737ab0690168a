//! Rates of compression and aggregation beside that of a plain copy.

use std::time::Instant;

use pactum_compress::{
    Coder, Compressor, Decoder, Instructions, Layout, Limits, Mean, Quantiser, Settings, SparseUpdate, Weighted,
    outer_step,
};
use rayon::prelude::*;

use crate::Error;

const RUNS: usize = 7;
const PEERS: u64 = 20;
/// Elements that one thread copies at a time.
const RUN: usize = 1 << 18;
/// The best first.
const ALL: [Instructions; 4] = [Instructions::Avx512, Instructions::Avx2, Instructions::Neon, Instructions::Plain];

/// Tensors of a model with five layers of width 1024: 67 million parameters.
fn shapes() -> Vec<Vec<usize>> {
    let layer = [
        vec![1024],
        vec![1024, 1024],
        vec![512, 1024],
        vec![512, 1024],
        vec![1024, 1024],
        vec![1024],
        vec![2816, 1024],
        vec![2816, 1024],
        vec![1024, 2816],
    ];
    let mut shapes = vec![vec![8192, 1024]];
    (0..5).for_each(|_| shapes.extend(layer.clone()));
    shapes
}

/// Numbers with heavy tails and with rows and columns of unequal strength. Signs are random; or five in six are the product of a sign of
/// the row and one of the column.
#[derive(Clone, Copy)]
struct Numbers<'a> {
    layout: &'a Layout,
    leaning: bool,
}

impl Numbers<'_> {
    fn of(self, seed: u64) -> Vec<f32> {
        let mut values = vec![0.0; self.layout.len()];
        for tensor in self.layout.tensors() {
            let columns = tensor.shape.last().copied().unwrap_or(1);
            let slice = &mut values[tensor.offset..tensor.offset + tensor.len()];
            let rows = slice.par_chunks_mut(columns).enumerate();
            rows.for_each(|(row, values)| values.fill_with(self.row(row, columns, seed)));
        }
        values
    }

    /// The numbers of a row.
    fn row(self, row: usize, columns: usize, seed: u64) -> impl FnMut() -> f32 {
        let strength = uniform(mix(row as u64 ^ seed << 32)) + 0.2;
        let mut column = 0..columns;
        move || {
            let column = column.next().unwrap_or(0);
            let x = mix((row * columns + column) as u64 ^ seed << 40);
            let weight = uniform(mix(column as u64 ^ 0x5555)) + 0.2;
            let value = 1e-3 * strength * weight * (uniform(x) - 0.5) * uniform(x << 20) * uniform(x << 11);
            match self.leaning {
                false => value,
                true => value.abs() * sign(row) * sign(column) * if x.is_multiple_of(6) { -1.0 } else { 1.0 },
            }
        }
    }
}

fn mix(x: u64) -> u64 {
    let x = (x ^ x >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn uniform(x: u64) -> f32 {
    (x >> 40) as f32 / (1 << 24) as f32
}

fn sign(place: usize) -> f32 {
    if place * place % 7 < 3 { -1.0 } else { 1.0 }
}

/// Least and median of the seconds of some runs.
fn time(mut work: impl FnMut()) -> (f64, f64) {
    let mut seconds = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .collect::<Vec<_>>();
    seconds.sort_by(f64::total_cmp);
    (seconds[0], seconds[RUNS / 2])
}

/// Prints both tables.
pub(crate) fn print(leaning: bool) -> Result<(), Error> {
    let layout = Layout::new(64, shapes())?;
    let threads = rayon::current_num_threads();
    println!("\n{} parameters, {threads} threads, {RUNS} runs: least and median", layout.len());
    let numbers = Numbers { layout: &layout, leaning };
    compression(numbers)?;
    aggregation(numbers)
}

fn compression(numbers: Numbers<'_>) -> Result<(), Error> {
    let (layout, before, mut after) = (numbers.layout, numbers.of(1), numbers.of(2));
    if numbers.leaning {
        // So that the signs of differences lean as those of numbers do.
        after.iter_mut().for_each(|value| *value = -*value);
    }
    let mut target = vec![0.0_f32; layout.len()];
    let copied = time(|| {
        let pairs = target.par_chunks_mut(RUN).zip(before.par_chunks(RUN));
        pairs.for_each(|(to, from)| to.copy_from_slice(from));
    });
    let copy_rate = 8.0 * layout.len() as f64 / copied.0 / 1e9;
    println!(
        "\n| work | ms (least, median) | million parameters/s | GB/s at 12 B a parameter | of the copy's traffic |"
    );
    println!("|---|---|---|---|---|");
    println!(
        "| plain copy, 8 B a parameter | {:.0}, {:.0} | {:.0} | {copy_rate:.1} | 1.00 |",
        copied.0 * 1e3,
        copied.1 * 1e3,
        layout.len() as f64 / copied.0 / 1e6
    );
    let cases = [
        (Quantiser::SignScale, Coder::Entropy),
        (Quantiser::SignScale, Coder::Fixed),
        (Quantiser::TwoLevels, Coder::Entropy),
        (Quantiser::TwoLevels, Coder::Fixed),
    ];
    let mut feedback = numbers.of(3);
    for (quantiser, coder) in cases {
        for instructions in ALL {
            let settings = Settings::new(64, quantiser).with_coder(coder);
            let compressor = Compressor::new(layout.clone(), settings)?.with_instructions(instructions);
            let Some(mut compressor) = compressor else { continue };
            let name = format!("compress, {quantiser:?}, {coder:?}, {instructions:?}");
            let mut bytes = 0;
            let seconds = time(|| {
                bytes = compressor.accumulate_and_compress(&mut feedback, &before, &after, 0.95).len();
            });
            print_rate(&name, seconds, layout.len(), copy_rate);
        }
    }
    Ok(())
}

fn print_rate(name: &str, (least, median): (f64, f64), parameters: usize, copy_rate: f64) {
    let rate = 12.0 * parameters as f64 / least / 1e9;
    println!(
        "| {name} | {:.0}, {:.0} | {:.0} | {rate:.1} | {:.2} |",
        least * 1e3,
        median * 1e3,
        parameters as f64 / least / 1e6,
        rate / copy_rate
    );
}

fn aggregation(numbers: Numbers<'_>) -> Result<(), Error> {
    let layout = numbers.layout;
    println!("\n| {PEERS} peers | decode, ms | outer step, ms | both, ms |");
    println!("|---|---|---|---|");
    for (quantiser, coder) in [
        (Quantiser::SignScale, Coder::Entropy),
        (Quantiser::SignScale, Coder::Fixed),
        (Quantiser::TwoLevels, Coder::Entropy),
    ] {
        let settings = Settings::new(64, quantiser).with_coder(coder);
        let mut compressor = Compressor::new(layout.clone(), settings)?;
        let payloads = (0..PEERS).map(|peer| compressor.compress(&mut numbers.of(10 + peer))).collect::<Vec<_>>();
        for instructions in ALL {
            let decoder = Decoder::new(layout.clone(), Limits::new(settings)).with_instructions(instructions);
            let Some(mut decoder) = decoder else { continue };
            let mut updates = Vec::new();
            let decoded = time(|| {
                updates.drain(..).flatten().for_each(|update| decoder.recycle(update));
                updates = decoder.decode_all(&payloads);
            });
            let updates = updates.into_iter().collect::<Result<Vec<_>, _>>()?;
            print_step(numbers, &format!("{quantiser:?}, {coder:?}, {instructions:?}"), decoded.0, &updates);
        }
    }
    Ok(())
}

/// Steps with the best instructions of the machine, however the updates were read.
fn print_step(numbers: Numbers<'_>, name: &str, decoded: f64, updates: &[SparseUpdate]) {
    let peers = updates.iter().map(|update| Weighted { update, weight: 1.0 }).collect::<Vec<_>>();
    let (layout, mut theta) = (numbers.layout, numbers.of(1));
    let (stepped, _) = time(|| {
        outer_step(&mut theta, layout, &peers, Mean::Contributors, 0.7);
    });
    let [decoded, stepped] = [decoded, stepped].map(|seconds| seconds * 1e3);
    println!("| {name} | {decoded:.0} | {stepped:.0} | {:.0} |", decoded + stepped);
}
