//! A learner that sends something else than it learned.

use std::cell::RefCell;

use pactum_compress::Compressor;
use pactum_node::Trainer;
use pactum_protocol::{Digest, Malformation, Window};
use pactum_round::{BoxError, Evidence, InnerReport, JudgeJob, Learner, Own, Snapshot, TrainJob};

use super::Kind;

/// About how large the values of a pseudo-gradient are.
const NOISE: f32 = 3e-3;

/// A payload cut short, made too long, turned around, or filled with ones, which are not numbers where scales stand.
fn damaged(mut payload: Vec<u8>, way: u64) -> Vec<u8> {
    let middle = payload.len() / 2;
    match way % 4 {
        0 => payload.truncate(middle),
        1 => payload.extend_from_within(..),
        2 => payload[middle..].reverse(),
        _ => payload[middle..].fill(0xff),
    }
    payload
}

/// A number in -1..=1 (SplitMix64).
fn centred(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// An honest learner with a dishonest hand on it.
pub(super) struct Cheat {
    kind: Kind,
    trainer: Trainer,
    /// The newest payload of somebody else: there is none of this window before `submit_by`.
    seen: RefCell<Option<Vec<u8>>>,
    own: Option<Digest>,
    window: Window,
}

impl Cheat {
    pub(super) fn new(kind: Kind, trainer: Trainer) -> Self {
        Self { kind, trainer, seen: RefCell::new(None), own: None, window: Window(0) }
    }

    /// A well-formed payload of values that mean nothing.
    fn noise(&self) -> Option<Vec<u8>> {
        let learner = self.trainer.learner();
        let layout = learner.layout().clone();
        let mut state = self.window.0;
        let mut values: Vec<f32> = (0..layout.len()).map(|_| NOISE * centred(&mut state)).collect();
        let mut compressor = Compressor::new(layout, learner.config().compression.settings).ok()?;
        Some(compressor.compress(&mut values))
    }
}

impl Learner for Cheat {
    type Update = <Trainer as Learner>::Update;

    fn train(&mut self, job: &TrainJob, keep_going: &mut dyn FnMut() -> bool) -> Result<InnerReport, BoxError> {
        self.window = job.window;
        if self.kind == Kind::Forged {
            return self.trainer.train(job, keep_going);
        }
        let mut steps = 0;
        let mut one_step = || {
            steps += 1;
            steps == 1 && keep_going()
        };
        let done = self.trainer.train(job, &mut one_step)?;
        Ok(InnerReport { samples: self.trainer.samples_in_full(), ..done })
    }

    fn payload(&mut self) -> Option<Vec<u8>> {
        let honest = self.trainer.payload();
        let sent = match self.kind {
            Kind::Lazy | Kind::Forged => honest,
            Kind::Random => self.noise(),
            Kind::Malformed => honest.map(|payload| damaged(payload, self.window.0)),
            Kind::Copy => self.seen.borrow().clone().or(honest),
        };
        self.own = sent.as_deref().map(Digest::of);
        sent
    }

    fn decode(&self, payload: &[u8]) -> Result<Self::Update, Malformation> {
        if self.own != Some(Digest::of(payload)) {
            self.seen.replace(Some(payload.to_vec()));
        }
        self.trainer.decode(payload)
    }

    fn overlap(&self, one: &Self::Update, other: &Self::Update) -> f64 {
        self.trainer.overlap(one, other)
    }

    fn probe(&self, seed: &Digest) -> Digest {
        self.trainer.probe(seed)
    }

    fn judge(&mut self, job: &JudgeJob, update: &Self::Update, among: &[&Self::Update]) -> Result<Evidence, BoxError> {
        self.trainer.judge(job, update, among)
    }

    fn apply(&mut self, updates: &[(f32, &Self::Update)], own: Own, next: Window) -> Result<Vec<usize>, BoxError> {
        // What was sent is not what was trained, so nothing of it may leave the error feedback.
        let sent_own = matches!(self.kind, Kind::Lazy | Kind::Forged);
        let own = if own == Own::Included && !sent_own { Own::LeftOut } else { own };
        self.trainer.apply(updates, own, next)
    }

    fn heldout_loss(&mut self) -> Result<f32, BoxError> {
        self.trainer.heldout_loss()
    }

    fn state_digest(&self) -> Digest {
        self.trainer.state_digest()
    }

    fn checkpoint(&self) -> Vec<u8> {
        self.trainer.checkpoint()
    }

    fn checkpoint_bytes(&self) -> u64 {
        self.trainer.checkpoint_bytes()
    }

    fn adopt(&mut self, window: Window, checkpoint: &[u8]) -> Result<(), BoxError> {
        self.trainer.adopt(window, checkpoint)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, BoxError> {
        self.trainer.snapshot()
    }
}
