use super::{DIGEST_BYTES, Delayed, HEADER_BYTES, Header, MAGIC, VERSION, VERSION_PLAIN, model_digest};
use crate::bytes::read_floats;
use crate::learner::{Held, Learner, Pending, Sent, layout_of};
use crate::{LearnerConfig, LearnerError};
use pactum_compress::payload_bytes_max;
use pactum_model::{AdamW, EngineError, MomentsError, ParameterSpec};
use std::sync::Arc;

impl Header {
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
            let place = 48 + 8 * at;
            let eight = bytes.get(place..).and_then(|rest| rest.first_chunk::<8>()).ok_or(RestoreError::Corrupt)?;
            Ok::<u64, RestoreError>(u64::from_le_bytes(*eight))
        };
        let delayed = match version {
            ..=VERSION_PLAIN => None,
            _ => Some(Delayed { sent_bytes: number(4)?, share: f32::from_bits(number(5)? as u32) }),
        };
        let full = header[10] == 1;
        let [parameters, window] = [number(0)?, number(1)?];
        let pending_steps = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
        let [optimizer_steps, payload_bytes] = [number(2)?, number(3)?];
        Ok(Self { full, model, parameters, window, optimizer_steps, pending_steps, payload_bytes, delayed })
    }

    /// Length of the whole snapshot, if it can be one of `parameters` parameters and such payloads.
    fn length(&self, parameters: usize, payload_max: usize) -> Option<usize> {
        let payload = |bytes: u64| usize::try_from(bytes).ok().filter(|&bytes| bytes <= payload_max);
        let payloads = payload(self.payload_bytes)?.checked_add(payload(self.sent_bytes())?)?;
        let vectors = parameters.checked_mul(4)?.checked_mul(self.vectors())?;
        (self.parameters == parameters as u64).then_some(())?;
        vectors.checked_add(self.bytes() + DIGEST_BYTES)?.checked_add(payloads)
    }

    fn sent_bytes(&self) -> u64 {
        self.delayed.map_or(0, |delayed| delayed.sent_bytes)
    }
}

impl Learner {
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
        if header.delayed.is_some() != (config.outer.apply_delay > 0) {
            return Err(RestoreError::OtherModel);
        }
        let payload_max = payload_bytes_max(&layout, &config.compression.settings);
        if header.length(config.model.count(), payload_max) != Some(bytes.len()) {
            return Err(RestoreError::Corrupt);
        }
        Self::rebuild(config, &header, &content[header.bytes()..])
    }

    /// `content` has exactly the length that the header says.
    fn rebuild(config: LearnerConfig, header: &Header, content: &[u8]) -> Result<Self, RestoreError> {
        let (vectors, payloads) = content.split_at(4 * config.model.count() * header.vectors());
        let mut vectors = vectors.chunks_exact(4 * config.model.count()).map(read_floats);
        let mut next = || vectors.next().ok_or(RestoreError::Corrupt);
        let specs = config.model.parameters();
        let mut learner = Self::with_parameters(config, finite(next()?, "the parameters", &specs)?)?;
        learner.committed.window = header.window;
        if header.full {
            learner.restore_optimizer([next()?, next()?], header.optimizer_steps)?;
            learner.committed.feedback = held(finite(next()?, "the error feedback", &specs)?);
        }
        if let Some(delayed) = header.delayed {
            if !(0.0..=1.0).contains(&delayed.share) {
                return Err(RestoreError::Damaged { what: "a share above 1".to_owned() });
            }
            learner.committed.share = delayed.share;
        }
        let (pending, sent) = payloads.split_at(payloads.len() - header.sent_bytes() as usize);
        if !pending.is_empty() {
            let accumulated = Arc::new(finite(next()?, "the error feedback of the open payload", &specs)?);
            let sent = learner.payload(pending, "the open payload")?;
            let optimizer = learner.committed_optimizer();
            learner.committed.steps = optimizer.steps().saturating_sub(header.pending_steps.into());
            learner.pending = Some(Pending { accumulated, optimizer, sent });
        }
        if !sent.is_empty() {
            learner.committed.sent = Some(learner.payload(sent, "the payload on its way")?);
        }
        Ok(learner)
    }

    fn payload(&self, bytes: &[u8], of: &str) -> Result<Arc<Sent>, RestoreError> {
        let damaged = |error| RestoreError::Damaged { what: format!("{of}: {error}") };
        let update = self.check(bytes).map_err(damaged)?;
        Ok(Arc::new(Sent { payload: bytes.to_vec(), update }))
    }

    fn restore_optimizer(&mut self, moments: [Vec<f32>; 2], steps: u64) -> Result<(), RestoreError> {
        if steps > 0 || !moments.iter().all(|moment| is_zero(moment)) {
            let mut optimizer = self.fresh_optimizer();
            optimizer.restore(&moments[0], &moments[1], steps)?;
            self.committed.optimizer = Held::Here(Arc::new(optimizer));
            self.committed.steps = steps;
        }
        Ok(())
    }

    fn committed_optimizer(&self) -> Arc<AdamW> {
        match &self.committed.optimizer {
            Held::Here(optimizer) => Arc::clone(optimizer),
            Held::Zero | Held::Away => Arc::new(self.fresh_optimizer()),
        }
    }
}

/// Nothing is kept of a vector of zeros.
fn held(values: Vec<f32>) -> Held<Vec<f32>> {
    if is_zero(&values) { Held::Zero } else { Held::Here(Arc::new(values)) }
}

fn is_zero(values: &[f32]) -> bool {
    values.iter().all(|value| value.to_bits() == 0)
}

fn finite(values: Vec<f32>, of: &str, specs: &[ParameterSpec]) -> Result<Vec<f32>, RestoreError> {
    let Some(at) = values.iter().position(|value| !value.is_finite()) else { return Ok(values) };
    let tensor = specs.iter().find(|spec| spec.range().contains(&at)).map_or("?", |spec| spec.name.as_str());
    Err(RestoreError::Damaged { what: format!("tensor {tensor} of {of} holds a value that is not finite") })
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
