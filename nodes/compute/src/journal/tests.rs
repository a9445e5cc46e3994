//! Segments, kills at every step, files that other programs move: nothing is lost, and nothing is decided twice.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use heqis_data::journal::check::{IndexState, list, verify};
use heqis_data::journal::{self, JournalError, Names};
use heqis_quant::Decision;
use heqis_quant::decision::journal::{
    Contents, EntryId, Identity, JournalLine, JournalState, StreamName,
};
use heqis_quant::{Date, Symbol};
use proptest::prelude::*;

mod measure;
mod mismatch;

use super::aside;
use super::file::{Existing, JournalFile, Mismatch, Options, Resumed};
use super::seal::STEPS;

const GOLDEN: &str = include_str!("../../../../heqis-quant/tests/golden/journal.jsonl");
const DAY_NS: i64 = 86_400_000_000_000;
const SMALL: Options = Options {
    segment_bytes: 1_500,
    daily: false,
    existing: Existing::Resume,
    mismatch: Mismatch::Refuse,
};

fn identity(rule: &str) -> Identity {
    Identity {
        topology: "tested".into(),
        rule: rule.into(),
        bundles: Vec::new(),
    }
}

/// A id to keep a journal in.
struct Stand {
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl Stand {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("decisions.jsonl");
        Self { dir, path }
    }

    fn names(&self) -> Names {
        Names::of(&self.path)
    }

    fn open_with(
        &self,
        options: Options,
        rule: &str,
    ) -> Result<(JournalFile, Resumed), JournalError> {
        JournalFile::open(&self.path, options, identity(rule), &[], 0)
    }

    fn open(&self) -> (JournalFile, Resumed) {
        self.open_with(SMALL, "a").unwrap()
    }

    /// Files of the directory with their bytes.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect()
    }

    fn numbers(&self) -> Vec<u64> {
        let records = journal::read(&self.path).unwrap().decisions;
        records.iter().map(|(id, _)| id.n).collect()
    }

    fn assert_sound(&self, decisions: u64) {
        let report = verify(&self.path).unwrap();
        assert_eq!((report.faults, report.decisions), (Vec::new(), decisions));
        assert_eq!(self.numbers(), (1..=decisions).collect::<Vec<_>>());
    }
}

/// Decision `n` of a stream, on one of three instruments and a day of its own.
fn decision(n: u64, stream: u64, position: u64) -> (EntryId, Decision) {
    let contents = Contents::parse(GOLDEN.as_bytes(), "golden").unwrap();
    let symbols = ["600000.SH", "002032.SZ", "000001.SZ"];
    let day = Date::parse("2015-01-05").unwrap().days() + (n / 4) as i32;
    let record = Decision {
        symbol: Symbol::parse(symbols[(position % 3) as usize]).unwrap(),
        date: Date::from_days(day).unwrap(),
        ..contents.decisions[(n % 2) as usize].1
    };
    (EntryId::of(n, stream, position), record)
}

fn some(numbers: std::ops::RangeInclusive<u64>) -> Vec<(EntryId, Decision)> {
    numbers.map(|n| decision(n, 0xab, n + n / 5)).collect()
}

fn write(journal: &mut JournalFile, numbers: std::ops::RangeInclusive<u64>) {
    for one in some(numbers) {
        journal.append(&[one], 0).unwrap();
    }
}

/// The state by reading every line.
fn state_by_reading(path: &Path) -> JournalState {
    let mut state = JournalState::default();
    for line in journal::Reader::open(path).unwrap() {
        state.take(&line.unwrap());
    }
    state
}

/// Numbers that are not finite are equal to nothing; their text is.
fn text(last: &[(EntryId, Decision)]) -> Vec<String> {
    let one = |(id, record): &(EntryId, Decision)| {
        let mut text = String::new();
        JournalLine::Decision(id.clone(), *record).write(&mut text);
        text
    };
    last.iter().map(one).collect()
}

