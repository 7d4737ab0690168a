//! The inner optimizer's loops.

use super::{reduce, vectorised};

/// Values in one piece of work.
pub(crate) const PIECE: usize = 1 << 15;

/// Sum of squares of one piece.
pub(crate) fn square_sum(piece: &[f32]) -> f32 {
    vectorised(
        #[inline(always)]
        || reduce(piece, piece, |x, y| x * y),
    )
}

/// Factors of one AdamW step.
#[derive(Clone, Copy)]
pub(crate) struct Factors {
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) eps: f32,
    /// Learning rate over the first moment's bias correction.
    pub(crate) rate: f32,
    /// One over the root of the second moment's bias correction.
    pub(crate) root: f32,
    /// What parameters are multiplied with: 1 − rate·decay.
    pub(crate) keep: f32,
    /// What gradients are multiplied with.
    pub(crate) clip: f32,
}

/// One step over slices of equal length: parameters, gradient, first and second moment.
pub(crate) fn update(parameters: &mut [f32], gradient: &[f32], m: &mut [f32], v: &mut [f32], by: Factors) {
    vectorised(
        #[inline(always)]
        || {
            for (((p, &g), m), v) in parameters.iter_mut().zip(gradient).zip(m).zip(v) {
                let g = g * by.clip;
                *m = by.beta1 * *m + (1.0 - by.beta1) * g;
                *v = by.beta2 * *v + (1.0 - by.beta2) * g * g;
                *p = *p * by.keep - by.rate * *m / (v.sqrt() * by.root + by.eps);
            }
        },
    );
}
