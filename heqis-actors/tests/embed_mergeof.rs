//! Stages that merge frames lose nothing, shift no window and count nothing twice when their node is killed (fault E7).
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod links;
mod merging;

use std::time::{Duration, Instant};

use heqis_actors::wire::MessageKind;
use heqis_actors::{
    BridgeOptions, Delivery, EdgeOptions, Event, GraphBuilder, GraphHandle, Metrics, NodeReport,
    PayloadType, StageOptions, StateOptions,
};
use links::*;
use merging::{Book, Log, LogConfig, Window, WindowConfig};

use common::{Collect, CollectConfig, CountConfig, Number};

/// A node whose window stage is fed from another node.
fn windows(link: &Link, window: WindowConfig) -> GraphBuilder {
    let bridge = BridgeOptions::new(format!("tcp://{}", link.address).parse().unwrap())
        .credit(link.credit)
        .delivery(link.delivery)
        .max_frame(MAX_FRAME);
    GraphBuilder::new("link")
        .node("compute")
        .remote("count")
        .stage::<Window>("collect", window, StageOptions::default())
        .edge_in(
            ROUTE,
            ("count", "collect"),
            PayloadType::of::<Number>(),
            link.edge,
            bridge,
        )
}

fn own_arbiter() -> StageOptions {
    StageOptions::new().arbiter("sink")
}

fn with_sink(graph: GraphBuilder, sink: CollectConfig) -> GraphBuilder {
    graph.stage::<Collect>("sink", sink, own_arbiter()).edge(
        "collect",
        "sink",
        EdgeOptions::default(),
    )
}

fn with_log(graph: GraphBuilder, log: LogConfig) -> GraphBuilder {
    graph
        .stage::<Log>("log", log, own_arbiter())
        .edge("collect", "log", EdgeOptions::default())
}

/// The sum of the values of [`data`] from `first` to `last`.
fn sum(first: u64, last: u64) -> u64 {
    (first..=last).map(|seq| 1_000_000_000 + seq).sum()
}

/// Sends frames `first` to `last` and returns the acknowledgements until `done`.
fn send(peer: &mut Peer, first: u64, last: u64, done: u64) -> Vec<u64> {
    let frames: Vec<_> = (first..=last).map(|seq| data(1, seq)).collect();
    peer.send(&frames);
    let mut acks = Vec::new();
    while acks.last() != Some(&done) {
        acks.push(debincode::<Ack>(peer.expect(MessageKind::Ack).meta()).done);
    }
    acks
}

fn connected(link: &Link) -> Peer {
    let mut peer = Peer::shaken(link.address);
    peer.send(&[control(MessageKind::Hello, 1, &Hello::new(1))]);
    peer
}

fn roomy() -> Link {
    Link {
        credit: 64,
        ..Link::new(free_address(), Delivery::AtLeastOnce)
    }
}

/// Runs `graph` while `play` plays its peers on another thread, and then ends it at once.
fn run(graph: GraphBuilder, play: impl FnOnce() + Send) -> NodeReport {
    std::thread::scope(|threads| {
        actix::System::new().block_on(async {
            let running = graph.start().await.unwrap();
            let played = threads.spawn(play);
            while !played.is_finished() {
                actix_rt::time::sleep(Duration::from_millis(1)).await;
            }
            running.stop_handle().abandon();
            let report = running.wait().await;
            played.join().unwrap();
            report
        })
    })
}

#[test]
fn a_window_is_acknowledged_whole_and_only_when_its_sum_is_done() {
    let link = roomy();
    let sink = CollectConfig {
        takes: Duration::from_millis(30),
        ..CollectConfig::default()
    };
    let graph = with_sink(windows(&link, WindowConfig::tumbling(10)), sink.clone());
    run(graph, || {
        let acks = send(&mut connected(&link), 1, 45, 40);
        assert!(acks.iter().all(|done| done % 10 == 0), "{acks:?}");
    });
    assert_eq!(
        *sink.seen.lock().unwrap(),
        [1, 11, 21, 31].map(|first| sum(first, first + 9))
    );
}

