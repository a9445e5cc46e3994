//! A serial line as a pair of pseudo-terminals: noise, pieces, a line that goes away and comes back.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::cell::RefCell;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use heqis_actors::{BuildContext, Next, Source};
use heqis_gateway::source::{Serial, encode_frame};
use heqis_messages::BarMessage;
use heqis_quant::Bar;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use support::{config, context, count, wait_for};

/// The other end of the line: what is written to it comes out of the terminal.
struct Sender {
    master: File,
    terminal: PathBuf,
}

impl Sender {
    fn new() -> Self {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        Self {
            terminal: Path::new(std::ffi::OsStr::from_bytes(name.as_bytes())).to_owned(),
            master: master.into(),
        }
    }

    /// A sender whose terminal is reached at `link`, as udev names an adapter by its number.
    fn at(link: &Path) -> Self {
        let sender = Self::new();
        let _ = std::fs::remove_file(link);
        std::os::unix::fs::symlink(&sender.terminal, link).unwrap();
        sender
    }

    fn send(&mut self, bytes: &[u8]) {
        self.master.write_all(bytes).unwrap();
    }
}

fn open(cx: &BuildContext, path: &Path, params: Value) -> Serial {
    let mut all = json!({ "path": path });
    all.as_object_mut()
        .unwrap()
        .extend(params.as_object().unwrap().clone());
    Serial::build(&config(all), cx).unwrap()
}

/// A source with an open line.
fn connected(cx: &BuildContext, sender: &Sender) -> Serial {
    let source = open(cx, &sender.terminal, json!({}));
    // What was sent before the line is open is lost on a real one too.
    wait_for("the line is open", || {
        (count(cx, "connect") == 1).then_some(())
    });
    source
}

fn body(symbol: &str, close: f64) -> String {
    format!(
        "{{\"symbol\":\"{symbol}\",\"date\":\"2015-06-01\",\"open\":{close},\"high\":{close},\"low\":{close},\
         \"close\":{close},\"volume\":100}}"
    )
}

fn frame(symbol: &str, close: f64) -> Vec<u8> {
    encode_frame(body(symbol, close).as_bytes())
}

fn ready(source: &mut Serial) -> Option<Bar> {
    match source.next().unwrap() {
        Next::Item(BarMessage(bar)) => Some(bar),
        Next::Waiting => None,
        other => panic!("{other:?}"),
    }
}

fn bar(source: &mut Serial) -> Bar {
    wait_for("a bar comes", || ready(source))
}

#[test]
fn bars_come_through_in_pieces_of_any_size() {
    let cx = context("");
    let mut sender = Sender::new();
    let mut source = connected(&cx, &sender);
    for byte in frame("600000.SH", 10.5) {
        sender.send(&[byte]);
    }
    let got = bar(&mut source);
    assert_eq!((got.symbol.as_str(), got.close), ("600000.SH", 10.5));
    let many: Vec<u8> = (1..=200)
        .flat_map(|n| frame("600001.SH", f64::from(n)))
        .collect();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(&many));
        for n in 1..=200 {
            assert_eq!(bar(&mut source).close, f64::from(n));
        }
    });
    assert_eq!(count(&cx, "bad_frame"), 0);
}

#[test]
fn the_line_is_raw_whatever_bytes_a_terminal_would_take_for_itself() {
    let cx = context("");
    let mut sender = Sender::new();
    let mut source = connected(&cx, &sender);
    // Interrupt, end of file, suspend, carriage return, flow control, erase, and bytes above 7 bits.
    sender.send(&[3, 4, 26, 13, 17, 19, 127, 0xFF, 0]);
    sender.send(&frame("600000.SH", 1.0));
    assert_eq!(bar(&mut source).close, 1.0);
    assert_eq!(count(&cx, "bad_frame"), 1);
}

#[test]
fn what_is_no_frame_or_no_bar_is_counted_by_reason_and_costs_no_other() {
    let cx = context("");
    let mut sender = Sender::new();
    let mut source = connected(&cx, &sender);
    let mut flipped = frame("600000.SH", 2.0);
    flipped[20] ^= 0x10;
    sender.send(&flipped);
    sender.send(&[9, 1, 0]);
    sender.send(&[0, 0, 0]);
    sender.send(&encode_frame(b"{\"symbol\":"));
    sender.send(&encode_frame(b"{\"symbol\":\"600000.SH\"}"));
    sender.send(&frame("600000.SH", 3.0));
    assert_eq!(bar(&mut source).close, 3.0);
    for (event, expected) in [
        ("bad_frame", 2),
        ("bad_frame_crc", 1),
        ("bad_frame_cobs", 1),
        ("bad_frame_long", 0),
        ("bad_bar", 2),
        ("bad_bar_syntax", 1),
        ("bad_bar_value", 1),
    ] {
        assert_eq!(count(&cx, event), expected, "{event}");
    }
}

