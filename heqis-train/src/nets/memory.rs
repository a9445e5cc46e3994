//! The allocator's habits while networks train.

/// Tells the C library to keep freed memory instead of handing it back to the system at once.
///
/// A training step allocates and frees the same large tensors again and again. By default the GNU C library maps each of
/// them anew and unmaps it when it is freed, so that the system clears the same pages at every step; that is up to half of a
/// step's time. Elsewhere this does nothing. Call it once, before training.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::keep_freed();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(
    unsafe_code,
    reason = "the C library has no other door to these settings that works after the start"
)]
mod glibc {
    use std::ffi::c_int;

    /// Bytes at the top of the heap above which they are handed back.
    const M_TRIM_THRESHOLD: c_int = -1;
    /// Bytes of an allocation from which it is mapped by itself; the most that is allowed.
    const M_MMAP_THRESHOLD: c_int = -3;

    unsafe extern "C" {
        fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }

    pub(super) fn keep_freed() {
        // SAFETY: mallopt takes two integers, may be called at any time by one thread at a time under its own lock, and only
        // changes thresholds. A refused value leaves the default.
        unsafe {
            mallopt(M_MMAP_THRESHOLD, 1 << 25);
            mallopt(M_TRIM_THRESHOLD, c_int::MAX);
        }
    }
}
