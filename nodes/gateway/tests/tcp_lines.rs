//! Lines from real sockets become bars; garbage, floods and clients that leave are counted and do no harm.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heqis_actors::{BuildContext, Next, Source};
use heqis_gateway::source::TcpLines;
use heqis_messages::BarMessage;
use heqis_quant::Bar;
use serde_json::{Value, json};
use support::{config, context, count, wait_for};

fn listen(cx: &BuildContext, params: Value) -> TcpLines {
    let mut all = json!({ "listen": "127.0.0.1:0", "format": "json" });
    all.as_object_mut()
        .unwrap()
        .extend(params.as_object().unwrap().clone());
    TcpLines::build(&config(all), cx).unwrap()
}

fn connect(source: &TcpLines) -> TcpStream {
    TcpStream::connect(source.address()).unwrap()
}

fn line(symbol: &str, close: f64) -> String {
    format!(
        "{{\"symbol\":\"{symbol}\",\"date\":\"2015-06-01\",\"open\":{close},\"high\":{close},\"low\":{close},\
         \"close\":{close},\"volume\":100}}\n"
    )
}

/// The bar that is there now, if one is.
fn ready(source: &mut TcpLines) -> Option<Bar> {
    match source.next().unwrap() {
        Next::Item(BarMessage(bar)) => Some(bar),
        Next::Waiting => None,
        other => panic!("{other:?}"),
    }
}

fn bar(source: &mut TcpLines) -> Bar {
    wait_for("a bar comes", || ready(source))
}

