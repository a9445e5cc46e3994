//! The shapes of the answers. Times are milliseconds since the Unix epoch, since a nanosecond would not fit into the
//! numbers of a browser; numbers that are none stand as null.

use std::collections::BTreeMap;
use std::ops::Range;

use heqis_quant::decision::{Stance, VerdictReason};
use heqis_quant::{Bar, Date, Side, Symbol};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Desk;
use crate::decisions::{Numbered, StageTime};
use crate::lines::{NAMES, Values};
use crate::market::Series;

/// What the page is about.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct About {
    /// Version of this build.
    version: &'static str,
    /// Where what is shown comes from, in a few words.
    source: String,
    /// Whether a graph runs here; without one the page is for review.
    live: bool,
    /// Whether the page may drain the graph.
    control: bool,
    /// Names of the chart's lines.
    lines: [&'static str; NAMES.len()],
    /// Names of the features, in the order of a row.
    features: Vec<String>,
    /// Tells this process's list of decisions from another's.
    epoch: String,
}

impl About {
    pub(crate) fn of(desk: &Desk, control: bool) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            source: desk.source.clone(),
            live: desk.live.is_some(),
            control,
            lines: NAMES,
            features: desk.market.feature_names(),
            epoch: format!("{:x}", desk.decisions.epoch()),
        }
    }
}

/// Bars of one instrument by columns: the same place in each column is the same bar.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BarsAnswer {
    /// Instrument.
    symbol: Symbol,
    /// Whether there are bars before these.
    more: bool,
    /// Close time of each bar.
    time_ms: Vec<i64>,
    /// Trading day of each bar.
    date: Vec<Date>,
    /// Opening price, CNY.
    open: Vec<f64>,
    /// Highest price, CNY.
    high: Vec<f64>,
    /// Lowest price, CNY.
    low: Vec<f64>,
    /// Closing price, CNY.
    close: Vec<f64>,
    /// The close that the day's change is counted from, CNY: an ex-right reference where the vendor gives one.
    reference: Vec<Option<f64>>,
    /// Traded shares.
    volume: Vec<f64>,
    /// Turnover, CNY.
    amount: Vec<Option<f64>>,
    /// Notes of the cleaner.
    marks: Vec<String>,
    /// The chart's lines by name.
    lines: BTreeMap<&'static str, Vec<Option<f64>>>,
}

impl BarsAnswer {
    pub(crate) fn cut(symbol: Symbol, series: &Series, range: Range<usize>) -> Self {
        let bars = &series.bars()[range.clone()];
        let lines = &series.lines()[range.clone()];
        let column = |of: fn(&Bar) -> f64| bars.iter().map(of).collect();
        let before = |index: usize| index.checked_sub(1).map(|at| &series.bars()[at]);
        Self {
            symbol,
            more: range.start > 0,
            time_ms: bars.iter().map(|bar| ms(bar.time_ns)).collect(),
            date: bars.iter().map(|bar| bar.date).collect(),
            open: column(|bar| bar.open),
            high: column(|bar| bar.high),
            low: column(|bar| bar.low),
            close: column(|bar| bar.close),
            reference: range
                .clone()
                .map(|at| reference(&series.bars()[at], before(at)))
                .collect(),
            volume: column(|bar| bar.volume_shares),
            amount: bars.iter().map(|bar| bar.amount_cny).collect(),
            marks: bars.iter().map(|bar| bar.marks.to_string()).collect(),
            lines: NAMES
                .into_iter()
                .enumerate()
                .map(|(at, name)| (name, lines.iter().map(|values| values[at]).collect()))
                .collect(),
        }
    }
}

/// Decisions, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DecisionsAnswer {
    /// Tells this process's numbers from another's.
    pub(crate) epoch: String,
    /// Number of the last decision of all, 0 when there is none.
    pub(crate) last: u64,
    /// The decisions.
    pub(crate) rows: Vec<DecisionRow>,
    /// Whether more of them are kept.
    pub(crate) more: bool,
}

