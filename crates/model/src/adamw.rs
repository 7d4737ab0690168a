//! The inner optimizer.

use std::ops::Range;
use std::sync::Arc;

use crate::engine::Engine;
use crate::kernel::adam::{Factors, PIECE, square_sum, update};
use crate::layout::ParameterSpec;
use crate::team::Team;

mod streamed;

pub use streamed::{MomentStore, StreamedAdamW};

/// Settings of [`AdamW`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay per unit of learning rate; it acts on matrices only, not on norms and biases.
    pub weight_decay: f32,
    /// The gradient is scaled down to this global norm; infinity never clips.
    pub clip: f32,
}

impl Default for AdamWConfig {
    /// β 0.9 and 0.95, eps 1e-8, weight decay 0.1, clipping at 1.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, clip: 1.0 }
    }
}

impl AdamWConfig {
    /// The factors of the step of this number, counted from one.
    pub(crate) fn factors(&self, step: u64, norm: f64, rate: f32) -> Factors {
        let AdamWConfig { beta1, beta2, eps, weight_decay, clip } = *self;
        let correction = |beta: f32| 1.0 - f64::from(beta).powf(step as f64);
        let clip = f64::from(clip);
        Factors {
            beta1,
            beta2,
            eps,
            rate: (f64::from(rate) / correction(beta1)) as f32,
            root: (1.0 / correction(beta2).sqrt()) as f32,
            keep: 1.0 - rate * weight_decay,
            clip: if norm > clip { (clip / norm) as f32 } else { 1.0 },
        }
    }
}

/// AdamW (Loshchilov and Hutter, arXiv:1711.05101) with clipping by the global norm, over flat vectors.
///
/// With bias correction; weight decay is decoupled and acts before the update, as in PyTorch.
#[derive(Clone, Debug)]
pub struct AdamW {
    rule: Rule,
    first: Vec<f32>,
    second: Vec<f32>,
}

/// What makes a step of parameters, gradient and moments, wherever the moments are.
#[derive(Clone, Debug)]
struct Rule {
    config: AdamWConfig,
    spans: Vec<Span>,
    step: u64,
    team: Arc<Team>,
    /// Sums of squares of the gradient's pieces.
    squares: Vec<f32>,
}

/// Neighbouring tensors that are treated alike.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) range: Range<usize>,
    pub(crate) decays: bool,
}

/// The flat vector in as few spans as can be: weight decay acts on matrices only.
pub(crate) fn spans(specs: &[ParameterSpec]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for spec in specs {
        let decays = spec.shape.len() > 1;
        match spans.last_mut() {
            Some(span) if span.decays == decays => span.range.end = spec.range().end,
            _ => spans.push(Span { range: spec.range(), decays }),
        }
    }
    spans
}

/// Whether saved moments can be those of so many parameters.
pub(crate) fn check_moments(first: &[f32], second: &[f32], expected: usize) -> Result<(), MomentsError> {
    for found in [first.len(), second.len()] {
        if found != expected {
            return Err(MomentsError::WrongLength { found, expected });
        }
    }
    let damaged = |(m, v): (&f32, &f32)| !m.is_finite() || !v.is_finite() || *v < 0.0;
    match first.iter().zip(second).position(damaged) {
        Some(index) => Err(MomentsError::Damaged { index }),
        None => Ok(()),
    }
}

/// What one optimizer step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Norm of the gradient before clipping.
    pub norm: f64,
    /// False if the gradient was not finite: then nothing was changed and the step was not counted.
    pub applied: bool,
}

/// Why optimizer state was not taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MomentsError {
    /// A moment vector has the wrong length.
    #[error("optimizer state has {found} values in a moment but the model has {expected} parameters")]
    WrongLength {
        /// Values found.
        found: usize,
        /// Parameters of the model.
        expected: usize,
    },
    /// A moment is not finite, or a second moment is negative.
    #[error("optimizer state is damaged at value {index}: moments must be finite and squares not negative")]
    Damaged {
        /// Index of the first such value.
        index: usize,
    },
}

impl Rule {
    fn new(config: AdamWConfig, specs: &[ParameterSpec]) -> Self {
        let spans = spans(specs);
        let count = spans.last().map_or(0, |span| span.range.end);
        Self { config, spans, step: 0, team: Arc::new(Team::alone()), squares: vec![0.0; count.div_ceil(PIECE)] }
    }

    fn count(&self) -> usize {
        self.spans.last().map_or(0, |span| span.range.end)
    }

    fn check(&self, parameters: &[f32], gradient: &[f32]) {
        assert_eq!(parameters.len(), self.count(), "parameters have the optimizer's length");
        assert_eq!(gradient.len(), self.count(), "the gradient has the optimizer's length");
    }

