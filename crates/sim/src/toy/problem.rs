//! A small regression that can be learnt for a hundred windows.

use pactum_protocol::{Digest, Hparams};

use crate::random::Random;

/// Parameters of the model.
pub(crate) const DIMENSION: usize = 256;

/// Features that an example has; all others are zero, as in an embedding.
const FEATURES: usize = 4;

/// Examples in a sample, as tokens in a sequence.
const EXAMPLES: usize = 4;

/// The amplitude of the noise on the targets.
const NOISE: f32 = 0.3;

const TRUTH: u64 = 1;
const ASSIGNED: u64 = 2;
const UNASSIGNED: u64 = 3;
const HELD_OUT: u64 = 4;

/// Where the hidden parameters lie and what the samples are: all from one seed.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    seed: u64,
    truth: Vec<f32>,
}

/// Which samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source([u64; 4]);

struct Example {
    features: [(usize, f32); FEATURES],
    target: f32,
}

impl Source {
    /// What the block hash `seed` assigns to `uid`.
    pub(crate) fn assigned(seed: &Digest, uid: u16) -> Self {
        Self([ASSIGNED, word(seed), u64::from(uid), 0])
    }

    /// What the block hash `seed` assigns to nobody, as the block hash `draw` draws it: the same for all miners.
    pub(crate) fn unassigned(seed: &Digest, draw: &Digest) -> Self {
        Self([UNASSIGNED, word(seed), word(draw), 0])
    }

    /// What is never trained on.
    pub(crate) fn held_out() -> Self {
        Self([HELD_OUT, 0, 0, 0])
    }
}

impl Problem {
    pub(crate) fn new(hparams: &Hparams) -> Self {
        let seed = word(&hparams.dataset);
        let mut random = Random::of(&[TRUTH, seed]);
        Self { seed, truth: (0..DIMENSION).map(|_| 2.0 * random.signed()).collect() }
    }

    /// The mean loss ½·(x·θ − y)² of one sample.
    pub(crate) fn loss(&self, theta: &[f32], source: Source, sample: u64) -> f32 {
        let mut sum = 0.0;
        for example in self.sample(source, sample) {
            let error = example.error(theta);
            sum += 0.5 * error * error;
        }
        sum / 4.0
    }

    /// One step of SGD down the mean loss of `samples`, which is returned.
    pub(crate) fn descend(&self, theta: &mut [f32], source: Source, samples: std::ops::Range<u64>, rate: f32) -> f32 {
        let mut touched: Vec<(usize, f32)> = Vec::new();
        let mut loss = 0.0;
        #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
        let count = (samples.end - samples.start).max(1) as f32;
        for sample in samples {
            for example in self.sample(source, sample) {
                let error = example.error(theta);
                loss += 0.5 * error * error / (4.0 * count);
                touched.extend(example.features.iter().map(|(at, value)| (*at, error * value / (4.0 * count))));
            }
        }
        touched.iter().for_each(|(at, slope)| theta[*at] -= rate * slope);
        loss
    }

    fn sample(&self, source: Source, sample: u64) -> [Example; EXAMPLES] {
        let [kind, a, b, c] = source.0;
        let mut random = Random::of(&[self.seed, kind, a, b, c, sample]);
        std::array::from_fn(|_| self.example(&mut random))
    }

    fn example(&self, random: &mut Random) -> Example {
        let features = std::array::from_fn(|_| (random.index(DIMENSION), random.signed()));
        let clean: f32 = features.iter().map(|(at, value): &(usize, f32)| value * self.truth[*at]).sum();
        Example { features, target: clean + NOISE * random.signed() }
    }
}

impl Example {
    fn error(&self, theta: &[f32]) -> f32 {
        self.features.iter().map(|(at, value)| value * theta[*at]).sum::<f32>() - self.target
    }
}

fn word(digest: &Digest) -> u64 {
    digest.0[..8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}
