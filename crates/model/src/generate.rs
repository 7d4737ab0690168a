//! Text from a model, token by token.

use crate::engine::Engine;
use crate::executor::StepError;

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenerateOptions {
    /// Tokens to generate.
    pub tokens: usize,
    /// 0 takes the likeliest token; 1 draws from the model's distribution; above that it is flattened.
    pub temperature: f32,
    /// Draws from the fewest likeliest tokens whose probabilities add up to this share (nucleus sampling, Holtzman et al.,
    /// arXiv:1904.09751); 1 leaves all.
    pub top_p: f32,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for GenerateOptions {
    /// 128 tokens drawn from the model's own distribution.
    fn default() -> Self {
        Self { tokens: 128, temperature: 1.0, top_p: 1.0, seed: 0 }
    }
}

/// Why nothing was generated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// There is nothing to continue.
    #[error("the prompt is empty: give at least one token")]
    EmptyPrompt,
    /// The temperature is negative or not finite.
    #[error("temperature is {0}: it must be 0 or a positive number")]
    Temperature(f32),
    /// The share of probability to draw from is not above 0 and at most 1.
    #[error("top-p is {0}: it must be above 0 and at most 1")]
    TopP(f32),
    /// The model produced no usable probabilities.
    #[error("the model's outputs are not finite: are the parameters damaged?")]
    NotFinite,
    /// The model could not be run.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// The tokens that continue the prompt (without it).
///
/// Keys and values of earlier tokens are kept, so each token costs one pass over the parameters. When the context is
/// full, the last half of it is read anew and the rest forgotten.
///
/// # Errors
/// If prompt, parameters or options do not fit.
pub fn generate(
    engine: &mut Engine,
    parameters: &[f32],
    prompt: &[u32],
    options: GenerateOptions,
) -> Result<Vec<u32>, GenerateError> {
    let mut ids = Vec::with_capacity(options.tokens.min(1 << 20));
    generate_each(engine, parameters, prompt, options, |id| {
        ids.push(id);
        true
    })?;
    Ok(ids)
}

/// As [`generate`], handing out each token as soon as it is chosen, until `keep_going` says false.
///
/// # Errors
/// As [`generate`].
pub fn generate_each(
    engine: &mut Engine,
    parameters: &[f32],
    prompt: &[u32],
    options: GenerateOptions,
    mut keep_going: impl FnMut(u32) -> bool,
) -> Result<(), GenerateError> {
    if prompt.is_empty() {
        return Err(GenerateError::EmptyPrompt);
    }
    options.check()?;
    let context = engine.config().context;
    let mut draws = Draws::new(options.seed);
    // The tokens that the engine remembers, and one that it has not seen if there is any.
    let mut window = prompt[prompt.len().saturating_sub(context)..].to_vec();
    let mut logits = engine.begin(parameters, &window)?;
    for left in (0..options.tokens).rev() {
        let id = choose(&logits, &options, || draws.next()).ok_or(GenerateError::NotFinite)?;
        if !keep_going(id) || left == 0 {
            break;
        }
        window.push(id);
        logits = if window.len() > context {
            window.drain(..window.len() - context.div_ceil(2));
            engine.begin(parameters, &window)?
        } else {
            engine.extend(parameters, id, window.len() - 1)?
        };
    }
    Ok(())
}

impl GenerateOptions {
    fn check(&self) -> Result<(), GenerateError> {
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(GenerateError::Temperature(self.temperature));
        }
        if self.top_p > 0.0 && self.top_p <= 1.0 { Ok(()) } else { Err(GenerateError::TopP(self.top_p)) }
    }
}

/// A token id, or none if the logits are not finite.
fn choose(logits: &[f32], options: &GenerateOptions, draw: impl FnOnce() -> f64) -> Option<u32> {
    let (likeliest, top) = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    if !logits.iter().all(|logit| logit.is_finite()) {
        return None;
    }
    if options.temperature == 0.0 {
        return u32::try_from(likeliest).ok();
    }
    let mut weights: Vec<f64> =
        logits.iter().map(|logit| f64::from((logit - top) / options.temperature).exp()).collect();
    if options.top_p < 1.0 {
        keep_likeliest(&mut weights, f64::from(options.top_p));
    }
    let mut left = draw() * weights.iter().sum::<f64>();
    let chosen = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    u32::try_from(chosen.unwrap_or(likeliest)).ok()
}

/// Sets all weights to zero but the fewest and largest that make up `share` of their sum; of equal ones the first stay.
fn keep_likeliest(weights: &mut [f64], share: f64) {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    let mut left = share * weights.iter().sum::<f64>();
    for index in order {
        if left <= 0.0 {
            weights[index] = 0.0;
        }
        left -= weights[index];
    }
}

/// Uniform numbers in 0..1 from the BLAKE3 stream of a seed.
struct Draws(blake3::OutputReader);

impl Draws {
    fn new(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("pactum generation v1");
        hasher.update(&seed.to_le_bytes());
        Self(hasher.finalize_xof())
    }

