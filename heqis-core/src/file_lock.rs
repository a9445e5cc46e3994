//! The lock that lets one process at a time write a file.

use std::fs::{File, TryLockError};
use std::io;
use std::time::Duration;

/// Number of attempts to get a lock that another process holds, and the pause between them.
const ATTEMPTS: usize = 40;
const PAUSE: Duration = Duration::from_millis(5);

/// Locks a file for writing; returns whether it got the lock. Waits up to 200 ms for it: a child process that is being
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
