//! The trading state of one node is set from the page of another: requested, recorded, done once, acknowledged or refused,
//! whatever is killed in between, and over every kind of link.
#![allow(clippy::unwrap_used, missing_docs)]

mod stand;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;

use heqis_tls::Authority;
use serde_json::{Value, json};
use stand::{Running, Stand, metric, wait_until};

const TOKEN: &str = "00112233445566778899aabbccddeeff";
const GATEWAY: &[&str] = &["--node", "gateway"];
const COMPUTE: &[&str] = &["--node", "compute"];

/// A gateway with a page and a compute node that obeys it, both slow enough to be watched.
struct Nodes {
    stand: Stand,
    page: u16,
}

impl Nodes {
    fn new() -> Self {
        let stand = Stand::dual_board();
        let page = *stand.ports.last().unwrap();
        let here = stand.folder.path().display().to_string();
        let changes = [
            format!("nodes.gateway.dashboard.address=\"127.0.0.1:{page}\""),
            "nodes.gateway.dashboard.control=true".into(),
            format!("nodes.gateway.dashboard.requests=\"{here}/asked/requests.json\""),
            "nodes.compute.trading_state_from=[\"gateway\"]".into(),
            format!("stages.signal.params.trading_state_file=\"{here}/trading-state\""),
            "stages.engine.params.simulate_latency_us=10000".into(),
            "stages.engine.batch.max=1".into(),
        ];
        let stand = stand.env("HEQIS_DASHBOARD_TOKEN", TOKEN);
        let stand = changes
            .iter()
            .fold(stand, |stand, change| stand.set(change));
        Self { stand, page }
    }

    fn set(self, change: &str) -> Self {
        Self {
            stand: self.stand.set(change),
            ..self
        }
    }

    fn start(&self) -> (Running, Running) {
        let nodes = (self.stand.start(GATEWAY), self.stand.start(COMPUTE));
        wait_until("decisions are made", || {
            self.stand.journal_lines("journal") > 5
        });
        wait_until("the state of the other node is known", || {
            self.reported().is_some_and(|state| state != "unknown")
        });
        nodes
    }

    fn file(&self) -> PathBuf {
        self.stand.folder.path().join("trading-state")
    }

    fn written(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap_or_default()
    }

    /// Asks the page with the token.
    fn ask(&self, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
        let port = self.page;
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n\
             Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).ok()?;
        let (head, body) = reply.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).ok()?))
    }

    fn set_state(&self, state: &str) {
        let body = format!("{{\"state\":\"{state}\"}}");
        let expected = json!({ "state": state, "requested": ["compute"] });
        let mut answer = None;
        wait_until("the page answers", || {
            answer = self.ask("POST", "/api/control/trading-state", &body);
            answer.is_some()
        });
        assert_eq!(answer, Some((202, expected)));
    }

    /// The compute node as the page of the gateway shows it.
    fn compute(&self) -> Option<Value> {
        Some(self.ask("GET", "/api/live", "")?.1["nodes"][1].clone())
    }

    fn reported(&self) -> Option<String> {
        let state = &self.compute()?["trading_states"][0]["state"];
        Some(state.as_str()?.to_owned())
    }

    /// The last request: the state and what became of it.
    fn request(&self) -> (String, String, String) {
        let compute = self.compute().unwrap_or_default();
        let request = &compute["trading_state_request"];
        ["state", "status", "reason"]
            .map(|key| request[key].as_str().unwrap_or_default().to_owned())
            .into()
    }

    fn becomes(&self, state: &str, status: &str) {
        wait_until(&format!("{state} is {status}"), || {
            let (requested, now, _) = self.request();
            (requested.as_str(), now.as_str()) == (state, status)
        });
    }

    fn reason_has(&self, part: &str) {
        wait_until(&format!("the reason has `{part}`"), || {
            self.request().2.contains(part)
        });
    }

    /// The page shows this state of the compute node.
    fn shows(&self, state: &str) {
        wait_until(&format!("{state} is shown"), || {
            self.reported().as_deref() == Some(state)
        });
    }

    fn decisions(&self) -> Vec<Value> {
        let bytes = self.stand.journal_bytes("journal");
        let whole = bytes.rsplit(|byte| *byte == b'\n').skip(1);
        let mut lines: Vec<_> = whole
            .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
            .collect();
        lines.reverse();
        lines
    }

    /// How often the compute node has done a request, and refused one.
    fn counted(&self, outcome: &str) -> f64 {
        let name = "heqis_trading_state_requests_total";
        let label = format!("outcome=\"{outcome}\"");
        metric(self.stand.ports[1], name, &label).unwrap_or(0.0)
    }

    fn halts_and_goes_on(&self) {
        let (gateway, compute) = self.start();
        let active = json!([{ "stage": "signal", "state": "active", "settable": true }]);
        wait_until("the state is shown, and no request", || {
            self.compute().is_some_and(|shown| {
                shown["trading_states"] == active && shown["trading_state_request"].is_null()
            })
        });
        self.set_state("halted");
        self.becomes("halted", "acknowledged");
        assert_eq!(self.written(), "halted\n");
        self.shows("halted");
        wait_until("an order is refused", || {
            self.decisions()
                .iter()
                .any(|line| line["reason"] == "halted")
        });
        self.set_state("active");
        self.becomes("active", "acknowledged");
        let before = self.decisions();
        let halted = before.iter().position(|line| line["reason"] == "halted");
        let last = before.iter().rposition(|line| line["reason"] == "halted");
        for line in &before[halted.unwrap()..=last.unwrap()] {
            assert_eq!(line["side"], "hold", "{line}");
        }
        wait_until("orders are made again", || {
            let lines = self.decisions();
            lines[before.len()..]
                .iter()
                .any(|line| line["side"] != "hold")
        });
        wait_until("both requests are counted as done", || {
            self.counted("done") >= 2.0
        });
        let mut events = Value::Null;
        wait_until("the events are there", || {
            let answer = self.ask("GET", "/api/events?limit=1000", "");
            events = answer.map_or(Value::Null, |(_, events)| events);
            events["rows"].is_array()
        });
        let causes = events["rows"].as_array().unwrap().iter();
        let causes: Vec<_> = causes
            .filter(|event| event["kind"] == "kill" && event["subject"] == "compute")
            .map(|event| event["cause"].as_str().unwrap())
            .collect();
        // The newest first.
        assert_eq!(
            causes,
            [
                "active acknowledged by node 'compute'",
                "active requested of node 'compute' on the page",
                "halted acknowledged by node 'compute'",
                "halted requested of node 'compute' on the page"
            ]
        );
        gateway.kill();
        compute.kill();
    }
}

