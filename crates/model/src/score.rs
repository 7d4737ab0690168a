//! How likely a model finds given texts: what perplexity and benchmarks with answers to choose from are made of.

use crate::engine::Engine;
use crate::executor::{StepError, Tokens};

/// Tokens whose likelihood is asked for, and those before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Continuation<'a> {
    /// What comes before; at least one token, such as the one that ends a text. Where both are longer than the model's
    /// context, the first of these are left out.
    pub before: &'a [u32],
    /// The tokens asked for: at least one, and no more than the model's context.
    pub tokens: &'a [u32],
}

/// How likely a continuation is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likelihood {
    /// Sum of the natural logarithms of the tokens' probabilities, each after all tokens before it.
    pub log_probability: f64,
    /// Number of those tokens.
    pub tokens: usize,
    /// Whether each of them was the likeliest: greedy generation would have written them.
    pub greedy: bool,
}

/// Why no likelihood was computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// There is nothing before or nothing asked for.
    #[error("continuation {index} needs at least one token and at least one before it")]
    Empty {
        /// Its place in the list.
        index: usize,
    },
    /// More is asked for than the model can see at once.
    #[error("continuation {index} has {tokens} tokens: this model takes at most {context}")]
    TooLong {
        /// Its place in the list.
        index: usize,
        /// Its tokens.
        tokens: usize,
        /// The model's context.
        context: usize,
    },
    /// The model could not be run.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// The likelihood of each continuation, in the order given.
///
/// Those of like length are worked on together, as many as the engine holds at once.
///
/// # Errors
/// If a continuation or the parameter vector does not fit the model.
pub fn log_likelihoods(
    engine: &mut Engine,
    parameters: &[f32],
    continuations: &[Continuation<'_>],
) -> Result<Vec<Likelihood>, ScoreError> {
    let context = engine.config().context;
    for (index, continuation) in continuations.iter().enumerate() {
        continuation.check(index, context)?;
    }
    let mut order: Vec<usize> = (0..continuations.len()).collect();
    order.sort_by_key(|&index| continuations[index].seen(context));
    let none = Likelihood { log_probability: 0.0, tokens: 0, greedy: true };
    let mut likelihoods = vec![none; continuations.len()];
    for group in order.chunks(engine.rows_max()) {
        let columns = group.iter().map(|&index| continuations[index].seen(context)).max().unwrap_or(0);
        let ids: Vec<u32> = group.iter().flat_map(|&index| continuations[index].row(context, columns)).collect();
        let batch = Tokens { ids: &ids, rows: group.len(), columns };
        let (losses, likeliest) = engine.token_losses(parameters, &batch)?;
        let rows = losses.chunks_exact(columns - 1).zip(likeliest.chunks_exact(columns - 1));
        for (&index, (losses, likeliest)) in group.iter().zip(rows) {
            let tokens = continuations[index].tokens.len();
            let end = continuations[index].seen(context) - 1;
            likelihoods[index] = Likelihood {
                log_probability: -losses[end - tokens..end].iter().map(|&loss| f64::from(loss)).sum::<f64>(),
                tokens,
                greedy: likeliest[end - tokens..end].iter().all(|&is| is),
            };
        }
    }
    Ok(likelihoods)
}

/// A long text as continuations of which each token but the first is asked for exactly once, `stride` at a time, with
/// all that a context of that many tokens lets see before them.
///
/// A small stride gives each token more to go by and costs more passes; `stride` is held between 1 and `context`.
pub fn text_windows(text: &[u32], context: usize, stride: usize) -> Vec<Continuation<'_>> {
    let stride = stride.clamp(1, context.max(1));
    let mut windows = Vec::new();
    let mut done = 1;
    while done < text.len() {
        let step = if done == 1 { context.max(1) } else { stride };
        let end = (done + step).min(text.len());
        let begin = end.saturating_sub(context + 1).min(done - 1);
        windows.push(Continuation { before: &text[begin..done], tokens: &text[done..end] });
        done = end;
    }
    windows
}

