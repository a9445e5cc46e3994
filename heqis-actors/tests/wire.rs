//! The wire frame: its bytes, what a decoder accepts, and every way in which it refuses.
#![allow(clippy::unwrap_used, missing_docs)]

use bytes::Bytes;
use heqis_actors::wire::{
    Encoded, Header, MessageKind, PAYLOAD_ALIGN, WireError, WireFrame, WireMeta,
};
use heqis_actors::{MAX_META_BYTES, MAX_RANK, PayloadError, Tensor, decode_meta, encode_meta};
use proptest::prelude::*;

/// A meta part of any bytes.
#[derive(Debug, PartialEq)]
struct Raw(Vec<u8>);

impl WireMeta for Raw {
    const NAME: &'static str = "raw";

    fn write(&self, out: &mut Vec<u8>) -> Result<(), PayloadError> {
        out.extend_from_slice(&self.0);
        Ok(())
    }

    fn read(bytes: &[u8]) -> Result<Self, PayloadError> {
        Ok(Self(bytes.to_vec()))
    }
}

const HEADER: Header = Header {
    kind: MessageKind::Data,
    route: 0x0102_0304,
    epoch: 0x0506_0708,
    seq: 0x1112_1314_1516_1718,
    ts_ns: -2,
};

fn frame(header: Header, meta: &[u8], tensor: Option<&Tensor>) -> Bytes {
    Encoded::new(header, &Raw(meta.to_vec()), tensor)
        .unwrap()
        .concat(tensor)
}

fn sample() -> Bytes {
    frame(
        HEADER,
        &[0xAA, 0xBB, 0xCC],
        Some(&Tensor::new(&[2, 1], vec![1.0, -2.5]).unwrap()),
    )
}

fn parse(bytes: impl Into<Vec<u8>>) -> Result<WireFrame, WireError> {
    WireFrame::parse(Bytes::from(bytes.into()))
}

/// CRC-32 as in ISO 3309, bit by bit, over everything but its own four bytes.
fn crc(frame: &[u8]) -> u32 {
    !frame[..44]
        .iter()
        .chain(&frame[48..])
        .fold(!0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                (crc >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(crc & 1))
            })
        })
}

/// The sample with `bytes` written at `at` and a matching checksum, so that the rules after it are reached.
fn planted(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = sample().to_vec();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    seal(frame)
}

fn seal(mut frame: Vec<u8>) -> Vec<u8> {
    let crc = crc(&frame);
    frame[44..48].copy_from_slice(&crc.to_le_bytes());
    frame
}

#[test]
fn a_data_frame_has_these_bytes() {
    // Laid out by hand from the format's description; the checksum comes from zlib.
    #[rustfmt::skip]
    let golden = [
        b'H', b'Q', b'I', b'S', 1, 1, 0, 0, 64, 0, 1, 2,
        0x04, 0x03, 0x02, 0x01, 0x08, 0x07, 0x06, 0x05,
        0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
        0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
        3, 0, 0, 0, 8, 0, 0, 0,
        0xF9, 0x8E, 0xC0, 0x21,
        2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0xAA, 0xBB, 0xCC, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0x80, 0x3F, 0, 0, 0x20, 0xC0,
    ];
    assert_eq!(sample()[..], golden);
}

#[test]
fn a_frame_without_tensor_has_these_bytes() {
    let header = Header {
        kind: MessageKind::Heartbeat,
        route: 7,
        epoch: 1,
        seq: 0,
        ts_ns: 0,
    };
    let mut golden = vec![
        b'H', b'Q', b'I', b'S', 1, 7, 0, 0, 64, 0, 0, 0, 7, 0, 0, 0, 1,
    ];
    golden.resize(36, 0);
    golden.extend([1, 0, 0, 0, 0, 0, 0, 0, 0xB9, 0x31, 0x83, 0xF7]);
    golden.resize(80, 0);
    assert_eq!(frame(header, &[0], None)[..], golden);
}

