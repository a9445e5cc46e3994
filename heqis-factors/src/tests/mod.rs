//! What holds for every expression.
#![allow(clippy::unwrap_used)]

mod faults;
mod language;
mod panels;
mod properties;

use crate::{Columns, FactorSeries, FactorSet};

/// A bar as `[open, high, low, close, volume, amount, vwap]`.
pub(crate) type Bar = [f64; 7];

/// A series that moves like prices; every seventh bar has no amount.
pub(crate) fn walk(seed: u64, bars: usize) -> Vec<Bar> {
    let mut state = seed | 1;
    let mut random = move || {
        // xorshift, enough for prices.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let cents = |price: f64| (price * 100.0).round() / 100.0;
    let mut close = 10.0;
    (0..bars)
        .map(|i| {
            let open = cents(close * (0.98 + 0.04 * random()));
            close = cents(open * (0.96 + 0.08 * random())).max(0.5);
            let high = cents(open.max(close) * (1.0 + 0.02 * random()));
            let low = cents(open.min(close) * (1.0 - 0.02 * random()));
            let volume = (1e6 * random()).round() + 1.0;
            let amount = if i % 7 == 3 { f64::NAN } else { volume * close };
            [open, high, low, close, volume, amount, amount / volume]
        })
        .collect()
}

pub(crate) fn set(text: &str) -> FactorSet {
    FactorSet::parse(text, &Columns::bars()).unwrap_or_else(|error| panic!("{error}"))
}

/// Every row of a set over a series, as bits.
pub(crate) fn rows(set: &FactorSet, bars: &[Bar]) -> Vec<Vec<u64>> {
    let mut series = FactorSeries::new(set).unwrap();
    bars.iter().map(|bar| row(&mut series, set, bar)).collect()
}

pub(crate) fn row(series: &mut FactorSeries, set: &FactorSet, bar: &Bar) -> Vec<u64> {
    let mut out = vec![0.0; set.len()];
    let complete = series.update(bar, &mut out).unwrap();
    assert_eq!(complete, out.iter().all(|value| !value.is_nan()));
    assert!(out.iter().all(|value| !value.is_infinite()));
    out.into_iter().map(f64::to_bits).collect()
}
