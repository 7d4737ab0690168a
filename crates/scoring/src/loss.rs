//! How much a contribution lowers the loss, and how sure that is.

/// The largest difference of one sequence's losses that is believed, in nats per token: more than the entropy of any
/// vocabulary, so that only a contribution that breaks the model meets it.
const DIFFERENCE_MAX: f64 = 20.0;

/// The improvement of the loss by one contribution: `before - after` per sequence, in nats per token. Positive is good.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LossScore {
    /// The mean improvement.
    pub mean: f64,
    /// The standard error of the mean; sequences are paired, so that what all have in common is no noise.
    pub stderr: f64,
    /// How many sequences.
    pub n: u32,
}

impl LossScore {
    /// The score of paired losses (before, after) of the same sequences; none of fewer than two pairs.
    ///
    /// A difference that is not finite counts as the worst there is: the contribution broke the model.
    #[must_use]
    pub fn from_pairs(pairs: &[(f32, f32)]) -> Option<Self> {
        let n = u32::try_from(pairs.len()).ok().filter(|n| *n >= 2)?;
        let differences = pairs.iter().map(|(before, after)| {
            let difference = f64::from(*before) - f64::from(*after);
            if difference.is_finite() { difference.clamp(-DIFFERENCE_MAX, DIFFERENCE_MAX) } else { -DIFFERENCE_MAX }
        });
        let count = f64::from(n);
        let mean = differences.clone().sum::<f64>() / count;
        let variance = differences.map(|difference| (difference - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Some(Self { mean, stderr: (variance / count).sqrt(), n })
    }

    /// The mean less `z` standard errors.
    #[must_use]
    pub fn lower(&self, z: f64) -> f64 {
        self.mean - z * self.stderr
    }

    /// The mean and `z` standard errors.
    #[must_use]
    pub fn upper(&self, z: f64) -> f64 {
        self.mean + z * self.stderr
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.mean.is_finite() && self.stderr.is_finite() && self.stderr >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_score_is_the_mean_of_paired_differences() {
        let score = LossScore::from_pairs(&[(3.0, 2.0), (5.0, 3.0), (4.0, 1.0)]).unwrap();
        assert_eq!((score.mean, score.n), (2.0, 3));
        assert!((score.stderr - (1.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!(score.lower(1.0) < score.mean && score.mean < score.upper(1.0));
    }

    #[test]
    fn what_all_sequences_share_is_no_noise() {
        let score = LossScore::from_pairs(&[(3.0, 2.5), (9.0, 8.5), (1.0, 0.5)]).unwrap();
        assert_eq!((score.mean, score.stderr), (0.5, 0.0));
    }

    #[test]
    fn one_pair_says_nothing() {
        assert_eq!(LossScore::from_pairs(&[]), None);
        assert_eq!(LossScore::from_pairs(&[(1.0, 0.5)]), None);
    }

    #[test]
    fn a_broken_model_is_the_worst_score() {
        for after in [f32::NAN, f32::INFINITY, 1e30] {
            let score = LossScore::from_pairs(&[(3.0, after), (3.0, after)]).unwrap();
            assert_eq!(score.mean, -DIFFERENCE_MAX);
        }
    }

    proptest! {
        #[test]
        fn every_score_is_usable(pairs in proptest::collection::vec(any::<(f32, f32)>(), 2..50)) {
            prop_assert!(LossScore::from_pairs(&pairs).unwrap().is_usable());
        }

        #[test]
        fn swapping_before_and_after_turns_the_sign(
            pairs in proptest::collection::vec((0.0f32..10.0, 0.0f32..10.0), 2..50),
        ) {
            let swapped: Vec<(f32, f32)> = pairs.iter().map(|(before, after)| (*after, *before)).collect();
            let (one, other) = (LossScore::from_pairs(&pairs).unwrap(), LossScore::from_pairs(&swapped).unwrap());
            prop_assert!((one.mean + other.mean).abs() < 1e-12);
        }
    }
}
