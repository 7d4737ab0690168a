//! The learning rate over the course of a run.

use std::f64::consts::PI;

/// How the learning rate of a step follows from its place in the run; the first is step 0.
///
/// `warmup` steps rise linearly, the first at `peak / warmup`. `floor` is a fraction of the peak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RateSchedule {
    /// Warm-up, then the peak for ever: the trunk of a run whose end is not known yet.
    Constant {
        /// Highest learning rate.
        peak: f32,
        /// Steps of linear warm-up.
        warmup: u64,
    },
    /// Warm-up, then a cosine down to a floor (Loshchilov and Hutter, SGDR, arXiv:1608.03983).
    Cosine {
        /// Highest learning rate.
        peak: f32,
        /// Steps of linear warm-up.
        warmup: u64,
        /// Step at which the cosine reaches the floor.
        total: u64,
        /// Lowest rate after warm-up, as a fraction of `peak`.
        floor: f32,
    },
    /// Warm-up, a stable stretch at the peak, then a decay along 1 − √ to the floor (WSD of MiniCPM, arXiv:2404.06395,
    /// with the shape that Hägele et al., arXiv:2405.18392, found best).
    Wsd {
        /// Highest learning rate.
        peak: f32,
        /// Steps of linear warm-up.
        warmup: u64,
        /// Step at which the decay ends.
        total: u64,
        /// Steps of the decay, the last before `total`.
        decay: u64,
        /// Rate from `total` on, as a fraction of `peak`.
        floor: f32,
    },
    /// A straight line from the rate that a run had reached down to the floor, for the last stretch on chosen data
    /// (the annealing of Llama 3, arXiv:2407.21783, section 3.4.3, which ends at zero).
    Anneal {
        /// The rate up to `begin`.
        peak: f32,
        /// Step from which on it falls.
        begin: u64,
        /// Step at which it reaches the floor.
        total: u64,
        /// Rate from `total` on, as a fraction of `peak`.
        floor: f32,
    },
}

impl RateSchedule {
    /// The learning rate of a step; the first is step 0.
    pub fn rate(&self, step: u64) -> f32 {
        let factor = match *self {
            Self::Constant { warmup, .. } => rise(step, warmup),
            Self::Cosine { warmup, .. } | Self::Wsd { warmup, .. } if step < warmup => rise(step, warmup),
            Self::Cosine { warmup, total, floor, .. } => {
                fall(floor, 0.5 * (1.0 + (PI * progress(step, warmup, total)).cos()))
            }
            Self::Wsd { warmup, total, decay, floor, .. } => {
                let begin = total.saturating_sub(decay).max(warmup);
                fall(floor, 1.0 - progress(step, begin, total).sqrt())
            }
            Self::Anneal { begin, total, floor, .. } => fall(floor, 1.0 - progress(step, begin, total)),
        };
        (f64::from(self.peak()) * factor) as f32
    }

    /// The highest rate.
    pub fn peak(&self) -> f32 {
        match *self {
            Self::Constant { peak, .. }
            | Self::Cosine { peak, .. }
            | Self::Wsd { peak, .. }
            | Self::Anneal { peak, .. } => peak,
        }
    }
}

/// The share of the peak in a linear warm-up, and after it.
fn rise(step: u64, warmup: u64) -> f64 {
    if step < warmup { (step + 1) as f64 / warmup as f64 } else { 1.0 }
}

/// How far the step is on its way from `begin` to `end`: 0 before, 1 after.
fn progress(step: u64, begin: u64, end: u64) -> f64 {
    let length = end.saturating_sub(begin).max(1);
    step.saturating_sub(begin).min(length) as f64 / length as f64
}

/// The share of the peak of which `left`, from 1 to 0, is above the floor.
fn fall(floor: f32, left: f64) -> f64 {
    let floor = f64::from(floor);
    floor + (1.0 - floor) * left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schedule: RateSchedule, expected: &[(u64, f32)]) {
        for &(step, rate) in expected {
            let found = schedule.rate(step);
            assert!((found - rate).abs() < 1e-6, "{schedule:?} at {step}: {found}, not {rate}");
        }
    }

    #[test]
    fn each_shape_follows_its_formula() {
        let cosine = RateSchedule::Cosine { peak: 2.0, warmup: 4, total: 12, floor: 0.1 };
        check(cosine, &[(0, 0.5), (3, 2.0), (4, 2.0), (8, 1.1), (12, 0.2), (1000, 0.2)]);
        // A third of the way: 0.1 + 0.9 · (1 + cos 60°) / 2.
        check(RateSchedule::Cosine { peak: 1.0, warmup: 0, total: 9, floor: 0.1 }, &[(3, 0.775)]);
        let wsd = RateSchedule::Wsd { peak: 2.0, warmup: 4, total: 32, decay: 16, floor: 0.0 };
        check(wsd, &[(0, 0.5), (3, 2.0), (4, 2.0), (16, 2.0), (17, 1.5), (20, 1.0), (25, 0.5), (32, 0.0), (99, 0.0)]);
        let kept = RateSchedule::Wsd { peak: 2.0, warmup: 4, total: 32, decay: 16, floor: 0.1 };
        check(kept, &[(16, 2.0), (20, 1.1), (32, 0.2)]);
        let anneal = RateSchedule::Anneal { peak: 2.0, begin: 10, total: 20, floor: 0.0 };
        check(anneal, &[(0, 2.0), (10, 2.0), (11, 1.8), (15, 1.0), (19, 0.2), (20, 0.0), (99, 0.0)]);
        check(RateSchedule::Anneal { peak: 2.0, begin: 10, total: 20, floor: 0.5 }, &[(15, 1.5), (20, 1.0)]);
        check(
            RateSchedule::Constant { peak: 2.0, warmup: 4 },
            &[(0, 0.5), (1, 1.0), (3, 2.0), (4, 2.0), (1 << 40, 2.0)],
        );
    }

    #[test]
    fn an_anneal_goes_on_where_a_constant_rate_was_left() {
        let trunk = RateSchedule::Constant { peak: 3e-4, warmup: 10 };
        let last = RateSchedule::Anneal { peak: trunk.peak(), begin: 50, total: 60, floor: 0.0 };
        assert_eq!(trunk.rate(50).to_bits(), last.rate(50).to_bits());
    }

    #[test]
    fn degenerate_schedules_stay_within_their_bounds() {
        for (warmup, total) in [(0, 0), (5, 0), (0, 1), (u64::MAX, 0), (7, u64::MAX)] {
            let (peak, floor, begin) = (1.0, 0.1, warmup);
            for schedule in [
                RateSchedule::Constant { peak, warmup },
                RateSchedule::Cosine { peak, warmup, total, floor },
                RateSchedule::Wsd { peak, warmup, total, decay: u64::MAX, floor },
                RateSchedule::Wsd { peak, warmup, total, decay: 0, floor },
                RateSchedule::Anneal { peak, begin, total, floor },
            ] {
                let rates = [0, 1, 4, 5, 6, u64::MAX].map(|step| schedule.rate(step));
                assert!(rates.iter().all(|rate| (0.0..=1.0).contains(rate)), "{schedule:?}: {rates:?}");
            }
        }
    }
}
