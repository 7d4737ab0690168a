//! SwiGLU (Shazeer, arXiv:2002.05202): `silu(gate) · up`.

use super::{LANES, PIECE, exp, vectorised};
use crate::team::Team;

/// `out[t, i] = silu(gate_up[t, i]) · gate_up[t, ffn + i]`; `gate_up` is `[tokens, 2·ffn]`, `out` `[tokens, ffn]`.
pub(crate) fn forward(team: &Team, out: &mut [f32], gate_up: &[f32], ffn: usize) {
    team.each(out.chunks_mut(PIECE * ffn).zip(gate_up.chunks(PIECE * 2 * ffn)), |(out, gate_up)| {
        vectorised(
            #[inline(always)]
            || activate(out, gate_up, ffn),
        );
    });
}

/// Replaces the gradient by the output with the output itself, and gate and up with their gradients.
pub(crate) fn backward(team: &Team, hidden: &mut [f32], gate_up: &mut [f32], ffn: usize) {
    team.each(hidden.chunks_mut(PIECE * ffn).zip(gate_up.chunks_mut(PIECE * 2 * ffn)), |(hidden, gate_up)| {
        vectorised(
            #[inline(always)]
            || {
                for (hidden, gate_up) in hidden.chunks_exact_mut(ffn).zip(gate_up.chunks_exact_mut(2 * ffn)) {
                    differentiate(hidden, gate_up);
                }
            },
        );
    });
}

#[inline(always)]
fn activate(out: &mut [f32], gate_up: &[f32], ffn: usize) {
    for (out, gate_up) in out.chunks_exact_mut(ffn).zip(gate_up.chunks_exact(2 * ffn)) {
        let (gate, up) = gate_up.split_at(ffn);
        for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
            *out = gate * up / (1.0 + exp(-gate));
        }
    }
}

#[inline(always)]
fn differentiate(hidden: &mut [f32], gate_up: &mut [f32]) {
    let (gate, up) = gate_up.split_at_mut(hidden.len());
    let (hidden, last_hidden) = hidden.as_chunks_mut::<LANES>();
    let (gate, last_gate) = gate.as_chunks_mut::<LANES>();
    let (up, last_up) = up.as_chunks_mut::<LANES>();
    for ((hidden, gate), up) in hidden.iter_mut().zip(gate).zip(up) {
        // Whole blocks in locals: gate and up share a slice, and a loop over both would not be vectorised.
        let (mut h, mut g, mut u) = (*hidden, *gate, *up);
        for lane in 0..LANES {
            [h[lane], g[lane], u[lane]] = slopes(h[lane], g[lane], u[lane]);
        }
        (*hidden, *gate, *up) = (h, g, u);
    }
    for ((hidden, gate), up) in last_hidden.iter_mut().zip(last_gate).zip(last_up) {
        [*hidden, *gate, *up] = slopes(*hidden, *gate, *up);
    }
}

/// Output, gradient by gate and gradient by up, from the gradient by the output, gate and up.
#[inline(always)]
fn slopes(gradient: f32, gate: f32, up: f32) -> [f32; 3] {
    let sigmoid = 1.0 / (1.0 + exp(-gate));
    let silu = gate * sigmoid;
    [silu * up, gradient * up * sigmoid * (1.0 + gate - silu), gradient * silu]
}
