use super::source::Source;
use super::{DIGEST_BYTES, Delayed, HEADER_BYTES, Header, MAGIC, VERSION, VERSION_PLAIN, model_digest};
use crate::learner::{Held, Learner, Pending, Sent, layout_of};
use crate::optimizer::Optimizer;
use crate::shelf::{Scratch, Shelf, Slot};
use crate::{LearnerConfig, LearnerError};
use pactum_compress::payload_bytes_max;
use pactum_model::{EngineError, MomentsError, ParameterSpec};
use std::io::{self, Read};
use std::sync::Arc;

impl Header {
    /// Checks what can be checked of the fixed part alone.
    fn read(source: &mut Source<'_>) -> Result<Self, RestoreError> {
        let mut header = [0; HEADER_BYTES];
        source.fill(&mut header)?;
        if header[..8] != *MAGIC {
            return Err(RestoreError::NotSnapshot);
        }
        let version = u16::from_le_bytes([header[8], header[9]]);
        if version > VERSION {
            return Err(RestoreError::Newer { version });
        }
        let mut model = [0; 32];
        model.copy_from_slice(&header[16..48]);
        let mut rest = header[48..].chunks_exact(8).map(number);
        let mut next = || rest.next().ok_or(RestoreError::Corrupt);
        let [parameters, window, optimizer_steps, payload_bytes] = [next()?, next()?, next()?, next()?];
        let pending_steps = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
        let full = header[10] == 1;
        let mut eight = || source.fill(&mut header[..8]).map(|()| number(&header[..8]));
        let delayed = match version {
            ..=VERSION_PLAIN => None,
            _ => Some(Delayed { sent_bytes: eight()?, share: f32::from_bits(eight()? as u32) }),
        };
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
        Self::restore_from(config, &mut &*bytes, None)
    }

    /// The same from what `source` gives, of which no copy arises. With `scratch` the learner is one that
    /// [offloads](Learner::offloading), and the moments pass there without coming into memory.
    ///
    /// # Errors
    /// As [`Learner::restore`], and if `source` or `scratch` fails.
    pub fn restore_from(
        config: LearnerConfig,
        source: &mut dyn Read,
        scratch: Option<Box<dyn Scratch>>,
    ) -> Result<Self, RestoreError> {
        let mut source = Source::new(source);
        let header = Header::read(&mut source)?;
        config.validate()?;
        config.model.validate().map_err(|error| LearnerError::from(EngineError::from(error)))?;
        let layout = layout_of(&config, &config.model.parameters())?;
        let same = header.model == model_digest(&config, &layout.digest());
        if !same || header.delayed.is_some() != (config.outer.apply_delay > 0) {
            source.settle()?;
            return Err(RestoreError::OtherModel);
        }
        let payload_max = payload_bytes_max(&layout, &config.compression.settings);
        let length = header.length(config.model.count(), payload_max).ok_or(RestoreError::Corrupt)?;
        let learner = Self::rebuild(config, &header, &mut source, scratch);
        // What was changed on the way is told from what was written so only here.
        if source.settle()? != length {
            return Err(RestoreError::Corrupt);
        }
        learner
    }

    /// `source` stands after the header, whose length is possible.
    fn rebuild(
        config: LearnerConfig,
        header: &Header,
        source: &mut Source<'_>,
        scratch: Option<Box<dyn Scratch>>,
    ) -> Result<Self, RestoreError> {
        let (count, specs) = (config.model.count(), config.model.parameters());
        let mut learner = Self::with_parameters(config, finite(source.vector(count)?, "the parameters", &specs)?)?;
        learner.shelf = scratch.map(|scratch| Shelf::new(scratch, count));
        learner.committed.window = header.window;
        if header.full {
            learner.restore_optimizer(source, header.optimizer_steps)?;
            learner.committed.feedback = held(finite(source.vector(count)?, "the error feedback", &specs)?);
        }
        if let Some(delayed) = header.delayed {
            if !(0.0..=1.0).contains(&delayed.share) {
                return Err(RestoreError::Damaged { what: "a share above 1".to_owned() });
            }
            learner.committed.share = delayed.share;
        }
        if header.payload_bytes > 0 {
            let accumulated = finite(source.vector(count)?, "the error feedback of the open payload", &specs)?;
            let sent = learner.payload(&source.bytes(header.payload_bytes)?, "the open payload")?;
            let optimizer = learner.committed.optimizer.clone();
            let optimizer = optimizer.unwrap_or_else(|| Arc::new(learner.fresh_optimizer()));
            learner.committed.steps = optimizer.steps().saturating_sub(header.pending_steps.into());
            learner.pending = Some(Pending { accumulated: Arc::new(accumulated), optimizer, sent });
        }
        if header.sent_bytes() > 0 {
            let sent = learner.payload(&source.bytes(header.sent_bytes())?, "the payload on its way")?;
            learner.committed.sent = Some(sent);
        }
        Ok(learner)
    }

    fn payload(&self, bytes: &[u8], of: &str) -> Result<Arc<Sent>, RestoreError> {
        let damaged = |error| RestoreError::Damaged { what: format!("{of}: {error}") };
        let update = self.check(bytes).map_err(damaged)?;
        Ok(Arc::new(Sent { payload: bytes.to_vec(), update }))
    }

    fn restore_optimizer(&mut self, source: &mut Source<'_>, steps: u64) -> Result<(), RestoreError> {
        let mut optimizer = self.fresh_optimizer();
        let zero = match &mut optimizer {
            Optimizer::Here(optimizer) => {
                let moments = [source.vector(self.committed.theta.len())?, source.vector(self.committed.theta.len())?];
                optimizer.restore(&moments[0], &moments[1], steps)?;
                moments.iter().all(|moment| is_zero(moment))
            }
            Optimizer::Away(away) => {
                let slots = [away.slot(), away.slot()];
                let first = shelve(source, &slots[0], f32::is_finite)?;
                let second = shelve(source, &slots[1], |value| value.is_finite() && value >= 0.0)?;
                away.set(slots, steps);
                first && second
            }
        };
        if steps > 0 || !zero {
            self.committed.optimizer = Some(Arc::new(optimizer));
            self.committed.steps = steps;
        }
        Ok(())
    }
}

/// Passes a moment on to the shelf. Whether it is zero.
fn shelve(source: &mut Source<'_>, slot: &Slot, possible: fn(f32) -> bool) -> Result<bool, RestoreError> {
    let mut zero = true;
    source.blocks(slot.count(), |at, block| {
        if let Some(index) = block.iter().position(|&value| !possible(value)) {
            return Err(MomentsError::Damaged { index: at + index }.into());
        }
        zero &= is_zero(block);
        Ok(slot.write(at, block)?)
    })?;
    Ok(zero)
}

fn number(eight: &[u8]) -> u64 {
    eight.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Nothing is kept of a vector of zeros.
fn held(values: Vec<f32>) -> Held {
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
    /// The snapshot cannot be read, or what it holds cannot be laid aside.
    #[error("the snapshot cannot be taken over: {0}")]
    Io(#[from] io::Error),
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] LearnerError),
}

impl From<MomentsError> for RestoreError {
    fn from(error: MomentsError) -> Self {
        Self::Damaged { what: error.to_string() }
    }
}
