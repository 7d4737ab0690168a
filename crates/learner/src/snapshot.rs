use crate::bytes::{read_floats, stream_floats};
use crate::learner::{Learner, Pending, layout_of};
use crate::{LearnerConfig, LearnerError};
use pactum_compress::payload_bytes_max;
use pactum_model::{EngineError, MomentsError, ParameterSpec};
use std::io::{self, Write};

/// The fixed part at the beginning of a snapshot. All numbers are little-endian.
struct Header {
    full: bool,
    model: [u8; 32],
    parameters: u64,
    window: u64,
    optimizer_steps: u64,
    /// Length of the pending payload, 0 if there is none.
    payload_bytes: u64,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10] = u8::from(self.full);
        bytes[16..48].copy_from_slice(&self.model);
        let numbers = [self.parameters, self.window, self.optimizer_steps, self.payload_bytes];
        for (place, number) in bytes[48..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Checks what can be checked of the fixed part alone.
    fn decode(bytes: &[u8]) -> Result<Self, RestoreError> {
        let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(RestoreError::Corrupt)?;
        if header[..8] != *MAGIC {
            return Err(RestoreError::NotSnapshot);
        }
        let version = u16::from_le_bytes([header[8], header[9]]);
        if version > VERSION {
            return Err(RestoreError::Newer { version });
        }
        let mut model = [0; 32];
        model.copy_from_slice(&header[16..48]);
        let number = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&header[48 + 8 * at..56 + 8 * at]);
            u64::from_le_bytes(eight)
        };
        let (full, [parameters, window, optimizer_steps, payload_bytes]) = (header[10] == 1, [0, 1, 2, 3].map(number));
        Ok(Self { full, model, parameters, window, optimizer_steps, payload_bytes })
    }

    /// Vectors that follow: θ; if full, the two moments and E; if a payload is pending, E'.
    fn vectors(&self) -> usize {
        1 + if self.full { 3 } else { 0 } + usize::from(self.payload_bytes > 0)
    }

    /// Length of the whole snapshot, if it can be one of `parameters` parameters and such payloads.
    fn length(&self, parameters: usize, payload_max: usize) -> Option<usize> {
        let payload = usize::try_from(self.payload_bytes).ok().filter(|&bytes| bytes <= payload_max)?;
        let vectors = parameters.checked_mul(4)?.checked_mul(self.vectors())?;
        (self.parameters == parameters as u64).then_some(())?;
        vectors.checked_add(HEADER_BYTES + DIGEST_BYTES)?.checked_add(payload)
    }
}

const MAGIC: &[u8; 8] = b"PACTLRNR";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 80;
const DIGEST_BYTES: usize = 32;

