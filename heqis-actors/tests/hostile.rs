//! Hostile peers of a bridged edge are disconnected and counted by cause, and the edge continues.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
#[path = "hostile/false_receiver.rs"]
mod false_receiver;
mod links;

use std::net::SocketAddr;
use std::time::Duration;

use common::CollectConfig;
use heqis_actors::wire::{Header, MessageKind};
use heqis_actors::{Delivery, Metrics, NodeReport};
use links::*;
use proptest::prelude::*;

/// Values from this one on were sent by a hostile peer.
const HOSTILE: u64 = 1_000_000_000;

/// Runs `attack` against the receiving node of an edge that a healthy sender keeps busy.
fn with_healthy_edge(
    collect: CollectConfig,
    attack: impl FnOnce(SocketAddr, &dyn Fn(&str) -> u64),
) {
    let link = Link::new(free_address(), Delivery::AtLeastOnce);
    let seen = collect.seen.clone();
    let (ours, theirs) = (Metrics::new("compute"), Metrics::new("gateway"));
    let sender = link.sender(endless(100_000), &theirs);
    let receiver = link.receiver(collect, &ours);
    let healthy = || {
        seen.lock()
            .unwrap()
            .iter()
            .filter(|value| **value < HOSTILE)
            .count()
    };
    let (sent, received) = actix::System::new().block_on(async {
        let (sender, receiver) = (
            sender.start().await.unwrap(),
            receiver.start().await.unwrap(),
        );
        until("the first frames", || healthy() > 10);
        attack(link.address, &|cause| ours.link(EDGE).rejected(cause));
        let before = healthy();
        until("further frames", || healthy() > before + 10);
        stop_in_turn(sender, receiver).await
    });
    assert_books(&sent, &received);
    let seen: Vec<u64> = seen
        .lock()
        .unwrap()
        .iter()
        .copied()
        .filter(|value| *value < HOSTILE)
        .collect();
    assert_eq!(
        seen,
        (1..=books(&sent).sent).collect::<Vec<_>>(),
        "each healthy frame once and in order"
    );
}

fn assert_books(sent: &NodeReport, received: &NodeReport) {
    assert!(
        sent.is_clean() && received.is_clean(),
        "{sent:?} {received:?}"
    );
    assert_eq!(books(sent).dropped_total(), 0, "{sent:?}");
}

/// Peers that each send one thing and are disconnected for `cause`.
fn disconnected_for(cause: &str, bytes: &[Vec<u8>]) {
    with_healthy_edge(CollectConfig::default(), |address, rejected| {
        for (already, bytes) in bytes.iter().enumerate() {
            let mut peer = Peer::connect(address);
            peer.write(bytes);
            peer.until_cut();
            until("the count", || rejected(cause) > already as u64);
        }
        assert_eq!(rejected(cause), bytes.len() as u64);
    });
}

/// A handshake and then these frames.
fn frames(frames: &[Vec<u8>]) -> Vec<u8> {
    let messages = frames.iter().flat_map(|frame| message(frame));
    PAIR1.iter().copied().chain(messages).collect()
}

#[test]
fn garbage_in_place_of_a_handshake() {
    disconnected_for(
        "handshake",
        &[
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            vec![0; 64],
            vec![0xFF; 64],
        ],
    );
}

#[test]
fn another_protocol_of_the_same_family() {
    disconnected_for("incompatible", &[b"\0SP\0\0\x50\0\0".to_vec()]);
}

#[test]
fn noise_or_a_planted_length_after_a_sound_handshake() {
    let announced = |len: u64| [&PAIR1[..], &len.to_be_bytes(), &[0, 0, 0, 1]].concat();
    let noise = [&PAIR1[..], &[0xA5; 4096]].concat();
    disconnected_for(
        "too_large",
        &[noise, announced(MAX_FRAME as u64 + 5), announced(u64::MAX)],
    );
}