fn assert_resumes(stand: &Stand) -> Resumed {
    let (_, resumed) = stand.open();
    let state = state_by_reading(&stand.path);
    assert_eq!(resumed.decisions, state.decisions());
    assert_eq!(resumed.runs, state.runs());
    assert_eq!(text(&resumed.last), text(&state.last()));
    resumed
}

#[test]
fn a_journal_is_cut_into_segments_and_read_as_one() {
    let stand = Stand::new();
    let (mut journal, _) = stand.open();
    write(&mut journal, 1..=20);
    journal.close().unwrap();
    journal.close().unwrap();
    assert_eq!(journal.records_from(13).unwrap().count(), 8);
    drop(journal);
    stand.assert_sound(20);
    let segments = list(&stand.path).unwrap();
    assert!(segments.len() > 4);
    for pair in segments.windows(2) {
        assert_eq!(pair[0].last + 1, pair[1].first);
        assert_eq!(pair[0].index, IndexState::Sound);
        assert!(pair[0].bytes <= SMALL.segment_bytes);
    }
    assert!(segments.last().unwrap().closed);
    let resumed = assert_resumes(&stand);
    assert!(resumed.complete);
    let (last, closed) = journal::last(&stand.path, 7).unwrap();
    assert_eq!(
        last.iter().map(|(id, _)| id.n).collect::<Vec<_>>(),
        (14..=20).collect::<Vec<_>>()
    );
    assert!(closed);
}

/// A segment begins with its header and names its streams again.
#[test]
fn each_segment_stands_by_itself() {
    let stand = Stand::new();
    let (mut journal, _) = stand.open();
    journal
        .name_stream(StreamName {
            stream: 0xab,
            source: "market".into(),
            replayable: true,
        })
        .unwrap();
    write(&mut journal, 1..=9);
    let names = stand.names();
    for number in names.find().unwrap().segments {
        let text = fs::read_to_string(names.segment(number)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with(
            "{\"heqis_journal\":2,\"topology\":\"tested\",\"rule\":\"a\",\"segment\":"
        ));
        assert!(lines[1].starts_with(
            "{\"stream\":\"00000000000000ab\",\"source\":\"market\",\"replayable\":true,"
        ));
    }
}

#[test]
fn a_kill_at_every_step_of_finishing_a_segment_is_repaired() {
    let whole = Stand::new();
    let (mut journal, _) = whole.open();
    write(&mut journal, 1..=14);
    journal.close().unwrap();
    drop(journal);
    let expected = whole.files();
    // The last decision of the first segment.
    let first = list(&whole.path).unwrap()[0].last;
    for done in 0..=STEPS.len() {
        let stand = Stand::new();
        let (mut journal, _) = stand.open();
        write(&mut journal, 1..=first);
        for &step in &STEPS[..done] {
            journal.step(step, 0).unwrap();
        }
        drop(journal);
        assert_eq!(
            stand.numbers(),
            (1..=first).collect::<Vec<_>>(),
            "{done} steps"
        );
        let (mut journal, resumed) = stand.open();
        assert_eq!(resumed.decisions, first);
        write(&mut journal, first + 1..=14);
        journal.close().unwrap();
        drop(journal);
        let mut files = stand.files();
        files.retain(|name, _| !name.ends_with(".new"));
        assert!(files == expected, "{done} steps");
        stand.assert_sound(14);
    }
}

