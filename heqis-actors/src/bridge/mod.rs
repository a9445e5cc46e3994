//! Bridged edges: the Transport actors that carry frames between nodes over an NNG pair1 socket.
//!
//! ```text
//! stage ▸ edge ▸ Sender ══ Hello, Data, End or Leave, Goodbye ══▶ Receiver ▸ edge ▸ stage
//!                   ◀═════ Welcome or Refuse, Ack, Goodbye ══════
//!                   ◀═══════════════ Heartbeat ════════════════▶
//! ```
//!
//! The sending half of an edge numbers its frames from 1 and keeps them, on an at-least-once edge, until the receiver
//! says that everything derived from them is done. An `Ack` is cumulative: the highest number up to which everything
//! has an outcome, what the outcomes were, and up to which number the sender may send (the credit). Losing one
//! therefore loses nothing. A reconnect starts a new epoch with `Hello` and `Welcome`, after which the sender continues
//! where the receiver's memory ends.
//!
//! **Leaving is not ending.** `End` says that the stream is complete: its sources have ended, and the receiving half ends
//! once everything has an outcome, the sender has confirmed with `Goodbye` that it heard so, and the stages of the node
//! have had their last act; only then does it answer `Goodbye`. `Leave` says that the sending node goes away in
//! mid-stream: the receiving half waits for it, or for its successor. A receiver that leaves says `Goodbye`; the sender
//! keeps what has no outcome and dials until a successor answers.
//!
//! - `sender`, `receiver`: the two actors. What each knows of frames and numbers: `window`, `intake`.
//! - `ticket`: which numbers are done, by ownership: a frame holds a ticket, whatever is derived from it shares it.
//! - `memory`: which source positions a receiver has had, for senders that come back.
//! - `conn`: one live connection, its flushing and its heartbeat. `door`: connections that have not said hello.
//! - `offset`: the two clocks, compared by heartbeats.

mod conn;
mod door;
mod intake;
mod memory;
mod offset;
mod receiver;
mod sender;
mod ticket;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;

use conn::LinkError;
pub use offset::ClockOffset;
pub(crate) use receiver::BridgeReceiver;
pub(crate) use sender::BridgeSender;
pub use ticket::{Deliveries, Ticket};

use crate::actor::Doorbell;
use crate::clock::Clock;
use crate::commit::{Committed, SourceStream};
use crate::control::{Control, Progress};
use crate::edge::Edge;
use crate::encoding::Encoding;
use crate::events::Event;
use crate::frame::{AnyFrame, Body, Head, MAX_STAMPS, Origin, Stamp};
use crate::metrics::LinkMetrics;
use crate::options::BridgeOptions;
use crate::payload::{Payload, PayloadError, Tensor};
use crate::sp::Inproc;
use crate::wire::{Encoded, Header, Kind, WireError, WireFrame, WireMeta, wire_meta};

/// A payload type by name, able to rebuild its values from the wire.
#[derive(Clone, Copy)]
pub struct PayloadType {
    name: &'static str,
    decode: Decode,
}

pub(crate) type Decode = fn(&[u8], Tensor) -> Result<Arc<dyn Body>, PayloadError>;

impl PayloadType {
    /// The description of `P`.
    #[must_use]
    pub fn of<P: Payload>() -> Self {
        Self {
            name: P::NAME,
            decode: |meta, tensor| Ok(Arc::new(P::decode(meta, tensor)?)),
        }
    }

    /// Wire name of the type.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl std::fmt::Debug for PayloadType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PayloadType").field(&self.name).finish()
    }
}

