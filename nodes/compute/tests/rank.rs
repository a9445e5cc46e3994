//! `rank` and `portfolio` as stages: what closes a cross-section, and what a restart restores.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use heqis_actors::testing::StageTest;
use heqis_actors::{
    AnyFrame, BuildContext, Clock, Collector, Ending, Frame, Stage as _, StageError,
};
use heqis_compute::{PortfolioStage, Rank};
use heqis_messages::{CrossSection, DecisionMessage, PredictionMessage};
use heqis_quant::{MarketSnapshot, Prediction};
use serde_json::json;
use support::{bar, build, context, count, framed};

const NAMES: [&str; 3] = ["000001.SZ", "002032.SZ", "600000.SH"];

/// The prediction of stock `at` on day `day`, at a position of its own.
fn prediction(day: i32, at: usize) -> Frame<PredictionMessage> {
    let bar = bar(NAMES[at], day);
    let score = ((day * 7 + at as i32 * 5) % 11) as f64 / 100.0;
    let message = PredictionMessage {
        bar,
        prediction: Prediction {
            predicted_return: score,
            probabilities: [0.2, 0.3, 0.5],
        },
        snapshot: Some(MarketSnapshot {
            reference_close: Some(bar.close),
            ..MarketSnapshot::of_close(bar.date, bar.close)
        }),
    };
    framed((day * 3) as u64 + at as u64 + 1, message)
}

fn rank(cx: &BuildContext, params: serde_json::Value) -> StageTest<Rank> {
    build(cx, params)
}

/// Gives frames one by one and returns what leaves.
fn give(
    rank: &mut StageTest<Rank>,
    frames: &[Frame<PredictionMessage>],
) -> Vec<Frame<CrossSection>> {
    frames
        .iter()
        .flat_map(|frame| rank.batch(std::slice::from_ref(frame)).unwrap())
        .collect()
}

fn members(section: &Frame<CrossSection>) -> Vec<&str> {
    section
        .0
        .rows
        .iter()
        .map(|row| row.bar.symbol.as_str())
        .collect()
}

#[test]
fn a_cross_section_is_closed_when_complete_or_by_a_later_time_and_names_what_is_missing() {
    let cx = context("");
    let mut rank = rank(&cx, json!({ "symbols": NAMES }));
    // In any order; the message is by symbol.
    let first = give(
        &mut rank,
        &[prediction(0, 2), prediction(0, 0), prediction(0, 1)],
    );
    assert_eq!(first.len(), 1);
    assert_eq!(members(&first[0]), NAMES);
    assert_eq!(first[0].head().origins().done()[0].last, 3);
    let second = give(&mut rank, &[prediction(1, 0), prediction(1, 2)]);
    assert!(second.is_empty());
    let second = give(&mut rank, &[prediction(2, 0)]);
    assert_eq!(second[0].0.missing[0].as_str(), NAMES[1]);
    assert_eq!((second[0].0.number, members(&second[0]).len()), (2, 2));
    // A later prediction of that time is late, by itself.
    let late = give(&mut rank, &[prediction(1, 1)]);
    assert!(late[0].0.is_late && members(&late[0]) == [NAMES[1]]);
    assert_eq!(late[0].0.number, 2);
    let rest = rank.end(Ending::Complete).unwrap();
    assert_eq!(members(&rest[0]), [NAMES[0]]);
    let counts = ["complete", "incomplete", "missing", "late"].map(|event| count(&cx, event));
    assert_eq!(counts, [1, 2, 3, 1]);
}

#[test]
fn without_a_list_those_of_the_last_days_are_expected() {
    let cx = context("");
    let mut rank = rank(&cx, json!({ "remember": 2 }));
    give(&mut rank, &[prediction(0, 0), prediction(0, 1)]);
    let missing = |sections: &[Frame<CrossSection>]| -> Vec<Vec<String>> {
        let names = |section: &Frame<CrossSection>| {
            section.0.missing.iter().map(ToString::to_string).collect()
        };
        sections.iter().map(names).collect()
    };
    // The first day is closed by the second, which waits for both.
    let sections = give(
        &mut rank,
        &[prediction(1, 0), prediction(2, 0), prediction(3, 0)],
    );
    let without = vec![NAMES[1].to_owned()];
    // After two days without it, one of two is complete.
    assert_eq!(
        missing(&sections),
        [vec![], without.clone(), without, vec![]]
    );
}