#[test]
fn messages_that_are_not_frames() {
    disconnected_for("short", &[frames(&[vec![]]), frames(&[vec![1; 63]])]);
    disconnected_for("magic", &[frames(&[vec![0; 64]])]);
    let mut newer = control(MessageKind::Hello, 1, &Hello::new(1));
    newer[4] = 2;
    disconnected_for("unknown", &[frames(&[newer])]);
    let mut longer = control(MessageKind::Hello, 1, &Hello::new(1));
    longer.push(0);
    disconnected_for("length", &[frames(&[longer])]);
}

#[test]
fn a_frame_whose_checksum_is_wrong() {
    let mut flipped = control(MessageKind::Hello, 1, &Hello::new(1));
    *flipped.last_mut().unwrap() ^= 1;
    disconnected_for("crc", &[frames(&[flipped])]);
}

#[test]
fn a_hello_that_is_malformed() {
    let header = Header {
        kind: MessageKind::Hello,
        route: ROUTE,
        epoch: 1,
        seq: 0,
        ts_ns: 0,
    };
    // A text that claims to be longer than the frame, and one that is not UTF-8.
    let endless = framed(header, u64::MAX.to_le_bytes().to_vec());
    let binary = framed(
        header,
        bincode(&(vec![0xFFu8, 0xFE], String::new(), 1u64, 1u64, true)),
    );
    disconnected_for(
        "payload",
        &[
            frames(&[endless]),
            frames(&[binary]),
            frames(&[framed(header, vec![])]),
        ],
    );
}

#[test]
fn anything_but_a_hello_of_this_edge() {
    let hello = Hello::new(1);
    let hellos = [
        Hello {
            edge: "count->elsewhere".into(),
            ..hello.clone()
        },
        Hello {
            first_seq: 0,
            ..hello.clone()
        },
        Hello {
            first_seq: u64::MAX,
            ..hello.clone()
        },
        Hello {
            at_least_once: false,
            ..hello.clone()
        },
    ];
    let mut attacks: Vec<_> = hellos
        .iter()
        .map(|hello| frames(&[control(MessageKind::Hello, 1, hello)]))
        .collect();
    let elsewhere = Header {
        kind: MessageKind::Hello,
        route: ROUTE + 1,
        epoch: 1,
        seq: 0,
        ts_ns: 0,
    };
    attacks.push(frames(&[framed(elsewhere, bincode(&hello))]));
    attacks.push(frames(&[data(1, 1)]));
    attacks.push(frames(&[control(
        MessageKind::End,
        1,
        &End { last_seq: 0 },
    )]));
    attacks.push(frames(&[control(MessageKind::Heartbeat, 1, &DONE)]));
    disconnected_for("protocol", &attacks);
    let ack = control(MessageKind::Ack, 1, &Ack::delivered(1, 1));
    disconnected_for("not_allowed", &[frames(&[ack])]);
}

/// Senders that say a valid hello and then break a rule, one after the other, on an edge without its own sender. Each is
/// disconnected, and the edge then works for its own sender.
fn disconnected_senders(cause: &str, collect: CollectConfig, attacks: &[Vec<Vec<u8>>]) {
    let link = Link::new(free_address(), Delivery::AtLeastOnce);
    let seen = collect.seen.clone();
    let (ours, theirs) = (Metrics::new("compute"), Metrics::new("gateway"));
    let sender = link.sender(counting(100, 0), &theirs);
    let receiver = link.receiver(collect, &ours);
    let rejected = || ours.link(EDGE).rejected(cause);
    let (sent, received) = actix::System::new().block_on(async {
        let receiver = receiver.start().await.unwrap();
        for (index, attack) in attacks.iter().enumerate() {
            let hello = control(MessageKind::Hello, 7, &Hello::new(index as u64 + 1));
            let mut peer = Peer::connect(link.address);
            peer.write(&frames(&[&[hello], &attack[..]].concat()));
            peer.until_cut();
            until("the count", || rejected() == index as u64 + 1);
        }
        let sender = sender.start().await.unwrap();
        let ended = futures_util::future::join(sender.wait(), receiver.wait()).await;
        (ended.0, ended.1)
    });
    assert_books(&sent, &received);
    let seen = seen.lock().unwrap().clone();
    let healthy: Vec<u64> = seen.into_iter().filter(|value| *value < HOSTILE).collect();
    assert_eq!(healthy, (1..=100).collect::<Vec<_>>());
}

