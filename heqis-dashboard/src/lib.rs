//! The dashboard: one page, served over HTTP, for the review of decisions and the health of the running pipeline.
//!
//! ```text
//! runtime ▸ LiveBars, Decisions, Live ▸ ┐
//!                                       Sources ▸ Dashboard ▸ browser
//! lab     ▸ BarStore, Decisions       ▸ ┘
//! ```
//!
//! - [`sources`]: everything that a page shows, as one value.
//! - [`bars`]: bars of a running pipeline, of CSV files, or of any other implementation of the trait [`BarStore`].
//! - [`decisions`]: the list of decisions. [`journal`]: reads the decisions of a journal.
//! - [`live`]: state of a running graph, through the trait [`Live`].
//! - [`archive`]: finished runs and their files, through the trait [`Archive`]. [`jobs`]: commands that the page starts,
//!   through the trait [`Jobs`]. [`names`]: names of instruments.
//! - [`quality`]: predictions compared with realised returns. [`drift`]: inputs compared with the training span.
//! - [`chart_indicators`]: the indicators of the chart. The browser computes none.
//! - [`connections`]: their number and their certificates. [`access`]: address and token. [`hosts`]: accepted host names. [`wrong_tokens`]: how many are answered.
//!   `guard`: the checks that every request passes.
//! - `inbox`: lets a pipeline add to what pages read without waiting for a reader.
//! - `api`, `stream`, `assets`: the responses; `api_error`: those of errors. `server`: routes and lifetime.
//!
//! Data enters through [`Sources`]. It leaves as JSON, server-sent events and the embedded page, to authorised readers.
//! A few actions change something (drain the graph, set the trading state, start jobs, extend the watch list); they work
//! only where control was switched on.
//!
//! Not here: stages, topologies, data sets, training. Their owners implement a trait of this crate.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod access;
mod api;
mod api_error;
pub mod archive;
mod assets;
pub mod bars;
pub mod chart_indicators;
pub mod connections;
pub mod decisions;
pub mod drift;
mod error;
mod guard;
pub mod hosts;
mod inbox;
pub mod jobs;
pub mod journal;
pub mod live;
pub mod names;
pub mod quality;
mod rejection_page;
mod server;
pub mod sources;
mod stream;
pub mod wrong_tokens;

pub use access::{Settings, Token};
pub use archive::Archive;
pub use bars::{BarFiles, BarSeries, BarStore, LiveBars};
pub use decisions::{Decision, Decisions, StageTime};
pub use drift::Training;
pub use error::DashboardError;
pub use jobs::Jobs;
pub use journal::Journal;
pub use live::Live;
pub use names::Names;
pub use server::{Dashboard, serve};
pub use sources::Sources;
