//! The dashboard: one page for review of what was decided and for the health of what decides, over HTTP.
//!
//! ```text
//! runtime ▸ Shelf, Decisions, Live ▸ ┐
//!                                    Desk ▸ Dashboard ▸ browser
//! lab     ▸ Market, Decisions      ▸ ┘
//! ```
//!
//! - [`market`]: bars, behind the trait [`Market`]: of a running pipeline, of CSV files, or of whatever implements it.
//! - [`decisions`]: the list of decisions. [`journal`]: decisions of a journal file.
//! - [`live`]: what a running graph tells, behind the trait [`Live`].
//! - [`archive`]: finished runs and what they left, behind the trait [`Archive`]. [`jobs`]: work that the page starts,
//!   behind the trait [`Jobs`]. [`names`]: what instruments are called.
//! - [`quality`]: predictions against what followed. [`drift`]: inputs against the training span.
//! - [`lines`]: the indicators that the chart draws. The browser computes none.
//! - [`access`]: address, token, names. `guard`: the rules that every request passes.
//! - `tray`: how a pipeline adds to what pages read without waiting for them.
//! - `api`, `stream`, `assets`: what is answered. `server`: where it is put together.
//!
//! Data enters through [`Desk`]; it leaves as JSON, server-sent events and the embedded page, to who may read it. Few
//! actions change anything (draining the graph, jobs, the watch list), and only where they were switched on.
//!
//! Not here: stages, topologies, data sets, training. Whoever has those implements a trait of this crate.

pub mod access;
mod api;
pub mod archive;
mod assets;
pub mod decisions;
pub mod drift;
mod error;
mod guard;
pub mod jobs;
pub mod journal;
pub mod lines;
pub mod live;
pub mod market;
pub mod names;
pub mod quality;
mod server;
mod stream;
mod tray;

use std::sync::Arc;

pub use access::{Settings, Token};
pub use archive::Archive;
pub use decisions::{Decision, Decisions, StageTime};
pub use drift::Training;
pub use error::DashboardError;
pub use jobs::Jobs;
pub use journal::Journal;
pub use live::Live;
pub use market::{Market, Series, Shelf, Tables};
pub use names::Names;
pub use server::{Dashboard, serve};

/// Largest absolute return that counts as flat unless the data say otherwise.
const FLAT_BAND: f64 = 0.005;

/// Everything that a page shows.
#[derive(Clone)]
pub struct Desk {
    /// Where what is shown comes from, in a few words.
    pub source: String,
    /// Bars.
    pub market: Arc<dyn Market>,
    /// Decisions.
    pub decisions: Arc<Decisions>,
    /// Names of instruments.
    pub names: Names,
    /// Largest absolute return that counts as flat.
    pub flat_band: f64,
    /// What the models know of their inputs.
    pub training: Option<Arc<Training>>,
    /// The running graph; `None` on a page for review.
    pub live: Option<Arc<dyn Live>>,
    /// Finished work.
    pub archive: Option<Arc<dyn Archive>>,
    /// Work that the page may start.
    pub jobs: Option<Arc<dyn Jobs>>,
}

impl Desk {
    /// A desk with bars and decisions, and nothing else yet.
    #[must_use]
    pub fn new(source: String, market: Arc<dyn Market>, decisions: Arc<Decisions>) -> Self {
        Self {
            source,
            market,
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
