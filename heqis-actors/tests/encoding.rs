//! Encodings of tensors over a bridged edge: the values that arrive, the agreement with other versions, refusals.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod links;

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use heqis_actors::sp::Endpoint;
use heqis_actors::wire::{Header, MessageKind};
use heqis_actors::{
    BridgeOptions, BuildContext, DropCause, EdgeOptions, EdgeSide, Emitter, Encoding, Frame,
    GraphBuilder, Metrics, Next, Nothing, Payload, PayloadType, Source, Stage, StageError,
    StageOptions, Tensor,
};
use links::{
    Ack, DONE, DRAIN, End, Hello, Peer, ROUTE, Welcome, bincode, control, debincode, framed,
    free_address,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// A payload that is only a tensor.
#[derive(Clone, Debug, Payload)]
struct Wave(#[payload(tensor)] Tensor);

#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct WavesConfig {
    waves: Vec<Vec<f32>>,
}

/// Sends its waves once.
struct Waves(std::vec::IntoIter<Vec<f32>>);

impl Source for Waves {
    type Config = WavesConfig;
    type Out = Wave;
    const KIND: &'static str = "waves";
    const ABOUT: &'static str = "Sends waves.";
    const REPLAYABLE: bool = true;

    fn build(config: &WavesConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self(config.waves.clone().into_iter()))
    }

    fn next(&mut self) -> Result<Next<Wave>, StageError> {
        Ok(match self.0.next() {
            Some(values) => {
                let shape = [1, u32::try_from(values.len()).unwrap()];
                Next::Item(Wave(Tensor::new(&shape, values).unwrap()))
            }
            None => Next::End,
        })
    }
}

type Seen = Arc<Mutex<Vec<Vec<f32>>>>;

#[derive(Clone, Default, Deserialize, JsonSchema)]
struct ShoreConfig {
    #[serde(skip)]
    seen: Seen,
}

/// Keeps the waves that arrive.
struct Shore(Seen);

impl Stage for Shore {
    type Config = ShoreConfig;
    type In = Wave;
    type Out = Nothing;
    const KIND: &'static str = "shore";
    const ABOUT: &'static str = "Keeps waves.";

    fn build(config: &ShoreConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self(config.seen.clone()))
    }

    fn process(
        &mut self,
        frame: &Frame<Wave>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        self.0.lock().unwrap().push(frame.0.data().to_vec());
        Ok(())
    }
}

fn bridge(address: std::net::SocketAddr, encoding: Encoding) -> BridgeOptions {
    BridgeOptions::new(format!("tcp://{address}").parse::<Endpoint>().unwrap())
        .credit(16)
        .max_frame(1 << 22)
        .encoding(encoding)
}

fn sender(waves: Vec<Vec<f32>>, metrics: &Metrics, bridge: BridgeOptions) -> GraphBuilder {
    GraphBuilder::new("link")
        .metrics(metrics.clone())
        .source::<Waves>("count", WavesConfig { waves }, StageOptions::default())
        .remote("collect")
        .edge_out(
            ROUTE,
            ("count", "collect"),
            PayloadType::of::<Wave>(),
            EdgeOptions::default(),
            bridge,
        )
}

/// Sends waves from one graph to another and returns what arrived, the bytes of the frames and the losses by decoding.
fn cross(waves: &[Vec<f32>], sent: Encoding, taken: Encoding) -> (Vec<Vec<f32>>, u64, u64) {
    let address = free_address();
    let seen = Seen::default();
    let (ours, theirs) = (Metrics::new("gateway"), Metrics::new("compute"));
    let shore = ShoreConfig { seen: seen.clone() };
    let receiver = GraphBuilder::new("link")
        .metrics(theirs)
        .remote("count")
        .stage::<Shore>("collect", shore, StageOptions::default())
        .edge_in(
            ROUTE,
            ("count", "collect"),
            PayloadType::of::<Wave>(),
            EdgeOptions::default(),
            bridge(address, taken),
        );
    let receiving = std::thread::spawn(move || receiver.run(DRAIN).unwrap());
    let sent = sender(waves.to_vec(), &ours, bridge(address, sent))
        .run(DRAIN)
        .unwrap();
    let received = receiving.join().unwrap();
    assert!(
        sent.books_close() && received.is_clean(),
        "{sent:?} {received:?}"
    );
    let books = sent
        .edges
        .iter()
        .find(|edge| edge.side == EdgeSide::Sender)
        .unwrap();
    let lost = books.dropped.get(&DropCause::Decode).copied().unwrap_or(0);
    let seen = seen.lock().unwrap().clone();
    (seen, ours.link("count->collect").sent_bytes.get(), lost)
}

