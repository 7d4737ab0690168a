use crate::Shuffle;

/// Which training samples a window gives to which slot (a slot is a peer's number on the network).
///
/// Each epoch is one keyed permutation of the dataset. A window owns the next `slots * per_slot` places of it, so that
/// no sample comes twice in an epoch; the places that remain at an epoch's end (less than one window's) are left out, and
/// they are others in the next epoch. Inside the window, the hash of the window's first block shuffles the places over
/// the slots: disjoint, checkable by all, and unknown before the window opens.
///
/// A dataset smaller than one window has no such slices: then each window is an epoch, and the slots share the samples by
/// going round. Each sample is then given out equally often (up to one), and a slot sees none twice as long as
/// `per_slot` is not above the number of samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    samples: u64,
    slots: u32,
    per_slot: u32,
}

impl Assignment {
    /// An assignment of `samples` samples to `slots` slots of `per_slot` samples in each window.
    ///
    /// # Errors
    /// If one of them is zero.
    pub fn new(samples: u64, slots: u32, per_slot: u32) -> Result<Self, AssignmentError> {
        if samples == 0 {
            return Err(AssignmentError::NoSamples);
        }
        if slots == 0 || per_slot == 0 {
            return Err(AssignmentError::NoSlots);
        }
        Ok(Self { samples: samples.min(1 << 62), slots, per_slot })
    }

    /// Windows until every sample's turn is over.
    pub fn windows_per_epoch(&self) -> u64 {
        (self.samples / self.slice()).max(1)
    }

    /// Whether the dataset is smaller than one window's demand, so that slots share samples.
    pub fn is_shared(&self) -> bool {
        self.samples < self.slice()
    }

    /// The samples of `slot` in `window`, in training order. `seed` is the hash of the window's first block. Empty for a
    /// slot that is not below `slots`.
    pub fn of(&self, window: u64, slot: u32, seed: &[u8; 32]) -> Vec<u64> {
        if slot >= self.slots {
            return Vec::new();
        }
        let per_slot = u64::from(self.per_slot);
        let first = u64::from(slot) * per_slot;
        let key = key(WINDOW, window, seed);
        let places = first..first + per_slot;
        if self.is_shared() {
            let order = Shuffle::new(key, self.samples);
            return places.filter_map(|place| order.at(place % self.samples)).collect();
        }
        let inside = Shuffle::new(key, self.slice());
        let (epoch, start) = self.epoch(window);
        places.filter_map(|place| inside.at(place)).filter_map(|place| epoch.at(start + place)).collect()
    }

    /// At most `count` different samples that `window` gives to no slot, chosen by `draw`. Empty if the window takes the
    /// whole dataset: use held-out samples then.
    pub fn draw_unassigned(&self, window: u64, draw: &[u8; 32], count: usize) -> Vec<u64> {
        let outside = self.samples.saturating_sub(self.slice());
        let order = Shuffle::new(key(DRAW, u64::MAX, draw), outside);
        let (epoch, start) = self.epoch(window);
        let skip = |place| if place < start { place } else { place + self.slice() };
        first_of(&order, count).filter_map(|place| epoch.at(skip(place))).collect()
    }

    fn slice(&self) -> u64 {
        u64::from(self.slots) * u64::from(self.per_slot)
    }

    /// The permutation of the window's epoch, and the window's first place in it.
    fn epoch(&self, window: u64) -> (Shuffle, u64) {
        let windows = self.windows_per_epoch();
        let key = key(EPOCH, window / windows, &[0; 32]);
        (Shuffle::new(key, self.samples), window % windows * self.slice())
    }
}

/// At most `count` different samples out of `samples`, chosen by `draw`. For scoring: those of a slot
/// ([`Assignment::of`]), and as `draw` the hash of a block after the deadline of submission.
pub fn draw_samples(samples: &[u64], draw: &[u8; 32], count: usize) -> Vec<u64> {
    let mut different = samples.to_vec();
    different.sort_unstable();
    different.dedup();
    let order = Shuffle::new(key(DRAW, 0, draw), different.len() as u64);
    first_of(&order, count).filter_map(|place| different.get(usize::try_from(place).ok()?).copied()).collect()
}

fn first_of(order: &Shuffle, count: usize) -> impl Iterator<Item = u64> {
    (0..order.len()).take(count).filter_map(|place| order.at(place))
}

fn key(context: &str, number: u64, seed: &[u8; 32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(&number.to_le_bytes()).update(seed);
    *hasher.finalize().as_bytes()
}

const EPOCH: &str = "pactum-data 1 order of an epoch";
const WINDOW: &str = "pactum-data 1 slots of a window";
const DRAW: &str = "pactum-data 1 samples for scoring";

/// Why an assignment cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssignmentError {
    /// The dataset has no sample.
    #[error("the dataset has no sample of this context length: prepare more text or choose a shorter context")]
    NoSamples,
    /// There is no slot, or slots of no sample.
    #[error("slots and samples per slot must be at least 1")]
    NoSlots,
}

#[cfg(test)]
mod tests;
