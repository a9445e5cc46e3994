//! Two nodes whose clocks differ: each measures by how much, within its stated uncertainty, and corrects nothing.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod links;

use common::CollectConfig;
use heqis_actors::wire::{Header, MessageKind};
use heqis_actors::{Clock, ClockOffset, Delivery, GraphHandle, Metrics};
use links::*;

const MS_NS: i64 = 1_000_000;

fn offset(node: &GraphHandle) -> Option<ClockOffset> {
    books(&node.report()).clock
}

/// The interval in which the offset lies.
fn bounds(offset: ClockOffset) -> (i64, i64) {
    (
        offset.ahead_ns.saturating_sub(offset.uncertainty_ns),
        offset.ahead_ns.saturating_add(offset.uncertainty_ns),
    )
}

#[test]
fn a_clock_that_is_250_ms_ahead_is_measured_from_both_ends_and_ages_stay_as_the_clocks_say() {
    for ahead_ns in [250 * MS_NS, -250 * MS_NS] {
        let link = Link::new(free_address(), Delivery::AtLeastOnce);
        let (ours, theirs) = (Metrics::new("gateway"), Metrics::new("compute"));
        let collect = CollectConfig::default();
        let ages_ns = collect.ages_ns.clone();
        let compute = Clock::real();
        let gateway = Clock::real_at(compute.now_ns() + ahead_ns);
        // The true offset, as exactly as two clocks can be read.
        let before_ns = compute.now_ns();
        let between_ns = gateway.now_ns();
        let after_ns = compute.now_ns();
        let (least, most) = (between_ns - after_ns, between_ns - before_ns);
        let sender = link.sender(endless(MS_NS), &ours).clock(gateway);
        let receiver = link.receiver(collect, &theirs).clock(compute);
        let (here, there, sent, received) = actix::System::new().block_on(async {
            let receiver = receiver.start().await.unwrap();
            let sender = sender.start().await.unwrap();
            until("both measure", || {
                offset(&sender).is_some() && offset(&receiver).is_some()
            });
            until("frames", || ages_ns.lock().unwrap().len() > 20);
            let (here, there) = (offset(&sender).unwrap(), offset(&receiver).unwrap());
            // What is exported is what is reported.
            let exported = ours.render();
            let line = |name: &str| {
                let found = exported.lines().find(|line| line.starts_with(name));
                let (labels, value) = found.unwrap().rsplit_once(' ').unwrap();
                assert!(
                    labels.contains("node=\"gateway\"")
                        && labels.contains("edge=\"count->collect\""),
                    "{labels}"
                );
                value.parse::<f64>().unwrap()
            };
            assert!((line("heqis_link_clock_offset_seconds") + ahead_ns as f64 * 1e-9).abs() < 0.1);
            assert!(line("heqis_link_clock_uncertainty_seconds") > 0.0);
            let ended = stop_in_turn(sender, receiver).await;
            (here, there, ended.0, ended.1)
        });
        assert!(
            sent.is_clean() && received.is_clean(),
            "{sent:?} {received:?}"
        );
        // The gateway's clock is ahead of the compute node's, and the compute node's behind the gateway's.
        let (low, high) = bounds(there);
        assert!(low <= most && high >= least, "{there:?} {ahead_ns}");
        let (low, high) = bounds(here);
        assert!(low <= -least && high >= -most, "{here:?} {ahead_ns}");
        // A frame needs time to get here; that it seems to need less or more is the offset, within its uncertainty.
        let youngest = *ages_ns.lock().unwrap().iter().min().unwrap();
        assert!(youngest + bounds(there).1 >= 0, "{youngest} {there:?}");
        assert!(ahead_ns < 0 || youngest < 0, "{youngest} is not corrected");
        // What cannot be measured any more is not shown.
        for metrics in [&ours, &theirs] {
            assert!(
                !metrics
                    .render()
                    .contains("heqis_link_clock_offset_seconds{")
            );
        }
        assert_eq!((books(&sent).clock, books(&received).clock), (None, None));
    }
}