    fn next(&mut self) -> f64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelConfig, initial_parameters};

    fn run(options: GenerateOptions) -> Vec<u32> {
        let config = ModelConfig { context: 8, ..ModelConfig::default() };
        let mut engine = Engine::new(&config, 1, 1).unwrap();
        generate(&mut engine, &initial_parameters(&config, 3), &[1, 2, 3], options).unwrap()
    }

    #[test]
    fn the_seed_decides() {
        let options = GenerateOptions { tokens: 20, seed: 1, ..GenerateOptions::default() };
        assert_eq!(run(options), run(options));
        assert_ne!(run(options), run(GenerateOptions { seed: 2, ..options }));
        let greedy = GenerateOptions { temperature: 0.0, ..options };
        assert_eq!(run(greedy), run(GenerateOptions { seed: 2, ..greedy }));
        assert_eq!(run(options).len(), 20);
    }

    #[test]
    fn kept_tokens_change_nothing() {
        let config = ModelConfig { context: 8, ..ModelConfig::default() };
        let (mut engine, parameters) = (Engine::new(&config, 1, 1).unwrap(), initial_parameters(&config, 3));
        let options = GenerateOptions { tokens: 13, temperature: 0.0, ..GenerateOptions::default() };
        let mut window = vec![7, 8, 9];
        let mut expected = Vec::new();
        for _ in 0..options.tokens {
            let logits = engine.next_logits(&parameters, &window).unwrap();
            expected.push(choose(&logits, &options, || 0.0).unwrap());
            window.push(expected[expected.len() - 1]);
            if window.len() > 8 {
                window.drain(..window.len() - 4);
            }
        }
        assert_eq!(generate(&mut engine, &parameters, &[7, 8, 9], options).unwrap(), expected);
    }

    #[test]
    fn it_stops_when_told() {
        let config = ModelConfig::default();
        let (mut engine, parameters) = (Engine::new(&config, 1, 1).unwrap(), initial_parameters(&config, 3));
        let mut count = 0;
        let options = GenerateOptions { tokens: 100, ..GenerateOptions::default() };
        let stop = |_| {
            count += 1;
            count < 5
        };
        generate_each(&mut engine, &parameters, &[1], options, stop).unwrap();
        assert_eq!(count, 5);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits = [0.0, 2.0_f32.ln(), f32::MIN];
        let mut draws = Draws::new(5);
        let mut counts = [0; 3];
        for _ in 0..3000 {
            counts[choose(&logits, &GenerateOptions::default(), || draws.next()).unwrap() as usize] += 1;
        }
        assert!((900..1100).contains(&counts[0]), "{counts:?}");
        assert_eq!(counts[2], 0);
        let greedy = GenerateOptions { temperature: 0.0, ..GenerateOptions::default() };
        assert_eq!(choose(&logits, &greedy, || 0.0), Some(1));
        assert_eq!(choose(&[0.0, f32::NAN], &greedy, || 0.0), None);
    }

    #[test]
    fn unlikely_tokens_are_left_out() {
        // Probabilities 0.1, 0.4, 0.2 and 0.3; what is left of them for each share.
        let logits = [0.1_f32, 0.4, 0.2, 0.3].map(f32::ln);
        for (top_p, kept) in [
            (0.01, [false, true, false, false]),
            (0.39, [false, true, false, false]),
            (0.41, [false, true, false, true]),
            (0.69, [false, true, false, true]),
            (0.71, [false, true, true, true]),
            (0.95, [true; 4]),
            (1.0, [true; 4]),
        ] {
            let options = GenerateOptions { top_p, ..GenerateOptions::default() };
            let mut seen = [false; 4];
            for draw in 0..1000 {
                seen[choose(&logits, &options, || f64::from(draw) / 1000.0).unwrap() as usize] = true;
            }
            assert_eq!(seen, kept, "{top_p}");
        }
    }

    #[test]
    fn bad_requests_are_refused() {
        let config = ModelConfig::default();
        let mut engine = Engine::new(&config, 1, 1).unwrap();
        let parameters = initial_parameters(&config, 3);
        let options = GenerateOptions { tokens: 1, ..GenerateOptions::default() };
        let mut check = |prompt: &[u32], options, message: &str| {
            let error = generate(&mut engine, &parameters, prompt, options).unwrap_err();
            assert_eq!(error.to_string(), message);
        };
        check(&[], options, "the prompt is empty: give at least one token");
        let negative = GenerateOptions { temperature: -1.0, ..options };
        check(&[1], negative, "temperature is -1: it must be 0 or a positive number");
        for top_p in [0.0, -0.5, 1.5, f32::NAN] {
            let message = format!("top-p is {top_p}: it must be above 0 and at most 1");
            check(&[1], GenerateOptions { top_p, ..options }, &message);
        }
        let message = "token id 256 is outside the vocabulary of 256: was the text prepared with another tokenizer?";
        check(&[256], options, message);
    }
}
