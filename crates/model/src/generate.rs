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
    /// Seed of the draws.
    pub seed: u64,
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
/// If prompt, parameters or temperature do not fit.
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
    if !(options.temperature >= 0.0 && options.temperature.is_finite()) {
        return Err(GenerateError::Temperature(options.temperature));
    }
    let context = engine.config().context;
    let mut draws = Draws::new(options.seed);
    // The tokens that the engine remembers, and one that it has not seen if there is any.
    let mut window = prompt[prompt.len().saturating_sub(context)..].to_vec();
    let mut logits = engine.begin(parameters, &window)?;
    for left in (0..options.tokens).rev() {
        let id = choose(&logits, options.temperature, || draws.next()).ok_or(GenerateError::NotFinite)?;
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

/// A token id, or none if the logits are not finite.
fn choose(logits: &[f32], temperature: f32, draw: impl FnOnce() -> f64) -> Option<u32> {
    let (likeliest, top) = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    if !logits.iter().all(|logit| logit.is_finite()) {
        return None;
    }
    if temperature == 0.0 {
        return u32::try_from(likeliest).ok();
    }
    let weight = |logit: f32| f64::from((logit - top) / temperature).exp();
    let mut left = draw() * logits.iter().map(|&logit| weight(logit)).sum::<f64>();
    let chosen = logits.iter().position(|&logit| {
        left -= weight(logit);
        left < 0.0
    });
    u32::try_from(chosen.unwrap_or(likeliest)).ok()
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
        let options = GenerateOptions { tokens: 20, temperature: 1.0, seed: 1 };
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
        let options = GenerateOptions { tokens: 13, temperature: 0.0, seed: 1 };
        let mut window = vec![7, 8, 9];
        let mut expected = Vec::new();
        for _ in 0..options.tokens {
            let logits = engine.next_logits(&parameters, &window).unwrap();
            expected.push(choose(&logits, 0.0, || 0.0).unwrap());
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
        let options = GenerateOptions { tokens: 100, temperature: 1.0, seed: 1 };
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
            counts[choose(&logits, 1.0, || draws.next()).unwrap() as usize] += 1;
        }
        assert!((900..1100).contains(&counts[0]), "{counts:?}");
        assert_eq!(counts[2], 0);
        assert_eq!(choose(&logits, 0.0, || 0.0), Some(1));
        assert_eq!(choose(&[0.0, f32::NAN], 1.0, || 0.0), None);
    }

    #[test]
    fn bad_requests_are_refused() {
        let config = ModelConfig::default();
        let mut engine = Engine::new(&config, 1, 1).unwrap();
        let parameters = initial_parameters(&config, 3);
        let options = GenerateOptions { tokens: 1, temperature: 1.0, seed: 1 };
        let mut check = |prompt: &[u32], options, message: &str| {
            let error = generate(&mut engine, &parameters, prompt, options).unwrap_err();
            assert_eq!(error.to_string(), message);
        };
        check(&[], options, "the prompt is empty: give at least one token");
        let negative = GenerateOptions { temperature: -1.0, ..options };
        check(&[1], negative, "temperature is -1: it must be 0 or a positive number");
        let message = "token id 256 is outside the vocabulary of 256: was the text prepared with another tokenizer?";
        check(&[256], options, message);
    }
}
