//! How far the peer's clock is ahead of this node's, from the times that heartbeats carry.
//!
//! Each half of an edge writes the time into its heartbeats. The other one finds a *lag*: its own time of arrival less the
//! time of sending, which is how long the way took less what the sender's clock is ahead. One half cannot tell the two
//! apart, so it sends the smallest lag that it has found back. No way takes less than no time, hence
//!
//! ```text
//! lag there = way there + ahead ≥  ahead      found by the peer, and told
//! lag here  = way here  − ahead ≥ −ahead      found here
//! −lag here ≤ ahead ≤ lag there
//! ```
//!
//! The middle of this interval is the offset of NTP (RFC 5905, section 8), taken from the shortest way of each direction;
//! half its width, which is half the round trip, bounds the error however uneven the two ways are.

use std::collections::VecDeque;

use crate::clock::ClockOffset;

/// Lags that are remembered: about a minute of heartbeats.
const WINDOW: usize = 64;
/// Two crystals of 50 ppm each drift apart by one part in so many: so much may a lag have changed since it was found.
const DRIFT: i64 = 10_000;

/// A lag, and when it was found on this node's clock.
#[derive(Clone, Copy, Debug)]
struct Lag {
    ns: i64,
    at_ns: i64,
}

impl Lag {
    /// What the lag may be now, at most.
    fn now(self, now_ns: i64) -> i64 {
        let age_ns = now_ns.saturating_sub(self.at_ns).max(0);
        self.ns.saturating_add(age_ns / DRIFT)
    }
}

/// The clocks of the two ends of one connection.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// The last lags found here, oldest first.
    here: VecDeque<Lag>,
    /// What the peer told last.
    there: Option<Lag>,
    /// Whether the peer has been told a lag.
    told: bool,
}

impl Clocks {
    /// Takes what a heartbeat says that arrived at `now_ns`: when it was sent, and the smallest lag that the peer has found.
    pub(super) fn hear(&mut self, now_ns: i64, sent_ns: i64, there_ns: Option<i64>) {
        self.here.truncate(WINDOW - 1);
        self.here.push_front(Lag {
            ns: now_ns.saturating_sub(sent_ns),
            at_ns: now_ns,
        });
        let told = there_ns.map(|ns| Lag { ns, at_ns: now_ns });
        self.there = told.or(self.there);
    }

    /// The smallest lag found here: what the peer is to be told.
    fn least(&self, now_ns: i64) -> Option<i64> {
        self.here.iter().map(|lag| lag.now(now_ns)).min()
    }

    /// As [`Clocks::least`], for a heartbeat that is sent with it.
    pub(super) fn tell(&mut self, now_ns: i64) -> Option<i64> {
        let least = self.least(now_ns);
        self.told |= least.is_some();
        least
    }

    /// Whether the peer waits for its first lag.
    pub(super) fn owes(&self) -> bool {
        !self.told && !self.here.is_empty()
    }

