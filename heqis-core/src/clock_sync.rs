//! How far the peer's clock is ahead of this node's, from the times in heartbeats.
//!
//! Each half of an edge writes the time into its heartbeats. The receiver of one computes a *delay*: its own time of
//! arrival less the time of sending, which is the transit time less the lead of the sender's clock. One half cannot
//! separate the two, so it reports the smallest delay it has measured to the other. No transit takes less than no time,
//! hence
//!
//! ```text
//! remote delay = transit to the peer   + ahead ≥  ahead      measured by the peer, and reported
//! local delay  = transit from the peer − ahead ≥ −ahead      measured here
//! −local delay ≤ ahead ≤ remote delay
//! ```
//!
//! The middle of this interval is the offset of NTP (RFC 5905, section 8), taken from the shortest transit in each
//! direction; half its width, which is half the round trip, bounds the error however uneven the two transits are.

use std::collections::VecDeque;

use crate::clock::ClockOffset;

/// Delays that are kept: about a minute of heartbeats.
const WINDOW: usize = 64;
/// Two crystals of 50 ppm each drift apart by one part in this many: the most by which a delay may have changed since it
/// was measured.
const DRIFT: i64 = 10_000;

/// A delay, and when it was measured on this node's clock.
#[derive(Clone, Copy, Debug)]
struct Delay {
    ns: i64,
    at_ns: i64,
}

impl Delay {
    /// The most that the delay may be now.
    fn now(self, now_ns: i64) -> i64 {
        let age_ns = now_ns.saturating_sub(self.at_ns).max(0);
        self.ns.saturating_add(age_ns / DRIFT)
    }
}

/// Compares the clocks of the two ends of one connection.
#[derive(Debug, Default)]
pub struct ClockSync {
    /// The last delays measured here, newest first.
    local: VecDeque<Delay>,
    /// The last delay that the peer has reported.
    remote: Option<Delay>,
    /// Whether a delay was reported to the peer.
    reported: bool,
}

impl ClockSync {
    /// Records a heartbeat that arrived at `now_ns`: when it was sent, and the smallest delay that the peer has measured.
    pub fn record_remote(&mut self, now_ns: i64, sent_ns: i64, remote_ns: Option<i64>) {
        self.local.truncate(WINDOW - 1);
        self.local.push_front(Delay {
            ns: now_ns.saturating_sub(sent_ns),
            at_ns: now_ns,
        });
        let reported = remote_ns.map(|ns| Delay { ns, at_ns: now_ns });
        self.remote = reported.or(self.remote);
    }

    /// The smallest delay measured here.
    fn least(&self, now_ns: i64) -> Option<i64> {
        self.local.iter().map(|delay| delay.now(now_ns)).min()
    }

    /// The smallest delay measured here, for a heartbeat that is sent with it.
    pub fn report_local(&mut self, now_ns: i64) -> Option<i64> {
        let least = self.least(now_ns);
        self.reported |= least.is_some();
        least
    }

    /// Whether the peer waits for its first report.
    pub fn reply_is_due(&self) -> bool {
        !self.reported && !self.local.is_empty()
    }

