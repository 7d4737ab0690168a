//! One body of laws for every device: the kernels' emulation, which is always there, and a CUDA device where one is found.
//! The measure is the reference in f64 and the engine on the processor.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use pactum_kernels::{Device, DeviceError};
use pactum_model::{
    Accelerator, AdamW, AdamWConfig, DeviceEngine, DeviceEngineError, DeviceTrainer, Engine, Executor, ModelConfig,
    Precision, Reference, RopeScaling, StepError, Tokens, initial_parameters,
};

/// The emulation, its threads in an order that a seed chooses, and the CUDA device of this machine if it has one.
fn devices(order: u64) -> Vec<Device> {
    let emulation = Device::emulation_in_order(Path::new(env!("CARGO_TARGET_TMPDIR")), order).unwrap();
    match Device::find() {
        Ok(device) => vec![emulation, device],
        Err(DeviceError::Absent(_)) => vec![emulation],
        Err(error) => panic!("there is a device, but it cannot be used: {error}"),
    }
}

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
        ModelConfig { width: 48, heads: 3, kv_heads: 3, ffn: 65, context: 70, vocab: 300, layers: 1, ..small },
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

/// Loss and every gradient against the reference's in f64.
fn check_gradients(device: &Device, config: &ModelConfig, setting: (Precision, bool), bound: f64) {
    let (rows, columns) = (3, config.context + 1);
    let (parameters, ids) = (parameters(config), ids(config, rows, columns));
    let batch = Tokens { ids: &ids, rows, columns };
    let mut gradient = vec![f32::NAN; config.count()];
    let mut engine = DeviceEngine::new(device, config, 2, setting).unwrap();
    let loss = engine.loss_and_gradient(&parameters, &batch, &mut gradient).unwrap();
    let wide: Vec<f64> = parameters.iter().map(|&x| f64::from(x)).collect();
    let (expected, wide) = Reference::new(config).unwrap().loss_and_gradient_f64(&wide, &batch).unwrap();
    assert!((f64::from(loss) - expected).abs() < bound * expected, "{config:?}: {loss} {expected}");
    for spec in config.parameters() {
        let error = error(&gradient[spec.range()], &wide[spec.range()]);
        assert!(error < bound, "{config:?} {setting:?}: {} {error}", spec.name);
    }
    let again = engine.loss_and_gradient(&parameters, &batch, &mut vec![0.0; config.count()]).unwrap();
    assert_eq!((again, engine.read_gradient().unwrap()), (loss, gradient), "the same bits again");
}

#[test]
fn loss_and_every_gradient_agree_with_the_reference() {
    for (order, config) in shapes().into_iter().enumerate() {
        for device in devices(order as u64) {
            check_gradients(&device, &config, (Precision::F32, false), 1e-5);
        }
    }
}

#[test]
fn in_sixteen_bits_they_agree_to_five_hundredths() {
    for (order, config) in shapes().into_iter().enumerate() {
        for device in devices(order as u64) {
            check_gradients(&device, &config, (Precision::Bf16, false), 5e-2);
        }
    }
}

#[test]
fn recomputing_changes_no_bit() {
    let config = ModelConfig { layers: 3, ..shapes().remove(2) };
    let (parameters, ids) = (parameters(&config), ids(&config, 2, 9));
    let batch = Tokens { ids: &ids, rows: 2, columns: 9 };
    for device in devices(3) {
        for precision in [Precision::F32, Precision::Bf16] {
            let [kept, again] = [false, true].map(|recompute| {
                let mut engine = DeviceEngine::new(&device, &config, 1, (precision, recompute)).unwrap();
                engine.write_parameters(&parameters).unwrap();
                (engine.differentiate(&batch).unwrap(), engine.read_gradient().unwrap())
            });
            assert!(kept == again);
        }
    }
}

