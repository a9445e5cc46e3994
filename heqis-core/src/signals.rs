//! SIGTERM and ctrl-c: watched only while a program asks for it, and afterwards again what the program had set.
//!
//! The handlers of tokio and of `signal-hook` stay installed for ever, so that a process that no longer waits for a signal
//! survives it. These are installed for the first [`TerminationSignals`] and replaced by the former ones after the last.

#![expect(
    unsafe_code,
    reason = "sigaction(2): no safe crate returns a former handler and restores it"
)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::watch;

const SIGNALS: [libc::c_int; 2] = [libc::SIGTERM, libc::SIGINT];

/// Signals since the process began.
static RAISED: AtomicU64 = AtomicU64::new(0);
/// Wakes the thread that passes signals on. Never closed: a handler may run at any time.
static WAKE: OnceLock<OwnedFd> = OnceLock::new();
static INSTALLED: Mutex<Option<Installed>> = Mutex::new(None);

/// The installed handlers.
struct Installed {
    watchers: usize,
    raised: watch::Sender<u64>,
    former: [libc::sigaction; SIGNALS.len()],
    thread: JoinHandle<()>,
}

/// Set when the thread that passes signals on has to end.
static ENDS: AtomicBool = AtomicBool::new(false);

/// Every SIGTERM and ctrl-c from [`TerminationSignals::watch`] on. Neither ends the process by itself until the value is
/// dropped; then both do again what they did before.
///
/// A handler that the program installs meanwhile is kept.
///
/// ```no_run
/// use heqis_actors::TerminationSignals;
///
/// # async fn example() -> std::io::Result<()> {
/// let mut signals = TerminationSignals::watch()?;
/// signals.recv().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "signals end the process again when this is dropped"]
pub struct TerminationSignals {
    raised: watch::Receiver<u64>,
    seen: u64,
}

impl TerminationSignals {
    /// Begins to watch. Needs no runtime.
    ///
    /// # Errors
    /// When the process has no descriptor or no thread left.
    pub fn watch() -> io::Result<Self> {
        let mut slot = lock();
        // A signal that arrives while the handlers are installed is new.
        let seen = RAISED.load(Ordering::SeqCst);
        let installed = match &mut *slot {
            Some(installed) => installed,
            empty => empty.insert(Installed::new()?),
        };
        installed.watchers += 1;
        Ok(Self {
            raised: installed.raised.subscribe(),
            seen,
        })
    }

    /// Completes at the next signal; two signals complete two calls. Cancel-safe, and works on any executor.
    pub async fn recv(&mut self) {
        let seen = self.seen;
        // The sender lives until the last watcher is dropped.
        if self.raised.wait_for(|raised| *raised > seen).await.is_ok() {
            self.seen += 1;
        } else {
            std::future::pending().await
        }
    }
}

impl Clone for TerminationSignals {
    /// Another watcher, which sees the same signals from here on.
    fn clone(&self) -> Self {
        if let Some(installed) = &mut *lock() {
            installed.watchers += 1;
        }
        Self {
            raised: self.raised.clone(),
            seen: self.seen,
        }
    }
}

impl Drop for TerminationSignals {
    fn drop(&mut self) {
        let mut installed = lock();
        let Some(handlers) = &mut *installed else {
            return;
        };
        handlers.watchers -= 1;
        if handlers.watchers == 0
            && let Some(last) = installed.take()
        {
            last.remove();
        }
    }
}

impl Installed {
    fn new() -> io::Result<Self> {
        let wake = match WAKE.get() {
            Some(wake) => wake,
            None => {
                let wake = eventfd(0, EventfdFlags::CLOEXEC)?;
                WAKE.get_or_init(|| wake)
            }
        };
        ENDS.store(false, Ordering::SeqCst);
        let raised = watch::Sender::new(RAISED.load(Ordering::SeqCst));
        let thread = pass_on(wake, raised.clone())?;
        // SAFETY: all fields are integers, a set of signals and an absent function: zero is a value of each.
        let mut handler: libc::sigaction = unsafe { std::mem::zeroed() };
        handler.sa_sigaction = address();
        handler.sa_flags = libc::SA_RESTART;
        let former = SIGNALS.map(|signal| replace(signal, Some(&handler)));
        let [terminate, interrupt] = former;
        Ok(Self {
            watchers: 0,
            raised,
            former: [terminate?, interrupt?],
            thread,
        })
    }

    /// Gives the signals back, and ends the thread.
    fn remove(self) {
        for (signal, former) in SIGNALS.into_iter().zip(&self.former) {
            // Otherwise the program has installed a handler in the meantime.
            if replace(signal, None).is_ok_and(|now| now.sa_sigaction == address()) {
                let _ = replace(signal, Some(former));
            }
        }
        ENDS.store(true, Ordering::SeqCst);
        ring();
        let _ = self.thread.join();
    }
}

/// Starts the thread that passes signals on: a handler may do almost nothing itself.
#[expect(
    clippy::disallowed_methods,
    reason = "a thread that waits for signals, past every executor"
)]
fn pass_on(wake: &'static OwnedFd, raised: watch::Sender<u64>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut count = [0; 8];
            while !ENDS.load(Ordering::SeqCst) {
                let _ = rustix::io::read(wake, &mut count);
                raised.send_replace(RAISED.load(Ordering::SeqCst));
            }
        })
}

/// The handler. It counts and writes to a descriptor: rustix calls the kernel directly and leaves `errno` alone.
extern "C" fn raised(_: libc::c_int) {
    RAISED.fetch_add(1, Ordering::SeqCst);
    ring();
}

fn address() -> libc::sighandler_t {
    raised as extern "C" fn(libc::c_int) as libc::sighandler_t
}

fn ring() {
    if let Some(wake) = WAKE.get() {
        let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
    }
}

/// Replaces what a signal does, or only reads it. Returns what it did before.
fn replace(signal: libc::c_int, by: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    let mut former = MaybeUninit::zeroed();
    let by = by.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `by` is null or valid, `former` is writable, and the only handler that is installed here calls functions
    // that are safe in handlers of signals; every other one was installed before by the program.
    let status = unsafe { libc::sigaction(signal, by, former.as_mut_ptr()) };
    match status {
        // SAFETY: the call has written it, and it was zero before.
        0 => Ok(unsafe { former.assume_init() }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn lock() -> MutexGuard<'static, Option<Installed>> {
    INSTALLED.lock().unwrap_or_else(PoisonError::into_inner)
}
