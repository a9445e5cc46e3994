//! What the same account would be worth without a model: *hold* and *cash*, beside every run.
//!
//! *Hold* divides the cash equally among all instruments of the run and buys each after its first close in the span, by the
//! same broker, rules and costs; an order waits until it is filled, and nothing is sold. *Cash* buys nothing and earns
//! nothing.

use heqis_quant::decision::Side;
use serde::Serialize;

use super::allocation::{Allocation, Want, simulate};
use super::broker::BrokerConfig;
use super::metrics::{Metrics, daily_returns};
use super::scene::Scene;
use super::settings::Settings;
use crate::error::BacktestError;

/// Opens for which an order of *hold* waits, the most that a broker allows: a share may be suspended, or at its limit
/// for weeks after its listing.
const BUY_DAYS: u32 = 1_000;

/// Both alternatives of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alternatives {
    /// Figures of holding.
    pub hold: Metrics,
    /// Figures of cash.
    pub cash: Metrics,
    /// One return of holding a day.
    #[serde(skip)]
    pub hold_returns: Vec<f64>,
}

impl Alternatives {
    /// Runs both over the market of a scene.
    ///
    /// # Errors
    /// What [`simulate`] and [`Metrics::of`] return.
    pub fn of(scene: &Scene, settings: &Settings) -> Result<Self, BacktestError> {
        let stocks = scene.market.stocks();
        let first = |(stock, listing): (usize, &super::market::Stock)| {
            Some(Want {
                step: listing.bars().first()?.step,
                stock,
                side: Side::Buy,
                score: 0.0,
            })
        };
        let mut wants: Vec<Want> = stocks.iter().enumerate().filter_map(first).collect();
        wants.sort_by_key(|want| (want.step, want.stock));
        let config = BrokerConfig {
            buy_days: BUY_DAYS,
            ..settings.broker
        };
        let equal = Allocation {
            max_positions: u32::try_from(stocks.len()).unwrap_or(u32::MAX),
            ..Allocation::default()
        };
        let (book, basis) = (settings.rules()?, settings.basis_of(&scene.market));
        let run = |wants: &[Want]| -> Result<(Metrics, Vec<f64>), BacktestError> {
            let ledger = simulate(&scene.market, &book, wants, config, &equal)?;
            let benchmark = scene.benchmark.as_deref();
            let cash = config.cash_cents;
            let metrics = Metrics::of(&ledger, cash, benchmark, &[], basis)?;
            Ok((metrics, daily_returns(&ledger, cash)?))
        };
        let (hold, hold_returns) = run(&wants)?;
        let (cash, _) = run(&[])?;
        Ok(Self {
            hold,
            cash,
            hold_returns,
        })
    }

    /// Returns both with their names, in the order in which they are shown.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &Metrics); 2] {
        [("hold", &self.hold), ("cash", &self.cash)]
    }
}
