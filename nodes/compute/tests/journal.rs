//! Decisions on disk: the same bytes after any kill, and no damage goes unnoticed.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use heqis_actors::testing::StageTest;
use heqis_actors::{BuildContext, Clock, Collector, Frame, Stage};
use heqis_compute::journal::read;
use heqis_compute::{Journal, Signal};
use heqis_messages::DecisionMessage;
use heqis_quant::decision::{DecisionReason, Position, RiskState};
use heqis_quant::{Decision, Side};
use serde_json::{Value, json};
use support::{RULE, bar, build, config, context, count, decisions, framed, predictions};

const FILE: &str = "decisions.jsonl";

fn open(cx: &BuildContext) -> StageTest<Journal> {
    build(cx, json!({ "path": FILE }))
}

fn refusal(dir: &Path) -> String {
    Journal::build(&config(json!({ "path": FILE })), &context(dir))
        .unwrap_err()
        .to_string()
}

/// Journals `frames` in batches of three, as one process without trouble does.
fn journal_in(dir: &Path, frames: &[Frame<DecisionMessage>]) -> Vec<u8> {
    let mut journal = open(&context(dir));
    for batch in frames.chunks(3) {
        journal.batch(batch).unwrap();
    }
    journal.stage.finish().unwrap();
    fs::read(dir.join(FILE)).unwrap()
}

fn undisturbed(count: u64) -> Vec<u8> {
    journal_in(tempfile::tempdir().unwrap().path(), &decisions(count))
}

fn in_new_dir(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

/// The checksums are those of Python's `zlib.crc32`.
const GOLDEN: &str = include_str!("../../../heqis-quant/tests/golden/journal.jsonl");

fn golden_decisions() -> [Frame<DecisionMessage>; 2] {
    let (bar, other) = (bar("600000.SH", 0), bar("002032.SZ", 0));
    let sound = Decision {
        symbol: bar.symbol,
        date: bar.date,
        time_ns: bar.time_ns,
        close: bar.close,
        side: Side::Buy,
        confidence: 0.6,
        reason: DecisionReason::Entered,
        position: Position::Long,
        risk: RiskState::default(),
        predicted_return: 0.0125,
        probabilities: [0.1, 0.3, 0.6],
        ranked: None,
    };
    let invalid = Decision {
        symbol: other.symbol,
        date: other.date,
        time_ns: other.time_ns,
        close: 20.5,
        side: Side::Hold,
        confidence: 0.0,
        reason: DecisionReason::InvalidPrediction,
        position: Position::Flat,
        predicted_return: f64::NAN,
        ..sound
    };
    [(7, sound), (8, invalid)]
        .map(|(position, decision)| framed(position, DecisionMessage::from(decision)))
}

#[test]
fn the_bytes_of_a_journal_are_fixed() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = journal_in(dir.path(), &golden_decisions());
    assert_eq!(String::from_utf8(bytes).unwrap(), GOLDEN);
}

#[test]
fn a_journal_can_be_read_back_even_where_a_number_was_none() {
    let (_dir, path) = in_new_dir(GOLDEN.as_bytes());
    let contents = read(&path).unwrap();
    assert!(contents.closed);
    assert_eq!(contents.whole_bytes, GOLDEN.len() as u64);
    let [first, second] = golden_decisions();
    let [(id, sound), (_, invalid)] = &contents.decisions[..] else {
        panic!("{contents:?}")
    };
    let origin = first.head().origin;
    assert_eq!((id.stream, id.position), (origin.stream, origin.position));
    assert_eq!(*sound, first.decision);
    assert!(invalid.predicted_return.is_nan());
    assert_eq!(
        (invalid.side, invalid.reason),
        (second.decision.side, second.decision.reason)
    );
}

