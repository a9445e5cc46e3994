//! The same account without a model: *hold* and *cash*, computed with every run.
//!
//! *Hold* divides the cash equally among all instruments of the run and buys each after its first close in the span, by the
//! same broker, rules and costs; an order stays pending until it is filled, and nothing is sold. *Cash* neither buys nor
//! earns anything.

use heqis_quant::decision::Side;
use serde::Serialize;

use super::allocation::{Allocation, OrderIntent, simulate};
use super::backtest_input::BacktestInput;
use super::broker::BrokerConfig;
use super::metrics::{Metrics, daily_returns};
use super::settings::Settings;
use crate::error::BacktestError;

/// The days that an order of *hold* lives, the maximum of the broker: a share may be suspended, or at its limit for weeks
/// after its listing.
const BUY_DAYS: u32 = 1_000;

/// Both alternatives of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alternatives {
    /// The metrics of *hold*.
    pub hold: Metrics,
    /// The metrics of *cash*.
    pub cash: Metrics,
    /// One return of *hold* a day.
    #[serde(skip)]
    pub hold_returns: Vec<f64>,
}

impl Alternatives {
    /// Runs both over the market of a run.
    ///
    /// # Errors
    /// The errors of [`simulate`] and [`Metrics::of`].
    pub fn of(input: &BacktestInput, settings: &Settings) -> Result<Self, BacktestError> {
        let stocks = input.market.stocks();
        let first = |(stock, listing): (usize, &super::market::Stock)| {
            Some(OrderIntent {
                step: listing.bars().first()?.step,
                stock,
                side: Side::Buy,
                score: 0.0,
            })
        };
        let mut intents: Vec<OrderIntent> = stocks.iter().enumerate().filter_map(first).collect();
        intents.sort_by_key(|intent| (intent.step, intent.stock));
        let config = BrokerConfig {
            buy_days: BUY_DAYS,
            ..settings.broker
        };
        let equal = Allocation {
            max_positions: u32::try_from(stocks.len()).unwrap_or(u32::MAX),
            ..Allocation::default()
        };
        let (markets, basis) = (settings.rules()?, settings.basis_of(&input.market));
        let run = |intents: &[OrderIntent]| -> Result<(Metrics, Vec<f64>), BacktestError> {
            let ledger = simulate(&input.market, &markets, intents, config, &equal)?;
            let benchmark = input.benchmark.as_deref();
            let cash = config.cash_cents;
            let metrics = Metrics::of(&ledger, cash, benchmark, &[], basis)?;
            Ok((metrics, daily_returns(&ledger, cash)?))
        };
        let (hold, hold_returns) = run(&intents)?;
        let (cash, _) = run(&[])?;
        Ok(Self {
            hold,
            cash,
            hold_returns,
        })
    }

    /// Returns both with their names, in display order.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &Metrics); 2] {
        [("hold", &self.hold), ("cash", &self.cash)]
    }
}
