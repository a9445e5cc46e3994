//! Checks of a strategy for look-ahead bias and other sources of false results, by its behaviour alone.
//!
//! - [`subject`]: the interface of a strategy to an audit: fit, decide, trade.
//! - [`checks`]: one function for each check.
//! - [`linear`]: the linear baseline as a subject; [`bundles`]: model bundles; [`predictions`]: a table, with its own checks.
//!
//! Input: bars and a subject. Output: an [`Audit`]. What is *not* here: whether a strategy is profitable.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use heqis_backtest::inputs::markets;
use heqis_backtest::rule::ChosenRule;
use heqis_backtest::settings::Settings;
use heqis_backtest::strategy::Source;
use heqis_data::import_args::ImportArgs;
use heqis_data::predictions::Predictions;
use heqis_data::prepare::reference::{self, Tables};
use heqis_quant::adjust::EventTable;
use heqis_quant::{BadRow, Bar, Date, SignalMode, Strategy};
use serde::Serialize;

use self::bundles::Bundles;
use self::checks::Finding;
use self::linear::Linear;
use self::subject::Subject;
use crate::error::LabError;
use crate::output::CommandOutput;

pub mod bundles;
pub mod checks;
pub mod linear;
pub mod predictions;
pub mod subject;

/// Check a strategy for look-ahead bias and other sources of false results on a series of bars, daily or shorter; the exit
/// code is 1 when a check fails.
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// Bars of one instrument, with a symbol column or named after it, such as 002032.SZ.csv.
    #[arg(value_name = "CSV")]
    pub data: PathBuf,
    /// The strategy: DIRECTION_BUNDLE, FACTORS_BUNDLE,DIRECTION_BUNDLE or a table of predictions [default: a linear model
    /// fitted for the audit].
    #[arg(long, value_name = "SOURCE", visible_alias = "predictions")]
    pub strategy: Option<String>,
    /// The first day of the test span.
    #[arg(long, value_name = "DATE")]
    pub test_from: Date,
    /// Ex-right events, or a vendor's dividends [default: those of a fetched directory next to the bars].
    #[arg(long, value_name = "CSV")]
    pub events: Option<PathBuf>,
    /// Own market file, or a directory of them: see docs/markets.md.
    #[arg(long, value_name = "TOML_OR_DIR")]
    pub markets: Option<PathBuf>,
    /// Thoroughness of the checks.
    #[command(flatten)]
    pub options: Options,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// How tables of bars are read.
    #[command(flatten)]
    pub import: ImportArgs,
}

/// Thoroughness of the checks.
#[derive(Args, Clone, Copy, Debug)]
pub struct Options {
    /// Days on which the history is cut off.
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub cuts: usize,
    /// Shuffled markets.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub rounds: usize,
    /// Standard errors by which predictions on a shuffled market may correlate with the next returns.
    #[arg(long, value_name = "N", default_value_t = 4.0)]
    pub max_errors: f64,
    /// Rank correlation of a table's predictions with later returns, above which they count as look-ahead.
    #[arg(long, value_name = "N", default_value_t = 0.2)]
    pub max_correlation: f64,
    /// Bars after which predictions must not depend on the start of the history.
    #[arg(long, value_name = "BARS", default_value_t = 500)]
    pub warmup_bars: usize,
    /// Allowed change of the last prediction with the start, as a part of the spread of all predictions.
    #[arg(long, value_name = "SHARE", default_value_t = 1e-6)]
    pub drift: f64,
    /// Seed of days and shuffles.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cuts: 32,
            rounds: 3,
            max_errors: 4.0,
            max_correlation: 0.2,
            warmup_bars: 500,
            drift: 1e-6,
            seed: 0,
        }
    }
}

/// All findings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// One for each check, in the order of the checks.
    pub findings: Vec<Finding>,
}

impl Audit {
    /// Returns whether no check found a fault.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.good)
    }
}

