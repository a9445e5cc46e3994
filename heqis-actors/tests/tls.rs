//! Bridged edges with TLS: only the two nodes that the edge names carry it; every other peer is refused, counted and
//! named while the edge continues.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod links;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use common::{CollectConfig, Seen};
use heqis_actors::sp::{Connection, Endpoint, Inproc, Protocol, SocketOptions, SpError, connect};
use heqis_actors::wire::{MessageKind, WireFrame};
use heqis_actors::{
    Delivery, Event, Events, GraphBuilder, GraphHandle, LinkPeer, Metrics, NodeReport,
};
use heqis_tls::{Authority, Identity, IdentityFiles};
use links::*;

/// Values from this one on were sent by a hostile peer.
const HOSTILE: u64 = 1_000_000_000;

/// An authority that has issued certificates to three nodes.
struct Certificates {
    directory: tempfile::TempDir,
    authority: Authority,
}

impl Certificates {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create(directory.path(), "link", 100).unwrap();
        for name in ["gateway", "compute", "third"] {
            authority.issue(name, 10).unwrap();
        }
        Self {
            directory,
            authority,
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn identity(&self, name: &str) -> Identity {
        Identity::new(IdentityFiles::in_directory(self.path(), name), Some(name))
    }

    /// The same files in another directory, which do not change with these.
    fn copied(&self, name: &str) -> (tempfile::TempDir, Identity) {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(self.path()).unwrap() {
            let from = entry.unwrap().path();
            fs::copy(&from, copy.path().join(from.file_name().unwrap())).unwrap();
        }
        let files = IdentityFiles::in_directory(copy.path(), name);
        (copy, Identity::new(files, Some(name)))
    }
}

/// The edge from the gateway to the compute node, with TLS on both ends.
struct Edge {
    link: Link,
    certificates: Certificates,
    ours: Metrics,
    theirs: Metrics,
    seen: Seen,
}

/// The reasons of refused peers in the events of a graph that has ended.
fn reasons(events: Events) -> Vec<String> {
    let rejected = events.into_iter().filter_map(|event| match event {
        Event::PeerRejected { reason, .. } => Some(reason),
        _ => None,
    });
    rejected.collect()
}

impl Edge {
    fn new() -> Self {
        Self {
            link: Link::new(free_address(), Delivery::AtLeastOnce).over_tls(),
            certificates: Certificates::new(),
            ours: Metrics::new("compute"),
            theirs: Metrics::new("gateway"),
            seen: Seen::default(),
        }
    }

    fn sender(&self, identity: &Identity) -> GraphBuilder {
        self.link
            .secured(identity.link_with("compute"))
            .sender(endless(100_000), &self.theirs)
            .peer(ROUTE, LinkPeer::new("compute"))
    }

    fn receiver(&self, identity: &Identity) -> GraphBuilder {
        let collect = CollectConfig {
            seen: self.seen.clone(),
            ..CollectConfig::default()
        };
        self.link
            .secured(identity.link_with("gateway"))
            .receiver(collect, &self.ours)
            .peer(ROUTE, LinkPeer::new("gateway"))
    }

    fn healthy(&self) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|value| **value < HOSTILE).count()
    }

    fn further(&self) {
        let before = self.healthy();
        until("further frames", || self.healthy() > before + 10);
    }

    fn rejected(&self, cause: &str) -> u64 {
        self.ours.link(EDGE).rejected(cause)
    }

    /// Each frame once and in order, none of a hostile peer, and closed books.
    fn is_unharmed(&self, sent: &NodeReport, received: &NodeReport) {
        assert!(
            sent.is_clean() && received.is_clean(),
            "{sent:?} {received:?}"
        );
        assert_eq!(books(sent).dropped_total(), 0, "{sent:?}");
        let seen = self.seen.lock().unwrap();
        assert_eq!(*seen, (1..=books(sent).sent).collect::<Vec<_>>());
    }

    /// Runs `attack` while the edge is busy; returns the reasons of the refused peers.
    fn under(&self, attack: impl FnOnce(SocketAddr)) -> Vec<String> {
        let receiver = self.receiver(&self.certificates.identity("compute"));
        let sender = self.sender(&self.certificates.identity("gateway"));
        let events = receiver.events();
        let (sent, received) = actix::System::new().block_on(async {
            let (sender, receiver) = (
                sender.start().await.unwrap(),
                receiver.start().await.unwrap(),
            );
            self.further();
            attack(self.link.address);
            self.further();
            stop_in_turn(sender, receiver).await
        });
        self.is_unharmed(&sent, &received);
        reasons(events)
    }
}