    /// The gradient's norm, and the factors of the next step, which counts as made; none if the norm is not finite. Call it
    /// within [`Team::enter`].
    fn begin(&mut self, gradient: &[f32], rate: f32) -> (StepReport, Option<Factors>) {
        let pieces = self.squares.iter_mut().zip(gradient.chunks(PIECE));
        self.team.each(pieces, |(sum, piece)| *sum = square_sum(piece));
        let norm = self.squares.iter().map(|&sum| f64::from(sum)).sum::<f64>().sqrt();
        if !norm.is_finite() {
            return (StepReport { norm, applied: false }, None);
        }
        self.step += 1;
        (StepReport { norm, applied: true }, Some(self.config.factors(self.step, norm, rate)))
    }
}

impl Span {
    fn factors(&self, factors: Factors) -> Factors {
        if self.decays { factors } else { Factors { keep: 1.0, ..factors } }
    }
}

impl AdamW {
    /// An optimizer for the given tensors, with moments zero. `specs` are those of `ModelConfig::parameters`.
    pub fn new(config: AdamWConfig, specs: &[ParameterSpec]) -> Self {
        let rule = Rule::new(config, specs);
        let (first, second) = (vec![0.0; rule.count()], vec![0.0; rule.count()]);
        Self { rule, first, second }
    }

    /// Lets the steps run on the engine's threads too; the bits stay the same.
    #[must_use]
    pub fn on_threads_of(mut self, engine: &Engine) -> Self {
        self.rule.team = engine.team();
        self
    }

    /// Updates the parameters by one step of the given learning rate.
    ///
    /// # Panics
    /// If a vector's length is not that of the optimizer.
    pub fn step(&mut self, parameters: &mut [f32], gradient: &[f32], rate: f32) -> StepReport {
        self.rule.check(parameters, gradient);
        let team = Arc::clone(&self.rule.team);
        team.enter(|| self.run(parameters, gradient, rate))
    }

    fn run(&mut self, parameters: &mut [f32], gradient: &[f32], rate: f32) -> StepReport {
        let (report, factors) = self.rule.begin(gradient, rate);
        let Some(factors) = factors else { return report };
        for span in &self.rule.spans {
            let (range, by) = (span.range.clone(), span.factors(factors));
            let (first, second) = (&mut self.first[range.clone()], &mut self.second[range.clone()]);
            let moments = first.chunks_mut(PIECE).zip(second.chunks_mut(PIECE));
            let values = parameters[range.clone()].chunks_mut(PIECE).zip(gradient[range].chunks(PIECE));
            self.rule.team.each(values.zip(moments), |((parameters, gradient), (first, second))| {
                update(parameters, gradient, first, second, by);
            });
        }
        report
    }

    /// Its settings.
    pub fn config(&self) -> &AdamWConfig {
        &self.rule.config
    }

    /// Steps made so far.
    pub fn steps(&self) -> u64 {
        self.rule.step
    }

    /// First moments, in the order of the parameters.
    pub fn first_moments(&self) -> &[f32] {
        &self.first
    }

    /// Second moments, in the order of the parameters.
    pub fn second_moments(&self) -> &[f32] {
        &self.second
    }

    /// Takes over saved state, bit for bit.
    ///
    /// # Errors
    /// If a length is wrong or a value impossible; the state is then as before.
    pub fn restore(&mut self, first: &[f32], second: &[f32], steps: u64) -> Result<(), MomentsError> {
        check_moments(first, second, self.first.len())?;
        self.first.copy_from_slice(first);
        self.second.copy_from_slice(second);
        self.rule.step = steps;
        Ok(())
    }

    /// Takes over the moments that a device made of these.
    #[cfg(feature = "cuda")]
    pub(crate) fn replace(&mut self, [first, second]: [Vec<f32>; 2], steps: u64) {
        debug_assert_eq!([first.len(), second.len()], [self.first.len(); 2], "moments have the optimizer's length");
        (self.first, self.second, self.rule.step) = (first, second, steps);
    }

    /// Takes over the state of another optimizer for the same tensors, without allocating.
    ///
    /// # Panics
    /// If the other has another length.
    pub fn copy_from(&mut self, other: &Self) {
        self.first.copy_from_slice(&other.first);
        self.second.copy_from_slice(&other.second);
        self.rule.step = other.rule.step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelConfig, initial_parameters};

    fn specs() -> Vec<ParameterSpec> {
        let spec =
            |name: &str, shape: &[usize], offset| ParameterSpec { name: name.into(), shape: shape.into(), offset };
        vec![spec("a", &[2, 3], 0), spec("b", &[1, 2], 6), spec("norm", &[3], 8)]
    }

