//! No length in a frame makes a decoder ask the allocator for more than the frame itself holds.
//!
//! The allocator is process-wide, so this promise has a test binary to itself.
#![allow(clippy::unwrap_used, missing_docs)]

mod allocations;

use std::sync::atomic::Ordering;

use allocations::LARGEST;
use bytes::Bytes;
use heqis_actors::wire::{Encoded, Header, MessageKind, WireFrame, WireMeta};
use heqis_actors::{MAX_META_BYTES, PayloadError, Tensor, decode_meta, encode_meta};
use proptest::prelude::*;

/// Runs `work` and returns the largest allocation on the way.
fn largest<T>(work: impl FnOnce() -> T) -> (T, usize) {
    LARGEST.store(0, Ordering::Relaxed);
    let result = work();
    (result, LARGEST.load(Ordering::Relaxed))
}

#[derive(Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
struct Lists {
    numbers: Vec<u64>,
    texts: Vec<String>,
    bytes: Vec<u8>,
}

impl WireMeta for Lists {
    const NAME: &'static str = "lists";

    fn write(&self, out: &mut Vec<u8>) -> Result<(), PayloadError> {
        encode_meta(Self::NAME, self, out)
    }

    fn read(bytes: &[u8]) -> Result<Self, PayloadError> {
        decode_meta(Self::NAME, bytes)
    }
}

/// What a decoder may allocate at once: the meta limit for lists of any element, the payload for the tensor.
fn allowed(frame_bytes: usize) -> usize {
    MAX_META_BYTES.max(frame_bytes)
}

fn everything_read(bytes: Bytes) {
    if let Ok(frame) = WireFrame::parse(bytes) {
        let _ = frame.read::<Lists>();
        let _ = frame.tensor();
    }
}

/// A frame whose `lists` begin with the given lengths, whatever follows them.
fn claiming(lengths: [u64; 3]) -> Vec<u8> {
    lengths.map(u64::to_le_bytes).concat()
}

// One test, because a second one would run at the same time and use the same counter.
#[test]
fn announced_lengths_cost_at_most_what_is_there() {
    let header = Header {
        kind: MessageKind::Data,
        route: 0,
        epoch: 1,
        seq: 1,
        ts_ns: 0,
    };
    let lists = Lists {
        numbers: vec![1, 2],
        texts: vec!["a".into()],
        bytes: vec![3],
    };
    let tensor = Tensor::vector(vec![1.0; 100_000]);
    let sound = Encoded::new(header, &lists, Some(&tensor))
        .unwrap()
        .concat(Some(&tensor));

    // The counter does see the decoder: the tensor takes exactly its own length.
    let ((), bytes) = largest(|| everything_read(sound.clone()));
    assert_eq!(bytes, 400_000);

    // Checking a frame allocates nothing at all, the reading of its parts apart.
    let (frame, bytes) = largest(|| WireFrame::parse(sound.clone()));
    assert_eq!((frame.is_ok(), bytes), (true, 0));

    // Planted header fields, with a checksum that fits.
    let small = Tensor::vector(vec![1.0; 2]);
    let sound = Encoded::new(header, &lists, Some(&small))
        .unwrap()
        .concat(Some(&small));
    for at in (10..12).chain(36..44).chain(48..64) {
        for value in [0x7F, 0xFF] {
            let mut bytes = sound.to_vec();
            bytes[at] = value;
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&bytes[..44]);
            hasher.update(&bytes[48..]);
            let crc = hasher.finalize();
            bytes[44..48].copy_from_slice(&crc.to_le_bytes());
            let bytes = Bytes::from(bytes);
            let ((), most) = largest(|| everything_read(bytes));
            assert!(
                most <= allowed(sound.len()),
                "byte {at}: {most} bytes were allocated"
            );
        }
    }

    // Planted lengths inside the meta part.
    let length = prop_oneof![0u64..20, 8_000u64..9_000, 65_000u64..66_000, any::<u64>()];
    let lengths = [length.clone(), length.clone(), length];
    proptest!(|(lengths in lengths, filler in prop::collection::vec(any::<u8>(), 0..64))| {
        let bytes = [claiming(lengths), filler].concat();
        let (_, most) = largest(|| decode_meta::<Lists>("lists", &bytes));
        prop_assert!(most <= MAX_META_BYTES, "{:?}: {} bytes were allocated", lengths, most);
    });
    for len in [1 << 20, 1 << 32, u64::MAX / 8, u64::MAX] {
        let bytes = claiming([len, len, len]);
        let (read, most) = largest(|| decode_meta::<Lists>("lists", &bytes).is_err());
        assert!(
            read && most <= MAX_META_BYTES,
            "{len}: {most} bytes were allocated"
        );
    }
}
