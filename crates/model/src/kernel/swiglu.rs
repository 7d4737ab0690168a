//! SwiGLU (Shazeer, arXiv:2002.05202): `silu(gate) · up`.

use super::{PIECE, exp, vectorised};
use crate::team::Team;

/// `out[t, i] = silu(gate_up[t, i]) · gate_up[t, ffn + i]`; `gate_up` is `[tokens, 2·ffn]`, `out` `[tokens, ffn]`.
pub(crate) fn forward(team: &Team, out: &mut [f32], gate_up: &[f32], ffn: usize) {
    team.each(out.chunks_mut(PIECE * ffn).zip(gate_up.chunks(PIECE * 2 * ffn)), |(out, gate_up)| {
        vectorised(
            #[inline(always)]
            || out.chunks_exact_mut(ffn).zip(gate_up.chunks_exact(2 * ffn)).for_each(|(out, row)| activate(out, row)),
        );
    });
}

/// Replaces the gradient by the output with the output itself, and gate and up with their gradients.
pub(crate) fn backward(team: &Team, hidden: &mut [f32], gate_up: &mut [f32], ffn: usize) {
    team.each(hidden.chunks_mut(PIECE * ffn).zip(gate_up.chunks_mut(PIECE * 2 * ffn)), |(hidden, gate_up)| {
        let rows = hidden.chunks_exact_mut(ffn).zip(gate_up.chunks_exact_mut(2 * ffn));
        vectorised(
            #[inline(always)]
            || rows.for_each(|(hidden, row)| differentiate(hidden, row)),
        );
    });
}

#[inline(always)]
fn activate(out: &mut [f32], gate_up: &[f32]) {
    let (gate, up) = gate_up.split_at(out.len());
    for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
        *out = gate * up / (1.0 + exp(-gate));
    }
}

#[inline(always)]
fn differentiate(hidden: &mut [f32], gate_up: &mut [f32]) {
    let (gate, up) = gate_up.split_at_mut(hidden.len());
    for ((hidden, gate), up) in hidden.iter_mut().zip(gate).zip(up) {
        let (gradient, g, u) = (*hidden, *gate, *up);
        let sigmoid = 1.0 / (1.0 + exp(-g));
        let silu = g * sigmoid;
        *hidden = silu * u;
        *gate = gradient * u * sigmoid * (1.0 + g - silu);
        *up = gradient * silu;
    }
}