/// A heartbeat with a time.
fn beat(ts_ns: i64, lag_ns: Option<i64>) -> Vec<u8> {
    framed(
        Header {
            kind: MessageKind::Heartbeat,
            route: ROUTE,
            epoch: 1,
            seq: 0,
            ts_ns,
        },
        bincode(&lag_ns),
    )
}

/// Runs `meet` against a receiver that has welcomed a peer of raw bytes.
fn before_a_receiver(meet: impl FnOnce(&mut Peer, &GraphHandle, &Clock)) -> Metrics {
    let link = Link::new(free_address(), Delivery::AtLeastOnce);
    let (clock, metrics) = (Clock::real(), Metrics::new("compute"));
    let receiver = link
        .receiver(CollectConfig::default(), &metrics)
        .clock(clock.clone());
    actix::System::new().block_on(async {
        let receiver = receiver.start().await.unwrap();
        let mut peer = Peer::shaken(link.address);
        peer.send(&[control(MessageKind::Hello, 1, &Hello::new(1))]);
        peer.expect(MessageKind::Welcome);
        meet(&mut peer, &receiver, &clock);
        drop(peer);
        assert!(receiver.stop(DRAIN).await.is_clean());
    });
    metrics
}

#[test]
fn a_peer_that_sends_the_time_gets_its_delay_reported_at_once_and_once() {
    before_a_receiver(|peer, receiver, clock| {
        let sent_ns = clock.now_ns();
        peer.send(&[beat(sent_ns + 10_000 * MS_NS, None)]);
        let answer = peer.expect(MessageKind::Heartbeat);
        let arrived_ns = clock.now_ns();
        assert!((sent_ns..=arrived_ns).contains(&answer.header.ts_ns));
        let lag_ns = debincode::<Option<i64>>(answer.meta()).unwrap();
        let way_ns = lag_ns + 10_000 * MS_NS;
        assert!((0..=arrived_ns - sent_ns).contains(&way_ns), "{way_ns}");
        // One direction alone gives no offset.
        assert_eq!(offset(receiver), None);
        // The next ones follow once a second.
        peer.send(
            &(0..100)
                .map(|_| beat(clock.now_ns(), None))
                .collect::<Vec<_>>(),
        );
        let next = peer.expect(MessageKind::Heartbeat).header.ts_ns;
        assert!(next - answer.header.ts_ns >= 1_000 * MS_NS, "{next}");
    });
}

#[test]
fn a_peer_of_a_version_without_clocks_is_alive_as_well() {
    let metrics = before_a_receiver(|peer, receiver, _| {
        peer.send(&[control(MessageKind::Heartbeat, 1, &0u8), data(1, 1)]);
        until("the frame", || books(&receiver.report()).sent == 1);
        // It gets heartbeats, whose content it does not read.
        let heartbeat = peer.expect(MessageKind::Heartbeat);
        assert_eq!(heartbeat.meta(), [0]);
        assert_eq!(offset(receiver), None);
        peer.send(&[control(MessageKind::Heartbeat, 1, &DONE)]);
    });
    assert_eq!(metrics.link(EDGE).rejected("protocol"), 0);
}

#[test]
fn a_peer_whose_times_contradict_each_other_is_measured_again_and_an_impossible_time_is_refused() {
    let metrics = before_a_receiver(|peer, receiver, clock| {
        let now_ns = clock.now_ns();
        // A transit time of −2 s is impossible.
        peer.send(&[beat(now_ns, Some(-2_000 * MS_NS)), data(1, 1)]);
        until("the frame", || books(&receiver.report()).sent == 1);
        assert_eq!(offset(receiver), None);
        peer.send(&[beat(clock.now_ns(), Some(i64::MAX))]);
        until("a wide answer", || offset(receiver).is_some());
        let (low, _) = bounds(offset(receiver).unwrap());
        assert!(low <= 0, "a single report proves no difference: {low}");
        peer.send(&[beat(1 << 62, Some(0))]);
        while peer.recv().is_some() {}
    });
    assert_eq!(metrics.link(EDGE).rejected("protocol"), 1);
}