/// The sums that `log` records when its node is killed after `cut` frames, of which `acknowledged` are not sent again.
fn killed(window: &WindowConfig, cut: u64, acknowledged: u64, last: u64) -> Vec<u64> {
    let book = Book::default();
    let log = || LogConfig {
        book: book.clone(),
        ..LogConfig::default()
    };
    let link = roomy();
    run(with_log(windows(&link, window.clone()), log()), || {
        let frames: Vec<_> = (1..=cut).map(|seq| data(1, seq)).collect();
        let mut peer = connected(&link);
        peer.send(&frames);
        let sums = (cut as usize + window.step - window.size) / window.step;
        until("the sums", || book.lock().unwrap().len() == sums);
    });
    let link = roomy();
    run(with_log(windows(&link, window.clone()), log()), || {
        let mut peer = connected(&link);
        let again: Vec<_> = (acknowledged + 1..=last)
            .zip(1..)
            .map(|(position, seq)| moved(position, seq))
            .collect();
        peer.send(&again);
        let sums = (last as usize + window.step - window.size) / window.step;
        until("the sums", || book.lock().unwrap().len() >= sums);
    });
    let book = book.lock().unwrap();
    book.iter().map(|(_, number)| number.value).collect()
}

/// Frame `position` of the stream with the number `seq`.
fn moved(position: u64, seq: u64) -> Vec<u8> {
    placed(position, seq, 0)
}

/// Frame `seq` of `group`.
fn grouped(seq: u64, group: u64) -> Vec<u8> {
    placed(seq, seq, group)
}

fn placed(position: u64, seq: u64, group: u64) -> Vec<u8> {
    let payload = bincode(&(1_000_000_000 + position, group));
    let envelope = Envelope {
        stream: 0xBAD,
        position,
        part: 0,
        key: group.into(),
        stamps: vec![(0, 1, 1)],
        payload,
    };
    enveloped(1, seq, 1, &envelope)
}

#[test]
fn windows_of_several_keys_are_acknowledged_at_their_common_boundaries() {
    let link = roomy();
    let graph = with_sink(
        windows(&link, WindowConfig::tumbling(2)),
        CollectConfig::default(),
    );
    // Groups in the order a, b, a | b, b, b … so that only 3 of the 7 pairs end where no other one is open.
    let groups = [0, 1, 0, 1, 1, 1, 0, 0];
    run(graph, || {
        let mut peer = connected(&link);
        let mut acks = Vec::new();
        for (seq, group) in (1..).zip(groups) {
            peer.send(&[grouped(seq, group)]);
            let ack = peer.expect(MessageKind::Ack);
            acks.push(debincode::<Ack>(ack.meta()).done);
        }
        while acks.last() != Some(&8) {
            acks.push(debincode::<Ack>(peer.expect(MessageKind::Ack).meta()).done);
        }
        assert!(
            acks.iter().all(|done| [0, 4, 6, 8].contains(done)),
            "{acks:?}"
        );
    });
}

#[test]
fn a_window_of_frames_above_the_credit_is_reported_with_the_stage_that_holds_them() {
    let mut link = Link::new(free_address(), Delivery::AtLeastOnce);
    link.edge.capacity = 16;
    let (sender, receiver) = (
        link.sender(counting(100, 0), &Metrics::new("gateway")),
        with_sink(
            windows(&link, WindowConfig::tumbling(3_000)),
            CollectConfig::default(),
        ),
    );
    let (of_sender, of_receiver) = (sender.events(), receiver.events());
    actix::System::new().block_on(async {
        let (sender, receiver) = (
            sender.start().await.unwrap(),
            receiver.start().await.unwrap(),
        );
        let begun = Instant::now();
        let waits = |running: &GraphHandle| -> Vec<String> {
            let waiting = running.report().edges.into_iter();
            let waits = waiting.filter_map(|edge| edge.waits);
            waits.filter(|why| why.contains("fill")).collect()
        };
        while waits(&receiver).is_empty() || waits(&sender).is_empty() {
            assert!(begun.elapsed() < PATIENCE, "nothing is reported");
            actix_rt::time::sleep(Duration::from_millis(20)).await;
        }
        let full = "unacknowledged frames fill the window of edge 'count->collect' (16 ";
        assert_eq!(
            waits(&receiver),
            [format!("{full}of 16 held by stage 'collect')")]
        );
        assert_eq!(
            waits(&sender),
            [format!("{full}not done at the other node)")]
        );
        for reporter in [receiver.reporter(), sender.reporter()] {
            let waiting = reporter.waiting();
            assert!(waiting[0].reason.starts_with(full), "{waiting:?}");
        }
        sender.stop_handle().abandon();
        receiver.stop_handle().abandon();
        sender.wait().await;
        receiver.wait().await;
    });
    let events: Vec<_> = of_sender.into_iter().chain(of_receiver).collect();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::WindowFull { edge, .. } if edge == EDGE)),
        "{events:?}"
    );
}