#[test]
fn a_kill_at_every_step_of_setting_a_journal_aside_is_repaired() {
    let template = || {
        let stand = Stand::new();
        let (mut journal, _) = stand.open();
        write(&mut journal, 1..=14);
        journal.close().unwrap();
        fs::write(stand.names().timings(), "{}\n").unwrap();
        stand
    };
    let new = Options {
        existing: Existing::New,
        ..SMALL
    };
    let stand = template();
    let expected = stand.files();
    let count = aside::moves(&stand.names(), &stand.names().run(1))
        .unwrap()
        .len();
    for done in 0..=count {
        let stand = template();
        let run = stand.names().run(1);
        for (from, to) in &aside::moves(&stand.names(), &run).unwrap()[..done] {
            fs::rename(from, to).unwrap();
        }
        let (mut journal, resumed) = stand.open_with(new, "a").unwrap();
        assert_eq!(resumed.decisions, 0, "{done} renames");
        write(&mut journal, 1..=2);
        drop(journal);
        assert_eq!(stand.numbers(), [1, 2]);
        assert_eq!(journal::read(run.active()).unwrap().decisions.len(), 14);
        assert!(verify(run.active()).unwrap().faults.is_empty());
        let mut files = stand.files();
        files.remove("decisions.jsonl");
        let kept: BTreeMap<_, _> = expected
            .iter()
            .map(|(name, bytes)| {
                (
                    name.replacen("decisions.", "decisions.run-0001.", 1),
                    bytes.clone(),
                )
            })
            .collect();
        assert_eq!(
            files.keys().collect::<Vec<_>>(),
            kept.keys().collect::<Vec<_>>()
        );
        assert!(files == kept, "{done} renames");
    }
}

#[test]
fn an_index_that_is_missing_or_damaged_is_made_up_for_by_reading() {
    let stand = Stand::new();
    let (mut journal, _) = stand.open();
    write(&mut journal, 1..=20);
    drop(journal);
    let names = stand.names();
    let numbers = names.find().unwrap().segments;
    let newest = *numbers.last().unwrap();
    let sound = stand.files();
    fs::remove_file(names.index(newest)).unwrap();
    assert_resumes(&stand);
    assert!(stand.files() == sound, "a missing one is written again");
    let damaged = fs::read_to_string(names.index(newest))
        .unwrap()
        .replace("600000", "600001");
    fs::write(names.index(newest), &damaged).unwrap();
    assert_resumes(&stand);
    assert_eq!(fs::read_to_string(names.index(newest)).unwrap(), damaged);
    assert_eq!(verify(&stand.path).unwrap().faults.len(), 1);
    for number in numbers {
        fs::write(names.index(number), "").unwrap();
    }
    assert_resumes(&stand);
}

