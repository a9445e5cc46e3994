//! Bridged edges for tests: unused endpoints, a graph on either side, peers that send raw bytes.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bincode::{Decode, Encode};
use heqis_actors::sp::{Endpoint, Security};
use heqis_actors::wire::{Encoded, Header, MessageKind, WireFrame, WireMeta};
use heqis_actors::{
    BridgeOptions, Delivery, EdgeOptions, EdgeReport, EdgeSide, GraphBuilder, GraphHandle, Metrics,
    NodeReport, Payload, PayloadError, PayloadType, StageOptions,
};

use crate::common::{Collect, CollectConfig, Count, CountConfig, Number};

/// Time after which a drain has failed.
pub const DRAIN: Duration = Duration::from_secs(30);
/// Time after which any other step has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The edge that every graph here has.
pub const EDGE: &str = "count->collect";
/// Its index.
pub const ROUTE: u32 = 3;
/// Largest frame on it.
pub const MAX_FRAME: usize = 1 << 20;

/// A TCP address that was free a moment ago.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// A TCP endpoint that was free a moment ago.
pub fn free_endpoint() -> String {
    format!("tcp://{}", free_address())
}

/// One end of the edge under test.
#[derive(Clone)]
pub struct Link {
    pub address: SocketAddr,
    pub credit: usize,
    pub delivery: Delivery,
    pub edge: EdgeOptions,
    /// `tcp` or `tls+tcp`.
    pub scheme: &'static str,
    pub security: Option<Security>,
}

impl Link {
    pub fn new(address: SocketAddr, delivery: Delivery) -> Self {
        let edge = EdgeOptions::new().capacity(64);
        Self {
            address,
            credit: 16,
            delivery,
            edge,
            scheme: "tcp",
            security: None,
        }
    }

    pub fn over_tls(self) -> Self {
        Self {
            scheme: "tls+tcp",
            ..self
        }
    }

    pub fn secured(&self, security: Security) -> Self {
        Self {
            security: Some(security),
            ..self.clone()
        }
    }

    pub fn to(&self, address: SocketAddr) -> Self {
        Self {
            address,
            ..self.clone()
        }
    }

    pub fn bridge(&self) -> BridgeOptions {
        BridgeOptions::new(
            format!("{}://{}", self.scheme, self.address)
                .parse::<Endpoint>()
                .unwrap(),
        )
        .credit(self.credit)
        .delivery(self.delivery)
        // Some links lead through network namespaces.
        .insecure(true)
        .max_frame(MAX_FRAME)
        .security(self.security.clone())
    }

    /// A node that counts onto the edge.
    pub fn sender(&self, count: CountConfig, metrics: &Metrics) -> GraphBuilder {
        GraphBuilder::new("link")
            .node("gateway")
            .metrics(metrics.clone())
            .source::<Count>("count", count, StageOptions::default())
            .stream("count", "numbers")
            .remote("collect")
            .edge_out(
                ROUTE,
                ("count", "collect"),
                PayloadType::of::<Number>(),
                self.edge,
                self.bridge(),
            )
    }

    /// A node that collects from the edge, on an arbiter of its own, so that a slow stage does not slow the bridge.
    pub fn receiver(&self, collect: CollectConfig, metrics: &Metrics) -> GraphBuilder {
        let own = StageOptions::new().arbiter("collect");
        GraphBuilder::new("link")
            .node("compute")
            .metrics(metrics.clone())
            .remote("count")
            .stage::<Collect>("collect", collect, own)
            .edge_in(
                ROUTE,
                ("count", "collect"),
                PayloadType::of::<Number>(),
                self.edge,
                self.bridge(),
            )
    }
}

/// An endless number of items; the graph is stopped instead.
pub fn endless(every_ns: i64) -> CountConfig {
    CountConfig {
        count: u64::MAX,
        groups: 5,
        every_ns,
    }
}

pub fn counting(count: u64, every_ns: i64) -> CountConfig {
    CountConfig {
        count,
        groups: 5,
        every_ns,
    }
}

