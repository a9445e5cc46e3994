//! Finished work: strategies with their decisions, and runs with what they left.
//!
//! Whoever keeps runs implements [`Archive`]; a running pipeline has none. Runs and strategies are named by ids that the
//! archive hands out, and nothing is looked up but what it has listed: an id is never a path.

use std::collections::BTreeMap;
use std::sync::Arc;

use heqis_quant::{Date, Side, Symbol};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{DashboardError, Decisions};

/// Something that keeps finished work. Its calls may block: they are made on threads that may.
pub trait Archive: Send + Sync {
    /// The strategies, the one first that is shown unless another is asked for.
    ///
    /// # Errors
    /// [`DashboardError::Archive`] when they cannot be read; so everywhere below.
    fn strategies(&self) -> Result<Vec<Strategy>, DashboardError>;

    /// What a strategy decided, `None` when there is no such strategy.
    ///
    /// # Errors
    /// As [`Archive::strategies`].
    fn decisions(&self, strategy: &str) -> Result<Option<Arc<Decisions>>, DashboardError>;

    /// All runs, by kind and id.
    ///
    /// # Errors
    /// As [`Archive::strategies`].
    fn runs(&self) -> Result<Vec<Run>, DashboardError>;

    /// Everything about a run, `None` when there is no such run.
    ///
    /// # Errors
    /// As [`Archive::strategies`].
    fn run(&self, id: &str) -> Result<Option<RunDetail>, DashboardError>;

    /// The account of a backtest day by day, `None` when there is no such backtest.
    ///
    /// # Errors
    /// As [`Archive::strategies`].
    fn equity(&self, id: &str) -> Result<Option<Equity>, DashboardError>;

    /// The round trips of a backtest, `None` when there is no such backtest.
    ///
    /// # Errors
    /// As [`Archive::strategies`].
    fn trades(&self, id: &str) -> Result<Option<Vec<Trade>>, DashboardError>;

    /// The orders of a backtest, or of all backtests of a strategy, oldest first; `None` when there is neither.
    ///
    /// # Errors
    /// As [`Archive::strategies`].
    fn orders(&self, id: &str) -> Result<Option<Vec<Order>>, DashboardError>;

    /// A file of a run, `None` when the run does not list it.
    ///
    /// # Errors
    /// As [`Archive::strategies`].
    fn artefact(&self, id: &str, path: &str)
    -> Result<Option<(Artefact, Vec<u8>)>, DashboardError>;
}

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decider {
    /// A graph that runs here.
    Live,
    /// A graph that ran and left a journal.
    Journal,
    /// Backtests.
    Backtest,
}

/// A list of decisions by its name.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Strategy {
    /// What it is asked for by.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Who decides.
    pub kind: Decider,
    /// How many decisions there are; null before they have been read.
    pub decisions: Option<u64>,
    /// How many instruments are decided on; null before they have been read.
    pub symbols: Option<u64>,
    /// First day.
    pub from: Option<Date>,
    /// Last day.
    pub to: Option<Date>,
}

/// What a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// Traded history.
    Backtest,
    /// Fitted networks.
    Training,
    /// Chose among models.
    Selection,
    /// A model that boards load.
    Bundle,
    /// Prepared bars.
    Dataset,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Everything is there.
    Finished,
    /// It was stopped, or goes on.
    Unfinished,
    /// Its files break their format; the note says how.
    Broken,
}

/// A run in a list.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Run {
    /// What it is asked for by.
    pub id: String,
    /// What it did.
    pub kind: RunKind,
    /// What it is called.
    pub name: String,
    /// The strategy of a backtest.
    pub strategy: Option<String>,
    /// Which head of the model spoke.
    pub mode: Option<String>,
    /// The instrument, or `portfolio` for one account over several.
    pub symbol: Option<String>,
    /// First day.
    pub from: Option<Date>,
    /// Last day.
    pub to: Option<Date>,
    /// How it stands.
    pub state: RunState,
    /// More about that, when there is more.
    pub note: Option<String>,
    /// Its figures by name; null where one is not defined.
    pub figures: BTreeMap<String, Option<f64>>,
}

/// Everything about a run.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RunDetail {
    /// The run.
    pub run: Run,
    /// What it was made from, as it stands in its directory.
    pub manifest: Value,
    /// Its files.
    pub artefacts: Vec<Artefact>,
    /// What each epoch did to each network, for a training: a point of every curve.
    pub curves: Vec<BTreeMap<String, Value>>,
    /// A table of results, for a selection.
    pub table: Option<Table>,
}

/// A file of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Artefact {
    /// Its path in the run's directory.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// What kind of content it has.
    #[serde(rename = "type")]
    pub content_type: &'static str,
}

/// A table of text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows with a cell a column.
    pub rows: Vec<Vec<String>>,
}

/// The account of a backtest by columns: the same place in each column is the same day.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Equity {
    /// The run.
    pub run: String,
    /// Trading days.
    pub date: Vec<Date>,
    /// What the account was worth at the close, CNY.
    pub equity: Vec<f64>,
    /// Return of the day.
    #[serde(rename = "return")]
    pub returns: Vec<f64>,
    /// How far the account lay below its peak, as a fraction of it.
    pub drawdown: Vec<f64>,
    /// The part of the account that was in shares.
    pub exposure: Vec<f64>,
    /// What is compared with; null for nothing.
    pub benchmark_name: Option<String>,
    /// Its return of the day.
    pub benchmark: Option<Vec<f64>>,
    /// How far it lay below its peak, as a fraction of it.
    pub benchmark_drawdown: Option<Vec<f64>>,
    /// The months.
    pub months: Vec<Month>,
}

/// One month of an account.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Month {
    /// Year.
    pub year: i16,
    /// Month, from 1.
    pub month: i8,
    /// Trading days in it.
    pub days: u64,
    /// What the account returned.
    #[serde(rename = "return")]
    pub returned: f64,
    /// What the benchmark returned.
    pub benchmark: Option<f64>,
}

/// A round trip: from nothing held to nothing held.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Trade {
    /// Instrument.
    pub symbol: Symbol,
    /// Day of the first purchase.
    pub opened: Date,
    /// Day of the last sale, or the last day of a trip that is open.
    pub closed: Date,
    /// Whether shares are still held; what they are worth counts as earned then.
    pub open: bool,
    /// Shares bought.
    pub bought_shares: i64,
    /// Spent with all fees, CNY.
    pub spent: f64,
    /// Earned behind all fees, CNY.
    pub earned: f64,
    /// Earned less spent, CNY.
    pub gain: f64,
    /// Gain over what was spent.
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
    /// Day behind whose close it was made.
    pub placed: Date,
    /// Instrument.
    pub symbol: Symbol,
    /// What to do.
    #[schemars(with = "String")]
    pub side: Side,
    /// Shares wanted.
    pub wanted_shares: i64,
    /// Shares bought or sold.
    pub filled_shares: i64,
    /// How it ended.
    pub status: String,
    /// Why it was not filled at once or whole, day by day.
    pub reasons: Vec<OrderNote>,
}

/// Why an order was not filled on a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OrderNote {
    /// The first day; null where none is written.
    pub date: Option<Date>,
    /// The reason.
    pub reason: String,
    /// The last day, when it held on several trading days in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Date>,
}