#[test]
fn losses_are_those_of_the_processor() {
    let config = shapes().remove(1);
    let parameters = parameters(&config);
    for device in devices(1) {
        let mut there = DeviceEngine::new(&device, &config, 2, (Precision::F32, true)).unwrap();
        let mut here = Engine::new(&config, 2, 1).unwrap();
        for (rows, columns) in [(3, 11), (1, 2), (5, 7)] {
            let ids = ids(&config, rows, columns);
            let batch = Tokens { ids: &ids, rows, columns };
            let expected = here.forward_losses(&parameters, &batch).unwrap();
            let found = there.forward_losses(&parameters, &batch).unwrap();
            assert_eq!(found.len(), rows);
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5 * b), "{found:?} {expected:?}");
        }
    }
}

/// A model that is quickly trained, and rows in which each token is the one before plus three.
fn lesson() -> (ModelConfig, Vec<u32>) {
    let config =
        ModelConfig { vocab: 32, width: 16, layers: 1, heads: 2, kv_heads: 1, ffn: 32, ..ModelConfig::default() };
    (config, (0..4).flat_map(|row| (0..9).map(move |i| (row * 5 + i * 3) % 32)).collect())
}

#[test]
fn training_follows_the_processor_and_lowers_the_loss() {
    let (config, ids) = lesson();
    let batch = Tokens { ids: &ids, rows: 4, columns: 9 };
    for device in devices(5) {
        let (mut here, mut engine) = (initial_parameters(&config, 1), Engine::new(&config, 2, 1).unwrap());
        let mut optimizer = AdamW::new(AdamWConfig::default(), &config.parameters());
        let mut gradient = vec![0.0; config.count()];
        let mut there = DeviceEngine::new(&device, &config, 2, (Precision::F32, false)).unwrap();
        there.write_parameters(&here).unwrap();
        let mut trainer = DeviceTrainer::new(there, AdamWConfig::default()).unwrap();
        let mut losses = Vec::new();
        for _ in 0..20 {
            let step = trainer.step(&batch, 1e-2).unwrap();
            let loss = engine.loss_and_gradient(&here, &batch, &mut gradient).unwrap();
            let report = optimizer.step(&mut here, &gradient, 1e-2);
            assert!((step.loss - loss).abs() < 1e-4 * loss && step.applied, "{} {loss}", step.loss);
            assert!((step.norm - report.norm).abs() < 1e-3 * report.norm, "{} {}", step.norm, report.norm);
            losses.push(step.loss);
        }
        assert!(losses[19] < 0.7 * losses[0], "{losses:?}");
        let wide: Vec<f64> = here.iter().map(|&x| f64::from(x)).collect();
        assert!(error(&trainer.engine().read_parameters().unwrap(), &wide) < 1e-4);
    }
}

#[test]
fn training_in_sixteen_bits_lowers_the_loss() {
    let (config, ids) = lesson();
    let batch = Tokens { ids: &ids, rows: 4, columns: 9 };
    for device in devices(2) {
        let mut engine = DeviceEngine::new(&device, &config, 4, (Precision::Bf16, false)).unwrap();
        engine.write_parameters(&initial_parameters(&config, 1)).unwrap();
        let mut trainer = DeviceTrainer::new(engine, AdamWConfig::default()).unwrap();
        let losses = (0..20).map(|_| trainer.step(&batch, 1e-2).unwrap().loss).collect::<Vec<_>>();
        assert!(losses[19] < 0.7 * losses[0], "{losses:?}");
    }
}

/// Loaded, trained and stored in two parts or in one, on what other settings and work left behind: the same bits.
#[test]
fn what_is_stored_and_loaded_again_trains_on() {
    let (config, ids) = lesson();
    let batch = Tokens { ids: &ids, rows: 4, columns: 9 };
    for device in devices(6) {
        let engine = DeviceEngine::new(&device, &config, 2, (Precision::Bf16, false)).unwrap();
        let mut there = DeviceTrainer::new(engine, AdamWConfig { clip: 7.0, ..AdamWConfig::default() }).unwrap();
        let there: &mut dyn Accelerator = &mut there;
        assert_eq!(*there.model(), config);
        let mut train = |parts: &[usize]| {
            let mut parameters = initial_parameters(&config, 1);
            let mut optimizer = AdamW::new(AdamWConfig::default(), &config.parameters());
            for &steps in parts {
                there.load(&parameters, &optimizer).unwrap();
                (0..steps).for_each(|_| assert!(there.step(&batch, 1e-2).unwrap().applied));
                there.store(&mut parameters, &mut optimizer).unwrap();
                there.forward_losses(&initial_parameters(&config, 2), &batch).unwrap();
            }
            (parameters, optimizer.first_moments().to_vec(), optimizer.second_moments().to_vec(), optimizer.steps())
        };
        let whole = train(&[5]);
        assert_eq!(whole.3, 5);
        assert!(train(&[2, 3]) == whole);

        let mut short = AdamW::new(AdamWConfig::default(), &config.parameters()[1..2]);
        let mut parameters = whole.0.clone();
        for refused in [there.load(&parameters, &short), there.store(&mut parameters, &mut short)] {
            assert!(matches!(refused, Err(StepError::WrongLength { .. })), "{refused:?}");
        }
        assert!(parameters == whole.0);
    }
}

