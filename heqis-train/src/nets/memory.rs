//! Settings of the memory allocator for training.

/// Makes the C library keep freed memory instead of returning it to the system at once.
///
/// A training step allocates and frees the same large tensors again and again. By default the GNU C library maps
/// each of them separately and unmaps it when it is freed, so that the system clears the same pages at every step; that takes up to
/// half of a step's time. With other C libraries this has no effect. Call it once, before training.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::keep_freed();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(
    unsafe_code,
    reason = "mallopt is the only way to change these settings after the process has started"
)]
mod glibc {
    use std::ffi::c_int;

    /// Free bytes at the top of the heap above which memory is returned to the system.
    const M_TRIM_THRESHOLD: c_int = -1;
    /// Size in bytes from which an allocation is mapped separately; set to the maximum.
    const M_MMAP_THRESHOLD: c_int = -3;

    unsafe extern "C" {
        fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }

    pub(super) fn keep_freed() {
        // SAFETY: mallopt takes two integers, locks internally, may be called at any time, and only changes thresholds. A refused
        // value leaves the default.
        unsafe {
            mallopt(M_MMAP_THRESHOLD, 1 << 25);
            mallopt(M_TRIM_THRESHOLD, c_int::MAX);
        }
    }
}
