//! Names, and segments read as one journal.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use heqis_quant::Decision;
use heqis_quant::decision::journal::{Contents, EntryId, Identity, JournalLine, SegmentHeader};

use super::names::Found;
use super::*;

const GOLDEN: &str = include_str!("../../../heqis-quant/tests/golden/journal.jsonl");

/// Writes segments that end with the decisions `ends`, the last one active; none of them closed.
fn stand(ends: &[u64]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("decisions.jsonl");
    let names = Names::of(&path);
    let (id, record) = Contents::parse(GOLDEN.as_bytes(), "golden")
        .unwrap()
        .decisions[0]
        .clone();
    let mut before = 0;
    for (segment, &end) in (1..).zip(ends) {
        let mut text = String::new();
        JournalLine::Header(SegmentHeader::new(Identity::default(), segment, before))
            .write(&mut text);
        for n in before + 1..=end {
            JournalLine::Decision(EntryId::of(n, id.stream, id.position), record).write(&mut text);
        }
        let file = match segment == ends.len() as u64 {
            true => path.clone(),
            false => names.segment(segment),
        };
        fs::write(file, text).unwrap();
        before = end;
    }
    (dir, path)
}

fn numbers(records: impl IntoIterator<Item = (EntryId, Decision)>) -> Vec<u64> {
    records.into_iter().map(|(id, _)| id.n).collect()
}

#[test]
fn files_are_named_after_the_path() {
    let names = Names::of(Path::new("out/decisions.jsonl"));
    assert_eq!(names.segment(7), Path::new("out/decisions.000007.jsonl"));
    assert_eq!(
        names.segment(1_234_567),
        Path::new("out/decisions.1234567.jsonl")
    );
    assert_eq!(names.index(7), Path::new("out/decisions.000007.index.json"));
    let run = names.run(2);
    assert_eq!(run.active(), Path::new("out/decisions.run-0002.jsonl"));
    assert_eq!(
        run.segment(7),
        Path::new("out/decisions.run-0002.000007.jsonl")
    );
    assert_eq!(
        Names::of(Path::new("decisions")).segment(1),
        Path::new("decisions.000001")
    );
}

#[test]
fn only_names_of_this_program_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let names = Names::of(&dir.path().join("decisions.jsonl"));
    for name in [
        "decisions.jsonl",
        "decisions.000001.jsonl",
        "decisions.000002.jsonl",
        "decisions.000002.index.json",
        "decisions.000003.index.json.tmp",
        "decisions.3.jsonl",
        "decisions.0000004.jsonl",
        "decisions.000000.jsonl",
        "decisions.run-0009.jsonl",
        "decisions.run-0010.000005.jsonl",
        "other.000006.jsonl",
        "decisions.000007.csv",
    ] {
        fs::write(dir.path().join(name), "").unwrap();
    }
    assert_eq!(
        names.find().unwrap(),
        Found {
            segments: vec![1, 2],
            indexes: vec![2]
        }
    );
    assert_eq!(names.last_run().unwrap(), 10);
    assert_eq!(names.files().unwrap().len(), 4);
    fs::write(names.segment(4), "").unwrap();
    let message = names.find().unwrap_err().to_string();
    assert!(
        message.ends_with("decisions.000003.jsonl: is missing between segments 2 and 4"),
        "{message}"
    );
}

#[test]
fn segments_are_read_as_one_with_and_without_an_active_one() {
    let (_dir, path) = stand(&[2, 5, 6, 9]);
    let contents = read(&path).unwrap();
    assert_eq!(numbers(contents.decisions), (1..=9).collect::<Vec<_>>());
    let text = fs::read(&path).unwrap();
    fs::write(&path, &text[..text.len() - 3]).unwrap();
    assert_eq!(
        numbers(read(&path).unwrap().decisions),
        (1..=8).collect::<Vec<_>>()
    );
    for torn in ["{\"heqis_jou", ""] {
        fs::write(&path, torn).unwrap();
        assert_eq!(
            numbers(read(&path).unwrap().decisions),
            (1..=6).collect::<Vec<_>>()
        );
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(
        numbers(read(&path).unwrap().decisions),
        (1..=6).collect::<Vec<_>>()
    );
    assert!(read(&path.with_file_name("nothing.jsonl")).is_err());
}

/// The view of a reader that listed the files while the active segment was being finished.
#[test]
fn a_segment_that_is_finished_while_it_is_read_is_read_once() {
    let (_dir, path) = stand(&[2, 5]);
    fs::copy(&path, Names::of(&path).segment(2)).unwrap();
    assert_eq!(
        numbers(read(&path).unwrap().decisions),
        (1..=5).collect::<Vec<_>>()
    );
}

#[test]
fn segments_out_of_sequence_are_refused() {
    let (_dir, path) = stand(&[2, 5, 6]);
    let names = Names::of(&path);
    let second = fs::read(names.segment(2)).unwrap();
    fs::copy(names.segment(1), names.segment(2)).unwrap();
    let message = read(&path).unwrap_err().to_string();
    let rule = "line 1: begins segment 1 after 0 decisions, expected is segment 2 after 2";
    assert!(message.ends_with(rule), "{message}");
    let cut = second.iter().rposition(|&byte| byte == b',').unwrap();
    let line = second[..cut]
        .iter()
        .rposition(|&byte| byte == b'\n')
        .unwrap();
    fs::write(names.segment(2), &second[..=line]).unwrap();
    let message = read(&path).unwrap_err().to_string();
    assert!(
        message.ends_with("expected is segment 3 after 4"),
        "{message}"
    );
    fs::remove_file(names.segment(2)).unwrap();
    assert!(read(&path).is_err());
}

#[test]
fn earlier_segments_are_not_read() {
    let (_dir, path) = stand(&[2, 5, 6, 9]);
    let names = Names::of(&path);
    for number in [1, 2] {
        let text = fs::read_to_string(names.segment(number)).unwrap();
        fs::write(names.segment(number), text.replace("17.01", "17.02")).unwrap();
    }
    assert!(read(&path).is_err());
    for from in 6..=10 {
        let records: Result<Vec<_>, _> = records_from(&path, from).unwrap().collect();
        assert_eq!(numbers(records.unwrap()), (from..=9).collect::<Vec<_>>());
    }
    let (found, closed) = last(&path, 1).unwrap();
    assert_eq!((numbers(found), closed), (vec![9], false));
    assert_eq!(last(&path, 0).unwrap().0.len(), 0);
    assert!(last(&path, 5).is_err());
}

#[test]
fn an_endless_line_is_refused() {
    let (_dir, path) = stand(&[2]);
    let mut text = fs::read(&path).unwrap();
    text.resize(text.len() + (2 << 20), b'x');
    fs::write(&path, text).unwrap();
    let message = read(&path).unwrap_err().to_string();
    assert!(
        message.ends_with("line 4: is longer than 1048576 bytes"),
        "{message}"
    );
}
