//! The scaffold of model cards and the sentences that they share, worded the same way for good and bad metrics. Their text is
//! part of shipped bundles: it stays byte for byte.

use heqis_quant::Date;
use heqis_quant::stats::{MeanInterval, Proportion};

use super::BundleSource;
use crate::corpus::{FLAT_BAND, Split};

/// The sections of a card. Every text but `name` ends without a line break where it is one paragraph, and with one where it
/// is a table or several paragraphs.
#[derive(Debug)]
pub(crate) struct Card<'a> {
    pub(crate) name: &'a str,
    /// What the model is: one paragraph.
    pub(crate) about: String,
    /// Its inputs and outputs: one paragraph.
    pub(crate) interface: String,
    /// The section of [`BundleSource::data`].
    pub(crate) data: String,
    /// Metrics, and sections after them.
    pub(crate) figures: String,
    /// What it cannot do: one paragraph.
    pub(crate) limits: String,
}

impl Card<'_> {
    /// Returns the text of the card.
    pub(crate) fn text(&self) -> String {
        let Self {
            name,
            about,
            interface,
            data,
            figures,
            limits,
        } = self;
        format!(
            "# {name}\n\n{about}\n\n{interface}\n\n{data}\n## Figures\n\n{figures}\n## What it cannot do\n\n{limits}\n"
        )
    }
}

/// Returns the inputs and outputs of a model that makes factors of windows.
pub(crate) fn factors_interface(bars: usize, features: usize, factors: usize) -> String {
    format!(
        "Input `window` f32 [1, {bars}, {features}], oldest bar first. Output `factors` f32 [1, {factors}]."
    )
}

/// Returns the inputs and outputs of a direction model; `shape` describes its input.
pub(crate) fn direction_interface(shape: &str) -> String {
    format!(
        "Input `features` f32 {shape}. Outputs `predicted_return` f32 [1, 1] in plain units (0.01 is one per cent) and \
         `probabilities` f32 [1, 3] in the order down, flat, up; flat is a return within ±{FLAT_BAND}."
    )
}

/// Returns what a direction model cannot do, given what it is and what it knows.
pub(crate) fn direction_limits(what: &str, knows: &str) -> String {
    format!(
        "It is {what}, not advice and not a strategy. It knows {knows} no costs, limits or suspensions; the intervals take days \
         as independent. A much higher accuracy than that of a naive answer would be a leak until proven otherwise."
    )
}

/// Returns the table of a share for each span.
pub(crate) fn shares(shares: [f64; 3]) -> String {
    let rows = Split::ALL.iter().zip(shares);
    let rows: String = rows
        .map(|(split, share)| format!("| {} | {} |\n", split.name(), percent(share)))
        .collect();
    format!("| span | share |\n|---|---|\n{rows}")
}

impl BundleSource<'_> {
    /// Returns the section on data and spans: what the data is, the features, a row for each span with its `days` under two
    /// `columns`, and what was fitted on which.
    pub(crate) fn data(
        &self,
        about: &str,
        columns: &str,
        days: impl Fn(Split) -> (Date, Date),
        seen: &str,
    ) -> String {
        let names = self.features().iter().map(|name| format!("`{name}`"));
        let features = names.collect::<Vec<_>>().join(", ");
        let rows: String = Split::ALL
            .into_iter()
            .map(|split| {
                let ((from, to), windows) = (days(split), self.corpus.samples(split).len());
                format!("| {} | {from} | {to} | {windows} |\n", split.name())
            })
            .collect();
        format!(
            "## Data\n\n{about}\n\nFeatures, in order: {features}.\n\n\
             | span | {columns} | windows |\n|---|---|---|---|\n{rows}\n{seen}\n"
        )
    }
}

/// Returns in words where a difference of errors lies.
pub(crate) fn place_of(difference: &MeanInterval) -> &'static str {
    place(difference.low > 0.0, difference.high < 0.0)
}

/// Returns in words where an accuracy lies in comparison with that of a naive prediction.
pub(crate) fn against(accuracy: &Proportion, naive: f64, words: &str) -> String {
    let place = place(accuracy.wilson_low > naive, accuracy.wilson_high < naive);
    format!("{place} that of {words}")
}

/// Returns where a metric lies, given whether its whole interval is above or below the value of the comparison.
fn place(above: bool, below: bool) -> &'static str {
    match (above, below) {
        (true, _) => "above",
        (_, true) => "below",
        _ => "not distinguishable from",
    }
}

/// Returns a share in per cent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
