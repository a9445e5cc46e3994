//! What can be audited: anything that fits itself on bars, decides on bars, and trades what it decided.

use heqis_backtest::broker::Slippage;
use heqis_quant::{Bar, Date, Side, Span};

use crate::error::LabError;

/// A way of making a strategy.
pub trait Subject {
    /// Fits everything that is fitted — scaler, weights, settings, the choice among several strategies — on bars, the
    /// oldest first. It is told where the test span begins, and must use nothing from there on.
    ///
    /// # Errors
    ///
    /// [`LabError`] when the bars do not suffice.
    fn fit(&self, bars: &[Bar], test_from: Date) -> Result<Box<dyn Fitted>, LabError>;
}

/// A strategy that is ready to decide.
pub trait Fitted {
    /// Returns a text that differs whenever anything fitted differs: parameters of scalers, weights, settings, choices.
    fn fingerprint(&self) -> String;

    /// Returns the span that the scaler was fitted on, if there is one.
    fn scaler_span(&self) -> Option<Span>;

    /// Decides at the close of each bar, the oldest first. Bars without a decision are left out.
    ///
    /// # Errors
    ///
    /// [`LabError`] when a bar cannot be decided on.
    fn decide(&self, bars: &[Bar]) -> Result<Vec<Decision>, LabError>;

    /// Trades decisions.
    ///
    /// # Errors
    ///
    /// [`LabError`] when the broker refuses to work.
    fn trade(&self, bars: &[Bar], decisions: &[Decision]) -> Result<Trades, LabError>;
}

/// What was decided at the close of one bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// The day of the bar.
    pub date: Date,
    /// The end of the bar, in UTC nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// The return to the next close that was expected.
    pub predicted_return: f64,
    /// What to do.
    pub side: Side,
}

/// One fill, as a broker tells it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Filled {
    /// The day after whose close the order was made.
    pub decided: Date,
    /// The day of the fill.
    pub date: Date,
    /// The end of the bar after whose close the order was made, in UTC nanoseconds since the Unix epoch.
    pub decided_ns: i64,
    /// The end of the bar of the fill.
    pub time_ns: i64,
    /// Whether it bought.
    pub is_buy: bool,
    /// The shares, in [units](Units).
    pub shares: u64,
    /// The price before slippage, in units.
    pub market: i64,
    /// The price paid or got, in units.
    pub price: i64,
    /// The lowest and the highest price allowed that day, in units; `None` on a day without limits.
    pub limits: Option<(i64, i64)>,
}

/// The units of prices and shares of fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Units {
    /// Units of a price that make one of the currency.
    pub per_price: i64,
    /// Units of a quantity that make one share.
    pub per_share: i64,
    /// The tick in price units.
    pub tick: i64,
}

impl Default for Units {
    /// Cents and whole shares.
    fn default() -> Self {
        Self {
            per_price: 100,
            per_share: 1,
            tick: 1,
        }
    }
}

/// What trading came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trades {
    /// What the broker promises: fills at the open, moved by this slippage alone. `None` for one that promises less.
    pub promise: Option<Slippage>,
    /// The units of the fills.
    pub units: Units,
    /// All fills.
    pub fills: Vec<Filled>,
    /// What was bought and sold, in cents.
    pub traded_cents: i64,
    /// Fees, in cents.
    pub fees_cents: i64,
    /// Result after fees, in cents.
    pub profit_cents: i64,
}
