//! What counts as a stalled node.

use std::fmt;
use std::time::Duration;

use heqis_actors::duration_ns;

/// Time limits of a watched peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StallSpec {
    /// How long a link may be down, or frames may wait for the peer without progress.
    pub stall_timeout: Duration,
    /// How long the peer may take frames without sending any; `None` where its responses are rare.
    pub response_timeout: Option<Duration>,
}

/// The state of a peer at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerObservation {
    /// Whether every edge between the two has a live connection or has ended.
    pub connected: bool,
    /// Frames that it has finished.
    pub delivered: u64,
    /// Frames that wait for it or are in it.
    pub waiting: u64,
    /// Frames that it has sent.
    pub received: u64,
    /// Whether every edge between the two has ended: nothing is left to watch.
    pub ended: bool,
}

/// Why a peer counts as stalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// A link has been down for this long.
    LinkDown(Duration),
    /// Frames wait for it, and it has made no progress for this long; the number of frames.
    NoProgress(Duration, u64),
    /// It has taken frames and sent none for this long.
    NoAnswer(Duration),
}

impl Alarm {
    /// Every cause that [`Alarm::cause`] returns.
    pub const CAUSES: [&'static str; 3] = ["link_down", "no_progress", "no_answer"];

    /// Returns the word for metrics and for the command.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::LinkDown(_) => "link_down",
            Self::NoProgress(..) => "no_progress",
            Self::NoAnswer(_) => "no_answer",
        }
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkDown(time) => write!(f, "no connection for {time:.1?}"),
            Self::NoProgress(time, frames) => {
                write!(
                    f,
                    "{frames} frames wait for it without progress for {time:.1?}"
                )
            }
            Self::NoAnswer(time) => write!(f, "it takes frames and has sent none for {time:.1?}"),
        }
    }
}

/// Detects stalls from a series of observations. An alarm is raised when a limit is reached, and again each time the limit
/// has passed since.
#[derive(Clone, Debug)]
pub struct StallDetector {
    spec: StallSpec,
    delivered: u64,
    received: u64,
    /// Start of each condition that lasts; `None` while it does not hold.
    down_ns: Option<i64>,
    idle_ns: Option<i64>,
    unanswered_ns: Option<i64>,
    /// Conditions count from this time at the earliest.
    armed_ns: i64,
}

impl StallDetector {
    /// Returns a detector that is armed at `now_ns`.
    #[must_use]
    pub fn new(spec: StallSpec, now_ns: i64) -> Self {
        Self {
            spec,
            delivered: 0,
            received: 0,
            down_ns: None,
            idle_ns: None,
            unanswered_ns: None,
            armed_ns: now_ns,
        }
    }

    /// Gives the peer its full time again, for instance after a recovery command.
    pub fn rearm(&mut self, now_ns: i64) {
        self.armed_ns = now_ns;
    }

