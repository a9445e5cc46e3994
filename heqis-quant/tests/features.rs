//! Properties of feature rows, on a real series.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use heqis_quant::{Bar, CleanConfig, Cleaner, FeatureSet, FeatureState, Marks};
use proptest::prelude::*;

/// Every feature of the table; those with a length in a few of them.
fn every() -> Vec<String> {
    let mut every = Vec::new();
    for (name, _) in heqis_quant::features::names() {
        let before = every.len();
        match name.strip_suffix("_N") {
            None => every.push(name.clone()),
            Some(stem) => every.extend(
                [1, 5, 20]
                    .map(|length| format!("{stem}_{length}"))
                    .into_iter()
                    .filter(|name| FeatureSet::parse(&[name]).is_ok()),
            ),
        }
        assert!(every.len() > before, "{name} needs a length in this list");
    }
    every
}

/// ln(1 + volume) is free of the level only as far as one share is negligible against the volume.
fn is_of_volume(name: &str) -> bool {
    name.starts_with("volume")
}

fn bars() -> Vec<Bar> {
    let mut cleaner = Cleaner::new(CleanConfig::default()).unwrap();
    let bars = common::bars("ashare/002032.SZ.csv").into_iter();
    bars.map(|bar| cleaner.check(bar).unwrap()).collect()
}

fn rows(set: &FeatureSet, bars: &[Bar]) -> Vec<Option<Vec<f64>>> {
    let mut state = FeatureState::new(set).unwrap();
    bars.iter().map(|bar| state.update(bar).unwrap()).collect()
}

/// The bar with every price multiplied and the volume divided, as after a bonus issue.
fn on_level(bar: Bar, factor: f64) -> Bar {
    Bar {
        open: bar.open * factor,
        high: bar.high * factor,
        low: bar.low * factor,
        close: bar.close * factor,
        pre_close: bar.pre_close.map(|p| p * factor),
        volume_shares: bar.volume_shares / factor,
        ..bar
    }
}

#[test]
fn the_standard_set_is_what_the_models_were_trained_on() {
    let set = FeatureSet::standard();
    assert_eq!(
        (set.len(), set.names().len(), set.warmup_bars()),
        (12, 12, 250)
    );
    assert_eq!(FeatureSet::parse(set.names()).unwrap(), set);
    // The number is in frames and files: the set must not change by accident.
    assert_eq!(set.id(), STANDARD_ID);
    let mut turned = set.names().to_vec();
    turned.swap(0, 1);
    assert_ne!(FeatureSet::parse(&turned).unwrap().id(), set.id());
}

// FNV-1a of the twelve names joined by newlines, computed by another program.
const STANDARD_ID: u32 = 0xd2436b55;

#[test]
fn unknown_names_are_refused_with_the_known_ones() {
    for (names, reason) in [
        (vec![], "must not be empty"),
        (vec!["return_1", "return_1"], "must not repeat"),
        (vec!["retrun_1"], "must be return_N"),
        (vec!["return"], "must be return_N"),
        (vec!["return_0"], "in 1..=1000"),
        (vec!["return_05"], "in 1..=1000"),
        (vec!["volatility_1"], "in 2..=1000"),
        (vec!["ma_ratio_1001"], "in 2..=1000"),
        (vec!["return_-1"], "in 1..=1000"),
        (vec!["Return_1"], "must be return_N"),
    ] {
        let message = FeatureSet::parse(&names).unwrap_err().to_string();
        assert!(
            message.starts_with("features: ") && message.contains(reason),
            "{message}"
        );
    }
}

#[test]
fn the_first_row_comes_right_after_the_warm_up_of_the_set() {
    let bars = bars();
    for name in every() {
        let set = FeatureSet::parse(&[&name]).unwrap();
        let first = rows(&set, &bars[..300]).iter().position(Option::is_some);
        assert_eq!(first, Some(set.warmup_bars()), "{name}");
    }
    for (name, warmup_bars) in [
        ("return_5", 5),
        ("ma_ratio_5", 4),
        ("k", 70),
        ("macd_ratio", 250),
        ("range_ratio", 0),
    ] {
        assert_eq!(
            FeatureSet::parse(&[name]).unwrap().warmup_bars(),
            warmup_bars,
            "{name}"
        );
    }
    let set = FeatureSet::standard();
    assert_eq!(
        rows(&set, &bars[..300]).iter().position(Option::is_some),
        Some(250)
    );
}

#[test]
fn values_are_right_by_hand() {
    let bars = bars();
    let set = FeatureSet::parse(&[
        "return_1",
        "return_5",
        "ma_ratio_5",
        "range_ratio",
        "body_ratio",
        "gap_ratio",
        "volume_ratio_5",
    ])
    .unwrap();
    let row = rows(&set, &bars[..6])[5].clone().unwrap();
    let (b, c) = (&bars[5], |i: usize| bars[i].close);
    let mean = (c(1) + c(2) + c(3) + c(4) + c(5)) / 5.0;
    let volume: f64 = bars[..5].iter().map(|bar| bar.volume_shares).sum::<f64>() / 5.0;
    let expected = [
        b.close / c(4) - 1.0,
        b.close / c(0) - 1.0,
        b.close / mean - 1.0,
        (b.high - b.low) / b.close,
        b.close / b.open - 1.0,
        b.open / c(4) - 1.0,
        ((1.0 + b.volume_shares) / (1.0 + volume)).ln(),
    ];
    for ((ours, expected), name) in row.iter().zip(expected).zip(set.names()) {
        assert!(
            (ours - expected).abs() < 1e-12,
            "{name}: {ours} for {expected}"
        );
    }
}