/// Runs the graphs of both nodes to their end, which is clean, and returns their reports.
pub fn run_both(sender: GraphBuilder, receiver: GraphBuilder) -> (NodeReport, NodeReport) {
    let (sender, receiver) = (sender.spawn().unwrap(), receiver.spawn().unwrap());
    let (sent, received) = (sender.wait_blocking(), receiver.wait_blocking());
    assert!(
        sent.is_clean() && received.is_clean(),
        "{sent:?} {received:?}"
    );
    (sent, received)
}

/// The books of the bridged edge.
pub fn books(report: &NodeReport) -> &EdgeReport {
    report
        .edges
        .iter()
        .find(|edge| matches!(edge.side, EdgeSide::Sender | EdgeSide::Receiver))
        .unwrap()
}

/// Stops the sender, and then the receiver, which does not end because its sender leaves.
pub async fn stop_in_turn(sender: GraphHandle, receiver: GraphHandle) -> (NodeReport, NodeReport) {
    let sent = sender.stop(DRAIN).await;
    (sent, receiver.stop(DRAIN).await)
}

/// The content of a goodbye after everything has its outcome.
pub const DONE: (bool, u64) = (false, 0);

/// Lets the other threads work until `done`.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} does not happen");
        std::thread::yield_now();
    }
}

/// A meta part of any bytes.
pub struct Raw(pub Vec<u8>);

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

/// The control messages and the envelope, in the layout that bincode 1 gives them.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Hello {
    pub edge: String,
    pub payload: String,
    pub instance: u64,
    pub first_seq: u64,
    pub at_least_once: bool,
    pub node: String,
    pub version: String,
    pub streams: Vec<(String, u64, bool)>,
    pub terms: Vec<(String, String)>,
}

impl Hello {
    pub fn new(instance: u64) -> Self {
        Self {
            edge: EDGE.into(),
            payload: Number::NAME.into(),
            instance,
            first_seq: 1,
            at_least_once: true,
            node: String::new(),
            version: String::new(),
            streams: Vec::new(),
            terms: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Welcome {
    pub session: u64,
    pub received: u64,
    pub limit: u64,
    pub have: Vec<(u64, u64, u64)>,
}

#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Ack {
    pub limit: u64,
    pub done: u64,
    pub outcomes: Vec<u64>,
}

impl Ack {
    /// Everything up to `done` was delivered.
    pub fn delivered(done: u64, limit: u64) -> Self {
        let mut outcomes = vec![0; OUTCOMES];
        outcomes[0] = done;
        Self {
            limit,
            done,
            outcomes,
        }
    }
}

/// Delivered, duplicate, and one for each cause of a loss.
pub const OUTCOMES: usize = 11;

#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct End {
    pub last_seq: u64,
}

#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Envelope {
    pub stream: u64,
    pub position: u64,
    pub part: u32,
    pub key: u128,
    pub stamps: Vec<(u16, i64, i64)>,
    pub payload: Vec<u8>,
}

pub fn bincode(value: &impl Encode) -> Vec<u8> {
    bincode::encode_to_vec(value, bincode::config::legacy()).unwrap()
}

pub fn debincode<T: Decode<()>>(bytes: &[u8]) -> T {
    let (value, used) = bincode::decode_from_slice(bytes, bincode::config::legacy()).unwrap();
    assert_eq!(used, bytes.len(), "bytes are left over");
    value
}

/// A control frame of the edge.
pub fn control(kind: MessageKind, epoch: u32, message: &impl Encode) -> Vec<u8> {
    framed(
        Header {
            kind,
            route: ROUTE,
            epoch,
            seq: 0,
            ts_ns: 0,
        },
        bincode(message),
    )
}

/// A data frame of the edge, from a source stream of its own, with the value `seq` + a billion.
pub fn data(epoch: u32, seq: u64) -> Vec<u8> {
    let payload = bincode(&(1_000_000_000u64.wrapping_add(seq), 0u64));
    let envelope = Envelope {
        stream: 0xBAD,
        position: seq,
        part: 0,
        key: 0,
        stamps: vec![(0, 1, 1)],
        payload,
    };
    enveloped(epoch, seq, 1, &envelope)
}

