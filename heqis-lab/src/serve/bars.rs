//! The bars of a data set in the form that the page reads.

use std::sync::{Arc, Mutex, PoisonError};

use heqis_dashboard::bars::Listing;
use heqis_dashboard::{BarSeries, BarStore, DashboardError};
use heqis_data::store::DataSet;
use heqis_data::store::dataset::Columns;
use heqis_data::store::manifest::SymbolEntry;
use heqis_quant::Symbol;

use crate::error::LabError;

/// The bars of a data set. The chart pages through one series after another, so the last one is kept.
pub(super) struct DataSetBars {
    data: DataSet,
    last: Mutex<Option<(Symbol, Arc<BarSeries>)>>,
}

impl DataSetBars {
    pub(super) fn new(data: DataSet) -> Self {
        Self {
            data,
            last: Mutex::new(None),
        }
    }

    fn read(&self, symbol: Symbol) -> Result<BarSeries, LabError> {
        let rows = self.data.symbol(symbol, Columns::All)?;
        let mut series = BarSeries::new()?;
        for (row, bar) in rows.bars().iter().enumerate() {
            series.push(*bar, rows.features(row).map(Into::into));
        }
        Ok(series)
    }
}

impl BarStore for DataSetBars {
    fn listings(&self) -> Result<Vec<Listing>, DashboardError> {
        let listing = |entry: &SymbolEntry| Listing {
            symbol: entry.symbol,
            bars: entry.bars,
            from: entry.span.map(|span| span.from),
            to: entry.span.map(|span| span.to),
        };
        let entries = self.data.manifest().symbols.iter();
        Ok(entries
            .filter(|entry| entry.bars > 0)
            .map(listing)
            .collect())
    }

    fn series(&self, symbol: Symbol) -> Result<Option<Arc<BarSeries>>, DashboardError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, series)) = &*last
            && *of == symbol
        {
            return Ok(Some(series.clone()));
        }
        let series = self
            .read(symbol)
            .map_err(|error| DashboardError::Bars(error.to_string()))?;
        if series.bars().is_empty() {
            return Ok(None);
        }
        let series = Arc::new(series);
        *last = Some((symbol, series.clone()));
        Ok(Some(series))
    }

    fn feature_names(&self) -> Vec<String> {
        self.data.manifest().settings.features.clone()
    }
}
