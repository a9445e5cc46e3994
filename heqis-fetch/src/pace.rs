//! The clock, the rate limit of requests, and the waits after a failure.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The wall clock, a parameter so that tests need not wait.
pub trait WallClock {
    /// Nanoseconds since the Unix epoch.
    fn now_ns(&self) -> u64;
    /// Waits for a time.
    fn sleep_ns(&self, ns: u64);
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl WallClock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the vendor's rate limits are in real time"
    )]
    fn now_ns(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |past| u64::try_from(past.as_nanos()).unwrap_or(u64::MAX))
    }

    fn sleep_ns(&self, ns: u64) {
        std::thread::sleep(Duration::from_nanos(ns));
    }
}

/// One second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// Returns the calls a minute that an account may make: 50, from 2000 points 200, from 5000 points 500.
#[must_use]
pub fn calls_per_minute(points: u32) -> u32 {
    match points {
        0..2000 => 50,
        2000..5000 => 200,
        _ => 500,
    }
}

/// A token bucket of size 1: in any minute, at most 80 % of the allowed calls are made.
///
/// A window of 60 s contains at most `60 s / interval + 1` calls, so the interval is computed for one call less.
#[derive(Debug)]
pub struct Pace {
    interval_ns: u64,
    next_ns: Cell<u64>,
}

impl Pace {
    /// Creates the pace for a rate limit; one below 3 calls a minute counts as 3.
    #[must_use]
    pub fn new(calls_per_minute: u32) -> Self {
        let tenths = u64::from(calls_per_minute.max(3)) * 8 - 10;
        Self {
            interval_ns: (600 * SECOND_NS).div_ceil(tenths),
            next_ns: Cell::new(0),
        }
    }

    /// Waits until the next call may be made.
    pub fn wait(&self, clock: &dyn WallClock) {
        let now = clock.now_ns();
        // A clock that is set back must not stop the run, so no wait is longer than the interval.
        let wait = self.next_ns.get().saturating_sub(now).min(self.interval_ns);
        if wait > 0 {
            clock.sleep_ns(wait);
        }
        self.next_ns.set(now + wait + self.interval_ns);
    }
}

/// Exponential backoff with jitter: 1 s, 2 s, 4 s … 60 s, each multiplied by a random factor of 0.5 to 1.
#[derive(Debug)]
pub struct Backoff(Cell<u64>);

impl Backoff {
    /// Starts the sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// Returns the wait after a failure; `failures` is the number of failures before it.
    #[must_use]
    pub fn wait_ns(&self, failures: u32) -> u64 {
        let full = (SECOND_NS << failures.min(6)).min(60 * SECOND_NS);
        // SplitMix64, Steele, Lea and Flood 2014.
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        full / 2 + (z ^ (z >> 31)) % (full / 2 + 1)
    }
}
