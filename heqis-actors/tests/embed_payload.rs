//! Payloads of a program of one's own: the derive, its bytes, keys, versions between two nodes, types that stay here.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod links;

use std::sync::mpsc;
use std::time::Duration;

use bincode::Encode;
use heqis_actors::wire::MessageKind;
use heqis_actors::{
    AsKey, BridgeOptions, BuildContext, Delivery, EdgeOptions, Emitter, Frame, GraphBuilder,
    GraphError, Key, Metrics, Next, Nothing, Payload, PayloadError, PayloadType, RecordingOptions,
    Registry, Source, Stage, StageError, StageOptions, Tensor,
};
use links::{
    DONE, DRAIN, EDGE, End, Hello, Link, Peer, ROUTE, bincode, control, debincode, free_address,
};

/// A side of a trade, as a type of one's own inside a field; the program names `wincode` through this crate.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    heqis_actors::wincode::SchemaRead,
    heqis_actors::wincode::SchemaWrite,
)]
#[wincode(crate = heqis_actors::wincode)]
enum Side {
    Buy,
    Sell,
}

/// A day, which a wire type stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Day(i32);

impl From<&Day> for i32 {
    fn from(day: &Day) -> i32 {
        day.0
    }
}

impl TryFrom<i32> for Day {
    type Error = String;

