//! Error feedback over windows: a target is followed although each payload carries one value in sixty-four, and one of the
//! windows is lost.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;

use pactum_compress::{Compressor, Layout, Limits, Mean, Quantiser, Settings, Weighted, decode, outer_step};

const WINDOWS: usize = 300;
const LOST: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let layout = Layout::new(64, [vec![128, 128]])?;
    let settings = Settings::new(64, Quantiser::TwoLevels);
    let mut compressor = Compressor::new(layout.clone(), settings)?;
    let target = (0..layout.len()).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>();
    let (mut theta, mut feedback) = (vec![0.0; layout.len()], vec![0.0; layout.len()]);
    let distance = |theta: &[f32]| {
        let squares = theta.iter().zip(&target).map(|(theta, target)| (theta - target).powi(2));
        (squares.sum::<f32>() / target.len() as f32).sqrt()
    };
    let start = distance(&theta);
    for window in 0..WINDOWS {
        // The inner steps: a little of the way to the target.
        let trained =
            theta.iter().zip(&target).map(|(theta, target)| theta + 0.02 * (target - theta)).collect::<Vec<_>>();
        let payload = compressor.accumulate_and_encode(&mut feedback, &theta, &trained, 0.95);
        // A window whose payload does not arrive changes nothing: the feedback still holds everything.
        if window != LOST {
            let update = decode(&payload, &layout, &Limits::new(settings))?;
            update.subtract_from(&mut feedback);
            outer_step(&mut theta, &layout, &[Weighted { update: &update, weight: 1.0 }], Mean::Contributors, 1.0);
        }
        if window % 50 == 0 || window + 1 == WINDOWS {
            println!(
                "window {window}: distance {:.4} of {start:.4}, payload {} bytes",
                distance(&theta),
                payload.len()
            );
        }
    }
    assert!(distance(&theta) < 0.5 * start);
    Ok(())
}
