//! Waits in real time without a runtime: one thread wakes all who wait, and ends with the last of them.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::oneshot;

/// Time and number of a wait.
type WaitKey = (Instant, u64);

#[derive(Debug)]
struct Waits {
    by_time: BTreeMap<WaitKey, oneshot::Sender<()>>,
    next_number: u64,
    has_thread: bool,
}

static WAITS: Mutex<Waits> = Mutex::new(Waits {
    by_time: BTreeMap::new(),
    next_number: 0,
    has_thread: false,
});
static CHANGED: Condvar = Condvar::new();

fn waits() -> MutexGuard<'static, Waits> {
    WAITS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Completes when its time is reached.
#[derive(Debug)]
pub(crate) struct Wait {
    key: WaitKey,
    woken: oneshot::Receiver<()>,
}

impl Wait {
    /// # Errors
    /// When the thread cannot be started.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one thread that waits for the real clock where no runtime does"
    )]
    pub(crate) fn until(at: Instant) -> io::Result<Self> {
        let (wake, woken) = oneshot::channel();
        let mut all = waits();
        if !all.has_thread {
            let thread = std::thread::Builder::new().name("heqis-timer".into());
            thread.spawn(wake_all)?;
            all.has_thread = true;
        }
        let key = (at, all.next_number);
        all.next_number += 1;
        all.by_time.insert(key, wake);
        CHANGED.notify_one();
        Ok(Self { key, woken })
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.woken).poll(cx).map(drop)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if waits().by_time.remove(&self.key).is_some() {
            CHANGED.notify_one();
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "wakes those who wait for the real clock"
)]
fn wake_all() {
    let mut all = waits();
    loop {
        let now = Instant::now();
        let due = all.by_time.first_key_value().map(|(&(at, _), _)| at);
        match due {
            None => {
                all.has_thread = false;
                return;
            }
            Some(at) if at <= now => {
                let first = all.by_time.pop_first();
                // Those who are woken may wait again at once.
                drop(all);
                if let Some((_, wake)) = first {
                    let _ = wake.send(());
                }
                all = waits();
            }
            Some(at) => {
                let waited = CHANGED.wait_timeout(all, at - now);
                all = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}
