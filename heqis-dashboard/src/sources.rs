//! Everything that a page shows.

use std::sync::Arc;

use crate::archive::Archive;
use crate::bars::BarStore;
use crate::decisions::Decisions;
use crate::drift::Training;
use crate::jobs::Jobs;
use crate::live::Live;
use crate::names::Names;

/// Largest absolute return that counts as flat unless the data set states another one.
const FLAT_BAND: f64 = 0.005;

/// The data behind a page. Each optional part adds routes and panels; without it they answer 404.
#[derive(Clone)]
pub struct Sources {
    /// Where the data comes from, in a few words, for the page's header.
    pub description: String,
    /// Bars.
    pub bars: Arc<dyn BarStore>,
    /// Decisions.
    pub decisions: Arc<Decisions>,
    /// Names of instruments.
    pub names: Names,
    /// Largest absolute return that counts as flat.
    pub flat_band: f64,
    /// The scaler of the models, for drift.
    pub training: Option<Arc<Training>>,
    /// The running graph; `None` on a page for review.
    pub live: Option<Arc<dyn Live>>,
    /// Finished runs.
    pub archive: Option<Arc<dyn Archive>>,
    /// Commands that the page may start.
    pub jobs: Option<Arc<dyn Jobs>>,
}

impl Sources {
    /// Returns sources with bars and decisions and none of the optional parts.
    #[must_use]
    pub fn new(description: String, bars: Arc<dyn BarStore>, decisions: Arc<Decisions>) -> Self {
        Self {
            description,
            bars,
            decisions,
            names: Names::default(),
            flat_band: FLAT_BAND,
            training: None,
            live: None,
            archive: None,
            jobs: None,
        }
    }
}