/// One decision.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DecisionRow {
    /// Its number in the list of this process.
    n: u64,
    /// Instrument.
    symbol: Symbol,
    /// Trading day.
    date: Date,
    /// Close time of the bar.
    time_ms: i64,
    /// Closing price, CNY.
    close: Option<f64>,
    /// What to do.
    #[schemars(with = "String")]
    side: Side,
    /// How sure.
    confidence: Option<f64>,
    /// Why.
    #[schemars(with = "String")]
    reason: VerdictReason,
    /// Whether the instrument is in hand afterwards.
    #[schemars(with = "String")]
    stance: Stance,
    /// Expected return to the next close.
    predicted_return: Option<f64>,
    /// Probabilities of down, flat, up.
    probabilities: [Option<f64>; 3],
    /// Microseconds from the bar's birth at its source to the last stage, where anybody wrote that down.
    age_us: Option<f64>,
}

impl DecisionRow {
    pub(crate) fn of((number, decision): &Numbered) -> Self {
        Self {
            n: *number,
            symbol: decision.symbol,
            date: decision.date,
            time_ms: ms(decision.time_ns),
            close: finite(decision.close),
            side: decision.side,
            confidence: finite(decision.confidence),
            reason: decision.reason,
            stance: decision.stance,
            predicted_return: finite(decision.predicted_return),
            probabilities: decision.probabilities.map(finite),
            age_us: decision.timings.last().map(|time| time.leave_us),
        }
    }
}

/// Everything that is known of one decision.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DecisionAnswer {
    /// The decision.
    decision: DecisionRow,
    /// Its bar; null when that is not kept.
    bar: Option<BarAnswer>,
    /// What the model was fed, unscaled; empty when that is not kept.
    features: Vec<FeatureAnswer>,
    /// When each stage took and gave the frame; empty when nobody wrote that down.
    timings: Vec<StageTime>,
}

/// One bar.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BarAnswer {
    /// Opening price, CNY.
    open: f64,
    /// Highest price, CNY.
    high: f64,
    /// Lowest price, CNY.
    low: f64,
    /// Closing price, CNY.
    close: f64,
    /// The close that the day's change is counted from, CNY.
    reference: Option<f64>,
    /// Traded shares.
    volume: f64,
    /// Turnover, CNY.
    amount: Option<f64>,
    /// Notes of the cleaner.
    marks: String,
    /// The chart's lines by name.
    lines: BTreeMap<&'static str, Option<f64>>,
}

/// One feature.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FeatureAnswer {
    /// Its name.
    name: String,
    /// Its value, unscaled.
    value: f64,
}

impl DecisionAnswer {
    pub(crate) fn of(numbered: &Numbered, series: Option<&Series>, names: &[String]) -> Self {
        let (_, decision) = numbered;
        let at = series.and_then(|series| Some((series, series.position(decision.time_ns)?)));
        let values = at.and_then(|(series, at)| series.features(at));
        let feature = |(name, value): (&String, &f64)| FeatureAnswer {
            name: name.clone(),
            value: *value,
        };
        Self {
            decision: DecisionRow::of(numbered),
            bar: at.map(|(series, at)| {
                let before = at.checked_sub(1).map(|before| &series.bars()[before]);
                BarAnswer::of(&series.bars()[at], before, &series.lines()[at])
            }),
            features: names
                .iter()
                .zip(values.unwrap_or(&[]))
                .map(feature)
                .collect(),
            timings: decision.timings.clone(),
        }
    }
}

impl BarAnswer {
    fn of(bar: &Bar, before: Option<&Bar>, values: &Values) -> Self {
        Self {
            open: bar.open,
            high: bar.high,
            low: bar.low,
            close: bar.close,
            reference: reference(bar, before),
            volume: bar.volume_shares,
            amount: bar.amount_cny,
            marks: bar.marks.to_string(),
            lines: NAMES.into_iter().zip(*values).collect(),
        }
    }
}

/// The close that a bar's change is counted from.
fn reference(bar: &Bar, before: Option<&Bar>) -> Option<f64> {
    match before {
        Some(before) => Some(bar.reference_close(before.date, before.close)),
        None => bar.pre_close,
    }
}

/// Milliseconds of nanoseconds.
pub(crate) fn ms(ns: i64) -> i64 {
    ns.div_euclid(1_000_000)
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}