#[test]
fn a_second_sender_of_an_edge_is_refused_with_a_reason_while_the_first_is_alive() {
    with_healthy_edge(CollectConfig::default(), |address, rejected| {
        for instance in 1..=3 {
            let hello = Hello {
                node: "intruder".into(),
                ..Hello::new(instance)
            };
            let mut peer = Peer::shaken(address);
            peer.send(&[control(MessageKind::Hello, 7, &hello)]);
            let reason: String = debincode(peer.expect(MessageKind::Refuse).meta());
            assert!(
                reason.contains("already takes edge 'count->collect' from node 'gateway'"),
                "{reason}"
            );
            peer.until_cut();
        }
        assert_eq!(rejected("takeover"), 3);
    });
}

#[test]
fn a_sender_that_breaks_the_rules_of_the_stream() {
    let ok = |seq| data(7, seq);
    disconnected_senders(
        "protocol",
        CollectConfig::default(),
        &[
            // Another epoch than the hello's.
            vec![ok(1), data(8, 2)],
            // A gap, a jump to the end of the numbers.
            vec![ok(1), ok(3)],
            vec![ok(u64::MAX)],
            // An end before the last frame, after it, and at the end of the numbers.
            vec![ok(1), control(MessageKind::End, 7, &End { last_seq: 0 })],
            vec![ok(1), control(MessageKind::End, 7, &End { last_seq: 2 })],
            vec![control(MessageKind::End, 7, &End { last_seq: u64::MAX })],
            // A second hello.
            vec![control(MessageKind::Hello, 7, &Hello::new(1))],
        ],
    );
    // Messages that only a receiver sends.
    let welcome = Welcome {
        session: 1,
        received: 1,
        limit: 1,
        have: vec![],
    };
    disconnected_senders(
        "not_allowed",
        CollectConfig::default(),
        &[
            vec![control(MessageKind::Welcome, 7, &welcome)],
            vec![control(MessageKind::Ack, 7, &Ack::delivered(1, 1))],
        ],
    );
}

#[test]
fn a_sender_that_exceeds_the_credit() {
    let slow = CollectConfig {
        takes: Duration::from_millis(2),
        ..CollectConfig::default()
    };
    disconnected_senders(
        "protocol",
        slow,
        &[(1..200).map(|seq| data(7, seq)).collect()],
    );
}

#[test]
fn values_that_do_not_decode_are_booked_and_the_stream_continues() {
    let link = Link::new(free_address(), Delivery::AtLeastOnce);
    let (collect, metrics) = (CollectConfig::default(), Metrics::new("compute"));
    let seen = collect.seen.clone();
    let receiver = link.receiver(collect, &metrics);
    let report = actix::System::new().block_on(async {
        let receiver = receiver.start().await.unwrap();
        let mut peer = Peer::shaken(link.address);
        let envelope = Envelope {
            stream: 1,
            position: 2,
            part: 0,
            key: 0,
            stamps: vec![],
            payload: vec![1, 2, 3],
        };
        peer.send(&[
            control(MessageKind::Hello, 1, &Hello::new(1)),
            data(1, 1),
            enveloped(1, 2, 0, &envelope),
            data(1, 3),
            control(MessageKind::End, 1, &End { last_seq: 3 }),
        ]);
        let ack = std::iter::repeat_with(|| debincode::<Ack>(peer.expect(MessageKind::Ack).meta()))
            .find(|ack| ack.done == 3);
        let outcomes = ack.unwrap().outcomes;
        assert_eq!((outcomes[0], outcomes.iter().sum::<u64>()), (2, 3));
        peer.send(&[control(MessageKind::Goodbye, 1, &DONE)]);
        receiver.wait().await
    });
    assert!(report.books_close() && !report.is_clean(), "{report:?}");
    assert_eq!(books(&report).dropped[&heqis_actors::DropCause::Decode], 1);
    assert_eq!(*seen.lock().unwrap(), [HOSTILE + 1, HOSTILE + 3]);
}

