//! The main job with real processes: all bars through all stages over sockets, killed, restarted, stopped, starved.
#![allow(clippy::unwrap_used, missing_docs)]

mod stand;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;

use stand::{
    Stand, assert_books_close, count, edge, event, get, json_bars, metric, signal_process,
    wait_until,
};

/// Rows of the two committed files.
const BARS: u64 = 2_813 + 3_659;

/// A slow engine gives a test time to interfere.
const SLOW: &str = "stages.engine.params.simulate_latency_us=1000";

/// What an undisturbed run writes.
fn reference() -> Vec<u8> {
    let stand = Stand::new("single-host", &["host"], &[], &["journal"]);
    stand.run(&[]).clean();
    stand.journal_bytes("journal")
}

/// Number of decisions in a journal, which has two lines before and one behind them.
fn decisions(journal: &[u8]) -> u64 {
    let lines = journal.iter().filter(|&&byte| byte == b'\n').count();
    lines as u64 - 3
}

/// The header names the topology, which may be another one; all else is the same. Lines are compared by number first: two
/// journals of thousands of lines are no readable assertion.
fn assert_same_journal(got: &[u8], expected: &[u8]) {
    let lines = |bytes: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(bytes);
        text.lines().skip(1).map(str::to_owned).collect()
    };
    let (got_lines, expected_lines) = (lines(got), lines(expected));
    for (number, (got, expected)) in got_lines.iter().zip(&expected_lines).enumerate() {
        assert_eq!(got, expected, "line {}", number + 1);
    }
    assert_eq!(got_lines.len(), expected_lines.len());
}

#[test]
fn two_processes_carry_every_bar_and_every_run_writes_the_same_bytes() {
    let expected = reference();
    for _ in 0..2 {
        let stand = Stand::dual_board();
        let summary = stand.run(&[]).clean();
        assert_eq!(
            count(edge(&summary, "market->cleaner", "local"), "sent"),
            BARS
        );
        // Six rows of 600000.SH repeat the day before on exchange holidays.
        assert_eq!(event(&summary, "cleaner", "repeated"), 6);
        assert_eq!(
            count(edge(&summary, "cleaner->indicators", "local"), "sent"),
            BARS - 6
        );
        let (sent, received) = (
            edge(&summary, "ring->engine", "sender"),
            edge(&summary, "ring->engine", "receiver"),
        );
        assert_eq!(count(sent, "delivered"), count(received, "delivered"));
        let decisions = event(&summary, "journal", "written");
        assert_eq!(
            decisions,
            count(sent, "delivered"),
            "one decision per bar that has rows enough before it"
        );
        let sides: u64 = ["buy", "hold", "sell"]
            .iter()
            .map(|side| event(&summary, "signal", side))
            .sum();
        assert_eq!(sides, decisions);
        assert!(event(&summary, "signal", "buy") > 0 && event(&summary, "signal", "sell") > 0);
        let back: u64 = ["buy", "hold", "sell"]
            .iter()
            .map(|side| event(&summary, "feedback", side))
            .sum();
        assert_eq!(back, decisions, "every decision comes back to the gateway");
        assert_same_journal(&stand.journal_bytes("journal"), &expected);
    }
}

#[test]
fn nodes_started_in_either_order_do_the_same() {
    let expected = reference();
    for (first, second) in [("gateway", "compute"), ("compute", "gateway")] {
        let stand = Stand::dual_board();
        let port = stand.ports[usize::from(first == "compute")];
        let early = stand.start(&["--node", first]);
        // It says for whom it waits.
        wait_until("the first node is built and waits", || {
            get(port, "/readyz").is_some_and(|(status, text)| {
                status == 503 && text.contains(&format!("waits: for node '{second}'"))
            })
        });
        let late = stand.start(&["--node", second]);
        early.finish().clean();
        late.finish().clean();
        assert_same_journal(&stand.journal_bytes("journal"), &expected);
    }
}