#[test]
fn a_frame_above_the_limit_is_passed_over() {
    let cx = context("");
    let mut sender = Sender::new();
    let mut source = open(&cx, &sender.terminal, json!({ "max_frame_bytes": 200 }));
    wait_for("the line is open", || {
        (count(&cx, "connect") == 1).then_some(())
    });
    sender.send(&encode_frame(&[b'x'; 2_000]));
    sender.send(&frame("600000.SH", 4.0));
    assert_eq!(bar(&mut source).close, 4.0);
    assert_eq!(count(&cx, "bad_frame_long"), 1);
}

#[test]
fn whatever_noise_there_is_every_whole_frame_behind_a_zero_comes_through() {
    let cx = context("");
    let sender = Sender::new();
    let source = connected(&cx, &sender);
    // The runner calls a shared function.
    let line = RefCell::new((sender, source, 0u32));
    let cases = Config {
        cases: 64,
        failure_persistence: None,
        ..Config::default()
    };
    let noises = prop::collection::vec(any::<u8>(), 0..300);
    TestRunner::new(cases)
        .run(&noises, |noise| {
            let (sender, source, sent) = &mut *line.borrow_mut();
            *sent += 1;
            let close = f64::from(*sent);
            sender.send(&noise);
            sender.send(&[0]);
            sender.send(&frame("600000.SH", close));
            // Noise that is by chance a frame with a fitting checksum and a bar would come first.
            prop_assert_eq!(bar(source).close, close);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_line_that_goes_away_is_opened_again_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("by-id");
    let cx = context("");
    // Nothing is there yet.
    let mut source = open(&cx, &link, json!({}));
    for round in 1..=3u32 {
        let mut sender = Sender::at(&link);
        wait_for("the line is open", || {
            (count(&cx, "connect") == u64::from(round)).then_some(())
        });
        sender.send(&frame("600000.SH", f64::from(round)));
        assert_eq!(bar(&mut source).close, f64::from(round));
        // Pulled out in the middle of a frame: its beginning must not be joined to the next frame.
        sender.send(&frame("600000.SH", 99.0)[..30]);
        drop(sender);
        wait_for("the loss is noticed", || {
            (count(&cx, "disconnect") == u64::from(round)).then_some(())
        });
    }
    assert!(ready(&mut source).is_none());
    assert_eq!(count(&cx, "bad_bar"), 0);
}

#[test]
fn dropping_the_source_ends_its_thread_on_an_open_a_full_and_an_absent_line() {
    let cx = context("");
    let mut sender = Sender::new();
    let source = connected(&cx, &sender);
    // More bars than the channel holds: the thread waits for room.
    let many: Vec<u8> = (0..40).flat_map(|_| frame("600000.SH", 1.0)).collect();
    for _ in 0..10 {
        // Without a reader, the terminal's buffer fills up.
        rustix::fs::fcntl_setfl(&sender.master, rustix::fs::OFlags::NONBLOCK).unwrap();
        let _ = sender.master.write(&many);
    }
    drop(source);
    drop(open(&context(""), Path::new("/nowhere/tty"), json!({})));
}

#[test]
fn parameters_out_of_range_are_refused() {
    let faults = |params: Value| {
        let mut all = json!({ "path": "/dev/ttyS3" });
        all.as_object_mut()
            .unwrap()
            .extend(params.as_object().unwrap().clone());
        Serial::check(&config(all), Path::new(""))
    };
    assert!(faults(json!({ "baud": 9600, "parity": "even", "flow": "rts-cts" })).is_empty());
    for (params, name) in [
        (json!({ "baud": 0 }), "baud"),
        (json!({ "max_frame_bytes": 3 }), "max_frame_bytes"),
        (json!({ "max_symbols": 0 }), "max_symbols"),
    ] {
        let faults = faults(params);
        assert!(
            faults.len() == 1 && faults[0].starts_with(name),
            "{faults:?}"
        );
    }
}
