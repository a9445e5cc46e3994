//! The files of a run.

use std::path::Path;

use heqis_data::table::{Table, Values};
use heqis_quant::decision::{Side, SignalMode};
use serde::Serialize;

use super::books;
use super::html::Page;
use crate::alternatives::Alternatives;
use crate::error::BacktestError;
use crate::metrics::{Metrics, returns_of};
use crate::run::{Label, Origin, Outcome};
use crate::scene::{Place, Scene};
use crate::settings::Settings;
use crate::strategy::Said;

impl Outcome {
    /// Writes the run into a directory: all tables as CSV and Parquet, `summary.json` and, if wished, `report.html`.
    ///
    /// # Errors
    /// [`BacktestError::Data`], [`BacktestError::Data`] and [`BacktestError::Data`] when a file cannot be written.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is one part of what a run leaves, and there is one caller"
    )]
    pub fn save(
        &self,
        dir: &Path,
        label: &Label,
        scene: &Scene,
        alternatives: &Alternatives,
        settings: &Settings,
        origin: &Origin,
        with_page: bool,
    ) -> Result<(), BacktestError> {
        std::fs::create_dir_all(dir).map_err(|source| BacktestError::file(dir, source))?;
        let returns = returns_of(&self.ledger.days, settings.broker.cash_cents)?;
        signals(scene, label.mode).save(dir, "signals")?;
        for (name, table) in books::tables(&scene.market, &self.ledger, &returns) {
            table.save(dir, name)?;
        }
        figures(&flat(&self.metrics)).save(dir, "metrics")?;
        let days = scene.market.days();
        let mut summary = serde_json::json!({
            "run": label,
            "from": days.first(),
            "to": days.last(),
            "settings": settings,
            "rule_from": origin.rule_from,
            "predictions": origin.predictions,
            "metrics": self.metrics,
            "hold": alternatives.hold,
            "cash": alternatives.cash,
            "orders": self.ledger.orders.len(),
            "fills": self.ledger.fills.len(),
            "reasons": self.reasons(),
            "unbridged_price_levels": scene.unbridged,
            "missing_dividends": self.caveats.missing_dividends,
            "delisted_holdings": self.caveats.delisted_holdings,
            "warnings": self.caveats.told(),
        });
        if !scene.import.series.is_empty() {
            summary["import"] = serde_json::json!(scene.import);
        }
        if !scene.left_out.is_empty() {
            summary["left_out"] = serde_json::json!(scene.left_out);
        }
        let json = serde_json::to_string_pretty(&summary)
            .map_err(|source| BacktestError::json(dir, source))?;
        write(&dir.join("summary.json"), &(json + "\n"))?;
        if with_page {
            let settings = [
                ("strategy", label.strategy.clone()),
                ("mode", text(&label.mode)),
                (
                    "rule",
                    format!("{} from {}", text(&settings.rule), origin.rule_from),
                ),
                ("filters", text(&settings.filters)),
                ("kill", text(&settings.kill)),
                ("broker", text(&settings.broker)),
                ("allocation", text(&settings.allocation)),
                ("commission", text(&settings.commission)),
            ]
            .map(|(name, value)| (name.to_owned(), value));
            let warnings = self.caveats.told();
            let page = Page {
                title: &format!("{} on {}", label.strategy, label.symbol),
                settings: &settings,
                market: &scene.market,
                ledger: &self.ledger,
                returns: &self.returns,
                benchmark: scene.benchmark.as_deref(),
                metrics: &self.metrics,
                left_out: &scene.left_out,
                import: &scene.import,
                alternatives,
                warnings: &warnings,
            };
            write(&dir.join("report.html"), &page.html())?;
        }
        Ok(())
    }
}

/// Settings as one line of text.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn write(path: &Path, text: &str) -> Result<(), BacktestError> {
    std::fs::write(path, text).map_err(|source| BacktestError::file(path, source))
}

fn signals(scene: &Scene, mode: SignalMode) -> Table<'_> {
    let (market, rows) = (&scene.market, &scene.order);
    let number =
        |value: fn(&Said) -> f64| Values::numbers(rows, move |place| Some(value(scene.at(*place))));
    // What a table of predictions does not have is an empty cell.
    let odds = |value: fn(&Said, Side) -> f64| {
        Values::numbers(rows, move |place| {
            let said = scene.at(*place);
            said.has_probabilities
                .then(|| value(said, said.decided(mode).0))
        })
    };
    let stock = |place: &Place| &market.stocks()[place.stock as usize];
    let mut table =
        Table::new(rows.len()).with("date", Values::days(rows, |place| scene.at(*place).date));
    if market.is_intraday() {
        let time = move |place: &Place| {
            let rules = stock(place).market();
            rules.local_time(scene.at(*place).time_ns)
        };
        table = table.with("time", Values::text(rows, time));
    }
    table
        .with(
            "symbol",
            Values::text(rows, move |place| stock(place).symbol().to_string()),
        )
        .with("close", number(|said| said.close))
        .with(
            "predicted_return",
            number(|said| said.prediction.predicted_return),
        )
        .with("down", odds(|said, _| said.prediction.probabilities[0]))
        .with("flat", odds(|said, _| said.prediction.probabilities[1]))
        .with("up", odds(|said, _| said.prediction.probabilities[2]))
        .with(
            "side",
            Values::text(rows, move |place| {
                scene.at(*place).decided(mode).0.to_string()
            }),
        )
        .with(
            "confidence",
            odds(|said, side| said.prediction.confidence(side)),
        )
        .with(
            "reason",
            Values::text(rows, move |place| {
                scene.at(*place).decided(mode).1.to_string()
            }),
        )
}

/// Every figure by its name; one that is not defined has no value.
fn figures(rows: &[(String, Option<f64>)]) -> Table<'_> {
    Table::new(rows.len())
        .with("figure", Values::text(rows, |row| row.0.clone()))
        .with("value", Values::numbers(rows, |row| row.1))
}

/// Returns the figures as names and numbers, such as `curve.sharpe`.
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
