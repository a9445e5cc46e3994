//! The control messages of a bridge, and the layout of its data frames.

use crate::clock::Clock;
use crate::commit::SourceStream;
use crate::encoding::Encoding;
use crate::frame::{AnyFrame, Head, MAX_STAMPS, PayloadType, Stamp};
use crate::origins::{Origin, OriginRun, Origins};
use crate::payload::PayloadError;
use crate::wire::{Encoded, Header, MessageKind, WireError, WireFrame, WireMeta};
use crate::wire_meta;

/// Everything of a frame but its tensor.
#[derive(Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
pub struct Envelope {
    pub stream: u64,
    pub position: u64,
    /// Which of the frames of this position, in their order on the edge, from 0.
    pub part: u32,
    pub key: u128,
    pub stamps: Vec<WireStamp>,
    pub payload: Vec<u8>,
}

#[derive(Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
pub struct WireStamp {
    pub stage: u16,
    pub enter_ns: i64,
    pub leave_ns: i64,
}

wire_meta!(Envelope, "envelope");

/// As [`Envelope`], for a frame that is made from several frames.
#[derive(Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
struct MergedEnvelope {
    envelope: Envelope,
    /// Items that no later frame is made from.
    done: Vec<WireRun>,
    /// Items that later frames are made from too.
    kept: Vec<WireRun>,
    tag: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
struct WireRun {
    stream: u64,
    first: u64,
    last: u64,
}

impl From<OriginRun> for WireRun {
    fn from(run: OriginRun) -> Self {
        Self {
            stream: run.stream,
            first: run.first,
            last: run.last,
        }
    }
}

impl From<WireRun> for OriginRun {
    fn from(run: WireRun) -> Self {
        Self {
            stream: run.stream,
            first: run.first,
            last: run.last,
        }
    }
}

wire_meta!(MergedEnvelope, "merged envelope");

/// The sender introduces its edge.
#[derive(Clone, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
pub struct Hello {
    pub edge: String,
    pub payload: String,
    /// Identity of the sending process's half of the edge.
    pub instance: u64,
    /// The lowest number that the sender may still send.
    pub first_seq: u64,
    pub at_least_once: bool,
    /// The sending node, and the version of its program.
    pub node: String,
    pub version: String,
    /// The sources that the sending node knows of: its own and those of the nodes in front of it.
    pub streams: Vec<StreamName>,
    /// Properties of the frames, as in [`LinkPeer::properties`](crate::LinkPeer::properties).
    pub properties: Vec<PropertyText>,
}

#[derive(Clone, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
pub struct StreamName {
    pub source: String,
    pub stream: u64,
    pub replayable: bool,
}

#[derive(Clone, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
pub struct PropertyText {
    pub subject: String,
    pub value: String,
}

impl From<&SourceStream> for StreamName {
    fn from(from: &SourceStream) -> Self {
        Self {
            source: from.source.clone(),
            stream: from.stream,
            replayable: from.replayable,
        }
    }
}

impl From<&StreamName> for SourceStream {
    fn from(from: &StreamName) -> Self {
        Self::new(from.source.clone(), from.stream, from.replayable)
    }
}

/// Most sources and properties that a hello may name.
pub const MAX_NAMES: usize = 4096;

wire_meta!(Hello, "hello");

/// The receiver accepts a sender and says where it continues.
#[derive(Clone, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
pub struct Welcome {
    /// Identity of the receiver's state of this sender instance.
    pub session: u64,
    /// The highest number received from this sender instance.
    pub received: u64,
    /// The sender may send up to this number.
    pub limit: u64,
    /// Positions that need not be sent, because they were received from an earlier sender instance.
    pub done: Vec<PositionRange>,
}

/// An inclusive range of positions of one source stream, for one part of each.
#[derive(Clone, Copy, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
pub struct PositionRange {
    pub stream: u64,
    pub part: u32,
    pub first: u64,
    pub last: u64,
}

/// Highest number of a frame: no edge reaches it, and arithmetic with a credit cannot wrap below it.
pub const MAX_SEQ: u64 = 1 << 62;

/// Furthest time from the epoch that a frame may carry, nanoseconds (146 years): the difference of any two fits an
/// `i64`, so that no stage has to handle an overflow.
pub const MAX_TIME_NS: i64 = (1 << 62) - 1;

/// Most ranges that a welcome lists; the receiver recognises frames of others one by one.
pub const MAX_RANGES_SENT: usize = 512;

wire_meta!(Welcome, "welcome");

/// Cumulative credit and acknowledgement.
#[derive(Clone, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
pub struct Ack {
    pub limit: u64,
    pub done: u64,
    /// Outcomes of the numbers up to `done` in this session, indexed by `FrameOutcome::index`.
    pub outcomes: Vec<u64>,
}

wire_meta!(Ack, "ack");

/// The stream is complete: no number above `last_seq` exists.
#[derive(Clone, Copy, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
pub struct End {
    pub last_seq: u64,
}

wire_meta!(End, "end");

/// The content of `Goodbye` and `Leave`.
#[derive(Clone, Copy, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
pub struct Parting {
    /// Whether the node leaves in mid-stream; otherwise everything on the edge has its outcome.
    pub leaves: bool,
    /// How long it still runs at most, milliseconds.
    pub drain_ms: u64,
}

wire_meta!(Parting, "parting");

/// Why a receiver does not accept a sender.
#[derive(Clone, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
pub struct Refuse {
    pub reason: String,
}

wire_meta!(Refuse, "refuse");

/// Proof that the sender of this is alive, with the time of sending in the header. A version that does not compare clocks
/// sends the time 0 and the byte of an absent delay, and reads neither.
#[derive(Clone, Copy, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
pub struct Heartbeat {
    /// The smallest delay of the other side's heartbeats that the sender of this has measured, nanoseconds.
    pub delay_ns: Option<i64>,
}

wire_meta!(Heartbeat, "heartbeat");

/// Whether a frame may carry this time.
pub fn is_time(ns: i64) -> bool {
    (-MAX_TIME_NS..=MAX_TIME_NS).contains(&ns)
}

/// The clock of a link. Peers and sockets use real time even when the graph's clock is virtual.
pub fn link_clock(graph: &Clock) -> Clock {
    if graph.is_real() {
        graph.clone()
    } else {
        Clock::real()
    }
}

/// Lays out a data frame; a tensor in `f32` is left in the frame, from which it is written.
pub fn encode_frame(
    frame: &AnyFrame,
    route: u32,
    epoch: u32,
    seq: u64,
    encoding: Encoding,
) -> Result<Encoded, WireError> {
    let mut payload = Vec::with_capacity(128);
    frame.body.encode(&mut payload)?;
    let head = &frame.head;
    let envelope = Envelope {
        stream: head.origin.stream,
        position: head.origin.position,
        part: head.part,
        key: head.key,
        stamps: head
            .stamps
            .iter()
            .map(|s| WireStamp {
                stage: s.stage,
                enter_ns: s.enter_ns,
                leave_ns: s.leave_ns,
            })
            .collect(),
        payload,
    };
    let mut header = Header {
        kind: MessageKind::Data,
        route,
        epoch,
        seq,
        ts_ns: head.born_ns,
    };
    let tensor = frame.body.tensor();
    if head.merged.is_none() {
        return Encoded::with(header, &envelope, tensor, encoding);
    }
    header.kind = MessageKind::Merged;
    let origins = head.origins();
    let wire = |runs: Vec<OriginRun>| runs.into_iter().map(WireRun::from).collect();
    let merged = MergedEnvelope {
        envelope,
        done: wire(origins.done()),
        kept: wire(origins.kept()),
        tag: origins.tag(),
    };
    Encoded::with(header, &merged, tensor, encoding)
}

/// Rebuilds a data frame.
pub fn decode_frame(wire: &WireFrame, payload: PayloadType) -> Result<AnyFrame, WireError> {
    let (envelope, origins) = match wire.header.kind {
        MessageKind::Merged => {
            let merged: MergedEnvelope = wire.read()?;
            let runs = |runs: Vec<WireRun>| runs.into_iter().map(OriginRun::from);
            let origins = Origins::from_parts(runs(merged.done), runs(merged.kept), merged.tag);
            (merged.envelope, Some(origins))
        }
        _ => (wire.read::<Envelope>()?, None),
    };
    let times = envelope
        .stamps
        .iter()
        .flat_map(|stamp| [stamp.enter_ns, stamp.leave_ns]);
    if let Some(ns) = times.chain([wire.header.ts_ns]).find(|ns| !is_time(*ns)) {
        let rule = format!("time {ns} ns is not less than 2^62 ns from the epoch");
        return Err(PayloadError::Rule {
            payload: Envelope::NAME,
            rule,
        }
        .into());
    }
    let origin = Origin {
        stream: envelope.stream,
        position: envelope.position,
    };
    let mut head = Head::new(origin, envelope.key, wire.header.ts_ns);
    if let Some(origins) = origins {
        // The position in the envelope is for versions that show it only.
        head.origin = origins.newest();
        head.merged = origins.merged().cloned();
    }
    head.part = envelope.part;
    head.stamps = envelope
        .stamps
        .iter()
        .take(MAX_STAMPS)
        .map(|s| Stamp {
            stage: s.stage,
            enter_ns: s.enter_ns,
            leave_ns: s.leave_ns,
        })
        .collect();
    let body = payload.decode(&envelope.payload, wire.tensor()?)?;
    Ok(AnyFrame::from_parts(head, body))
}

/// The header of a control message without an encoding and a time. A hello offers an encoding as `seq` and a welcome
/// accepts one, a welcome says as `ts_ns` whether merged frames are taken, a heartbeat carries the time there; versions without these neither set nor read the two fields.
pub fn control_header(kind: MessageKind, route: u32, epoch: u32) -> Header {
    Header {
        kind,
        route,
        epoch,
        seq: 0,
        ts_ns: 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bincode::{Decode, Encode};
    use proptest::prelude::*;

    use super::*;
    use crate::codec::{decode_meta, encode_meta};
    use crate::payload::{Payload, Tensor};

    /// Bytes and a tensor.
    #[derive(Clone, Debug, PartialEq)]
    struct Parcel {
        bytes: Vec<u8>,
        tensor: Tensor,
    }

    impl Payload for Parcel {
        const NAME: &'static str = "parcel";
        const WIRE: bool = true;

        fn encode(&self, meta: &mut Vec<u8>) -> Result<(), PayloadError> {
            encode_meta(Self::NAME, &self.bytes, meta)
        }

        fn decode(meta: &[u8], tensor: Tensor) -> Result<Self, PayloadError> {
            let bytes = decode_meta(Self::NAME, meta)?;
            Ok(Self { bytes, tensor })
        }

        fn tensor(&self) -> Option<&Tensor> {
            Some(&self.tensor)
        }
    }

    fn parcels() -> impl Strategy<Value = Parcel> {
        let tensors = prop::collection::vec(0u32..5, 0..=4).prop_flat_map(|shape| {
            let elements = crate::element_count(&shape).unwrap();
            prop::collection::vec(-1e30f32..1e30, elements)
                .prop_map(move |data| Tensor::new(&shape, data).unwrap())
        });
        (prop::collection::vec(any::<u8>(), 0..100), tensors)
            .prop_map(|(bytes, tensor)| Parcel { bytes, tensor })
    }

    fn heads() -> impl Strategy<Value = Head> {
        let times = || -MAX_TIME_NS..=MAX_TIME_NS;
        let stamps = prop::collection::vec((any::<u16>(), times(), times()), 0..=MAX_STAMPS);
        (any::<(u64, u64, u128, u32)>(), times(), stamps).prop_map(
            |((stream, position, key, part), born_ns, stamps)| {
                let mut head = Head::new(Origin { stream, position }, key, born_ns);
                head.part = part;
                head.stamps = stamps
                    .into_iter()
                    .map(|(stage, enter_ns, leave_ns)| Stamp {
                        stage,
                        enter_ns,
                        leave_ns,
                    })
                    .collect();
                head
            },
        )
    }

    /// The envelope as bincode 1 lays it out.
    #[derive(Encode, Decode)]
    struct Golden {
        stream: u64,
        position: u64,
        part: u32,
        key: u128,
        stamps: Vec<(u16, i64, i64)>,
        payload: Vec<u8>,
    }

    fn runs() -> impl Strategy<Value = Vec<OriginRun>> {
        let run = |(stream, first, more)| OriginRun {
            stream,
            first,
            last: first + more,
        };
        prop::collection::vec((0u64..4, 0..1_000u64, 0..50u64).prop_map(run), 0..20)
    }

    proptest! {
        #[test]
        fn a_merged_frame_is_read_back_with_all_its_origins(
            mut head in heads(),
            (done, kept, tag) in (runs(), runs(), any::<u64>()),
        ) {
            let origins = Origins::from_parts(done, kept, tag);
            (head.origin, head.merged) = (origins.newest(), origins.merged().cloned());
            let parcel = Parcel { bytes: vec![1, 2, 3], tensor: Tensor::default() };
            let frame = AnyFrame::new(head, parcel);
            let bytes = encode_frame(&frame, 1, 2, 3, Encoding::F32).unwrap().concat(None);
            let wire = WireFrame::parse(bytes).unwrap();
            prop_assert_eq!(wire.header.kind, MessageKind::Merged);
            let read = decode_frame(&wire, PayloadType::of::<Parcel>()).unwrap();
            prop_assert_eq!(read.head().origins(), origins);
            prop_assert_eq!((read.head.part, read.head.key), (frame.head.part, frame.head.key));
        }

        #[test]
        fn any_frame_crosses_the_wire_unchanged_in_the_layout_of_bincode(
            head in heads(),
            parcel in parcels(),
            (route, epoch, seq) in any::<(u32, u32, u64)>(),
        ) {
            let frame = AnyFrame::new(head.clone(), parcel.clone());
            let tensor = (!parcel.tensor.is_empty()).then_some(&parcel.tensor);
            let bytes = encode_frame(&frame, route, epoch, seq, Encoding::F32).unwrap().concat(tensor);
            let wire = WireFrame::parse(bytes).unwrap();
            let expected = Header { kind: MessageKind::Data, route, epoch, seq, ts_ns: head.born_ns };
            prop_assert_eq!(wire.header, expected);

            let golden = Golden {
                stream: head.origin.stream,
                position: head.origin.position,
                part: head.part,
                key: head.key,
                stamps: head.stamps.iter().map(|s| (s.stage, s.enter_ns, s.leave_ns)).collect(),
                payload: bincode::encode_to_vec(&parcel.bytes, bincode::config::legacy()).unwrap(),
            };
            let golden = bincode::encode_to_vec(&golden, bincode::config::legacy()).unwrap();
            prop_assert_eq!(wire.meta(), golden.as_slice());

            let back = decode_frame(&wire, PayloadType::of::<Parcel>()).unwrap();
            prop_assert_eq!(back.payload::<Parcel>().unwrap(), &parcel);
            let (back, head) = (back.head(), &head);
            prop_assert_eq!((back.origin, back.part), (head.origin, head.part));
            prop_assert_eq!((back.key, back.born_ns), (head.key, head.born_ns));
            prop_assert_eq!(&back.stamps, &head.stamps);
            // The difference of any two times that a stage compares exists.
            prop_assert!(back.last_leave_ns().checked_sub(back.born_ns).is_some());
        }

        #[test]
        fn control_messages_have_the_layout_of_bincode(
            (edge, payload) in (".{0,20}", ".{0,20}"),
            (node, version, source) in ("[a-z]{0,9}", "[0-9.]{0,9}", "[a-z]{0,9}"),
            (instance, first_seq, at_least_once) in any::<(u64, u64, bool)>(),
            ranges in prop::collection::vec(any::<(u64, u32, u64, u64)>(), 0..5),
            outcomes in prop::collection::vec(any::<u64>(), 0..12),
            delay_ns in any::<Option<i64>>(),
        ) {
            fn golden(value: &impl Encode) -> Vec<u8> {
                bincode::encode_to_vec(value, bincode::config::legacy()).unwrap()
            }
            fn written(message: &impl WireMeta) -> Vec<u8> {
                let encoded = Encoded::new(control_header(MessageKind::Hello, 1, 2), message, None).unwrap();
                WireFrame::parse(encoded.concat(None)).unwrap().meta().to_vec()
            }
            let streams = vec![(&source, instance, at_least_once)];
            let terms = vec![(&source, &version)];
            let theirs = golden(&(
                (&edge, &payload, instance, first_seq, at_least_once),
                (&node, &version, &streams, &terms),
            ));
            let streams = vec![StreamName { source: source.clone(), stream: instance, replayable: at_least_once }];
            let properties = vec![PropertyText { subject: source.clone(), value: version.clone() }];
            let hello =
                Hello { edge, payload, instance, first_seq, at_least_once, node, version, streams, properties };
            prop_assert_eq!(written(&hello), theirs);
            let theirs = golden(&(instance, first_seq, instance, &ranges));
            let done = ranges
                .into_iter()
                .map(|(stream, part, first, last)| PositionRange { stream, part, first, last });
            let welcome =
                Welcome { session: instance, received: first_seq, limit: instance, done: done.collect() };
            prop_assert_eq!(written(&welcome), theirs);
            let theirs = golden(&(instance, first_seq, &outcomes));
            prop_assert_eq!(written(&Ack { limit: instance, done: first_seq, outcomes }), theirs);
            prop_assert_eq!(written(&End { last_seq: instance }), golden(&instance));
            let parting = Parting { leaves: at_least_once, drain_ms: instance };
            prop_assert_eq!(written(&parting), golden(&(at_least_once, instance)));
            prop_assert_eq!(written(&Refuse { reason: source.clone() }), golden(&source));
            prop_assert_eq!(written(&Heartbeat { delay_ns }), golden(&delay_ns));
        }
    }
}