#[test]
fn features_do_not_depend_on_the_price_level() {
    let bars = bars();
    let mut names = every();
    names.retain(|name| !is_of_volume(name));
    let set = FeatureSet::parse(&names).unwrap();
    // A power of two keeps the arithmetic exact, so the rows must agree to the bit. Only volumes depend on the level.
    let cheap: Vec<Bar> = bars.iter().map(|bar| on_level(*bar, 0.25)).collect();
    assert_eq!(rows(&set, &bars), rows(&set, &cheap));
}

#[test]
fn an_ex_right_day_with_the_vendors_reference_changes_no_feature() {
    let bars = bars();
    // From bar 400 on, half the price and twice the shares, and the vendor says so.
    let mut split: Vec<Bar> = bars
        .iter()
        .enumerate()
        .map(|(i, bar)| if i < 400 { *bar } else { on_level(*bar, 0.5) })
        .collect();
    split[400].pre_close = Some(bars[399].close / 2.0);
    let set = FeatureSet::parse(&every()).unwrap();
    let (plain, split) = (rows(&set, &bars[..600]), rows(&set, &split[..600]));
    for (i, (a, b)) in plain.iter().zip(&split).enumerate() {
        for ((a, b), name) in a.iter().flatten().zip(b.iter().flatten()).zip(set.names()) {
            let bound = if is_of_volume(name) { 1e-4 } else { 1e-12 };
            assert!((a - b).abs() < bound, "bar {i}, {name}: {a} and {b}");
        }
    }
}

#[test]
fn a_suspected_ex_right_day_keeps_only_the_return_within_the_day() {
    let bars = bars();
    let set = FeatureSet::parse(&["return_1", "return_20", "gap_ratio", "volatility_20"]).unwrap();
    let rows = rows(&set, &bars);
    let mut suspected = 0;
    for (i, bar) in bars
        .iter()
        .enumerate()
        .filter(|(_, bar)| bar.marks.contains(Marks::EX_RIGHT_SUSPECTED))
    {
        let row = rows[i].as_ref().unwrap();
        assert!(
            (row[0] - (bar.close / bar.open - 1.0)).abs() < 1e-12,
            "{}",
            bar.date
        );
        assert_eq!(row[2], 0.0, "{}", bar.date);
        suspected += 1;
    }
    assert_eq!(suspected, 6);
    // In the whole series no return exceeds the limits by more than the rounding of a cent, and no jump stays in a state.
    for row in rows.iter().flatten() {
        assert!(row[0].abs() < 0.105, "{row:?}");
        assert!(row[3] < 0.08, "{row:?}");
    }
}

#[test]
fn a_bad_bar_is_an_error_and_leaves_the_state_as_it_was() {
    let bars = bars();
    let set = FeatureSet::parse(&every()).unwrap();
    let mut state = FeatureState::new(&set).unwrap();
    for bar in &bars[..300] {
        state.update(bar).unwrap();
    }
    let before = state.clone();
    for (bad, field) in [
        (
            Bar {
                close: f64::NAN,
                ..bars[300]
            },
            "close",
        ),
        (
            Bar {
                open: 0.0,
                ..bars[300]
            },
            "open",
        ),
        (
            Bar {
                pre_close: Some(-1.0),
                ..bars[300]
            },
            "pre_close",
        ),
        (
            Bar {
                volume_shares: f64::INFINITY,
                ..bars[300]
            },
            "volume_shares",
        ),
        (
            Bar {
                volume_shares: -1.0,
                ..bars[300]
            },
            "volume_shares",
        ),
    ] {
        let message = state.update(&bad).unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("features: {field}: ")),
            "{message}"
        );
        assert_eq!(state, before);
    }
    assert!(state.update_into(&bars[300], &mut [0.0; 3]).is_err());
    assert_eq!(state, before);
}

#[test]
fn a_state_that_was_saved_and_restored_gives_identical_bits() {
    let bars = bars();
    let set = FeatureSet::parse(&every()).unwrap();
    let whole = rows(&set, &bars);
    let mut state = FeatureState::new(&set).unwrap();
    for (i, bar) in bars.iter().enumerate() {
        if i % 131 == 7 {
            state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
            assert_eq!(state.set_id(), set.id());
        }
        assert_eq!(state.update(bar).unwrap(), whole[i], "bar {i}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn later_bars_change_no_row(cut in 1usize..1200, noise in proptest::collection::vec(0.5f64..2.0, 1..30)) {
        let bars = bars();
        let set = FeatureSet::parse(&every()).unwrap();
        let whole = rows(&set, &bars[..1300]);
        // Neither removing later bars nor replacing them changes the rows before.
        let mut other = bars[..cut].to_vec();
        other.extend(noise.iter().zip(&bars[cut..]).map(|(factor, bar)| on_level(*bar, *factor)));
        prop_assert_eq!(&rows(&set, &bars[..cut])[..], &whole[..cut]);
        prop_assert_eq!(&rows(&set, &other)[..cut], &whole[..cut]);
    }
}