    fn try_from(day: i32) -> Result<Self, String> {
        match day {
            0.. => Ok(Self(day)),
            _ => Err(format!("day {day} is before the first")),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Payload)]
#[payload(version = 3, check = Trade::check)]
struct Trade {
    #[payload(key)]
    instrument: (u16, u32),
    side: Side,
    #[payload(as = i32)]
    day: Day,
    prices: Vec<f64>,
    #[payload(tensor)]
    window: Tensor,
    note: Option<String>,
    #[payload(extension, as = i32)]
    settles: Option<Day>,
}

impl Trade {
    fn check(&mut self) -> Result<(), String> {
        match self.prices.is_empty() {
            true => Err("no price".into()),
            false => Ok(()),
        }
    }
}

/// The layout of [`Trade`] without its extension, as bincode 1 defines it.
#[derive(Encode)]
struct TradeLayout(u16, u32, u32, i32, Vec<f64>, Option<String>);

fn trade() -> Trade {
    Trade {
        instrument: (2, 600_000),
        side: Side::Sell,
        day: Day(12),
        prices: vec![9.5, 9.25],
        window: Tensor::vector(vec![1.0]),
        note: Some("late".into()),
        settles: None,
    }
}

fn meta(payload: &impl Payload) -> Vec<u8> {
    let mut meta = Vec::new();
    payload.encode(&mut meta).unwrap();
    meta
}

#[test]
fn the_derive_writes_fields_in_their_order_in_the_layout_of_bincode() {
    let trade = trade();
    let plain = bincode(&TradeLayout(
        2,
        600_000,
        1,
        12,
        vec![9.5, 9.25],
        Some("late".into()),
    ));
    assert_eq!(meta(&trade), plain);
    assert_eq!(trade.tensor(), Some(&trade.window));
    assert_eq!(
        (Trade::NAME, Trade::VERSION, Trade::WIRE),
        ("trade", 3, true)
    );
    assert_eq!(
        Trade::FIELDS,
        "{ instrument: (u16,u32), side: Side, day: i32, prices: Vec<f64>, window: Tensor, note: Option<String>, settles: \
         Option<i32> }"
    );
    assert_eq!(trade.key(), 2 << 32 | 600_000);
    let read = |meta: &[u8]| Trade::decode(meta, trade.window.clone());
    assert_eq!(read(&plain).unwrap(), trade);
    let extended = [&plain[..], &[30, 0, 0, 0]].concat();
    let settles = Some(Day(30));
    assert_eq!(
        read(&extended).unwrap(),
        Trade {
            settles,
            ..trade.clone()
        }
    );
    assert_eq!(
        meta(&Trade {
            settles,
            ..trade.clone()
        }),
        extended
    );
    // Every other length is refused by name.
    for end in (0..extended.len()).filter(|&end| end != plain.len()) {
        let refused = read(&extended[..end]).unwrap_err();
        assert!(
            matches!(
                refused,
                PayloadError::Meta {
                    payload: "trade",
                    ..
                }
            ),
            "{refused}"
        );
    }
    assert!(read(&[&extended[..], &[0]].concat()).is_err());
}

#[test]
fn a_value_that_breaks_a_rule_is_refused_with_the_rule() {
    let refused = |trade: &Trade| {
        let decoded = Trade::decode(&meta(trade), Tensor::default());
        decoded.unwrap_err().to_string()
    };
    let early = Trade {
        day: Day(-1),
        ..trade()
    };
    assert_eq!(
        refused(&early),
        "payload 'trade': day -1 is before the first"
    );
    let empty = Trade {
        prices: vec![],
        ..trade()
    };
    assert_eq!(refused(&empty), "payload 'trade': no price");
    let surplus = Order::decode(&[0; 4], Tensor::vector(vec![1.0])).unwrap_err();
    assert_eq!(
        surplus.to_string(),
        "payload 'order-event': a tensor of shape [1] was sent, the type has none"
    );
}

#[derive(Debug, PartialEq, Payload)]
#[payload(name = "order-event")]
enum Order {
    Opened,
    Filled(#[payload(key)] u64, f64),
    Curve {
        #[payload(key = length)]
        name: String,
        #[payload(tensor)]
        values: Tensor,
    },
}

fn length(name: &str) -> Key {
    name.len() as Key
}

#[test]
fn a_variant_of_an_enum_follows_its_index() {
    let values = Tensor::vector(vec![1.0, 2.0]);
    let curve = Order::Curve {
        name: "ab".into(),
        values: values.clone(),
    };
    for (order, bytes, key) in [
        (Order::Opened, bincode(&0u32), 0),
        (Order::Filled(7, 0.5), bincode(&(1u32, 7u64, 0.5f64)), 7),
        (curve, bincode(&(2u32, "ab")), 2),
    ] {
        assert_eq!((meta(&order), order.key()), (bytes.clone(), key));
        let tensor = order.tensor().cloned().unwrap_or_default();
        assert_eq!(Order::decode(&bytes, tensor).unwrap(), order);
    }
    assert_eq!(
        Order::FIELDS,
        "Opened | Filled (u64,f64) | Curve { name: String, values: Tensor }"
            .replace("(u64,f64)", "(u64, f64)")
    );
    let unknown = Order::decode(&bincode(&3u32), Tensor::default()).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "payload 'order-event': there is no variant 3"
    );
}

/// Nothing in it has a codec.
#[derive(Payload)]
#[payload(local)]
struct Request {
    #[payload(key)]
    number: i64,
    reply: mpsc::Sender<i64>,
}

struct Ask(mpsc::Sender<i64>, i64);

/// Neither type can be read from a file.
#[derive(serde::Deserialize, schemars::JsonSchema, Default)]
struct Nowhere {
    #[serde(skip)]
    to: Option<mpsc::Sender<i64>>,
}

impl Source for Ask {
    type Config = Nowhere;
    type Out = Request;
    const KIND: &'static str = "ask";
    const ABOUT: &'static str = "Asks three times.";
    const REPLAYABLE: bool = false;

    fn build(config: &Nowhere, _: &BuildContext) -> Result<Self, StageError> {
        let to = config
            .to
            .clone()
            .ok_or_else(|| StageError::config("no channel is given"))?;
        Ok(Self(to, 0))
    }

