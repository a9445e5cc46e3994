//! The types of the responses. Times are milliseconds since the Unix epoch, since nanoseconds exceed the integers of a
//! browser; numbers that are not finite are sent as null.

use std::collections::BTreeMap;
use std::ops::Range;

use heqis_quant::decision::{DecisionReason, Position};
use heqis_quant::stats::mean;
use heqis_quant::{Bar, Date, Side, Symbol};
use schemars::JsonSchema;
use serde::Serialize;

use crate::archive::{Order, Trade};
use crate::bars::{BarSeries, Listing};
use crate::chart_indicators::{IndicatorValues, NAMES};
use crate::decisions::{Numbered, StageTime};
use crate::live::Event;
use crate::names::Names;
use crate::quality::Quality;
use crate::sources::Sources;

/// What this server provides.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct About {
    /// Version of this build.
    version: &'static str,
    /// Where the data comes from, in a few words.
    source: String,
    /// Whether a graph runs in this process; without one the page is for review.
    live: bool,
    /// Whether control actions are enabled.
    control: bool,
    /// Available data and actions.
    can: Capabilities,
    /// Names of the chart's indicators.
    lines: [&'static str; NAMES.len()],
    /// Names of the features, in the order of a row.
    features: Vec<String>,
    /// Distinguishes this process's list of decisions from another's.
    epoch: String,
}

impl About {
    pub(crate) fn of(sources: &Sources, control: bool) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            source: sources.description.clone(),
            live: sources.live.is_some(),
            control,
            can: Capabilities::of(sources, control),
            lines: NAMES,
            features: sources.bars.feature_names(),
            epoch: format!("{:x}", sources.decisions.epoch()),
        }
    }
}

/// Available data and actions. Routes of absent ones answer 404, or 403 where only the control flag is missing.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Capabilities {
    /// A running graph: topology, live state, events.
    topology: bool,
    /// Finished runs: accounts, trades, orders and files.
    runs: bool,
    /// Names and sectors of instruments.
    names: bool,
    /// Predictions compared with realised returns.
    quality: bool,
    /// Inputs compared with the training span.
    drift: bool,
    /// Jobs; starting one needs control.
    jobs: bool,
    /// A watch list; adding to it needs control.
    watch: bool,
    /// Stages whose trading state can be set; setting it needs control.
    trading_state: bool,
    /// Former name of `trading_state`, written for one version.
    #[schemars(extend("deprecated" = true))]
    kill: bool,
    /// The graph can be drained.
    drain: bool,
}

impl Capabilities {
    fn of(sources: &Sources, control: bool) -> Self {
        let watch =
            |jobs: &std::sync::Arc<dyn crate::jobs::Jobs>| matches!(jobs.watch_list(), Ok(Some(_)));
        let can_set = |live: &std::sync::Arc<dyn crate::live::Live>| live.can_set_trading_state();
        let trading_state = sources.live.as_ref().is_some_and(can_set);
        Self {
            topology: sources.live.is_some(),
            runs: sources.archive.is_some(),
            names: !sources.names.is_empty(),
            quality: true,
            drift: sources.training.is_some(),
            jobs: sources.jobs.is_some(),
            watch: sources.jobs.as_ref().is_some_and(watch),
            trading_state,
            kill: trading_state,
            drain: control && sources.live.is_some(),
        }
    }
}

/// An instrument.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SymbolRow {
    /// Code and exchange, such as 600000.SH.
    symbol: Symbol,
    /// Number of bars that are kept.
    bars: u64,
    /// Day of the first bar that is kept.
    from: Option<Date>,
    /// Day of the last bar.
    to: Option<Date>,
    /// Its name.
    name: Option<String>,
    /// Its sector.
    sector: Option<String>,
    /// Its first trading day.
    listed: Option<Date>,
}

impl SymbolRow {
    pub(crate) fn of(listing: Listing, names: &Names) -> Self {
        let known = names.get(listing.symbol);
        Self {
            symbol: listing.symbol,
            bars: listing.bars,
            from: listing.from,
            to: listing.to,
            name: known.map(|known| known.name().to_owned()),
            sector: known.and_then(|known| Some(known.industry()?.to_owned())),
            listed: known.and_then(heqis_quant::Instrument::listed),
        }
    }
}