/// What one half of a bridged edge is made of.
pub(crate) struct BridgeSetup {
    /// The local queue: frames to be sent, or frames received.
    pub(crate) edge: Arc<Edge>,
    /// Index of the edge in the topology.
    pub(crate) route: u32,
    /// What the edge carries.
    pub(crate) payload: PayloadType,
    pub(crate) options: BridgeOptions,
    pub(crate) inproc: Inproc,
    pub(crate) clock: Clock,
    pub(crate) control: Control,
    /// What the arbiter of the bridges counts.
    pub(crate) progress: Progress,
    pub(crate) bell: Arc<Doorbell>,
    pub(crate) link: LinkMetrics,
    /// Identity of this process's half; another process has another one.
    pub(crate) instance: u64,
    /// Name of this node.
    pub(crate) node: String,
    /// The other end, as the topology has it.
    pub(crate) peer: LinkPeer,
    pub(crate) committed: Committed,
}

/// The other end of a bridged edge, as the topology has it.
#[derive(Clone, Debug, Default)]
pub struct LinkPeer {
    /// Name of the node; empty where it is not known.
    pub node: String,
    /// What holds of the frames on the edge, by subject, as this node reads its files. The two ends compare it when they
    /// connect: what one was made for is what the other makes.
    pub terms: BTreeMap<String, String>,
}

impl BridgeSetup {
    /// The node at the other end, for messages.
    fn peer_name(&self) -> String {
        match self.peer.node.as_str() {
            "" => "the other node".into(),
            name => format!("node '{name}'"),
        }
    }

    /// States why there is no connection, in the log too when `log` is set.
    fn link_waits(&self, reason: String, log: bool) {
        let peer = self.peer_name();
        self.edge.set_waits(Some(format!("{peer}: {reason}")));
        if log {
            let edge = self.edge.name.to_string();
            self.control
                .publish_limited("link_waits", &self.edge.name, |_| Event::LinkWaits {
                    edge,
                    peer,
                    reason,
                });
        }
    }

    /// A peer did what it may not, or could not be understood. Limited: a peer can cause it without end.
    fn reject(&self, peer: &str, error: &LinkError) {
        if let Some(cause) = error.cause() {
            self.link.reject(cause);
            let edge = self.edge.name.to_string();
            self.control
                .publish_limited("rejected", &self.edge.name, |left_out| {
                    Event::PeerRejected {
                        edge,
                        reason: format!("{peer}: {error}"),
                        left_out,
                    }
                });
        }
    }

    /// The connection that carried the edge is gone.
    fn link_down(&self, reason: &LinkError) {
        self.link.up.set(0);
        self.link.set_clock(None);
        let edge = self.edge.name.to_string();
        let reason = reason.to_string();
        self.edge
            .set_waits(Some(format!("{}: {reason}", self.peer_name())));
        self.control
            .publish_limited("link_down", &self.edge.name, |left_out| Event::LinkDown {
                edge,
                reason,
                left_out,
            });
    }
}

/// Everything of a frame but its tensor.
#[derive(Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
struct Envelope {
    stream: u64,
    position: u64,
    /// Which of the frames of this position, in their order on the edge.
    part: u32,
    key: u128,
    stamps: Vec<WireStamp>,
    payload: Vec<u8>,
}

#[derive(Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
struct WireStamp {
    stage: u16,
    enter_ns: i64,
    leave_ns: i64,
}

wire_meta!(Envelope, "envelope");

/// The sender introduces its edge.
#[derive(Clone, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
struct Hello {
    edge: String,
    payload: String,
    /// Identity of the sending process's half of the edge.
    instance: u64,
    /// The lowest number that the sender may still send.
    first_seq: u64,
    at_least_once: bool,
    /// The sending node, and the version of its program.
    node: String,
    version: String,
    /// The sources that the sending node knows of, its own and those behind it.
    streams: Vec<StreamName>,
    /// What holds of the frames, as [`LinkPeer::terms`].
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
struct StreamName {
    source: String,
    stream: u64,
    replayable: bool,
}

#[derive(Clone, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
struct Term {
    subject: String,
    value: String,
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
        Self {
            source: from.source.clone(),
            stream: from.stream,
            replayable: from.replayable,
        }
    }
}

/// Most sources and terms that a hello may name.
const MAX_NAMES: usize = 4096;

wire_meta!(Hello, "hello");

