//! Whether a peer trains on the samples that it was assigned.

/// The weight of a window relative to the one after it.
const DECAY: f64 = 0.95;

/// How many windows' worth of evidence it takes before anything is concluded.
const WINDOWS_MIN: f64 = 4.0;

/// The gap between the improvement on assigned samples and that on unassigned ones, accumulated over windows.
///
/// Who trained on its samples improves them more than others; who sends somebody else's work, or none, does not. One
/// window's gap is mostly noise, so that it is the accumulated mean with its standard error that decides, against the
/// gap that is usual among all peers; while that one cannot be told from zero nobody is suspected.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct DataProof {
    /// Σ of the windows' weights.
    weight: f64,
    /// Σ of the squared weights.
    squares: f64,
    /// The weighted mean gap.
    mean: f64,
    /// Σ of weighted squared deviations from the mean.
    scatter: f64,
}

impl DataProof {
    /// Takes the gap of one more window, in any unit that is the same in all windows. What is not finite is left out.
    pub fn push(&mut self, gap: f64) {
        if !gap.is_finite() {
            return;
        }
        self.weight = self.weight * DECAY + 1.0;
        self.squares = self.squares * DECAY * DECAY + 1.0;
        let deviation = gap - self.mean;
        self.mean += deviation / self.weight;
        self.scatter = self.scatter * DECAY + deviation * (gap - self.mean);
    }

    /// How many equally weighted windows the evidence is worth.
    #[must_use]
    pub fn windows(&self) -> f64 {
        if self.squares > 0.0 { self.weight * self.weight / self.squares } else { 0.0 }
    }

    /// The mean gap and its standard error; none before there is enough evidence.
    #[must_use]
    pub fn gap(&self) -> Option<(f64, f64)> {
        let windows = self.windows();
        let enough = windows >= WINDOWS_MIN && self.weight > 1.0;
        enough.then(|| {
            let variance = self.scatter / self.weight * windows / (windows - 1.0);
            (self.mean, (variance.max(0.0) / windows).sqrt())
        })
    }

    /// Mean gap less `z` standard errors; above 0 the peer is proven to train on its samples.
    #[must_use]
    pub fn lower(&self, z: f64) -> Option<f64> {
        self.gap().map(|(mean, stderr)| mean - z * stderr)
    }

    /// The factor in 0..=1 by which the peer's score is multiplied, given the gap that is `usual`.
    ///
    /// It falls from 1 to 0 as the peer's gap goes from one to three standard errors below half the usual one.
    #[must_use]
    pub fn gate(&self, usual: Option<f64>) -> f64 {
        let (Some(usual), Some((mean, stderr))) = (usual, self.gap()) else { return 1.0 };
        let distance = mean - usual / 2.0;
        if stderr > 0.0 {
            ((distance / stderr + 3.0) / 2.0).clamp(0.0, 1.0)
        } else {
            f64::from(u8::from(distance >= 0.0))
        }
    }

    #[cfg(feature = "serde")]
    pub(crate) fn sanitised(self) -> Self {
        let numbers = [self.weight, self.squares, self.mean, self.scatter];
        let sound = numbers.iter().all(|number| number.is_finite()) && self.weight >= 0.0 && self.squares >= 0.0;
        if sound { self } else { Self::default() }
    }
}

/// The gap that is usual: the median over peers, if it is more than two typical standard errors above 0.
pub(crate) fn usual_gap<'a>(proofs: impl Iterator<Item = &'a DataProof>) -> Option<f64> {
    let (mut means, mut errors): (Vec<f64>, Vec<f64>) = proofs.filter_map(DataProof::gap).unzip();
    if means.len() < 3 {
        return None;
    }
    let (gap, error) = (median(&mut means)?, median(&mut errors)?);
    (gap > 2.0 * error).then_some(gap)
}

/// The lower median.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proof(gaps: &[f64]) -> DataProof {
        let mut proof = DataProof::default();
        gaps.iter().for_each(|gap| proof.push(*gap));
        proof
    }

    #[test]
    fn few_windows_conclude_nothing() {
        let proof = proof(&[-1.0, -1.0, -1.0]);
        assert_eq!((proof.gap(), proof.lower(2.0), proof.gate(Some(1.0))), (None, None, 1.0));
    }

    #[test]
    fn a_peer_with_the_usual_gap_passes_and_one_without_does_not() {
        let honest = [0.5, 0.8, 0.2, 0.6, 0.4, 0.7, 0.3, 0.5];
        let foreign: Vec<f64> = honest.iter().map(|gap| gap - 0.5).collect();
        assert!(proof(&honest).lower(2.0).unwrap() > 0.0);
        assert_eq!(proof(&honest).gate(Some(0.5)), 1.0);
        assert!(proof(&foreign).gate(Some(0.5)) < 0.2);
        assert_eq!(proof(&foreign).gate(None), 1.0, "nobody is suspected while no gap is usual");
    }

    #[test]
    fn the_usual_gap_needs_three_peers_and_significance() {
        let clear = proof(&[0.5, 0.8, 0.2, 0.6, 0.4, 0.7, 0.3, 0.5]);
        let noise = proof(&[1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -0.9]);
        assert!(usual_gap([clear, clear, clear].iter()).is_some());
        assert_eq!(usual_gap([clear, clear].iter()), None);
        assert_eq!(usual_gap([noise, noise, noise].iter()), None);
    }

    #[test]
    fn a_bad_past_is_forgotten() {
        let mut gaps = vec![0.0; 30];
        let before = proof(&gaps).gap().unwrap().0;
        gaps.extend([1.0; 60]);
        assert_eq!(before, 0.0);
        assert!(proof(&gaps).gap().unwrap().0 > 0.9);
    }

    proptest! {
        #[test]
        fn statistics_stay_finite(gaps in proptest::collection::vec(any::<f64>().prop_map(|g| g % 1e100), 0..60)) {
            let proof = proof(&gaps);
            if let Some((mean, stderr)) = proof.gap() {
                prop_assert!(mean.is_finite() && stderr >= 0.0);
            }
            prop_assert!((0.0..=1.0).contains(&proof.gate(Some(0.1))));
        }
    }
}
