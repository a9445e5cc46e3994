//! Time as a parameter: one handle for the real, a virtual or a replay clock.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::timer::Wait;

thread_local! {
    static HAS_RUNTIME: Cell<bool> = const { Cell::new(false) };
}

/// Lets clocks wait by the timers of the tokio runtime that runs on the calling thread. For threads that run nothing else: a
/// runtime of a program may have no timers.
pub fn use_runtime_timers() {
    HAS_RUNTIME.set(true);
}

/// Longest wait by the timer.
const MAX_WAIT: Duration = Duration::from_secs(86_400);

/// A handle to the clock of a graph. Cheap to clone.
///
/// All times are nanoseconds since the Unix epoch. The real clock reads the wall time once and counts monotonically from
/// there, so that a step of the system clock never makes a latency negative. A virtual clock stands still until
/// [`Clock::advance_to`] moves it. A replay clock jumps to each time that is waited for, so that paced data is replayed
/// with its own times and without waiting.
///
/// ```
/// use heqis_actors::Clock;
///
/// let clock = Clock::virtual_at(1_000);
/// clock.advance_to(5_000);
/// clock.advance_to(2_000); // a clock never goes back
/// assert_eq!(clock.now_ns(), 5_000);
/// ```
#[derive(Clone, Debug)]
pub struct Clock(Inner);

#[derive(Clone, Debug)]
enum Inner {
    Real { wall_ns: i64, anchor: Instant },
    Virtual(Arc<Mutex<VirtualTime>>),
}

#[derive(Debug)]
struct VirtualTime {
    now_ns: i64,
    /// A replay clock: waiting for a time sets it.
    jumps: bool,
    sleepers: BinaryHeap<Reverse<Sleeper>>,
    next_id: u64,
}

#[derive(Debug)]
struct Sleeper {
    wake_ns: i64,
    id: u64,
    wake: oneshot::Sender<()>,
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        (self.wake_ns, self.id) == (other.wake_ns, other.id)
    }
}
impl Eq for Sleeper {}
impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.wake_ns, self.id).cmp(&(other.wake_ns, other.id))
    }
}

impl VirtualTime {
    /// Moves the time forward to `ns`, and wakes every sleeper that is due.
    fn advance_to(&mut self, ns: i64) {
        self.now_ns = self.now_ns.max(ns);
        while self
            .sleepers
            .peek()
            .is_some_and(|Reverse(sleeper)| sleeper.wake_ns <= self.now_ns)
        {
            if let Some(Reverse(sleeper)) = self.sleepers.pop() {
                // The sleeper may have been dropped in the meantime.
                let _ = sleeper.wake.send(());
            }
        }
    }

    /// Adds a sleeper, which is woken at once where the time is reached.
    fn sleep_until(&mut self, wake_ns: i64) -> oneshot::Receiver<()> {
        let (wake, woken) = oneshot::channel();
        let id = self.next_id;
        self.next_id += 1;
        self.sleepers.push(Reverse(Sleeper { wake_ns, id, wake }));
        self.advance_to(self.now_ns);
        woken
    }
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where a node reads the wall clock"
    )]
    pub fn real() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self::real_at(duration_ns(since_epoch))
    }

    /// A clock that runs in real time from `now_ns`, like that of a machine with another wall time.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the monotonic clock of a real `Clock`"
    )]
    pub fn real_at(now_ns: i64) -> Self {
        Self(Inner::Real {
            wall_ns: now_ns,
            anchor: Instant::now(),
        })
    }

    /// A clock that stands at `now_ns` until it is advanced.
    #[must_use]
    pub fn virtual_at(now_ns: i64) -> Self {
        Self::standing(now_ns, false)
    }

    /// A clock that starts at `now_ns` and jumps to every time that is waited for.
    #[must_use]
    pub fn replay_at(now_ns: i64) -> Self {
        Self::standing(now_ns, true)
    }

    fn standing(now_ns: i64, jumps: bool) -> Self {
        let time = VirtualTime {
            now_ns,
            jumps,
            sleepers: BinaryHeap::new(),
            next_id: 0,
        };
        Self(Inner::Virtual(Arc::new(Mutex::new(time))))
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub fn now_ns(&self) -> i64 {
        match &self.0 {
            Inner::Real { wall_ns, anchor } => {
                wall_ns.saturating_add(duration_ns(anchor.elapsed()))
            }
            Inner::Virtual(time) => time.lock().unwrap_or_else(PoisonError::into_inner).now_ns,
        }
    }

    /// Moves a virtual clock forward to `ns` and wakes every sleeper that is due; earlier times and the real clock
    /// are left alone.
    pub fn advance_to(&self, ns: i64) {
        let Inner::Virtual(time) = &self.0 else {
            return;
        };
        time.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .advance_to(ns);
    }

    /// Completes once the clock has reached `wake_ns`. Works on any executor: the real clock needs no runtime with timers.
    pub async fn sleep_until(&self, wake_ns: i64) {
        match &self.0 {
            Inner::Real { .. } => {
                // The runtime's clock may be a little ahead of this one.
                while let Some(left_ns) = u64::try_from(wake_ns.saturating_sub(self.now_ns()))
                    .ok()
                    .filter(|left_ns| *left_ns > 0)
                {
                    sleep_really(Duration::from_nanos(left_ns)).await;
                }
            }
            Inner::Virtual(time) => {
                let woken = {
                    let mut time = time.lock().unwrap_or_else(PoisonError::into_inner);
                    if time.jumps {
                        time.advance_to(wake_ns);
                    }
                    time.sleep_until(wake_ns)
                };
                let _ = woken.await;
            }
        }
    }

    /// Completes once the clock has reached `wake_ns`. Unlike [`Clock::sleep_until`] it does not move a replay clock there.
    pub async fn reached(&self, wake_ns: i64) {
        match &self.0 {
            Inner::Real { .. } => self.sleep_until(wake_ns).await,
            Inner::Virtual(time) => {
                let woken = time
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .sleep_until(wake_ns);
                let _ = woken.await;
            }
        }
    }

    /// The next time that something waits for, nanoseconds; `None` on the machine's clock.
    #[must_use]
    pub fn next_wake_ns(&self) -> Option<i64> {
        let Inner::Virtual(time) = &self.0 else {
            return None;
        };
        let time = time.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = time.sleepers.iter();
        let waiting = waiting.filter(|Reverse(sleeper)| !sleeper.wake.is_closed());
        waiting.map(|Reverse(sleeper)| sleeper.wake_ns).min()
    }

    /// Whether this is a replay clock.
    pub fn jumps(&self) -> bool {
        match &self.0 {
            Inner::Real { .. } => false,
            Inner::Virtual(time) => time.lock().unwrap_or_else(PoisonError::into_inner).jumps,
        }
    }

    /// Completes after `duration` on this clock, as [`Clock::sleep_until`].
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now_ns().saturating_add(duration_ns(duration)))
            .await;
    }

    /// Whether waiting on this clock takes real time.
    #[must_use]
    pub fn is_real(&self) -> bool {
        matches!(self.0, Inner::Real { .. })
    }
}