/// The receiver says where to go on.
#[derive(Clone, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
struct Welcome {
    /// Identity of the receiver's memory of this sender instance.
    session: u64,
    /// The highest number received from this sender instance.
    received: u64,
    /// The sender may send up to this number.
    limit: u64,
    /// Positions that need not be sent, because they were received from an earlier sender instance.
    have: Vec<Have>,
}

/// An inclusive run of positions of one source stream, and of one part of them.
#[derive(Clone, Copy, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
struct Have {
    stream: u64,
    part: u32,
    first: u64,
    last: u64,
}

/// Highest number of a frame: so high that no edge gets there, so low that arithmetic with a credit cannot wrap.
const MAX_SEQ: u64 = 1 << 62;

/// Furthest time from the epoch that a frame may carry, nanoseconds (146 years): the difference of any two fits an
/// `i64`, so that no stage has to think of it.
const MAX_TIME_NS: i64 = (1 << 62) - 1;

/// Most runs that a welcome lists; more are recognised by the receiver one by one.
const MAX_HAVE: usize = 512;

wire_meta!(Welcome, "welcome");

/// Cumulative credit and acknowledgement.
#[derive(Clone, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
struct Ack {
    limit: u64,
    done: u64,
    /// Outcomes of the numbers up to `done` in this session, indexed by `Outcome::index`.
    outcomes: Vec<u64>,
}

wire_meta!(Ack, "ack");

/// The stream is complete: no number above `last_seq` exists.
#[derive(Clone, Copy, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
struct End {
    last_seq: u64,
}

wire_meta!(End, "end");

/// The content of `Goodbye` and `Leave`.
#[derive(Clone, Copy, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
struct Parting {
    /// Whether the node that says so leaves in mid-stream; otherwise everything on the edge has its outcome.
    leaves: bool,
    /// How long it is still there at most.
    drain_ms: u64,
}

wire_meta!(Parting, "parting");

/// Why a receiver does not take a sender.
#[derive(Clone, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
struct Refuse {
    reason: String,
}

wire_meta!(Refuse, "refuse");

/// Proof of life, with the time at which it was sent in the header. A version that does not compare clocks sends the
/// time 0 and the byte of an absent lag, and reads neither.
#[derive(Clone, Copy, Debug, PartialEq, wincode::SchemaRead, wincode::SchemaWrite)]
struct Heartbeat {
    /// The smallest lag that the sender of this has found of the other side's heartbeats, nanoseconds.
    lag_ns: Option<i64>,
}

wire_meta!(Heartbeat, "heartbeat");

/// Whether a frame may carry this time.
fn is_time(ns: i64) -> bool {
    (-MAX_TIME_NS..=MAX_TIME_NS).contains(&ns)
}

/// The clock of a link. Peers and sockets live in real time even when the graph's clock is virtual.
fn link_clock(graph: &Clock) -> Clock {
    if graph.is_real() {
        graph.clone()
    } else {
        Clock::real()
    }
}

/// Lays out a data frame; a tensor that is sent as it is, is written from the frame itself.
fn encode_frame(
    frame: &AnyFrame,
    route: u32,
    epoch: u32,
    seq: u64,
    encoding: Encoding,
) -> Result<Encoded, WireError> {
    let mut payload = Vec::with_capacity(128);
    let tensor = frame.body.encode(&mut payload)?;
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
    let header = Header {
        kind: Kind::Data,
        route,
        epoch,
        seq,
        ts_ns: head.born_ns,
    };
    Encoded::with(header, &envelope, tensor, encoding)
}

/// Rebuilds a data frame.
fn decode_frame(wire: &WireFrame, payload: PayloadType) -> Result<AnyFrame, WireError> {
    let envelope: Envelope = wire.read()?;
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
    let body = (payload.decode)(&envelope.payload, wire.tensor()?)?;
    Ok(AnyFrame::from_parts(head, body))
}

