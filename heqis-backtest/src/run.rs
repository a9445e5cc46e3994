//! One run: from decisions to orders, money and metrics.

use std::collections::BTreeMap;

use heqis_data::predictions::Coverage;
use heqis_quant::decision::SignalMode;
use serde::Serialize;

use crate::allocation::simulate;
use crate::backtest_input::BacktestInput;
use crate::broker::Ledger;
use crate::caveats::Caveats;
use crate::error::BacktestError;
use crate::metrics::{Metrics, daily_returns};
use crate::portfolio::{self, RankedBar};
use crate::settings::Settings;

/// The result of a run.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// Orders, fills and the account.
    pub ledger: Ledger,
    /// One return a day.
    pub returns: Vec<f64>,
    /// The metrics.
    pub metrics: Metrics,
    /// The limits of what the metrics show.
    pub caveats: Caveats,
    /// Of a portfolio, the decision on each predicted bar in the order of the input.
    pub ranked: Option<Vec<RankedBar>>,
}

/// Trades the decisions of a signal mode and computes the metrics.
///
/// # Errors
/// The errors of [`simulate`] and [`Metrics::of`].
///
/// # Examples
///
/// ```
/// use heqis_backtest::backtest_input::BacktestInput;
/// use heqis_backtest::inputs::ReferenceData;
/// use heqis_backtest::run::run;
/// use heqis_backtest::settings::Settings;
/// use heqis_backtest::strategy::{PredictedBar, PredictedSeries};
/// use heqis_data::prepare::reference::Tables;
/// use heqis_quant::decision::{MarketSnapshot, SignalMode};
/// use heqis_quant::{Bar, CleanConfig, Date, Marks, Prediction, Span, Symbol};
///
/// // A stock that opens and closes at 10.00, 10.20 and 10.40, and a model that predicts 1 % for every next day.
/// let symbol = Symbol::parse("600000.SH")?;
/// let bar = |day: &str, price: f64| -> Result<Bar, heqis_quant::QuantError> {
///     let date = Date::parse(day)?;
///     Ok(Bar {
///         symbol,
///         time_ns: date.close_time_ns(),
///         date,
///         open: price,
///         high: price,
///         low: price,
///         close: price,
///         pre_close: None,
///         volume_shares: 1e6,
///         amount_cny: None,
///         marks: Marks::NONE,
///     })
/// };
/// let bars = vec![bar("2024-01-02", 10.0)?, bar("2024-01-03", 10.2)?, bar("2024-01-04", 10.4)?];
/// let predicted = bars
///     .iter()
///     .map(|bar| PredictedBar {
///         bar: *bar,
///         snapshot: MarketSnapshot::of_close(bar.date, bar.close),
///         prediction: Prediction { predicted_return: 0.01, probabilities: [0.1, 0.2, 0.7] },
///         has_probabilities: true,
///     })
///     .collect();
///
/// let settings = Settings::default();
/// let span = Span::new(Date::parse("2024-01-02")?, Date::parse("2024-01-04")?)?;
/// let reference = ReferenceData::read([symbol].into_iter(), &Tables::default(), CleanConfig::default())?;
/// let series = PredictedSeries { bars, predicted }.decide(symbol, span, &settings);
/// let input = BacktestInput::new(vec![series], &reference, span, None)?;
///
/// // Bought at the open of the second day, a tick above 10.20, and valued at the close of the third.
/// let result = run(&input, &settings, SignalMode::Return)?;
/// assert_eq!(result.ledger.fills[0].price, 1_021);
/// assert!(result.metrics.curve.total_return > 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run(
    input: &BacktestInput,
    settings: &Settings,
    mode: SignalMode,
) -> Result<RunResult, BacktestError> {
    let markets = settings.rules()?;
    let intents = input.intents(mode);
    let (config, allocation) = (settings.broker, &settings.allocation);
    let ledger = simulate(&input.market, &markets, &intents, config, allocation)?;
    result(input, settings, ledger, None)
}

/// Trades the ranks of a signal mode's scores in one account, with the fills fed back, and computes the metrics.
///
/// # Errors
/// The errors of [`portfolio::trade`] and [`Metrics::of`].
pub fn run_portfolio(
    input: &BacktestInput,
    settings: &Settings,
    mode: SignalMode,
) -> Result<RunResult, BacktestError> {
    let markets = settings.rules()?;
    let (ledger, ranked) = portfolio::trade(input, &markets, settings, mode)?;
    result(input, settings, ledger, Some(ranked))
}

fn result(
    input: &BacktestInput,
    settings: &Settings,
    ledger: Ledger,
    ranked: Option<Vec<RankedBar>>,
) -> Result<RunResult, BacktestError> {
    let cash_cents = settings.broker.cash_cents;
    let metrics = Metrics::of(
        &ledger,
        cash_cents,
        input.benchmark.as_deref(),
        &input.scores(),
        settings.basis_of(&input.market),
    )?;
    Ok(RunResult {
        caveats: Caveats::of(
            &input.market,
            &input.unexplained,
            &input.warnings,
            &ledger,
            settings.basis.days_per_year,
        ),
        returns: daily_returns(&ledger, cash_cents)?,
        ledger,
        metrics,
        ranked,
    })
}

/// The identity of a run, apart from its settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunId {
    /// The name of the strategy.
    pub strategy: String,
    /// The signal mode.
    pub mode: SignalMode,
    /// The stock, or `portfolio`.
    pub symbol: String,
}

/// The origin of the decisions of a run, apart from its settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Origin {
    /// The origin of the rule.
    pub rule_from: String,
    /// The bars that a table of predictions covers; `None` for bundles.
    pub predictions: Option<Coverage>,
}

impl RunResult {
    /// Returns the number of orders by reason.
    #[must_use]
    pub fn reasons(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for order in &self.ledger.orders {
            for note in &order.notes {
                *counts.entry(note.reason.name()).or_default() += 1;
            }
        }
        counts
    }
}
