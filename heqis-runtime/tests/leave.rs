//! What an administrator does on purpose: nodes that leave and come back, in time, and that say for whom they wait.
#![allow(clippy::unwrap_used, missing_docs)]

mod stand;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use stand::{Stand, count, edge, event, get, wait_until};

/// A slow engine gives a test time to interfere.
const SLOW: &str = "stages.engine.params.simulate_latency_us=1000";

fn decisions(stand: &Stand) -> Vec<String> {
    let journal = String::from_utf8_lossy(&stand.journal_bytes("journal")).into_owned();
    journal.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn a_restart_of_either_node_stalls_nothing_and_forgets_nothing() {
    let whole = Stand::dual_board();
    whole.run(&[]).clean();
    let expected = decisions(&whole);

    // Little is under way, so that a gateway that leaves leaves much for the next one.
    let stand = Stand::dual_board()
        .set(SLOW)
        .set("stages.ring.params.capacity=16")
        .set("defaults.edge.capacity=16");
    let mut gateway = stand.start(&["--node", "gateway"]);
    let mut compute = stand.start(&["--node", "compute"]);
    let ready = |port| {
        wait_until("nothing waits", || {
            get(port, "/readyz").is_some_and(|(status, _)| status == 200)
        });
    };
    for at in [800, 1_600] {
        wait_until("decisions are written", || {
            stand.journal_lines("journal") > at
        });
        compute.signal("TERM");
        let left = compute.finish().clean();
        assert_eq!(left["nodes"][0]["left"], true);
        wait_until("the gateway says for whom it waits", || {
            get(stand.ports[0], "/readyz").is_some_and(|(status, text)| {
                status == 503 && text.contains("edge 'ring->engine' waits: for node 'compute'")
            })
        });
        let before = stand.journal_bytes("journal");
        compute = stand.start(&["--node", "compute"]);
        ready(stand.ports[0]);
        assert!(stand.journal_bytes("journal").starts_with(&before));
    }
    gateway.signal("TERM");
    let gone = gateway.finish().clean();
    // The compute node stays, and waits.
    wait_until("the compute node says for whom it waits", || {
        get(stand.ports[1], "/readyz").is_some_and(|(status, text)| {
            status == 503 && text.contains("edge 'ring->engine' waits: for node 'gateway'")
        })
    });
    gateway = stand.start(&["--node", "gateway"]);
    let back = gateway.finish().clean();
    compute.finish().clean();
    assert_eq!(decisions(&stand), expected);
    let delivered = |summary: &serde_json::Value| -> u64 {
        let sides = ["buy", "hold", "sell"];
        sides
            .iter()
            .map(|side| event(summary, "feedback", side))
            .sum()
    };
    let decided = expected
        .iter()
        .filter(|line| line.starts_with("{\"n\":"))
        .count() as u64;
    assert_eq!(
        delivered(&gone) + delivered(&back),
        decided,
        "each decision once"
    );
}

#[test]
fn a_drain_keeps_its_limit_and_names_what_is_in_doubt_and_a_second_signal_ends_it() {
    let slow = || {
        Stand::dual_board()
            .set("stages.engine.params.simulate_latency_us=200000")
            .set("stages.engine.batch.max=1")
            .set("topology.drain_timeout=\"2s\"")
    };
    let stand = slow();
    let fleet = stand.start(&[]);
    wait_until("decisions are written", || {
        stand.journal_lines("journal") > 8
    });
    let begun = Instant::now();
    fleet.signal("TERM");
    let summary = fleet.finish().clean();
    // A loaded machine may be late, but the frames under way alone would take twelve seconds and more.
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "{:?}",
        begun.elapsed()
    );
    let (sent, received) = (
        edge(&summary, "ring->engine", "sender"),
        edge(&summary, "ring->engine", "receiver"),
    );
    let in_doubt = count(&sent["in_doubt"], "frames");
    let (acknowledged, done) = (count(sent, "delivered"), count(received, "delivered"));
    assert!(
        acknowledged <= done && done <= acknowledged + in_doubt,
        "{sent} {received}"
    );

    let stand = slow().set("topology.drain_timeout=\"50s\"");
    let fleet = stand.start(&[]);
    wait_until("decisions are written", || {
        stand.journal_lines("journal") > 8
    });
    let begun = Instant::now();
    fleet.signal("TERM");
    wait_until("the gateway drains", || {
        get(stand.ports[0], "/readyz").is_none_or(|(_, text)| text.contains("draining"))
    });
    fleet.signal("TERM");
    fleet.finish().clean();
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_busy_node_keeps_its_watchdog_quiet() {
    let stand = Stand::new("single-host", &["host"], &[], &["journal"]);
    let path = stand.folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    // Thirty milliseconds a call, and thousands of frames that wait.
    let stand = stand
        .set("stages.engine.params.simulate_latency_us=30000")
        .set("stages.engine.batch.max=1")
        .env("NOTIFY_SOCKET", path.to_str().unwrap())
        .env("WATCHDOG_USEC", "4000000");
    let node = stand.start(&["--node", "host"]);
    wait_until("frames wait", || stand.journal_lines("journal") > 4);
    let mut last = None;
    for _ in 0..8 {
        let mut said = [0; 256];
        loop {
            let length = manager.recv(&mut said).unwrap();
            if &said[..length] == b"WATCHDOG=1" {
                break;
            }
        }
        let now = Instant::now();
        let gap = last.replace(now).map_or(Duration::ZERO, |last| now - last);
        assert!(gap < Duration::from_secs(4), "{gap:?}");
    }
    node.kill();
}

#[test]
fn an_address_that_no_interface_has_and_a_name_that_does_not_resolve_are_waited_for() {
    // 192.0.2.0/24 is for documentation: no interface has an address of it.
    let stand = Stand::dual_board()
        .set("topology.insecure=true")
        .set("nodes.compute.address=\"192.0.2.7\"");
    let compute = stand.start(&["--node", "compute"]);
    wait_until("the node waits for its address", || {
        get(stand.ports[1], "/readyz")
            .is_some_and(|(status, text)| status == 503 && text.contains("cannot listen yet"))
    });
    compute.signal("TERM");
    let log = compute.finish();
    log.clean();
    assert!(log.log.contains("192.0.2.7"), "{}", log.log);

    let stand = Stand::dual_board()
        .set("topology.insecure=true")
        .set("nodes.compute.address=\"no-such-host.invalid\"");
    let gateway = stand.start(&["--node", "gateway"]);
    wait_until("the node says what does not resolve", || {
        get(stand.ports[0], "/readyz")
            .is_some_and(|(status, text)| status == 503 && text.contains("no-such-host.invalid"))
    });
    gateway.signal("TERM");
    let log = gateway.finish();
    log.clean();
    let warnings = log.log.lines().filter(|line| line.contains("link waits"));
    assert!((1..=4).contains(&warnings.count()), "{}", log.log);
}

#[test]
fn probes_ask_by_head_and_silent_connections_hold_up_no_scrape() {
    let stand = Stand::dual_board();
    let gateway = stand.start(&["--node", "gateway"]);
    let port = stand.ports[0];
    wait_until("the node answers", || get(port, "/healthz").is_some());
    for path in ["/healthz", "/readyz", "/metrics"] {
        let mut asked = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(
            asked,
            "HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        asked.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            !head.contains(" 404 ") && body.is_empty(),
            "{path}: {answer}"
        );
    }
    let silent: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    let begun = Instant::now();
    wait_until("a scrape is answered", || {
        get(port, "/metrics").is_some_and(|(status, _)| status == 200)
    });
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    drop(silent);
    gateway.signal("TERM");
    gateway.finish().clean();
}

#[test]
fn a_paced_source_does_not_pace_what_is_known() {
    // The whole replay would take some forty seconds.
    let stand = Stand::dual_board().set("stages.market.params.speed=1.4e7");
    let compute = stand.start(&["--node", "compute"]);
    let begun = Instant::now();
    let gateway = stand.start(&["--node", "gateway"]);
    wait_until("decisions are written", || {
        stand.journal_lines("journal") > 600
    });
    let paced = begun.elapsed();
    gateway.kill();
    let known = stand.journal_lines("journal");
    let begun = Instant::now();
    let gateway = stand.start(&["--node", "gateway"]);
    wait_until("the next ones are", || {
        stand.journal_lines("journal") > known + 2
    });
    let again = begun.elapsed();
    assert!(again < paced.mul_f64(0.7), "{again:?} after {paced:?}");
    for node in [gateway, compute] {
        node.signal("TERM");
        node.finish().clean();
    }
}
