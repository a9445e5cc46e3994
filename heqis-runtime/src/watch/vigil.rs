//! What counts as a stalled node.

use std::fmt;
use std::time::Duration;

use heqis_actors::duration_ns;

/// How long what may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VigilSpec {
    /// How long a link may be down, or frames may wait for the peer without it getting on with them.
    pub silence: Duration,
    /// How long the peer may take frames without sending any; `None` where its answers are rare.
    pub answer: Option<Duration>,
}

/// How a peer looks at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// Whether every edge between the two has a live connection or has ended.
    pub linked: bool,
    /// Frames that it is done with.
    pub given: u64,
    /// Frames that wait for it or are with it.
    pub waiting: u64,
    /// Frames that came from it.
    pub answered: u64,
    /// Whether every edge between the two has ended: there is nothing left to look after.
    pub done: bool,
}

/// Why a peer counts as stalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// A link has been down for so long.
    LinkDown(Duration),
    /// So many frames wait for it, and it has not got on with them for so long.
    NoProgress(Duration, u64),
    /// It has taken frames and not sent any for so long.
    NoAnswer(Duration),
}

impl Alarm {
    /// Every cause, as [`Alarm::cause`] names it.
    pub const CAUSES: [&'static str; 3] = ["link_down", "no_progress", "no_answer"];

    /// One word for metrics and for the command.
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

/// Looks at a peer again and again and tells when it stalls: once when a limit is reached, and again each time that the
/// limit has passed since.
#[derive(Clone, Debug)]
pub struct Vigil {
    spec: VigilSpec,
    given: u64,
    answered: u64,
    /// Since when each of the three has been as it should not be.
    down_ns: Option<i64>,
    idle_ns: Option<i64>,
    unanswered_ns: Option<i64>,
    /// Nothing is held against the peer from before this time.
    fresh_ns: i64,
}

impl Vigil {
    /// A vigil that begins at `now_ns`.
    #[must_use]
    pub fn new(spec: VigilSpec, now_ns: i64) -> Self {
        Self {
            spec,
            given: 0,
            answered: 0,
            down_ns: None,
            idle_ns: None,
            unanswered_ns: None,
            fresh_ns: now_ns,
        }
    }

    /// Gives the peer its full time again: something has just been done about it.
    pub fn rest(&mut self, now_ns: i64) {
        self.fresh_ns = now_ns;
    }

    /// Takes a look.
    pub fn look(&mut self, now_ns: i64, seen: &Sighting) -> Option<Alarm> {
        let since = |holds: bool, start: &mut Option<i64>| {
            if holds {
                start.get_or_insert(now_ns);
            } else {
                *start = None;
            }
        };
        let progress = seen.given != self.given;
        let answer = seen.answered != self.answered;
        since(!seen.linked, &mut self.down_ns);
        since(seen.waiting > 0 && !progress, &mut self.idle_ns);
        if answer {
            self.unanswered_ns = None;
        } else if progress {
            // Counted from the first frame that was taken after the last answer.
            self.unanswered_ns.get_or_insert(now_ns);
        }
        (self.given, self.answered) = (seen.given, seen.answered);

        let fresh_ns = self.fresh_ns;
        let lasted = |start: Option<i64>| {
            let ns = now_ns.saturating_sub(start?.max(fresh_ns));
            Some(Duration::from_nanos(u64::try_from(ns).unwrap_or(0)))
        };
        let over = |time: Option<Duration>, limit: Option<Duration>| {
            time.filter(|&time| limit.is_some_and(|limit| duration_ns(time) >= duration_ns(limit)))
        };
        let silence = Some(self.spec.silence);
        let alarm = if let Some(time) = over(lasted(self.down_ns), silence) {
            Alarm::LinkDown(time)
        } else if let Some(time) = over(lasted(self.idle_ns), silence) {
            Alarm::NoProgress(time, seen.waiting)
        } else {
            Alarm::NoAnswer(over(lasted(self.unanswered_ns), self.spec.answer)?)
        };
        self.fresh_ns = now_ns;
        Some(alarm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn vigil(answer: Option<u64>) -> Vigil {
        let spec = VigilSpec {
            silence: Duration::from_secs(10),
            answer: answer.map(Duration::from_secs),
        };
        Vigil::new(spec, 0)
    }

    fn seen(linked: bool, given: u64, waiting: u64, answered: u64) -> Sighting {
        Sighting {
            linked,
            given,
            waiting,
            answered,
            done: false,
        }
    }

    #[test]
    fn a_link_that_stays_down_is_told_once_each_time_the_limit_passes() {
        let mut vigil = vigil(None);
        let down = seen(false, 0, 0, 0);
        let alarms: Vec<i64> = (0..=35)
            .filter(|second| vigil.look(second * SECOND, &down).is_some())
            .collect();
        assert_eq!(alarms, [10, 20, 30]);
    }

    #[test]
    fn a_link_that_comes_back_in_time_starts_its_time_again() {
        let mut vigil = vigil(None);
        for second in 0..100 {
            let up = second % 10 == 9;
            assert_eq!(vigil.look(second * SECOND, &seen(up, 0, 0, 0)), None);
        }
    }

    #[test]
    fn frames_that_wait_without_progress_are_a_stall_and_a_slow_peer_is_not() {
        let mut slow = vigil(None);
        let mut stuck = vigil(None);
        for second in 0..10 {
            let now = second * SECOND;
            let frames = second as u64;
            assert_eq!(slow.look(now, &seen(true, frames / 9, 5, 0)), None);
            assert_eq!(stuck.look(now, &seen(true, 0, 5, 0)), None);
        }
        let now = 10 * SECOND;
        assert_eq!(slow.look(now, &seen(true, 1, 5, 0)), None);
        let alarm = stuck.look(now, &seen(true, 0, 7, 0));
        assert_eq!(alarm, Some(Alarm::NoProgress(Duration::from_secs(10), 7)));
    }

    #[test]
    fn a_peer_with_nothing_to_do_may_be_silent() {
        let mut vigil = vigil(Some(5));
        for second in 0..1_000 {
            assert_eq!(vigil.look(second * SECOND, &seen(true, 40, 0, 40)), None);
        }
    }

    #[test]
    fn answers_that_stay_away_are_told_only_where_they_are_expected() {
        let (mut strict, mut lenient) = (vigil(Some(5)), vigil(None));
        let mut told = Vec::new();
        for second in 0..=12 {
            // A frame a second is taken; the last answer comes at second 3.
            let (given, answered) = (second as u64, second.min(3) as u64);
            let look = seen(true, given, 0, answered);
            told.extend(strict.look(second * SECOND, &look).map(|_| second));
            assert_eq!(lenient.look(second * SECOND, &look), None);
        }
        assert_eq!(told, [9], "unanswered since second 4");
    }

    #[test]
    fn what_was_before_a_remedy_is_not_held_against_the_peer() {
        let mut vigil = vigil(None);
        let down = seen(false, 0, 0, 0);
        assert_eq!(vigil.look(0, &down), None);
        assert!(vigil.look(10 * SECOND, &down).is_some());
        vigil.rest(40 * SECOND);
        assert_eq!(vigil.look(49 * SECOND, &down), None);
        assert!(vigil.look(50 * SECOND, &down).is_some());
    }
}