/// The header of a control message without an encoding and a time. A hello offers one encoding as `seq` and a welcome
/// takes one, a heartbeat carries the time as `ts_ns`: versions that know nothing of these neither set nor read them there.
fn control(kind: Kind, route: u32, epoch: u32) -> Header {
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

    /// Bytes and a tensor.
    #[derive(Clone, Debug, PartialEq)]
    struct Parcel {
        bytes: Vec<u8>,
        tensor: Tensor,
    }

    impl Payload for Parcel {
        const NAME: &'static str = "parcel";

        fn encode(&self, meta: &mut Vec<u8>) -> Result<Option<&Tensor>, PayloadError> {
            crate::payload::meta(Self::NAME, &self.bytes, meta)?;
            Ok((!self.tensor.is_empty()).then_some(&self.tensor))
        }

        fn decode(meta: &[u8], tensor: Tensor) -> Result<Self, PayloadError> {
            Ok(Self {
                bytes: crate::payload::read_meta(Self::NAME, meta)?,
                tensor,
            })
        }
    }

    fn parcels() -> impl Strategy<Value = Parcel> {
        let tensors = prop::collection::vec(0u32..5, 0..=4).prop_flat_map(|shape| {
            let elements = crate::payload::element_count(&shape).unwrap();
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

    proptest! {
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
            let expected = Header { kind: Kind::Data, route, epoch, seq, ts_ns: head.born_ns };
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
            // Whatever two times a stage compares, the difference exists.
            prop_assert!(back.last_leave_ns().checked_sub(back.born_ns).is_some());
        }

        #[test]
        fn control_messages_have_the_layout_of_bincode(
            (edge, payload) in (".{0,20}", ".{0,20}"),
            (node, version, source) in ("[a-z]{0,9}", "[0-9.]{0,9}", "[a-z]{0,9}"),
            (instance, first_seq, at_least_once) in any::<(u64, u64, bool)>(),
            have in prop::collection::vec(any::<(u64, u32, u64, u64)>(), 0..5),
            outcomes in prop::collection::vec(any::<u64>(), 0..12),
            lag_ns in any::<Option<i64>>(),
        ) {
            fn golden(value: &impl Encode) -> Vec<u8> {
                bincode::encode_to_vec(value, bincode::config::legacy()).unwrap()
            }
            fn written(message: &impl WireMeta) -> Vec<u8> {
                let encoded = Encoded::new(control(Kind::Hello, 1, 2), message, None).unwrap();
                WireFrame::parse(encoded.concat(None)).unwrap().meta().to_vec()
            }
            let streams = vec![(&source, instance, at_least_once)];
            let terms = vec![(&source, &version)];
            let theirs = golden(&(
                (&edge, &payload, instance, first_seq, at_least_once),
                (&node, &version, &streams, &terms),
            ));
            let streams = vec![StreamName { source: source.clone(), stream: instance, replayable: at_least_once }];
            let terms = vec![Term { subject: source.clone(), value: version.clone() }];
            let hello =
                Hello { edge, payload, instance, first_seq, at_least_once, node, version, streams, terms };
            prop_assert_eq!(written(&hello), theirs);
            let theirs = golden(&(instance, first_seq, instance, &have));
            let have = have
                .into_iter()
                .map(|(stream, part, first, last)| Have { stream, part, first, last });
            let welcome =
                Welcome { session: instance, received: first_seq, limit: instance, have: have.collect() };
            prop_assert_eq!(written(&welcome), theirs);
            let theirs = golden(&(instance, first_seq, &outcomes));
            prop_assert_eq!(written(&Ack { limit: instance, done: first_seq, outcomes }), theirs);
            prop_assert_eq!(written(&End { last_seq: instance }), golden(&instance));
            let parting = Parting { leaves: at_least_once, drain_ms: instance };
            prop_assert_eq!(written(&parting), golden(&(at_least_once, instance)));
            prop_assert_eq!(written(&Refuse { reason: source.clone() }), golden(&source));
            prop_assert_eq!(written(&Heartbeat { lag_ns }), golden(&lag_ns));
        }
    }
}