#[test]
fn windows_are_unshifted_after_a_kill_wherever_the_acknowledgements_end() {
    let expected = [1, 11, 21].map(|first| sum(first, first + 9));
    for acknowledged in [0, 10, 20] {
        let sums = killed(&WindowConfig::tumbling(10), 25, acknowledged, 30);
        assert_eq!(sums, expected, "after {acknowledged}");
    }
}

#[test]
fn windows_that_overlap_are_unshifted_after_a_kill() {
    let window = WindowConfig {
        step: 5,
        ..WindowConfig::tumbling(10)
    };
    let expected = [1, 6, 11, 16, 21].map(|first| sum(first, first + 9));
    for acknowledged in [0, 5, 10] {
        let sums = killed(&window, 22, acknowledged, 30);
        assert_eq!(sums, expected, "after {acknowledged}");
    }
}

#[test]
fn a_complete_stream_ends_although_a_stage_holds_its_last_frames() {
    let link = Link::new(free_address(), Delivery::AtLeastOnce);
    let sink = CollectConfig::default();
    let (sender, receiver) = (
        link.sender(one_group(25), &Metrics::new("gateway")),
        with_sink(windows(&link, WindowConfig::tumbling(10)), sink.clone()),
    );
    let (sent, _) = run_both(sender, receiver);
    assert_eq!(books(&sent).delivered, 25);
    assert_eq!(*sink.seen.lock().unwrap(), [55, 155]);
}

fn state(folder: &tempfile::TempDir, every: Duration) -> StateOptions {
    StateOptions::new(folder.path().join("compute.state")).every(every)
}

/// Numbers up to `count` in one group.
fn one_group(count: u64) -> CountConfig {
    CountConfig {
        groups: 1,
        ..counting(count, 0)
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn a_frame_held_only_by_state_is_acknowledged_when_it_is_saved_and_restored_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let book = Book::default();
    let node = |link: &Link, every| {
        let log = LogConfig {
            book: book.clone(),
            ..LogConfig::default()
        };
        with_log(windows(link, WindowConfig::tumbling(10).saved()), log)
            .state(state(&folder, every))
    };
    // Nothing is saved within an hour, and half of the window is not reached: nothing is acknowledged.
    let link = roomy();
    run(node(&link, HOUR), || {
        let frames: Vec<_> = (1..=25).map(|seq| data(1, seq)).collect();
        let mut peer = connected(&link);
        peer.send(&frames);
        until("the sums", || book.lock().unwrap().len() == 2);
        for _ in 0..3 {
            let ack = peer.expect(MessageKind::Ack);
            assert_eq!(debincode::<Ack>(ack.meta()).done, 0);
        }
    });
    // All of it is sent again, and the commit log has two of the windows. This time the state is saved.
    let link = roomy();
    run(node(&link, Duration::from_millis(10)), || {
        send(&mut connected(&link), 1, 25, 25);
    });
    // The frames of the third window are in the state.
    let link = roomy();
    run(node(&link, HOUR), || {
        let mut peer = connected(&link);
        // Two of the last ones are sent again although they are in the state.
        let again: Vec<_> = (24..=30)
            .zip(1..)
            .map(|(position, seq)| moved(position, seq))
            .collect();
        peer.send(&again);
        until("the sum", || book.lock().unwrap().len() == 3);
    });
    let sums: Vec<_> = book
        .lock()
        .unwrap()
        .iter()
        .map(|(_, number)| number.value)
        .collect();
    assert_eq!(sums, [1, 11, 21].map(|first| sum(first, first + 9)));
}

#[test]
fn a_window_above_the_credit_is_saved_whenever_half_of_it_is_unacknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut link = Link::new(free_address(), Delivery::AtLeastOnce);
    link.edge.capacity = 16;
    let sink = CollectConfig::default();
    let (sender, receiver) = (
        link.sender(one_group(900), &Metrics::new("gateway")),
        with_sink(
            windows(&link, WindowConfig::tumbling(300).saved()),
            sink.clone(),
        )
        .state(state(&folder, HOUR)),
    );
    run_both(sender, receiver);
    let sums = [1, 301, 601].map(|first| (first..first + 300).sum::<u64>());
    assert_eq!(*sink.seen.lock().unwrap(), sums);
}
