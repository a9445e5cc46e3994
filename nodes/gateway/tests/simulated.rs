//! Bars from a seed: the same everywhere, in order, within the limits of the exchange.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use heqis_actors::{BuildContext, Clock, Next, Source};
use heqis_gateway::source::Simulated;
use heqis_quant::rules::{Limits, Markets};
use heqis_quant::{Bar, CleanConfig, Cleaner, Date, Symbol};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{bars_of, config, context};

fn bars(params: Value) -> Vec<Bar> {
    bars_of(&mut Simulated::build(&config(params), &context("")).unwrap())
}

fn cents(price: f64) -> i64 {
    let cents = (price * 100.0).round();
    assert!(
        (price * 100.0 - cents).abs() < 1e-6,
        "{price} is no whole number of cents"
    );
    cents as i64
}

fn starts() -> impl Strategy<Value = Date> {
    let (from, to) = (
        Date::parse("2015-01-01").unwrap(),
        Date::parse("2026-12-31").unwrap(),
    );
    (from.days()..to.days())
        .prop_map(|days| Date::from_days(days).unwrap())
        .prop_filter("weekend", |date| !date.is_weekend())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The walk starts before and ends after the days on which limits changed.
    #[test]
    fn every_bar_is_a_possible_one(seed in any::<u64>(), symbols in 1u32..6, start in starts()) {
        let bars = bars(json!({ "seed": seed, "symbols": symbols, "days": 300, "start": start }));
        let markets = Markets::shipped().unwrap();
        let mut cleaner = Cleaner::new(CleanConfig::default()).unwrap();
        let mut last: BTreeMap<Symbol, Bar> = BTreeMap::new();
        prop_assert_eq!(bars.len(), symbols as usize * 300);
        for bar in bars {
            let [open, high, low, close] = [bar.open, bar.high, bar.low, bar.close].map(cents);
            prop_assert!(low <= open.min(close) && high >= open.max(close) && low > 0);
            let reference = cents(bar.pre_close.unwrap());
            if let Limits::Band { up, down } =
                markets.limits(bar.symbol, bar.date, false, reference).unwrap()
            {
                prop_assert!(down <= low && high <= up, "{:?}", bar);
            } else {
                prop_assert!(false, "{} has no limits on {}", bar.symbol, bar.date);
            }
            prop_assert!(bar.volume_shares > 0.0 && bar.volume_shares % 100.0 == 0.0, "whole lots");
            if let Some(before) = last.insert(bar.symbol, bar) {
                prop_assert!(before.time_ns < bar.time_ns);
                prop_assert_eq!(bar.pre_close, Some(before.close));
            }
            prop_assert!(cleaner.check(bar).is_ok(), "the cleaner finds nothing to reject");
        }
    }
}

#[test]
fn a_seed_is_a_sequence_of_bars() {
    let params = |seed: u64| json!({ "seed": seed, "symbols": 3, "days": 50 });
    assert!(bars(params(7)) == bars(params(7)));
    assert!(bars(params(7)) != bars(params(8)));
}

#[test]
fn bars_come_day_by_day_in_the_order_of_symbols() {
    let got = bars(json!({ "seed": 1, "symbols": 2, "days": 3, "start": "2024-03-01" }));
    let got: Vec<String> = got
        .iter()
        .map(|bar| format!("{} {}", bar.date, bar.symbol))
        .collect();
    // 2024-03-01 is a Friday.
    let days = ["2024-03-01", "2024-03-04", "2024-03-05"];
    let expected: Vec<String> = days
        .iter()
        .flat_map(|day| ["600000.SH", "600001.SH"].map(|symbol| format!("{day} {symbol}")))
        .collect();
    assert_eq!(got, expected);
}

/// 2199-12-31 is a Tuesday.
#[test]
fn the_walk_may_last_to_the_end_of_the_calendar() {
    for (start, days) in [
        ("2199-12-27", 3),
        ("2199-12-30", 2),
        ("2199-12-31", 1),
        ("2020-01-02", 46_959),
    ] {
        let params = |days: u32| json!({ "seed": 1, "symbols": 2, "days": days, "start": start });
        let got = bars(params(days));
        assert_eq!(got.len() as u32, 2 * days);
        assert_eq!(got[got.len() - 1].date.to_string(), "2199-12-31");
        assert_eq!(
            Simulated::check(&config(params(days + 1)), Path::new("")),
            [format!(
                "days is {}, the calendar ends after {days}",
                days + 1
            )]
        );
    }
}

#[test]
fn a_symbol_does_not_depend_on_how_many_others_there_are() {
    let one = bars(json!({ "seed": 3, "symbols": 1, "days": 20 }));
    let of_many: Vec<Bar> = bars(json!({ "seed": 3, "symbols": 5, "days": 20 }))
        .into_iter()
        .filter(|bar| bar.symbol == one[0].symbol)
        .collect();
    assert_eq!(one, of_many);
}

#[test]
fn a_rate_spaces_bars_evenly_on_the_clock() {
    let clock = Clock::virtual_at(100);
    let cx = BuildContext::detached("market", "", clock.clone());
    let params = json!({ "seed": 1, "symbols": 1, "days": 3, "rate_per_s": 1000.0 });
    let mut source = Simulated::build(&config(params), &cx).unwrap();
    for due_ns in [100, 1_000_100, 2_000_100] {
        if due_ns > 100 {
            assert!(matches!(source.next().unwrap(), Next::At(at) if at == due_ns));
            clock.advance_to(due_ns);
        }
        assert!(matches!(source.next().unwrap(), Next::Item(_)));
    }
    assert!(matches!(source.next().unwrap(), Next::End));
}

#[test]
fn parameters_that_make_no_bars_are_refused_by_check_and_by_build() {
    let sound = json!({ "seed": 1, "symbols": 1, "days": 1 });
    for (name, value, fault) in [
        ("symbols", json!(0), "symbols is 0, it must lie in 1..=1000"),
        (
            "symbols",
            json!(1001),
            "symbols is 1001, it must lie in 1..=1000",
        ),
        ("days", json!(0), "days is 0, it must be at least 1"),
        (
            "days",
            json!(46_960),
            "days is 46960, the calendar ends after 46959",
        ),
        (
            "rate_per_s",
            json!(0.0),
            "rate_per_s is 0, it must lie in 0.001..=1000000000",
        ),
        (
            "rate_per_s",
            json!(-5.0),
            "rate_per_s is -5, it must lie in 0.001..=1000000000",
        ),
        (
            "rate_per_s",
            json!(1e-300),
            "it must lie in 0.001..=1000000000",
        ),
        (
            "start",
            json!("2024-03-02"),
            "start 2024-03-02 is a weekend, it must be a trading day",
        ),
    ] {
        let mut params = sound.clone();
        params[name] = value;
        let config = config(params);
        let faults = Simulated::check(&config, Path::new(""));
        assert!(faults.len() == 1 && faults[0].contains(fault), "{faults:?}");
        assert!(
            Simulated::build(&config, &context(""))
                .unwrap_err()
                .to_string()
                .contains(fault)
        );
    }
    assert!(Simulated::check(&config(sound), Path::new("")).is_empty());
}
