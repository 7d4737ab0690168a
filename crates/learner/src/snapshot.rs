use crate::LearnerConfig;
use crate::bytes::{stream_floats, stream_zeros};
use crate::learner::{Held, Learner, Sent};
use crate::optimizer::{Moment, Optimizer};
use crate::shelf::Slot;
use std::io::{self, Write};
use std::sync::Arc;

mod restore;
mod source;
#[cfg(test)]
mod tests;

pub use restore::RestoreError;

/// The fixed part at the beginning of a snapshot. All numbers are little-endian.
#[derive(Clone)]
struct Header {
    full: bool,
    model: [u8; 32],
    parameters: u64,
    window: u64,
    optimizer_steps: u64,
    /// How many of them are of the window of the pending payload.
    pending_steps: u32,
    /// Length of the pending payload, 0 if there is none.
    payload_bytes: u64,
    /// Of a learner with a delay only, whose snapshots have version 2.
    delayed: Option<Delayed>,
}

#[derive(Clone, Copy)]
struct Delayed {
    /// Length of the payload that is on its way, 0 if there is none.
    sent_bytes: u64,
    /// The share of an own payload in the aggregate that was applied last.
    share: f32,
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.bytes()];
        bytes[..8].copy_from_slice(MAGIC);
        let version = if self.delayed.is_some() { VERSION } else { VERSION_PLAIN };
        bytes[8..10].copy_from_slice(&version.to_le_bytes());
        bytes[10] = u8::from(self.full);
        bytes[12..16].copy_from_slice(&self.pending_steps.to_le_bytes());
        bytes[16..48].copy_from_slice(&self.model);
        let mut numbers = vec![self.parameters, self.window, self.optimizer_steps, self.payload_bytes];
        numbers.extend(self.delayed.iter().flat_map(|delayed| [delayed.sent_bytes, delayed.share.to_bits().into()]));
        for (place, number) in bytes[48..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Its own length.
    fn bytes(&self) -> usize {
        if self.delayed.is_some() { HEADER_BYTES + DELAYED_BYTES } else { HEADER_BYTES }
    }

    /// Vectors that follow: θ; if full, the two moments and E; if a payload is pending, E'.
    fn vectors(&self) -> usize {
        1 + if self.full { 3 } else { 0 } + usize::from(self.payload_bytes > 0)
    }
}

const MAGIC: &[u8; 8] = b"PACTLRNR";
const VERSION: u16 = 2;
/// Of snapshots without a delay.
const VERSION_PLAIN: u16 = 1;
const HEADER_BYTES: usize = 80;
const DELAYED_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;

/// The state of a learner at one moment, to be written while it goes on: it shares the learner's memory, and what the
/// learner changes meanwhile, the learner copies.
pub struct Snapshot {
    header: Header,
    vectors: Vec<Part>,
    /// The pending payload and the one that is on its way.
    payloads: Vec<Arc<Sent>>,
}

/// One vector of a snapshot.
enum Part {
    Zero(usize),
    Floats(Arc<Vec<f32>>),
    /// The first moments, or the second ones.
    Moments(Arc<Optimizer>, Moment),
    Shelved(Arc<Slot>),
}

impl Snapshot {
    /// Writes the bytes, in blocks.
    ///
    /// # Errors
    /// If `out` fails.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut out = Hashing { out, hasher: blake3::Hasher::new() };
        out.write_all(&self.header.encode())?;
        for part in &self.vectors {
            match part {
                Part::Zero(count) => stream_zeros(&mut out, *count)?,
                Part::Floats(values) => stream_floats(&mut out, values)?,
                Part::Moments(optimizer, moment) => optimizer.write(*moment, &mut out)?,
                Part::Shelved(slot) => slot.copy_to(&mut out)?,
            }
        }
        self.payloads.iter().try_for_each(|sent| out.write_all(&sent.payload))?;
        let digest = out.hasher.finalize();
        out.out.write_all(digest.as_bytes())
    }

    /// How many bytes [`Snapshot::write`] writes.
    pub fn bytes(&self) -> usize {
        let payloads: usize = self.payloads.iter().map(|sent| sent.payload.len()).sum();
        let vector = 4 * usize::try_from(self.header.parameters).unwrap_or(usize::MAX);
        let vectors = vector.saturating_mul(self.vectors.len());
        vectors.saturating_add(self.header.bytes() + payloads + DIGEST_BYTES)
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("window", &self.header.window).field("bytes", &self.bytes()).finish()
    }
}