    /// How far the peer's clock is ahead. `None` before both directions were measured, and when they contradict each
    /// other because a clock was set or drifts too far; everything is then measured again.
    pub fn offset(&mut self, now_ns: i64) -> Option<ClockOffset> {
        let (local, remote) = (self.least(now_ns)?, self.remote?.now(now_ns));
        let uncertainty_ns = local.midpoint(remote);
        if uncertainty_ns < 0 {
            *self = Self::default();
            return None;
        }
        let ahead_ns = remote.midpoint(local.saturating_neg());
        // Both are rounded towards zero.
        Some(ClockOffset::new(ahead_ns, uncertainty_ns.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    /// Exchanges heartbeats once a second, with the transit times `transits` there and back, between a clock and one that
    /// is `ahead_ns` ahead and gains `gain_ns` a second; calls `check` with the true offset and both estimates.
    fn exchange(
        ahead_ns: i64,
        gain_ns: i64,
        transits: &[(i64, i64)],
        mut check: impl FnMut(i64, Option<ClockOffset>, Option<ClockOffset>),
    ) {
        let (mut ours, mut theirs) = (ClockSync::default(), ClockSync::default());
        for (second, &(there, back)) in (0..).zip(transits) {
            let start = second * SECOND_NS;
            let ahead = ahead_ns + gain_ns * second;
            let reported = ours.report_local(start);
            theirs.record_remote(start + there + ahead, start, reported);
            let reported = theirs.report_local(start + there + ahead);
            ours.record_remote(start + there + back, start + there + ahead, reported);
            let now = start + there + back;
            check(ahead, ours.offset(now), theirs.offset(now + ahead));
        }
    }

    proptest! {
        #[test]
        fn the_true_offset_lies_within_the_uncertainty_for_all_transit_times(
            ahead_ns in -10_i64.pow(18)..10_i64.pow(18),
            gain_ns in -99_000_i64..99_000,
            transits in prop::collection::vec((0_i64..40_000_000, 0_i64..40_000_000), 1..200),
        ) {
            let mut checks = 0;
            exchange(ahead_ns, gain_ns, &transits, |ahead, ours, theirs| {
                let ours = ours.unwrap();
                assert!((ours.ahead_ns - ahead).abs() <= ours.uncertainty_ns, "{ours:?}, {ahead}");
                if let Some(theirs) = theirs {
                    assert!((theirs.ahead_ns + ahead).abs() <= theirs.uncertainty_ns, "{theirs:?}, {ahead}");
                }
                checks += 1;
            });
            prop_assert_eq!(checks, transits.len());
        }

        #[test]
        fn the_shortest_transit_of_each_direction_bounds_the_uncertainty(
            transits in prop::collection::vec((1_000_i64..40_000_000, 1_000_i64..40_000_000), 1..60),
        ) {
            let mut last = None;
            exchange(250_000_000, 0, &transits, |_, ours, _| last = ours);
            let least = |of: fn(&(i64, i64)) -> i64| transits.iter().map(of).min().unwrap();
            let half = (least(|transit| transit.0) + least(|transit| transit.1)) / 2;
            // Plus what the clocks may have drifted in a minute.
            let drifted = 60 * SECOND_NS / DRIFT;
            let found = last.unwrap().uncertainty_ns;
            prop_assert!((half..=half + drifted + 1).contains(&found), "{} {}", found, half);
        }

        /// A peer may send any times: the uncertainty is never negative.
        #[test]
        fn any_times_are_accepted(
            heartbeats in prop::collection::vec((any::<i64>(), any::<i64>(), any::<Option<i64>>()), 1..100),
        ) {
            let mut clocks = ClockSync::default();
            for (now_ns, sent_ns, delay_ns) in heartbeats {
                clocks.record_remote(now_ns, sent_ns, delay_ns);
                prop_assert!(clocks.offset(now_ns).is_none_or(|offset| offset.uncertainty_ns >= 0));
                prop_assert!(clocks.local.len() <= WINDOW);
                clocks.report_local(now_ns);
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_is_measured_again() {
        let mut clocks = ClockSync::default();
        clocks.record_remote(SECOND_NS, SECOND_NS - 10, Some(10));
        assert_eq!(clocks.offset(SECOND_NS).unwrap().ahead_ns, 0);
        // An hour behind from now on, which contradicts the delays measured before.
        let ahead = -3_600 * SECOND_NS;
        let now = 2 * SECOND_NS;
        clocks.record_remote(now, now - 10 + ahead, Some(10 + ahead));
        assert_eq!(clocks.offset(now), None);
        clocks.record_remote(now, now - 10 + ahead, Some(10 + ahead));
        assert_eq!(clocks.offset(now).unwrap().ahead_ns, ahead);
    }

    #[test]
    fn the_first_reply_is_due_until_a_delay_is_reported() {
        let mut clocks = ClockSync::default();
        assert!(!clocks.reply_is_due() && clocks.report_local(0).is_none());
        clocks.record_remote(10, 5, None);
        assert!(clocks.reply_is_due() && clocks.offset(10).is_none());
        assert_eq!(clocks.report_local(10), Some(5));
        assert!(!clocks.reply_is_due());
    }
}