#[test]
fn what_filters_remember_is_in_the_journal_only_where_there_is_something() {
    let dir = tempfile::tempdir().unwrap();
    let [plain, _] = golden_decisions();
    let mut carrying = (*plain).clone();
    carrying.decision.risk = RiskState {
        entry_price: Some(17.01),
        cool_down_days: 0,
        ban_days: 2,
    };
    let bytes = journal_in(dir.path(), &[plain.clone(), framed(8, carrying.clone())]);
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(!lines[2].contains("carry"), "{}", lines[2]);
    let expected = r#""stance":"in","carry":{"entry_price":17.01,"ban_days":2},"predicted_return""#;
    assert!(lines[3].contains(expected), "{}", lines[3]);
    let contents = read(&dir.path().join(FILE)).unwrap();
    assert_eq!(contents.decisions[1].1, carrying.decision);
}

#[test]
fn what_was_written_is_what_was_decided_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let frames = decisions(60);
    journal_in(dir.path(), &frames);
    let contents = read(&dir.path().join(FILE)).unwrap();
    assert_eq!(contents.decisions.len(), 60);
    for ((id, record), frame) in contents.decisions.iter().zip(&frames) {
        let origin = frame.head().origin;
        assert_eq!((id.stream, id.position), (origin.stream, origin.position));
        assert_eq!(*record, frame.decision);
    }
}

#[test]
fn batches_leave_no_trace_in_the_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let cx = context(dir.path());
    let mut journal = open(&cx);
    for frame in decisions(20) {
        journal.batch(&[frame]).unwrap();
    }
    journal.stage.finish().unwrap();
    assert!(fs::read(dir.path().join(FILE)).unwrap() == undisturbed(20));
    assert_eq!((count(&cx, "written"), count(&cx, "duplicate")), (20, 0));
}

/// Every byte of the header, of the stream's name, of the last decision and of the closing record; the decisions before it are like the last.
#[test]
fn a_journal_cut_off_at_any_byte_is_completed_to_the_same_bytes() {
    let frames = decisions(3);
    let whole = undisturbed(3);
    let ends: Vec<usize> = (1..=whole.len())
        .filter(|&end| whole[end - 1] == b'\n')
        .collect();
    let [_, stream, _, second, last, all] = ends[..] else {
        panic!("{ends:?}")
    };
    for cut in (0..=stream).chain(second..all) {
        let (dir, path) = in_new_dir(&whole[..cut]);
        let survived = match cut {
            cut if cut >= last => 3,
            cut if cut >= second => 2,
            _ => 0,
        };
        let cx = context(dir.path());
        let mut journal = open(&cx);
        for (number, frame) in (1..).zip(&frames) {
            assert_eq!(
                cx.committed().contains(frame.head().origin),
                number <= survived
            );
        }
        // The sender of the decisions sends all of them again.
        journal.batch(&frames).unwrap();
        journal.stage.finish().unwrap();
        assert!(fs::read(&path).unwrap() == whole, "cut at byte {cut}");
        assert_eq!(
            (count(&cx, "written"), count(&cx, "duplicate")),
            (3 - survived, survived)
        );
    }
}

#[test]
fn a_node_killed_after_any_decision_ends_with_the_same_bytes() {
    let whole = undisturbed(30);
    for killed_after in 0..=30 {
        let dir = tempfile::tempdir().unwrap();
        {
            let mut journal = open(&context(dir.path()));
            for frame in &decisions(30)[..killed_after] {
                journal.batch(std::slice::from_ref(frame)).unwrap();
            }
            // A process that is killed neither drains nor closes.
        }
        let cx = context(dir.path());
        let mut journal = open(&cx);
        let rule = json!({ "enter": RULE.enter, "exit": RULE.exit, "min_confidence": RULE.min_confidence });
        let mut signal: StageTest<Signal> = build(&cx, json!({ "rule": rule }));
        for record in cx.committed().records() {
            signal.stage.recover(&record);
        }
        // The bridge leaves out what is committed.
        let rest: Vec<_> = predictions(30)
            .into_iter()
            .filter(|frame| !cx.committed().contains(frame.head().origin))
            .collect();
        assert_eq!(rest.len(), 30 - killed_after);
        for frame in rest {
            let decided = signal.batch(&[frame]).unwrap();
            journal.batch(&decided).unwrap();
        }
        journal.stage.finish().unwrap();
        assert!(
            fs::read(dir.path().join(FILE)).unwrap() == whole,
            "killed after {killed_after}"
        );
    }
}

