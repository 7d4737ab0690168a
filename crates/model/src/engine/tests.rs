//! The engine against the reference and against finite differences.

use super::*;
use crate::{Reference, RopeScaling, initial_parameters};

/// Shapes that differ in all that the engine treats apart.
fn shapes() -> Vec<ModelConfig> {
    let small = ModelConfig {
        vocab: 31,
        width: 24,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        ffn: 40,
        context: 10,
        ..ModelConfig::default()
    };
    let scaling = RopeScaling { factor: 4.0, low_frequency: 1.0, high_frequency: 4.0, original_context: 16 };
    vec![
        small.clone(),
        ModelConfig { tied: true, ..small.clone() },
        ModelConfig { attention_bias: true, mlp_bias: true, kv_heads: 1, ..small.clone() },
        ModelConfig { rope_scaling: Some(scaling), kv_heads: 4, layers: 1, ..small.clone() },
        ModelConfig { width: 48, heads: 3, kv_heads: 3, ffn: 65, context: 70, vocab: 300, ..small },
    ]
}

/// Parameters far enough from their start that every term matters.
fn parameters(config: &ModelConfig) -> Vec<f32> {
    let noise = initial_parameters(&ModelConfig { attention_bias: false, mlp_bias: false, ..config.clone() }, 11);
    let shift = noise.iter().cycle().skip(17);
    initial_parameters(config, 4).iter().zip(shift).map(|(&x, &y)| 4.0 * x.min(0.25) + 3.0 * y.min(0.05)).collect()
}

fn ids(config: &ModelConfig, rows: usize, columns: usize) -> Vec<u32> {
    let draw = |i: usize| (i * 7919 + i * i * 31 + 13) % config.vocab;
    (0..rows * columns).map(|i| draw(i) as u32).collect()
}

/// Greatest difference over the tensor's greatest value.
fn error(found: &[f32], expected: &[f64]) -> f64 {
    let scale = expected.iter().fold(0.0, |top: f64, x| top.max(x.abs()));
    let worst = found.iter().zip(expected).map(|(&f, e)| (f64::from(f) - e).abs()).fold(0.0, f64::max);
    worst / scale
}

#[test]
fn loss_and_every_gradient_agree_with_the_reference() {
    for config in shapes() {
        let (rows, columns) = (3, config.context + 1);
        let (parameters, ids) = (parameters(&config), ids(&config, rows, columns));
        let batch = Tokens { ids: &ids, rows, columns };
        let mut gradient = vec![f32::NAN; config.count()];
        let mut engine = Engine::new(&config, 2, 1).unwrap();
        let loss = engine.loss_and_gradient(&parameters, &batch, &mut gradient).unwrap();
        let wide: Vec<f64> = parameters.iter().map(|&x| f64::from(x)).collect();
        let (expected, wide) = Reference::new(&config).unwrap().loss_and_gradient_f64(&wide, &batch).unwrap();
        assert!((f64::from(loss) - expected).abs() < 1e-5 * expected, "{config:?}: {loss} {expected}");
        for spec in config.parameters() {
            assert!(wide[spec.range()].iter().any(|&x| x != 0.0), "{} has no gradient", spec.name);
            let error = error(&gradient[spec.range()], &wide[spec.range()]);
            assert!(error < 1e-5, "{config:?}: {} {error}", spec.name);
        }
    }
}

#[test]
fn the_reference_in_f32_agrees_too() {
    let config = &shapes()[0];
    let (parameters, ids) = (parameters(config), ids(config, 2, 8));
    let batch = Tokens { ids: &ids, rows: 2, columns: 8 };
    let run = |executor: &mut dyn Executor| {
        let mut gradient = vec![0.0; config.count()];
        let loss = executor.loss_and_gradient(&parameters, &batch, &mut gradient).unwrap();
        (loss, executor.forward_losses(&parameters, &batch).unwrap(), gradient)
    };
    let (loss, losses, gradient) = run(&mut Engine::new(config, 2, 1).unwrap());
    let (expected, rows, wide) = run(&mut Reference::new(config).unwrap());
    let wide: Vec<f64> = wide.into_iter().map(f64::from).collect();
    assert!((loss - expected).abs() < 1e-5 * expected);
    assert!(losses.iter().zip(&rows).all(|(a, b)| (a - b).abs() < 1e-5 * b), "{losses:?} {rows:?}");
    assert!(error(&gradient, &wide) < 1e-5);
}