/// Whether the other side has closed the connection.
fn is_closed(mut client: &TcpStream) -> bool {
    match client.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn json_lines_carry_every_field_of_a_bar() {
    let cx = context("");
    let mut source = listen(&cx, json!({}));
    let mut client = connect(&source);
    let full = "{\"symbol\":\"600000.SH\",\"date\":\"20150601\",\"open\":10.1,\"high\":10.9,\"low\":10.0,\"close\":10.7,\
                \"volume\":123400,\"pre_close\":10.2,\"amount\":1300000.5,\"time_ns\":1433141999000000000}\n\n";
    client.write_all(full.as_bytes()).unwrap();
    client.write_all(line("600001.SH", 3.0).as_bytes()).unwrap();
    let got = bar(&mut source);
    assert_eq!(
        (got.symbol.as_str(), got.date.to_string().as_str()),
        ("600000.SH", "2015-06-01")
    );
    assert_eq!(
        [got.open, got.high, got.low, got.close, got.volume_shares],
        [10.1, 10.9, 10.0, 10.7, 123_400.0]
    );
    assert_eq!(
        (got.pre_close, got.amount_cny),
        (Some(10.2), Some(1_300_000.5))
    );
    assert_eq!(got.time_ns, 1_433_141_999_000_000_000);
    let got = bar(&mut source);
    assert_eq!((got.pre_close, got.amount_cny), (None, None));
    assert_eq!(
        got.time_ns,
        got.date.close_time_ns(),
        "without a time it is the close of its day"
    );
    assert_eq!(count(&cx, "bad_line"), 0, "an empty line is nothing");
}

#[test]
fn a_client_that_sends_garbage_is_kept_and_each_line_is_counted_by_reason() {
    let cx = context("");
    let mut source = listen(&cx, json!({}));
    let mut client = connect(&source);
    let mut bytes =
        b"this is no object\n{\"symbol\":\"600000.SH\"}\n\xff\xfe\x00\n{\"symbol\":\n".to_vec();
    bytes.extend(line("no symbol", 1.0).bytes());
    bytes.extend(line("600000.SH", 1.0).replace("volume", "volumes").bytes());
    bytes.extend(line("600000.SH", 7.0).bytes());
    client.write_all(&bytes).unwrap();
    assert_eq!(bar(&mut source).close, 7.0);
    assert_eq!(count(&cx, "bad_line"), 6);
    assert_eq!(
        (count(&cx, "bad_line_syntax"), count(&cx, "bad_line_value")),
        (3, 3)
    );
}

#[test]
fn a_csv_line_is_given_before_the_next_one_comes() {
    let cx = context("");
    let mut source = listen(&cx, json!({ "format": "csv" }));
    let mut client = connect(&source);
    client
        .write_all(b"symbol,date,open,high,low,close,volume\n")
        .unwrap();
    for close in 1..4 {
        client
            .write_all(
                format!("600000.SH,2015-06-01,{close},{close},{close},{close},100\n").as_bytes(),
            )
            .unwrap();
        assert_eq!(bar(&mut source).close, f64::from(close));
    }
    client
        .write_all(b"600000.SH,2015-06-01,1,1,1\n600000.SH,2015-06-01,1,1,1,x,100\n")
        .unwrap();
    client
        .write_all(b"600000.SH,2015-06-01,9,9,9,9,100\n")
        .unwrap();
    assert_eq!(bar(&mut source).close, 9.0);
    assert_eq!(
        (count(&cx, "bad_line_syntax"), count(&cx, "bad_line_value")),
        (1, 1)
    );
}

#[test]
fn a_csv_client_whose_header_says_nothing_is_let_go() {
    let cx = context("");
    let source = listen(&cx, json!({ "format": "csv" }));
    let mut client = connect(&source);
    client
        .write_all(b"600000.SH,2015-06-01,1,1,1,1,100\n")
        .unwrap();
    assert!(is_closed(&client));
    assert_eq!(
        (count(&cx, "bad_line"), count(&cx, "bad_line_syntax")),
        (1, 1)
    );
    // Without a symbol column the instrument is unknown.
    let mut client = connect(&source);
    client
        .write_all(b"date,open,high,low,close,volume\n")
        .unwrap();
    assert!(is_closed(&client));
    assert_eq!(count(&cx, "bad_line"), 2);
}

#[test]
fn half_a_line_is_no_bar_although_it_could_be_read_as_one() {
    let cx = context("");
    let mut source = listen(&cx, json!({ "format": "csv", "end_on_close": true }));
    let mut client = connect(&source);
    client
        .write_all(b"symbol,date,open,high,low,close,volume\n600000.SH,2015-06-01,1,1,1,1,100\n")
        .unwrap();
    // The volume was to be 25000.
    client
        .write_all(b"600000.SH,2015-06-02,1,1,1,1,25")
        .unwrap();
    drop(client);
    assert_eq!(bar(&mut source).date.to_string(), "2015-06-01");
    wait_for("the source ends", || {
        matches!(source.next().unwrap(), Next::End).then_some(())
    });
    assert_eq!(
        (count(&cx, "bad_line"), count(&cx, "bad_line_torn")),
        (1, 1)
    );
}

#[test]
fn a_line_that_is_too_long_ends_its_client_after_the_lines_before_it() {
    let cx = context("");
    let mut source = listen(&cx, json!({ "max_line_bytes": 200 }));
    let mut client = connect(&source);
    let mut other = connect(&source);
    let mut bytes = line("600000.SH", 1.0).into_bytes();
    bytes.extend(line("600000.SH", 2.0).bytes());
    bytes.extend([b'x'; 201]);
    client.write_all(&bytes).unwrap();
    assert_eq!([bar(&mut source).close, bar(&mut source).close], [1.0, 2.0]);
    assert!(is_closed(&client));
    assert_eq!((count(&cx, "long_line"), count(&cx, "bad_line")), (1, 0));
    other.write_all(line("600000.SH", 3.0).as_bytes()).unwrap();
    assert_eq!(bar(&mut source).close, 3.0, "other clients do not notice");
}

#[test]
fn clients_above_the_limit_are_refused_until_one_leaves() {
    let cx = context("");
    let mut source = listen(&cx, json!({ "max_clients": 2 }));
    let mut clients = [connect(&source), connect(&source)];
    for client in &mut clients {
        client.write_all(line("600000.SH", 1.0).as_bytes()).unwrap();
        bar(&mut source);
    }
    assert!(is_closed(&connect(&source)));
    assert_eq!((count(&cx, "client"), count(&cx, "refused_client")), (2, 1));
    let [first, mut second] = clients;
    drop(first);
    let _third = wait_for("there is room again", || {
        let mut client = connect(&source);
        // Writing to a client that was refused may fail or not.
        client.write_all(line("600000.SH", 2.0).as_bytes()).ok()?;
        client.set_nonblocking(true).unwrap();
        wait_for("the client is taken or refused", || {
            match client.read(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready(&mut source).map(|_| true)
                }
                _ => Some(false),
            }
        })
        .then_some(client)
    });
    assert_eq!(count(&cx, "client"), 3);
    second.write_all(line("600000.SH", 3.0).as_bytes()).unwrap();
    assert_eq!(bar(&mut source).close, 3.0);
}