#[test]
fn damage_in_a_finished_segment_is_reported_with_file_line_and_rule() {
    let stand = Stand::new();
    let (mut journal, _) = stand.open();
    write(&mut journal, 1..=20);
    drop(journal);
    let names = stand.names();
    let path = names.segment(2);
    let sound = fs::read(&path).unwrap();
    fs::write(&path, &sound[..sound.len() - 5]).unwrap();
    let lines = sound.iter().filter(|&&byte| byte == b'\n').count();
    let expected = format!(
        "journal {}, line {lines}: is torn, in a segment that is finished",
        path.display()
    );
    assert_eq!(
        journal::read(&stand.path).unwrap_err().to_string(),
        expected
    );
    assert_eq!(
        verify(&stand.path).unwrap().faults,
        std::slice::from_ref(&expected)
    );
    // The newest one is not read, but its length is looked at.
    let newest = *names.find().unwrap().segments.last().unwrap();
    let bytes = fs::read(names.segment(newest)).unwrap();
    fs::write(names.segment(newest), &bytes[..bytes.len() - 5]).unwrap();
    let error = stand.open_with(SMALL, "a").unwrap_err().to_string();
    assert!(error.contains("bytes, its index says"), "{error}");
    fs::remove_file(&path).unwrap();
    let error = stand.open_with(SMALL, "a").unwrap_err().to_string();
    assert!(
        error.ends_with("is missing between segments 1 and 3"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_moved_away_or_removed_is_written_again() {
    for case in ["moved", "removed", "directory", "rotated"] {
        let stand = Stand::new();
        let (mut journal, _) = stand.open();
        write(&mut journal, 1..=2);
        let moved = stand.dir.path().join("decisions.jsonl.1");
        match case {
            "removed" => fs::remove_file(&stand.path).unwrap(),
            "directory" => fs::remove_dir_all(stand.dir.path()).unwrap(),
            _ => fs::rename(&stand.path, &moved).unwrap(),
        }
        if case == "rotated" {
            fs::write(&stand.path, "").unwrap();
        }
        write(&mut journal, 3..=9);
        assert_eq!(journal.restored(), 1, "{case}");
        assert!(
            stand.open_with(SMALL, "a").is_err(),
            "the new file is locked"
        );
        drop(journal);
        stand.assert_sound(9);
    }
}

#[test]
fn a_segment_that_was_being_written_again_when_its_process_was_killed_gets_its_name() {
    let stand = Stand::new();
    let (mut journal, _) = stand.open();
    write(&mut journal, 1..=2);
    drop(journal);
    fs::rename(
        &stand.path,
        stand.dir.path().join("decisions.jsonl.restore"),
    )
    .unwrap();
    let (_, resumed) = stand.open();
    assert_eq!(resumed.decisions, 2);
    assert_eq!(stand.files().len(), 1);
}

#[test]
fn another_file_at_the_path_is_not_overwritten_and_nothing_is_lost() {
    let stand = Stand::new();
    let (mut journal, _) = stand.open();
    write(&mut journal, 1..=2);
    let ours = fs::read(&stand.path).unwrap();
    let other = stand.dir.path().join("other");
    fs::write(&other, "mine").unwrap();
    fs::rename(&other, &stand.path).unwrap();
    let error = journal.append(&some(3..=3), 0).unwrap_err();
    assert!(matches!(error, JournalError::Replaced { ours, theirs, .. } if ours.1 != theirs.1));
    assert_eq!(fs::read(&stand.path).unwrap(), b"mine");
    assert!(stand.files()["decisions.jsonl.rescued-0001"] == ours);
}

#[test]
fn a_truncated_file_is_reported_and_not_appended_to() {
    let stand = Stand::new();
    let (mut journal, _) = stand.open();
    write(&mut journal, 1..=2);
    fs::File::options()
        .write(true)
        .open(&stand.path)
        .unwrap()
        .set_len(0)
        .unwrap();
    let error = journal.append(&some(3..=3), 0).unwrap_err().to_string();
    assert!(
        error.contains("was truncated by another program"),
        "{error}"
    );
    assert!(journal.close().is_err());
    assert_eq!(fs::metadata(&stand.path).unwrap().len(), 0);
}

#[test]
fn a_day_of_the_clock_finishes_a_segment_where_that_is_asked_for() {
    let stand = Stand::new();
    let daily = Options {
        daily: true,
        segment_bytes: 1 << 20,
        ..SMALL
    };
    let (mut journal, _) = stand.open_with(daily, "a").unwrap();
    for (at, one) in (0..).zip(some(1..=6)) {
        journal.append(&[one], at / 2 * DAY_NS).unwrap();
    }
    drop(journal);
    let lasts: Vec<u64> = list(&stand.path)
        .unwrap()
        .iter()
        .map(|segment| segment.last)
        .collect();
    assert_eq!(lasts, [2, 4, 6]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What indexes say is what reading everything says, wherever segments end and processes are killed.
    #[test]
    fn the_state_by_index_is_the_state_by_reading(
        segment_bytes in 600u64..6_000,
        steps in prop::collection::vec((0u64..3, 0u64..60, 0u8..12), 1..60),
    ) {
        let stand = Stand::new();
        let options = Options { segment_bytes, ..SMALL };
        let mut journal = stand.open_with(options, "a").unwrap().0;
        let mut n = 0;
        for (stream, position, what) in steps {
            match what {
                0 => {
                    drop(journal);
                    journal = stand.open_with(options, "a").unwrap().0;
                }
                1 => journal.close().unwrap(),
                _ => {
                    n += 1;
                    journal.append(&[decision(n, stream, position)], 0).unwrap();
                }
            }
        }
        drop(journal);
        stand.assert_sound(n);
        assert_resumes(&stand);
        for from in [1, n / 2, n] {
            let numbers: Vec<u64> = journal::records_from(&stand.path, from).unwrap().map(|one| one.unwrap().0.n).collect();
            prop_assert_eq!(numbers, (from.max(1)..=n).collect::<Vec<_>>());
        }
    }
}
