//! Two boards under attack: peers that end streams, inject frames, forge feedback or take another node's place are refused,
//! counted by cause and named, and the journal is the same, byte for byte, as without them.
#![allow(clippy::unwrap_used, missing_docs)]

mod stand;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use heqis_actors::sp::{Connection, Inproc, Protocol, SocketOptions, connect};
use heqis_core::link::messages::{Ack, End, Hello, control_header};
use heqis_core::link::requests::Request;
use heqis_core::wire::{Encoded, MessageKind, WireMeta};
use heqis_tls::{Authority, Identity, IdentityFiles};
use stand::{Stand, root, wait_until};

/// The bridged edges: name, index, node that listens, its peer.
const EDGES: [(&str, u32, &str, &str); 2] = [
    ("ring->engine", 4, "compute", "gateway"),
    ("signal->feedback", 7, "gateway", "compute"),
];

/// The handshake of a pair1 socket.
const PAIR1: &[u8] = b"\0SP\0\0\x11\0\0";

fn frame(kind: MessageKind, route: u32, message: &impl WireMeta) -> Vec<u8> {
    let header = control_header(kind, route, 1);
    let encoded = Encoded::new(header, message, None).unwrap();
    encoded.concat(None).to_vec()
}

fn hello(edge: &str, node: &str) -> Hello {
    Hello {
        edge: edge.into(),
        payload: String::new(),
        instance: 7,
        first_seq: 1,
        at_least_once: true,
        node: node.into(),
        version: String::new(),
        streams: Vec::new(),
        properties: Vec::new(),
    }
}

/// What the attack needs to know: where the nodes listen, and what they have refused.
struct Boards<'a> {
    stand: &'a Stand,
    certs: &'a Path,
}

impl Boards<'_> {
    /// The port at which the receiver of an edge listens.
    fn port(&self, edge: usize) -> u16 {
        self.stand.ports[2 + edge]
    }

    /// How many peers the receiver of an edge has refused for `cause`.
    fn refused(&self, edge: usize, cause: &str) -> f64 {
        let (name, _, listens, _) = EDGES[edge];
        let node = usize::from(listens == "compute");
        let text =
            stand::get(self.stand.ports[node], "/metrics").map_or(String::new(), |got| got.1);
        let mut lines = text.lines();
        let line = lines.find(|line| {
            line.starts_with("heqis_link_rejected_peers_total{")
                && line.contains(&format!("cause=\"{cause}\""))
                && line.contains(&format!("edge=\"{name}\""))
        });
        line.map_or(0.0, |line| {
            line.rsplit_once(' ').unwrap().1.parse().unwrap()
        })
    }

    /// Runs an attack on an edge until its receiver has refused one more peer for `cause`.
    fn refuses(&self, edge: usize, cause: &str, attack: impl FnOnce()) {
        let before = self.refused(edge, cause);
        attack();
        wait_until(&format!("{} refuses for {cause}", EDGES[edge].0), || {
            self.refused(edge, cause) > before
        });
    }

    /// A peer without TLS that says hello and then this.
    fn plain(&self, edge: usize, then: &[u8]) {
        let (name, route, _, peer) = EDGES[edge];
        let mut stream = TcpStream::connect(("127.0.0.1", self.port(edge))).unwrap();
        let hello = frame(MessageKind::Hello, route, &hello(name, peer));
        let mut bytes = PAIR1.to_vec();
        for message in [&hello[..], then] {
            bytes.extend((message.len() as u64 + 4).to_be_bytes());
            bytes.extend(1u32.to_be_bytes());
            bytes.extend(message);
        }
        // It is cut off in the middle.
        let _ = stream.write_all(&bytes);
        let _ = stream.read_to_end(&mut Vec::new());
    }

    /// A peer with the certificate `name` in `certs` that sends these messages, if it gets in, and reads until it is cut off.
    fn certified(&self, edge: usize, certs: &Path, name: &str, messages: &[Vec<u8>]) {
        let identity = Identity::new(IdentityFiles::in_directory(certs, name), None);
        let (_, _, listens, _) = EDGES[edge];
        let endpoint = format!("tls+tcp://127.0.0.1:{}", self.port(edge));
        let endpoint = endpoint.parse().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut options = SocketOptions::new(Protocol::Pair1);
            options.security = Some(identity.link_with(listens));
            let connected = connect(&endpoint, &options, &Inproc::new()).await;
            let Ok((mut reader, mut writer)) = connected.map(Connection::split) else {
                return;
            };
            for message in messages {
                let _ = writer.feed(&[message]);
            }
            let _ = writer.flush().await;
            while let Ok(Some(_)) = reader.recv().await {}
        });
    }

    /// Everything at once on one edge, which is in use.
    fn attack(&self, edge: usize, foreign: &Path) {
        let (name, route, _, peer) = EDGES[edge];
        let end = frame(MessageKind::End, route, &End { last_seq: 0 });
        let greeting = frame(MessageKind::Hello, route, &hello(name, peer));
        let false_name = frame(MessageKind::Hello, route, &hello(name, "third"));
        let ack = Ack {
            limit: 1 << 40,
            done: 1 << 40,
            outcomes: vec![0; 11],
        };
        let ack = frame(MessageKind::Ack, route, &ack);
        let request = Request {
            id: 1,
            subject: "trading_state".into(),
            value: "halted".into(),
            late: false,
        };
        let request = frame(MessageKind::Request, route, &request);
        self.refuses(edge, "no_tls", || self.plain(edge, &end));
        self.refuses(edge, "certificate_name", || {
            self.certified(edge, self.certs, "third", &[greeting.clone(), end.clone()]);
        });
        self.refuses(edge, "certificate_foreign", || {
            self.certified(edge, foreign, peer, &[greeting.clone(), end.clone()]);
        });
        // A copy of the right certificate and key: what it may do, it may do only while the node itself is away.
        self.refuses(edge, "takeover", || {
            self.certified(edge, self.certs, peer, &[greeting, end]);
        });
        self.refuses(edge, "other_node", || {
            self.certified(edge, self.certs, peer, &[false_name]);
        });
        for forged in [ack, request] {
            self.refuses(edge, "not_allowed", || {
                self.certified(edge, self.certs, peer, &[forged]);
            });
        }
    }
}

