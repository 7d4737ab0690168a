//! A node's door to its learner: the toy, its time, and the lies and defects that a scenario asks for.

use pactum_protocol::{Digest, Malformation, Window};
use pactum_round::{BoxError, Evidence, InnerReport, JudgeJob, Learner, Own, Snapshot, TrainJob};

use crate::agenda::Millis;
use crate::cheats::{Cheat, Cheater};
use crate::defect::Defect;
use crate::random::Random;
use crate::toy::{ToyLearner, ToyUpdate};
use crate::world::Place;

/// How long a validator needs for one judgement.
const JUDGEMENT: Millis = 2;

const CHEATER: u64 = 13;

/// A node's door to its learner.
pub(crate) struct SimLearner {
    toy: ToyLearner,
    place: Place,
    cheater: Option<Cheater>,
}

impl SimLearner {
    pub(crate) fn new(toy: ToyLearner, place: Place) -> Self {
        let random = Random::of(&[CHEATER, place.world.setup.seed, place.me as u64, place.now()]);
        let cheater = place.profile().cheat.map(|cheat| Cheater::new(cheat, random));
        Self { toy, place, cheater }
    }

    fn lazy(&self) -> bool {
        self.place.profile().cheat == Some(Cheat::Lazy)
    }
}

impl Learner for SimLearner {
    type Update = ToyUpdate;

    fn train(&mut self, job: &TrainJob, keep_going: &mut dyn FnMut() -> bool) -> Result<InnerReport, BoxError> {
        let (lazy, step) = (self.lazy(), self.place.profile().step);
        let mut steps = 0;
        let place = &self.place;
        let mut go = || {
            let on = keep_going() && !(lazy && steps > 0);
            if on {
                steps += 1;
                place.compute(step);
            }
            on
        };
        let report = self.toy.train(job, &mut go)?;
        let claimed = &place.world.setup.rules.hparams;
        Ok(if lazy { InnerReport { steps: claimed.inner.steps, samples: claimed.samples(), ..report } } else { report })
    }

    fn payload(&mut self) -> Option<Vec<u8>> {
        let payload = self.toy.payload()?;
        let Some(cheater) = &mut self.cheater else { return Some(payload) };
        cheater.payload(&self.toy.decode(&payload).ok()?)
    }

    fn decode(&self, payload: &[u8]) -> Result<ToyUpdate, Malformation> {
        self.toy.decode(payload)
    }

    fn overlap(&self, one: &ToyUpdate, other: &ToyUpdate) -> f64 {
        self.toy.overlap(one, other)
    }

    fn probe(&self, seed: &Digest) -> Digest {
        self.toy.probe(seed)
    }

    fn judge(&mut self, job: &JudgeJob, update: &ToyUpdate, among: &[&ToyUpdate]) -> Result<Evidence, BoxError> {
        self.place.compute(JUDGEMENT);
        self.toy.judge(job, update, among)
    }

    fn apply(&mut self, updates: &[(f32, &ToyUpdate)], own: Own, next: Window) -> Result<Vec<usize>, BoxError> {
        let mut updates = updates.to_vec();
        if self.place.profile().has(Defect::Order) {
            updates.reverse();
        }
        if self.place.profile().has(Defect::Drop) && next.0.is_multiple_of(5) {
            updates.pop();
        }
        if let Some(cheater) = &mut self.cheater {
            cheater.watch(&updates);
        }
        self.toy.apply(&updates, own, next)
    }

    fn heldout_loss(&mut self) -> Result<f32, BoxError> {
        self.toy.heldout_loss()
    }

    fn state_digest(&self) -> Digest {
        self.toy.state_digest()
    }

    fn checkpoint(&self) -> Vec<u8> {
        self.toy.checkpoint()
    }

    fn checkpoint_bytes(&self) -> u64 {
        self.toy.checkpoint_bytes()
    }

    fn adopt(&mut self, window: Window, checkpoint: &[u8]) -> Result<(), BoxError> {
        self.toy.adopt(window, checkpoint)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, BoxError> {
        self.toy.snapshot()
    }
}
