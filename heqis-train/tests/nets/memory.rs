//! The allocator reuses freed memory.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::hint::black_box;

use heqis_train::nets::memory::keep_freed;

/// Returns the number of minor page faults of this thread so far.
fn page_faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // After the name in parentheses: the state is field 3, minor faults are field 10.
    let fields = stat.rsplit(')').next().unwrap();
    fields.split_whitespace().nth(7).unwrap().parse().unwrap()
}

#[test]
fn a_freed_tensor_is_used_again_without_new_pages() {
    keep_freed();
    let bytes = 4 << 20;
    let touch = || drop(black_box(vec![1_u8; bytes]));
    touch();
    let before = page_faults();
    for _ in 0..20 {
        touch();
    }
    // A single round without reuse would fault on 1,024 pages of 4 KiB.
    assert!(page_faults() - before < 1024);
}