#[test]
fn a_compute_node_killed_in_mid_stream_comes_back_without_losing_or_repeating_a_frame() {
    let expected = reference();
    let stand = Stand::dual_board().set(SLOW);
    let gateway = stand.start(&["--node", "gateway"]);
    let compute = stand.start(&["--node", "compute"]);
    wait_until("a thousand decisions are written", || {
        stand.journal_lines("journal") > 1_000
    });
    compute.kill();
    let survived = stand.journal_lines("journal");
    let compute = stand.start(&["--node", "compute"]);
    // The gap is visible while the gateway runs on.
    let port = stand.ports[0];
    wait_until("the link is up again", || {
        metric(port, "heqis_link_connects_total", "ring->engine")
            .is_some_and(|connects| connects >= 2.0)
    });
    assert!(metric(port, "heqis_link_outage_seconds_count", "ring->engine") >= Some(1.0));
    wait_until("what was under way is sent again", || {
        metric(port, "heqis_link_resent_frames_total", "ring->engine") > Some(0.0)
    });
    let (gateway, compute) = (gateway.finish().clean(), compute.finish().clean());
    let sent = edge(&gateway, "ring->engine", "sender");
    assert_eq!(
        count(sent, "sent"),
        count(sent, "delivered") + count(sent, "duplicate"),
        "nothing is lost"
    );
    assert!(
        event(&compute, "journal", "written") < decisions(&expected),
        "{survived} decisions were not made again"
    );
    assert_same_journal(&stand.journal_bytes("journal"), &expected);
}

#[test]
fn a_gateway_killed_in_mid_stream_resumes_after_what_was_acknowledged() {
    let expected = reference();
    let stand = Stand::dual_board().set(SLOW);
    let gateway = stand.start(&["--node", "gateway"]);
    let compute = stand.start(&["--node", "compute"]);
    wait_until("a thousand decisions are written", || {
        stand.journal_lines("journal") > 1_000
    });
    gateway.kill();
    let gateway = stand.start(&["--node", "gateway"]);
    let (gateway, compute) = (gateway.finish().clean(), compute.finish().clean());
    let sent = edge(&gateway, "ring->engine", "sender");
    assert!(
        count(sent, "duplicate") >= 1_000,
        "what the compute node had is not sent again: {sent}"
    );
    assert_eq!(
        count(sent, "sent"),
        count(sent, "delivered") + count(sent, "duplicate")
    );
    assert_eq!(
        event(&compute, "journal", "duplicate"),
        0,
        "nor processed again"
    );
    assert_same_journal(&stand.journal_bytes("journal"), &expected);
}

#[test]
fn a_single_process_killed_or_stopped_in_mid_stream_ends_with_the_same_bytes() {
    let expected = reference();
    let stand = Stand::new("single-host", &["host"], &[], &["journal"]).set(SLOW);
    for (at, signal) in [(800, "KILL"), (1_600, "TERM"), (2_400, "KILL")] {
        let host = stand.start(&["--node", "host"]);
        wait_until("some decisions are written", || {
            stand.journal_lines("journal") > at
        });
        match signal {
            "KILL" => host.kill(),
            _ => {
                host.signal(signal);
                host.finish().clean();
            }
        }
    }
    let summary = stand.run(&["--node", "host"]).clean();
    assert!(event(&summary, "journal", "written") < decisions(&expected));
    assert_same_journal(&stand.journal_bytes("journal"), &expected);
}

#[test]
fn another_pace_or_place_of_the_same_bars_is_the_same_stream_and_another_rule_is_refused() {
    let expected = reference();
    let stand = Stand::dual_board().set(SLOW);
    let (gateway, compute) = (
        stand.start(&["--node", "gateway"]),
        stand.start(&["--node", "compute"]),
    );
    wait_until("some decisions are written", || {
        stand.journal_lines("journal") > 500
    });
    for node in [gateway, compute] {
        node.signal("TERM");
        node.finish().clean();
    }
    // Another rule would continue with the positions of this one.
    let other = ["--set", "stages.signal.params.rule.enter=0.002"];
    let refused = stand
        .start(&[&["--node", "compute"], &other[..]].concat())
        .finish();
    assert_eq!(refused.code(), Some(1), "{}", refused.log);
    assert!(refused.log.contains("rule"), "{}", refused.log);
    let pace = ["--set", "stages.market.params.speed=1e12"];
    let (gateway, compute) = (
        stand.start(&[&["--node", "gateway"], &pace[..]].concat()),
        stand.start(&["--node", "compute"]),
    );
    gateway.finish().clean();
    compute.finish().clean();
    assert_same_journal(&stand.journal_bytes("journal"), &expected);
}

/// Process ids of the children of `pid`, with their command lines.
fn children(pid: u32) -> Vec<(u32, String)> {
    let text =
        std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            Some((
                pid.parse().ok()?,
                String::from_utf8_lossy(&line).replace('\0', " "),
            ))
        })
        .collect()
}

fn is_gone(pid: u32) -> bool {
    // A zombie that waits for its parent is gone as well.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| {
        stat.rsplit_once(") ")
            .is_none_or(|(_, rest)| rest.starts_with('Z'))
    })
}

