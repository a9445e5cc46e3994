//! Ex-right events and their effect on prices: reference prices, adjustment factors, adjusted prices, and the check of a
//! vendor's factors.
//!
//! On an ex-right day the exchange moves the reference price of the limits from the last close to
//!
//! ```text
//! reference = (close − cash + rights · rights price) / (1 + gift + increase + rights)
//! ```
//!
//! per share, rounded half up to a cent. The factor of the day is close / reference; vendors publish the product of all
//! factors so far as `adj_factor`. In the share reform of 2005 to 2007 the holders of tradable shares
//! received shares without an ex-right: such an event is kept, but does not adjust.
//!
//! Adjusted prices are for charts, returns and indicators only. Limits, lots and fees belong to prices as traded, so an
//! adjusted price is an [`AdjustedBar`] and never a [`Bar`](crate::Bar).
//!
//! A vendor's factors are never used unchecked: [`check_factors`] finds where they disagree with events and prices.
//!
//! [`ExRights`] holds the known events and factors of all stocks. The cleaner takes from it the reference price of a bar
//! whose vendor gave none, and limits, features, labels and adjusted prices follow the reference price of the bar.
//!
//! ```
//! use heqis_quant::adjust::reference_cents;
//! use heqis_quant::{Date, ExRight, QuantError, Symbol};
//!
//! // Three bonus shares for ten and a dividend of 0.16 CNY per share, after a close of 13.11 CNY.
//! let event = ExRight {
//!     symbol: Symbol::parse("600000.SH")?,
//!     ex_date: Date::parse("2011-06-03")?,
//!     cash_cny: 0.16,
//!     gift: 0.3,
//!     increase: 0.0,
//!     rights: 0.0,
//!     rights_price_cny: 0.0,
//!     kind: Default::default(),
//! };
//! assert_eq!(reference_cents(1311, [&event])?, 996);
//! # Ok::<(), QuantError>(())
//! ```

mod check;
mod dividend;
mod event_table;
mod events;
mod factors;
mod known;
mod series;
#[cfg(test)]
mod tests;

pub use check::{Evidence, FactorMismatch, VendorFactor, check_factors};
pub use events::{EventKind, EventTable, ExRight, reference_cents, reference_units};
pub(crate) use events::{cents, due, of_stock, reference_of, series};
pub use factors::{AdjustedBar, Adjustment, Factors};
pub use known::{ExRights, read_factors};
pub use series::FactorSeries;

const PLACE: &str = "adjust";
