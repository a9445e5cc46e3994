//! No byte stream makes a reader ask the allocator for more than it was allowed to.
//!
//! The allocator is process-wide, so this promise has a test binary to itself.
#![allow(clippy::unwrap_used)]
#![allow(unsafe_code)] // A counting allocator cannot be written without it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use heqis_sp::{Connection, Protocol, SocketOptions};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::Builder;

/// Above all that the test itself allocates, so that only the reader can break it.
const MAX_FRAME_BYTES: usize = 4 << 20;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, and it is the same one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Lets a reader take `bytes` and returns how it ended and the largest allocation on the way.
fn read(bytes: &[u8]) -> (&'static str, usize) {
    let mut options = SocketOptions::new(Protocol::Pull);
    options.max_frame_bytes = MAX_FRAME_BYTES;
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (ours, mut peer) = duplex(1 << 16);
        let send = async move {
            peer.write_all(b"\0SP\0\0\x50\0\0").await.unwrap();
            peer.read_exact(&mut [0; 8]).await.unwrap();
            // Refused on the other side as soon as a length is too large.
            let _ = peer.write_all(bytes).await;
        };
        let receive = async {
            let connection = Connection::over(ours, &options).await.unwrap();
            let (mut reader, _writer) = connection.split();
            LARGEST.store(0, Ordering::Relaxed);
            loop {
                match reader.recv().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return "end",
                    Err(error) => return error.cause(),
                }
            }
        };
        let ((), how) = tokio::join!(send, receive);
        (how, LARGEST.load(Ordering::Relaxed))
    })
}

// One test, because a second one would run at the same time and use the same counter.
#[test]
fn announced_lengths_cost_at_most_the_limit() {
    let limit = MAX_FRAME_BYTES as u64;
    let length = prop_oneof![0u64..2_000, limit - 9..limit + 9, any::<u64>()];
    let lengths = prop::collection::vec(length, 1..20);
    proptest!(|(lengths in lengths)| {
        let mut bytes = Vec::new();
        for length in &lengths {
            bytes.extend(length.to_be_bytes());
            bytes.extend(vec![0; (*length).min(2_000) as usize]);
        }
        let (how, largest) = read(&bytes);
        prop_assert!(largest <= MAX_FRAME_BYTES, "{} bytes were allocated", largest);
        // Short messages are whole; the first long one decides how the stream ends, unless it
        // swallows all that follows as its body, which is far less than the limit.
        let expected = match lengths.iter().find(|length| **length > 2_000) {
            None => "end",
            Some(first) if *first > limit => "too_large",
            Some(_) => "truncated",
        };
        prop_assert_eq!(how, expected);
    });

    // The counter does see the reader: the longest allowed message takes exactly its own length.
    let mut bytes = limit.to_be_bytes().to_vec();
    bytes.resize(8 + MAX_FRAME_BYTES, 7);
    assert_eq!(read(&bytes), ("end", MAX_FRAME_BYTES));
}
