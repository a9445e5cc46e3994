//! Damaged topologies, foreign words and arbitrary texts: each is read or refused, and none panics.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::Path;

use heqis_runtime::topology::report::{self, Look};
use heqis_runtime::topology::{Override, Request, load_text};
use proptest::prelude::*;
use support::SOUND;

/// Loads and draws, in every form; the faults themselves are of no interest.
fn survives(text: &str, overrides: Vec<Override>) {
    let mut request = Request::new(
        "topology.toml",
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults"),
    );
    request.every_profile = true;
    request.overrides = overrides;
    if let Err(faults) = load_text(text, &request, &support::registry()) {
        assert!(!faults.list.is_empty());
        for look in [Look::Plain, Look::Colour] {
            assert!(!report::render(&faults, look, 80).is_empty());
        }
        assert!(serde_json::from_str::<serde_json::Value>(&report::json(&faults)).is_ok());
    }
}

#[test]
fn a_file_cut_off_anywhere_is_a_fault_and_no_panic() {
    for end in (0..SOUND.len()).filter(|&end| SOUND.is_char_boundary(end)) {
        survives(&SOUND[..end], Vec::new());
    }
}

/// Words that mean something, to get past the parser and deep into the passes.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "market",
            "rows",
            "ring",
            "engine",
            "journal",
            "feedback",
            "gateway",
            "compute",
            "block",
            "latest",
            "0",
            "-1",
            "nan",
            "1e400",
            "[]",
            "{}",
            "[1, 2]",
            "true",
            "\"tcp\"",
            "\"ipc\"",
            "5555",
            "\"0s\"",
            "\"5m\"",
            "host",
            "from",
            "to",
            "node",
            "kind",
            "params",
            "[[edges]]",
            "[stages.x]",
            "\"\"",
            "\"é\"",
            "2016-01-04",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ]
}

proptest! {
    #[test]
    fn a_file_with_words_exchanged_is_read_or_refused(
        changes in prop::collection::vec((0_usize..400, word()), 1..6),
    ) {
        let words: Vec<&str> = SOUND.split_inclusive(|c: char| c.is_whitespace() || "\"=,[]{}.".contains(c)).collect();
        let mut text = String::new();
        for (index, original) in words.iter().enumerate() {
            match changes.iter().find(|(at, _)| at % words.len() == index) {
                Some((_, new)) => {
                    text.push_str(new);
                    text.extend(original.chars().last());
                }
                None => text.push_str(original),
            }
        }
        survives(&text, Vec::new());
    }

    #[test]
    fn an_override_of_any_kind_is_applied_or_refused(
        path in "(topology|nodes|stages|edges|budgets|defaults)(\\.(market|compute|ring->engine|params|board|0|\\PC{0,3})){0,3}",
        value in word(),
    ) {
        survives(SOUND, vec![Override::set(format!("{path}={value}"))]);
    }

    #[test]
    fn any_text_at_all_is_refused_without_a_panic(text in "\\PC{0,200}") {
        survives(&text, vec![Override::set(text.clone())]);
    }
}
