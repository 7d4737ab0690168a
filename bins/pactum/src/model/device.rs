//! What a training step takes of a device's memory.

use pactum_cli::Failure;
use pactum_model::ModelConfig;

#[cfg(not(feature = "cuda"))]
pub(super) fn plan(_config: &ModelConfig, _batch: usize, _memory: Option<u64>) -> Result<(), Failure> {
    Err(Failure::usage(pactum_node::PlaceError::NoDevices))
}

/// Prints the table, and fails if nothing fits into the memory that was named.
#[cfg(feature = "cuda")]
pub(super) fn plan(config: &ModelConfig, batch: usize, memory: Option<u64>) -> Result<(), Failure> {
    use pactum_cli::output;
    use pactum_model::{DeviceEngine, Precision, bytes_text};

    let fits = |bytes: u64| memory.is_none_or(|memory| bytes <= memory);
    output(format!("memory of a device that trains {batch} sequences of {} tokens in one pass:", config.context))?;
    let mut fitting = false;
    for (name, setting) in [
        ("f32", (Precision::F32, false)),
        ("f32, recomputing", (Precision::F32, true)),
        ("bf16", (Precision::Bf16, false)),
        ("bf16, recomputing", (Precision::Bf16, true)),
    ] {
        let bytes = DeviceEngine::train_bytes(config, batch, setting)?;
        fitting |= fits(bytes);
        let line = format!("  {name:<18}{:>10}", bytes_text(bytes));
        if memory.is_none() {
            output(line)?;
            continue;
        }
        let largest = super::largest(config, |rows| Ok(fits(DeviceEngine::train_bytes(config, rows, setting)?)))?;
        let verdict = if fits(bytes) { "fits" } else { "does not fit" };
        output(format!("{line}  {verdict}; at most {largest}"))?;
    }
    output("the driver and its libraries take some of a device's memory for themselves on top")?;
    if fitting { Ok(()) } else { Err(Failure::new("nothing fits: choose a smaller model, batch or sequence")) }
}
