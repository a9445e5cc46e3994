//! The books of `tcp-lines` close: every line that a client sends is a bar, a bad line or blank, whatever it holds and
//! however it arrives.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::Write as _;
use std::net::TcpStream;

use heqis_actors::{Next, Source};
use heqis_gateway::source::TcpLines;
use heqis_messages::BarMessage;
use proptest::prelude::*;
use serde_json::json;
use support::{config, context, count, wait_for};

/// A line, and what it must be taken for.
#[derive(Clone, Debug)]
enum Line {
    Bar(u32),
    Bad(Vec<u8>),
    Blank,
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    // Half an object, a bar of another day, a number where a name should be, bytes that are no text.
    let whole = r#"{"symbol":"600000.SH","date":"2015-06-01","open":1,"high":1,"low":1,"close":1,"volume":1}"#;
    let cut = (1..whole.len()).prop_map(move |length| whole.as_bytes()[..length].to_vec());
    let wrong = prop::sample::select(vec![
        whole.replace("2015-06-01", "2015-06-31"),
        whole.replace("\"600000.SH\"", "600000"),
        whole.replace("\"open\":1", "\"open\":\"one\""),
        whole.replace("\"open\":1", "\"open\":NaN"),
        whole.replace("\"open\":1", "\"open\":1e999"),
        // The time in milliseconds, in another year, at the ends of the number.
        whole.replace("\"open\"", "\"time_ns\":1433141999000,\"open\""),
        whole.replace("\"open\"", "\"time_ns\":1465000000000000000,\"open\""),
        whole.replace("\"open\"", "\"time_ns\":9223372036854775807,\"open\""),
        whole.replace("\"open\"", "\"time_ns\":-9223372036854775808,\"open\""),
        format!("{whole}{whole}"),
        format!("[{whole}]"),
    ])
    .prop_map(String::into_bytes);
    let noise = prop::collection::vec(any::<u8>(), 1..200).prop_filter("a bad line", |bytes| {
        !bytes.contains(&b'\n') && !bytes.trim_ascii().is_empty()
    });
    let line = prop_oneof![
        4 => (1u32..1_000_000).prop_map(Line::Bar),
        1 => cut.prop_map(Line::Bad),
        1 => wrong.prop_map(Line::Bad),
        1 => noise.prop_map(Line::Bad),
        1 => Just(Line::Blank),
    ];
    prop::collection::vec(line, 0..40)
}

fn bytes(lines: &[Line]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        match line {
            Line::Bar(cents) => bytes.extend(
                format!(
                    r#"{{"symbol":"600000.SH","date":"2015-06-01","open":1,"high":1,"low":1,"close":{},"volume":1}}"#,
                    f64::from(*cents) / 100.0
                )
                .bytes(),
            ),
            Line::Bad(line) => bytes.extend(line),
            Line::Blank => bytes.extend(b" \r"),
        }
        bytes.push(b'\n');
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_line_is_a_bar_a_bad_line_or_blank(
        lines in lines(),
        piece in 1usize..300,
        torn in prop::sample::select(vec![&b""[..], b"{", b"{\"symbol\":\"600000.SH\""]),
    ) {
        let cx = context("");
        let params = json!({ "listen": "127.0.0.1:0", "format": "json", "end_on_close": true });
        let mut source = TcpLines::build(&config(params), &cx).unwrap();
        let mut client = TcpStream::connect(source.address()).unwrap();
        client.set_nodelay(true).unwrap();
        let mut sent = bytes(&lines);
        sent.extend(torn);
        for piece in sent.chunks(piece) {
            client.write_all(piece).unwrap();
        }
        drop(client);
        let mut got = Vec::new();
        wait_for("the source ends", || match source.next().unwrap() {
            Next::Item(BarMessage(bar)) => {
                got.push((bar.close * 100.0).round() as u32);
                None
            }
            Next::End => Some(()),
            _ => None,
        });
        let expected: Vec<u32> = lines
            .iter()
            .filter_map(|line| match line {
                Line::Bar(cents) => Some(*cents),
                _ => None,
            })
            .collect();
        prop_assert_eq!(got, expected, "in the order in which they were sent");
        let bad = lines.iter().filter(|line| matches!(line, Line::Bad(_))).count() as u64;
        let torn = u64::from(!torn.is_empty());
        prop_assert_eq!(count(&cx, "bad_line"), bad + torn);
        prop_assert_eq!(count(&cx, "bad_line_torn"), torn);
        let by_reason = ["bad_line_syntax", "bad_line_value", "bad_line_torn"];
        prop_assert_eq!(by_reason.map(|reason| count(&cx, reason)).iter().sum::<u64>(), bad + torn);
    }
}