#[test]
fn saved_state_goes_on_with_the_same_bits() {
    let (config, ids) = lesson();
    let batch = Tokens { ids: &ids, rows: 4, columns: 9 };
    for device in devices(4) {
        let make = |parameters: &[f32]| {
            let mut engine = DeviceEngine::new(&device, &config, 4, (Precision::Bf16, false)).unwrap();
            engine.write_parameters(parameters).unwrap();
            DeviceTrainer::new(engine, AdamWConfig::default()).unwrap()
        };
        let mut straight = make(&initial_parameters(&config, 1));
        straight.step(&batch, 1e-2).unwrap();
        let mut resumed = make(&straight.engine().read_parameters().unwrap());
        let [first, second] = straight.moments().unwrap();
        resumed.restore([&first, &second], straight.steps()).unwrap();
        assert_eq!(straight.step(&batch, 1e-2).unwrap(), resumed.step(&batch, 1e-2).unwrap());
        assert_eq!(straight.engine().read_parameters().unwrap(), resumed.engine().read_parameters().unwrap());
        assert!(resumed.restore([&first, &second[1..]], 1).is_err());
        assert!(resumed.restore([&first, &vec![-1.0; second.len()]], 1).is_err());
    }
}

#[test]
fn a_gradient_that_is_not_finite_changes_nothing() {
    let (config, ids) = lesson();
    let batch = Tokens { ids: &ids, rows: 4, columns: 9 };
    let mut bad = initial_parameters(&config, 1);
    bad[5] = f32::INFINITY;
    for device in devices(0) {
        let mut engine = DeviceEngine::new(&device, &config, 4, (Precision::F32, false)).unwrap();
        engine.write_parameters(&bad).unwrap();
        let mut trainer = DeviceTrainer::new(engine, AdamWConfig::default()).unwrap();
        assert!(!trainer.step(&batch, 1e-2).unwrap().applied);
        assert_eq!((trainer.steps(), trainer.engine().read_parameters().unwrap()), (0, bad.clone()));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let config = shapes().remove(0);
    let device = devices(0).remove(0);
    let make = |config: &ModelConfig, rows| DeviceEngine::new(&device, config, rows, (Precision::F32, false));
    assert!(matches!(make(&config, 0), Err(DeviceEngineError::Rows { .. })));
    let wide = ModelConfig { width: 516, heads: 2, kv_heads: 1, ..config.clone() };
    assert!(matches!(make(&wide, 1), Err(DeviceEngineError::Head { found: 258 })));
    let mut engine = make(&config, 1).unwrap();
    let parameters = parameters(&config);
    let batch = Tokens { ids: &[1, 31], rows: 1, columns: 2 };
    let error = engine.forward_losses(&parameters, &batch).unwrap_err();
    assert!(matches!(error, StepError::UnknownToken { id: 31, .. }));
    let batch = Tokens { ids: &[1, 2], rows: 1, columns: 2 };
    let error = engine.loss_and_gradient(&parameters, &batch, &mut [0.0]).unwrap_err();
    assert!(matches!(error, StepError::WrongLength { what: "gradient vector", .. }));
    assert!(matches!(engine.write_parameters(&parameters[1..]), Err(StepError::WrongLength { .. })));
}