#[test]
fn gradients_agree_with_finite_differences() {
    for config in shapes().into_iter().take(3) {
        let (parameters, ids) = (parameters(&config), ids(&config, 2, 7));
        let batch = Tokens { ids: &ids, rows: 2, columns: 7 };
        let mut gradient = vec![0.0; config.count()];
        Engine::new(&config, 2, 1).unwrap().loss_and_gradient(&parameters, &batch, &mut gradient).unwrap();
        let reference = Reference::new(&config).unwrap();
        let mut wide: Vec<f64> = parameters.iter().map(|&x| f64::from(x)).collect();
        for spec in config.parameters() {
            let slopes = &gradient[spec.range()];
            let steepest = (0..slopes.len()).max_by(|&a, &b| slopes[a].abs().total_cmp(&slopes[b].abs())).unwrap();
            for at in [steepest, spec.len() / 2] {
                let expected = slope(&reference, &batch, &mut wide, spec.offset + at);
                let error = (f64::from(slopes[at]) - expected).abs() / f64::from(slopes[steepest].abs());
                assert!(error < 2e-5, "{} {at}: {} {expected}", spec.name, slopes[at]);
            }
        }
    }
}

/// Central difference of the loss by one parameter.
fn slope(reference: &Reference, batch: &Tokens<'_>, parameters: &mut [f64], at: usize) -> f64 {
    let start = parameters[at];
    let [above, below] = [1e-5, -1e-5].map(|shift| {
        parameters[at] = start + shift;
        reference.loss_f64(parameters, batch).unwrap()
    });
    parameters[at] = start;
    (above - below) / 2e-5
}

#[test]
fn two_threads_give_the_same_bits() {
    for config in [ModelConfig { layers: 2, ..ModelConfig::default() }, shapes().remove(4)] {
        let (parameters, ids) = (parameters(&config), ids(&config, 5, config.context + 1));
        let batch = Tokens { ids: &ids, rows: 5, columns: config.context + 1 };
        let run = |threads: usize| {
            let mut engine = Engine::new(&config, 4, threads).unwrap();
            let mut gradient = vec![0.0; config.count()];
            let loss = engine.loss_and_gradient(&parameters, &batch, &mut gradient).unwrap();
            (loss, engine.forward_losses(&parameters, &batch).unwrap(), gradient)
        };
        let alone = run(1);
        assert!(run(2) == alone && run(3) == alone);
    }
}

#[test]
fn parts_add_up_to_the_whole() {
    let config = ModelConfig { layers: 2, ..ModelConfig::default() };
    let (parameters, ids) = (parameters(&config), ids(&config, 5, 30));
    let batch = Tokens { ids: &ids, rows: 5, columns: 30 };
    let run = |rows_max: usize| {
        let mut gradient = vec![0.0; config.count()];
        let mut engine = Engine::new(&config, rows_max, 1).unwrap();
        let loss = engine.loss_and_gradient(&parameters, &batch, &mut gradient).unwrap();
        let losses = engine.forward_losses(&parameters, &batch).unwrap();
        assert!((losses.iter().sum::<f32>() / 5.0 - loss).abs() < 1e-5);
        (loss, gradient.into_iter().map(f64::from).collect::<Vec<_>>())
    };
    let (loss, whole) = run(5);
    for rows_max in [1, 2, 8] {
        let (other, parts) = run(rows_max);
        let parts: Vec<f32> = parts.into_iter().map(|x| x as f32).collect();
        assert!((loss - other).abs() < 1e-5 && error(&parts, &whole) < 1e-5, "{rows_max}");
    }
}

