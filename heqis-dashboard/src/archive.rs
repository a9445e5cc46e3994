//! Finished work: strategies with their decisions, and runs with their files.
//!
//! The lab implements [`Archive`]; a running pipeline has none. Runs and strategies have ids that the archive assigns. Only
//! listed ids are looked up: an id is never used as a path.

use std::collections::BTreeMap;
use std::sync::Arc;

use heqis_quant::{Date, Side, Symbol};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::decisions::Decisions;
use crate::error::DashboardError;

/// A store of finished work. Its methods may block: they are called on threads that may.
pub trait Archive: Send + Sync {
    /// Returns the strategies; the first one is the default.
    ///
    /// # Errors
    /// [`DashboardError::Archive`] when they cannot be read; likewise for all methods below.
    fn strategies(&self) -> Result<Vec<Strategy>, DashboardError>;

    /// Returns the decisions of a strategy, `None` when there is no such strategy.
    ///
    /// # Errors
    /// As [`Archive::strategies`].
    fn decisions(&self, strategy: &str) -> Result<Option<Arc<Decisions>>, DashboardError>;

    /// Returns all runs, sorted by kind and id.
    ///
    /// # Errors
    /// As [`Archive::strategies`].
    fn runs(&self) -> Result<Vec<Run>, DashboardError>;

    /// Returns the details of a run, `None` when there is no such run.
    ///
    /// # Errors
    /// As [`Archive::strategies`].
    fn run(&self, id: &str) -> Result<Option<RunDetail>, DashboardError>;

    /// Returns the daily account of a backtest, `None` when there is no such backtest.
    ///
    /// # Errors
    /// As [`Archive::strategies`].
    fn equity(&self, id: &str) -> Result<Option<Equity>, DashboardError>;

    /// Returns the round trips of a backtest, `None` when there is no such backtest.
    ///
    /// # Errors
    /// As [`Archive::strategies`].
    fn trades(&self, id: &str) -> Result<Option<Vec<Trade>>, DashboardError>;

    /// Returns the orders of a backtest, or of all backtests of a strategy, oldest first; `None` when there is neither.
    ///
    /// # Errors
    /// As [`Archive::strategies`].
    fn orders(&self, id: &str) -> Result<Option<Vec<Order>>, DashboardError>;

    /// Returns a file of a run, `None` when the run does not list it.
    ///
    /// # Errors
    /// As [`Archive::strategies`].
    fn artefact(&self, id: &str, path: &str)
    -> Result<Option<(Artefact, Vec<u8>)>, DashboardError>;
}

/// Origin of the decisions of a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StrategyKind {
    /// The running graph.
    Live,
    /// The journal of a finished run.
    Journal,
    /// Backtests.
    Backtest,
}

/// A named list of decisions.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Strategy {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Origin of the decisions of a strategy.
    pub kind: StrategyKind,
    /// Number of decisions; null before they have been read.
    pub decisions: Option<u64>,
    /// Number of instruments; null before the decisions have been read.
    pub symbols: Option<u64>,
    /// First day.
    pub from: Option<Date>,
    /// Last day.
    pub to: Option<Date>,
}

/// Kind of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// A backtest.
    Backtest,
    /// A training of networks.
    Training,
    /// A selection among models.
    Selection,
    /// A model bundle.
    Bundle,
    /// A prepared data set.
    Dataset,
}

/// State of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It is complete.
    Finished,
    /// It was stopped, or still runs.
    Unfinished,
    /// Its files are malformed; the note states how.
    Broken,
}

/// A run in a list.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: RunKind,
    /// Its name.
    pub name: String,
    /// The strategy of a backtest.
    pub strategy: Option<String>,
    /// Which head of the model decided.
    pub mode: Option<String>,
    /// The instrument, or `portfolio` for one account over several.
    pub symbol: Option<String>,
    /// First day.
    pub from: Option<Date>,
    /// Last day.
    pub to: Option<Date>,
    /// Its state.
    pub state: RunState,
    /// Details of the state.
    pub note: Option<String>,
    /// Its metrics by name; null where one is undefined.
    pub figures: BTreeMap<String, Option<f64>>,
}

/// Details of a run.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RunDetail {
    /// The run.
    pub run: Run,
    /// Its manifest, as in its directory.
    pub manifest: Value,
    /// Its files.
    pub artefacts: Vec<Artefact>,
    /// Learning curves of a training: one entry per epoch and network.
    pub curves: Vec<BTreeMap<String, Value>>,
    /// A table of results, for a selection.
    pub table: Option<ResultTable>,
}

/// A file of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Artefact {
    /// Its path in the run's directory.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its media type.
    #[serde(rename = "type")]
    pub content_type: &'static str,
}

/// A table of text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ResultTable {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows, one cell per column.
    pub rows: Vec<Vec<String>>,
}

/// The daily account of a backtest by columns; the same index in each column is the same day.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Equity {
    /// The run.
    pub run: String,
    /// Trading days.
    pub date: Vec<Date>,
    /// Value of the account at the close, CNY.
    pub equity: Vec<f64>,
    /// Return of the day.
    #[serde(rename = "return")]
    pub returns: Vec<f64>,
    /// Distance of the account below its peak, as a fraction of the peak.
    pub drawdown: Vec<f64>,
    /// Fraction of the account that was invested in shares.
    pub exposure: Vec<f64>,
    /// Name of the benchmark; null without one.
    pub benchmark_name: Option<String>,
    /// Return of the benchmark on the day.
    pub benchmark: Option<Vec<f64>>,
    /// Distance of the benchmark below its peak, as a fraction of the peak.
    pub benchmark_drawdown: Option<Vec<f64>>,
    /// Monthly returns.
    pub months: Vec<Month>,
}

/// One month of an account.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Month {
    /// Year.
    pub year: i16,
    /// Month, from 1.
    pub month: i8,
    /// Number of trading days.
    pub days: u64,
    /// Return of the account.
    #[serde(rename = "return")]
    pub returned: f64,
    /// Return of the benchmark.
    pub benchmark: Option<f64>,
}

/// A round trip: from a flat position to a flat position.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Trade {
    /// Instrument.
    pub symbol: Symbol,
    /// Day of the first purchase.
    pub opened: Date,
    /// Day of the last sale, or the last day of an open trip.
    pub closed: Date,
    /// Whether shares are still held; their value then counts as earned.
    pub open: bool,
    /// Shares bought.
    pub bought_shares: i64,
    /// Spent including fees, CNY.
    pub spent: f64,
    /// Earned after fees, CNY.
    pub earned: f64,
    /// Earned minus spent, CNY.
    pub gain: f64,
    /// Gain divided by spent.
    #[serde(rename = "return")]
    pub returned: f64,
    /// Calendar days from the first purchase to the last sale.
    pub days: i32,
}

/// An order of a backtest.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Order {
    /// The run.
    pub run: String,
    /// Its number in the run, from 0.
    pub order: u64,
    /// Day after whose close it was placed.
    pub placed: Date,
    /// Instrument.
    pub symbol: Symbol,
    /// Buy or sell.
    #[schemars(with = "String")]
    pub side: Side,
    /// Ordered shares.
    pub wanted_shares: i64,
    /// Shares bought or sold.
    pub filled_shares: i64,
    /// Final status.
    pub status: String,
    /// Reasons for delayed or partial fills, by day.
    pub reasons: Vec<OrderNote>,
}

/// Reason why an order was not filled on a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OrderNote {
    /// The first day; null where none is recorded.
    pub date: Option<Date>,
    /// The reason.
    pub reason: String,
    /// The last day, when the reason held on several consecutive trading days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Date>,
}