/// Makes all checks.
///
/// # Errors
///
/// The errors of the subject.
pub fn audit(
    subject: &dyn Subject,
    bars: &[Bar],
    test_from: Date,
    options: &Options,
) -> Result<Audit, LabError> {
    if bars.last().is_none_or(|bar| bar.date < test_from) {
        let rule = format!("must hold a bar from {test_from} on");
        return Err(LabError::rule("test span", rule));
    }
    let fitted = subject.fit(bars, test_from)?;
    let fitted = fitted.as_ref();
    let trades = fitted.trade(bars, &fitted.decide(bars)?)?;
    let Options {
        cuts,
        rounds,
        max_errors,
        warmup_bars,
        drift,
        seed,
        ..
    } = *options;
    Ok(Audit {
        findings: vec![
            checks::fit_sees_no_test(subject, bars, test_from)?,
            checks::scaler_span(fitted, test_from),
            checks::future_cut_off(fitted, bars, cuts, seed)?,
            checks::start_drift(fitted, bars, warmup_bars, drift)?,
            checks::shuffled(subject, bars, test_from, rounds, max_errors, seed)?,
            checks::fills(bars, &trades),
            checks::costs(&trades),
        ],
    })
}

/// Runs the command.
///
/// # Errors
///
/// [`LabError`] when the bars cannot be read or are too few.
pub fn run(args: &AuditArgs) -> Result<CommandOutput, LabError> {
    let rules = markets(args.markets.as_deref())?;
    let (symbol, bars, _) = args.import.one_series_in(&args.data, Some(&rules))?;
    if let Some(reason) = rules.untradable(symbol) {
        let rule = format!("{symbol} cannot be traded: {reason}");
        return Err(LabError::rule(args.data.display().to_string(), rule));
    }
    let markets = Some(rules);
    let events = match args
        .events
        .clone()
        .or_else(|| Tables::next_to(&args.data)?.events)
    {
        Some(path) => reference::events(&path)?,
        None => EventTable::default(),
    };
    let linear = Linear {
        events: events.events.clone(),
        markets: markets.clone(),
        ..Linear::default()
    };
    let source = args.strategy.as_deref().map(Source::parse);
    let table = match &source {
        Some(Source::Table(path)) => Some(Predictions::read(path)?),
        _ => None,
    };
    let rule = source
        .as_ref()
        .map(|source| ChosenRule::of(source, table.as_ref(), &Settings::default(), None))
        .transpose()?;
    let strategy = |rule: &ChosenRule| Strategy {
        rule: rule.rule,
        ..Settings::default().strategy(SignalMode::Return)
    };
    let (broker, test_from, options) = (linear.broker, args.test_from, &args.options);
    let audit = match (source, table, &rule) {
        (Some(_), Some(table), Some(rule)) => {
            table.require(SignalMode::Return, &rule.rule)?;
            let table = predictions::Table {
                predictions: Arc::new(table),
                strategy: strategy(rule),
                broker,
                events: events.events.clone(),
                markets,
            };
            predictions::audit(&table, &bars, test_from, options)?
        }
        (Some(source), None, Some(rule)) => {
            let strategy = strategy(rule);
            let bundles = Bundles {
                source,
                strategy,
                broker,
                events: events.events.clone(),
                markets,
            };
            audit(&bundles, &bars, test_from, options)?
        }
        _ => audit(&linear, &bars, test_from, options)?,
    };
    let mut lines = match args.json {
        true => vec![serde_json::json!({ "findings": audit.findings, "rule": rule }).to_string()],
        false => audit
            .findings
            .iter()
            .map(|finding| {
                let mark = match (finding.checked, finding.good) {
                    (false, _) => "----",
                    (true, true) => "pass",
                    (true, false) => "FAIL",
                };
                format!("{mark}  {:16}  {}", finding.check, finding.detail)
            })
            .collect(),
    };
    let own = |row: &&BadRow| {
        row.symbol
            .is_none_or(|own| bars.first().is_some_and(|bar| bar.symbol == own))
    };
    for row in events.bad.iter().filter(own).filter(|_| !args.json) {
        lines.push(format!("warning: an event is left out: {}", row.error));
    }
    Ok(CommandOutput {
        lines,
        good: audit.is_good(),
    })
}