impl Learner {
    /// The committed state as bytes that check themselves: parameters and window, and if `full`, optimizer and error
    /// feedback. If a payload is pending, a full snapshot holds it too (and the optimizer after the window's training), so
    /// that a node that stops between sending and committing loses nothing; so with a payload that is on its way.
    ///
    /// # Errors
    /// If what is [offloaded](Learner::offloading) cannot be read.
    pub fn snapshot(&self, full: bool) -> io::Result<Vec<u8>> {
        let snapshot = self.capture(full);
        let mut bytes = Vec::with_capacity(snapshot.bytes());
        snapshot.write(&mut bytes)?;
        Ok(bytes)
    }

    /// [`Learner::snapshot`], yet to be written; this copies nothing. What is [offloaded](Learner::offloading) is read piece by
    /// piece when it is written.
    pub fn capture(&self, full: bool) -> Snapshot {
        let pending = self.pending.as_ref().filter(|_| full);
        let mut vectors = vec![Part::Floats(Arc::clone(&self.committed.theta))];
        let (mut steps, mut pending_steps) = (0, 0);
        if full {
            steps = pending.map_or(self.committed.steps, |pending| pending.optimizer.steps());
            pending_steps = u32::try_from(steps.saturating_sub(self.committed.steps)).unwrap_or(u32::MAX);
            vectors.extend(self.moments());
            vectors.push(self.feedback_part());
        }
        vectors.extend(pending.map(|pending| Part::Floats(Arc::clone(&pending.accumulated))));
        let sent = self.committed.sent.as_ref().filter(|_| full);
        let payloads = pending.map(|pending| &pending.sent).into_iter().chain(sent).cloned().collect();
        let delayed =
            Delayed { sent_bytes: sent.map_or(0, |sent| sent.payload.len() as u64), share: self.committed.share };
        let header = Header {
            full,
            model: model_digest(&self.config, &self.layout.digest()),
            parameters: self.committed.theta.len() as u64,
            window: self.committed.window,
            optimizer_steps: steps,
            pending_steps,
            payload_bytes: pending.map_or(0, |pending| pending.sent.payload.len() as u64),
            delayed: (self.config.outer.apply_delay > 0).then_some(delayed),
        };
        Snapshot { header, vectors, payloads }
    }

    /// The moments of a full snapshot.
    fn moments(&self) -> [Part; 2] {
        let optimizer = match &self.pending {
            Some(pending) => Some(&pending.optimizer),
            None => self.committed.optimizer.as_ref(),
        };
        [Moment::First, Moment::Second].map(|moment| match optimizer {
            Some(optimizer) => Part::Moments(Arc::clone(optimizer), moment),
            None => self.zero(),
        })
    }

    fn feedback_part(&self) -> Part {
        match &self.committed.feedback {
            Held::Here(feedback) => Part::Floats(Arc::clone(feedback)),
            Held::Zero => self.zero(),
            Held::Away(slot) => Part::Shelved(Arc::clone(slot)),
        }
    }

    fn zero(&self) -> Part {
        Part::Zero(self.committed.theta.len())
    }
}

/// What a snapshot must agree with: the chunks, and those settings of the model that no shape shows.
fn model_digest(config: &LearnerConfig, layout: &[u8; 32]) -> [u8; 32] {
    let model = &config.model;
    let mut hasher = blake3::Hasher::new_derive_key("pactum-learner 1 model of a snapshot");
    hasher.update(layout);
    for size in [model.vocab, model.width, model.layers, model.heads, model.kv_heads, model.ffn, model.context] {
        hasher.update(&(size as u64).to_le_bytes());
    }
    hasher.update(&model.rope_base.to_le_bytes()).update(&model.norm_eps.to_le_bytes());
    hasher.update(&[u8::from(model.tied), u8::from(model.attention_bias), u8::from(model.mlp_bias)]);
    if let Some(scaling) = &model.rope_scaling {
        for value in [scaling.factor, scaling.low_frequency, scaling.high_frequency] {
            hasher.update(&value.to_le_bytes());
        }
        hasher.update(&(scaling.original_context as u64).to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

struct Hashing<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