#[test]
fn the_parent_starts_a_killed_node_again_and_the_journal_is_complete() {
    let expected = reference();
    let stand = Stand::dual_board().set(SLOW);
    let fleet = stand.start(&[]);
    wait_until("five hundred decisions are written", || {
        stand.journal_lines("journal") > 500
    });
    let compute = children(fleet.pid())
        .into_iter()
        .find(|(_, line)| line.contains("--node compute"))
        .unwrap();
    signal_process(compute.0, "KILL");
    let summary = fleet.finish().clean();
    assert_eq!(count(&summary["restarts"], "compute"), 1);
    assert_same_journal(&stand.journal_bytes("journal"), &expected);
}

#[test]
fn a_stopped_run_drains_prints_its_books_and_leaves_no_process_behind() {
    for signal in ["TERM", "INT"] {
        let stand = Stand::dual_board()
            .set(SLOW)
            .set("stages.ring.params.capacity=16");
        let stand = stand.set("defaults.edge.capacity=16");
        let fleet = stand.start(&[]);
        wait_until("decisions are written", || {
            stand.journal_lines("journal") > 100
        });
        let nodes = children(fleet.pid());
        assert_eq!(nodes.len(), 2);
        fleet.signal(signal);
        let summary = fleet.finish().clean();
        let sent = count(edge(&summary, "market->cleaner", "local"), "sent");
        assert!(sent < BARS, "stopped in mid-stream");
        let bridged = edge(&summary, "ring->engine", "sender");
        assert_eq!(
            count(bridged, "sent"),
            count(bridged, "delivered"),
            "what was under way was finished"
        );
        assert!(nodes.iter().all(|(pid, _)| is_gone(*pid)));
        let journal = heqis_compute::journal::read(&stand.journal("journal")).unwrap();
        assert!(
            !journal.closed,
            "a run that is stopped is continued by the next one"
        );
        assert_eq!(
            journal.decisions.len() as u64,
            event(&summary, "journal", "written")
        );
    }
}

#[test]
fn nodes_do_not_outlive_a_parent_that_was_killed() {
    let stand = Stand::dual_board()
        .set(SLOW)
        .set("stages.ring.params.capacity=16")
        .set("defaults.edge.capacity=16");
    let fleet = stand.start(&[]);
    wait_until("decisions are written", || {
        stand.journal_lines("journal") > 100
    });
    let nodes = children(fleet.pid());
    assert_eq!(nodes.len(), 2);
    fleet.kill();
    wait_until("both nodes have drained and left", || {
        nodes.iter().all(|(pid, _)| is_gone(*pid))
    });
}

#[test]
fn a_slow_engine_makes_the_source_wait_and_memory_stays_flat() {
    let stand = Stand::dual_board()
        .set("stages.engine.params.simulate_latency_us=2000")
        .set("stages.engine.batch.max=1")
        .rewrite(
            "kind = \"csv-replay\"\nnode = \"gateway\"\nparams = { paths = [\"data/ashare/002032.SZ.csv\", \"data/ashare/600000.SH.csv\"], speed = \"max\" }",
            "kind = \"simulated\"\nnode = \"gateway\"\nparams = { seed = 1, symbols = 4, days = 20000 }",
        )
        .set("stages.ring.params.capacity=64")
        .set("defaults.edge.capacity=64");
    let gateway = stand.start(&["--node", "gateway"]);
    let compute = stand.start(&["--node", "compute"]);
    let resident_kib = || -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    wait_until("decisions are written", || {
        stand.journal_lines("journal") > 100
    });
    let early_kib = resident_kib();
    wait_until("many more decisions are written", || {
        stand.journal_lines("journal") > 1_100
    });
    let late_kib = resident_kib();
    // Seven edges and a ring of 64 frames and 64 kept unacknowledged are well below 8 MiB; without back-pressure the
    // source would by then have made hundreds of thousands of bars.
    assert!(
        late_kib < early_kib + 8 * 1024,
        "{early_kib} KiB grew to {late_kib} KiB"
    );
    gateway.signal("TERM");
    let gateway = gateway.finish().summary();
    compute.signal("TERM");
    let compute = compute.finish().clean();
    assert_books_close(&gateway);
    let made = count(edge(&gateway, "market->cleaner", "local"), "sent");
    let decided = event(&compute, "journal", "written");
    // Arithmetic of the bound: 6 queues of 64 on the gateway, 64 unacknowledged, 64 of credit, a turn of the source;
    // warm-up takes 250 bars of features and 15 of window for each of the four symbols.
    assert!(
        made <= decided + 4 * 265 + 8 * 64 + 64,
        "{made} bars made, {decided} decided"
    );
}