#[test]
fn a_frame_cut_at_any_length_is_refused() {
    let whole = sample();
    for len in 0..whole.len() {
        let error = WireFrame::parse(whole.slice(..len)).unwrap_err();
        let expected = if len < 64 { "short" } else { "length" };
        assert_eq!(error.cause(), expected, "cut after {len} bytes: {error}");
    }
    let longer = [&whole[..], &[0]].concat();
    assert_eq!(parse(longer).unwrap_err().cause(), "length");
}

#[test]
fn no_flipped_bit_passes_for_another_frame() {
    let whole = sample();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = parse(bytes).unwrap_err();
        let expected: &[&str] = match bit / 8 {
            0..4 => &["magic"],
            4..12 => &["unknown", "crc"],
            36..44 => &["length", "crc"],
            _ => &["crc"],
        };
        assert!(expected.contains(&error.cause()), "bit {bit}: {error}");
    }
}

#[test]
fn every_header_rule_refuses_even_when_the_checksum_fits() {
    let cases: &[(usize, &[u8], &str)] = &[
        (0, b"HQIZ", "magic 48, 51, 49, 5a"),
        (4, &[0], "'version' has the unknown value 0"),
        (4, &[2], "'version' has the unknown value 2"),
        (5, &[0], "'kind' has the unknown value 0"),
        (5, &[10], "'kind' has the unknown value 10"),
        (5, &[255], "'kind' has the unknown value 255"),
        (6, &[1, 0], "'flags' has the unknown value 1"),
        (6, &[0, 0x80], "'flags' has the unknown value 32768"),
        (8, &[63, 0], "'header_len' has the unknown value 63"),
        (8, &[80, 0], "'header_len' has the unknown value 80"),
        (10, &[4], "'dtype' has the unknown value 4"),
        (10, &[255], "'dtype' has the unknown value 255"),
        // A tensor type without dimensions, dimensions without a type, more than the header has room for.
        (10, &[1, 0], "'rank' has the unknown value 0"),
        (10, &[0, 2], "'rank' has the unknown value 2"),
        (11, &[5], "'rank' has the unknown value 5"),
        (11, &[255], "'rank' has the unknown value 255"),
    ];
    for &(at, bytes, message) in cases {
        let error = parse(planted(at, bytes)).unwrap_err().to_string();
        assert!(
            error.replace(['[', ']'], "").contains(message),
            "{bytes:?} at {at} gave: {error}"
        );
    }
}

#[test]
fn lengths_that_do_not_add_up_are_refused_whatever_they_claim() {
    // 3 + 8 are right. 4 and 5 share the padding of 3, so that only the checksum detects them; these are all others.
    for (meta_len, payload_len) in [
        (0, 8),
        (17, 8),
        (3, 0),
        (3, 7),
        (3, 9),
        (3, 24),
        (u32::MAX, 8),
        (3, u32::MAX),
        (u32::MAX, u32::MAX),
        (u32::MAX - 63, 8),
        (MAX_META_BYTES as u32 + 1, 8),
        // Would wrap to the right sum in 32 bits.
        (0xFFFF_FFF3, 24),
    ] {
        let lengths = [u32::to_le_bytes(meta_len), u32::to_le_bytes(payload_len)].concat();
        let error = parse(planted(36, &lengths)).unwrap_err();
        assert_eq!(
            error.cause(),
            "length",
            "{meta_len} + {payload_len}: {error}"
        );
    }
}

#[test]
fn shapes_that_do_not_fill_the_payload_are_refused_also_when_their_product_overflows() {
    let shape = |rank: u8, dims: [u32; 4]| {
        let mut frame = sample().to_vec();
        frame[11] = rank;
        frame[48..64].copy_from_slice(&dims.map(u32::to_le_bytes).concat());
        parse(seal(frame))
    };
    for (rank, dims) in [
        (1, [1, 0, 0, 0]),
        (1, [3, 0, 0, 0]),
        (1, [0, 0, 0, 0]),
        (2, [2, 2, 0, 0]),
        (4, [2, 1, 1, 0]),
        (4, [u32::MAX; 4]),
        // Two elements when multiplied in 32 bits, and in 64 bits.
        (2, [0x8000_0001, 2, 0, 0]),
        (4, [1 << 31, 1 << 31, 4, 2]),
        // The bytes overflow, not the elements: 2^62 + 2 elements of four bytes.
        (4, [0x8000_0000, 0x8000_0000, 1, 1]),
    ] {
        let error = shape(rank, dims).unwrap_err();
        assert_eq!(error.cause(), "shape", "{rank} {dims:?}: {error}");
    }
    // Dimensions beyond the rank are not part of the shape.
    assert_eq!(
        shape(1, [2, 9, 9, 9]).unwrap().tensor().unwrap().shape(),
        [2]
    );
}