#[test]
fn times_that_no_stage_could_subtract_are_refused_before_one_tries() {
    const MOST: i64 = (1 << 62) - 1;
    let link = Link {
        credit: 64,
        ..Link::new(free_address(), Delivery::AtLeastOnce)
    };
    let metrics = Metrics::new("compute");
    let receiver = link.receiver(CollectConfig::default(), &metrics);
    let report = actix::System::new().block_on(async {
        let receiver = receiver.start().await.unwrap();
        let mut peer = Peer::shaken(link.address);
        let mut frames = vec![control(MessageKind::Hello, 1, &Hello::new(1))];
        let times = [i64::MIN, i64::MAX, 0, -MOST, MOST, MOST + 1];
        let pairs = times
            .iter()
            .flat_map(|&born_ns| times.map(|stamp_ns| (born_ns, stamp_ns)));
        for (seq, (born_ns, stamp_ns)) in (1..).zip(pairs) {
            // More stamps than a frame carries, of a stage that does not exist.
            let stamps = vec![(u16::MAX, 0, stamp_ns); 40];
            let payload = bincode(&(HOSTILE, 0u64));
            frames.push(enveloped(
                1,
                seq,
                born_ns,
                &Envelope {
                    stream: 1,
                    position: seq,
                    part: 0,
                    key: 0,
                    stamps,
                    payload,
                },
            ));
        }
        frames.push(control(MessageKind::End, 1, &End { last_seq: 36 }));
        peer.send(&frames);
        let acks =
            std::iter::repeat_with(|| debincode::<Ack>(peer.expect(MessageKind::Ack).meta()));
        acks.into_iter().find(|ack| ack.done == 36);
        peer.send(&[control(MessageKind::Goodbye, 1, &DONE)]);
        receiver.wait().await
    });
    assert!(report.books_close() && !report.is_clean(), "{report:?}");
    let books = books(&report);
    assert_eq!(
        (
            books.delivered,
            books.dropped[&heqis_actors::DropCause::Decode]
        ),
        (9, 27)
    );
}

#[test]
fn fifty_silent_connections_and_one_that_drips_are_cut_off() {
    with_healthy_edge(CollectConfig::default(), |address, rejected| {
        // Half of them complete the handshake before they fall silent.
        let silent: Vec<Peer> = (0..50)
            .map(|index| {
                let mut peer = Peer::connect(address);
                if index % 2 == 0 {
                    peer.write(PAIR1);
                }
                peer
            })
            .collect();
        // A valid hello, byte by byte, too slowly. The pace follows the progress of the edge.
        let mut loris = Peer::shaken(address);
        let hello = message(&control(MessageKind::Hello, 1, &Hello::new(1)));
        loris.write(&hello[..hello.len() - 1]);
        for peer in silent {
            peer.until_cut();
        }
        loris.until_cut();
        let count = || rejected("timed_out") + rejected("crowd") + rejected("protocol");
        until("the counts", || count() == 51);
        assert_eq!(rejected("timed_out"), 25);
    });
}

#[test]
fn a_sender_is_accepted_while_silent_connections_are_pending() {
    let link = Link::new(free_address(), Delivery::AtLeastOnce);
    let (collect, ours, theirs) = (
        CollectConfig::default(),
        Metrics::new("compute"),
        Metrics::new("gateway"),
    );
    let (sender, receiver) = (
        link.sender(counting(100, 0), &theirs),
        link.receiver(collect, &ours),
    );
    let rejected = |cause| ours.link(EDGE).rejected(cause);
    let (sent, received) = actix::System::new().block_on(async {
        let receiver = receiver.start().await.unwrap();
        let mut silent: Vec<Peer> = (0..20).map(|_| Peer::shaken(link.address)).collect();
        until("the crowd", || rejected("crowd") == 12);
        let sent = sender.start().await.unwrap().wait().await;
        let newest = silent.split_off(13);
        // The oldest connections were closed, one of them for the sender; the others stay pending.
        silent.into_iter().for_each(Peer::until_cut);
        assert_eq!((rejected("crowd"), rejected("protocol")), (13, 0));
        drop(newest);
        (sent, receiver.wait().await)
    });
    assert_books(&sent, &received);
}

