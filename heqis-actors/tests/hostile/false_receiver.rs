//! A false receiver in place of the real one: the sender disconnects it and retains its frames.

use std::net::TcpListener;

use heqis_actors::Metrics;
use heqis_actors::wire::MessageKind;

use super::links::*;
use super::*;

/// What a false receiver answers to a hello of this epoch.
type Lie = fn(u32) -> Vec<Vec<u8>>;

/// Listens in place of a receiver and answers the sender's hello with `lies`; then a real receiver starts.
fn sender_survives(lies: &[(&str, Lie)]) {
    let link = Link::new(free_address(), Delivery::AtLeastOnce);
    let (ours, theirs) = (Metrics::new("gateway"), Metrics::new("compute"));
    let collect = CollectConfig::default();
    let seen = collect.seen.clone();
    let (sender, receiver) = (
        link.sender(counting(500, 0), &ours),
        link.receiver(collect, &theirs),
    );
    let (sent, received) = actix::System::new().block_on(async {
        let listener = TcpListener::bind(link.address).unwrap();
        let sender = sender.start().await.unwrap();
        for (cause, lie) in lies {
            let before = ours.link(EDGE).rejected(cause);
            let mut peer = Peer::over(listener.accept().unwrap().0);
            peer.shake();
            let hello = peer.expect(MessageKind::Hello);
            assert_eq!(debincode::<Hello>(hello.meta()).edge, EDGE);
            peer.send(&lie(hello.header.epoch));
            peer.until_cut();
            until("the count", || ours.link(EDGE).rejected(cause) > before);
        }
        drop(listener);
        let receiver = receiver.start().await.unwrap();
        futures_util::future::join(sender.wait(), receiver.wait()).await
    });
    assert!(
        sent.is_clean() && received.is_clean(),
        "{sent:?} {received:?}"
    );
    assert_eq!(books(&sent).sent, 500);
    assert_eq!(*seen.lock().unwrap(), (1..=500).collect::<Vec<_>>());
}

fn welcome(epoch: u32, received: u64, limit: u64) -> Vec<u8> {
    control(
        MessageKind::Welcome,
        epoch,
        &Welcome {
            session: 9,
            received,
            limit,
            have: vec![],
        },
    )
}

#[test]
fn a_receiver_that_lies_about_what_it_has() {
    sender_survives(&[
        ("protocol", |epoch| vec![welcome(epoch, 1, 16)]),
        ("protocol", |epoch| vec![welcome(epoch, u64::MAX, 16)]),
        ("protocol", |epoch| {
            vec![welcome(epoch, 0, 16), welcome(epoch, 0, 16)]
        }),
        // Acknowledges frames that were never sent, or with outcomes that are no outcomes.
        ("protocol", |epoch| {
            vec![
                welcome(epoch, 0, 0),
                control(MessageKind::Ack, epoch, &Ack::delivered(u64::MAX, 0)),
            ]
        }),
        ("protocol", |epoch| {
            vec![
                welcome(epoch, 0, 0),
                control(MessageKind::Ack, epoch, &Ack::delivered(1_000, 0)),
            ]
        }),
        ("protocol", |epoch| {
            let ack = Ack {
                limit: 0,
                done: 0,
                outcomes: vec![0; 3],
            };
            vec![welcome(epoch, 0, 0), control(MessageKind::Ack, epoch, &ack)]
        }),
        // Counts outcomes of frames that it reports as not done.
        ("protocol", |epoch| {
            let ack = Ack {
                done: 0,
                ..Ack::delivered(u64::MAX, u64::MAX)
            };
            vec![
                welcome(epoch, 0, 16),
                control(MessageKind::Ack, epoch, &ack),
            ]
        }),
        // Acknowledges before it has welcomed.
        ("protocol", |epoch| {
            vec![control(MessageKind::Ack, epoch, &Ack::delivered(0, 16))]
        }),
        // Sends messages that only a sender sends.
        ("not_allowed", |epoch| vec![data(epoch, 1)]),
        ("not_allowed", |epoch| {
            vec![control(MessageKind::End, epoch, &End { last_seq: 0 })]
        }),
        ("magic", |_| vec![vec![0; 64]]),
        ("too_large", |_| vec![vec![0; MAX_FRAME + 1]]),
    ]);
}

#[test]
fn a_receiver_that_reports_frames_done_without_an_outcome() {
    sender_survives(&[("protocol", |epoch| {
        let ack = Ack {
            limit: u64::MAX,
            done: 1,
            outcomes: vec![0; OUTCOMES],
        };
        vec![
            welcome(epoch, 0, u64::MAX),
            control(MessageKind::Ack, epoch, &ack),
        ]
    })]);
}
