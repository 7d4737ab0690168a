//! One pseudo-gradient through every quantiser and coder, and back.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;

use pactum_compress::{Coder, Compressor, Layout, Limits, Quantiser, Settings, decode};

fn main() -> Result<(), Box<dyn Error>> {
    let layout = Layout::new(64, [vec![512, 384], vec![384]])?;
    // A wave that is strong in some rows, as gradients are.
    let gradient = |i: usize| (i as f32 * 0.73).sin().powi(9) * (1.0 + (i / 384 % 7) as f32) * 1e-3;
    let before = (0..layout.len()).map(gradient).collect::<Vec<_>>();
    println!("{} parameters, {} chunks", layout.len(), layout.chunks());
    for quantiser in Quantiser::ALL {
        for coder in Coder::ALL {
            let settings = Settings::new(64, quantiser).with_coder(coder);
            let mut rest = before.clone();
            let payload = Compressor::new(layout.clone(), settings)?.compress(&mut rest);
            let update = decode(&payload, &layout, &Limits::new(settings))?;
            // What was sent and what stays behind add up to what there was.
            let mut sum = rest;
            update.add_to(&mut sum, 1.0);
            assert!(sum.iter().zip(&before).all(|(sum, before)| (sum - before).abs() < 1e-8));
            let bits = payload.len() as f64 * 8.0 / update.selected() as f64;
            println!("{quantiser:?}, {coder:?}: {} bytes, {bits:.2} bits a value sent", payload.len());
        }
    }
    Ok(())
}
