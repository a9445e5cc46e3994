//! What a peer may do at a bridged edge: everything that is not its own is refused, counted by cause and named, while the
//! edge continues; requests cross between two nodes that agreed on them, and no others.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod links;

use std::net::{SocketAddr, TcpListener};

use common::CollectConfig;
use heqis_actors::requests::{Arrival, Message, Reply, Request, RequestLink, RequestPort};
use heqis_actors::wire::MessageKind;
use heqis_actors::{Delivery, Event, Events, LinkPeer, Metrics};
use links::*;

/// Values from this one on were sent by a hostile peer.
const HOSTILE: u64 = 1_000_000_000;

/// What the events of a graph that has ended say of refused peers: action, cause and reason.
fn refusals(events: Events) -> Vec<(Option<&'static str>, &'static str, String)> {
    let refused = events.into_iter().filter_map(|event| match event {
        Event::PeerRejected {
            action,
            cause,
            reason,
            ..
        } => Some((action, cause, reason)),
        _ => None,
    });
    refused.collect()
}

/// Runs `attack` against the receiver of an edge, to which a peer of the test has said hello; the frames of that peer
/// arrive all the same. Returns what was refused.
fn against_receiver(
    attack: impl FnOnce(&mut Peer, SocketAddr, &dyn Fn(&str) -> u64),
) -> Vec<(Option<&'static str>, &'static str, String)> {
    let link = Link::new(free_address(), Delivery::AtLeastOnce);
    let (collect, ours) = (CollectConfig::default(), Metrics::new("compute"));
    let seen = collect.seen.clone();
    let receiver = link
        .receiver(collect, &ours)
        .peer(ROUTE, LinkPeer::new("gateway"));
    let events = receiver.events();
    let report = actix::System::new().block_on(async {
        let receiver = receiver.start().await.unwrap();
        let mut sender = Peer::shaken(link.address);
        sender.send(&[control(MessageKind::Hello, 1, &hello(7))]);
        sender.expect(MessageKind::Welcome);
        attack(&mut sender, link.address, &|cause| {
            ours.link(EDGE).rejected(cause)
        });
        sender.send(&[
            data(1, 1),
            data(1, 2),
            control(MessageKind::End, 1, &End { last_seq: 2 }),
        ]);
        let acks =
            std::iter::repeat_with(|| debincode::<Ack>(sender.expect(MessageKind::Ack).meta()));
        acks.into_iter().find(|ack| ack.done == 2);
        sender.send(&[control(MessageKind::Goodbye, 1, &DONE)]);
        receiver.wait().await
    });
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(*seen.lock().unwrap(), [HOSTILE + 1, HOSTILE + 2]);
    refusals(events)
}

fn hello(instance: u64) -> Hello {
    Hello {
        node: "gateway".into(),
        ..Hello::new(instance)
    }
}

#[test]
fn a_peer_that_repeats_the_hello_of_a_living_sender_takes_neither_its_place_nor_its_stream() {
    let refused = against_receiver(|sender, address, rejected| {
        for (index, forged) in [
            vec![control(MessageKind::End, 1, &End { last_seq: 0 })],
            vec![data(1, 1)],
            // It waits for its welcome, and the sender shows that it is alive.
            vec![],
        ]
        .into_iter()
        .enumerate()
        {
            sender.send(&[control(MessageKind::Heartbeat, 1, &None::<i64>)]);
            // It knows the identity of the sender, which is no secret on a plain link.
            let mut intruder = Peer::shaken(address);
            let hello = control(MessageKind::Hello, 1, &hello(7));
            intruder.send(&[&[hello], &forged[..]].concat());
            until("the count", || {
                if forged.is_empty() {
                    sender.send(&[control(MessageKind::Heartbeat, 1, &None::<i64>)]);
                }
                rejected("takeover") == index as u64 + 1
            });
            let reason: String = debincode(intruder.expect(MessageKind::Refuse).meta());
            assert!(reason.contains("which is alive"), "{reason}");
            intruder.until_cut();
        }
    });
    assert_eq!(refused.len(), 3);
    for (action, cause, reason) in refused {
        assert_eq!(
            (action, cause),
            (Some("take the place of the sender"), "takeover")
        );
        assert!(reason.starts_with("tcp://127.0.0.1:"), "{reason}");
    }
}

