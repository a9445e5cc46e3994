//! What can be audited: anything that fits itself on bars, decides on bars, and trades what it decided.

use heqis_quant::{Bar, Date, Side, Span};

use crate::backtest::broker::Slippage;
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
    /// Whether it bought.
    pub is_buy: bool,
    /// The shares.
    pub shares: u64,
    /// The price before slippage, in cents.
    pub market_cents: i64,
    /// The price paid or got, in cents.
    pub price_cents: i64,
    /// The lowest and the highest price allowed that day, in cents; `None` on a day without limits.
    pub limits_cents: Option<(i64, i64)>,
}

/// What trading came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trades {
    /// What the broker promises: fills at the open, moved by this slippage alone. `None` for one that promises less.
    pub promise: Option<Slippage>,
    /// All fills.
    pub fills: Vec<Filled>,
    /// What was bought and sold, in cents.
    pub traded_cents: i64,
    /// Fees, in cents.
    pub fees_cents: i64,
    /// Result after fees, in cents.
    pub profit_cents: i64,
}
