//! Scores become weights for the chain.

use pactum_protocol::Uid;

/// `scores` divided by their sum; peers whose score is not finite or not above 0 are left out.
#[must_use]
pub fn normalised(scores: &[(Uid, f64)]) -> Vec<(Uid, f32)> {
    let sound: Vec<(Uid, f64)> =
        scores.iter().copied().filter(|(_, score)| score.is_finite() && *score > 0.0).collect();
    // Scores near the largest number there is would have an infinite sum.
    let top = sound.iter().map(|(_, score)| *score).fold(0.0, f64::max);
    let sum: f64 = sound.iter().map(|(_, score)| score / top).sum();
    #[expect(clippy::cast_possible_truncation, reason = "a weight is in 0..=1 and needs no more than 24 bits")]
    sound.iter().map(|(uid, score)| (*uid, (score / top / sum) as f32)).collect()
}

/// The chain's form of weights: each divided by the largest, times 65535, rounded to the nearest whole number and to
/// the even one half-way. What rounds to 0, is not finite or not above 0 is left out.
#[must_use]
pub fn weights_u16(weights: &[(Uid, f32)]) -> Vec<(Uid, u16)> {
    let sound = || weights.iter().filter(|(_, weight)| weight.is_finite() && *weight > 0.0);
    let top = f64::from(sound().map(|(_, weight)| *weight).fold(0.0, f32::max));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share in 0..=1 of 65535, rounded, is a u16"
    )]
    let quantised = |weight: f32| (f64::from(weight) / top * 65535.0).round_ties_even() as u16;
    sound().map(|(uid, weight)| (*uid, quantised(*weight))).filter(|(_, weight)| *weight > 0).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uids<T: Copy>(values: &[T]) -> Vec<(Uid, T)> {
        (0..).map(Uid).zip(values.iter().copied()).collect()
    }

    #[track_caller]
    fn check(weights: &[f32], expected: &[u16]) {
        let found: Vec<u16> = weights_u16(&uids(weights)).iter().map(|(_, weight)| *weight).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_largest_weight_is_65535_and_halves_go_to_the_even_number() {
        check(&[1.0, 0.5, 0.25], &[65535, 32768, 16384]);
        check(&[65535.0, 2.5, 3.5, 1.0], &[65535, 2, 4, 1]);
        check(&[65535.0, 0.5], &[65535]);
        check(&[], &[]);
        check(&[0.0, -1.0, f32::NAN, f32::INFINITY], &[]);
        check(&[1e-30, 5e-31], &[65535, 32768]);
    }

    #[test]
    fn worthless_scores_have_no_weight() {
        let found = normalised(&uids(&[1.0, 0.0, f64::NAN, 3.0, -2.0]));
        assert_eq!(found, [(Uid(0), 0.25), (Uid(3), 0.75)]);
        assert_eq!(normalised(&uids(&[0.0, 0.0])), []);
        assert_eq!(normalised(&uids(&[f64::MAX, f64::MAX])), [(Uid(0), 0.5), (Uid(1), 0.5)]);
    }

    proptest! {
        #[test]
        fn weights_sum_to_one_and_keep_the_order(scores in proptest::collection::vec(0.0f64..1e6, 1..40)) {
            let weights = normalised(&uids(&scores));
            prop_assert!(weights.is_empty() || (weights.iter().map(|(_, w)| f64::from(*w)).sum::<f64>() - 1.0).abs() < 1e-5);
            for (a, b) in weights.iter().zip(weights.iter().skip(1)) {
                let (x, y) = (scores[usize::from(a.0.0)], scores[usize::from(b.0.0)]);
                prop_assert!((x <= y || a.1 >= b.1) && (x >= y || a.1 <= b.1));
            }
        }
    }
}
