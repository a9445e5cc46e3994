//! The shapes of the answers. Times are milliseconds since the Unix epoch, since a nanosecond would not fit into the
//! numbers of a browser; numbers that are none stand as null.

use std::collections::BTreeMap;
use std::ops::Range;

use heqis_quant::decision::{Stance, VerdictReason};
use heqis_quant::stats::mean;
use heqis_quant::{Bar, Date, Side, Symbol};
use schemars::JsonSchema;
use serde::Serialize;

use crate::archive::{Order, Trade};
use crate::decisions::{Numbered, StageTime};
use crate::lines::{NAMES, Values};
use crate::live::Event;
use crate::market::{Listing, Series};
use crate::quality::Quality;
use crate::{Desk, Names};

/// What the page is about.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct About {
    /// Version of this build.
    version: &'static str,
    /// Where what is shown comes from, in a few words.
    source: String,
    /// Whether a graph runs here; without one the page is for review.
    live: bool,
    /// Whether the page may change anything.
    control: bool,
    /// What there is to be asked for and to be done here.
    can: Can,
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
            can: Can::of(desk, control),
            lines: NAMES,
            features: desk.market.feature_names(),
            epoch: format!("{:x}", desk.decisions.epoch()),
        }
    }
}

/// What a page has. What is false answers 404, or 403 where only the control flag is missing.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Can {
    /// A graph runs here: topology, live state, events.
    topology: bool,
    /// Finished runs: their accounts, trades, orders and files.
    runs: bool,
    /// Names and sectors of instruments.
    names: bool,
    /// Predictions against what followed.
    quality: bool,
    /// Inputs against the training span.
    drift: bool,
    /// Jobs may be looked at; starting one takes control.
    jobs: bool,
    /// There is a watch list; adding to it takes control.
    watch: bool,
    /// Stages here can be told how far to trade; doing so takes control.
    kill: bool,
    /// The graph may be drained.
    drain: bool,
}

impl Can {
    fn of(desk: &Desk, control: bool) -> Self {
        let watch =
            |jobs: &std::sync::Arc<dyn crate::Jobs>| matches!(jobs.watch_list(), Ok(Some(_)));
        Self {
            topology: desk.live.is_some(),
            runs: desk.archive.is_some(),
            names: !desk.names.is_empty(),
            quality: true,
            drift: desk.training.is_some(),
            jobs: desk.jobs.is_some(),
            watch: desk.jobs.as_ref().is_some_and(watch),
            kill: desk.live.as_ref().is_some_and(|live| live.can_kill()),
            drain: control && desk.live.is_some(),
        }
    }
}

/// An instrument.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SymbolRow {
    /// Code and exchange, such as 600000.SH.
    symbol: Symbol,
    /// Bars that are kept.
    bars: u64,
    /// Day of the first bar that is kept.
    from: Option<Date>,
    /// Day of the last bar.
    to: Option<Date>,
    /// What it is called.
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

/// Bars of one instrument by columns: the same place in each column is the same bar.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BarsAnswer {
    /// Instrument.
    symbol: Symbol,
    /// Whether there are bars before these.
    more: bool,
    /// Whether there are bars behind these.
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
    /// How many bars there are.
    pub(crate) fn len(&self) -> usize {
        self.date.len()
    }

    pub(crate) fn cut(symbol: Symbol, series: &Series, range: Range<usize>) -> Self {
        let bars = &series.bars()[range.clone()];
        let lines = &series.lines()[range.clone()];
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
    /// What would have been done had nothing refused it; differs from the side exactly where something did.
    #[schemars(with = "String")]
    wanted: Side,
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
            wanted: decision.wanted(),
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

/// Predictions against what followed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QualityAnswer {
    /// Whose predictions.
    pub(crate) strategy: String,
    /// How good they were.
    #[serde(flatten)]
    pub(crate) quality: Quality,
}

/// What happened, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EventsAnswer {
    /// The events.
    pub(crate) rows: Vec<Event>,
    /// Whether older ones are kept.
    pub(crate) more: bool,
}

/// Orders, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OrdersAnswer {
    /// The orders.
    pub(crate) rows: Vec<Order>,
    /// Whether there are older ones.
    pub(crate) more: bool,
}

/// Round trips of a backtest.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TradesAnswer {
    /// The backtest.
    run: String,
    /// The round trips in the order in which they were closed.
    pub(crate) rows: Vec<Trade>,
    /// What they returned.
    distribution: Distribution,
}

/// A distribution of returns.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Distribution {
    /// Edges of the bins, one more than there are bins; all bins are equally wide.
    edges: Vec<f64>,
    /// Round trips in each bin: on the lower edge or above, below the upper one.
    counts: Vec<u64>,
    /// Mean.
    mean: Option<f64>,
    /// Median.
    median: Option<f64>,
    /// Share that gained, of those that gained or lost.
    win_rate: Option<f64>,
}

impl TradesAnswer {
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
    /// Bins of a "round" width, so that zero is an edge and nothing straddles gain and loss.
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

/// The least of 1, 2 and 5 times a power of ten that covers `least` to `most` with 40 bins.
fn bin_width(least: f64, most: f64) -> f64 {
    let wanted = ((most - least) / 40.0).max(1e-4);
    let power = 10f64.powf(wanted.log10().floor());
    let fits = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|step| step * power >= wanted);
    fits.unwrap_or(10.0) * power
}

/// Milliseconds of nanoseconds.
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
    fn a_distribution_counts_each_return_once_and_parts_gain_from_loss() {
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
