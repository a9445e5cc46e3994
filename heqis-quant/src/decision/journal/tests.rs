//! The bytes of journals, and the rules between their lines.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::decision::{Decision, DecisionReason, Position, Side};
use crate::error::QuantError;

/// The checksums are those of Python's `zlib.crc32`.
const GOLDEN: &str = include_str!("../../../tests/golden/journal.jsonl");

/// Every byte of a journal is covered by a rule, except that without its last byte the last line is torn.
#[test]
fn a_change_of_any_byte_is_noticed() {
    let golden = GOLDEN.as_bytes();
    let last = golden.len() - 1;
    for at in 0..=last {
        for changed in (0..8)
            .map(|bit| golden[at] ^ (1 << bit))
            .chain([b'\n', b'0', b'f'])
        {
            if changed == golden[at] {
                continue;
            }
            let mut bytes = golden.to_vec();
            bytes[at] = changed;
            match Contents::parse(&bytes, "changed.jsonl") {
                Err(QuantError::Journal { line, .. }) => {
                    let expected = 1 + golden[..at].iter().filter(|&&byte| byte == b'\n').count();
                    assert_eq!(line, expected, "byte {at} is now {changed:#04x}");
                }
                Ok(contents) if at == last => {
                    assert!(!contents.closed && contents.decisions.len() == 2);
                }
                other => panic!("byte {at} is now {changed:#04x}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_journal_that_was_read_is_written_with_the_same_bytes() -> Result<(), QuantError> {
    let contents = Contents::parse(GOLDEN.as_bytes(), "golden.jsonl")?;
    assert!(contents.closed);
    assert_eq!(contents.whole_bytes, GOLDEN.len() as u64);
    assert!(contents.decisions[1].1.predicted_return.is_nan());
    let mut text = String::new();
    JournalLine::Header(SegmentHeader::new(Identity::default(), 1, 0)).write(&mut text);
    for name in contents.streams {
        JournalLine::Stream(name).write(&mut text);
    }
    for (id, decision) in contents.decisions {
        assert_eq!((id.stream, id.position), (0xab, 6 + id.n));
        JournalLine::Decision(id, decision).write(&mut text);
        let part = decision.text();
        assert!(text.contains(&part[1..part.len() - 1]));
    }
    JournalLine::Closing { decisions: 2 }.write(&mut text);
    assert_eq!(text, GOLDEN);
    Ok(())
}

#[test]
fn a_refused_order_is_identified_by_position_and_reason() -> Result<(), QuantError> {
    let [(_, bought), (_, invalid)] =
        Contents::parse(GOLDEN.as_bytes(), "golden.jsonl")?.decisions[..]
    else {
        panic!("two decisions")
    };
    assert_eq!(
        (bought.refused_side(), invalid.refused_side()),
        (None, None)
    );
    let refused = |reason, position| Decision {
        side: Side::Hold,
        reason,
        position,
        ..bought
    };
    let buy = refused(DecisionReason::CoolDown, Position::Flat);
    let sale = refused(DecisionReason::LimitUp, Position::Long);
    assert_eq!(buy.refused_side(), Some(Side::Buy));
    assert_eq!(sale.refused_side(), Some(Side::Sell));
    Ok(())
}

#[test]
fn lines_that_break_a_rule_are_named() {
    let lines: Vec<&str> = GOLDEN.lines().collect();
    for (kept, line, rule) in [
        (&[1][..], 1, "is not the header"),
        (&[0, 0], 2, "is a second header"),
        (&[0, 3], 2, "decision 2 stands at 1"),
        (&[0, 1, 2, 4], 4, "closes 2 decisions, 1 are there"),
        (&[0, 2, 3, 4, 2], 5, "decision 1 stands at 3"),
    ] {
        let text: String = kept.iter().flat_map(|&at| [lines[at], "\n"]).collect();
        let error = Contents::parse(text.as_bytes(), "a.jsonl").map_err(|e| e.to_string());
        let expected = format!("journal a.jsonl, line {line}: {rule}");
        assert!(
            error
                .as_ref()
                .is_err_and(|message| message.starts_with(&expected)),
            "{error:?}"
        );
    }
}

/// A journal of format 1 is read, and decisions after its closing line are of a later run.
#[test]
fn the_first_format_is_read_and_decisions_may_follow_a_closing_line() -> Result<(), QuantError> {
    const FIRST: &str = include_str!("../../../tests/golden/journal-1.jsonl");
    let contents = Contents::parse(FIRST.as_bytes(), "first.jsonl")?;
    assert_eq!(contents.header, Some(SegmentHeader::first_format()));
    assert!(contents.closed && contents.decisions.len() == 2);
    let mut text = FIRST.to_owned();
    let (id, decision) = contents.decisions[0].clone();
    JournalLine::Decision(EntryId::of(3, id.stream, id.position), decision).write(&mut text);
    assert!(!Contents::parse(text.as_bytes(), "first.jsonl")?.closed);
    JournalLine::Closing { decisions: 3 }.write(&mut text);
    let contents = Contents::parse(text.as_bytes(), "first.jsonl")?;
    assert!(contents.closed && contents.decisions.len() == 3);
    JournalLine::Stream(StreamName {
        stream: 1,
        source: "market".into(),
        replayable: true,
    })
    .write(&mut text);
    assert!(Contents::parse(text.as_bytes(), "first.jsonl").is_err());
    Ok(())
}

#[test]
fn a_header_has_the_identity_and_the_number_of_the_segment() -> Result<(), QuantError> {
    let identity = Identity {
        topology: "dual-board".into(),
        rule: "0123456789abcdef".into(),
        bundles: vec!["aa".into(), "bb".into()],
    };
    let mut text = String::new();
    JournalLine::Header(SegmentHeader::new(identity.clone(), 3, 41)).write(&mut text);
    let start = r#"{"heqis_journal":2,"topology":"dual-board","rule":"0123456789abcdef","bundles":["aa","bb"],"segment":3,"before":41,"crc":""#;
    assert!(text.starts_with(start), "{text}");
    let mut scanner = Scanner::new("a").expecting(3, 41);
    scanner.take(text.trim_end().as_bytes())?;
    assert_eq!(scanner.decisions(), 41);
    let mut scanner = Scanner::new("a").expecting(3, 42);
    assert!(scanner.take(text.trim_end().as_bytes()).is_err());
    let start = Identity {
        rule: "f".into(),
        topology: String::new(),
        ..identity.clone()
    };
    let differences: Vec<String> = identity
        .differences(&start)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        differences,
        ["rule is 0123456789abcdef in the journal and f now"]
    );
    Ok(())
}

#[test]
fn an_index_is_read_as_it_was_written_and_a_change_is_noticed() -> Result<(), QuantError> {
    let mut state = JournalState::default();
    let mut scanner = Scanner::new("golden.jsonl");
    for line in GOLDEN.lines() {
        state.take(&scanner.take(line.as_bytes())?);
    }
    assert_eq!(state.runs(), [(0xab, 7, 8)]);
    assert!(state.is_closed() && state.last().len() == 2);
    let index = SegmentIndex {
        segment: 1,
        before: 0,
        bytes: GOLDEN.len() as u64,
        crc32: crc32fast::hash(GOLDEN.as_bytes()),
        days: Some((state.last()[0].1.date, state.last()[1].1.date)),
        state,
    };
    let text = index.text();
    assert_eq!(SegmentIndex::parse(text.as_bytes(), "i")?.text(), text);
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        assert!(SegmentIndex::parse(&changed, "i").is_err(), "byte {at}");
        assert!(SegmentIndex::parse(&text.as_bytes()[..at], "i").is_err());
    }
    Ok(())
}

fn merged(n: u64, done: &[&str], kept: &[&str], tag: u64) -> JournalLine {
    let runs = |runs: &[&str]| runs.iter().map(|run| run.parse().unwrap()).collect();
    let items = MadeFrom {
        done: runs(done),
        kept: runs(kept),
        tag,
    };
    let (stream, position) = items.newest().unwrap_or_default();
    let id = EntryId {
        made_from: Some(Box::new(items)),
        ..EntryId::of(n, stream, position)
    };
    let golden = Contents::parse(GOLDEN.as_bytes(), "golden.jsonl").unwrap();
    JournalLine::Decision(id, golden.decisions[0].1)
}

#[test]
fn a_decision_made_from_several_frames_names_all_of_its_source_items() {
    let line = merged(3, &["ab:1-10", "cd:4-4"], &["cd:5-9"], 7);
    let mut text = String::new();
    line.write(&mut text);
    let start = r#"{"n":3,"stream":"00000000000000cd","position":9,"made_from":{"done":["00000000000000ab:1-10","00000000000000cd:4-4"],"kept":["00000000000000cd:5-9"],"tag":7},"symbol":"#;
    assert!(text.starts_with(start), "{text}");
    assert_eq!(JournalLine::parse(text.trim_end()).unwrap(), line);
    let JournalLine::Decision(id, _) = line else {
        unreachable!("it is one")
    };
    assert_eq!(id.streams(), [0xab, 0xcd]);
}

#[test]
fn source_items_in_another_form_are_refused() {
    let wrong = |done: &[&str], kept: &[&str], expected: &str| {
        let mut text = String::new();
        merged(1, done, kept, 0).write(&mut text);
        let error = JournalLine::parse(text.trim_end()).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    wrong(&["ab:5-6", "ab:1-2"], &[], "in disorder");
    wrong(&["ab:1-2", "ab:3-4"], &[], "in disorder");
    wrong(&["ab:1-2"], &["cd:3-4", "ab:1-2"], "in disorder");
    wrong(&[], &[], "from no source item");
    let mut text = String::new();
    merged(1, &["ab:1-2"], &[], 0).write(&mut text);
    let body = text.trim_end().rsplit_once(",\"crc").unwrap().0;
    for (from, to, expected) in [
        (
            "\"position\":2",
            "\"position\":1",
            "not those of the newest",
        ),
        (":1-2", ":2-1", "is not stream:first-last"),
        (":1-2", ":1", "is not stream:first-last"),
        ("\"done\"", "\"dome\"", "unknown field"),
    ] {
        let mut changed = body.replace(from, to) + "}";
        seal(&mut changed, 0);
        let error = JournalLine::parse(changed.trim_end()).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let mut first = Scanner::new("a");
    let mut text = String::new();
    JournalLine::Header(SegmentHeader::first_format()).write(&mut text);
    first.take(text.trim_end().as_bytes()).unwrap();
    text.clear();
    merged(1, &["ab:1-2"], &[], 0).write(&mut text);
    assert!(first.take(text.trim_end().as_bytes()).is_err());
}

#[test]
fn a_decision_that_completes_nothing_is_known_until_its_items_are_committed() {
    let mut state = JournalState::default();
    for line in [
        merged(1, &[], &["ab:1-4"], 1),
        merged(2, &[], &["ab:3-6"], 2),
        merged(3, &["ab:1-2"], &["ab:3-6"], 0),
    ] {
        state.take(&line);
    }
    assert_eq!((state.runs(), state.open().len()), (vec![(0xab, 1, 2)], 2));
    state.take(&merged(4, &["ab:3-4"], &[], 0));
    assert_eq!(state.runs(), [(0xab, 1, 4)]);
    assert_eq!(
        state.open().iter().map(|open| open.tag).collect::<Vec<_>>(),
        [2]
    );
    let index = SegmentIndex {
        segment: 1,
        before: 0,
        bytes: 1,
        crc32: 0,
        days: None,
        state: state.clone(),
    };
    let read = SegmentIndex::parse(index.text().as_bytes(), "i").unwrap();
    assert_eq!(read.state.open(), state.open());
    assert_eq!(read.state.last(), state.last());
}

proptest! {
    #[test]
    fn runs_contain_exactly_the_items_of_merged_decisions(windows in prop::collection::vec((0u64..60, 0u64..9), 1..40)) {
        let mut state = JournalState::default();
        let mut expected = BTreeSet::new();
        for (n, &(first, more)) in (1..).zip(&windows) {
            state.take(&merged(n, &[&format!("ab:{first}-{}", first + more)], &[], 0));
            expected.extend(first..=first + more);
        }
        let held: BTreeSet<u64> = state.runs().iter().flat_map(|&(_, first, last)| first..=last).collect();
        prop_assert_eq!(held, expected);
        prop_assert!(state.runs().windows(2).all(|pair| pair[0].2 + 1 < pair[1].1));
    }

    #[test]
    fn runs_contain_exactly_the_committed_positions(positions in prop::collection::vec(0u64..80, 0..120)) {
        let golden = Contents::parse(GOLDEN.as_bytes(), "golden.jsonl").map_err(|e| TestCaseError::fail(e.to_string()))?;
        let (id, decision) = golden.decisions[0].clone();
        let mut state = JournalState::default();
        for (n, &position) in (1..).zip(&positions) {
            state.take(&JournalLine::Decision(EntryId::of(n, id.stream, position), decision));
        }
        let held: BTreeSet<u64> = state.runs().iter().flat_map(|&(_, first, last)| first..=last).collect();
        prop_assert_eq!(held, positions.into_iter().collect::<BTreeSet<_>>());
        prop_assert!(state.runs().windows(2).all(|pair| pair[0].2 + 1 < pair[1].1));
    }
}