/// Windows of 64 rows by 32 features between −3 and 3, as a scaler leaves them.
fn windows() -> Vec<Vec<f32>> {
    (0..20)
        .map(|n| {
            (0..64 * 32)
                .map(|i| ((i * 37 + n * 11) % 601) as f32 / 100.0 - 3.0)
                .collect()
        })
        .collect()
}

fn largest_error(waves: &[Vec<f32>], seen: &[Vec<f32>]) -> f32 {
    assert_eq!(waves.len(), seen.len());
    waves
        .iter()
        .flatten()
        .zip(seen.iter().flatten())
        .map(|(one, other)| (one - other).abs())
        .fold(0.0, f32::max)
}

#[test]
fn a_window_takes_half_or_a_quarter_of_the_bytes_within_the_stated_error() {
    let waves = windows();
    let (plain, plain_bytes, _) = cross(&waves, Encoding::F32, Encoding::F32);
    assert_eq!(plain, waves);
    let (half, half_bytes, _) = cross(&waves, Encoding::F16, Encoding::F16);
    let (eighth, eighth_bytes, _) = cross(&waves, Encoding::Int8, Encoding::Int8);
    // 3 needs 2⁻¹¹ × 3; a step of int8 is the range of 6 by 255.
    assert!(largest_error(&waves, &half) <= 3.0 / 2048.0);
    assert!(largest_error(&waves, &eighth) <= 6.0 / 255.0 * 0.501);
    assert!(largest_error(&waves, &eighth) > 0.0);
    let ratio = |bytes: u64| bytes as f64 / plain_bytes as f64;
    assert!(
        (0.50..0.52).contains(&ratio(half_bytes)),
        "{}",
        ratio(half_bytes)
    );
    assert!(
        (0.25..0.28).contains(&ratio(eighth_bytes)),
        "{}",
        ratio(eighth_bytes)
    );
}

#[test]
fn tensors_too_large_for_the_write_buffer_cross_as_well() {
    let wave: Vec<f32> = (0..200_000).map(|i| (i % 1_000) as f32).collect();
    for encoding in Encoding::ALL {
        let (seen, _, _) = cross(&[wave.clone(), wave.clone()], encoding, encoding);
        assert!(largest_error(&[wave.clone(), wave.clone()], &seen) <= 2.0);
    }
}

#[test]
fn the_offer_of_the_sender_is_accepted_also_when_the_receivers_topology_differs() {
    let waves = vec![vec![0.1, 0.2, 0.3]];
    let (seen, _, _) = cross(&waves, Encoding::F16, Encoding::F32);
    assert!(largest_error(&waves, &seen) > 0.0, "it came as f16");
    let (seen, _, _) = cross(&waves, Encoding::F32, Encoding::Int8);
    assert_eq!(seen, waves, "it came as f32");
}

#[test]
fn a_value_that_the_encoding_cannot_represent_costs_only_its_frame() {
    let waves = vec![vec![1.0], vec![1e9], vec![2.0]];
    let (seen, _, lost) = cross(&waves, Encoding::F16, Encoding::F16);
    assert_eq!((seen, lost), (vec![vec![1.0], vec![2.0]], 1));
    let waves = vec![vec![f32::NAN], vec![255.0]];
    let (seen, _, lost) = cross(&waves, Encoding::Int8, Encoding::Int8);
    assert_eq!((seen, lost), (vec![vec![255.0]], 1));
}