    /// How far the peer's clock is ahead. `None` before both directions were tried, and when they contradict each other: a
    /// clock was set, or drifts as none should; then all is forgotten.
    pub(super) fn offset(&mut self, now_ns: i64) -> Option<ClockOffset> {
        let (here, there) = (self.least(now_ns)?, self.there?.now(now_ns));
        let uncertainty_ns = here.midpoint(there);
        if uncertainty_ns < 0 {
            *self = Self::default();
            return None;
        }
        Some(ClockOffset {
            ahead_ns: there.midpoint(here.saturating_neg()),
            // Both are rounded towards zero.
            uncertainty_ns: uncertainty_ns.saturating_add(1),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    /// Exchanges heartbeats once a second, the ways taking what `ways` says there and back, between a clock and one that
    /// is `ahead_ns` ahead and gains `gain_ns` a second; calls `look` with the true offset and both estimates.
    fn exchange(
        ahead_ns: i64,
        gain_ns: i64,
        ways: &[(i64, i64)],
        mut look: impl FnMut(i64, Option<ClockOffset>, Option<ClockOffset>),
    ) {
        let (mut ours, mut theirs) = (Clocks::default(), Clocks::default());
        for (second, &(there, back)) in (0..).zip(ways) {
            let start = second * SECOND_NS;
            let ahead = ahead_ns + gain_ns * second;
            let said = ours.tell(start);
            theirs.hear(start + there + ahead, start, said);
            let said = theirs.tell(start + there + ahead);
            ours.hear(start + there + back, start + there + ahead, said);
            let now = start + there + back;
            look(ahead, ours.offset(now), theirs.offset(now + ahead));
        }
    }

    proptest! {
        #[test]
        fn the_true_offset_lies_within_the_uncertainty_whatever_the_ways_take(
            ahead_ns in -10_i64.pow(18)..10_i64.pow(18),
            gain_ns in -99_000_i64..99_000,
            ways in prop::collection::vec((0_i64..40_000_000, 0_i64..40_000_000), 1..200),
        ) {
            let mut looks = 0;
            exchange(ahead_ns, gain_ns, &ways, |ahead, ours, theirs| {
                let ours = ours.unwrap();
                assert!((ours.ahead_ns - ahead).abs() <= ours.uncertainty_ns, "{ours:?}, {ahead}");
                if let Some(theirs) = theirs {
                    assert!((theirs.ahead_ns + ahead).abs() <= theirs.uncertainty_ns, "{theirs:?}, {ahead}");
                }
                looks += 1;
            });
            prop_assert_eq!(looks, ways.len());
        }

        #[test]
        fn the_shortest_way_of_each_direction_bounds_the_uncertainty(
            ways in prop::collection::vec((1_000_i64..40_000_000, 1_000_i64..40_000_000), 1..60),
        ) {
            let mut last = None;
            exchange(250_000_000, 0, &ways, |_, ours, _| last = ours);
            let least = |way: fn(&(i64, i64)) -> i64| ways.iter().map(way).min().unwrap();
            let half = (least(|way| way.0) + least(|way| way.1)) / 2;
            // Beside what the clocks may have drifted in a minute.
            let drifted = 60 * SECOND_NS / DRIFT;
            let found = last.unwrap().uncertainty_ns;
            prop_assert!((half..=half + drifted + 1).contains(&found), "{} {}", found, half);
        }

        /// Whatever a peer says, there is an answer, and it is not negative.
        #[test]
        fn any_times_are_taken(
            said in prop::collection::vec((any::<i64>(), any::<i64>(), any::<Option<i64>>()), 1..100),
        ) {
            let mut clocks = Clocks::default();
            for (now_ns, sent_ns, lag_ns) in said {
                clocks.hear(now_ns, sent_ns, lag_ns);
                prop_assert!(clocks.offset(now_ns).is_none_or(|offset| offset.uncertainty_ns >= 0));
                prop_assert!(clocks.here.len() <= WINDOW);
                clocks.tell(now_ns);
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_is_measured_anew() {
        let mut clocks = Clocks::default();
        clocks.hear(SECOND_NS, SECOND_NS - 10, Some(10));
        assert_eq!(clocks.offset(SECOND_NS).unwrap().ahead_ns, 0);
        // An hour behind from now on: what came before contradicts it.
        let ahead = -3_600 * SECOND_NS;
        let now = 2 * SECOND_NS;
        clocks.hear(now, now - 10 + ahead, Some(10 + ahead));
        assert_eq!(clocks.offset(now), None);
        clocks.hear(now, now - 10 + ahead, Some(10 + ahead));
        assert_eq!(clocks.offset(now).unwrap().ahead_ns, ahead);
    }

    #[test]
    fn the_first_lag_is_owed_until_it_is_told() {
        let mut clocks = Clocks::default();
        assert!(!clocks.owes() && clocks.tell(0).is_none());
        clocks.hear(10, 5, None);
        assert!(clocks.owes() && clocks.offset(10).is_none());
        assert_eq!(clocks.tell(10), Some(5));
        assert!(!clocks.owes());
    }
}
