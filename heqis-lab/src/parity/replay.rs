//! Bars in the order in which a board receives them, and the ways within this process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use heqis_backtest::strategy::BundleModel;
use heqis_data::TableOptions;
use heqis_data::bar_file::open_series;
use heqis_data::report::MAX_BAD_SHARE;
use heqis_factors::feature_set;
use heqis_quant::pipeline::{BarOutcome, DecisionPipeline, PipelineConfig};
use heqis_quant::rules::Markets;
use heqis_quant::{
    Bar, BarRef, CleanConfig, Cleaner, Decision, DecisionState, MarketSnapshot, MarketState,
    Strategy, Symbol, TradingState,
};

use super::ParityArgs;
use crate::error::LabError;

/// Reads files and merges their bars by time, then by symbol, then by the order of the files, as `csv-replay` does. Rows
/// that are not bars are left out, as there.
///
/// # Errors
///
/// [`LabError::Data`] when a file cannot be opened, and [`LabError::Quant`] when its header is invalid.
pub fn bars(paths: &[PathBuf]) -> Result<Vec<Bar>, LabError> {
    let mut files = Vec::new();
    for path in paths {
        files.push(read(path)?.into_iter().peekable());
    }
    let mut merged = Vec::new();
    loop {
        let first = files
            .iter_mut()
            .enumerate()
            .filter_map(|(index, file)| {
                let bar = file.peek()?;
                Some(((bar.time_ns, bar.symbol), index))
            })
            .min();
        let Some((_, index)) = first else {
            return Ok(merged);
        };
        merged.extend(files[index].next());
    }
}

fn read(path: &Path) -> Result<Vec<Bar>, LabError> {
    let mut bars = Vec::new();
    let mut unreadable = Vec::new();
    for bar in open_series(path, &TableOptions::default())? {
        match bar {
            Ok(bar) => bars.push(bar),
            Err(error @ heqis_quant::QuantError::Io { .. }) => return Err(error.into()),
            Err(error) => unreadable.push(error),
        }
    }
    if let Some(first) = unreadable.first() {
        let (lost, rows) = (unreadable.len(), unreadable.len() + bars.len());
        let rule = format!("{lost} of {rows} rows cannot be read: {first}");
        if lost as f64 > MAX_BAD_SHARE * rows as f64 {
            return Err(heqis_data::DataError::TooMuchLost(rule).into());
        }
        eprintln!("{rule}");
    }
    Ok(bars)
}

/// Decides in this process, from bar to decision.
///
/// # Errors
///
/// [`LabError`] when a bundle cannot be loaded or computed.
pub fn in_process(
    bars: &[Bar],
    args: &ParityArgs,
    strategy: &Strategy,
) -> Result<Vec<Decision>, LabError> {
    let (model, scaler) = BundleModel::load(Some(&args.factors), &args.direction)?;
    let features = feature_set(scaler.feature_names())?;
    let config = PipelineConfig::new(scaler, *strategy).with_features(features);
    let mut path = DecisionPipeline::new(config, model)?;
    let mut lines = Vec::new();
    for bar in bars {
        if let BarOutcome::Decided { decision, .. } = path.step(*bar)? {
            lines.push(decision);
        }
    }
    Ok(lines)
}

/// Decides on the predictions of a journal, without any model.
///
/// # Errors
///
/// [`LabError::Rule`] when the journal holds a decision on a bar that is not among `bars`, or a line that cannot be
/// read.
pub fn journal(
    bars: &[Bar],
    strategy: &Strategy,
    journal: &[String],
) -> Result<Vec<String>, LabError> {
    let snapshots = snapshots(bars, strategy)?;
    let mut states: HashMap<Symbol, DecisionState> = HashMap::new();
    let mut lines = Vec::with_capacity(journal.len());
    for text in journal {
        let refuse = |rule: String| LabError::rule("journal", rule);
        let line: Decision =
            serde_json::from_str(text).map_err(|error| refuse(format!("{text}: {error}")))?;
        let view = snapshots
            .get(&(line.symbol, line.time_ns))
            .ok_or_else(|| refuse(format!("{text}: no such bar")))?;
        let prediction = line.prediction();
        let state = states.entry(line.symbol).or_default();
        let bar = BarRef {
            symbol: line.symbol,
            date: line.date,
            time_ns: line.time_ns,
            close: view.close,
        };
        let decision = strategy.decide(state, &bar, view, &prediction, TradingState::Active);
        lines.push(decision.text());
    }
    Ok(lines)
}

/// Returns the market snapshot of each clean bar, which filters and portfolios read.
///
/// # Errors
///
/// [`LabError::Quant`] when a bar has a price without limits that should have some.
pub(super) fn snapshots(
    bars: &[Bar],
    strategy: &Strategy,
) -> Result<HashMap<(Symbol, i64), MarketSnapshot>, LabError> {
    let rules = Markets::shipped()?;
    let mut cleaner = Cleaner::new(CleanConfig::default())?;
    let mut markets: HashMap<Symbol, MarketState> = HashMap::new();
    let mut snapshots = HashMap::new();
    for bar in bars.iter().filter_map(|bar| cleaner.check(*bar).ok()) {
        let market = match markets.entry(bar.symbol) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(MarketState::new(&strategy.filter_indicators())?)
            }
        };
        let view = market.update(&rules, false, &bar)?;
        snapshots.insert((bar.symbol, bar.time_ns), view);
    }
    Ok(snapshots)
}
