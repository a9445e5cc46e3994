//! The rate limit for every log line that a peer or an input can cause.

use std::time::Duration;

use crate::clock::{Clock, duration_ns};

/// Lines that pass at once after a quiet time.
const BURST: u32 = 10;
/// Time after which one more line may pass.
const REFILL: Duration = Duration::from_secs(30);

/// Admits a burst of lines and then one per interval, with the number of lines left out in between.
///
/// ```
/// use heqis_actors::{Clock, LogLimit};
///
/// let mut limit = LogLimit::new(Clock::virtual_at(0));
/// let admitted = (0..100).filter(|_| limit.admit().is_some()).count();
/// assert_eq!(admitted, 10);
/// ```
#[derive(Clone, Debug)]
pub struct LogLimit {
    clock: Clock,
    tokens: u32,
    refilled_ns: i64,
    left_out: u64,
}

impl LogLimit {
    /// A limit that has admitted nothing yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            refilled_ns: clock.now_ns(),
            clock,
            tokens: BURST,
            left_out: 0,
        }
    }

    /// Returns whether the next line may be written, as the number of lines left out since the last one.
    pub fn admit(&mut self) -> Option<u64> {
        let now_ns = self.clock.now_ns();
        let refill_ns = duration_ns(REFILL);
        let refills = now_ns.saturating_sub(self.refilled_ns) / refill_ns;
        if refills > 0 {
            self.refilled_ns = self.refilled_ns.saturating_add(refills * refill_ns);
            let refills = u32::try_from(refills).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(refills).min(BURST);
        }
        match self.tokens.checked_sub(1) {
            Some(rest) => {
                self.tokens = rest;
                Some(std::mem::take(&mut self.left_out))
            }
            None => {
                self.left_out += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_a_burst_and_then_a_line_per_refill_with_what_was_left_out() {
        let clock = Clock::virtual_at(0);
        let mut limit = LogLimit::new(clock.clone());
        let admitted: Vec<u64> = (0..100).filter_map(|_| limit.admit()).collect();
        assert_eq!(admitted, vec![0; BURST as usize]);
        clock.advance_to(duration_ns(REFILL));
        assert_eq!((limit.admit(), limit.admit()), (Some(90), None));
        clock.advance_to(duration_ns(REFILL * 100));
        assert_eq!(limit.admit(), Some(1));
        let admitted = (0..100).filter(|_| limit.admit().is_some()).count();
        assert_eq!(admitted, BURST as usize - 1);
    }
}
