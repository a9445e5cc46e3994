//! One run: from decisions to orders, money and figures.

use std::collections::BTreeMap;

use heqis_data::predictions::Coverage;
use heqis_quant::decision::SignalMode;
use serde::Serialize;

use crate::allocation::simulate;
use crate::broker::Ledger;
use crate::caveats::Caveats;
use crate::error::BacktestError;
use crate::metrics::{Metrics, daily_returns};
use crate::scene::Scene;
use crate::settings::Settings;

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The books.
    pub ledger: Ledger,
    /// One return a day.
    pub returns: Vec<f64>,
    /// The figures.
    pub metrics: Metrics,
    /// What they do not say.
    pub caveats: Caveats,
}

/// Trades what was decided in a signal mode, and sums up.
///
/// # Errors
/// What [`simulate`] and [`Metrics::of`] return.
pub fn run(scene: &Scene, settings: &Settings, mode: SignalMode) -> Result<Outcome, BacktestError> {
    let book = settings.rules()?;
    let wants = scene.wants(mode);
    let config = settings.broker;
    let ledger = simulate(&scene.market, &book, &wants, config, &settings.allocation)?;
    let metrics = Metrics::of(
        &ledger,
        config.cash_cents,
        scene.benchmark.as_deref(),
        &scene.scores(),
        settings.basis_of(&scene.market),
    )?;
    Ok(Outcome {
        caveats: Caveats::of(
            &scene.market,
            &scene.unexplained,
            &scene.warnings,
            &ledger,
            settings.basis.days_per_year,
        ),
        returns: daily_returns(&ledger, config.cash_cents)?,
        ledger,
        metrics,
    })
}

/// What identifies a run, beside its settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Label {
    /// The name of the strategy.
    pub strategy: String,
    /// The signal mode.
    pub mode: SignalMode,
    /// The stock, or `portfolio`.
    pub symbol: String,
}

/// Where the decisions of a run come from, beside its settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Origin {
    /// The origin of the rule.
    pub rule_from: String,
    /// Which bars a table of predictions speaks of; `None` for bundles.
    pub predictions: Option<Coverage>,
}

impl Outcome {
    /// Returns how many orders each reason touched.
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