#[test]
fn a_meta_part_above_its_limit_cannot_be_written_and_one_at_the_limit_can() {
    let at_limit = frame(HEADER, &vec![7; MAX_META_BYTES], None);
    assert_eq!(
        WireFrame::parse(at_limit).unwrap().meta().len(),
        MAX_META_BYTES
    );
    let above = Encoded::new(HEADER, &Raw(vec![7; MAX_META_BYTES + 1]), None).unwrap_err();
    assert_eq!(above.cause(), "length");
}

fn tensors() -> impl Strategy<Value = Option<Tensor>> {
    let tensor = prop::collection::vec(0u32..6, 1..=MAX_RANK).prop_flat_map(|shape| {
        let elements = shape.iter().product::<u32>() as usize;
        // All bit patterns, signalling NaNs included: the wire carries bits, not numbers.
        prop::collection::vec(any::<u32>(), elements).prop_map(move |bits| {
            Tensor::new(&shape, bits.into_iter().map(f32::from_bits).collect()).unwrap()
        })
    });
    prop::option::of(tensor)
}

fn headers() -> impl Strategy<Value = Header> {
    let kinds = [
        MessageKind::Data,
        MessageKind::Hello,
        MessageKind::Welcome,
        MessageKind::Ack,
        MessageKind::End,
        MessageKind::Goodbye,
        MessageKind::Heartbeat,
    ];
    (
        prop::sample::select(kinds.to_vec()),
        any::<(u32, u32, u64, i64)>(),
    )
        .prop_map(|(kind, (route, epoch, seq, ts_ns))| Header {
            kind,
            route,
            epoch,
            seq,
            ts_ns,
        })
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor
        .data()
        .iter()
        .map(|element| element.to_bits())
        .collect()
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back(
        header in headers(),
        meta in prop::collection::vec(any::<u8>(), 0..200),
        tensor in tensors(),
    ) {
        let bytes = frame(header, &meta, tensor.as_ref());
        prop_assert_eq!(&crc(&bytes).to_le_bytes(), &bytes[44..48]);
        prop_assert_eq!((bytes.len() - tensor.as_ref().map_or(0, |t| 4 * t.data().len())) % PAYLOAD_ALIGN, 0);
        let read = WireFrame::parse(bytes).unwrap();
        prop_assert_eq!(read.header, header);
        prop_assert_eq!(read.read::<Raw>().unwrap().0, meta);
        let (read, written) = (read.tensor().unwrap(), tensor.unwrap_or_default());
        prop_assert_eq!(read.shape(), written.shape());
        prop_assert_eq!(bits(&read), bits(&written));
    }

    #[test]
    fn a_damaged_frame_is_never_taken_for_another(
        header in headers(),
        meta in prop::collection::vec(any::<u8>(), 0..40),
        tensor in tensors(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
    ) {
        let whole = frame(header, &meta, tensor.as_ref());
        let mut bytes = whole.to_vec();
        for (at, change) in damage {
            let at = at.index(bytes.len());
            bytes[at] ^= change;
        }
        // Two changes of one byte may cancel out.
        prop_assert!(bytes[..] == whole[..] || parse(bytes).is_err());
    }

    #[test]
    fn any_header_over_any_body_is_refused_or_consistent(
        head in prop::collection::vec(any::<u8>(), 64),
        rest in prop::collection::vec(any::<u8>(), 0..100),
        plausible in any::<u8>(),
    ) {
        // Each bit of `plausible` repairs one field, so that every depth of the rules is visited.
        let mut bytes = [head, rest].concat();
        let good = sample();
        for (bit, field) in [0..4, 4..5, 5..6, 6..8, 8..10, 10..12].into_iter().enumerate() {
            if plausible >> bit & 1 == 1 {
                bytes[field.clone()].copy_from_slice(&good[field]);
            }
        }
        if plausible & 0x40 != 0 {
            let payload_len = (bytes.len() - 64) as u32;
            bytes[36..44].copy_from_slice(&[[0; 4], payload_len.to_le_bytes()].concat());
        }
        if let Ok(read) = parse(seal(bytes)) {
            let tensor = read.tensor().unwrap();
            prop_assert_eq!(tensor.shape().iter().product::<u32>() as usize * usize::from(!tensor.is_empty()), tensor.data().len());
        }
    }
}

/// Every kind of field that a meta part may have, in the layouts of both libraries.
#[derive(
    Clone,
    Debug,
    PartialEq,
    wincode::SchemaRead,
    wincode::SchemaWrite,
    bincode::Encode,
    bincode::Decode,
)]
struct Everything {
    small: u8,
    wide: u128,
    signed: i64,
    number: f64,
    flag: bool,
    text: String,
    list: Vec<u16>,
    maybe: Option<i32>,
    choice: Choice,
    nested: Vec<Inner>,
    array: [u32; 3],
}

