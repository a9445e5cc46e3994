//! An update of a series allocates nothing.
#![allow(clippy::unwrap_used, missing_docs)]
#![allow(
    unsafe_code,
    reason = "a counting allocator can only be written with unsafe; it is test code"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use heqis_factors::{Columns, FactorSeries, FactorSet, shipped};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// One test in this binary: the counter is global, and a second test would be counted too.
#[test]
fn no_update_allocates() {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 1);

    for name in ["alpha158", "twelve"] {
        let text = shipped::find(name).unwrap().text;
        let set = FactorSet::parse(text, &Columns::bars()).unwrap();
        let mut series = FactorSeries::new(&set).unwrap();
        let mut out = vec![0.0; set.len()];
        let mut complete = 0;
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for i in 0..400 {
            let close = 10.0 + f64::from(i % 13) * 0.1;
            let volume = 1e5 + f64::from(i % 17);
            let (high, low) = (close * 1.01, close * 0.98);
            let bar = [
                close * 0.99,
                high,
                low,
                close,
                volume,
                close * volume,
                close,
            ];
            complete += usize::from(series.update(&bar, &mut out).unwrap());
        }
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "{name}");
        assert!(complete > 100, "{name}: {complete}");
    }
}
