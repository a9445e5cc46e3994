//! The files of a run.

use std::path::Path;

use heqis_data::table::{Table, Values};
use heqis_quant::Date;
use heqis_quant::decision::{Side, SignalMode};
use serde::Serialize;

use super::books;
use super::html::Page;
use crate::alternatives::Alternatives;
use crate::backtest_input::{BacktestInput, BarIndex};
use crate::error::BacktestError;
use crate::metrics::returns::relative;
use crate::metrics::{Metrics, returns_of};
use crate::portfolio::RankedBar;
use crate::run::{Origin, RunId, RunResult};
use crate::settings::Settings;
use crate::strategy::DecidedBar;

/// The parts of a run that its files are written from.
#[derive(Clone, Copy, Debug)]
pub struct RunFiles<'a> {
    /// The identity of the run.
    pub id: &'a RunId,
    /// Its stocks and decisions.
    pub input: &'a BacktestInput,
    /// Its settings.
    pub settings: &'a Settings,
    /// The origin of its decisions.
    pub origin: &'a Origin,
    /// The same account without a model.
    pub alternatives: &'a Alternatives,
    /// Its result.
    pub result: &'a RunResult,
}

impl RunFiles<'_> {
    /// Writes the run into a directory: all tables as CSV and Parquet, `summary.json` and, `with_page`, `report.html`.
    ///
    /// # Errors
    /// [`BacktestError::Data`] when a file cannot be written.
    pub fn save(&self, dir: &Path, with_page: bool) -> Result<(), BacktestError> {
        let (input, settings) = (self.input, self.settings);
        let RunResult {
            ledger,
            metrics,
            caveats,
            ..
        } = self.result;
        std::fs::create_dir_all(dir).map_err(|source| BacktestError::file(dir, source))?;
        let returns = returns_of(&ledger.days, settings.broker.cash_cents)?;
        signals(input, self.id.mode, self.result.ranked.as_deref()).save(dir, "signals")?;
        if let Some(benchmark) = &input.benchmark {
            let ratios = relative(&self.result.returns, benchmark);
            let days = input.market.days();
            against(days, &self.result.returns, benchmark, &ratios).save(dir, "relative")?;
        }
        for (name, table) in books::tables(&input.market, ledger, &returns) {
            table.save(dir, name)?;
        }
        figures(&flat(metrics)).save(dir, "metrics")?;
        let days = input.market.days();
        let warnings = caveats.messages();
        let mut summary = serde_json::json!({
            "run": self.id,
            "from": days.first(),
            "to": days.last(),
            "settings": settings,
            "rule_from": self.origin.rule_from,
            "predictions": self.origin.predictions,
            "metrics": metrics,
            "hold": self.alternatives.hold,
            "cash": self.alternatives.cash,
            "orders": ledger.orders.len(),
            "fills": ledger.fills.len(),
            "reasons": self.result.reasons(),
            "unbridged_price_levels": input.unbridged,
            "missing_dividends": caveats.missing_dividends,
            "delisted_holdings": caveats.delisted_holdings,
            "warnings": warnings,
        });
        if !input.import.series.is_empty() {
            summary["import"] = serde_json::json!(input.import);
        }
        if !input.left_out.is_empty() {
            summary["left_out"] = serde_json::json!(input.left_out);
        }
        let json = serde_json::to_string_pretty(&summary)
            .map_err(|source| BacktestError::json(dir, source))?;
        write(&dir.join("summary.json"), &(json + "\n"))?;
        if with_page {
            let rule = match (&settings.portfolio, &self.result.ranked) {
                (Some(portfolio), Some(_)) => [
                    ("portfolio", text(portfolio)),
                    ("filters", "of single stocks do not apply".to_owned()),
                ],
                _ => [
                    (
                        "rule",
                        format!("{} from {}", text(&settings.rule), self.origin.rule_from),
                    ),
                    ("filters", text(&settings.filters)),
                ],
            };
            let [rule, filters] = rule;
            let shown = [
                ("strategy", self.id.strategy.clone()),
                ("mode", text(&self.id.mode)),
                rule,
                filters,
                ("kill", text(&settings.trading_states)),
                ("broker", text(&settings.broker)),
                ("allocation", text(&settings.allocation)),
                ("commission", text(&settings.commission)),
            ]
            .map(|(name, value)| (name.to_owned(), value));
            let page = Page {
                title: &format!("{} on {}", self.id.strategy, self.id.symbol),
                settings: &shown,
                market: &input.market,
                ledger,
                returns: &self.result.returns,
                benchmark: input.benchmark.as_deref(),
                metrics,
                left_out: &input.left_out,
                import: &input.import,
                alternatives: self.alternatives,
                warnings: &warnings,
            };
            write(&dir.join("report.html"), &page.html())?;
        }
        Ok(())
    }
}

