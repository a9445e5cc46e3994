//! Links that break: at any byte, in either direction, announced or not.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod links;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::CollectConfig;
use heqis_actors::wire::MessageKind;
use heqis_actors::{Clock, Delivery, DropCause, Metrics, NodeReport};
use links::*;

/// A fault of one connection.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Both directions end after this many bytes in one of them.
    Cut {
        to_receiver: bool,
        after_bytes: usize,
    },
    /// After this many bytes to the receiver nothing passes any longer, without notice.
    Silence {
        after_bytes: usize,
    },
    None,
}

/// A TCP proxy whose connections have `faults` in turn, and no fault after the last.
struct Proxy {
    address: SocketAddr,
    met: Arc<AtomicUsize>,
}

impl Proxy {
    fn new(target: SocketAddr, faults: Vec<Fault>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            met: Arc::default(),
        };
        let met = proxy.met.clone();
        std::thread::spawn(move || {
            let mut faults = faults.into_iter();
            for client in listener.incoming() {
                // Before the receiver is up, and after it has left, connecting fails.
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(target)) else {
                    continue;
                };
                carry(client, server, faults.next().unwrap_or(Fault::None), &met);
            }
        });
        proxy
    }

    /// Faults that have happened.
    fn met(&self) -> usize {
        self.met.load(Ordering::Acquire)
    }
}

