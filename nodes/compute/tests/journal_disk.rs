//! Full disks, paths that are not files, foreign bytes: each is reported, and no decision is lost.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::path::Path;

use heqis_actors::testing::StageTest;
use heqis_actors::{BuildContext, Clock, Collector, Frame, Origin, Stage};
use heqis_compute::Journal;
use heqis_compute::journal::{JournalError, read};
use heqis_messages::DecisionMessage;
use heqis_quant::QuantError;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{build, config, context, count, decisions};

const FILE: &str = "decisions.jsonl";
const HEADER: &str = "{\"heqis_journal\":2,\"segment\":1,\"before\":0,\"crc\":\"";

fn params() -> Value {
    json!({ "path": FILE })
}

/// What check and build say of a path; they agree.
fn refused(path: &str, base: &Path) -> String {
    let config = config(json!({ "path": path }));
    let faults = Journal::check(&config, base);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(Journal::build(&config, &context(base)).is_err());
    faults.into_iter().next().unwrap()
}

#[test]
fn a_path_through_a_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "mine").unwrap();
    let fault = refused("file/deeper/decisions.jsonl", dir.path());
    assert!(fault.ends_with("file is not a directory"), "{fault}");
    assert_eq!(fs::read_to_string(dir.path().join("file")).unwrap(), "mine");
}

/// A device such as this one can be read for ever.
#[cfg(target_os = "linux")]
#[test]
fn a_device_is_refused() {
    let fault = refused("/dev/zero", Path::new(""));
    assert_eq!(fault, "/dev/zero is not a regular file");
    let error = Journal::build(&config(json!({ "path": "/dev/zero" })), &context("")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "journal /dev/zero: open: is not a regular file"
    );
}

#[test]
fn clocks_leave_no_trace_in_the_bytes() {
    let at = |now_ns: i64| {
        let dir = tempfile::tempdir().unwrap();
        let cx = BuildContext::detached("journal", dir.path(), Clock::virtual_at(now_ns));
        let mut journal: StageTest<Journal> = build(&cx, params());
        for frame in decisions(9) {
            cx.clock().advance_to(cx.clock().now_ns() + 1_000_000);
            let Origin { stream, position } = frame.head().origin;
            let born_ns = cx.clock().now_ns();
            let frame: Frame<DecisionMessage> =
                Frame::detached(Origin { stream, position }, born_ns, (*frame).clone());
            journal.batch(&[frame]).unwrap();
        }
        journal.stage.finish().unwrap();
        fs::read(dir.path().join(FILE)).unwrap()
    };
    assert!(at(0) == at(1_700_000_000_000_000_000));
}

/// Birth times come over the wire and may be anything.
#[test]
fn a_decision_born_at_the_beginning_of_time_has_its_line_of_timings_and_each_batch_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let cx = BuildContext::detached("signal", dir.path(), Clock::virtual_at(5));
    let mut journal: StageTest<Journal> = build(&cx, json!({ "path": FILE, "timings": true }));
    let mut probe = Collector::new(cx.clock().clone());
    for frame in decisions(3) {
        let old = Frame::detached(frame.head().origin, i64::MIN, (*frame).clone());
        probe.emitter().emit(old.head(), (*old).clone());
        journal.batch(&probe.take()).unwrap();
    }
    let timings = fs::read_to_string(dir.path().join(format!("{FILE}.timings.jsonl"))).unwrap();
    let numbers: Vec<Value> = timings
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["n"].clone())
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
}

/// Runs [`fill_the_disk`] in a process that may write this many half kilobytes to a file at most.
#[cfg(target_os = "linux")]
fn with_a_disk_of(half_kilobytes: u32, dir: &Path) {
    let limited = format!("trap '' XFSZ; ulimit -f {half_kilobytes}; exec \"$0\" \"$@\"");
    let output = std::process::Command::new("sh")
        .args(["-c", &limited])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "fill_the_disk"])
        .env("HEQIS_TEST_DIR", dir)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn fill_the_disk() {
    let dir = std::env::var_os("HEQIS_TEST_DIR").expect("the test that runs this one sets it");
    let dir = Path::new(&dir);
    let cx = context(dir);
    let mut journal: StageTest<Journal> = build(&cx, params());
    let mut given = 0;
    let failure = loop {
        let frames = decisions(given + 3);
        for frame in &frames[given as usize..] {
            journal.process(frame).unwrap();
        }
        match journal.flush() {
            Ok(()) => given += 3,
            Err(failure) => break failure.to_string(),
        }
    };
    let path = dir.join(FILE);
    assert!(
        failure.starts_with(&format!("journal {}: append: ", path.display())),
        "{failure}"
    );
    assert!(given > 0);
    let contents = read(&path).unwrap();
    assert_eq!(contents.decisions.len() as u64, given);
    assert_eq!(count(&cx, "written"), given);
    assert_eq!(
        contents.whole_bytes,
        fs::metadata(&path).unwrap().len(),
        "no torn line is left"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_fails_the_stage_and_the_journal_is_completed_once_there_is_room() {
    let whole = tempfile::tempdir().unwrap();
    let mut journal: StageTest<Journal> = build(&context(whole.path()), params());
    journal.batch(&decisions(40)).unwrap();
    journal.stage.finish().unwrap();
    let whole = fs::read(whole.path().join(FILE)).unwrap();
    for half_kilobytes in [2, 5, 7] {
        let dir = tempfile::tempdir().unwrap();
        with_a_disk_of(half_kilobytes, dir.path());
        let mut journal: StageTest<Journal> = build(&context(dir.path()), params());
        journal.batch(&decisions(40)).unwrap();
        journal.stage.finish().unwrap();
        assert!(fs::read(dir.path().join(FILE)).unwrap() == whole);
    }
}

proptest! {
    /// Whatever stands in the file, the stage starts on it with what can be read, or refuses and leaves it alone.
    #[test]
    fn foreign_bytes_are_refused_or_cut_off(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        records in 0u64..3,
        with_header in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        if with_header {
            let mut journal: StageTest<Journal> = build(&context(dir.path()), params());
            journal.batch(&decisions(records)).unwrap();
        }
        let sound = fs::read(&path).unwrap_or_default();
        let bytes = [sound.as_slice(), &noise].concat();
        fs::write(&path, &bytes).unwrap();
        let records = if with_header { records } else { 0 };
        let built = Journal::build(&config(params()), &context(dir.path()));
        match read(&path) {
            Ok(contents) => {
                prop_assert!(built.is_ok());
                drop(built);
                prop_assert_eq!(contents.decisions.len() as u64, records);
                let left = fs::read(&path).unwrap();
                prop_assert!(left.starts_with(HEADER.as_bytes()));
                prop_assert!(!with_header || left == sound, "the torn end is cut off and nothing else");
            }
            Err(JournalError::Corrupt(QuantError::Journal { line, .. })) => {
                prop_assert!(built.is_err());
                prop_assert!(line as u64 > records);
                prop_assert!(fs::read(&path).unwrap() == bytes);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}
