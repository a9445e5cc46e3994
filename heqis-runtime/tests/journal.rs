//! `heqis-runtime journal`: what it prints, what it writes and removes, and with which exit code.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use heqis_data::journal::Names;
use heqis_quant::Date;
use heqis_quant::Decision;
use heqis_quant::decision::journal::{
    Contents, EntryId, Identity, JournalLine, JournalState, SegmentHeader, SegmentIndex, StreamName,
};
use heqis_runtime::cli::{self, Cli, Command, World};
use heqis_runtime::topology::report::Look;

const GOLDEN: &str = include_str!("../../heqis-quant/tests/golden/journal.jsonl");

/// Exit code, standard output and standard error of `journal` with `arguments`, in directory `dir`.
fn journal(dir: &Path, arguments: &[&str]) -> (u8, String, String) {
    let world = World {
        directory: dir.to_owned(),
        overrides: None,
        look: Look::Plain,
        width: 120,
    };
    let cli = Cli::try_parse_from([&["heqis-runtime", "journal"], arguments].concat()).unwrap();
    let Some(Command::Journal(args)) = &cli.command else {
        panic!("{cli:?}")
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = cli::journal::journal(args, &world, &mut out, &mut err).unwrap();
    (
        code,
        String::from_utf8(out).unwrap(),
        String::from_utf8(err).unwrap(),
    )
}

/// Decision `n`; each has a trading day of its own.
fn decision(n: u64) -> (EntryId, Decision) {
    let contents = Contents::parse(GOLDEN.as_bytes(), "golden").unwrap();
    let (id, record) = contents.decisions[0].clone();
    let days = Date::parse("2024-01-01").unwrap().days() + n as i32;
    let date = Date::from_days(days).unwrap();
    (
        EntryId {
            n,
            position: n,
            ..id
        },
        Decision { date, ..record },
    )
}

/// Writes a finished journal whose segments end with the decisions `ends`.
fn stand(ends: &[u64]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("decisions.jsonl");
    let names = Names::of(&path);
    let identity = Identity {
        topology: "tested".into(),
        ..Identity::default()
    };
    let name = StreamName {
        stream: 0xab,
        source: "market".into(),
        replayable: true,
    };
    let (mut state, mut before) = (JournalState::default(), 0);
    for (segment, &end) in (1..).zip(ends) {
        let is_last = segment == ends.len() as u64;
        let mut lines = vec![
            JournalLine::Header(SegmentHeader::new(identity.clone(), segment, before)),
            JournalLine::Stream(name.clone()),
        ];
        lines.extend((before + 1..=end).map(|n| {
            let (id, record) = decision(n);
            JournalLine::Decision(id, record)
        }));
        if is_last {
            lines.push(JournalLine::Closing { decisions: end });
        }
        let mut text = String::new();
        for line in &lines {
            line.write(&mut text);
            state.take(line);
        }
        if is_last {
            fs::write(&path, text).unwrap();
        } else {
            fs::write(names.segment(segment), &text).unwrap();
            let index = SegmentIndex {
                segment,
                before,
                bytes: text.len() as u64,
                crc32: crc32(text.as_bytes()),
                days: Some((decision(before + 1).1.date, decision(end).1.date)),
                state: state.clone(),
            };
            fs::write(names.index(segment), index.text()).unwrap();
        }
        before = end;
    }
    (dir, path)
}

/// CRC-32 (IEEE), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 * (crc & 1))
        })
    })
}

