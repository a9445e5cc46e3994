//! Waits for a future on a thread that runs no executor.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    /// One waker for each thread, so that waiting allocates nothing.
    static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

/// Blocks the calling thread until `future` completes. Works on every thread, inside a runtime too, whose tasks then wait:
/// unlike the functions of the runtimes it never panics.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut result = None;
    let all = async { result = Some(future.await) };
    block_on_for(all, None);
    match result {
        Some(result) => result,
        None => unreachable!("without a limit the future has completed"),
    }
}

/// As [`block_on`], at most for `timeout`.
#[expect(
    clippy::disallowed_methods,
    reason = "bounds a wait of the program's thread in real time"
)]
pub fn block_on_for<T>(future: impl Future<Output = T>, timeout: Option<Duration>) -> Option<T> {
    let waker = WAKER.with(Waker::clone);
    let mut cx = Context::from_waker(&waker);
    // Inside a task of tokio the future could otherwise wait for a budget that only the blocked task can renew.
    let mut future = pin!(tokio::task::unconstrained(future));
    // A time too far away for the clock is no limit.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return Some(value);
        }
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => thread::park(),
            Some(Duration::ZERO) => return None,
            Some(left) => thread::park_timeout(left),
        }
    }
}
