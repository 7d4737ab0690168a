//! Whether a library's attention is used: for each shape, only after it has come to the same as this crate's own kernels on
//! a small problem, and to the same bits twice.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::attention::{Attention, AttentionGradient};
use crate::device::{Answer, Buffer, Device};
use crate::error::DeviceError;
use crate::plain::Bf16;

/// Sequences of the problem, and tokens of each at most.
const SEQUENCES: usize = 2;
const LONGEST: usize = 512;
/// What a head of a token may differ by, in parts of its own length or of the mean one. Rounding to 16 bits at different
/// places comes to less than a hundredth; a wrong mask, stride or head to much more.
const ALLOWED: f64 = 0.04;
/// What the logarithms of sums may differ by: weights there are rounded nowhere.
const LOG: f64 = 1e-3;

/// What was found out about a library.
#[derive(Debug)]
pub(crate) struct Trust {
    /// The library's name and version.
    pub(crate) name: String,
    verdicts: Mutex<BTreeMap<[usize; 4], Verdict>>,
}

/// Nothing, or why the library is not to be used.
pub(crate) type Verdict = Result<(), String>;

impl Trust {
    #[cfg(feature = "cuda")]
    pub(crate) fn new(name: String) -> Trust {
        Trust { name, verdicts: Mutex::default() }
    }

    /// What was found for a shape, or is found now.
    pub(crate) fn of(&self, shape: &Attention, device: &Device) -> Verdict {
        let (small, _) = problem(shape);
        let key = [small.heads, small.kv_heads, small.width, small.length];
        let known = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        known.unwrap_or_else(|| {
            let verdict = compare(&small, device);
            self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).insert(key, verdict.clone());
            verdict
        })
    }
}

/// The problem for a shape: a shape of as many heads, and how many sequences.
pub(crate) fn problem(shape: &Attention) -> (Attention, usize) {
    (Attention { length: shape.length.min(LONGEST), ..*shape }, SEQUENCES)
}

/// Numbers from -1 to 1.
fn numbers(seed: u64, len: usize) -> impl Iterator<Item = f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// A problem and room for its results.
struct Problem {
    shape: Attention,
    fused: Buffer<Bf16>,
    slope: Buffer<Bf16>,
    mixed: Buffer<Bf16>,
    logs: Buffer<f32>,
    pulls: Buffer<f32>,
    gradient: Buffer<Bf16>,
}

impl Problem {
    fn new(shape: &Attention, device: &Device) -> Result<Problem, DeviceError> {
        let (tokens, mixed) = (SEQUENCES * shape.length, SEQUENCES * shape.length * shape.heads * shape.width);
        let fused = tokens * (shape.heads + 2 * shape.kv_heads) * shape.width;
        // Scores of about one: keys differ in weight, and none hides the others.
        let scale = 2.0 / (shape.width as f32).sqrt().sqrt();
        let scaled = numbers(1, fused).map(|number| Bf16::from(scale * number)).collect::<Vec<_>>();
        let slope = numbers(2, mixed).map(Bf16::from).collect::<Vec<_>>();
        Ok(Problem {
            shape: *shape,
            fused: device.upload(&scaled)?,
            slope: device.upload(&slope)?,
            mixed: device.zeros(mixed)?,
            logs: device.zeros(tokens * shape.heads)?,
            pulls: device.zeros(tokens * shape.heads)?,
            gradient: device.zeros(fused)?,
        })
    }

    /// Output and logarithms, by the library or not.
    fn forward(&mut self, library: bool) -> Result<(Vec<Bf16>, Vec<f32>), DeviceError> {
        if library {
            taken(self.shape.ask(&self.fused, &mut self.mixed, &mut self.logs)?)?;
        } else {
            self.shape.forward_here(&self.fused, &mut self.mixed, &mut self.logs)?;
        }
        Ok((self.mixed.read()?, self.logs.read()?))
    }

    /// The gradient, by the library or not, from what the last forward pass left.
    fn backward(&mut self, library: bool) -> Result<Vec<Bf16>, DeviceError> {
        self.gradient.clear()?;
        let Problem { shape, fused, slope, mixed, logs, pulls, gradient } = self;
        let mut pass = AttentionGradient { fused, mixed, logs, slope, gradient, pulls };
        if library {
            taken(shape.ask_back(&mut pass)?)?;
        } else {
            shape.backward_here(&mut pass)?;
        }
        self.gradient.read()
    }
}

fn taken(answer: Answer) -> Result<(), DeviceError> {
    match answer {
        Answer::Done => Ok(()),
        Answer::Refused(reason) => Err(DeviceError::Call { what: "find a plan", reason }),
    }
}

fn compare(shape: &Attention, device: &Device) -> Verdict {
    let run = || -> Result<Verdict, DeviceError> {
        let mut problem = Problem::new(shape, device)?;
        let ((found, logs), again) = (problem.forward(true)?, problem.forward(true)?);
        if again != (found.clone(), logs.clone()) {
            return Ok(Err("its output is not the same twice".into()));
        }
        let (expected, of_logs) = problem.forward(false)?;
        let (gradient, again) = (problem.backward(true)?, problem.backward(true)?);
        if again != gradient {
            return Ok(Err("its gradient is not the same twice".into()));
        }
        let of_gradient = problem.backward(false)?;
        let near = |(a, b): (&f32, &f32)| f64::from(a - b).abs() <= LOG * (1.0 + f64::from(b.abs()));
        let near = logs.iter().zip(&of_logs).all(near);
        let (of_output, of_gradient) = (apart(&found, &expected, shape), apart(&gradient, &of_gradient, shape));
        let reason = format!("it is {of_output:.3} off in the output, {of_gradient:.3} in the gradient");
        Ok(if near && of_output <= ALLOWED && of_gradient <= ALLOWED { Ok(()) } else { Err(reason) })
    };
    run().unwrap_or_else(|error| Err(error.to_string()))
}

/// The largest distance of two rows of a head's numbers, in parts of the expected row's length or the mean one; whatever
/// is larger. Infinite where something is no number.
fn apart(found: &[Bf16], expected: &[Bf16], shape: &Attention) -> f64 {
    let length = |row: &[Bf16]| row.iter().map(|&x| f64::from(f32::from(x)).powi(2)).sum::<f64>().sqrt();
    let rows = || expected.chunks(shape.width);
    let mean = rows().map(length).sum::<f64>() / rows().count().max(1) as f64;
    let between = |(a, b): (&[Bf16], &[Bf16])| {
        let square = |(a, b): (&Bf16, &Bf16)| f64::from(f32::from(*a) - f32::from(*b)).powi(2);
        let distance = a.iter().zip(b).map(square).sum::<f64>().sqrt() / length(b).max(mean);
        if distance.is_finite() { distance } else { f64::INFINITY }
    };
    found.chunks(shape.width).zip(rows()).map(between).fold(0.0, f64::max)
}