/// Completes after `duration`, or a little earlier.
#[expect(clippy::disallowed_methods, reason = "the waits of a real `Clock`")]
async fn sleep_really(duration: Duration) {
    if HAS_RUNTIME.get() {
        return tokio::time::sleep(duration).await;
    }
    // What is too far away for the machine's clock is waited for in parts.
    let at = Instant::now() + duration.min(MAX_WAIT);
    match Wait::until(at) {
        Ok(wait) => wait.await,
        // The process has no thread left for its timer.
        Err(_) => std::thread::sleep(duration.min(Duration::from_millis(1))),
    }
}

/// How far the clock of the node at the other end of an edge is ahead of this node's. Stamps and ages are not corrected by
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClockOffset {
    /// The peer's clock less this node's, nanoseconds: positive when the peer's is ahead.
    pub ahead_ns: i64,
    /// Largest error of that in either direction, nanoseconds: half the shortest round trip.
    pub uncertainty_ns: i64,
}

impl ClockOffset {
    /// A clock that is `ahead_ns` ahead, `uncertainty_ns` more or less.
    #[must_use]
    pub fn new(ahead_ns: i64, uncertainty_ns: i64) -> Self {
        Self {
            ahead_ns,
            uncertainty_ns,
        }
    }
}

/// A duration in nanoseconds; saturates after 292 years.
#[must_use]
pub fn duration_ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocking::{block_on, block_on_for};

    #[tokio::test]
    async fn a_virtual_sleeper_wakes_when_its_time_is_reached_and_not_before() {
        let clock = Clock::virtual_at(100);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep_until(200).await;
                clock.now_ns()
            }
        });
        tokio::task::yield_now().await;
        clock.advance_to(199);
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance_to(250);
        assert_eq!(sleeper.await.ok(), Some(250));
    }

    #[tokio::test]
    async fn a_replay_clock_jumps_to_each_time_waited_for_and_never_back() {
        let clock = Clock::replay_at(100);
        clock.sleep_until(500).await;
        assert_eq!(clock.now_ns(), 500);
        clock.sleep_until(200).await;
        assert_eq!(clock.now_ns(), 500);
    }

    #[test]
    fn the_real_clock_is_waited_for_without_a_runtime_and_with_one_that_has_no_timers() {
        let clock = Clock::real();
        let after = |ms: u64| {
            let clock = clock.clone();
            async move {
                let begun_ns = clock.now_ns();
                clock.sleep(Duration::from_millis(ms)).await;
                assert!(clock.now_ns() - begun_ns >= ms as i64 * 1_000_000);
            }
        };
        block_on(after(5));
        let threads: Vec<_> = (0..4)
            .map(|ms| {
                std::thread::spawn({
                    let after = after(7 - ms);
                    move || block_on(after)
                })
            })
            .collect();
        for thread in threads {
            assert!(thread.join().is_ok());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        assert!(runtime.is_ok_and(|runtime| {
            runtime.block_on(after(3));
            true
        }));
        // A wait that is given up does not keep the thread of the timer.
        let mut far = Box::pin(clock.sleep(Duration::MAX));
        assert!(block_on_for(&mut far, Some(Duration::from_millis(2))).is_none());
    }

    #[test]
    fn a_virtual_clock_never_goes_back() {
        let clock = Clock::virtual_at(100);
        clock.advance_to(50);
        assert_eq!(clock.now_ns(), 100);
    }

    #[test]
    fn the_real_clock_is_monotonic() {
        let clock = Clock::real();
        let first = clock.now_ns();
        assert!(clock.now_ns() >= first);
    }
}