#[test]
fn a_sender_that_comes_back_over_a_new_connection_is_welcome_once_the_old_one_is_gone() {
    let refused = against_receiver(|sender, address, _| {
        let mut again = Peer::shaken(address);
        again.send(&[control(MessageKind::Hello, 1, &hello(7))]);
        *sender = again;
        sender.expect(MessageKind::Welcome);
    });
    assert_eq!(refused, []);
}

#[test]
fn what_a_peer_says_fills_no_log_and_forges_no_line_of_it() {
    let refused = against_receiver(|_, address, rejected| {
        let mut intruder = Peer::shaken(address);
        let hello = Hello {
            edge: "x\n\u{1b}[31m".repeat(5_000),
            ..hello(8)
        };
        intruder.send(&[control(MessageKind::Hello, 1, &hello)]);
        until("the count", || rejected("protocol") == 1);
    });
    let (_, _, reason) = &refused[0];
    assert!(reason.len() < 2_000, "{} bytes", reason.len());
    assert!(!reason.contains(char::is_control), "{reason:?}");
    assert!(reason.contains("says hello for edge 'x"), "{reason}");
}

#[test]
fn a_sender_by_another_name_or_by_none_is_refused() {
    let refused = against_receiver(|_, address, rejected| {
        for (index, name) in ["third", ""].into_iter().enumerate() {
            let mut intruder = Peer::shaken(address);
            let hello = Hello {
                node: name.into(),
                ..Hello::new(8)
            };
            intruder.send(&[control(MessageKind::Hello, 1, &hello)]);
            intruder.expect(MessageKind::Refuse);
            until("the count", || rejected("other_node") == index as u64 + 1);
        }
    });
    assert!(refused.iter().all(|(_, cause, _)| *cause == "other_node"));
}

/// A request as bytes.
fn request() -> (u64, String, String, bool) {
    (1, "trading_state".into(), "halted".into(), false)
}

#[test]
fn an_unknown_peer_may_do_nothing_of_the_receiver_and_ask_for_nothing() {
    let refused = against_receiver(|_, address, rejected| {
        let reply = (1u64, true, String::new(), String::new());
        let attacks = [
            control(MessageKind::Ack, 1, &Ack::delivered(9, 9)),
            control(MessageKind::Refuse, 1, &String::from("go")),
            control(MessageKind::Request, 1, &request()),
            control(MessageKind::Reply, 1, &reply),
        ];
        for (index, attack) in attacks.into_iter().enumerate() {
            let mut unknown = Peer::shaken(address);
            unknown.send(&[attack]);
            unknown.until_cut();
            until("the count", || rejected("not_allowed") == index as u64 + 1);
        }
    });
    let actions: Vec<_> = refused.iter().filter_map(|(action, ..)| *action).collect();
    assert_eq!(
        actions,
        [
            "acknowledge frames",
            "accept or refuse a sender",
            "set the trading state",
            "report what became of that"
        ]
    );
}

#[test]
fn a_receiver_that_may_not_ask_is_cut_off_and_the_stream_continues() {
    let link = Link::new(free_address(), Delivery::AtLeastOnce);
    let (ours, theirs) = (Metrics::new("gateway"), Metrics::new("compute"));
    let collect = CollectConfig::default();
    let seen = collect.seen.clone();
    let sender = link.sender(counting(50, 0), &ours);
    let receiver = link.receiver(collect, &theirs);
    let events = sender.events();
    let (sent, received) = actix::System::new().block_on(async {
        let listener = TcpListener::bind(link.address).unwrap();
        let sender = sender.start().await.unwrap();
        let mut peer = Peer::over(listener.accept().unwrap().0);
        peer.shake();
        let epoch = peer.expect(MessageKind::Hello).header.epoch;
        let welcome = Welcome {
            session: 9,
            received: 0,
            limit: 0,
            have: vec![],
        };
        peer.send(&[
            control(MessageKind::Welcome, epoch, &welcome),
            control(MessageKind::Request, epoch, &request()),
        ]);
        peer.until_cut();
        until("the count", || ours.link(EDGE).rejected("not_allowed") == 1);
        drop(listener);
        let receiver = receiver.start().await.unwrap();
        futures_util::future::join(sender.wait(), receiver.wait()).await
    });
    assert!(
        sent.is_clean() && received.is_clean(),
        "{sent:?} {received:?}"
    );
    assert_eq!(*seen.lock().unwrap(), (1..=50).collect::<Vec<_>>());
    assert_eq!(
        refusals(events)[0].0,
        Some("set the trading state"),
        "the event names the action"
    );
}

