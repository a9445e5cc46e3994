//! What the page of a node reports apart from figures: links, engines, events, alarms, and the trading state.
#![allow(clippy::unwrap_used, missing_docs)]

mod stand;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use stand::{Stand, wait_until};

const TOKEN: &str = "00112233445566778899aabbccddeeff";

/// Asks with the token; the status and the answer.
fn ask(port: u16, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let content = match body {
        "" => String::new(),
        body => format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ),
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n\
         Authorization: Bearer {TOKEN}\r\n{content}Connection: close\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    let (head, body) = reply.split_once("\r\n\r\n")?;
    Some((
        head.split(' ').nth(1)?.parse().ok()?,
        serde_json::from_str(body).ok()?,
    ))
}

fn live(port: u16) -> Option<Value> {
    ask(port, "GET", "/api/live", "").map(|(_, live)| live)
}

/// Everything that is posted to a real listener, from a thread that ends with the test's process.
fn hook() -> (String, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/alarms", listener.local_addr().unwrap());
    let notices = Arc::new(Mutex::new(Vec::new()));
    let received = notices.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_ok()
                && let Ok(notice) = serde_json::from_slice(&body)
            {
                received.lock().unwrap().push(notice);
            }
            let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
            let _ = reader.get_mut().write_all(answer);
        }
    });
    (url, notices)
}

#[test]
fn a_node_that_is_lost_and_returns_is_reported_on_the_page_and_to_the_webhook() {
    let stand = Stand::dual_board();
    let port = *stand.ports.last().unwrap();
    let (url, notices) = hook();
    let stand = stand
        .set(&format!(
            "nodes.gateway.dashboard.address=\"127.0.0.1:{port}\""
        ))
        .set(&format!("nodes.gateway.dashboard.webhook=\"{url}\""))
        .set("stages.engine.params.simulate_latency_us=2000")
        .set("stages.engine.batch.max=1");
    let was_sent = |name: &str, subject: &str, raised: bool| {
        let notices = notices.lock().unwrap();
        notices.iter().any(|notice: &Value| {
            notice["alarm"]["name"] == name
                && notice["alarm"]["subject"] == subject
                && notice["raised"] == raised
        })
    };
    let gateway = stand.start(&["--node", "gateway"]);
    wait_until("the missing node is reported", || {
        was_sent("node_unreachable", "compute", true) && was_sent("link_down", "ring->engine", true)
    });
    let compute = stand.start(&["--node", "compute"]);
    wait_until("its return is reported", || {
        was_sent("node_unreachable", "compute", false)
            && was_sent("link_down", "ring->engine", false)
    });
    wait_until(
        "both ends of the link, the engine and the trading state are shown",
        || {
            let Some(live) = live(port) else { return false };
            let edges = live["nodes"][0]["edges"].as_array().unwrap();
            let sender = edges
                .iter()
                .find(|edge| edge["edge"] == "ring->engine")
                .unwrap();
            let other = &live["nodes"][1];
            sender["connected"] == true
                && sender["credits"].is_u64()
                && sender["clock"]["ahead_us"].is_f64()
                && sender["clock"]["uncertainty_us"].as_f64() > Some(0.0)
                && edges
                    .iter()
                    .any(|edge| edge["side"] == "local" && edge["connected"].is_null())
                && other["engines"][0]["stage"] == "engine"
                && other["engines"][0]["backend"] == "cpu"
                && other["kill"]
                    == json!([{ "stage": "signal", "state": "active", "settable": false }])
        },
    );
    let (status, _) = ask(port, "POST", "/api/control/kill", "{\"state\":\"halted\"}").unwrap();
    assert_eq!(status, 403, "control is off");
    compute.kill();
    wait_until("it is missed again", || {
        live(port).is_some_and(|live| {
            let alarms = live["alarms"].as_array().unwrap();
            alarms
                .iter()
                .any(|alarm| alarm["name"] == "node_unreachable")
        })
    });
    let (_, events) = ask(port, "GET", "/api/events?limit=1000", "").unwrap();
    let rows = events["rows"].as_array().unwrap();
    let has = |kind: &str, subject: &str| {
        rows.iter()
            .any(|event| event["kind"] == kind && event["subject"] == subject)
    };
    assert!(
        has("ready", "") && has("link_up", "ring->engine"),
        "{events:#}"
    );
    assert!(
        has("alarm_raised", "compute") && has("alarm_cleared", "compute"),
        "{events:#}"
    );
    wait_until("the lost link is written down with its cause", || {
        let (_, events) = ask(port, "GET", "/api/events?limit=1000", "").unwrap();
        let mut rows = events["rows"].as_array().unwrap().iter();
        rows.any(|event| event["kind"] == "link_down" && event["cause"].is_string())
    });
    gateway.kill();
}

#[test]
fn trading_is_halted_and_let_go_on_the_page() {
    let stand = Stand::new("single-host", &["host"], &[], &["journal"]);
    let port = *stand.ports.last().unwrap();
    let file = stand.folder.path().join("kill");
    let stand = stand
        .set(&format!(
            "nodes.host.dashboard.address=\"127.0.0.1:{port}\""
        ))
        .set("nodes.host.dashboard.control=true")
        .set(&format!(
            "stages.signal.params.trading_state_file=\"{}\"",
            file.display()
        ))
        .set("stages.engine.params.simulate_latency_us=4000")
        .set("stages.engine.batch.max=1");
    let token = format!("HEQIS_DASHBOARD_TOKEN={TOKEN}");
    let program = ["env", &token, env!("CARGO_BIN_EXE_heqis-runtime")];
    let running = stand.start_with(&program, &["--node", "host"]);
    let newest = || {
        let (_, list) = ask(port, "GET", "/api/decisions?limit=1", "")?;
        Some(list["rows"][0]["reason"].clone())
    };
    let state = || live(port).map(|live| live["nodes"][0]["trading_states"].clone());
    let killed = |state: &str| json!([{ "stage": "signal", "state": state, "settable": true }]);
    wait_until("decisions are made", || {
        newest().is_some_and(|reason| reason.is_string())
    });
    assert_eq!(state(), Some(killed("active")));
    let about = ask(port, "GET", "/api/about", "").unwrap().1;
    assert_eq!(
        ["trading_state", "kill", "drift"].map(|can| &about["can"][can]),
        [&json!(true); 3]
    );

    let order = |state: &str| {
        ask(
            port,
            "POST",
            "/api/control/trading-state",
            &format!("{{\"state\":\"{state}\"}}"),
        )
    };
    assert_eq!(order("halted"), Some((200, json!({ "state": "halted" }))));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "halted\n");
    assert_eq!(state(), Some(killed("halted")), "before any frame came");
    let first = |query: &str| {
        let (_, list) = ask(port, "GET", &format!("/api/decisions?limit=1&{query}"), "")?;
        Some((list["last"].as_u64()?, list["rows"][0].clone()))
    };
    wait_until("a trade is refused", || {
        first("refused=true").is_some_and(|(_, row)| row["reason"] == "halted")
    });
    assert_eq!(order("active"), Some((200, json!({ "state": "active" }))));
    let (then, _) = first("").unwrap();
    wait_until("trades go on", || {
        first("side=trade").is_some_and(|(_, row)| row["n"].as_u64() > Some(then))
    });
    let (_, events) = ask(port, "GET", "/api/events", "").unwrap();
    let set = events["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["kind"] == "kill");
    assert_eq!(set.count(), 2, "{events:#}");
    running.kill();
}
