//! A token bucket, the measure of what one peer may use.

use std::time::Duration;

/// Holds up to `burst` tokens and gains `rate` tokens per second. Time is given by the caller, as the time since any fixed instant.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    updated: Duration,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(rate: u64, burst: u64, now: Duration) -> Self {
        Self { rate: rate as f64, burst: burst as f64, tokens: burst as f64, updated: now }
    }

    /// Takes `amount` if anything is left; the bucket may go into debt by that. Otherwise says how long to wait.
    pub(crate) fn take(&mut self, amount: u64, now: Duration) -> Result<(), Duration> {
        self.refill(now);
        if self.tokens <= 0.0 {
            return Err(self.wait());
        }
        self.tokens -= amount as f64;
        Ok(())
    }

    /// Takes `amount` whatever is left.
    pub(crate) fn force(&mut self, amount: u64, now: Duration) {
        self.refill(now);
        self.tokens -= amount as f64;
    }

    /// Whether nothing is left, and if so how long to wait.
    pub(crate) fn check(&mut self, now: Duration) -> Result<(), Duration> {
        self.take(0, now)
    }

    /// Whether forgetting this bucket would change nothing.
    pub(crate) fn is_full(&mut self, now: Duration) -> bool {
        self.refill(now);
        self.tokens >= self.burst
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.updated);
        self.updated = self.updated.max(now);
        self.tokens = (self.tokens + passed.as_secs_f64() * self.rate).min(self.burst);
    }

    /// Until one token is there, at most an hour.
    fn wait(&self) -> Duration {
        let seconds = (1.0 - self.tokens) / self.rate.max(f64::MIN_POSITIVE);
        Duration::from_secs_f64(seconds.clamp(0.001, 3600.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn debt_is_paid_before_the_next() {
        let mut bucket = Bucket::new(10, 5, Duration::ZERO);
        assert_eq!(bucket.take(25, Duration::ZERO), Ok(()));
        assert_eq!(bucket.take(1, Duration::from_secs(1)), Err(Duration::from_millis(1100)));
        assert_eq!(bucket.take(1, Duration::from_millis(2100)), Ok(()));
        assert!(bucket.is_full(Duration::from_secs(3)));
    }

    #[test]
    fn a_bucket_that_never_fills_asks_for_an_hour() {
        let mut bucket = Bucket::new(0, 0, Duration::ZERO);
        assert_eq!(bucket.take(1, Duration::ZERO), Err(Duration::from_secs(3600)));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate_and_one_overdraft(
            steps in proptest::collection::vec((0..50_u64, 0..2000_u64), 1..100),
        ) {
            let (rate, burst, largest) = (7, 40, 49);
            let mut bucket = Bucket::new(rate, burst, Duration::ZERO);
            let mut now = Duration::ZERO;
            let mut taken = 0;
            for (amount, millis) in steps {
                now += Duration::from_millis(millis);
                if bucket.take(amount, now).is_ok() {
                    taken += amount;
                }
            }
            prop_assert!(taken as f64 <= burst as f64 + rate as f64 * now.as_secs_f64() + largest as f64 + 1e-6);
        }
    }
}