/// Settings as one line of JSON.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn write(path: &Path, text: &str) -> Result<(), BacktestError> {
    std::fs::write(path, text).map_err(|source| BacktestError::file(path, source))
}

/// The account, the benchmark, and their ratio, by day.
fn against<'a>(
    days: &'a [Date],
    returns: &'a [f64],
    benchmark: &'a [f64],
    ratios: &'a [f64],
) -> Table<'a> {
    let number = |rows: &'a [f64]| Values::numbers(rows, |row| Some(*row));
    Table::new(ratios.len())
        .with("date", Values::days(days, |day| *day))
        .with("return", number(returns))
        .with("benchmark_return", number(benchmark))
        .with("relative", number(ratios))
}

fn signals<'a>(
    input: &'a BacktestInput,
    mode: SignalMode,
    ranked: Option<&'a [RankedBar]>,
) -> Table<'a> {
    let (market, rows) = (&input.market, &input.order);
    let number = |value: fn(&DecidedBar) -> f64| {
        Values::numbers(rows, move |index| Some(value(input.bar(*index))))
    };
    // Empty cells for a table of predictions without probabilities.
    let odds = |value: fn(&DecidedBar, Side) -> f64| {
        Values::numbers(rows, move |index| {
            let bar = input.bar(*index);
            bar.has_probabilities
                .then(|| value(bar, bar.decision(mode).0))
        })
    };
    let stock = |index: &BarIndex| &market.stocks()[index.stock as usize];
    let mut table =
        Table::new(rows.len()).with("date", Values::days(rows, |index| input.bar(*index).date));
    if market.is_intraday() {
        let time = move |index: &BarIndex| {
            let rules = stock(index).market();
            rules.local_time(input.bar(*index).time_ns)
        };
        table = table.with("time", Values::text(rows, time));
    }
    table = table
        .with(
            "symbol",
            Values::text(rows, move |index| stock(index).symbol().to_string()),
        )
        .with("close", number(|bar| bar.close))
        .with(
            "predicted_return",
            number(|bar| bar.prediction.predicted_return),
        )
        .with("down", odds(|bar, _| bar.prediction.probabilities[0]))
        .with("flat", odds(|bar, _| bar.prediction.probabilities[1]))
        .with("up", odds(|bar, _| bar.prediction.probabilities[2]));
    if let Some(ranked) = ranked {
        let rank = |one: &RankedBar| (one.rank > 0).then_some(i64::from(one.rank));
        return table
            .with("side", Values::text(ranked, |one| one.side.to_string()))
            .with("rank", Values::whole(ranked, rank))
            .with("weight", Values::numbers(ranked, |one| Some(one.weight)))
            .with("reason", Values::text(ranked, |one| one.reason.to_string()));
    }
    table
        .with(
            "side",
            Values::text(rows, move |index| {
                input.bar(*index).decision(mode).0.to_string()
            }),
        )
        .with(
            "confidence",
            odds(|bar, side| bar.prediction.confidence(side)),
        )
        .with(
            "reason",
            Values::text(rows, move |index| {
                input.bar(*index).decision(mode).1.to_string()
            }),
        )
}

/// Every metric by its name; an undefined one has an empty value.
fn figures(rows: &[(String, Option<f64>)]) -> Table<'_> {
    Table::new(rows.len())
        .with("figure", Values::text(rows, |row| row.0.clone()))
        .with("value", Values::numbers(rows, |row| row.1))
}

/// Returns the metrics as names and numbers, such as `curve.sharpe`.
fn flat(metrics: &Metrics) -> Vec<(String, Option<f64>)> {
    fn walk(prefix: &str, value: &serde_json::Value, out: &mut Vec<(String, Option<f64>)>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    let dot = if prefix.is_empty() { "" } else { "." };
                    walk(&format!("{prefix}{dot}{name}"), value, out);
                }
            }
            other => out.push((prefix.to_owned(), other.as_f64())),
        }
    }
    let mut out = Vec::new();
    if let Ok(value) = serde_json::to_value(metrics) {
        walk("", &value, &mut out);
    }
    out
}
