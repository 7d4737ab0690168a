//! The learning rate over the course of a run.

/// Linear warm-up, then a cosine down to a floor (Loshchilov and Hutter, SGDR, arXiv:1608.03983).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateSchedule {
    /// Highest learning rate.
    pub peak: f32,
    /// Steps of linear warm-up; the first step has rate `peak / warmup`.
    pub warmup: u64,
    /// Step at which the cosine reaches the floor.
    pub total: u64,
    /// Lowest rate after warm-up, as a fraction of `peak`.
    pub floor: f32,
}

impl RateSchedule {
    /// The learning rate of a step; the first is step 0.
    pub fn rate(&self, step: u64) -> f32 {
        if step < self.warmup {
            return (f64::from(self.peak) * (step + 1) as f64 / self.warmup as f64) as f32;
        }
        let length = self.total.saturating_sub(self.warmup).max(1);
        let progress = (step - self.warmup).min(length) as f64 / length as f64;
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        let floor = f64::from(self.floor);
        (f64::from(self.peak) * (floor + (1.0 - floor) * cosine)) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_then_cosine_then_floor() {
        let schedule = RateSchedule { peak: 2.0, warmup: 4, total: 12, floor: 0.1 };
        for (step, rate) in [(0, 0.5), (3, 2.0), (4, 2.0), (8, 1.1), (12, 0.2), (1000, 0.2)] {
            assert!((schedule.rate(step) - rate).abs() < 1e-6, "{step}: {}", schedule.rate(step));
        }
    }

    #[test]
    fn degenerate_schedules_stay_finite() {
        for (warmup, total) in [(0, 0), (5, 0), (0, 1), (u64::MAX, 0)] {
            let schedule = RateSchedule { peak: 1.0, warmup, total, floor: 0.1 };
            for step in [0, 1, 4, 5, 6, u64::MAX] {
                let rate = schedule.rate(step);
                assert!((0.0..=1.0).contains(&rate), "{warmup} {total} {step}: {rate}");
            }
        }
    }
}