pub fn enveloped(epoch: u32, seq: u64, ts_ns: i64, envelope: &Envelope) -> Vec<u8> {
    framed(
        Header {
            kind: MessageKind::Data,
            route: ROUTE,
            epoch,
            seq,
            ts_ns,
        },
        bincode(envelope),
    )
}

pub fn framed(header: Header, meta: Vec<u8>) -> Vec<u8> {
    Encoded::new(header, &Raw(meta), None)
        .unwrap()
        .concat(None)
        .to_vec()
}

/// The handshake of a pair1 socket.
pub const PAIR1: &[u8; 8] = b"\0SP\0\0\x11\0\0";

/// `body` as a pair1 message on TCP.
pub fn message(body: &[u8]) -> Vec<u8> {
    [
        &(body.len() as u64 + 4).to_be_bytes()[..],
        &1u32.to_be_bytes(),
        body,
    ]
    .concat()
}

/// A peer that sends bytes.
pub struct Peer(pub TcpStream);

impl Peer {
    /// Connects and sends nothing.
    pub fn connect(address: SocketAddr) -> Self {
        let mut stream = None;
        until("a connection", || {
            stream = TcpStream::connect(address).ok();
            stream.is_some()
        });
        Self::over(stream.unwrap())
    }

    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Connects and completes the handshake of a pair1 socket.
    pub fn shaken(address: SocketAddr) -> Self {
        let mut peer = Self::connect(address);
        peer.shake();
        peer
    }

    pub fn shake(&mut self) {
        self.write(PAIR1);
        let mut theirs = [0; 8];
        self.0.read_exact(&mut theirs).unwrap();
        assert_eq!(&theirs, PAIR1);
    }

    /// Writes; a peer that is being disconnected may fail to.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// Writes frames as messages, all at once.
    pub fn send(&mut self, frames: &[Vec<u8>]) {
        self.write(
            &frames
                .iter()
                .flat_map(|frame| message(frame))
                .collect::<Vec<u8>>(),
        );
    }

    /// The next frame, or `None` when the other side has closed.
    pub fn recv(&mut self) -> Option<WireFrame> {
        let mut head = [0; 12];
        if !read_exact(&mut self.0, &mut head) {
            return None;
        }
        let len = u64::from_be_bytes(head[..8].try_into().unwrap()) as usize - 4;
        let mut body = vec![0; len];
        read_exact(&mut self.0, &mut body).then(|| WireFrame::parse(body.into()).unwrap())
    }

    /// The next frame of `kind`; other kinds are skipped.
    pub fn expect(&mut self, kind: MessageKind) -> WireFrame {
        loop {
            let frame = self
                .recv()
                .unwrap_or_else(|| panic!("closed before {kind:?}"));
            if frame.header.kind == kind {
                return frame;
            }
        }
    }

    /// Waits until the other side has closed the connection.
    pub fn until_cut(mut self) {
        let mut sink = [0; 4096];
        while read_exact(&mut self.0, &mut sink[..1]) {}
    }
}

/// Whether `buffer` was filled before the other side closed. Panics when nothing arrives for too long.
fn read_exact(stream: &mut TcpStream, buffer: &mut [u8]) -> bool {
    match stream.read_exact(buffer) {
        Ok(()) => true,
        Err(error) => {
            let waited = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(!waited, "neither data nor the end of the connection comes");
            false
        }
    }
}

/// The books of the edge called `name`.
pub fn books_of<'a>(report: &'a NodeReport, name: &str) -> &'a EdgeReport {
    report.edges.iter().find(|edge| edge.edge == name).unwrap()
}

/// SplitMix64, so that a seed determines a run.
pub struct Dice(pub u64);

impl Dice {
    pub fn draw(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }

    pub fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.draw(range.end - range.start)
    }

    pub fn per_mille(&mut self, chance: u64) -> bool {
        chance > 0 && self.draw(1000) < chance
    }
}
