//! Bars of CSV files, cleaned and with features, by the same calls as on the boards.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use heqis_quant::{BarReader, CleanConfig, Cleaner, FeatureSet, FeatureState, Symbol};

use super::{Listing, Market, Series};
use crate::DashboardError;

/// Bars of CSV files, all in memory.
#[derive(Debug)]
pub struct Tables {
    set: FeatureSet,
    series: BTreeMap<Symbol, Arc<Series>>,
    rejected: u64,
}

impl Tables {
    /// Reads `paths`. A file without a column of symbols holds the one that it is named after; rows that the cleaner
    /// turns down are left out and counted.
    ///
    /// # Errors
    /// [`DashboardError::File`] when a file cannot be opened, [`DashboardError::Quant`] when one is no table of bars or
    /// holds a row that cannot be read.
    pub fn read(paths: &[impl AsRef<Path>]) -> Result<Self, DashboardError> {
        let set = FeatureSet::standard();
        let mut cleaner = Cleaner::new(CleanConfig::default())?;
        let mut growing: BTreeMap<Symbol, (Series, FeatureState)> = BTreeMap::new();
        let mut rejected = 0;
        for path in paths.iter().map(AsRef::as_ref) {
            let shown = path.display().to_string();
            let file = File::open(path).map_err(|source| DashboardError::File {
                path: shown.clone(),
                source,
            })?;
            let named = path.file_stem().map(|stem| stem.to_string_lossy());
            let symbol = named.and_then(|stem| Symbol::parse(&stem).ok());
            for bar in BarReader::new(file, symbol, shown)? {
                let Ok(bar) = cleaner.check(bar?) else {
                    rejected += 1;
                    continue;
                };
                let (series, state) = match growing.entry(bar.symbol) {
                    Entry::Occupied(grown) => grown.into_mut(),
                    Entry::Vacant(place) => {
                        place.insert((Series::new()?, FeatureState::new(&set)?))
                    }
                };
                let features = state.update(&bar)?.map(Into::into);
                series.push(bar, features);
            }
        }
        let series = growing
            .into_iter()
            .map(|(symbol, (series, _))| (symbol, Arc::new(series)))
            .collect();
        Ok(Self {
            set,
            series,
            rejected,
        })
    }

    /// Rows that the cleaner turned down.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }
}

impl Market for Tables {
    fn listings(&self) -> Result<Vec<Listing>, DashboardError> {
        let listings = self.series.iter();
        Ok(listings
            .map(|(symbol, series)| Listing::of(*symbol, series))
            .collect())
    }

    fn series(&self, symbol: Symbol) -> Result<Option<Arc<Series>>, DashboardError> {
        Ok(self.series.get(&symbol).cloned())
    }

    fn feature_names(&self) -> Vec<String> {
        self.set.names().to_vec()
    }
}
