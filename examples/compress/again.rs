//! Reads one payload several times with chosen instructions: for a profiler, or to count instructions.
//!
//! ```sh
//! RAYON_NUM_THREADS=1 cargo run --release -p pactum-examples --example read_again -- 1000 avx2
//! ```
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;

use pactum_compress::{Compressor, Decoder, Instructions, Layout, Limits, Quantiser, Settings};

/// One section, of which all states of the code are used.
const SHAPE: [usize; 2] = [1088, 1024];

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: read_again TIMES plain|neon|avx2|avx512";
    let mut arguments = std::env::args().skip(1);
    let (times, name) = (arguments.next().ok_or(usage)?.parse::<usize>()?, arguments.next().ok_or(usage)?);
    let instructions = match name.as_str() {
        "plain" => Instructions::Plain,
        "neon" => Instructions::Neon,
        "avx2" => Instructions::Avx2,
        "avx512" => Instructions::Avx512,
        _ => return Err(usage.into()),
    };
    let (layout, settings) = (Layout::new(64, [SHAPE.to_vec()])?, Settings::new(64, Quantiser::SignScale));
    let decoder = Decoder::new(layout.clone(), Limits::new(settings)).with_instructions(instructions);
    let mut decoder = decoder.ok_or("this machine has no such instructions")?;
    let payload = Compressor::new(layout, settings)?.compress(&mut numbers());
    for _ in 0..times {
        let update = decoder.decode(&payload)?;
        decoder.recycle(update);
    }
    println!("read {} bytes {times} times", payload.len());
    Ok(())
}

/// Numbers with heavy tails, in rows and columns of unequal strength.
fn numbers() -> Vec<f32> {
    let mut state = 1_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let [lines, columns] = SHAPE.map(|many| (0..many).map(|_| uniform() + 0.2).collect::<Vec<_>>());
    let mut numbers = Vec::with_capacity(lines.len() * columns.len());
    for line in &lines {
        numbers.extend(columns.iter().map(|column| line * column * (uniform() - 0.5) * uniform()));
    }
    numbers
}
