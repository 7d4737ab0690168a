//! Rotary positions (Su et al., arXiv:2104.09864) in the half-split form of Hugging Face's Llama.

use std::f64::consts::TAU;

use crate::config::{ModelConfig, RopeScaling};

/// Cosine and sine of each position and frequency, `[context, head width / 2]`.
pub(crate) struct Rotation {
    half: usize,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Rotation {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let half = config.head_width() / 2;
        let frequencies = frequencies(config);
        let angles = (0..config.context).flat_map(|position| frequencies.iter().map(move |f| position as f64 * f));
        let (cosines, sines) = angles.map(|angle| (angle.cos() as f32, angle.sin() as f32)).unzip();
        Self { half, cosines, sines }
    }

    pub(crate) fn half(&self) -> usize {
        self.half
    }

    /// `[context, half]`.
    pub(crate) fn cosines(&self) -> &[f32] {
        &self.cosines
    }

    /// `[context, half]`.
    pub(crate) fn sines(&self) -> &[f32] {
        &self.sines
    }

    /// `out = scale · rotate(x)`; both have the width of a head.
    #[inline(always)]
    pub(crate) fn turn(&self, out: &mut [f32], x: &[f32], position: usize, scale: f32) {
        self.apply(out, x, position, [scale, scale]);
    }

    /// The transposed rotation: gradient by the input from the gradient by the output.
    #[inline(always)]
    pub(crate) fn turn_back(&self, out: &mut [f32], gradient: &[f32], position: usize, scale: f32) {
        self.apply(out, gradient, position, [scale, -scale]);
    }

    #[inline(always)]
    fn apply(&self, out: &mut [f32], x: &[f32], position: usize, by: [f32; 2]) {
        let row = position * self.half..(position + 1) * self.half;
        let (cosines, sines) = (&self.cosines[row.clone()], &self.sines[row]);
        let (x_low, x_high) = x.split_at(self.half);
        let (low, high) = out.split_at_mut(self.half);
        let outs = low.iter_mut().zip(high);
        let angles = cosines.iter().zip(sines);
        for (((low, high), (&x, &y)), (&cosine, &sine)) in outs.zip(x_low.iter().zip(x_high)).zip(angles) {
            let (cosine, sine) = (cosine * by[0], sine * by[1]);
            *low = x * cosine - y * sine;
            *high = y * cosine + x * sine;
        }
    }
}

/// Angle per position of each pair.
fn frequencies(config: &ModelConfig) -> Vec<f64> {
    let width = config.head_width() as f64;
    let plain = (0..config.head_width() / 2).map(|pair| f64::from(config.rope_base).powf(-2.0 * pair as f64 / width));
    match &config.rope_scaling {
        None => plain.collect(),
        Some(scaling) => plain.map(|frequency| scaled(frequency, scaling)).collect(),
    }
}

/// Llama 3.1: long waves are stretched, short ones kept, those between interpolated.
fn scaled(frequency: f64, scaling: &RopeScaling) -> f64 {
    let turns = scaling.original_context as f64 * frequency / TAU;
    let (low, high) = (f64::from(scaling.low_frequency), f64::from(scaling.high_frequency));
    let stretched = frequency / f64::from(scaling.factor);
    let blend = ((turns - low) / (high - low)).clamp(0.0, 1.0);
    (1.0 - blend) * stretched + blend * frequency
}
