//! Dropping a `tcp-lines` source leaves no thread and no connection behind. A test alone in its process, so that it can
//! count threads.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use heqis_actors::Source;
use heqis_gateway::source::TcpLines;
use serde_json::json;
use support::{config, context, count, wait_for};

fn threads() -> usize {
    let names = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| {
            // A thread that ends meanwhile has no name any more.
            std::fs::read_to_string(task.unwrap().path().join("comm")).ok()
        });
    names.filter(|name| name.starts_with("tcp-lines")).count()
}

#[test]
fn idle_and_waiting_clients_are_let_go_and_their_threads_end() {
    let cx = context("");
    let params = json!({ "listen": "127.0.0.1:0", "format": "json" });
    let source = TcpLines::build(&config(params), &cx).unwrap();
    let address = source.address();
    let mut idle = TcpStream::connect(address).unwrap();
    let mut torn = TcpStream::connect(address).unwrap();
    torn.write_all(b"{\"symbol\":").unwrap();
    let mut full = TcpStream::connect(address).unwrap();
    wait_for("all clients are here", || {
        (count(&cx, "client") == 3).then_some(())
    });
    let line = "{\"symbol\":\"600000.SH\",\"date\":\"2015-06-01\",\"open\":1,\"high\":1,\"low\":1,\"close\":1,\"volume\":1}\n";
    // More than the channel holds: the reading thread waits for room.
    full.write_all(line.repeat(2_000).as_bytes()).unwrap();
    wait_for("one thread accepts and three read", || {
        (threads() == 4).then_some(())
    });
    drop(source);
    // A joined thread may be listed for a moment longer.
    wait_for("no thread is left", || (threads() == 0).then_some(()));
    assert_eq!(
        count(&cx, "bad_line"),
        0,
        "lines cut off by the stop of the node are not faults"
    );
    for client in [&mut idle, &mut torn, &mut full] {
        // The end, or a reset when something was left unread.
        assert!(client.read(&mut [0]).map_or(true, |count| count == 0));
    }
    assert!(
        TcpListener::bind(address).is_ok(),
        "the address is free again"
    );
}
