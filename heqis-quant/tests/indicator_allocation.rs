//! An update of an indicator allocates nothing, during the warm-up, after it, and after a restore.
#![allow(clippy::unwrap_used, missing_docs)]
#![allow(
    unsafe_code,
    reason = "a counting allocator can only be written with unsafe; it is test code"
)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Day, supor};
use heqis_quant::indicators::{
    Ad, Adx, Atr, Boll, Cci, Di, Ema, Indicator, Kdj, KdjStart, Ma, Macd, Mfi, Obv, Profile,
    Returns, Rsi, SmaCn, Stoch, TrueRange, Volatility, VolumeRatio, Willr,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

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

/// Returns the number of allocations of a whole series, without those of a restore in the middle of the warm-up.
fn allocations<I: Indicator + Serialize + DeserializeOwned>(
    mut indicator: I,
    days: &[Day],
    input: impl Fn(&Day) -> I::Input,
) -> usize {
    let run = |indicator: &mut I, days: &[Day]| {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let mut values = 0;
        for day in days {
            values += usize::from(indicator.update(input(day)).is_some());
        }
        let allocated = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert!(values > 0 || days.len() < 10);
        allocated
    };
    let first = run(&mut indicator, &days[..3]);
    let mut restored: I =
        serde_json::from_str(&serde_json::to_string(&indicator).unwrap()).unwrap();
    first + run(&mut restored, &days[3..])
}

// One test in this binary: the counter is global, and a second test would be counted too.
#[test]
fn no_update_allocates() {
    let days = supor();
    // The counter counts.
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 1);

    let close = |day: &Day| day.close;
    for profile in [Profile::Cn, Profile::Talib] {
        for allocated in [
            allocations(Ema::new(12, profile).unwrap(), &days, close),
            allocations(Macd::new(12, 26, 9, profile).unwrap(), &days, close),
            allocations(Rsi::new(14, profile).unwrap(), &days, close),
            allocations(Atr::new(14, profile).unwrap(), &days, Day::hlc),
            allocations(TrueRange::new(profile), &days, Day::hlc),
            allocations(Di::new(14, profile).unwrap(), &days, Day::hlc),
            allocations(Adx::new(14, 14, profile).unwrap(), &days, Day::hlc),
            allocations(Obv::new(profile), &days, Day::volume),
        ] {
            assert_eq!(allocated, 0, "{profile:?}");
        }
    }
    let kdj = Kdj::new(9, 3, 3, KdjStart::Fifty).unwrap();
    for allocated in [
        allocations(Ma::new(20).unwrap(), &days, close),
        allocations(SmaCn::new(6, 1).unwrap(), &days, close),
        allocations(Boll::new(20, 2.0, 0).unwrap(), &days, close),
        allocations(Returns::new(5).unwrap(), &days, close),
        allocations(Volatility::new(20).unwrap(), &days, close),
        allocations(kdj, &days, Day::hlc),
        allocations(Stoch::new(9, 3, 3).unwrap(), &days, Day::hlc),
        allocations(Willr::new(14).unwrap(), &days, Day::hlc),
        allocations(Mfi::new(14).unwrap(), &days, Day::hlcv),
        allocations(Ad::new(), &days, Day::hlcv),
        allocations(Cci::new(14).unwrap(), &days, Day::hlc),
        allocations(VolumeRatio::new(5).unwrap(), &days, |day| day.volume_shares),
    ] {
        assert_eq!(allocated, 0);
    }
}
