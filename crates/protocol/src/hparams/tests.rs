use super::{Hparams, HparamsError, run_digest};
use crate::{Digest, PRESETS};

fn tiny() -> Hparams {
    Hparams::preset("tiny").unwrap()
}

#[test]
fn presets_are_valid_and_differ() {
    let digests: std::collections::BTreeSet<Digest> = PRESETS
        .map(|name| {
            let hparams = Hparams::preset(name).unwrap();
            assert_eq!(hparams.preset, name);
            assert_eq!(hparams.validate(), Ok(()), "{name}");
            hparams.digest()
        })
        .into();
    assert_eq!(digests.len(), PRESETS.len());
    assert_eq!(Hparams::preset("huge"), None);
}

#[test]
fn samples_are_steps_times_batch() {
    assert_eq!(tiny().samples(), 240);
}

#[track_caller]
fn check(field: &str, spoil: impl FnOnce(&mut Hparams)) {
    let mut hparams = tiny();
    spoil(&mut hparams);
    let error = hparams.validate().unwrap_err();
    let HparamsError::Field { field: found, must } = error;
    assert_eq!(found, field);
    assert_eq!(error.to_string(), format!("hyperparameter {field} must be {must}"));
}

#[test]
fn time_out_of_range_is_named() {
    check("time.window_blocks", |h| h.time.window_blocks = 0);
    check("time.window_blocks", |h| h.time.window_blocks = u64::MAX);
    check("time.submit_by", |h| h.time.submit_by = 0);
    check("time.submit_by", |h| h.time.submit_by = h.time.attest_by);
    check("time.attest_by", |h| h.time.attest_by = h.time.gather_by);
    check("time.gather_by", |h| h.time.gather_by = h.time.window_blocks);
    check("time.block_millis", |h| h.time.block_millis = 0);
}

#[test]
fn a_model_out_of_range_is_named() {
    check("model.vocab", |h| h.model.vocab = 1);
    check("model.width", |h| h.model.width = 0);
    check("model.layers", |h| h.model.layers = 0);
    check("model.heads", |h| h.model.heads = 0);
    check("model.heads", |h| h.model.heads = 3);
    check("model.heads", |h| h.model.width = 4 * 31);
    check("model.kv_heads", |h| h.model.kv_heads = 0);
    check("model.kv_heads", |h| h.model.kv_heads = 3);
    check("model.ffn", |h| h.model.ffn = 0);
    check("model.context", |h| h.model.context = 0);
    check("model.rope_base", |h| h.model.rope_base = f32::NAN);
    check("model.norm_eps", |h| h.model.norm_eps = 0.0);
}

#[test]
fn an_optimizer_out_of_range_is_named() {
    check("inner.steps", |h| h.inner.steps = 0);
    check("inner.batch", |h| h.inner.batch = 0);
    check("inner.batch", |h| (h.inner.steps, h.inner.batch) = (100_000, 100_000));
    check("inner.rate", |h| h.inner.rate = f32::INFINITY);
    check("inner.beta1", |h| h.inner.beta1 = 1.0);
    check("inner.beta2", |h| h.inner.beta2 = -0.1);
    check("inner.eps", |h| h.inner.eps = 0.0);
    check("inner.weight_decay", |h| h.inner.weight_decay = f32::NAN);
    check("inner.clip", |h| h.inner.clip = 0.0);
    check("inner.warmup", |h| h.inner.warmup = h.inner.total);
    check("inner.floor", |h| h.inner.floor = 1.5);
    check("outer.rate", |h| h.outer.rate = 0.0);
}

#[test]
fn everything_else_out_of_range_is_named() {
    check("preset", |h| h.preset.clear());
    check("preset", |h| h.preset = "x".repeat(33));
    check("compression.edge", |h| h.compression.edge = 0);
    check("compression.top_k", |h| h.compression.top_k = 64 * 64 + 1);
    check("compression.decay", |h| h.compression.decay = 1.1);
    check("data.slots", |h| h.data.slots = 0);
    check("scoring.step_factor", |h| h.scoring.step_factor = 0.0);
    check("scoring.sequences", |h| h.scoring.sequences = 1);
    check("scoring.evaluations", |h| h.scoring.evaluations = 0);
    check("scoring.overlap_max", |h| h.scoring.overlap_max = 0.0);
    check("scoring.max_entries", |h| h.scoring.max_entries = 0);
    check("scoring.weights_every", |h| h.scoring.weights_every = 0);
    check("scoring.checkpoint_every", |h| h.scoring.checkpoint_every = 0);
    check("scoring.rating_beta", |h| h.scoring.rating_beta = 0.0);
    check("scoring.rating_tau", |h| h.scoring.rating_tau = -1.0);
    check("scoring.average", |h| h.scoring.average = 0.0);
    check("scoring.power", |h| h.scoring.power = f32::NAN);
}

#[test]
fn every_setting_changes_the_digest() {
    let spoilers: [fn(&mut Hparams); 8] = [
        |h| h.seed += 1,
        |h| h.dataset = Digest::of(b"data"),
        |h| h.time.block_millis += 1,
        |h| h.model.tied = true,
        |h| h.outer.mean = super::Mean::Peers,
        |h| h.compression.quantiser = super::Quantiser::SignScale,
        |h| h.data.slots += 1,
        |h| h.scoring.power += 0.5,
    ];
    let digests: std::collections::BTreeSet<Digest> = spoilers
        .map(|spoil| {
            let mut hparams = tiny();
            spoil(&mut hparams);
            hparams.digest()
        })
        .into();
    assert_eq!(digests.len(), spoilers.len());
    assert!(!digests.contains(&tiny().digest()));
}

#[test]
fn one_settings_on_two_chains_are_two_runs() {
    let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
    assert_ne!(run_digest(&a, &b), run_digest(&b, &a));
}

#[cfg(feature = "serde")]
#[test]
fn settings_refuse_unknown_fields() {
    let mut json = serde_json::to_value(tiny()).unwrap();
    assert_eq!(serde_json::from_value::<Hparams>(json.clone()).unwrap(), tiny());
    json["inner"]["momentum"] = 1.into();
    assert!(serde_json::from_value::<Hparams>(json).unwrap_err().to_string().contains("momentum"));
}
