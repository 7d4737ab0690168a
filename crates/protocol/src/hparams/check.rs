//! One line for each rule that settings must obey.

use super::{Compression, Hparams, HparamsError, Inner, ModelShape, PRESET_BYTES_MAX, ScoringRules, Time};

type Check = Result<(), HparamsError>;

pub(super) fn all(hparams: &Hparams) -> Check {
    let named = !hparams.preset.is_empty() && hparams.preset.len() <= PRESET_BYTES_MAX;
    rule("preset", "a name of 1 to 32 bytes", named)?;
    time(&hparams.time)?;
    model(&hparams.model)?;
    inner(&hparams.inner)?;
    rule("outer.rate", "above 0 and at most 10", within(hparams.outer.rate, 0.0, 10.0))?;
    compression(&hparams.compression)?;
    rule("data.slots", "1 to 65536", (1..=65_536).contains(&hparams.data.slots))?;
    scoring(&hparams.scoring)
}

fn time(time: &Time) -> Check {
    rule("time.window_blocks", "4 to 1000000", (4..=1_000_000).contains(&time.window_blocks))?;
    rule("time.submit_by", "at least 1 and below time.attest_by", (1..time.attest_by).contains(&time.submit_by))?;
    rule("time.attest_by", "below time.gather_by", time.attest_by < time.gather_by)?;
    rule("time.gather_by", "below time.window_blocks", time.gather_by < time.window_blocks)?;
    rule("time.block_millis", "1 to 3600000", (1..=3_600_000).contains(&time.block_millis))
}

fn model(model: &ModelShape) -> Check {
    rule("model.vocab", "2 to 4194304", (2..=1 << 22).contains(&model.vocab))?;
    rule("model.width", "2 to 65536", (2..=65_536).contains(&model.width))?;
    rule("model.layers", "1 to 1024", (1..=1024).contains(&model.layers))?;
    let heads = (1..=1024).contains(&model.heads) && model.width.is_multiple_of(2 * model.heads);
    rule("model.heads", "1 to 1024, with an even width for each head", heads)?;
    let shared = model.kv_heads >= 1 && model.heads.is_multiple_of(model.kv_heads);
    rule("model.kv_heads", "a divisor of model.heads", shared)?;
    rule("model.ffn", "1 to 1048576", (1..=1 << 20).contains(&model.ffn))?;
    rule("model.context", "1 to 1048576", (1..=1 << 20).contains(&model.context))?;
    rule("model.rope_base", "above 1 and at most 1e9", within(model.rope_base, 1.0, 1e9))?;
    rule("model.norm_eps", "above 0 and at most 0.1", within(model.norm_eps, 0.0, 0.1))
}

fn inner(inner: &Inner) -> Check {
    rule("inner.steps", "1 to 100000", (1..=100_000).contains(&inner.steps))?;
    rule("inner.batch", "1 to 100000", (1..=100_000).contains(&inner.batch))?;
    rule("inner.batch", "so small that a window has at most 2^31 samples", samples_fit(inner))?;
    rule("inner.rate", "above 0 and at most 1", within(inner.rate, 0.0, 1.0))?;
    rule("inner.beta1", "at least 0 and below 1", (0.0..1.0).contains(&inner.beta1))?;
    rule("inner.beta2", "at least 0 and below 1", (0.0..1.0).contains(&inner.beta2))?;
    rule("inner.eps", "above 0 and at most 0.1", within(inner.eps, 0.0, 0.1))?;
    rule("inner.weight_decay", "0 to 10", (0.0..=10.0).contains(&inner.weight_decay))?;
    rule("inner.clip", "above 0 and at most 1e6", within(inner.clip, 0.0, 1e6))?;
    rule("inner.warmup", "below inner.total", inner.warmup < inner.total)?;
    rule("inner.floor", "0 to 1", (0.0..=1.0).contains(&inner.floor))
}

fn samples_fit(inner: &Inner) -> bool {
    u64::from(inner.steps) * u64::from(inner.batch) <= 1 << 31
}

fn compression(compression: &Compression) -> Check {
    let edge = compression.edge;
    rule("compression.edge", "1 to 256", (1..=256).contains(&edge))?;
    rule("compression.top_k", "1 to the square of compression.edge", (1..=edge * edge).contains(&compression.top_k))?;
    rule("compression.decay", "0 to 1", (0.0..=1.0).contains(&compression.decay))
}

fn scoring(scoring: &ScoringRules) -> Check {
    rule("scoring.step_factor", "above 0 and at most 10", within(scoring.step_factor, 0.0, 10.0))?;
    rule("scoring.sequences", "2 to 65536", (2..=65_536).contains(&scoring.sequences))?;
    rule("scoring.evaluations", "1 to 65536", (1..=65_536).contains(&scoring.evaluations))?;
    rule("scoring.overlap_max", "above 0 and at most 1", within(scoring.overlap_max, 0.0, 1.0))?;
    rule("scoring.max_entries", "1 to 65536", (1..=65_536).contains(&scoring.max_entries))?;
    rule("scoring.weights_every", "1 to 1000000", (1..=1_000_000).contains(&scoring.weights_every))?;
    rule("scoring.checkpoint_every", "1 to 1000000", (1..=1_000_000).contains(&scoring.checkpoint_every))?;
    rule("scoring.rating_beta", "above 0 and at most 1000", within(scoring.rating_beta, 0.0, 1000.0))?;
    rule("scoring.rating_tau", "0 to 1000", (0.0..=1000.0).contains(&scoring.rating_tau))?;
    rule("scoring.average", "above 0 and at most 1", within(scoring.average, 0.0, 1.0))?;
    rule("scoring.power", "above 0 and at most 16", within(scoring.power, 0.0, 16.0))
}

/// Above `low` and at most `high`; false for NaN.
fn within(value: f32, low: f32, high: f32) -> bool {
    value > low && value <= high
}

fn rule(field: &'static str, must: &'static str, holds: bool) -> Check {
    if holds { Ok(()) } else { Err(HparamsError::Field { field, must }) }
}
