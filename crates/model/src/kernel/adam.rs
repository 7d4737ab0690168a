//! The inner optimizer's loops.

use super::{reduce, vectorised};

/// Values in one piece of work.
pub(crate) const PIECE: usize = 1 << 14;

/// Sum of squares; each piece in f32, the pieces in f64.
pub(crate) fn square_sum(gradient: &[f32]) -> f64 {
    gradient
        .chunks(PIECE)
        .map(|g| {
            f64::from(vectorised(
                #[inline(always)]
                || reduce(g, g, |x, y| x * y),
            ))
        })
        .sum()
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