#[test]
fn symbols_above_the_limit_are_refused_and_counted_and_the_known_ones_go_on() {
    let cx = context("");
    let mut source = listen(&cx, json!({ "max_symbols": 2 }));
    let mut client = connect(&source);
    for (symbol, price) in [
        ("600000.SH", 1.0),
        ("600001.SH", 2.0),
        ("600002.SH", 3.0),
        ("600000.SH", 4.0),
    ] {
        client.write_all(line(symbol, price).as_bytes()).unwrap();
    }
    let closes = [
        bar(&mut source).close,
        bar(&mut source).close,
        bar(&mut source).close,
    ];
    assert_eq!(closes, [1.0, 2.0, 4.0]);
    assert_eq!(count(&cx, "refused_symbol"), 1);
}

#[test]
fn a_pipeline_that_takes_nothing_makes_the_client_wait_and_loses_nothing() {
    const LINES: usize = 8_000;
    let cx = context("");
    let mut source = listen(&cx, json!({}));
    let mut client = connect(&source);
    let blocked = Arc::new(AtomicBool::new(false));
    // 30 MB, more than the sockets on both sides hold.
    let writer = std::thread::spawn({
        let blocked = blocked.clone();
        move || {
            client
                .set_write_timeout(Some(Duration::from_millis(200)))
                .unwrap();
            for number in 1..=LINES {
                let line = line("600000.SH", number as f64);
                let padded = format!("{:>4000}", line);
                let mut rest = padded.as_bytes();
                while !rest.is_empty() {
                    match client.write(rest) {
                        Ok(count) => rest = &rest[count..],
                        Err(error)
                            if matches!(
                                error.kind(),
                                ErrorKind::WouldBlock | ErrorKind::TimedOut
                            ) =>
                        {
                            blocked.store(true, Ordering::Release);
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
    });
    wait_for("the client has to wait", || {
        blocked.load(Ordering::Acquire).then_some(())
    });
    for number in 1..=LINES {
        assert_eq!(bar(&mut source).close, number as f64);
    }
    writer.join().unwrap();
    assert_eq!(count(&cx, "bad_line"), 0);
}

#[test]
fn lines_of_one_client_keep_their_order_among_those_of_others() {
    let cx = context("");
    let mut source = listen(&cx, json!({ "end_on_close": true }));
    let symbols = ["600000.SH", "600001.SH", "600002.SH"];
    let clients = symbols.map(|symbol| (symbol, connect(&source)));
    // All are here before the first leaves; otherwise the source would be right to end.
    wait_for("all clients are here", || {
        (count(&cx, "client") == 3).then_some(())
    });
    let writers = clients.map(|(symbol, mut client)| {
        std::thread::spawn(move || {
            for number in 1..=500 {
                client
                    .write_all(line(symbol, f64::from(number)).as_bytes())
                    .unwrap();
            }
        })
    });
    let mut seen = [0.0; 3];
    let mut total = 0;
    wait_for("the source ends", || match source.next().unwrap() {
        Next::Item(BarMessage(bar)) => {
            let client = symbols
                .iter()
                .position(|symbol| *symbol == bar.symbol.as_str())
                .unwrap();
            seen[client] += 1.0;
            assert_eq!(bar.close, seen[client]);
            total += 1;
            None
        }
        Next::End => Some(()),
        _ => None,
    });
    assert_eq!(total, 1_500);
    for writer in writers {
        writer.join().unwrap();
    }
}

#[test]
fn without_end_on_close_the_source_waits_for_the_next_client() {
    let cx = context("");
    let mut source = listen(&cx, json!({}));
    for close in [1.0, 2.0, 3.0] {
        let mut client = connect(&source);
        client
            .write_all(line("600000.SH", close).as_bytes())
            .unwrap();
        drop(client);
        assert_eq!(bar(&mut source).close, close);
    }
    assert_eq!(count(&cx, "client"), 3);
}

#[test]
fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = TcpLines::build(
        &config(json!({ "listen": address, "format": "json" })),
        &context(""),
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("listen on {address}: ")),
        "{error}"
    );
}

#[test]
fn limits_that_are_too_low_or_too_high_are_refused_by_check_and_by_build() {
    for (max_clients, max_line_bytes) in [(0, 63), (257, 1_048_577)] {
        let params = json!({
            "listen": "127.0.0.1:0", "format": "json",
            "max_clients": max_clients, "max_line_bytes": max_line_bytes,
        });
        let faults = TcpLines::check(&config(params.clone()), std::path::Path::new(""));
        assert_eq!(
            faults,
            [
                format!("max_clients is {max_clients}, it must lie in 1..=256"),
                format!("max_line_bytes is {max_line_bytes}, it must lie in 64..=1048576"),
            ]
        );
        let error = TcpLines::build(&config(params), &context("")).unwrap_err();
        assert_eq!(error.to_string(), faults.join("; "));
    }
}

/// Writes until the other side refuses it; fails when that does not come soon.
fn is_refused(mut client: &TcpStream) -> bool {
    client
        .set_write_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    loop {
        match client.write_all(&[b'x'; 65_536]) {
            Ok(()) => {}
            Err(error) => {
                return matches!(
                    error.kind(),
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                );
            }
        }
    }
}

#[test]
fn a_client_that_is_cut_off_cannot_send_on() {
    let cx = context("");
    let source = listen(&cx, json!({ "max_line_bytes": 200 }));
    // It never looks whether there is anything to read; its own sending has to fail.
    assert!(is_refused(&connect(&source)));
    assert_eq!(count(&cx, "long_line"), 1);
    let source = listen(&cx, json!({ "format": "csv", "max_line_bytes": 1_000_000 }));
    let mut client = connect(&source);
    client.write_all(b"this,header,says,nothing\n").unwrap();
    assert!(is_refused(&client));
    assert_eq!(count(&cx, "bad_line"), 1);
}

#[test]
fn clients_that_never_send_a_bar_are_closed_and_keep_no_feed_out() {
    let cx = context("");
    let params = json!({ "max_clients": 4, "idle_timeout": "300ms" });
    let mut source = listen(&cx, params);
    let mut idle: Vec<TcpStream> = (0..4).map(|_| connect(&source)).collect();
    // A byte now and then is no bar, and neither is garbage.
    idle[0].write_all(b"{").unwrap();
    idle[1].write_all(b"garbage\n").unwrap();
    wait_for("all are here", || (count(&cx, "client") == 4).then_some(()));
    for client in &idle {
        assert!(is_closed(client));
    }
    assert_eq!(
        (count(&cx, "idle_client"), count(&cx, "bad_line_torn")),
        (4, 0)
    );
    let mut feed = connect(&source);
    feed.write_all(line("600000.SH", 1.0).as_bytes()).unwrap();
    assert_eq!(bar(&mut source).close, 1.0);
    assert_eq!(count(&cx, "refused_client"), 0);
    // One that has sent a bar may be silent as long as there is room.
    std::thread::sleep(Duration::from_millis(700));
    feed.write_all(line("600000.SH", 2.0).as_bytes()).unwrap();
    assert_eq!(bar(&mut source).close, 2.0);
}

#[test]
fn the_client_that_has_been_silent_longest_makes_room_for_another() {
    let cx = context("");
    let params = json!({ "max_clients": 2, "idle_timeout": "300ms" });
    let mut source = listen(&cx, params);
    let mut first = connect(&source);
    first.write_all(line("600000.SH", 1.0).as_bytes()).unwrap();
    bar(&mut source);
    let mut second = connect(&source);
    second.write_all(line("600000.SH", 2.0).as_bytes()).unwrap();
    bar(&mut source);
    assert!(is_closed(&connect(&source)), "both have just sent a bar");
    assert_eq!(count(&cx, "refused_client"), 1);
    std::thread::sleep(Duration::from_millis(400));
    second.write_all(line("600000.SH", 3.0).as_bytes()).unwrap();
    bar(&mut source);
    let mut third = connect(&source);
    third.write_all(line("600000.SH", 4.0).as_bytes()).unwrap();
    assert_eq!(bar(&mut source).close, 4.0);
    assert!(is_closed(&first));
    wait_for("the first is counted", || {
        (count(&cx, "idle_client") == 1).then_some(())
    });
    second.write_all(line("600000.SH", 5.0).as_bytes()).unwrap();
    assert_eq!(bar(&mut source).close, 5.0);
    assert_eq!(count(&cx, "refused_client"), 1);
}

#[test]
fn an_address_that_no_interface_has_yet_is_waited_for() {
    let cx = context("");
    // Reserved for documentation: no machine has it.
    let mut source = listen(&cx, json!({ "listen": "192.0.2.1:5700", "insecure": true }));
    assert!(matches!(source.next().unwrap(), Next::Waiting));
    let note = cx.counters().notes()["listen"].clone();
    assert!(note.starts_with("waiting for 192.0.2.1:5700: "), "{note}");
    let start = std::time::Instant::now();
    drop(source);
    assert!(start.elapsed() < Duration::from_millis(900));
    let source = listen(&cx, json!({}));
    assert_eq!(
        cx.counters().notes()["listen"],
        source.address().to_string()
    );
}
