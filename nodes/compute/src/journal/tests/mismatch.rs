//! Journals of another rule or stream: refused, kept under another name, or gone on in.

use super::*;

#[test]
fn an_unfinished_journal_of_another_rule_is_refused_kept_or_gone_on_in() {
    let written = |close: bool| {
        let stand = Stand::new();
        let (mut journal, _) = stand.open();
        write(&mut journal, 1..=5);
        if close {
            journal.close().unwrap();
        }
        stand
    };
    let with = |mismatch| Options { mismatch, ..SMALL };
    let stand = written(false);
    let before = stand.files();
    let error = stand.open_with(SMALL, "b").unwrap_err().to_string();
    assert!(
        error.contains("rule is a in the journal and b now; choose"),
        "{error}"
    );
    assert!(stand.files() == before);
    let (journal, resumed) = stand.open_with(with(Mismatch::New), "b").unwrap();
    assert_eq!(resumed.decisions, 0);
    drop(journal);
    assert_eq!(
        journal::read(stand.names().run(1).active())
            .unwrap()
            .decisions
            .len(),
        5
    );
    // Later decisions are in a segment of the new identity, and the next start continues there.
    for (stand, options) in [
        (written(false), with(Mismatch::Append)),
        (written(true), SMALL),
    ] {
        let (mut journal, resumed) = stand.open_with(options, "b").unwrap();
        assert_eq!(resumed.decisions, 5);
        write(&mut journal, 6..=6);
        drop(journal);
        let (_, resumed) = stand.open_with(SMALL, "b").unwrap();
        assert_eq!(resumed.decisions, 6);
        stand.assert_sound(6);
    }
}

#[test]
fn another_stream_of_the_same_source_is_a_mismatch_unless_the_journal_is_finished() {
    let name = |stream| StreamName {
        stream,
        source: "market".into(),
        replayable: true,
    };
    let written = |close: bool| {
        let stand = Stand::new();
        let (mut journal, _) = stand.open();
        journal.name_stream(name(0xab)).unwrap();
        write(&mut journal, 1..=5);
        if close {
            journal.close().unwrap();
        }
        stand
    };
    let stand = written(false);
    let (mut journal, _) = stand.open();
    journal.name_stream(name(0xab)).unwrap();
    let error = journal.name_stream(name(0xcd)).unwrap_err().to_string();
    assert!(error.contains("the stream of source market is 00000000000000ab in the journal and 00000000000000cd now"), "{error}");
    drop(journal);
    let open = |options| JournalFile::open(&stand.path, options, identity("a"), &[name(0xcd)], 0);
    assert!(matches!(open(SMALL), Err(JournalError::Mismatch { .. })));
    let new = Options {
        mismatch: Mismatch::New,
        ..SMALL
    };
    // Detected at the first decision: the old one is kept, and the next start begins a new one.
    let (mut journal, _) = stand.open_with(new, "a").unwrap();
    assert!(journal.name_stream(name(0xcd)).is_err());
    assert!(journal.append(&some(6..=6), 0).is_err());
    drop(journal);
    assert_eq!(stand.open_with(new, "a").unwrap().1.decisions, 0);
    assert_eq!(
        journal::read(stand.names().run(1).active())
            .unwrap()
            .decisions
            .len(),
        5
    );
    let stand = written(true);
    let (mut journal, _) = stand.open();
    journal.name_stream(name(0xcd)).unwrap();
    journal.append(&[decision(6, 0xcd, 1)], 0).unwrap();
    journal.close().unwrap();
    drop(journal);
    stand.assert_sound(6);
}