/// Connects a sender that offers `int8` to a receiver that answers its hello with `taken`; returns the encoding of its
/// first frame, or `None` when it disconnects.
fn answered_with(taken: u64) -> Option<(u64, Encoding)> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let bridge = bridge(listener.local_addr().unwrap(), Encoding::Int8);
    let sending = std::thread::spawn(move || {
        sender(vec![vec![1.0, 2.0]], &Metrics::new("gateway"), bridge).run(DRAIN)
    });
    let meet = |answer: u64| {
        let mut peer = Peer::over(listener.accept().unwrap().0);
        peer.shake();
        let hello = peer.expect(MessageKind::Hello);
        let header = Header {
            kind: MessageKind::Welcome,
            seq: answer,
            ..hello.header
        };
        let welcome = Welcome {
            session: 1,
            received: 0,
            limit: 10,
            have: Vec::new(),
        };
        peer.send(&[framed(header, bincode(&welcome))]);
        (peer, hello)
    };
    let (mut peer, hello) = meet(taken);
    let offered = hello.header.seq;
    // The hello itself is the one of every version.
    let said: Hello = debincode(hello.meta());
    assert_eq!(said.payload, "wave");
    let first = std::iter::from_fn(|| peer.recv())
        .find(|frame| frame.header.kind != MessageKind::Heartbeat);
    let (mut peer, first) = match first {
        Some(frame) => (peer, Some(frame)),
        None => (meet(0).0, None),
    };
    let encoding = first.map(|frame| (offered, frame.encoding()));
    if encoding.is_none() {
        peer.expect(MessageKind::Data);
    }
    let end: End = debincode(peer.expect(MessageKind::End).meta());
    assert_eq!(end.last_seq, 1);
    let epoch = hello.header.epoch + u32::from(encoding.is_none());
    peer.send(&[control(MessageKind::Ack, epoch, &Ack::delivered(1, 10))]);
    peer.expect(MessageKind::Goodbye);
    peer.send(&[control(MessageKind::Goodbye, epoch, &DONE)]);
    assert!(sending.join().unwrap().unwrap().is_clean());
    encoding
}

#[test]
fn a_receiver_of_an_earlier_version_gets_f32_from_the_first_frame_on() {
    assert_eq!(answered_with(0), Some((2, Encoding::F32)));
}

#[test]
fn a_receiver_that_knows_the_encoding_gets_it() {
    assert_eq!(answered_with(2), Some((2, Encoding::Int8)));
}

#[test]
fn a_receiver_that_accepts_an_encoding_not_offered_is_disconnected() {
    assert_eq!(answered_with(1), None);
    assert_eq!(answered_with(77), None);
}

#[test]
fn a_sender_of_a_later_version_is_answered_with_f32() {
    let address = free_address();
    let receiver = GraphBuilder::new("link")
        .remote("count")
        .stage::<Shore>("collect", ShoreConfig::default(), StageOptions::default())
        .edge_in(
            ROUTE,
            ("count", "collect"),
            PayloadType::of::<Wave>(),
            EdgeOptions::default(),
            bridge(address, Encoding::F16),
        );
    let receiving = std::thread::spawn(move || receiver.run(DRAIN).unwrap());
    for (epoch, offered, taken) in [(1, 0, 0), (2, 1, 1), (3, 2, 2), (4, 3, 0), (5, u64::MAX, 0)] {
        let mut peer = Peer::shaken(address);
        let header = Header {
            kind: MessageKind::Hello,
            route: ROUTE,
            epoch,
            seq: offered,
            ts_ns: 0,
        };
        let mut hello = Hello::new(9);
        hello.payload = Wave::NAME.into();
        peer.send(&[framed(header, bincode(&hello))]);
        assert_eq!(
            peer.expect(MessageKind::Welcome).header.seq,
            taken,
            "offered {offered}"
        );
        if epoch == 5 {
            peer.send(&[control(MessageKind::End, epoch, &End { last_seq: 0 })]);
            peer.expect(MessageKind::Ack);
            peer.send(&[control(MessageKind::Goodbye, epoch, &DONE)]);
            peer.until_cut();
        }
    }
    assert!(receiving.join().unwrap().is_clean());
}