#[test]
fn trading_is_halted_and_let_go_from_the_page_of_the_other_node() {
    Nodes::new().halts_and_goes_on();
}

#[test]
fn it_is_over_ipc() {
    let nodes = Nodes::new();
    let stand = nodes.stand.over_ipc();
    Nodes { stand, ..nodes }.halts_and_goes_on();
}

#[test]
fn it_is_over_tls() {
    let nodes = Nodes::new();
    let certs = nodes.stand.folder.path().join("certs");
    let authority = Authority::create(&certs, "dual-board", 10).unwrap();
    for node in ["gateway", "compute"] {
        authority.issue(node, 10).unwrap();
    }
    let nodes = nodes.set(&format!("tls.directory=\"{}\"", certs.display()));
    ["ring->engine", "signal->feedback"]
        .iter()
        .fold(nodes, |nodes, edge| {
            nodes.set(&format!("edges.{edge}.transport.scheme=\"tls+tcp\""))
        })
        .halts_and_goes_on();
}

#[test]
fn a_node_that_is_not_named_is_refused_with_the_reason_and_decisions_are_unharmed() {
    let nodes = Nodes::new();
    let gateway = nodes.stand.start(GATEWAY);
    let no_one = ["--set", "nodes.compute.trading_state_from=[]"];
    let compute = nodes.stand.start(&[COMPUTE, &no_one].concat());
    wait_until("decisions are made", || {
        nodes.stand.journal_lines("journal") > 5
    });
    nodes.set_state("halted");
    nodes.becomes("halted", "refused");
    nodes.reason_has("`trading_state_from`");
    assert!(!nodes.file().exists());
    let before = nodes.stand.journal_lines("journal");
    wait_until("decisions go on", || {
        nodes.stand.journal_lines("journal") > before + 5
    });
    gateway.kill();
    compute.kill();
}

#[test]
fn a_request_outlives_the_node_that_is_asked_and_is_not_taken_for_done() {
    let nodes = Nodes::new();
    let (gateway, compute) = nodes.start();
    compute.signal("STOP");
    nodes.set_state("halted");
    assert_ne!(nodes.request().1, "acknowledged");
    compute.kill();
    nodes.becomes("halted", "not_acknowledged");
    nodes.reason_has("no link");
    assert_eq!(nodes.written(), "");
    let compute = nodes.stand.start(COMPUTE);
    nodes.becomes("halted", "acknowledged");
    assert_eq!(nodes.written(), "halted\n");
    // Letting go is not done late: the operator of the node may have had a reason.
    compute.signal("STOP");
    nodes.set_state("active");
    compute.kill();
    nodes.becomes("active", "not_acknowledged");
    let compute = nodes.stand.start(COMPUTE);
    nodes.becomes("active", "refused");
    nodes.reason_has("late");
    assert_eq!(nodes.written(), "halted\n");
    nodes.shows("halted");
    nodes.set_state("active");
    nodes.becomes("active", "acknowledged");
    gateway.kill();
    compute.kill();
}

#[test]
fn a_request_outlives_the_node_that_asks_and_is_done_once() {
    let nodes = Nodes::new();
    let (gateway, compute) = nodes.start();
    compute.signal("STOP");
    nodes.set_state("halted");
    gateway.kill();
    compute.signal("CONT");
    // What was sent before the kill may arrive.
    let gateway = nodes.stand.start(GATEWAY);
    nodes.becomes("halted", "acknowledged");
    assert_eq!(nodes.written(), "halted\n");
    // Both nodes are restarted: nothing is asked again, and the page shows what holds.
    std::fs::write(nodes.file(), "reducing\n").unwrap();
    gateway.kill();
    compute.kill();
    let (gateway, compute) = (nodes.stand.start(GATEWAY), nodes.stand.start(COMPUTE));
    nodes.shows("reducing");
    nodes.becomes("halted", "acknowledged");
    assert_eq!(nodes.written(), "reducing\n");
    assert_eq!(nodes.counted("done"), 0.0);
    gateway.kill();
    compute.kill();
}
