//! The CPU backend's own code adds no heap allocation to those that RTen makes.
#![allow(clippy::unwrap_used)]
#![allow(
    unsafe_code,
    reason = "a counting allocator can only be written with unsafe; it is test code"
)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use heqis_infer::{CpuEngine, Engine, TensorView};
use rten::{ModelOptions, RunOptions, ThreadPool, ValueView};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on unchanged to the system allocator.
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

/// Counts the allocations of the second call; the first warms buffers and the runtime's plan cache.
fn count(mut call: impl FnMut()) -> usize {
    call();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    call();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

// One test in this binary: the counter is global, and a second test would be counted too.
#[test]
fn a_call_allocates_exactly_what_the_runtime_allocates() {
    let bytes = common::small_model();
    let window = common::numbers(1, 12);

    let model = ModelOptions::with_all_ops()
        .prepack_weights(true)
        .load(bytes.clone())
        .unwrap();
    let pool = Arc::new(ThreadPool::with_num_threads(1));
    let view = rten_tensor::TensorView::from_data(&[1_usize, 4, 3][..], window.as_slice());
    let bare = pool.run(|| {
        count(|| {
            let inputs = vec![(
                model.input_ids()[0],
                ValueView::FloatTensor(view.clone()).into(),
            )];
            let options = RunOptions::default().with_thread_pool(Some(pool.clone()));
            model
                .run(inputs, model.output_ids(), Some(options))
                .unwrap();
        })
    });

    let mut engine = CpuEngine::load(&bytes).unwrap();
    let mut outputs = vec![Vec::new(), Vec::new()];
    let thread = engine.thread();
    let ours = thread.run(|| {
        count(|| {
            engine
                .run(&[TensorView::f32(&[1, 4, 3], &window)], &mut outputs)
                .unwrap()
        })
    });

    assert!(
        bare > 0,
        "the counter must see the runtime's own allocations"
    );
    assert_eq!(ours, bare);
}
