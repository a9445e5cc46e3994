//! The page of a node, over the whole pipeline: what it lists, what it knows of the other node, what it survives.
#![allow(clippy::unwrap_used, missing_docs)]

mod stand;

use std::collections::BTreeMap;

use serde_json::Value;
use stand::{Stand, get, wait_until};

/// Bars of both instruments that have a whole window of rows before them, with the models of the shipped topologies.
const DECISIONS: u64 = 5_874;

/// A stand whose node `node` has its page on the stand's last port and stays when its data has passed.
fn with_page(stand: Stand, node: &str) -> (Stand, u16) {
    let port = *stand.ports.last().unwrap();
    let stand = stand
        .set(&format!(
            "nodes.{node}.dashboard.address=\"127.0.0.1:{port}\""
        ))
        .set(&format!("nodes.{node}.dashboard.stay=true"));
    (stand, port)
}

fn single_host() -> Stand {
    Stand::new("single-host", &["host"], &[], &["journal"])
}

fn ask(port: u16, path: &str) -> Option<Value> {
    let (status, body) = get(port, path)?;
    (status == 200).then(|| serde_json::from_str(&body).unwrap())
}

fn listed(port: u16) -> u64 {
    ask(port, "/api/decisions?limit=1").map_or(0, |answer| answer["last"].as_u64().unwrap())
}

/// Everything that the page lists, by instrument and day.
fn list(port: u16) -> BTreeMap<(String, String), Value> {
    let mut found = BTreeMap::new();
    let mut before = String::new();
    loop {
        let answer = ask(port, &format!("/api/decisions?limit=5000{before}")).unwrap();
        let rows = answer["rows"].as_array().unwrap();
        for row in rows {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            let twice = found.insert((text("symbol"), text("date")), row.clone());
            assert!(twice.is_none(), "{row} is listed twice");
        }
        let Some(last) = rows.last().filter(|_| answer["more"] == true) else {
            return found;
        };
        before = format!("&before={}", last["n"]);
    }
}

/// Asserts that the page lists what the journal holds, number for number.
fn assert_lists_the_journal(port: u16, stand: &Stand) {
    let listed = list(port);
    let text = String::from_utf8(stand.journal_bytes("journal")).unwrap();
    let mut compared = 0;
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let (Some(symbol), Some(date)) = (record["symbol"].as_str(), record["date"].as_str())
        else {
            continue;
        };
        let row = &listed[&(symbol.to_owned(), date.to_owned())];
        for key in [
            "close",
            "side",
            "confidence",
            "reason",
            "stance",
            "predicted_return",
            "probabilities",
        ] {
            assert_eq!(row[key], record[key], "{key} of {symbol} {date}");
        }
        compared += 1;
    }
    assert_eq!((compared, listed.len() as u64), (DECISIONS, DECISIONS));
}