#[derive(
    Clone,
    Debug,
    PartialEq,
    wincode::SchemaRead,
    wincode::SchemaWrite,
    bincode::Encode,
    bincode::Decode,
)]
enum Choice {
    Nothing,
    Number(u64),
    Named { key: u8, value: String },
}

#[derive(
    Clone,
    Debug,
    PartialEq,
    wincode::SchemaRead,
    wincode::SchemaWrite,
    bincode::Encode,
    bincode::Decode,
)]
struct Inner {
    stage: u16,
    enter_ns: i64,
}

fn choices() -> impl Strategy<Value = Choice> {
    prop_oneof![
        Just(Choice::Nothing),
        any::<u64>().prop_map(Choice::Number),
        (any::<u8>(), ".{0,9}").prop_map(|(key, value)| Choice::Named { key, value }),
    ]
}

fn everything() -> impl Strategy<Value = Everything> {
    let fields = (
        any::<(u8, u128, i64, bool)>(),
        -1e300..1e300,
        ".{0,20}",
        prop::collection::vec(any::<u16>(), 0..20),
        any::<Option<i32>>(),
        choices(),
        prop::collection::vec(any::<(u16, i64)>(), 0..5),
        any::<[u32; 3]>(),
    );
    fields.prop_map(
        |((small, wide, signed, flag), number, text, list, maybe, choice, nested, array)| {
            Everything {
                small,
                wide,
                signed,
                number,
                flag,
                text,
                list,
                maybe,
                choice,
                nested: nested
                    .into_iter()
                    .map(|(stage, enter_ns)| Inner { stage, enter_ns })
                    .collect(),
                array,
            }
        },
    )
}

proptest! {
    #[test]
    fn a_meta_part_is_what_bincode_would_have_written(value in everything()) {
        let mut ours = Vec::new();
        encode_meta("everything", &value, &mut ours).unwrap();
        let theirs = bincode::encode_to_vec(&value, bincode::config::legacy()).unwrap();
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(&decode_meta::<Everything>("everything", &theirs).unwrap(), &value);
        let (back, used) = bincode::decode_from_slice::<Everything, _>(&ours, bincode::config::legacy()).unwrap();
        prop_assert_eq!((back, used), (value, ours.len()));
    }

    #[test]
    fn a_meta_part_that_is_cut_or_longer_is_refused(value in everything(), cut in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        encode_meta("everything", &value, &mut bytes).unwrap();
        let short = decode_meta::<Everything>("everything", &bytes[..cut.index(bytes.len())]);
        let refused = matches!(short, Err(PayloadError::Meta { payload: "everything", .. }));
        prop_assert!(refused, "{:?}", short);
        bytes.push(0);
        prop_assert!(decode_meta::<Everything>("everything", &bytes).is_err());
    }

    #[test]
    fn any_meta_bytes_give_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_meta::<Everything>("everything", &bytes);
    }
}
