//! The metrics of all models in one table.

use heqis_quant::stats::Proportion;
use serde::Serialize;

use crate::error::TrainError;
use crate::metrics::{CrossSections, Metrics, ReturnMetrics};

/// The metrics of one model over one span.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Name of the model.
    pub model: String,
    /// Name of the span.
    pub span: String,
    /// Number of settings compared on the validation span for this model.
    pub trials: usize,
    /// The metrics; the key on disk is `figures`.
    #[serde(rename = "figures")]
    pub metrics: Metrics,
}

/// Entries in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ComparisonTable {
    entries: Vec<Entry>,
}

/// A column of the CSV: its name, and the cell of an entry.
type Column = (&'static str, fn(&Metrics) -> Option<f64>);

impl ComparisonTable {
    /// Adds an entry.
    pub fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Adds the entries of another table.
    pub fn extend(&mut self, other: ComparisonTable) {
        self.entries.extend(other.entries);
    }

    /// Returns the entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the entry of a model over a span.
    pub fn get(&self, model: &str, span: &str) -> Option<&Entry> {
        let mut entries = self.entries.iter();
        entries.find(|entry| entry.model == model && entry.span == span)
    }

    /// Returns the spans in the order of their first entry.
    fn spans(&self) -> Vec<&str> {
        let mut spans: Vec<&str> = Vec::new();
        for entry in &self.entries {
            if !spans.contains(&entry.span.as_str()) {
                spans.push(&entry.span);
            }
        }
        spans
    }

    /// Returns the table as JSON with a final newline: a list of entries with all metrics.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when it cannot be written, which finite metrics exclude.
    pub fn json(&self) -> Result<String, TrainError> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| TrainError::rule("baselines", error.to_string()))?;
        text.push('\n');
        Ok(text)
    }

    /// Returns the table as CSV, one line for each entry; a metric that does not apply to a model is empty.
    pub fn csv(&self) -> String {
        let columns = columns();
        let mut text = String::from("model,span,trials,items");
        for (name, _) in &columns {
            text.push(',');
            text.push_str(name);
        }
        text.push('\n');
        for Entry {
            model,
            span,
            trials,
            metrics,
        } in &self.entries
        {
            text.push_str(&format!(
                "{},{},{trials},{}",
                quoted(model),
                quoted(span),
                metrics.items
            ));
            for (_, cell) in &columns {
                text.push(',');
                if let Some(value) = cell(metrics) {
                    text.push_str(&value.to_string());
                }
            }
            text.push('\n');
        }
        text
    }

    /// Returns the table as Markdown, one block for each span, with 95 % intervals. The IC columns are present if there is a
    /// cross-section.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for span in self.spans() {
            let entries: Vec<&Entry> = self.entries.iter().filter(|e| e.span == span).collect();
            let returns = |entry: &&Entry| entry.metrics.returns.as_ref().map(|r| r.ic.is_some());
            let with_ic = entries.iter().any(|entry| returns(entry) == Some(true));
            let items = entries.first().map_or(0, |entry| entry.metrics.items);
            let mut names = vec![
                "model",
                "MSE",
                "RMSE",
                "MAE",
                "MAPE of the price",
                "MSE minus last value",
                "direction",
                "class",
                "Brier score",
            ];
            if with_ic {
                names.extend(["IC", "RankIC"]);
            }
            names.push("trials");
            text.push_str(&format!("### {span}, {items} items\n\n"));
            text.push_str(&format!("| {} |\n", names.join(" | ")));
            text.push_str(&format!("|{}\n", "---|".repeat(names.len())));
            for entry in entries {
                text.push_str(&format!("| {} |\n", cells(entry, with_ic).join(" | ")));
            }
            text.push('\n');
        }
        text
    }
}

fn columns() -> Vec<Column> {
    fn returns(metrics: &Metrics) -> Option<&ReturnMetrics> {
        metrics.returns.as_ref()
    }
    fn direction(metrics: &Metrics) -> Option<Proportion> {
        returns(metrics)?.direction
    }
    fn class(metrics: &Metrics) -> Option<Proportion> {
        Some(metrics.classes.as_ref()?.accuracy)
    }
    vec![
        ("mse", |f| Some(returns(f)?.mse)),
        ("rmse", |f| Some(returns(f)?.rmse)),
        ("mae", |f| Some(returns(f)?.mae)),
        ("mape_price", |f| returns(f)?.mape_price),
        ("mse_minus_last_value", |f| {
            Some(returns(f)?.minus_last_value.mean)
        }),
        ("mse_minus_last_value_low", |f| {
            Some(returns(f)?.minus_last_value.low)
        }),
        ("mse_minus_last_value_high", |f| {
            Some(returns(f)?.minus_last_value.high)
        }),
        ("direction", |f| Some(direction(f)?.share)),
        ("direction_low", |f| Some(direction(f)?.wilson_low)),
        ("direction_high", |f| Some(direction(f)?.wilson_high)),
        ("direction_of", |f| Some(direction(f)?.of as f64)),
        ("class", |f| Some(class(f)?.share)),
        ("class_low", |f| Some(class(f)?.wilson_low)),
        ("class_high", |f| Some(class(f)?.wilson_high)),
        ("brier", |f| Some(f.classes.as_ref()?.brier)),
        ("ic", |f| Some(returns(f)?.ic?.mean)),
        ("ic_ratio", |f| Some(returns(f)?.ic?.ratio)),
        ("rank_ic", |f| Some(returns(f)?.rank_ic?.mean)),
        ("rank_ic_ratio", |f| Some(returns(f)?.rank_ic?.ratio)),
        ("ic_times", |f| Some(returns(f)?.ic?.times as f64)),
    ]
}

fn cells(entry: &Entry, with_ic: bool) -> Vec<String> {
    let dash = || "–".to_owned();
    let returns = entry.metrics.returns.as_ref();
    let classes = entry.metrics.classes.as_ref();
    let small = |value: Option<f64>| value.map_or_else(dash, |value| format!("{value:.4e}"));
    let share = |share: Option<Proportion>| {
        share.map_or_else(dash, |share| {
            format!(
                "{:.1} % [{:.1}, {:.1}]",
                100.0 * share.share,
                100.0 * share.wilson_low,
                100.0 * share.wilson_high
            )
        })
    };
    let section = |ic: Option<CrossSections>| {
        ic.map_or_else(dash, |ic| format!("{:.4} (IR {:.3})", ic.mean, ic.ratio))
    };
    let mut cells = vec![
        entry.model.clone(),
        small(returns.map(|r| r.mse)),
        small(returns.map(|r| r.rmse)),
        small(returns.map(|r| r.mae)),
        returns
            .and_then(|r| r.mape_price)
            .map_or_else(dash, |mape| format!("{:.3} %", 100.0 * mape)),
        returns.map_or_else(dash, |r| {
            let d = &r.minus_last_value;
            format!("{:.2e} [{:.2e}, {:.2e}]", d.mean, d.low, d.high)
        }),
        share(returns.and_then(|r| r.direction)),
        share(classes.map(|c| c.accuracy)),
        classes.map_or_else(dash, |c| format!("{:.4}", c.brier)),
    ];
    if with_ic {
        cells.push(section(returns.and_then(|r| r.ic)));
        cells.push(section(returns.and_then(|r| r.rank_ic)));
    }
    cells.push(entry.trials.to_string());
    cells
}

/// Returns a text as CSV: in quotes when it holds a comma, a quote or a line break.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