#[test]
fn a_page_lists_what_was_decided_and_follows_a_decision_through_every_stage() {
    let (stand, port) = with_page(Stand::dual_board(), "gateway");
    let fleet = stand.start(&[]);
    wait_until("every decision came back to the gateway", || {
        listed(port) == DECISIONS
    });
    wait_until("the journal is closed", || {
        stand.journal_lines("journal") as u64 == DECISIONS + 3
    });
    assert_lists_the_journal(port, &stand);

    let shown = ask(port, "/api/decisions/4000").unwrap();
    let (symbol, day) = (
        shown["decision"]["symbol"].as_str().unwrap(),
        &shown["decision"]["date"],
    );
    assert_eq!(shown["bar"]["close"], shown["decision"]["close"]);
    assert_eq!(shown["features"].as_array().unwrap().len(), 12);
    let stages: Vec<&str> = shown["timings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|time| time["stage"].as_str().unwrap())
        .collect();
    assert_eq!(
        stages,
        [
            "market",
            "cleaner",
            "indicators",
            "features",
            "ring",
            "engine",
            "signal",
            "journal"
        ]
    );
    let times: Vec<f64> = shown["timings"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|time| {
            [
                time["enter_us"].as_f64().unwrap(),
                time["leave_us"].as_f64().unwrap(),
            ]
        })
        .collect();
    assert!(
        times[0] >= 0.0 && times[..10].is_sorted(),
        "within a node time only grows: {times:?}"
    );

    // The features are the ones that the model was fed: the day's return is the bar's.
    let bars = ask(port, &format!("/api/bars?symbol={symbol}&limit=5000")).unwrap();
    let at = bars["date"]
        .as_array()
        .unwrap()
        .iter()
        .position(|date| date == day)
        .unwrap();
    let fed = shown["features"][0]["value"].as_f64().unwrap();
    assert_eq!(shown["features"][0]["name"], "return_1");
    let expected =
        bars["close"][at].as_f64().unwrap() / bars["reference"][at].as_f64().unwrap() - 1.0;
    assert!((fed - expected).abs() < 1e-12, "{fed} and {expected}");

    let live = ask(port, "/api/live").unwrap();
    assert_eq!(live["nodes"][0]["condition"], "ended");
    assert_eq!(
        ask(port, "/api/topology").unwrap()["stages"]
            .as_array()
            .unwrap()
            .len(),
        9
    );
    fleet.signal("TERM");
    let ended = fleet.finish();
    ended.clean();
    assert!(
        ended
            .log
            .contains(&format!("dashboard on http://127.0.0.1:{port}")),
        "{}",
        ended.log
    );
}

#[test]
fn a_page_knows_how_the_other_node_is_and_says_when_it_is_gone() {
    let (stand, port) = with_page(Stand::dual_board(), "gateway");
    let stand = stand
        .set("stages.engine.params.simulate_latency_us=2000")
        .set("stages.engine.batch.max=1");
    let gateway = stand.start(&["--node", "gateway"]);
    let other = |port| ask(port, "/api/live").map(|live| live["nodes"][1].clone());
    wait_until("the other node is missed", || {
        other(port)
            .is_some_and(|node| node["condition"] == "unreachable" && node["detail"].is_string())
    });
    let compute = stand.start(&["--node", "compute"]);
    wait_until("the other node's stages work", || {
        other(port).is_some_and(|node| {
            node["condition"] == "running"
                && node["stages"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|stage| stage["stage"] == "engine" && stage["frames"].as_u64() > Some(0))
        })
    });
    compute.kill();
    wait_until("the other node is missed again", || {
        other(port).is_some_and(|node| {
            node["condition"] == "unreachable" && !node["stages"].as_array().unwrap().is_empty()
        })
    });
    gateway.kill();
}

/// Names and scheduling policies of a process's threads: 0 is the normal one, 5 `SCHED_IDLE`; `proc_pid_stat(5)`, field 41.
fn policies(pid: u32) -> Vec<(String, u32)> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let stats = threads
        .filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")).ok());
    stats
        .map(|stat| {
            let (before, after) = stat.rsplit_once(')').unwrap();
            let name = before.split_once('(').unwrap().1.to_owned();
            (
                name,
                after.split_whitespace().nth(38).unwrap().parse().unwrap(),
            )
        })
        .collect()
}

#[test]
fn a_run_that_was_killed_and_started_again_is_listed_without_a_gap() {
    let (stand, port) = with_page(single_host(), "host");
    let slow = [
        "stages.engine.params.simulate_latency_us=2000",
        "stages.engine.batch.max=1",
    ];
    let killed = stand.start(&["--node", "host", "--set", slow[0], "--set", slow[1]]);
    wait_until("some decisions are listed", || listed(port) > 300);
    let policies = policies(killed.pid());
    assert!(
        policies.iter().any(|(_, policy)| *policy == 5),
        "the page goes last: {policies:?}"
    );
    assert!(
        policies.contains(&("pipeline".to_owned(), 0)),
        "the stages do not: {policies:?}"
    );
    killed.kill();
    assert!((stand.journal_lines("journal") as u64) < DECISIONS);
    let again = stand.start(&["--node", "host"]);
    wait_until("every decision is listed", || listed(port) == DECISIONS);
    wait_until("the journal is closed", || {
        stand.journal_lines("journal") as u64 == DECISIONS + 3
    });
    assert_lists_the_journal(port, &stand);
    again.signal("TERM");
    again.finish().clean();
}

#[test]
fn a_port_that_is_taken_costs_the_page_and_not_the_run() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().port();
    let stand = single_host()
        .set(&format!(
            "nodes.host.dashboard.address=\"127.0.0.1:{taken}\""
        ))
        .set("nodes.host.dashboard.stay=true");
    let ended = stand.run(&["--node", "host"]);
    ended.clean();
    assert!(ended.log.contains("no dashboard"), "{}", ended.log);
}
