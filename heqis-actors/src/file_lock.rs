//! The lock by which one process at a time writes a file.

use std::fs::{File, TryLockError};
use std::io;
use std::time::Duration;

/// How often, and with which pause, a lock that another process holds is tried.
const ATTEMPTS: usize = 40;
const PAUSE: Duration = Duration::from_millis(5);

/// Locks a file for writing; returns whether the lock was had. Waits up to 200 ms for it: a child process that is being
/// started holds the locks of its parent until it runs its own program.
///
/// # Errors
/// Those of the system.
pub fn lock_for_writing(file: &File) -> io::Result<bool> {
    for _ in 0..ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}