/// The next message at a port.
fn message_at(port: &RequestPort) -> Message {
    loop {
        if let Arrival::Message(message) = port.next().unwrap() {
            return message;
        }
    }
}

fn until_link(port: &RequestPort, link: RequestLink) {
    until("the link", || port.link() == link);
}

/// Two nodes whose ends of the edge have these ports exchange what `talk` lets them.
fn with_ports(
    ours: Option<&RequestPort>,
    theirs: Option<&RequestPort>,
    talk: impl FnOnce() + Send + 'static,
) {
    let link = Link::new(free_address(), Delivery::AtLeastOnce);
    let metrics = [Metrics::new("gateway"), Metrics::new("compute")];
    let sender = link
        .sender(endless(100_000), &metrics[0])
        .peer(ROUTE, LinkPeer::new("compute").requests(ours.cloned()));
    let receiver = link
        .receiver(CollectConfig::default(), &metrics[1])
        .peer(ROUTE, LinkPeer::new("gateway").requests(theirs.cloned()));
    let (sent, received) = actix::System::new().block_on(async {
        let receiver = receiver.start().await.unwrap();
        let sender = sender.start().await.unwrap();
        std::thread::spawn(talk).join().unwrap();
        stop_in_turn(sender, receiver).await
    });
    assert!(
        sent.is_clean() && received.is_clean(),
        "{sent:?} {received:?}"
    );
    for metrics in metrics {
        let refused = ["not_allowed", "protocol"].map(|cause| metrics.link(EDGE).rejected(cause));
        assert_eq!(refused, [0, 0]);
    }
}

#[test]
fn a_request_crosses_either_way_and_is_answered() {
    let (asking, answering) = (RequestPort::asking(), RequestPort::answering());
    for asks_from_sender in [true, false] {
        let (ours, theirs) = match asks_from_sender {
            true => (asking.clone(), answering.clone()),
            false => (answering.clone(), asking.clone()),
        };
        let (asks, answers) = (asking.clone(), answering.clone());
        with_ports(Some(&ours), Some(&theirs), move || {
            until_link(&asks, RequestLink::Up);
            until_link(&answers, RequestLink::Up);
            let request = Request {
                id: 5,
                subject: "trading_state".into(),
                value: "halted".into(),
                late: false,
            };
            assert!(asks.send(Message::Request(request.clone())));
            assert_eq!(message_at(&answers), Message::Request(request));
            let reply = Reply {
                id: 5,
                done: false,
                value: "active".into(),
                reason: "no file".into(),
            };
            assert!(answers.send(Message::Reply(reply.clone())));
            assert_eq!(message_at(&asks), Message::Reply(reply));
        });
        assert_eq!(asking.link(), RequestLink::Down, "the node has ended");
    }
}

#[test]
fn nothing_is_sent_to_a_node_that_takes_no_requests() {
    for of_sender in [true, false] {
        let port = RequestPort::asking();
        let (ours, theirs) = match of_sender {
            true => (Some(&port), None),
            false => (None, Some(&port)),
        };
        let asks = port.clone();
        with_ports(ours, theirs, move || {
            until_link(&asks, RequestLink::Refused);
            assert!(!asks.send(Message::Request(Request {
                id: 1,
                subject: "trading_state".into(),
                value: "halted".into(),
                late: false,
            })));
        });
    }
}