#[test]
fn the_last_decision_of_each_symbol_is_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    open(&context(dir.path())).batch(&decisions(20)).unwrap();
    let cx = context(dir.path());
    let _journal = open(&cx);
    let mut recovered: Vec<DecisionMessage> = cx
        .committed()
        .records()
        .iter()
        .map(|record| record.payload::<DecisionMessage>().unwrap().clone())
        .collect();
    recovered.sort_by_key(|message| message.decision.time_ns);
    let frames = decisions(20);
    let last = |symbol: &str| {
        (**frames
            .iter()
            .rfind(|frame| frame.decision.symbol.as_str() == symbol)
            .unwrap())
        .clone()
    };
    assert_eq!(recovered, [last("002032.SZ"), last("600000.SH")]);
}

/// A signal that is rebuilt while its process lives on must not fall back to where the process began.
#[test]
fn what_was_written_just_now_is_handed_over_too() {
    let dir = tempfile::tempdir().unwrap();
    let cx = context(dir.path());
    let mut journal = open(&cx);
    let frames = decisions(9);
    let mut written = 0;
    for batch in frames.chunks(2) {
        journal.batch(batch).unwrap();
        written += batch.len() as u64;
        let mut last = (**batch.last().unwrap()).clone();
        last.number = written;
        assert!(
            cx.committed()
                .records()
                .iter()
                .any(|record| record.payload::<DecisionMessage>() == Some(&last))
        );
    }
    assert_eq!(cx.committed().records().len(), 2, "one for each symbol");
    assert_eq!(count(&cx, "duplicate"), 0);
}

#[test]
fn lines_that_are_missing_doubled_or_swapped_are_noticed() {
    let whole = undisturbed(3);
    let lines: Vec<&[u8]> = whole.split_inclusive(|&byte| byte == b'\n').collect();
    for (order, message) in [
        (vec![1, 2, 3, 4, 5], "line 1: "),
        (vec![0, 1, 3, 4, 5], "line 3: decision 2 stands at 1"),
        (vec![0, 1, 2, 2, 3, 4, 5], "line 4: decision 1 stands at 2"),
        (vec![0, 1, 2, 4, 3, 5], "line 4: decision 3 stands at 2"),
        (
            vec![0, 1, 2, 3, 5],
            "line 5: closes 3 decisions, 2 are there",
        ),
        (vec![0, 1, 2, 3, 4, 5, 2], "line 7: decision 1 stands at 4"),
        (vec![0, 1, 2, 3, 0, 4], "line 5: is a second header"),
    ] {
        let bytes: Vec<u8> = order
            .into_iter()
            .flat_map(|line| lines[line].iter().copied())
            .collect();
        let (dir, path) = in_new_dir(&bytes);
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert_eq!(
            refusal(dir.path()),
            error,
            "the stage refuses to start on it"
        );
        assert!(fs::read(&path).unwrap() == bytes, "and leaves it as it is");
    }
}

#[test]
fn a_file_that_is_no_journal_is_left_alone() {
    for bytes in [
        &b"a shopping list without a line end"[..],
        b"{\"heqis_journal\":3",
        b"\n",
        b"\x00\x00\x00\x00",
    ] {
        let (dir, path) = in_new_dir(bytes);
        assert!(
            refusal(dir.path()).contains(", line 1: "),
            "{}",
            refusal(dir.path())
        );
        assert!(fs::read(&path).unwrap() == bytes);
    }
}

