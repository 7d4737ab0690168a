//! Cross-entropy over rows of logits.

use super::{LANES, exp, fold, maximum, vectorised};
use crate::team::Team;

/// Rows of logits in one piece of work.
const PIECE: usize = 16;

/// Loss in nats of each row; with a `scale` the logits become `scale` times the gradient of the loss by them.
pub(crate) fn rows(team: &Team, logits: &mut [f32], targets: &[u32], losses: &mut [f32], scale: Option<f32>) {
    let vocab = logits.len() / targets.len();
    let pieces = logits.chunks_mut(PIECE * vocab).zip(targets.chunks(PIECE)).zip(losses.chunks_mut(PIECE));
    team.each(pieces, |((logits, targets), losses)| {
        vectorised(
            #[inline(always)]
            || {
                for ((row, &target), loss) in logits.chunks_exact_mut(vocab).zip(targets).zip(losses) {
                    *loss = one(row, target as usize, scale);
                }
            },
        );
    });
}

#[inline(always)]
fn one(row: &mut [f32], target: usize, scale: Option<f32>) -> f32 {
    let top = maximum(row);
    let below = row[target] - top;
    let total = exponentials(row, top);
    if let Some(scale) = scale {
        let factor = scale / total;
        for value in row.iter_mut() {
            *value *= factor;
        }
        row[target] -= scale;
    }
    total.ln() - below
}

/// Replaces each value with `e^(value − top)`; their sum.
#[inline(always)]
pub(crate) fn exponentials(row: &mut [f32], top: f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let mut wide = row.chunks_exact_mut(LANES);
    for chunk in wide.by_ref() {
        for lane in 0..LANES {
            chunk[lane] = exp(chunk[lane] - top);
            lanes[lane] += chunk[lane];
        }
    }
    let mut rest = 0.0;
    for value in wide.into_remainder() {
        *value = exp(*value - top);
        rest += *value;
    }
    fold(lanes, |x, y| x + y) + rest
}