impl Learner {
    /// The committed state as bytes that check themselves: parameters and window, and if `full`, optimizer and error
    /// feedback. If a payload is pending, a full snapshot holds it too (and the optimizer after the window's training), so
    /// that a node that stops between sending and committing loses nothing.
    pub fn snapshot(&self, full: bool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.committed.theta.len().saturating_mul(if full { 16 } else { 4 }) + 1024);
        // Writing to a vector does not fail.
        let _ = self.write_snapshot(full, &mut bytes);
        bytes
    }

    /// [`Learner::snapshot`] into a file or stream, without holding it in memory.
    ///
    /// # Errors
    /// If `out` fails.
    pub fn write_snapshot(&self, full: bool, out: &mut dyn Write) -> io::Result<()> {
        let pending = self.pending.as_ref().filter(|_| full);
        let optimizer = if pending.is_some() { &self.working.optimizer } else { &self.committed.optimizer };
        let header = Header {
            full,
            model: model_digest(&self.config, &self.layout.digest()),
            parameters: self.committed.theta.len() as u64,
            window: self.committed.window,
            optimizer_steps: if full { optimizer.steps() } else { 0 },
            payload_bytes: pending.map_or(0, |pending| pending.payload.len() as u64),
        };
        let mut out = Hashing { out, hasher: blake3::Hasher::new() };
        out.write_all(&header.encode())?;
        stream_floats(&mut out, &self.committed.theta)?;
        if full {
            stream_floats(&mut out, optimizer.first_moments())?;
            stream_floats(&mut out, optimizer.second_moments())?;
            stream_floats(&mut out, &self.committed.feedback)?;
        }
        if let Some(pending) = pending {
            stream_floats(&mut out, &pending.accumulated)?;
            out.write_all(&pending.payload)?;
        }
        let digest = out.hasher.finalize();
        out.out.write_all(digest.as_bytes())
    }

    /// A learner that goes on, bit for bit, where the snapshot was taken. From one that is not full, optimizer and error
    /// feedback begin at zero.
    ///
    /// # Errors
    /// If the bytes are no snapshot, were changed, or belong to another model or a newer version.
    pub fn restore(config: LearnerConfig, bytes: &[u8]) -> Result<Self, RestoreError> {
        let header = Header::decode(bytes)?;
        config.validate()?;
        config.model.validate().map_err(|error| LearnerError::from(EngineError::from(error)))?;
        let (content, digest) = bytes.split_at(bytes.len() - DIGEST_BYTES.min(bytes.len()));
        if blake3::hash(content).as_bytes() != digest {
            return Err(RestoreError::Corrupt);
        }
        let layout = layout_of(&config, &config.model.parameters())?;
        if header.model != model_digest(&config, &layout.digest()) {
            return Err(RestoreError::OtherModel);
        }
        let payload_max = payload_bytes_max(&layout, &config.compression.settings);
        if header.length(config.model.count(), payload_max) != Some(bytes.len()) {
            return Err(RestoreError::Corrupt);
        }
        Self::rebuild(config, &header, &content[HEADER_BYTES..])
    }

    /// `content` has exactly the length that the header says.
    fn rebuild(config: LearnerConfig, header: &Header, content: &[u8]) -> Result<Self, RestoreError> {
        let (vectors, payload) = content.split_at(4 * config.model.count() * header.vectors());
        let mut vectors = vectors.chunks_exact(4 * config.model.count()).map(read_floats);
        let mut next = || vectors.next().ok_or(RestoreError::Corrupt);
        let specs = config.model.parameters();
        let mut learner = Self::with_parameters(config, finite(next()?, "the parameters", &specs)?)?;
        learner.committed.window = header.window;
        if header.full {
            let moments = [next()?, next()?];
            learner.committed.optimizer.restore(&moments[0], &moments[1], header.optimizer_steps)?;
            learner.committed.feedback = finite(next()?, "the error feedback", &specs)?;
        }
        learner.reset_window();
        if !payload.is_empty() {
            let damaged = |error| RestoreError::Damaged { what: format!("the open payload: {error}") };
            let update = learner.check(payload).map_err(damaged)?;
            let accumulated = finite(next()?, "the error feedback of the open payload", &specs)?;
            learner.pending = Some(Pending { accumulated, payload: payload.to_vec(), update });
        }
        Ok(learner)
    }

    /// The committed parameters as little-endian bytes, for others to start from. Their BLAKE3 is
    /// [`Learner::state_digest`], so that they can be fetched and verified as a content-addressed blob.
    pub fn checkpoint(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 * self.committed.theta.len());
        crate::bytes::write_floats(&mut bytes, &self.committed.theta);
        bytes
    }

    /// Takes over a [`Learner::checkpoint`] of the beginning of `window`. Optimizer and error feedback stay as they are: a
    /// newcomer's are zero, and after an absence what was not sent yet is still worth sending.
    ///
    /// # Errors
    /// If the bytes are not those that `expected` names, or not of this model; then nothing changes.
    pub fn adopt(&mut self, window: u64, bytes: &[u8], expected: &[u8; 32]) -> Result<(), AdoptError> {
        let wanted = 4 * self.committed.theta.len();
        if bytes.len() != wanted {
            return Err(AdoptError::Length { found: bytes.len(), expected: wanted });
        }
        if blake3::hash(bytes).as_bytes() != expected {
            return Err(AdoptError::Digest);
        }
        self.committed.theta = read_floats(bytes);
        self.committed.window = window;
        self.reset_window();
        Ok(())
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

fn finite(values: Vec<f32>, of: &str, specs: &[ParameterSpec]) -> Result<Vec<f32>, RestoreError> {
    let Some(at) = values.iter().position(|value| !value.is_finite()) else { return Ok(values) };
    let tensor = specs.iter().find(|spec| spec.range().contains(&at)).map_or("?", |spec| spec.name.as_str());
    Err(RestoreError::Damaged { what: format!("tensor {tensor} of {of} holds a value that is not finite") })
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

/// Why a snapshot was not taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The bytes are something else.
    #[error("this is not a snapshot of a learner")]
    NotSnapshot,
    /// The bytes are cut short or were changed.
    #[error("the snapshot is corrupt: restore an older one or join the run anew")]
    Corrupt,
    /// The bytes are whole, but hold numbers that no learner has.
    #[error("the snapshot holds impossible values ({what}): restore an older one or join the run anew")]
    Damaged {
        /// Which values.
        what: String,
    },
    /// It was written by a newer program.
    #[error("the snapshot has format {version}, which is newer than this program: update the program")]
    Newer {
        /// Its version.
        version: u16,
    },
    /// It belongs to another model or another cut into chunks.
    #[error("the snapshot belongs to another model: choose the settings it was made with or another folder")]
    OtherModel,
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] LearnerError),
}

impl From<MomentsError> for RestoreError {
    fn from(error: MomentsError) -> Self {
        Self::Damaged { what: error.to_string() }
    }
}

/// Why a checkpoint was not taken over; the learner is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The length is not that of this model.
    #[error("the checkpoint has {found} bytes, but this model has {expected}: is it of another run?")]
    Length {
        /// Bytes found.
        found: usize,
        /// Bytes of this model.
        expected: usize,
    },
    /// The bytes are not those that were asked for.
    #[error("the checkpoint's digest is wrong: fetch it from another peer")]
    Digest,
}

#[cfg(test)]
mod tests;