/// Carries one connection on two threads.
fn carry(client: TcpStream, server: TcpStream, fault: Fault, met: &Arc<AtomicUsize>) {
    let silent = Arc::new(AtomicUsize::new(0));
    for to_receiver in [true, false] {
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        if !to_receiver {
            std::mem::swap(&mut from, &mut to);
        }
        let (met, silent) = (met.clone(), silent.clone());
        std::thread::spawn(move || {
            let mut left = match fault {
                Fault::Cut {
                    to_receiver: direction,
                    after_bytes,
                } if direction == to_receiver => Some(after_bytes),
                Fault::Silence { after_bytes } if to_receiver => Some(after_bytes),
                _ => None,
            };
            let mut buffer = [0; 4096];
            loop {
                let most = left.unwrap_or(buffer.len()).min(buffer.len());
                if most == 0 {
                    met.fetch_add(1, Ordering::AcqRel);
                    if let Fault::Cut { .. } = fault {
                        break;
                    }
                    silent.store(1, Ordering::Release);
                    left = None;
                    continue;
                }
                let Ok(read @ 1..) = from.read(&mut buffer[..most]) else {
                    break;
                };
                left = left.map(|left| left - read);
                if silent.load(Ordering::Acquire) == 0 && to.write_all(&buffer[..read]).is_err() {
                    break;
                }
            }
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

/// Ten cuts. The exponent is drawn first, so that handshakes, hellos and welcomes are cut as well as streams.
fn cuts(mut dice: Dice) -> Vec<Fault> {
    (0..10)
        .map(|_| {
            let most = 8 << dice.draw(11);
            Fault::Cut {
                to_receiver: dice.draw(2) == 0,
                after_bytes: dice.draw(most) as usize + 1,
            }
        })
        .collect()
}

struct Outcome {
    sent: NodeReport,
    received: NodeReport,
    seen: Vec<u64>,
    connects: u64,
    resent: u64,
    met: usize,
}

/// Sends `count` frames through a proxy with these faults.
fn through(faults: Vec<Fault>, delivery: Delivery, count: u64) -> Outcome {
    let link = Link::new(free_address(), delivery);
    let proxy = Proxy::new(link.address, faults);
    let (ours, theirs) = (Metrics::new("gateway"), Metrics::new("compute"));
    let collect = CollectConfig {
        takes: Duration::from_micros(20),
        ..CollectConfig::default()
    };
    let seen = collect.seen.clone();
    let sender = link.to(proxy.address).sender(counting(count, 0), &ours);
    let receiver = link.receiver(collect, &theirs);
    let (sent, received) = actix::System::new().block_on(async move {
        let (sender, receiver) = (
            sender.start().await.unwrap(),
            receiver.start().await.unwrap(),
        );
        let both = futures_util::future::join(sender.wait(), receiver.wait());
        tokio::time::timeout(PATIENCE, both)
            .await
            .expect("the stream ends")
    });
    for metrics in [&ours, &theirs] {
        let text = metrics.render();
        let rejects = text
            .lines()
            .find(|line| line.starts_with("heqis_link_rejected_peers_total{"));
        assert_eq!(
            rejects, None,
            "a broken link is not counted as misbehaviour of a peer"
        );
    }
    let (ours, seen) = (ours.link(EDGE), seen.lock().unwrap().clone());
    Outcome {
        sent,
        received,
        seen,
        connects: ours.connects.get(),
        resent: ours.resent.get(),
        met: proxy.met(),
    }
}

#[test]
fn at_least_once_delivers_each_frame_exactly_once_and_in_order_wherever_the_link_is_cut() {
    let (mut connects, mut resent, mut met) = (0, 0, 0);
    for seed in 0..6 {
        let run = through(cuts(Dice(seed)), Delivery::AtLeastOnce, 3_000);
        assert_eq!(run.seen, (1..=3_000).collect::<Vec<_>>(), "seed {seed}");
        assert!(
            run.sent.is_clean() && run.received.is_clean(),
            "seed {seed}: {:?} {:?}",
            run.sent,
            run.received
        );
        let (sent, received) = (books(&run.sent), books(&run.received));
        assert_eq!(
            (sent.sent, sent.delivered),
            (3_000, 3_000),
            "seed {seed}: {sent:?}"
        );
        assert_eq!(
            (received.sent, received.delivered),
            (3_000, 3_000),
            "seed {seed}: {received:?}"
        );
        connects += run.connects - 1;
        resent += run.resent;
        met += run.met;
    }
    assert!(met > 30, "only {met} cuts were met");
    assert!(
        connects > 6 && connects <= met as u64,
        "{connects} reconnects after {met} cuts"
    );
    assert!(resent > 0);
}

#[test]
fn at_most_once_counts_frames_lost_in_the_cuts_and_repeats_nothing() {
    let (mut lost, mut met) = (0, 0);
    for seed in 100..106 {
        let run = through(cuts(Dice(seed)), Delivery::AtMostOnce, 3_000);
        assert!(
            run.sent.is_clean() && run.received.is_clean(),
            "seed {seed}: {:?} {:?}",
            run.sent,
            run.received
        );
        assert!(
            run.seen.windows(2).all(|pair| pair[0] < pair[1]),
            "seed {seed}: {:?}",
            run.seen
        );
        let (sent, received) = (books(&run.sent), books(&run.received));
        assert_eq!(
            (sent.sent, sent.delivered),
            (3_000, run.seen.len() as u64),
            "seed {seed}: {sent:?}"
        );
        assert!(
            sent.dropped
                .keys()
                .all(|cause| *cause == DropCause::LinkDown),
            "seed {seed}: {sent:?}"
        );
        assert_eq!(
            sent.delivered + sent.dropped_total(),
            3_000,
            "seed {seed}: {sent:?}"
        );
        assert_eq!(
            (received.sent, received.delivered),
            (sent.delivered, sent.delivered),
            "seed {seed}"
        );
        assert_eq!(run.resent, 0, "seed {seed}");
        lost += sent.dropped_total();
        met += run.met;
    }
    assert!(met > 30, "only {met} cuts were met");
    assert!(lost > 0);
}

#[test]
fn frames_lost_with_one_connection_are_not_lost_again_with_the_next() {
    // The second connection breaks right after its welcome, before a frame shows the jump to the receiver.
    let cut = |after_bytes| Fault::Cut {
        to_receiver: true,
        after_bytes,
    };
    let run = through(
        vec![cut(2_000), cut(200), cut(200), cut(200)],
        Delivery::AtMostOnce,
        1_000,
    );
    assert_eq!(run.met, 4);
    assert!(run.sent.is_clean(), "{:?}", run.sent);
    assert_eq!(
        books(&run.sent).dropped_total() + run.seen.len() as u64,
        1_000
    );
}

#[test]
fn a_link_that_falls_silent_is_detected_and_replaced() {
    let run = through(
        vec![Fault::Silence {
            after_bytes: 10_000,
        }],
        Delivery::AtLeastOnce,
        2_000,
    );
    assert_eq!(run.seen, (1..=2_000).collect::<Vec<_>>());
    assert!(
        run.sent.is_clean() && run.received.is_clean(),
        "{:?} {:?}",
        run.sent,
        run.received
    );
    assert_eq!((run.met, run.connects), (1, 2));
}

#[test]
fn a_receiver_whose_sender_vanishes_after_its_last_frame_waits_for_it_to_confirm() {
    let link = Link::new(free_address(), Delivery::AtLeastOnce);
    let collect = CollectConfig {
        takes: Duration::from_millis(100),
        ..CollectConfig::default()
    };
    let receiver = link.receiver(collect, &Metrics::new("compute"));
    let report = actix::System::new().block_on(async {
        let receiver = receiver.start().await.unwrap();
        let mut peer = Peer::shaken(link.address);
        peer.send(&[
            control(MessageKind::Hello, 1, &Hello::new(1)),
            data(1, 1),
            control(MessageKind::End, 1, &End { last_seq: 1 }),
        ]);
        until("the frame", || receiver.report().edges[0].sent == 1);
        // Disconnected while the stage still processes the frame, before the last acknowledgement.
        drop(peer);
        until("the outcome", || receiver.report().edges[0].delivered == 1);
        let mut peer = Peer::shaken(link.address);
        peer.send(&[
            control(MessageKind::Hello, 2, &Hello::new(1)),
            control(MessageKind::End, 2, &End { last_seq: 1 }),
            control(MessageKind::Goodbye, 2, &DONE),
        ]);
        assert_eq!(
            debincode::<(bool, u64)>(peer.expect(MessageKind::Goodbye).meta()),
            DONE
        );
        receiver.wait().await
    });
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(books(&report).delivered, 1);
}

#[test]
fn a_sender_that_restarts_gets_only_the_credit_that_its_predecessor_left() {
    let link = Link {
        credit: 4,
        ..Link::new(free_address(), Delivery::AtLeastOnce)
    };
    let collect = CollectConfig {
        takes: Duration::from_millis(20),
        ..CollectConfig::default()
    };
    let metrics = Metrics::new("compute");
    let receiver = link.receiver(collect, &metrics);
    let report = actix::System::new().block_on(async {
        let receiver = receiver.start().await.unwrap();
        let mut position = 0;
        for instance in 1..=3 {
            let mut peer = Peer::shaken(link.address);
            peer.send(&[control(MessageKind::Hello, 1, &Hello::new(instance))]);
            let limit = debincode::<Welcome>(peer.expect(MessageKind::Welcome).meta()).limit;
            // Uses the whole credit at once.
            let frames: Vec<_> = (1..=limit)
                .map(|seq| {
                    position += 1;
                    let payload = bincode(&(position, 0u64));
                    enveloped(
                        1,
                        seq,
                        0,
                        &Envelope {
                            stream: 1,
                            position,
                            part: 0,
                            key: 0,
                            stamps: vec![],
                            payload,
                        },
                    )
                })
                .collect();
            peer.send(&frames);
            until("the frames", || receiver.report().edges[0].sent == position);
        }
        receiver.stop(DRAIN).await
    });
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(metrics.link(EDGE).rejected("protocol"), 0);
}

#[test]
fn a_virtual_clock_that_jumps_does_not_cut_the_link() {
    let link = Link::new(free_address(), Delivery::AtLeastOnce);
    let clock = Clock::virtual_at(0);
    let receiver = link
        .receiver(CollectConfig::default(), &Metrics::new("compute"))
        .clock(clock.clone());
    actix::System::new().block_on(async {
        let receiver = receiver.start().await.unwrap();
        let mut peer = Peer::shaken(link.address);
        peer.send(&[control(MessageKind::Hello, 1, &Hello::new(1))]);
        peer.expect(MessageKind::Welcome);
        clock.advance_to(1_000_000_000 * 86_400);
        // The first of these may have been on its way; a dead link would have been closed before the third.
        for _ in 0..3 {
            peer.expect(MessageKind::Ack);
        }
        drop(peer);
        receiver.stop(DRAIN).await
    });
}
