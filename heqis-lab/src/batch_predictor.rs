//! Predictions of many stocks by many sources, on several threads.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use heqis_backtest::strategy::{PredictedSeries, Predictor, Source};
use heqis_data::predictions::Predictions;
use heqis_quant::decision::Strategy;
use heqis_quant::{Bar, CleanConfig, Symbol};
use indicatif::{ProgressBar, ProgressStyle};

use crate::error::LabError;
use crate::pool::map;

/// Predicts the stocks of a command by all sources.
pub(crate) struct BatchPredictor<'a> {
    /// The sources.
    pub(crate) sources: &'a [Source],
    /// For each source its table, if it is one.
    pub(crate) tables: Vec<Option<Predictions>>,
    /// The strategy, whose filters need market indicators.
    pub(crate) strategy: Strategy,
    /// The cleaner's settings.
    pub(crate) clean: &'a CleanConfig,
    /// The number of working threads.
    pub(crate) threads: usize,
}

impl BatchPredictor<'_> {
    /// Predicts every stock by every source, and returns the results of `then`: `[source][stock]`. The arguments of `then`
    /// are the number of the source, the stock, and, where the source is a table, its rows of the stock.
    ///
    /// The bars of a stock and the rows of tables for it are freed after all sources have predicted it.
    ///
    /// # Errors
    /// As [`Predictor::load`] and [`Predictor::predict`], and the errors of `then`.
    pub(crate) fn predict<R: Send>(
        &mut self,
        series: BTreeMap<Symbol, Vec<Bar>>,
        then: impl Fn(usize, Symbol, Option<&Predictions>, PredictedSeries) -> Result<R, LabError>
        + Sync,
    ) -> Result<Vec<Vec<R>>, LabError> {
        /// A stock, its bars, and its rows of each table.
        type Task = (Symbol, Vec<Bar>, Vec<Option<Arc<Predictions>>>);
        let tasks: Vec<Task> = series
            .into_iter()
            .map(|(symbol, bars)| {
                let rows = self.tables.iter_mut();
                let rows = rows.map(|table| Some(Arc::new(table.as_mut()?.split_off(symbol))));
                (symbol, bars, rows.collect())
            })
            .collect();
        let bar = progress(tasks.len(), "predictions");
        let (sources, strategy, clean) = (self.sources, self.strategy, self.clean);
        let stocks = tasks.len();
        // Each thread loads a source once; stocks are independent.
        let state = BTreeMap::<usize, Predictor>::new;
        let task =
            |loaded: &mut BTreeMap<usize, Predictor>,
             (symbol, bars, rows): (Symbol, Vec<Bar>, Vec<Option<Arc<Predictions>>>)| {
                let mut results = Vec::with_capacity(sources.len());
                for (at, (source, rows)) in sources.iter().zip(&rows).enumerate() {
                    let predicted = match (rows, loaded.entry(at)) {
                        (Some(rows), _) => {
                            Predictor::Table(rows.clone()).predict(&bars, &strategy, clean)?
                        }
                        (None, Entry::Occupied(entry)) => {
                            entry.into_mut().predict(&bars, &strategy, clean)?
                        }
                        (None, Entry::Vacant(entry)) => entry
                            .insert(Predictor::load(source, strategy, clean)?)
                            .predict(&bars, &strategy, clean)?,
                    };
                    results.push(then(at, symbol, rows.as_deref(), predicted)?);
                }
                Ok(results)
            };
        let by_stock = map(tasks, self.threads, state, task, || bar.inc(1))?;
        bar.finish_and_clear();
        let mut by_source: Vec<Vec<R>> =
            sources.iter().map(|_| Vec::with_capacity(stocks)).collect();
        for results in by_stock {
            for (of_source, result) in by_source.iter_mut().zip(results) {
                of_source.push(result);
            }
        }
        Ok(by_source)
    }
}

/// Returns a progress bar over `count` items.
pub(crate) fn progress(count: usize, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} {eta}");
    let bar = ProgressBar::new(count as u64).with_message(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