#[test]
fn the_clock_closes_a_cross_section_that_waits_too_long() {
    let clock = Clock::virtual_at(0);
    let cx = BuildContext::detached("tested", "", clock.clone());
    let mut rank = rank(&cx, json!({ "symbols": NAMES, "wait_s": 5 }));
    let mut collector = Collector::new(clock.clone());
    rank.stage
        .process(&prediction(0, 0), &mut collector.emitter())
        .unwrap();
    assert_eq!(collector.take_timer(), Some(5_000_000_000));
    rank.stage
        .on_timer(4_999_999_999, &mut collector.emitter())
        .unwrap();
    assert!(collector.take::<CrossSection>().is_empty());
    rank.stage
        .on_timer(5_000_000_000, &mut collector.emitter())
        .unwrap();
    let sections = collector.take::<CrossSection>();
    assert_eq!(
        (members(&sections[0]).len(), sections[0].0.missing.len()),
        (1, 2)
    );
}

#[test]
fn a_prediction_without_its_market_and_one_that_comes_twice_are_refused() {
    let mut rank = rank(&context(""), json!({}));
    let mut bare = (*prediction(0, 0)).clone();
    bare.snapshot = None;
    for (frame, rule) in [
        (framed(9, bare), "`market` of the indicators"),
        (prediction(0, 0), ""),
        (prediction(0, 0), "of this time already"),
    ] {
        match rank.process(&frame) {
            Ok(()) => assert_eq!(rule, ""),
            Err(StageError::Refused(text)) => assert!(text.contains(rule), "{text}"),
            Err(other) => panic!("{other}"),
        }
    }
}

/// A graph of both stages: predictions in, recorded decisions out.
struct Both {
    rank: StageTest<Rank>,
    portfolio: StageTest<PortfolioStage>,
}

impl Both {
    /// Restores what a journal holds, the last record of each stock.
    fn new(records: &[Frame<DecisionMessage>]) -> Self {
        let mut both = Self {
            rank: rank(&context(""), json!({})),
            portfolio: build(&context(""), json!({ "rule": { "hold": 1, "every": 2 } })),
        };
        let mut last: Vec<&Frame<DecisionMessage>> = Vec::new();
        for record in records {
            last.retain(|one| one.decision.symbol != record.decision.symbol);
            last.push(record);
        }
        for record in last {
            let record: &AnyFrame = record.any();
            both.rank.stage.recover(record);
            both.portfolio.stage.recover(record);
        }
        let mut collector = Collector::new(Clock::virtual_at(0));
        both.rank.stage.resume(&mut collector.emitter()).unwrap();
        both
    }

    fn give(&mut self, frames: &[Frame<PredictionMessage>]) -> Vec<Frame<DecisionMessage>> {
        let sections = give(&mut self.rank, frames);
        let decide = |section: &Frame<CrossSection>| {
            self.portfolio.batch(std::slice::from_ref(section)).unwrap()
        };
        sections.iter().flat_map(decide).collect()
    }
}

#[test]
fn a_restart_after_any_record_decides_what_is_left_as_before() {
    let frames: Vec<_> = (0..12)
        .flat_map(|day| (0..3).map(move |at| (day, at)))
        .filter(|(day, at)| (day + at) % 5 != 0)
        .map(|(day, at)| prediction(day, at as usize))
        .collect();
    let whole = Both::new(&[]).give(&frames);
    assert!(whole.len() > 20);
    for kept in 0..whole.len() {
        let mut both = Both::new(&whole[..kept]);
        // A node gives its stages no frame whose item is recorded as done.
        let mut done = heqis_actors::Origins::default();
        for record in whole[..kept]
            .iter()
            .filter(|one| one.head().origins().kept().is_empty())
        {
            done.add(&record.head().origins());
        }
        let is_left = |frame: &&Frame<PredictionMessage>| {
            let position = frame.head().origin.position;
            let mut runs = done.done().into_iter();
            !runs.any(|run| (run.first..=run.last).contains(&position))
        };
        let left: Vec<_> = frames.iter().filter(is_left).cloned().collect();
        let got = both.give(&left);
        let recorded_in_part = whole[..kept]
            .iter()
            .rev()
            .take_while(|one| !one.head().origins().kept().is_empty())
            .count();
        let expected = &whole[kept - recorded_in_part..];
        let text = |one: &Frame<DecisionMessage>| {
            (
                one.decision.text(),
                one.missing.clone(),
                one.head().origins(),
            )
        };
        let (got, expected): (Vec<_>, Vec<_>) = (
            got.iter().map(text).collect(),
            expected.iter().map(text).collect(),
        );
        assert_eq!(got, expected, "after {kept} records");
    }
}

#[test]
fn predictions_that_wait_are_in_the_saved_state() {
    let mut first = rank(&context(""), json!({ "symbols": NAMES }));
    give(
        &mut first,
        &[
            prediction(0, 0),
            prediction(0, 1),
            prediction(0, 2),
            prediction(1, 0),
        ],
    );
    let mut second = first.restart().unwrap();
    let sections = give(&mut second, &[prediction(1, 1), prediction(1, 2)]);
    assert_eq!((members(&sections[0]).len(), sections[0].0.number), (3, 2));
    assert_eq!(sections[0].head().origins().done()[0].first, 4);
}
