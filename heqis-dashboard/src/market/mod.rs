//! The bars that the page draws, wherever they come from.
//!
//! - `series`: one instrument's clean bars with their features. [`Shelf`]: bars as they come out of a running pipeline.
//!   [`Tables`]: bars of CSV files.

mod series;
mod shelf;
mod tables;

use std::sync::Arc;

use heqis_quant::{Date, Symbol};
use schemars::JsonSchema;
use serde::Serialize;

use crate::DashboardError;
pub use series::Series;
pub use shelf::Shelf;
pub use tables::Tables;

/// Something that has bars. Its calls may block: they are made on threads that may.
pub trait Market: Send + Sync {
    /// The instruments there are bars of, in the order of their codes.
    ///
    /// # Errors
    /// [`DashboardError::Market`] when they cannot be read.
    fn listings(&self) -> Result<Vec<Listing>, DashboardError>;

    /// The whole series of an instrument, `None` when there is none.
    ///
    /// # Errors
    /// [`DashboardError::Market`] when it cannot be read.
    fn series(&self, symbol: Symbol) -> Result<Option<Arc<Series>>, DashboardError>;

    /// Names of the features, in the order of a row.
    fn feature_names(&self) -> Vec<String>;
}

/// One instrument of a market.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Listing {
    /// Code and exchange, such as 600000.SH.
    pub symbol: Symbol,
    /// Bars that are kept.
    pub bars: u64,
    /// Day of the first bar that is kept.
    pub from: Option<Date>,
    /// Day of the last bar.
    pub to: Option<Date>,
}

impl Listing {
    /// What a series in memory says of itself.
    fn of(symbol: Symbol, series: &Series) -> Self {
        Self {
            symbol,
            bars: series.bars().len() as u64,
            from: series.bars().first().map(|bar| bar.date),
            to: series.bars().last().map(|bar| bar.date),
        }
    }
}