    /// Takes an observation; returns an alarm when a limit is reached.
    pub fn observe(&mut self, now_ns: i64, seen: &PeerObservation) -> Option<Alarm> {
        let since = |holds: bool, start: &mut Option<i64>| {
            if holds {
                start.get_or_insert(now_ns);
            } else {
                *start = None;
            }
        };
        let progress = seen.delivered != self.delivered;
        let response = seen.received != self.received;
        since(!seen.connected, &mut self.down_ns);
        since(seen.waiting > 0 && !progress, &mut self.idle_ns);
        if response {
            self.unanswered_ns = None;
        } else if progress {
            // Counted from the first frame that was taken after the last response.
            self.unanswered_ns.get_or_insert(now_ns);
        }
        (self.delivered, self.received) = (seen.delivered, seen.received);

        let armed_ns = self.armed_ns;
        let lasted = |start: Option<i64>| {
            let ns = now_ns.saturating_sub(start?.max(armed_ns));
            Some(Duration::from_nanos(u64::try_from(ns).unwrap_or(0)))
        };
        let over = |time: Option<Duration>, limit: Option<Duration>| {
            time.filter(|&time| limit.is_some_and(|limit| duration_ns(time) >= duration_ns(limit)))
        };
        let stall_timeout = Some(self.spec.stall_timeout);
        let alarm = if let Some(time) = over(lasted(self.down_ns), stall_timeout) {
            Alarm::LinkDown(time)
        } else if let Some(time) = over(lasted(self.idle_ns), stall_timeout) {
            Alarm::NoProgress(time, seen.waiting)
        } else {
            Alarm::NoAnswer(over(
                lasted(self.unanswered_ns),
                self.spec.response_timeout,
            )?)
        };
        self.armed_ns = now_ns;
        Some(alarm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn detector(response: Option<u64>) -> StallDetector {
        let spec = StallSpec {
            stall_timeout: Duration::from_secs(10),
            response_timeout: response.map(Duration::from_secs),
        };
        StallDetector::new(spec, 0)
    }

    fn seen(connected: bool, delivered: u64, waiting: u64, received: u64) -> PeerObservation {
        PeerObservation {
            connected,
            delivered,
            waiting,
            received,
            ended: false,
        }
    }

    #[test]
    fn a_link_that_stays_down_raises_an_alarm_each_time_the_limit_passes() {
        let mut detector = detector(None);
        let down = seen(false, 0, 0, 0);
        let alarms: Vec<i64> = (0..=35)
            .filter(|second| detector.observe(second * SECOND, &down).is_some())
            .collect();
        assert_eq!(alarms, [10, 20, 30]);
    }

    #[test]
    fn a_link_that_comes_back_in_time_starts_its_time_again() {
        let mut detector = detector(None);
        for second in 0..100 {
            let up = second % 10 == 9;
            assert_eq!(detector.observe(second * SECOND, &seen(up, 0, 0, 0)), None);
        }
    }

    #[test]
    fn frames_that_wait_without_progress_are_a_stall_and_a_slow_peer_is_not() {
        let mut slow = detector(None);
        let mut stuck = detector(None);
        for second in 0..10 {
            let now = second * SECOND;
            let frames = second as u64;
            assert_eq!(slow.observe(now, &seen(true, frames / 9, 5, 0)), None);
            assert_eq!(stuck.observe(now, &seen(true, 0, 5, 0)), None);
        }
        let now = 10 * SECOND;
        assert_eq!(slow.observe(now, &seen(true, 1, 5, 0)), None);
        let alarm = stuck.observe(now, &seen(true, 0, 7, 0));
        assert_eq!(alarm, Some(Alarm::NoProgress(Duration::from_secs(10), 7)));
    }

    #[test]
    fn an_idle_peer_raises_no_alarm() {
        let mut detector = detector(Some(5));
        for second in 0..1_000 {
            assert_eq!(
                detector.observe(second * SECOND, &seen(true, 40, 0, 40)),
                None
            );
        }
    }

    #[test]
    fn missing_responses_raise_an_alarm_only_where_a_limit_is_set() {
        let (mut strict, mut lenient) = (detector(Some(5)), detector(None));
        let mut alarms = Vec::new();
        for second in 0..=12 {
            // A frame a second is taken; the last response comes at second 3.
            let (delivered, received) = (second as u64, second.min(3) as u64);
            let observation = seen(true, delivered, 0, received);
            alarms.extend(
                strict
                    .observe(second * SECOND, &observation)
                    .map(|_| second),
            );
            assert_eq!(lenient.observe(second * SECOND, &observation), None);
        }
        assert_eq!(alarms, [9], "unanswered since second 4");
    }

    #[test]
    fn a_recovery_gives_the_peer_its_full_time_again() {
        let mut detector = detector(None);
        let down = seen(false, 0, 0, 0);
        assert_eq!(detector.observe(0, &down), None);
        assert!(detector.observe(10 * SECOND, &down).is_some());
        detector.rearm(40 * SECOND);
        assert_eq!(detector.observe(49 * SECOND, &down), None);
        assert!(detector.observe(50 * SECOND, &down).is_some());
    }
}