/// One step of a peer that knows the format but not the protocol.
#[derive(Clone, Debug)]
enum Step {
    Hello {
        instance: u64,
        first_seq: u64,
        epoch: u32,
    },
    Data {
        seq: u64,
        position: u64,
        ts_ns: i64,
        key: u8,
    },
    End(u64),
    Heartbeat(i64, Option<i64>),
    Goodbye,
    Reconnect,
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0u64..30, 1 => any::<u64>(), 1 => Just(u64::MAX), 1 => Just(1 << 63)]
}

fn steps() -> impl Strategy<Value = Step> {
    let times = || prop_oneof![Just(0), Just(i64::MIN), Just(i64::MAX), any::<i64>()];
    prop_oneof![
        4 => (1u64..3, numbers(), 0u32..3)
            .prop_map(|(instance, first_seq, epoch)| Step::Hello { instance, first_seq, epoch }),
        8 => (numbers(), numbers(), times(), any::<u8>())
            .prop_map(|(seq, position, ts_ns, key)| Step::Data { seq, position, ts_ns, key }),
        1 => numbers().prop_map(Step::End),
        1 => (times(), proptest::option::of(times())).prop_map(|(ts_ns, lag_ns)| Step::Heartbeat(ts_ns, lag_ns)),
        1 => Just(Step::Goodbye),
        2 => Just(Step::Reconnect),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Sends valid frames in random order to a receiver: it neither panics nor hangs, takes each position once, and its
    /// books close when it is stopped.
    #[test]
    fn valid_frames_in_any_order_leave_the_books_closed(
        at_least_once in any::<bool>(),
        steps in prop::collection::vec(steps(), 1..60),
    ) {
        let delivery = if at_least_once { Delivery::AtLeastOnce } else { Delivery::AtMostOnce };
        let link = Link::new(free_address(), delivery);
        let collect = CollectConfig::default();
        let (seen, metrics) = (collect.seen.clone(), Metrics::new("compute"));
        let receiver = link.receiver(collect, &metrics);
        let report = actix::System::new().block_on(async {
            let receiver = receiver.start().await.unwrap();
            let mut peer = Peer::shaken(link.address);
            let mut epoch = 0;
            for step in &steps {
                match step.clone() {
                    Step::Hello { instance, first_seq, epoch: new } => {
                        epoch = new;
                        let hello = Hello { instance, first_seq, at_least_once, ..Hello::new(1) };
                        peer.send(&[control(MessageKind::Hello, epoch, &hello)]);
                    }
                    Step::Data { seq, position, ts_ns, key } => {
                        let payload = bincode(&(position, u64::from(key)));
                        let key = key.into();
                        let envelope = Envelope { stream: 5, position, part: 0, key, stamps: vec![], payload };
                        peer.send(&[enveloped(epoch, seq, ts_ns, &envelope)]);
                    }
                    Step::End(last_seq) => peer.send(&[control(MessageKind::End, epoch, &End { last_seq })]),
                    Step::Heartbeat(ts_ns, lag_ns) => {
                        let header = Header { kind: MessageKind::Heartbeat, route: ROUTE, epoch, seq: 0, ts_ns };
                        peer.send(&[framed(header, bincode(&lag_ns))]);
                    }
                    Step::Goodbye => peer.send(&[control(MessageKind::Goodbye, epoch, &DONE)]),
                    Step::Reconnect => {
                        peer = match std::net::TcpStream::connect(link.address) {
                            Ok(stream) => Peer::over(stream),
                            // The edge has ended and the receiver has left.
                            Err(_) => break,
                        };
                        peer.write(PAIR1);
                    }
                }
            }
            drop(peer);
            receiver.stop(DRAIN).await
        });
        prop_assert!(report.books_close(), "{:?}", report);
        prop_assert!(!books(&report).dropped.contains_key(&heqis_actors::DropCause::Shutdown), "{:?}", report);
        let seen = seen.lock().unwrap();
        prop_assert_eq!(books(&report).delivered, seen.len() as u64);
        if at_least_once {
            let once: std::collections::BTreeSet<_> = seen.iter().collect();
            prop_assert_eq!(once.len(), seen.len(), "{:?}", seen);
        }
    }
}