#[test]
fn a_finished_journal_goes_on_and_nothing_in_it_is_decided_twice() {
    let dir = tempfile::tempdir().unwrap();
    let first = journal_in(dir.path(), &decisions(5));
    let cx = context(dir.path());
    let mut journal = open(&cx);
    assert!(cx.committed().contains(decisions(1)[0].head().origin));
    journal.batch(&decisions(5)).unwrap();
    journal.stage.finish().unwrap();
    assert!(fs::read(dir.path().join(FILE)).unwrap() == first);
    assert_eq!((count(&cx, "written"), count(&cx, "duplicate")), (0, 5));
    journal.batch(&decisions(7)).unwrap();
    journal.stage.finish().unwrap();
    let contents = read(&dir.path().join(FILE)).unwrap();
    assert!(contents.closed && contents.decisions.len() == 7);
}

#[test]
fn a_finished_journal_is_kept_as_a_run_where_a_new_one_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let first = journal_in(dir.path(), &decisions(5));
    let params = json!({ "path": FILE, "existing": "new" });
    for run in 1..=2 {
        let cx = context(dir.path());
        let mut journal: StageTest<Journal> = build(&cx, params.clone());
        assert!(
            !cx.committed().contains(decisions(1)[0].head().origin),
            "a new run makes its decisions again"
        );
        journal.batch(&decisions(5)).unwrap();
        journal.stage.finish().unwrap();
        for run in 1..=run {
            let kept = dir.path().join(format!("decisions.run-{run:04}.jsonl"));
            assert!(fs::read(kept).unwrap() == first);
        }
    }
    // An unfinished one is continued.
    let dir = tempfile::tempdir().unwrap();
    let mut journal: StageTest<Journal> = build(&context(dir.path()), params.clone());
    journal.batch(&decisions(3)).unwrap();
    drop(journal);
    let mut journal: StageTest<Journal> = build(&context(dir.path()), params);
    journal.batch(&decisions(5)).unwrap();
    journal.stage.finish().unwrap();
    assert!(fs::read(dir.path().join(FILE)).unwrap() == first);
    let others = fs::read_dir(dir.path()).unwrap().flatten();
    let others: Vec<_> = others
        .map(|entry| entry.file_name())
        .filter(|name| name != FILE)
        .collect();
    assert_eq!(others, [format!("{FILE}.delivered").as_str()]);
}

#[test]
fn a_journal_of_the_first_format_goes_on() {
    const FIRST: &str = include_str!("../../../heqis-quant/tests/golden/journal-1.jsonl");
    let (dir, path) = in_new_dir(FIRST.as_bytes());
    let cx = context(dir.path());
    let mut journal = open(&cx);
    assert_eq!(cx.committed().runs(), [(support::STREAM, 7, 8)]);
    journal.batch(&decisions(9)).unwrap();
    journal.stage.finish().unwrap();
    assert!(fs::read(&path).unwrap().starts_with(FIRST.as_bytes()));
    let contents = read(&path).unwrap();
    assert!(contents.closed && contents.decisions.len() == 9);
}

#[test]
fn the_bytes_of_a_segment_have_limits() {
    let params = json!({ "path": FILE, "segment_bytes": 65_535 });
    let faults = Journal::check(&config(params), Path::new(""));
    assert_eq!(
        faults,
        ["segment_bytes must be 65536 to 1073741824, got 65535"]
    );
}

#[test]
fn segments_are_cut_at_the_same_decisions_whatever_the_batches_and_kills() {
    let params = json!({ "path": FILE, "segment_bytes": 65_536 });
    let frames = decisions(900);
    let in_batches = |size: usize, kills: bool| {
        let dir = tempfile::tempdir().unwrap();
        let mut journal: StageTest<Journal> = build(&context(dir.path()), params.clone());
        for batch in frames.chunks(size) {
            journal.batch(batch).unwrap();
            if kills {
                drop(journal);
                journal = build(&context(dir.path()), params.clone());
            }
        }
        journal.stage.finish().unwrap();
        let mut files: Vec<PathBuf> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            // How far they are delivered is no part of what is recorded.
            .filter(|path| path.extension().is_some_and(|end| end != "delivered"))
            .collect();
        files.sort();
        let files: Vec<_> = files
            .iter()
            .map(|path| {
                (
                    path.file_name().unwrap().to_owned(),
                    fs::read(path).unwrap(),
                )
            })
            .collect();
        assert_eq!(read(&dir.path().join(FILE)).unwrap().decisions.len(), 900);
        files
    };
    let expected = in_batches(900, false);
    assert_eq!(
        expected.len(),
        2 * 3 + 1,
        "three segments with their indexes"
    );
    assert!(in_batches(7, false) == expected);
    assert!(in_batches(64, true) == expected);
}

