//! How long to wait before the next attempt to connect.

use std::time::Duration;

use crate::error::SpError;

/// Exponentially growing, jittered delays between a least and a greatest bound.
///
/// The k-th delay is drawn evenly from the upper half of `min · 2^k`, cut at `max`, and never lies
/// below `min`. The jitter keeps the nodes of a rack from dialing in step after a power cut.
/// Draws come from SplitMix64 (Steele, Lea, Flood 2014), so a seed fixes the whole sequence.
#[derive(Clone, Debug)]
pub struct Backoff {
    min_ns: u64,
    max_ns: u64,
    step_ns: u64,
    state: u64,
}

impl Backoff {
    /// Returns a back-off that starts at `min`.
    ///
    /// # Errors
    /// [`SpError::InvalidOption`] when `min` is zero, `max` is below `min`, or `max` is above a day.
    pub fn new(min: Duration, max: Duration, seed: u64) -> Result<Self, SpError> {
        let refuse = |name, value: Duration, rule| {
            Err(SpError::InvalidOption {
                name,
                value: format!("{value:?}"),
                rule,
            })
        };
        if min.is_zero() {
            return refuse("backoff_min", min, "must be above zero");
        }
        if max < min {
            return refuse("backoff_max", max, "must not be below backoff_min");
        }
        if max > Duration::from_secs(86_400) {
            return refuse("backoff_max", max, "must not be above a day");
        }
        // A day is 8.64e13 ns: both bounds fit, and doubling below a day cannot wrap.
        let (min_ns, max_ns) = (min.as_nanos() as u64, max.as_nanos() as u64);
        Ok(Self {
            min_ns,
            max_ns,
            step_ns: min_ns,
            state: seed,
        })
    }

    /// Returns the next delay and doubles the one after it.
    pub fn next_delay(&mut self) -> Duration {
        let high = self.step_ns;
        let low = (high / 2).max(self.min_ns);
        self.step_ns = (high * 2).min(self.max_ns);
        Duration::from_nanos(low + self.draw() % (high - low + 1))
    }

    /// Starts again from the least delay, to be called once a connection is stable.
    /// The random sequence continues.
    pub fn reset(&mut self) {
        self.step_ns = self.min_ns;
    }

    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn splitmix_matches_the_published_sequence() {
        // The reference outputs for seed 1234567 (Vigna's splitmix64.c).
        let mut backoff = Backoff::new(MS(1), MS(1), 1_234_567).unwrap();
        assert_eq!(backoff.draw(), 6_457_827_717_110_365_317);
        assert_eq!(backoff.draw(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn bad_bounds_are_refused() {
        for (min, max) in [(0, 10), (10, 9), (10, 86_400_001)] {
            let error = Backoff::new(MS(min), MS(max), 0).unwrap_err();
            assert_eq!(error.cause(), "invalid_option");
        }
    }

    proptest! {
        #[test]
        fn delays_stay_in_bounds_grow_and_repeat_from_the_seed(
            min in 1u64..5_000, span in 0u64..100_000, seed: u64,
        ) {
            let (min, max) = (MS(min), MS(min + span));
            let mut one = Backoff::new(min, max, seed).unwrap();
            let mut two = Backoff::new(min, max, seed).unwrap();
            let mut step = min;
            for _ in 0..40 {
                let delay = one.next_delay();
                prop_assert_eq!(delay, two.next_delay());
                prop_assert!(delay >= min && delay <= step && delay >= step / 2);
                step = (step * 2).min(max);
            }
            prop_assert_eq!(step, max.min(min * (1 << 20)));
            one.reset();
            prop_assert_eq!(one.next_delay(), min);
        }
    }
}