    fn next(&mut self) -> Result<Next<Request>, StageError> {
        self.1 += 1;
        let reply = self.0.clone();
        Ok(match self.1 {
            ..=3 => Next::Item(Request {
                number: -self.1,
                reply,
            }),
            _ => Next::End,
        })
    }
}

struct Answer;

impl Stage for Answer {
    type Config = Nowhere;
    type In = Request;
    type Out = Nothing;
    const KIND: &'static str = "answer";
    const ABOUT: &'static str = "Answers with the key.";

    fn build(_: &Nowhere, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(
        &mut self,
        frame: &Frame<Request>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        assert_eq!(frame.head().key, frame.number.as_key());
        frame.reply.send(-frame.number).map_err(StageError::failed)
    }
}

fn asking(to: mpsc::Sender<i64>) -> GraphBuilder {
    let options = StageOptions::default;
    GraphBuilder::new("questions")
        .source::<Ask>("ask", Nowhere { to: Some(to) }, options())
        .stage::<Answer>("answer", Nowhere::default(), options())
}

#[test]
fn a_payload_without_a_codec_flows_inside_a_process() {
    let (to, replies) = mpsc::channel();
    let graph = asking(to).edge("ask", "answer", EdgeOptions::default());
    assert!(graph.run(Duration::from_secs(10)).unwrap().is_clean());
    assert_eq!(replies.try_iter().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(
        Request::decode(&[], Tensor::default()).err(),
        Some(PayloadError::Local("request"))
    );
}

#[test]
fn a_payload_without_a_codec_is_refused_on_a_wire_and_in_a_recording_before_anything_starts() {
    let refused = |graph: GraphBuilder| match graph.run(Duration::ZERO) {
        Err(error @ GraphError::Invalid(_)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    // A topology finds the type in the registry, where no compiler refuses it.
    let registry = Registry::new().with_source::<Ask>();
    let request = registry.payload("request").unwrap();
    assert!(!request.on_wire());
    let bridge = BridgeOptions::new("inproc://questions".parse().unwrap()).credit(8);
    let graph = asking(mpsc::channel().0).remote("elsewhere").edge_out(
        0,
        ("ask", "elsewhere"),
        request,
        EdgeOptions::default(),
        bridge,
    );
    let reason = refused(graph);
    assert!(
        reason.contains("`ask` makes `request`, which has no codec, but the edge `ask->elsewhere`"),
        "{reason}"
    );

    let folder = tempfile::tempdir().unwrap();
    let graph = asking(mpsc::channel().0)
        .edge("ask", "answer", EdgeOptions::default())
        .record("ask", RecordingOptions::new(folder.path()));
    let reason = refused(graph);
    assert!(
        reason.contains("`ask` makes `request`, which has no codec and cannot be recorded"),
        "{reason}"
    );
}

/// What the receiver of `Number`s answers a hello for `payload` with the stated fields: the reason of a refusal.
fn answered(payload: &str, fields: Option<&str>) -> Option<String> {
    let link = Link::new(free_address(), Delivery::AtLeastOnce);
    let receiver = link.receiver(common::CollectConfig::default(), &Metrics::new("compute"));
    let receiving = std::thread::spawn(move || receiver.run(DRAIN).unwrap());
    let hello = Hello {
        payload: payload.into(),
        node: "gateway".into(),
        version: "9.9".into(),
        terms: (fields.iter())
            .map(|fields| ("payload fields".into(), (*fields).into()))
            .collect(),
        ..Hello::new(1)
    };
    let mut peer = Peer::shaken(link.address);
    peer.send(&[control(MessageKind::Hello, 1, &hello)]);
    let reason = loop {
        let frame = peer.recv().unwrap();
        match frame.header.kind {
            MessageKind::Refuse => break Some(debincode::<String>(frame.meta())),
            MessageKind::Welcome => break None,
            _ => {}
        }
    };
    // The receiver ends when a sender's stream is complete.
    if reason.is_some() {
        peer.until_cut();
        peer = Peer::shaken(link.address);
        peer.send(&[control(MessageKind::Hello, 1, &Hello::new(2))]);
        peer.expect(MessageKind::Welcome);
    }
    peer.send(&[control(MessageKind::End, 1, &End { last_seq: 0 })]);
    peer.expect(MessageKind::Ack);
    peer.send(&[control(MessageKind::Goodbye, 1, &DONE)]);
    peer.until_cut();
    assert!(receiving.join().unwrap().is_clean());
    reason
}

#[test]
fn a_node_with_another_payload_version_or_fields_is_refused_with_both() {
    let ours = "node 'compute' (version 0.1.0) takes";
    for (payload, fields, reason) in [
        (
            "letter",
            None,
            format!(
                "payload on edge '{EDGE}': node 'gateway' (version 9.9) sends letter version 1, {ours} number version 1"
            ),
        ),
        (
            "number version 2",
            None,
            format!(
                "payload on edge '{EDGE}': node 'gateway' (version 9.9) sends number version 2, {ours} number version 1"
            ),
        ),
        (
            "number",
            Some("{ value: u32, group: u64 }"),
            format!(
                "fields of payload 'number' on edge '{EDGE}': node 'gateway' (version 9.9) sends `{{ value: u32, group: u64 }}`, \
                 {ours} `{{ value: u64, group: u64 }}`"
            ),
        ),
    ] {
        assert_eq!(answered(payload, fields), Some(reason));
    }
    // The fields of this version, and a node of a version that states none.
    assert_eq!(answered("number", Some("{ value: u64, group: u64 }")), None);
    assert_eq!(answered("number", None), None);
    // A type reads what a sender without its extension writes.
    let trade = heqis_actors::PayloadType::of::<Trade>();
    let (fields, without) = (Trade::FIELDS, Trade::FIELDS_WITHOUT_EXTENSION);
    assert!(trade.reads(fields) && trade.reads(without) && fields.len() > without.len());
    assert!(without.ends_with("note: Option<String> }") && !trade.reads(&without[1..]));
    assert_eq!(Order::FIELDS_WITHOUT_EXTENSION, "");
}

/// [`common::Number`] of a later version of a program.
#[derive(Clone, Debug, Payload)]
#[payload(name = "number", version = 2)]
struct Later {
    value: u64,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct None {}

struct Laters;

impl Source for Laters {
    type Config = None;
    type Out = Later;
    const KIND: &'static str = "laters";
    const ABOUT: &'static str = "Sends one value.";
    const REPLAYABLE: bool = false;

    fn build(_: &None, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn next(&mut self) -> Result<Next<Later>, StageError> {
        Ok(Next::Item(Later { value: 1 }))
    }
}

#[test]
fn both_nodes_report_why_two_versions_of_a_payload_do_not_connect() {
    let link = Link::new(free_address(), Delivery::AtLeastOnce);
    let sender = GraphBuilder::new("link")
        .node("gateway")
        .source::<Laters>("count", None {}, StageOptions::default())
        .remote("collect")
        .edge_out(
            ROUTE,
            ("count", "collect"),
            PayloadType::of::<Later>(),
            link.edge,
            link.bridge(),
        );
    let metrics = Metrics::new("compute");
    let receiver = link.receiver(common::CollectConfig::default(), &metrics);
    let reason = actix::System::new().block_on(async {
        let (sender, receiver) = (
            sender.start().await.unwrap(),
            receiver.start().await.unwrap(),
        );
        let (reporter, mut reason) = (sender.reporter(), String::new());
        links::until("a refusal", || {
            let waiting = reporter.waiting();
            reason = waiting
                .iter()
                .map(|waiting| waiting.reason.as_str())
                .collect();
            reason.contains("refused: ")
        });
        // A sender that is refused would try until the end of a drain.
        sender.stop(Duration::ZERO).await;
        receiver.stop(DRAIN).await;
        reason
    });
    assert!(
        reason.contains("sends number version 2") && reason.contains("takes number version 1"),
        "{reason}"
    );
    assert!(metrics.link(EDGE).rejected("protocol") > 0);
}