#[test]
fn recomputing_changes_no_bit() {
    for config in shapes() {
        let config = ModelConfig { layers: 3, ..config };
        let (parameters, ids) = (parameters(&config), ids(&config, 5, config.context + 1));
        let batch = Tokens { ids: &ids, rows: 5, columns: config.context + 1 };
        let run = |engine: Engine| {
            let mut engine = engine;
            let mut gradient = vec![0.0; config.count()];
            let loss = engine.loss_and_gradient(&parameters, &batch, &mut gradient).unwrap();
            (loss, gradient)
        };
        let engine = || Engine::new(&config, 2, 1).unwrap();
        assert!(run(engine()) == run(engine().recomputing()));
    }
}

#[test]
fn next_logits_are_those_of_the_last_token() {
    let config = shapes().remove(1);
    let (parameters, ids) = (parameters(&config), ids(&config, 1, 10));
    let mut engine = Engine::new(&config, 1, 1).unwrap();
    let logits = engine.next_logits(&parameters, &ids[..9]).unwrap();
    let likelihood = |target: u32| {
        let total: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
        total.ln() - f64::from(logits[target as usize])
    };
    // The mean losses of 9 and of 8 targets differ by the loss of the last.
    let mut mean = |columns: usize| {
        let batch = Tokens { ids: &ids[..columns], rows: 1, columns };
        f64::from(engine.forward_losses(&parameters, &batch).unwrap()[0])
    };
    let last = 9.0 * mean(10) - 8.0 * mean(9);
    assert!((last - likelihood(ids[9])).abs() < 1e-4, "{last} {}", likelihood(ids[9]));
}

#[test]
fn what_does_not_fit_is_refused() {
    let config = shapes().remove(0);
    let mut engine = Engine::new(&config, 2, 1).unwrap();
    let parameters = parameters(&config);
    let mut check = |ids: &[u32], rows: usize, columns: usize, message: &str| {
        let error = engine.forward_losses(&parameters, &Tokens { ids, rows, columns }).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    };
    check(&[], 0, 5, "give rows × columns ids");
    check(&[1, 2], 2, 1, "give rows × columns ids");
    check(&[1, 2, 3], 1, 2, "give rows × columns ids");
    check(&[1; 4], usize::MAX, 4, "give rows × columns ids");
    check(&[1; 12], 1, 12, "this model takes at most 11");
    check(&[1, 31], 1, 2, "token id 31 is outside the vocabulary of 31");
    let batch = Tokens { ids: &[1, 2], rows: 1, columns: 2 };
    let error = engine.forward_losses(&parameters[1..], &batch).unwrap_err();
    assert!(matches!(error, StepError::WrongLength { .. }));
    let error = engine.loss_and_gradient(&parameters, &batch, &mut [0.0]).unwrap_err();
    assert!(matches!(error, StepError::WrongLength { what: "gradient vector", .. }));
    assert!(matches!(Engine::new(&config, 0, 1), Err(EngineError::Rows { .. })));
}

#[test]
fn training_lowers_the_loss() {
    let config = ModelConfig { layers: 1, width: 32, heads: 2, kv_heads: 1, ffn: 64, ..ModelConfig::default() };
    let (mut parameters, mut engine) = (initial_parameters(&config, 1), Engine::new(&config, 4, 1).unwrap());
    let mut optimizer = crate::AdamW::new(crate::AdamWConfig::default(), &config.parameters());
    let mut gradient = vec![0.0; config.count()];
    // Each token is the one before plus three.
    let ids: Vec<u32> = (0..4).flat_map(|row| (0..33).map(move |i| (row * 40 + i * 3) % 256)).collect();
    let batch = Tokens { ids: &ids, rows: 4, columns: 33 };
    let mut losses = Vec::new();
    for _ in 0..60 {
        losses.push(engine.loss_and_gradient(&parameters, &batch, &mut gradient).unwrap());
        optimizer.step(&mut parameters, &gradient, 1e-2);
    }
    assert!((losses[0] - 256.0_f32.ln()).abs() < 0.2 && losses[59] < 0.5, "{} {}", losses[0], losses[59]);
}