#[test]
fn one_process_writes_a_journal_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&context(dir.path()));
    let refused = refusal(dir.path());
    assert!(
        refused.ends_with("another process or stage is writing it"),
        "{refused}"
    );
    drop(first);
    open(&context(dir.path()));
}

#[test]
fn missing_directories_are_made_and_a_directory_is_no_journal() {
    let dir = tempfile::tempdir().unwrap();
    let params = |path: &str| -> Value { json!({ "path": path, "sync": "batch" }) };
    let mut journal: StageTest<Journal> =
        build(&context(dir.path()), params("a/b/decisions.jsonl"));
    journal.batch(&decisions(1)).unwrap();
    assert_eq!(
        read(&dir.path().join("a/b/decisions.jsonl"))
            .unwrap()
            .decisions
            .len(),
        1
    );
    let faults = Journal::check(&config(params("a/b")), dir.path());
    assert!(
        faults.len() == 1 && faults[0].ends_with("a/b is not a regular file"),
        "{faults:?}"
    );
}

/// Decisions that have been through a stage, and so carry a stamp.
fn stamped(cx: &BuildContext) -> Vec<Frame<DecisionMessage>> {
    let mut probe = Collector::new(cx.clock().clone());
    for frame in decisions(3) {
        cx.clock().advance_to(cx.clock().now_ns() + 2_500);
        probe.emitter().emit(frame.head(), (*frame).clone());
    }
    probe.take()
}

#[test]
fn timings_are_next_to_the_journal_and_change_nothing_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let cx = BuildContext::detached("signal", dir.path(), Clock::virtual_at(0));
    let frames = stamped(&cx);
    let params = json!({ "path": FILE, "timings": true });
    let timings = dir.path().join(format!("{FILE}.timings.jsonl"));
    let mut journal: StageTest<Journal> = build(&cx, params.clone());
    journal.batch(&frames[..2]).unwrap();
    drop(journal);
    let line = |n: u64, leave_us: f64| {
        format!(
            "{{\"n\":{n},\"stages\":[{{\"stage\":\"signal\",\"enter_us\":0.0,\"leave_us\":{leave_us:?}}}]}}\n"
        )
    };
    assert_eq!(
        fs::read_to_string(&timings).unwrap(),
        line(1, 2.5) + &line(2, 5.0)
    );
    // Killed in the middle of a line of timings.
    let torn = fs::read(&timings).unwrap();
    fs::write(&timings, &torn[..torn.len() - 9]).unwrap();
    let mut journal: StageTest<Journal> = build(&context(dir.path()), params.clone());
    journal.batch(&frames).unwrap();
    journal.stage.finish().unwrap();
    drop(journal);
    let written = fs::read_to_string(&timings).unwrap();
    assert!(
        written.starts_with(&line(1, 2.5)) && written.lines().count() == 2,
        "{written}"
    );
    assert!(
        written
            .lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok()),
        "{written}"
    );
    assert!(fs::read(dir.path().join(FILE)).unwrap() == undisturbed(3));
    // A new journal has new timings.
    let params = json!({ "path": FILE, "timings": true, "existing": "new" });
    let cx = BuildContext::detached("signal", dir.path(), Clock::virtual_at(0));
    let mut journal: StageTest<Journal> = build(&cx, params);
    journal.batch(&frames[..1]).unwrap();
    assert_eq!(fs::read_to_string(&timings).unwrap(), line(1, 2.5));
    let kept = dir.path().join("decisions.run-0001.jsonl.timings.jsonl");
    assert_eq!(fs::read_to_string(kept).unwrap(), written);
}
