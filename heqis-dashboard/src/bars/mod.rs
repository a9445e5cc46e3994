//! The bars that the page draws.
//!
//! - `series`: the clean bars of one instrument with their features. [`LiveBars`]: bars of a running pipeline.
//!   [`BarFiles`]: bars of files.

mod files;
mod live;
mod series;

use std::sync::Arc;

use heqis_quant::{Date, Symbol};
use schemars::JsonSchema;
use serde::Serialize;

use crate::error::DashboardError;
pub use files::BarFiles;
pub use live::LiveBars;
pub use series::BarSeries;

/// A store of bars. Its methods may block: they are called on threads that may.
pub trait BarStore: Send + Sync {
    /// Returns the instruments that have bars, in the order of their codes.
    ///
    /// # Errors
    /// [`DashboardError::Bars`] when they cannot be read.
    fn listings(&self) -> Result<Vec<Listing>, DashboardError>;

    /// Returns the whole series of an instrument, `None` when the store has no bars of it.
    ///
    /// # Errors
    /// [`DashboardError::Bars`] when it cannot be read.
    fn series(&self, symbol: Symbol) -> Result<Option<Arc<BarSeries>>, DashboardError>;

    /// Returns the names of the features, in the order of a row.
    fn feature_names(&self) -> Vec<String>;
}

/// One instrument of a store.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Listing {
    /// Code and exchange, such as 600000.SH.
    pub symbol: Symbol,
    /// Number of bars that are kept.
    pub bars: u64,
    /// Day of the first bar that is kept.
    pub from: Option<Date>,
    /// Day of the last bar.
    pub to: Option<Date>,
}

impl Listing {
    /// Describes a series in memory.
    fn of(symbol: Symbol, series: &BarSeries) -> Self {
        Self {
            symbol,
            bars: series.bars().len() as u64,
            from: series.bars().first().map(|bar| bar.date),
            to: series.bars().last().map(|bar| bar.date),
        }
    }
}
