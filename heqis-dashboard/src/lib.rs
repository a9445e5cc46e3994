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
//! - [`lines`]: the indicators that the chart draws. The browser computes none.
//! - [`access`]: address, token, names. `guard`: the rules that every request passes.
//! - `api`, `stream`, `assets`: what is answered. `server`: where it is put together.
//!
//! Data enters through [`Desk`]; it leaves as JSON, server-sent events and the embedded page, to who may read it. One
//! action changes anything, draining the graph, and only where it was switched on.
//!
//! Not here: stages, topologies, data sets, training. Whoever has those implements a trait of this crate.

pub mod access;
mod api;
mod assets;
pub mod decisions;
mod error;
mod guard;
pub mod journal;
pub mod lines;
pub mod live;
pub mod market;
mod server;
mod stream;

use std::sync::Arc;

pub use access::{Settings, Token};
pub use decisions::{Decision, Decisions, StageTime};
pub use error::DashboardError;
pub use journal::Journal;
pub use live::Live;
pub use market::{Market, Series, Shelf, Tables};
pub use server::{Dashboard, serve};

/// Everything that a page shows.
#[derive(Clone)]
pub struct Desk {
    /// Where what is shown comes from, in a few words.
    pub source: String,
    /// Bars.
    pub market: Arc<dyn Market>,
    /// Decisions.
    pub decisions: Arc<Decisions>,
    /// The running graph; `None` on a page for review.
    pub live: Option<Arc<dyn Live>>,
}
