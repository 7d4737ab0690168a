//! Pseudo-gradients of a small model in training.

use pactum_compress::{Quantiser, Settings};
use pactum_learner::{CompressionConfig, InnerConfig, Learner, LearnerConfig, OuterConfig, Weighted};
use pactum_model::{AdamWConfig, ModelConfig, RateSchedule};

use crate::Error;

/// Windows trained before the pseudo-gradient is taken.
const WINDOWS: u64 = 5;
/// Learners that train together.
const PEERS: usize = 2;

/// Error feedback with the newest difference added, as it stands before compression, and the shapes of its tensors.
pub(crate) struct Recorded {
    pub(crate) title: String,
    shapes: Vec<Vec<usize>>,
    feedback: Vec<f32>,
}

impl Recorded {
    /// The matrices of both dimensions from `least` on, with their values.
    pub(crate) fn matrices(&self, least: usize) -> Vec<(&[usize], &[f32])> {
        let mut rest = &self.feedback[..];
        let mut matrices = Vec::new();
        for shape in &self.shapes {
            let (values, after) = rest.split_at(shape.iter().product());
            rest = after;
            if shape.len() == 2 && shape.iter().all(|&dimension| dimension >= least) {
                matrices.push((&shape[..], values));
            }
        }
        matrices
    }

    /// Reads what the example `record_gradients` wrote: 64-bit numbers, how many tensors and for each how many dimensions
    /// and which; then all values as `f32`.
    pub(crate) fn read(file: &str) -> Result<Recorded, Error> {
        let bytes = std::fs::read(file)?;
        let mut rest = &bytes[..];
        let mut number = || -> Result<usize, Error> {
            let (first, after) = rest.split_first_chunk::<8>().ok_or("the file is cut short")?;
            rest = after;
            Ok(usize::try_from(u64::from_le_bytes(*first))?)
        };
        let mut shapes = Vec::new();
        for _ in 0..number()? {
            let dimensions = number()?;
            shapes.push((0..dimensions).map(|_| number()).collect::<Result<Vec<_>, _>>()?);
        }
        let feedback = rest.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<_>>();
        let expected = shapes.iter().map(|shape| shape.iter().product::<usize>()).sum::<usize>();
        if feedback.len() != expected {
            return Err(format!("{} values for tensors of {expected}", feedback.len()).into());
        }
        Ok(Recorded { title: file.into(), shapes, feedback })
    }

    /// Trains a byte-level model on the project's own text.
    pub(crate) fn of_width(width: usize) -> Result<Recorded, Error> {
        record(width)
    }
}

/// Trains a byte-level model on the project's own text for some windows, with compression and error feedback, and
/// returns what the first learner is about to compress.
fn record(width: usize) -> Result<Recorded, Error> {
    let text = own_text()?;
    let config = config(width);
    let shapes = config.model.parameters().into_iter().map(|parameter| parameter.shape).collect();
    let mut learners = (0..PEERS).map(|_| Learner::new(config.clone(), 1)).collect::<Result<Vec<_>, _>>()?;
    let mut loss = 0.0;
    for window in 0..WINDOWS {
        let mut payloads = Vec::new();
        for (peer, learner) in learners.iter_mut().enumerate() {
            let rows = config.inner.batch;
            let mut batches = |step: u32| Some(batch(&text, rows, config.model.context, (window, peer, step)));
            loss = learner.inner_steps(&mut batches, config.inner.steps, &mut || true)?.loss;
            payloads.push(learner.compress().ok_or("no step was made")?);
        }
        if window + 1 == WINDOWS {
            break;
        }
        let updates = payloads.iter().map(|payload| learners[0].check(payload)).collect::<Result<Vec<_>, _>>()?;
        let weighted = updates.iter().map(|update| Weighted { update, weight: 1.0 }).collect::<Vec<_>>();
        for learner in &mut learners {
            learner.apply(&weighted, Some(true))?;
        }
    }
    // An empty window leaves everything in the feedback.
    learners[0].skip();
    let title = format!("Pseudo-gradient of a model of width {width} in window {WINDOWS} (inner loss {loss:.2})");
    Ok(Recorded { title, shapes, feedback: learners[0].feedback().to_vec() })
}

fn config(width: usize) -> LearnerConfig {
    let model = ModelConfig {
        width,
        layers: 2,
        heads: width / 64,
        kv_heads: width / 128,
        ffn: width * 11 / 4,
        context: 128,
        ..ModelConfig::default()
    };
    let rate = RateSchedule::Cosine { peak: 1e-3, warmup: 20, total: 2000, floor: 0.1 };
    LearnerConfig {
        model,
        inner: InnerConfig { steps: 15, batch: 16, optimizer: AdamWConfig::default(), rate },
        outer: OuterConfig::default(),
        compression: CompressionConfig { edge: 64, settings: Settings::new(64, Quantiser::TwoLevels), decay: 0.95 },
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// The project's sources, as bytes.
fn own_text() -> Result<Vec<u8>, Error> {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "md") {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut text = Vec::new();
    for file in files {
        text.extend(std::fs::read(file)?);
    }
    Ok(text)
}

/// Sequences at places that a fixed generator chooses.
fn batch(text: &[u8], rows: usize, context: usize, (window, peer, step): (u64, usize, u32)) -> Vec<u32> {
    let mut state = (window << 32 | u64::from(step) << 8 | peer as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut tokens = Vec::with_capacity(rows * (context + 1));
    for _ in 0..rows {
        state = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ state >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
        let place = (state % (text.len() - context - 1) as u64) as usize;
        tokens.extend(text[place..place + context + 1].iter().map(|&byte| u32::from(byte)));
    }
    tokens
}