/// A stand whose edges use TLS, with a folder of certificates; `third` is a node of the topology that has no edge.
fn boards() -> Stand {
    let stand = Stand::dual_board();
    let certs = stand.folder.path().join("certs");
    let authority = Authority::create(&certs, "dual-board", 10).unwrap();
    for node in ["gateway", "compute", "third"] {
        authority.issue(node, 10).unwrap();
    }
    let stand = stand.set(&format!("tls.directory=\"{}\"", certs.display()));
    EDGES.iter().fold(stand, |stand, (edge, ..)| {
        stand.set(&format!("edges.{edge}.transport.scheme=\"tls+tcp\""))
    })
}

#[test]
fn two_boards_under_attack_decide_the_same() {
    let reference = boards();
    reference.run(&[]).clean();
    let stand = boards()
        .set("stages.engine.params.simulate_latency_us=5000")
        .set("stages.engine.batch.max=1");
    let folder = stand.folder.path();
    let foreign = folder.join("foreign");
    let authority = Authority::create(&foreign, "dual-board", 10).unwrap();
    for node in ["gateway", "compute"] {
        authority.issue(node, 10).unwrap();
    }
    // It trusts this topology, which does not trust it.
    let mut both = std::fs::read(foreign.join("ca.pem")).unwrap();
    both.extend(std::fs::read(folder.join("certs/ca.pem")).unwrap());
    std::fs::write(foreign.join("ca.pem"), both).unwrap();

    let [gateway, compute] = ["gateway", "compute"].map(|node| stand.start(&["--node", node]));
    wait_until("decisions are made", || stand.journal_lines("journal") > 20);
    let certs = folder.join("certs");
    let boards = Boards {
        stand: &stand,
        certs: &certs,
    };
    for edge in 0..EDGES.len() {
        boards.attack(edge, &foreign);
    }
    // The public binary, with tables of its own: as the gateway of another authority, and with the key of this one.
    let table = std::fs::read_to_string(root().join("data/ashare/600000.SH.csv")).unwrap();
    let doctored = folder.join("002032.SZ.csv");
    std::fs::write(&doctored, table).unwrap();
    let tables = format!("stages.market.params.paths=[\"{}\"]", doctored.display());
    let other = Stand::dual_board();
    let elsewhere = format!("edges.signal->feedback.transport.port={}", other.ports[3]);
    for (certs, cause) in [(&foreign, "certificate_foreign"), (&certs, "takeover")] {
        let directory = format!("tls.directory=\"{}\"", certs.display());
        boards.refuses(0, cause, || {
            let changes = [
                "nodes.gateway.metrics=\"127.0.0.1:0\"",
                &elsewhere,
                &tables,
                &directory,
            ];
            let changes = changes.into_iter().flat_map(|change| ["--set", change]);
            let arguments: Vec<_> = ["--node", "gateway"].into_iter().chain(changes).collect();
            let false_gateway = stand.start(&arguments);
            let before = boards.refused(0, cause);
            wait_until("the false gateway is refused", || {
                boards.refused(0, cause) > before
            });
            false_gateway.kill();
        });
    }
    assert!(
        stand.journal_lines("journal") < 5_000,
        "the attacks are over before the run is"
    );
    let (gateway, compute) = (gateway.finish(), compute.finish());
    gateway.clean();
    compute.clean();
    let same = stand.journal_bytes("journal") == reference.journal_bytes("journal");
    assert!(same, "another journal than without the attacks");
    for (log, node) in [(&compute.log, "gateway"), (&gateway.log, "compute")] {
        let mut lines = log.lines().filter(|line| line.contains("peer rejected"));
        let named = lines.any(|line| {
            line.contains(&format!("node '{node}' (certificate "))
                && line.contains("takeover")
                && line.contains("take the place of the sender")
        });
        assert!(named, "{log}");
        assert!(log.contains("acknowledge frames"), "{log}");
        assert!(log.contains("set the trading state"), "{log}");
        assert!(log.contains("third"), "{log}");
    }
}
