//! Bars of files, cleaned and with features, computed by the same calls as on the boards.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use heqis_data::TableOptions;
use heqis_data::{Import, ImportReport};
use heqis_quant::{CleanConfig, Cleaner, FeatureSet, FeatureState, Symbol};

use super::{BarSeries, BarStore, Listing};
use crate::error::DashboardError;

/// Bars of files, all in memory.
#[derive(Debug)]
pub struct BarFiles {
    set: FeatureSet,
    series: BTreeMap<Symbol, Arc<BarSeries>>,
    report: ImportReport,
}

impl BarFiles {
    /// Reads `paths` with `heqis-data`. Rows that cannot be read and bars that the cleaner rejects are left out and listed
    /// in [`BarFiles::report`].
    ///
    /// # Errors
    /// [`DashboardError::Bars`] when a file holds no bars, and [`DashboardError::Quant`] when the features cannot be
    /// computed.
    pub fn read(paths: &[impl AsRef<Path>]) -> Result<Self, DashboardError> {
        let set = FeatureSet::standard();
        let options = TableOptions::default();
        let fault = |error: heqis_data::DataError| DashboardError::Bars(error.to_string());
        let mut import = Import::default();
        for path in paths {
            import.read(path.as_ref(), &options).map_err(fault)?;
        }
        import.settle(&options).map_err(fault)?;
        let mut series = BTreeMap::new();
        for (symbol, bars) in import.clean(&Cleaner::new(CleanConfig::default())?) {
            let (mut grown, mut state) = (BarSeries::new()?, FeatureState::new(&set)?);
            for bar in bars {
                let features = state.update(&bar)?.map(Into::into);
                grown.push(bar, features);
            }
            series.insert(symbol, Arc::new(grown));
        }
        Ok(Self {
            set,
            series,
            report: import.report,
        })
    }

    /// Returns what was read, rejected and missing.
    #[must_use]
    pub fn report(&self) -> &ImportReport {
        &self.report
    }
}

impl BarStore for BarFiles {
    fn listings(&self) -> Result<Vec<Listing>, DashboardError> {
        let listings = self.series.iter();
        Ok(listings
            .map(|(symbol, series)| Listing::of(*symbol, series))
            .collect())
    }

    fn series(&self, symbol: Symbol) -> Result<Option<Arc<BarSeries>>, DashboardError> {
        Ok(self.series.get(&symbol).cloned())
    }

    fn feature_names(&self) -> Vec<String> {
        self.set.names().to_vec()
    }
}