/// Bars of one instrument by columns; the same index in each column is the same bar.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BarsResponse {
    /// Instrument.
    symbol: Symbol,
    /// Whether there are bars before these.
    more: bool,
    /// Whether there are bars after these.
    newer: bool,
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
    /// The close that the day's change refers to, CNY: the ex-right reference where the vendor provides one.
    reference: Vec<Option<f64>>,
    /// Traded shares.
    volume: Vec<f64>,
    /// Turnover, CNY.
    amount: Vec<Option<f64>>,
    /// Marks of the cleaner.
    marks: Vec<String>,
    /// Values of the chart's indicators by name.
    lines: BTreeMap<&'static str, Vec<Option<f64>>>,
}

impl BarsResponse {
    /// Returns the number of bars.
    pub(crate) fn len(&self) -> usize {
        self.date.len()
    }

    pub(crate) fn cut(symbol: Symbol, series: &BarSeries, range: Range<usize>) -> Self {
        let bars = &series.bars()[range.clone()];
        let indicators = &series.indicators()[range.clone()];
        let column = |of: fn(&Bar) -> f64| bars.iter().map(of).collect();
        let before = |index: usize| index.checked_sub(1).map(|at| &series.bars()[at]);
        Self {
            symbol,
            more: range.start > 0,
            newer: range.end < series.bars().len(),
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
                .map(|(at, name)| (name, indicators.iter().map(|values| values[at]).collect()))
                .collect(),
        }
    }
}

/// Decisions, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DecisionsResponse {
    /// Distinguishes this process's numbers from another's.
    pub(crate) epoch: String,
    /// Number of the last decision in the list, 0 for an empty list.
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
    /// Buy, hold or sell.
    #[schemars(with = "String")]
    side: Side,
    /// The side before filters; differs from the side exactly where a filter rejected it.
    #[schemars(with = "String")]
    wanted: Side,
    /// Confidence.
    confidence: Option<f64>,
    /// Reason.
    #[schemars(with = "String")]
    reason: DecisionReason,
    /// Position after the decision.
    #[schemars(with = "String")]
    #[serde(rename = "stance")]
    position: Position,
    /// Expected return to the next close.
    predicted_return: Option<f64>,
    /// Probabilities of down, flat, up.
    probabilities: [Option<f64>; 3],
    /// Microseconds from the bar's birth at its source to the end of the last stage, where timings were recorded.
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
            wanted: decision.wanted(),
            confidence: finite(decision.confidence),
            reason: decision.reason,
            position: decision.position,
            predicted_return: finite(decision.predicted_return),
            probabilities: decision.probabilities.map(finite),
            age_us: decision.timings.last().map(|time| time.leave_us),
        }
    }
}

/// Details of one decision.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DecisionResponse {
    /// The decision.
    decision: DecisionRow,
    /// Its bar; null when it is not kept.
    bar: Option<BarResponse>,
    /// Inputs of the model, unscaled; empty when they are not kept.
    features: Vec<FeatureResponse>,
    /// When each stage took and finished the frame; empty where no timings were recorded.
    timings: Vec<StageTime>,
}

/// One bar.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BarResponse {
    /// Opening price, CNY.
    open: f64,
    /// Highest price, CNY.
    high: f64,
    /// Lowest price, CNY.
    low: f64,
    /// Closing price, CNY.
    close: f64,
    /// The close that the day's change refers to, CNY.
    reference: Option<f64>,
    /// Traded shares.
    volume: f64,
    /// Turnover, CNY.
    amount: Option<f64>,
    /// Marks of the cleaner.
    marks: String,
    /// Values of the chart's indicators by name.
    lines: BTreeMap<&'static str, Option<f64>>,
}

/// One feature.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FeatureResponse {
    /// Its name.
    name: String,
    /// Its value, unscaled.
    value: f64,
}