    /// The textbook, in f64.
    fn textbook(config: AdamWConfig, gradients: &[Vec<f64>], start: &[f64], rate: f64) -> Vec<f64> {
        let (beta1, beta2) = (f64::from(config.beta1), f64::from(config.beta2));
        let (mut p, mut m, mut v) = (start.to_vec(), vec![0.0; start.len()], vec![0.0; start.len()]);
        for (t, gradient) in (1..).zip(gradients) {
            let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            let clip = (f64::from(config.clip) / norm).min(1.0);
            for i in 0..p.len() {
                let g = gradient[i] * clip;
                m[i] = beta1 * m[i] + (1.0 - beta1) * g;
                v[i] = beta2 * v[i] + (1.0 - beta2) * g * g;
                // The first eight values are matrices.
                p[i] -= rate * f64::from(config.weight_decay) * f64::from(u8::from(i < 8)) * p[i];
                let (mean, square) = (m[i] / (1.0 - beta1.powi(t)), v[i] / (1.0 - beta2.powi(t)));
                p[i] -= rate * mean / (square.sqrt() + f64::from(config.eps));
            }
        }
        p
    }

    #[test]
    fn it_follows_the_textbook() {
        for clip in [0.5, f32::INFINITY] {
            let config = AdamWConfig { clip, ..AdamWConfig::default() };
            let gradients: Vec<Vec<f64>> =
                (0..20).map(|t| (0..11).map(|i| f64::from((t * 7 + i * 5) % 13) / 8.0 - 0.75).collect()).collect();
            let start: Vec<f64> = (0..11).map(|i| f64::from(i) / 4.0 - 1.0).collect();
            let mut parameters: Vec<f32> = start.iter().map(|&x| x as f32).collect();
            let mut optimizer = AdamW::new(config, &specs());
            for gradient in &gradients {
                let gradient: Vec<f32> = gradient.iter().map(|&g| g as f32).collect();
                assert!(optimizer.step(&mut parameters, &gradient, 0.01).applied);
            }
            let expected = textbook(config, &gradients, &start, f64::from(0.01_f32));
            for (found, expected) in parameters.iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-6, "{clip}: {found} {expected}");
            }
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let mut optimizer = AdamW::new(AdamWConfig::default(), &specs());
        let mut parameters = vec![1.0; 11];
        for bad in [f32::NAN, f32::INFINITY] {
            let mut gradient = vec![0.1; 11];
            gradient[3] = bad;
            assert!(!optimizer.step(&mut parameters, &gradient, 0.1).applied);
        }
        assert_eq!((parameters, optimizer.steps()), (vec![1.0; 11], 0));
    }

    #[test]
    fn saved_state_goes_on_with_the_same_bits() {
        let config = ModelConfig::default();
        let specs = config.parameters();
        let mut straight = (initial_parameters(&config, 1), AdamW::new(AdamWConfig::default(), &specs));
        let gradient = initial_parameters(&config, 2);
        straight.1.step(&mut straight.0, &gradient, 0.01);
        let mut resumed = (straight.0.clone(), AdamW::new(AdamWConfig::default(), &specs));
        let saved = &straight.1;
        resumed.1.restore(saved.first_moments(), saved.second_moments(), saved.steps()).unwrap();
        for (parameters, optimizer) in [&mut straight, &mut resumed] {
            optimizer.step(parameters, &gradient, 0.01);
        }
        assert_eq!(straight.0, resumed.0);
        assert_eq!(straight.1.second_moments(), resumed.1.second_moments());
    }

    #[test]
    fn threads_change_no_bit() {
        let config = ModelConfig::default();
        let gradient = initial_parameters(&config, 2);
        let run = |threads: usize| {
            let engine = Engine::new(&config, 1, threads).unwrap();
            let mut optimizer = AdamW::new(AdamWConfig::default(), &config.parameters()).on_threads_of(&engine);
            let mut parameters = initial_parameters(&config, 1);
            optimizer.step(&mut parameters, &gradient, 0.01);
            parameters
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn damaged_state_is_refused() {
        let mut optimizer = AdamW::new(AdamWConfig::default(), &specs());
        let (good, mut bad) = (vec![0.5; 11], vec![0.5; 11]);
        bad[4] = -1.0;
        assert_eq!(optimizer.restore(&good, &bad, 1), Err(MomentsError::Damaged { index: 4 }));
        assert_eq!(optimizer.restore(&good, &good[1..], 1), Err(MomentsError::WrongLength { found: 10, expected: 11 }));
        assert_eq!(optimizer.steps(), 0);
    }
}
