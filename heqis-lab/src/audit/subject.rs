//! The subject of an audit: it fits itself on bars, decides on bars, and trades its decisions.

use heqis_backtest::broker::Slippage;
use heqis_quant::{Bar, Date, Side, Span};

use crate::error::LabError;

/// A procedure that fits a strategy.
pub trait Subject {
    /// Fits all parameters — scaler, weights, settings, the choice among several strategies — on bars, the oldest first.
    /// The test span begins at `test_from`; no bar from there on may be used.
    ///
    /// # Errors
    ///
    /// [`LabError`] when there are too few bars.
    fn fit(&self, bars: &[Bar], test_from: Date) -> Result<Box<dyn Fitted>, LabError>;
}

/// A fitted strategy.
pub trait Fitted {
    /// Returns a text that differs whenever any fitted parameter differs: scalers, weights, settings, choices.
    fn fingerprint(&self) -> String;

    /// Returns the span that the scaler was fitted on, if there is a scaler.
    fn scaler_span(&self) -> Option<Span>;

    /// Decides at the close of each bar, the oldest first, and omits bars without a decision.
    ///
    /// # Errors
    ///
    /// [`LabError`] when a bar cannot be decided on.
    fn decide(&self, bars: &[Bar]) -> Result<Vec<Decision>, LabError>;

    /// Trades decisions.
    ///
    /// # Errors
    ///
    /// [`LabError`] with the error of the broker.
    fn trade(&self, bars: &[Bar], decisions: &[Decision]) -> Result<Trades, LabError>;
}

/// The decision at the close of one bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// The day of the bar.
    pub date: Date,
    /// The end of the bar, in UTC nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// The predicted return to the next close.
    pub predicted_return: f64,
    /// The side.
    pub side: Side,
}

/// One fill, as a broker reports it.
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
    /// Whether it is a purchase.
    pub is_buy: bool,
    /// The shares, in [units](Units).
    pub shares: u64,
    /// The price before slippage, in units.
    pub market: i64,
    /// The price after slippage, in units.
    pub price: i64,
    /// The lowest and the highest price allowed on that day, in units; `None` on a day without limits.
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

/// The result of trading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trades {
    /// The broker's promise: fills at the open, moved by exactly this slippage. `None` without such a promise.
    pub promise: Option<Slippage>,
    /// The units of the fills.
    pub units: Units,
    /// All fills.
    pub fills: Vec<Filled>,
    /// The sum of purchases and sales, in cents.
    pub traded_cents: i64,
    /// Fees, in cents.
    pub fees_cents: i64,
    /// Result after fees, in cents.
    pub profit_cents: i64,
}
