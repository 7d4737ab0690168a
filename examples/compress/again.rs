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
    let usage =
        "usage: read_again [TIMES [plain|neon|avx2|avx512]]; without instructions, with the best of the machine";
    let mut arguments = std::env::args().skip(1);
    let times = arguments.next().map_or(Ok(10), |times| times.parse::<usize>()).map_err(|_| usage)?;
    let instructions = match arguments.next().as_deref() {
        None => None,
        Some("plain") => Some(Instructions::Plain),
        Some("neon") => Some(Instructions::Neon),
        Some("avx2") => Some(Instructions::Avx2),
        Some("avx512") => Some(Instructions::Avx512),
        Some(_) => return Err(usage.into()),
    };
    let (layout, settings) = (Layout::new(64, [SHAPE.to_vec()])?, Settings::new(64, Quantiser::SignScale));
    let mut decoder = Decoder::new(layout.clone(), Limits::new(settings));
    if let Some(instructions) = instructions {
        decoder = decoder.with_instructions(instructions).ok_or("this machine has no such instructions")?;
    }
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