impl Continuation<'_> {
    fn check(&self, index: usize, context: usize) -> Result<(), ScoreError> {
        let tokens = self.tokens.len();
        if self.before.is_empty() || tokens == 0 {
            return Err(ScoreError::Empty { index });
        }
        if tokens > context { Err(ScoreError::TooLong { index, tokens, context }) } else { Ok(()) }
    }

    /// Tokens that the model is given, the last target included.
    fn seen(&self, context: usize) -> usize {
        (self.before.len() + self.tokens.len()).min(context + 1)
    }

    /// Those, filled up to `columns`: what stands after a token does not change its likelihood.
    fn row(&self, context: usize, columns: usize) -> impl Iterator<Item = u32> {
        let seen = self.seen(context);
        let before = &self.before[self.before.len() + self.tokens.len() - seen..];
        before.iter().chain(self.tokens).copied().chain(std::iter::repeat_n(0, columns - seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GenerateOptions, ModelConfig, generate, initial_parameters};
    use proptest::prelude::*;

    fn small() -> ModelConfig {
        ModelConfig { vocab: 40, context: 12, layers: 2, ..ModelConfig::default() }
    }

    fn model(rows: usize) -> (Engine, Vec<f32>) {
        // Larger than at the start of a training, so that probabilities differ.
        let parameters = initial_parameters(&small(), 3).iter().map(|value| 3.0 * value).collect();
        (Engine::new(&small(), rows, 1).unwrap(), parameters)
    }

    /// The sum over the tokens of log softmax, one token at a time.
    fn slowly(continuation: &Continuation<'_>) -> (f64, bool) {
        let (mut engine, parameters) = model(1);
        let mut seen = continuation.before.to_vec();
        let (mut sum, mut greedy) = (0.0, true);
        for &token in continuation.tokens {
            let begin = seen.len().saturating_sub(small().context);
            let logits = engine.next_logits(&parameters, &seen[begin..]).unwrap();
            let total: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
            sum += f64::from(logits[token as usize]) - total.ln();
            greedy &= logits.iter().all(|&logit| logit <= logits[token as usize]);
            seen.push(token);
        }
        (sum, greedy)
    }

    #[test]
    fn many_at_once_are_as_likely_as_one_by_one() {
        let ids: Vec<u32> = (0..60).map(|at| at * at % 37).collect();
        let asked: Vec<Continuation<'_>> = [(0, 1, 2), (3, 9, 13), (5, 6, 17), (20, 24, 25), (30, 31, 42), (7, 12, 19)]
            .map(|(begin, middle, end)| Continuation { before: &ids[begin..middle], tokens: &ids[middle..end] })
            .to_vec();
        for rows in [1, 2, 4, 16] {
            let (mut engine, parameters) = model(rows);
            let found = log_likelihoods(&mut engine, &parameters, &asked).unwrap();
            for (asked, found) in asked.iter().zip(found) {
                let (sum, greedy) = slowly(asked);
                assert!((found.log_probability - sum).abs() < 1e-4, "{asked:?}: {found:?}, not {sum}");
                assert_eq!((found.tokens, found.greedy), (asked.tokens.len(), greedy));
            }
        }
    }

    #[test]
    fn what_the_model_writes_is_greedy() {
        let (mut engine, parameters) = model(2);
        let options = GenerateOptions { tokens: 6, temperature: 0.0, ..GenerateOptions::default() };
        let written = generate(&mut engine, &parameters, &[5, 6], options).unwrap();
        let mut other = written.clone();
        other[5] = (other[5] + 1) % 40;
        let ask = |tokens| Continuation { before: &[5, 6], tokens };
        let found = log_likelihoods(&mut engine, &parameters, &[ask(&written), ask(&other)]).unwrap();
        assert_eq!([found[0].greedy, found[1].greedy], [true, false]);
        assert!(found[0].log_probability > found[1].log_probability);
    }

    #[test]
    fn only_the_newest_tokens_are_seen() {
        let ids: Vec<u32> = (0..25).map(|at| at * at % 37).collect();
        let (mut engine, parameters) = model(2);
        let ask = |begin: usize| Continuation { before: &ids[begin..20], tokens: &ids[20..] };
        let found = log_likelihoods(&mut engine, &parameters, &[ask(0), ask(12)]).unwrap();
        assert_eq!(found[0], found[1]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (mut engine, parameters) = model(2);
        let mut check = |before: &[u32], tokens: &[u32], message: &str| {
            let good = Continuation { before: &[1], tokens: &[2] };
            let asked = [good, Continuation { before, tokens }];
            let error = log_likelihoods(&mut engine, &parameters, &asked).unwrap_err();
            assert_eq!(error.to_string(), message);
        };
        check(&[], &[1], "continuation 1 needs at least one token and at least one before it");
        check(&[1], &[], "continuation 1 needs at least one token and at least one before it");
        check(&[1], &[2; 13], "continuation 1 has 13 tokens: this model takes at most 12");
        let message = "token id 40 is outside the vocabulary of 40: was the text prepared with another tokenizer?";
        check(&[1], &[40], message);
        assert_eq!(log_likelihoods(&mut engine, &parameters, &[]), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn windows_ask_for_each_token_once(len in 0_usize..200, context in 1_usize..40, stride in 0_usize..50) {
            let text: Vec<u32> = (0..len as u32).collect();
            let windows = text_windows(&text, context, stride);
            let asked: Vec<u32> = windows.iter().flat_map(|window| window.tokens).copied().collect();
            prop_assert_eq!(&asked[..], text.get(1..).unwrap_or(&[]));
            for window in &windows {
                prop_assert!(window.check(0, context).is_ok());
                prop_assert!(window.before.len() + window.tokens.len() <= context + 1);
                prop_assert_eq!(window.before.last().unwrap() + 1, window.tokens[0]);
                // All that can be seen is seen.
                let first = window.before[0] as usize;
                prop_assert!(first == 0 || window.before.len() + window.tokens.len() == context + 1);
            }
        }
    }
}
