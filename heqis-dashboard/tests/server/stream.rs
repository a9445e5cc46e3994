//! The event stream.

use heqis_quant::Side;
use serde_json::Value;

use crate::client::Connection;
use crate::fixture::{EPOCH, Served, decision, serve, settings};

const DAY: &str = "2024-01-02";

fn listen(served: &Served, has: Option<&str>) -> Connection {
    let mut connection = Connection::open(served.address);
    let last_event = has
        .map(|id| format!("Last-Event-ID: {id}\r\n"))
        .unwrap_or_default();
    let head = format!(
        "GET /api/stream HTTP/1.1\r\nHost: {}\r\n{last_event}\r\n",
        served.address
    );
    connection.send(head.as_bytes());
    let response = connection.head().unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), "text/event-stream");
    assert_eq!(response.header("content-encoding"), "identity");
    assert_eq!(response.header("cache-control"), "no-store");
    connection
}

/// Reads the next event of this name: its id and data.
fn event(connection: &mut Connection, name: &str) -> (String, Value) {
    let (mut id, mut of) = (String::new(), String::new());
    loop {
        let line = connection.event_line().unwrap();
        match line.split_once(": ") {
            Some(("id", value)) => id = value.to_owned(),
            Some(("event", value)) => of = value.to_owned(),
            Some(("data", value)) if of == name => {
                return (id, serde_json::from_str(value).unwrap());
            }
            Some(("data", _)) => id.clear(),
            _ => {}
        }
    }
}

fn numbers(rows: &Value) -> Vec<u64> {
    rows["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["n"].as_u64().unwrap())
        .collect()
}

#[test]
fn a_new_page_receives_the_last_number_and_then_new_decisions() {
    let served = serve(settings());
    served
        .decisions
        .push(decision(1, "600000.SH", DAY, Side::Buy));
    let mut page = listen(&served, None);
    let (id, state) = event(&mut page, "resync");
    assert_eq!((id.as_str(), state["last"].as_u64()), ("abc-1", Some(1)));
    let (_, live) = event(&mut page, "live");
    assert_eq!(live["nodes"][0]["condition"], "running");
    served
        .decisions
        .push(decision(2, "002032.SZ", DAY, Side::Hold));
    let (id, added) = event(&mut page, "decisions");
    assert_eq!((id.as_str(), numbers(&added)), ("abc-2", vec![2]));
    assert_eq!(added["rows"][0]["symbol"], "002032.SZ");
}

#[test]
fn a_reconnecting_page_receives_exactly_what_it_missed() {
    let served = serve(settings());
    for position in 1..=5 {
        served
            .decisions
            .push(decision(position, "600000.SH", DAY, Side::Hold));
    }
    let mut page = listen(&served, Some("abc-2"));
    assert_eq!(numbers(&event(&mut page, "decisions").1), [3, 4, 5]);
}

#[test]
fn a_page_that_missed_too_much_or_knows_another_process_receives_resync() {
    let served = serve(settings());
    for position in 1..=700 {
        served
            .decisions
            .push(decision(position, "600000.SH", DAY, Side::Hold));
    }
    for stale in [
        "abc-1", "abd-699", "abc-701", "abc", "-", "abc-x", "nonsense",
    ] {
        let (id, state) = event(&mut listen(&served, Some(stale)), "resync");
        assert_eq!(
            (id.as_str(), state["last"].as_u64()),
            ("abc-700", Some(700)),
            "{stale}"
        );
    }
    assert_eq!(EPOCH, 0xabc);
}

#[test]
fn stopping_the_server_ends_its_streams() {
    let mut served = serve(settings());
    let mut page = listen(&served, None);
    event(&mut page, "resync");
    served.stop();
    while page.event_line().is_some() {}
}