/// Runs the future of a peer that is not a node, on a thread of its own.
fn apart<T: Send + 'static>(peer: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(peer())
    })
    .join()
    .unwrap()
}

/// Dials the compute node with a certificate.
async fn dial(address: SocketAddr, identity: &Identity) -> Result<Connection, SpError> {
    let endpoint: Endpoint = format!("tls+tcp://{address}").parse().unwrap();
    let mut options = SocketOptions::new(Protocol::Pair1);
    options.security = Some(identity.link_with("compute"));
    connect(&endpoint, &options, &Inproc::new()).await
}

fn only(reasons: &[String], parts: &[&str]) {
    assert!(!reasons.is_empty());
    for reason in reasons {
        for part in parts {
            assert!(reason.contains(part), "`{part}` is not in: {reason}");
        }
    }
}

#[test]
fn frames_cross_and_the_books_close() {
    let edge = Edge::new();
    assert_eq!(edge.under(|_| {}), Vec::<String>::new());
}

#[test]
fn a_plain_peer_that_ends_the_stream_or_injects_frames_is_refused() {
    let edge = Edge::new();
    let hello = control(MessageKind::Hello, 1, &Hello::new(7));
    let end = control(MessageKind::End, 1, &End { last_seq: 0 });
    let attacks = [
        vec![hello.clone(), end],
        vec![hello, data(1, 1), data(1, 2)],
    ];
    let reasons = edge.under(|address| {
        for attack in &attacks {
            let mut peer = Peer::connect(address);
            peer.write(PAIR1);
            peer.send(attack);
            peer.until_cut();
        }
        until("the count", || edge.rejected("no_tls") == 2);
    });
    only(&reasons, &["tcp://127.0.0.1:", "the peer speaks no TLS"]);
}

#[test]
fn a_third_node_and_a_node_of_another_topology_are_refused_by_name() {
    let (edge, others) = (Edge::new(), Certificates::new());
    fs::copy(
        edge.certificates.path().join("ca.pem"),
        others.path().join("trusted.pem"),
    )
    .unwrap();
    let third = edge.certificates.identity("third");
    let foreign = {
        // It trusts this topology, and this one does not trust it.
        let mut both = fs::read(others.path().join("ca.pem")).unwrap();
        both.extend(fs::read(others.path().join("trusted.pem")).unwrap());
        fs::write(others.path().join("ca.pem"), both).unwrap();
        others.identity("gateway")
    };
    let reasons = edge.under(|address| {
        let errors = apart(async move || {
            let third = dial(address, &third).await.map(|_| ()).unwrap_err();
            let foreign = dial(address, &foreign).await.map(|_| ()).unwrap_err();
            [third, foreign]
        });
        for error in errors {
            assert_eq!(error.cause(), "refused_by_peer", "{error}");
        }
        until("the counts", || {
            edge.rejected("certificate_name") == 1 && edge.rejected("certificate_foreign") == 1
        });
    });
    assert!(reasons[0].contains("`third`") && reasons[0].contains("not that of `gateway`"));
}

#[test]
fn a_second_peer_with_the_certificate_of_the_sender_does_not_take_a_live_link_over() {
    let edge = Edge::new();
    let (_files, stolen) = edge.certificates.copied("gateway");
    let reasons = edge.under(|address| {
        let refused = apart(async move || {
            let (mut reader, mut writer) = dial(address, &stolen).await.unwrap().split();
            let hello = Hello {
                node: "gateway".into(),
                ..Hello::new(7)
            };
            writer
                .feed(&[&control(MessageKind::Hello, 1, &hello)])
                .unwrap();
            writer
                .feed(&[&control(MessageKind::End, 1, &End { last_seq: 0 })])
                .unwrap();
            writer.flush().await.unwrap();
            let answer = reader.recv().await.unwrap().unwrap();
            WireFrame::parse(answer).unwrap().header.kind
        });
        assert_eq!(refused, MessageKind::Refuse);
        until("the count", || edge.rejected("takeover") == 1);
    });
    only(
        &reasons,
        &[
            "node 'gateway' (certificate ",
            "already takes edge",
            "which is alive",
        ],
    );
}