#[test]
fn each_dropping_policy_counts_its_drops_by_cause_and_the_books_close_over_the_wire() {
    let cases = [
        ("drop-oldest", "capacity", 16),
        ("drop-newest", "capacity", 16),
        ("latest", "superseded", 1),
        ("conflate", "superseded", 16),
    ];
    for (policy, cause, capacity) in cases {
        let stand = Stand::dual_board()
            .set("stages.engine.params.simulate_latency_us=2000")
            .set("stages.engine.batch.max=1")
            .set(&format!("edges.ring->engine.policy=\"{policy}\""))
            .set(&format!("edges.ring->engine.capacity={capacity}"))
            .set("edges.ring->engine.max_age=\"500ms\"")
            .set("edges.ring->engine.transport.credit=4");
        let summary = stand.run(&[]).clean();
        assert_eq!(
            count(edge(&summary, "market->cleaner", "local"), "sent"),
            BARS,
            "the source does not wait"
        );
        let (sent, received) = (
            edge(&summary, "ring->engine", "sender"),
            edge(&summary, "ring->engine", "receiver"),
        );
        assert!(count(&sent["dropped"], cause) > 0, "{policy}: {sent}");
        assert_eq!(
            count(sent, "delivered"),
            count(received, "delivered"),
            "{policy}"
        );
        assert_eq!(
            event(&summary, "journal", "written"),
            count(sent, "delivered"),
            "{policy}"
        );
    }
}

#[test]
fn two_compute_nodes_share_the_work_by_symbol() {
    let stand = Stand::new(
        "fan-out",
        &["gateway", "left", "right"],
        &[
            "ring->engine-left",
            "ring->engine-right",
            "signal-left->feedback",
            "signal-right->feedback",
        ],
        &["journal-left", "journal-right"],
    );
    stand.run(&[]).clean();
    let symbols = |name: &str| -> BTreeSet<String> {
        let journal = heqis_compute::journal::read(&stand.journal(name)).unwrap();
        journal
            .decisions
            .iter()
            .map(|(_, record)| record.symbol.to_string())
            .collect()
    };
    let (left, right) = (symbols("journal-left"), symbols("journal-right"));
    assert!(
        left.is_disjoint(&right) && !left.is_empty() && !right.is_empty(),
        "{left:?} {right:?}"
    );
    assert_eq!(left.union(&right).count(), 2);
}

#[test]
fn live_lines_from_a_socket_become_decisions() {
    let stand = Stand::lossless_live().set("stages.market.params.end_on_close=true");
    let port = *stand.ports.last().unwrap();
    let fleet = stand.start(&[]);
    let mut feed = None;
    wait_until("the source listens", || {
        feed = TcpStream::connect(("127.0.0.1", port)).ok();
        feed.is_some()
    });
    let mut feed = feed.unwrap();
    feed.write_all(json_bars(400).concat().as_bytes()).unwrap();
    feed.write_all(b"this is not a bar\n").unwrap();
    drop(feed);
    let summary = fleet.finish().clean();
    assert_eq!(
        count(edge(&summary, "market->cleaner", "local"), "sent"),
        400
    );
    assert_eq!(event(&summary, "market", "bad_line"), 1);
    assert_eq!(
        event(&summary, "journal", "written"),
        400 - 250 - 15 - 31,
        "all but the warm-up of features, of the encoder's window and of the rows"
    );
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing_running() {
    let stand = Stand::dual_board();
    let taken = std::net::TcpListener::bind(("127.0.0.1", stand.ports[2])).unwrap();
    let ended = stand.run(&[]);
    assert_eq!(ended.code(), Some(1), "{}", ended.log);
    assert!(
        ended.log.contains("ring->engine") && ended.log.contains(&stand.ports[2].to_string()),
        "{}",
        ended.log
    );
    drop(taken);
    let ended = stand.run(&["--node", "gatewya"]);
    assert_eq!(ended.code(), Some(2));
    assert!(
        ended.log.contains("'gatewya'") && ended.log.contains("gateway, compute"),
        "{}",
        ended.log
    );
    let ended = stand.run(&["--set", "stages.engine.params.bundle=\"models/nowhere\""]);
    assert_eq!(ended.code(), Some(2));
    assert!(ended.log.contains("E0207"), "{}", ended.log);
}
