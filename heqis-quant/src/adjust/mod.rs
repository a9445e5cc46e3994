//! Ex-right events and what they do to prices: reference prices, adjustment factors, adjusted prices, and the check of
//! a vendor's factors.
//!
//! On an ex-right day the exchange moves the reference price of the limits from the last close to
//!
//! ```text
//! reference = (close − cash + rights · rights price) / (1 + gift + increase + rights)
//! ```
//!
//! per share, rounded half up to a cent. The factor of the day is close / reference; the product of all factors so far
//! is what vendors publish as `adj_factor`. In the share reform of 2005 to 2007 shares were given to the holders of
//! tradable shares without an ex-right: such an event is kept, but does not adjust.
//!
//! Adjusted prices are for charts, returns and indicators only. Limits, lots and fees belong to prices as traded, so an
//! adjusted price is an [`AdjustedBar`] and never a [`Bar`](crate::Bar).
//!
//! A vendor's factors are never used unseen: [`check_factors`] says where they disagree with events and prices.
//!
//! [`ExRights`] is what is known of all stocks. The cleaner asks it for the reference price of a bar whose vendor gave
//! none, and everything behind it (limits, features, labels, adjusted prices) follows the reference of the bar.

mod check;
mod dividend;
mod events;
mod factors;
mod known;
mod series;
#[cfg(test)]
mod tests;

pub use check::{Disagreement, Evidence, VendorFactor, check_factors};
pub use events::{EventKind, EventTable, ExRight, reference_cents, reference_units};
pub(crate) use events::{cents, due, of_stock, reference_of, series};
pub use factors::{AdjustedBar, Adjustment, Factors};
pub use known::{ExRights, read_factors};
pub use series::FactorSeries;

const PLACE: &str = "adjust";
