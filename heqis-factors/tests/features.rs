//! Factors as the features of a model: the bits of `heqis-quant`, ex-rights, saved states.

#![allow(clippy::unwrap_used, missing_docs)]

use heqis_factors::{Columns, FactorSet, feature_set, of_set, shipped};
use heqis_quant::{Bar, Date, FeatureSet, FeatureState, Marks, Symbol};

/// The bars of 002032.SZ with the reference closes of four ex-right days.
fn bars() -> Vec<Bar> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/ashare/002032.SZ.csv");
    let mut rows = csv::Reader::from_path(path).unwrap();
    let names = rows.headers().unwrap().clone();
    let symbol = Symbol::parse("002032.SZ").unwrap();
    let mut last = None;
    rows.records()
        .map(|row| {
            let row = row.unwrap();
            let cell = |name: &str| {
                let at = names.iter().position(|column| column == name).unwrap();
                row[at].to_owned()
            };
            let number = |name: &str| cell(name).parse::<f64>().unwrap();
            let date = Date::parse(&cell("date")).unwrap();
            let open = number("open");
            // An ex-right is where a bar leaves the limits downwards.
            let pre_close = last
                .filter(|close| open < close * 0.89)
                .map(|_| open * 1.01);
            last = Some(number("close"));
            Bar {
                symbol,
                date,
                time_ns: date.close_time_ns(),
                open,
                high: number("high"),
                low: number("low"),
                close: number("close"),
                pre_close,
                volume_shares: number("volume"),
                amount_cny: Some(number("amount")),
                marks: Marks::NONE,
            }
        })
        .collect()
}

fn rows(set: &FeatureSet, bars: &[Bar]) -> Vec<Option<Vec<u64>>> {
    let mut state = FeatureState::new(set).unwrap();
    let mut row = |bar| state.update(bar).unwrap();
    bars.iter()
        .map(|bar| row(bar).map(|row| row.into_iter().map(f64::to_bits).collect()))
        .collect()
}

fn shipped(name: &str) -> FactorSet {
    FactorSet::parse(shipped::find(name).unwrap().text, &Columns::bars()).unwrap()
}

#[test]
fn the_twelve_are_the_standard_set_to_the_bit_over_ex_rights_too() {
    let bars = bars();
    assert!(bars.iter().filter(|bar| bar.pre_close.is_some()).count() >= 3);
    let twelve = of_set(&shipped("twelve")).unwrap();
    let standard = FeatureSet::standard();
    assert_eq!(twelve.warmup_bars(), standard.warmup_bars());
    let (ours, theirs) = (rows(&twelve, &bars), rows(&standard, &bars));
    for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "bar {i}, {}", bars[i].date);
    }
    assert_eq!(
        ours.iter().filter(|row| row.is_some()).count(),
        bars.len() - 250
    );
    // Another formula or another name is another set.
    assert_ne!(twelve.id(), standard.id());
}

#[test]
fn a_feature_state_continues_from_its_bytes_after_its_set_is_attached() {
    let bars = &bars()[..700];
    let set = of_set(&shipped("alpha158")).unwrap();
    let whole = rows(&set, bars);
    let mut state = FeatureState::new(&set).unwrap();
    for (i, bar) in bars.iter().enumerate() {
        if i % 97 == 50 {
            let bytes = postcard::to_stdvec(&state).unwrap();
            let json = serde_json::to_string(&state).unwrap();
            state = postcard::from_bytes(&bytes).unwrap();
            let refused = state.update(bar).unwrap_err().to_string();
            assert!(refused.contains("must be given its set"), "{refused}");
            let other = feature_set(&["x = close / open"]).unwrap();
            let refused = state.attach(&other).unwrap_err().to_string();
            assert!(refused.contains("must be of the feature set"), "{refused}");
            state.attach(&set).unwrap();
            assert_eq!(postcard::to_stdvec(&state).unwrap(), bytes);
            let mut read: FeatureState = serde_json::from_str(&json).unwrap();
            read.attach(&set).unwrap();
            assert_eq!(read, state);
        }
        let row = state.update(bar).unwrap();
        let row: Option<Vec<u64>> = row.map(|row| row.into_iter().map(f64::to_bits).collect());
        assert_eq!(row, whole[i], "bar {i}");
    }
}

#[test]
fn names_that_are_definitions_are_read_back_and_everything_else_is_refused() {
    let set = of_set(&shipped("alpha158")).unwrap();
    assert_eq!(feature_set(set.names()).unwrap(), set);
    assert_eq!(set.id(), shipped("alpha158").id());
    for (names, rule) in [
        (
            &["x = close/open"][..],
            "must be written as \"x = close / open\"",
        ),
        (
            &["x = close / open", "k"],
            "must be a definition like the others",
        ),
        (&["_h = close", "x = _h / open"], "must be written as"),
        (
            &["x = rank(close)"],
            "must not compare the instruments of a day",
        ),
        (
            &["x = clos"],
            "line 1, column 5: unknown column or definition clos",
        ),
        (
            &["x = close / open", "x = close / open"],
            "must be a new name",
        ),
        (&["moon"], "must be return_N"),
        (&[], "must not be empty"),
    ] {
        let message = feature_set(names).unwrap_err().to_string();
        assert!(message.contains(rule), "{message}");
    }
}

#[test]
fn a_bar_with_a_missing_factor_has_no_row() {
    let bars = &bars()[..30];
    let set = feature_set(&["x = (close - open) / (high - low)"]).unwrap();
    let mut flat = bars.to_vec();
    let still = &mut flat[7];
    (still.open, still.high, still.low) = (still.close, still.close, still.close);
    let present: Vec<bool> = rows(&set, &flat).iter().map(Option::is_some).collect();
    assert!(!present[7]);
    assert_eq!(present.iter().filter(|present| **present).count(), 29);
}