impl DecisionResponse {
    pub(crate) fn of(numbered: &Numbered, series: Option<&BarSeries>, names: &[String]) -> Self {
        let (_, decision) = numbered;
        let at = series.and_then(|series| Some((series, series.position(decision.time_ns)?)));
        let values = at.and_then(|(series, at)| series.features(at));
        let feature = |(name, value): (&String, &f64)| FeatureResponse {
            name: name.clone(),
            value: *value,
        };
        Self {
            decision: DecisionRow::of(numbered),
            bar: at.map(|(series, at)| {
                let before = at.checked_sub(1).map(|before| &series.bars()[before]);
                BarResponse::of(&series.bars()[at], before, &series.indicators()[at])
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

impl BarResponse {
    fn of(bar: &Bar, before: Option<&Bar>, values: &IndicatorValues) -> Self {
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

/// Returns the close that a bar's change refers to.
fn reference(bar: &Bar, before: Option<&Bar>) -> Option<f64> {
    match before {
        Some(before) => Some(bar.reference_close(before.date, before.close)),
        None => bar.pre_close,
    }
}

/// Predictions compared with realised returns.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QualityResponse {
    /// Id of the strategy.
    pub(crate) strategy: String,
    /// Quality of its predictions.
    #[serde(flatten)]
    pub(crate) quality: Quality,
}

/// Events, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EventsResponse {
    /// The events.
    pub(crate) rows: Vec<Event>,
    /// Whether older ones are kept.
    pub(crate) more: bool,
}

/// Orders, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OrdersResponse {
    /// The orders.
    pub(crate) rows: Vec<Order>,
    /// Whether there are older ones.
    pub(crate) more: bool,
}

/// Round trips of a backtest.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TradesResponse {
    /// The backtest.
    run: String,
    /// The round trips in order of their closing.
    pub(crate) rows: Vec<Trade>,
    /// Distribution of their returns.
    distribution: Distribution,
}

/// A distribution of returns.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Distribution {
    /// Edges of the equally wide bins, one more than there are bins.
    edges: Vec<f64>,
    /// Round trips in each bin: lower edge inclusive, upper edge exclusive.
    counts: Vec<u64>,
    /// Mean.
    mean: Option<f64>,
    /// Median.
    median: Option<f64>,
    /// Share of gains among gains and losses.
    win_rate: Option<f64>,
}

impl TradesResponse {
    pub(crate) fn of(run: String, rows: Vec<Trade>) -> Self {
        let returns: Vec<f64> = rows.iter().map(|trade| trade.returned).collect();
        Self {
            run,
            rows,
            distribution: Distribution::of(&returns),
        }
    }
}

impl Distribution {
    /// Uses bins of a round width, so that zero is an edge and no bin mixes gains and losses.
    fn of(returns: &[f64]) -> Self {
        let mut sorted: Vec<f64> = returns
            .iter()
            .copied()
            .filter(|value| value.is_finite())
            .collect();
        sorted.sort_by(f64::total_cmp);
        let (Some(&least), Some(&most)) = (sorted.first(), sorted.last()) else {
            return Self {
                edges: Vec::new(),
                counts: Vec::new(),
                mean: None,
                median: None,
                win_rate: None,
            };
        };
        let width = bin_width(least.min(0.0), most.max(0.0));
        let (first, last) = (
            (least / width).floor() as i64,
            (most / width).floor() as i64,
        );
        let mut counts = vec![0; (last - first + 1) as usize];
        for value in &sorted {
            counts[((value / width).floor() as i64 - first) as usize] += 1;
        }
        let middle = sorted.len() / 2;
        let wins = sorted.iter().filter(|value| **value > 0.0).count();
        let moves = sorted.iter().filter(|value| **value != 0.0).count();
        Self {
            edges: (first..=last + 1).map(|at| at as f64 * width).collect(),
            counts,
            mean: mean(sorted.iter().copied()),
            median: Some(match sorted.len() % 2 {
                0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
                _ => sorted[middle],
            }),
            win_rate: (moves > 0).then(|| wins as f64 / moves as f64),
        }
    }
}

/// Returns the smallest of 1, 2 and 5 times a power of ten with which 40 bins cover `least` to `most`.
fn bin_width(least: f64, most: f64) -> f64 {
    let wanted = ((most - least) / 40.0).max(1e-4);
    let power = 10f64.powf(wanted.log10().floor());
    let fits = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|step| step * power >= wanted);
    fits.unwrap_or(10.0) * power
}

/// Converts nanoseconds to milliseconds, rounding down.
pub(crate) fn ms(ns: i64) -> i64 {
    ns.div_euclid(1_000_000)
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_counts_each_return_once_and_separates_gains_from_losses() {
        let returns = [-0.031, -0.001, 0.0, 0.002, 0.049, 0.05];
        let of = Distribution::of(&returns);
        assert_eq!(of.counts.iter().sum::<u64>(), 6);
        assert_eq!(of.edges.len(), of.counts.len() + 1);
        assert!(of.edges.iter().any(|edge| edge.abs() < 1e-12));
        let losses: u64 = of
            .edges
            .iter()
            .zip(&of.counts)
            .filter(|(low, _)| **low < -1e-12)
            .map(|(_, count)| count)
            .sum();
        assert_eq!(losses, 2);
        assert_eq!((of.median, of.win_rate), (Some(0.001), Some(0.6)));
        assert!(Distribution::of(&[]).edges.is_empty());
        assert_eq!(Distribution::of(&[0.0]).counts, [1]);
    }
}