#[test]
fn a_peer_that_calls_itself_otherwise_than_its_certificate_is_refused() {
    let edge = Edge::new();
    let identity = edge.certificates.identity("gateway");
    let receiver = edge.receiver(&edge.certificates.identity("compute"));
    let events = receiver.events();
    let received = actix::System::new().block_on(async {
        let receiver = receiver.start().await.unwrap();
        let address = edge.link.address;
        for name in ["", "third"] {
            let identity = identity.clone();
            let kind = apart(async move || {
                let (mut reader, mut writer) = dial(address, &identity).await.unwrap().split();
                let hello = Hello {
                    node: name.into(),
                    ..Hello::new(7)
                };
                let hello = control(MessageKind::Hello, 1, &hello);
                writer.feed(&[&hello]).unwrap();
                writer.flush().await.unwrap();
                let answer = reader.recv().await.unwrap().unwrap();
                WireFrame::parse(answer).unwrap().header.kind
            });
            assert_eq!(kind, MessageKind::Refuse);
        }
        receiver.stop(DRAIN).await
    });
    assert!(edge.seen.lock().unwrap().is_empty(), "{received:?}");
    only(
        &reasons(events)[..1],
        &["has the certificate of node 'gateway'"],
    );
}

#[test]
fn a_sender_hands_no_frame_to_a_false_receiver() {
    let edge = Edge::new();
    let third = edge.certificates.identity("third");
    let sender = edge.sender(&edge.certificates.identity("gateway"));
    let events = sender.events();
    let address = edge.link.address;
    // The third node listens where the compute node should.
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let third = std::thread::spawn(move || {
        apart(async move || {
            let endpoint: Endpoint = format!("tls+tcp://{address}").parse().unwrap();
            let mut options = SocketOptions::new(Protocol::Pair1);
            options.security = Some(third.link_with("gateway"));
            let mut listener = heqis_actors::sp::Listener::bind(&endpoint, options, &Inproc::new())
                .await
                .unwrap();
            let mut refused = 0;
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let error = accepted.map(|_| ()).unwrap_err();
                        assert_eq!(error.cause(), "refused_by_peer", "{error}");
                        refused += 1;
                    }
                    _ = &mut stopped => return refused,
                }
            }
        })
    });
    let sent = actix::System::new().block_on(async {
        let sender = sender.start().await.unwrap();
        let link = edge.theirs.link(EDGE);
        until("refusals", || link.rejected("certificate_name") >= 3);
        sender.stop(DRAIN).await
    });
    stop.send(()).unwrap();
    assert!(third.join().unwrap() >= 3);
    assert_eq!(books(&sent).delivered, 0, "{sent:?}");
    only(
        &reasons(events)[..1],
        &["`third`", "is not that of `compute`"],
    );
}

/// Starts both nodes, the compute node with an identity of its own directory.
async fn start(edge: &Edge, compute: &Identity) -> (GraphHandle, GraphHandle) {
    let gateway = edge.certificates.identity("gateway");
    (
        edge.sender(&gateway).start().await.unwrap(),
        edge.receiver(compute).start().await.unwrap(),
    )
}

#[test]
fn a_revoked_sender_loses_its_link_and_continues_with_a_new_certificate() {
    let edge = Edge::new();
    let (files, compute) = edge.certificates.copied("compute");
    let (sent, received) = actix::System::new().block_on(async {
        let (sender, receiver) = start(&edge, &compute).await;
        edge.further();
        edge.certificates.authority.revoke("gateway").unwrap();
        // The compute node gets the list; the gateway does not have it, as one whose key was stolen would not.
        let list = fs::read(edge.certificates.path().join("revoked.txt")).unwrap();
        fs::write(edge.certificates.path().join("revoked.txt"), "").unwrap();
        fs::write(files.path().join("revoked.txt"), list).unwrap();
        until("the link is cut and stays down", || {
            edge.rejected("certificate_revoked") >= 3
        });
        let before = edge.healthy();
        edge.certificates.authority.issue("gateway", 10).unwrap();
        until("frames of the new certificate", || {
            edge.healthy() > before + 10
        });
        stop_in_turn(sender, receiver).await
    });
    edge.is_unharmed(&sent, &received);
}

#[test]
fn a_node_without_a_usable_certificate_does_not_start() {
    let edge = Edge::new();
    let key = edge.certificates.path().join("gateway.key");
    fs::remove_file(&key).unwrap();
    let error = actix::System::new().block_on(async {
        let sender = edge.sender(&edge.certificates.identity("gateway"));
        sender.start().await.map(|_| ()).unwrap_err().to_string()
    });
    assert!(
        error.contains(EDGE) && error.contains("gateway.key is missing"),
        "{error}"
    );
}
