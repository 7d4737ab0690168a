//! How fast this machine trains, and how long a window should therefore be.

use std::num::NonZero;
use std::path::Path;
use std::time::{Duration, Instant};

use pactum_cli::Failure;
use pactum_model::{AdamW, Engine, Executor, StepError, Tokens, initial_parameters};
use pactum_node::{Device, Place, learner_config};
use pactum_protocol::Hparams;

/// How long the measurement goes on, at least one step.
const MEASURE: Duration = Duration::from_millis(600);
/// What training beside others costs more than training alone.
const CROWDING: f64 = 1.3;
/// The part of the time until `submit_by` in which a miner trains; it delivers in the rest.
const TRAINING_SHARE: f64 = 7.0 / 8.0;
/// No block is shorter than this, in milliseconds.
const BLOCK_MILLIS_MIN: f64 = 100.0;
/// No window of the smallest preset is longer than this on the processor, in milliseconds: a miner that is not done submits what it has.
const TINY_WINDOW_MILLIS_MAX: f64 = 8_000.0;

/// Sets the time between blocks so that `miners` that share this machine, and its device if they train on one, can make their
/// inner steps. An emulation is built in `folder`.
pub(super) fn set_pace(hparams: &mut Hparams, miners: usize, place: Place, folder: &Path) -> Result<(), Failure> {
    let step = step_millis(hparams, place, folder)?;
    let at_once = match place.device() {
        Device::Cuda => 1,
        Device::Cpu | Device::Emulation => std::thread::available_parallelism().map_or(1, NonZero::get),
    };
    let turns = miners.div_ceil(at_once) as f64;
    let training = f64::from(hparams.inner.steps) * step * turns * CROWDING;
    let block = training / TRAINING_SHARE / hparams.time.submit_by as f64;
    let most = match (hparams.preset.as_str(), place.device()) {
        ("tiny", Device::Cpu) => TINY_WINDOW_MILLIS_MAX / hparams.time.window_blocks as f64,
        _ => f64::INFINITY,
    };
    hparams.time.block_millis = block.min(most).max(BLOCK_MILLIS_MIN).ceil() as u64;
    Ok(())
}

/// How long one inner step takes on one core or on the device, in milliseconds.
fn step_millis(hparams: &Hparams, place: Place, folder: &Path) -> Result<f64, Failure> {
    let learner = learner_config(hparams);
    let (config, rows) = (&learner.model, learner.inner.batch);
    let columns = config.context + 1;
    let ids: Vec<u32> = (0..rows * columns).map(|at| (at * 31 % config.vocab) as u32).collect();
    let batch = Tokens { ids: &ids, rows, columns };
    let parameters = initial_parameters(config, hparams.seed);
    if let Some(mut device) = place.accelerator(&learner, folder)? {
        device.load(&parameters, &AdamW::new(learner.inner.optimizer, &config.parameters()))?;
        return measure(|| device.step(&batch, 0.0).map(|step| step.loss));
    }
    let mut gradient = vec![0.0; parameters.len()];
    let mut engine = Engine::new(config, rows, 1)?;
    measure(|| engine.loss_and_gradient(&parameters, &batch, &mut gradient))
}

/// The mean time of a step, in milliseconds.
fn measure(mut step: impl FnMut() -> Result<f32, StepError>) -> Result<f64, Failure> {
    // The first step also touches its memory for the first time.
    step()?;
    let began = Instant::now();
    let mut steps = 0;
    while steps == 0 || began.elapsed() < MEASURE {
        step()?;
        steps += 1;
    }
    Ok(began.elapsed().as_secs_f64() * 1e3 / f64::from(steps))
}