#[test]
fn segments_are_listed_with_their_decisions_days_and_indexes() {
    let (dir, path) = stand(&[4, 9, 12]);
    fs::remove_file(Names::of(&path).index(2)).unwrap();
    let (code, out, err) = journal(dir.path(), &["ls", "decisions.jsonl"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let rows: Vec<Vec<&str>> = out
        .lines()
        .map(|line| {
            line.split_whitespace()
                .filter(|word| *word != "|")
                .collect()
        })
        .collect();
    let has = |expected: &[&str]| {
        rows.iter()
            .any(|row| expected.iter().all(|word| row.contains(word)))
    };
    assert!(
        has(&["1", "1-4", "2024-01-02", "2024-01-05", "sound", "no"]),
        "{out}"
    );
    assert!(has(&["2", "5-9", "missing"]), "{out}");
    assert!(has(&["3", "10-12", "active", "yes"]), "{out}");
    assert!(out.ends_with("12 decisions\n"), "{out}");
    let (code, out, err) = journal(dir.path(), &["ls", "nothing.jsonl"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("nothing.jsonl: read: "), "{err}");
}

#[test]
fn verify_names_file_line_and_rule_of_what_is_wrong() {
    let (dir, path) = stand(&[4, 9, 12]);
    let (code, out, err) = journal(dir.path(), &["verify", "decisions.jsonl"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.ends_with("decisions.jsonl: no faults in 3 segments, 12 decisions\n"),
        "{out}"
    );
    let names = Names::of(&path);
    let sound = fs::read_to_string(names.segment(2)).unwrap();
    fs::write(names.segment(2), sound.replacen("17.01", "17.02", 1)).unwrap();
    let (code, _, err) = journal(dir.path(), &["verify", "decisions.jsonl"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("decisions.000002.jsonl, line 3: checksum is"),
        "{err}"
    );
    fs::write(names.segment(2), sound).unwrap();
    fs::copy(names.index(1), names.index(2)).unwrap();
    let (code, _, err) = journal(dir.path(), &["verify", "decisions.jsonl"]);
    assert_eq!(code, 1);
    assert!(
        err.ends_with("decisions.000002.index.json: is the index of segment 1\n"),
        "{err}"
    );
}

#[test]
fn an_export_does_not_depend_on_where_segments_end() {
    let (one, _) = stand(&[12]);
    let (many, _) = stand(&[1, 4, 9, 12]);
    for arguments in [
        &["export", "decisions.jsonl"][..],
        &["export", "decisions.jsonl", "--csv"],
        &[
            "export",
            "decisions.jsonl",
            "--from",
            "2024-01-05",
            "--to",
            "2024-01-09",
        ],
    ] {
        let (code, expected, err) = journal(one.path(), arguments);
        assert_eq!((code, err.as_str()), (0, ""));
        assert_eq!(journal(many.path(), arguments).1, expected);
    }
    let whole = fs::read_to_string(one.path().join("decisions.jsonl")).unwrap();
    assert_eq!(journal(one.path(), &["export", "decisions.jsonl"]).1, whole);
    let (_, part, _) = journal(
        many.path(),
        &[
            "export",
            "decisions.jsonl",
            "--from",
            "2024-01-05",
            "--to",
            "2024-01-09",
        ],
    );
    let contents = Contents::parse(part.as_bytes(), "part").unwrap();
    fs::write(many.path().join("part.jsonl"), &part).unwrap();
    assert_eq!(journal(many.path(), &["verify", "part.jsonl"]).0, 0);
    let numbers: Vec<u64> = contents.decisions.iter().map(|(id, _)| id.n).collect();
    assert_eq!(numbers, [4, 5, 6, 7, 8]);
    let (_, table, _) = journal(many.path(), &["export", "decisions.jsonl", "--csv"]);
    let first = "1,market,00000000000000ab,1,600000.SH,2024-01-02,1434092400000000000,17.01,buy,0.6,entered,in,0.0125,0.1,0.3,0.6";
    assert_eq!(table.lines().nth(1), Some(first));
    assert_eq!(table.lines().count(), 13);
}

#[test]
fn an_export_overwrites_no_file() {
    let (dir, path) = stand(&[4, 9]);
    let arguments = ["export", "decisions.jsonl", "--out", "out.jsonl"];
    let (code, out, err) = journal(dir.path(), &arguments);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.ends_with("out.jsonl: 9 decisions\n"), "{err}");
    assert_eq!(journal(dir.path(), &arguments).0, 1);
    assert_eq!(
        journal(
            dir.path(),
            &["export", "decisions.jsonl", "--out", "decisions.jsonl"]
        )
        .0,
        1
    );
    assert_eq!(
        journal(dir.path(), &["verify", "out.jsonl"]).0,
        0,
        "what was exported is a journal"
    );
    assert!(path.exists());
}

#[test]
fn prune_removes_the_oldest_segments_and_keeps_the_state() {
    let (dir, path) = stand(&[2, 4, 6, 8, 10]);
    let names = Names::of(&path);
    let found = |names: &Names| names.find().unwrap();
    let arguments = ["prune", "decisions.jsonl", "--keep-segments", "2"];
    let (code, out, err) = journal(dir.path(), &arguments);
    assert_eq!(
        (code, err.as_str()),
        (2, "nothing is removed without --yes\n")
    );
    assert_eq!(out.lines().count(), 2);
    assert_eq!(found(&names).segments, [1, 2, 3, 4]);
    let (code, out, _) = journal(dir.path(), &[&arguments[..], &["--yes"]].concat());
    assert_eq!(code, 0);
    assert!(
        out.ends_with("removed; the journal starts at decision 5\n"),
        "{out}"
    );
    assert_eq!(found(&names).segments, [3, 4]);
    assert_eq!(found(&names).indexes, [2, 3, 4]);
    let (code, out, err) = journal(dir.path(), &["verify", "decisions.jsonl"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains("6 decisions; starts at decision 5, those before it were removed"),
        "{out}"
    );
    let (_, out, _) = journal(dir.path(), &["ls", "decisions.jsonl"]);
    assert!(out.contains("starts at decision 5"), "{out}");
    let contents = heqis_compute::journal::read(&path).unwrap();
    assert_eq!(contents.header.unwrap().before, 4);
    // Days 2024-01-02 to -07 stand before; the newest finished segment stays whatever is asked for.
    let by_day = |day: &str| {
        journal(
            dir.path(),
            &["prune", "decisions.jsonl", "--before", day, "--yes"],
        )
    };
    assert_eq!(by_day("2024-01-06").1, "nothing to remove\n");
    assert_eq!(by_day("2030-01-01").0, 0);
    assert_eq!(found(&names).segments, [4]);
    assert_eq!(journal(dir.path(), &["verify", "decisions.jsonl"]).0, 0);
}

#[test]
fn prune_removes_nothing_where_a_segment_is_not_what_its_index_says() {
    let (dir, path) = stand(&[2, 4, 6, 8]);
    let names = Names::of(&path);
    let text = fs::read_to_string(names.segment(2)).unwrap();
    fs::write(names.segment(2), text.replacen("17.01", "17.02", 1)).unwrap();
    let arguments = ["prune", "decisions.jsonl", "--keep-segments", "1", "--yes"];
    let (code, out, err) = journal(dir.path(), &arguments);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.contains("decisions.000002.jsonl, line 3: checksum is"),
        "{err}"
    );
    assert_eq!(names.find().unwrap().segments, [1, 2, 3]);
    assert!(Cli::try_parse_from(["heqis-runtime", "journal", "prune", "a"]).is_err());
    assert!(
        Cli::try_parse_from([
            "heqis-runtime",
            "journal",
            "prune",
            "a",
            "--keep-segments",
            "0"
        ])
        .is_err()
    );
}
