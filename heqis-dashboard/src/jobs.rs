//! Commands of the lab that the page starts as child processes, and the watch list.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A runner of jobs. Methods must return quickly: they are called on the server's thread.
pub trait Jobs: Send + Sync {
    /// Returns the commands that may be started, with their fields.
    fn kinds(&self) -> Vec<JobKind>;

    /// Returns the running jobs and the most recent ended ones.
    fn list(&self) -> JobList;

    /// Returns a number that changes whenever [`Jobs::list`] would return something else.
    fn version(&self) -> u64;

    /// Returns the lines of a job's log after line `after`, `None` when there is no such job.
    fn log(&self, job: u64, after: u64) -> Option<JobLog>;

    /// Starts a job and returns its number.
    ///
    /// # Errors
    /// [`Rejected`] when the order breaks a rule or the limit of running jobs is reached.
    fn start(&self, order: &JobOrder) -> Result<u64, Rejected>;

    /// Cancels a job and returns whether it was running.
    ///
    /// # Errors
    /// [`Rejected::NotFound`] when there is no such job.
    fn cancel(&self, job: u64) -> Result<bool, Rejected>;

    /// Returns the watch list, `None` where no file was given.
    ///
    /// # Errors
    /// [`Rejected::Failed`] when it cannot be read.
    fn watch_list(&self) -> Result<Option<WatchList>, Rejected>;

    /// Adds an instrument to the watch list and returns whether it was new.
    ///
    /// # Errors
    /// [`Rejected`] when there is no list, it cannot be written, or the order breaks a rule.
    fn watch(&self, order: &WatchOrder) -> Result<bool, Rejected>;
}

/// Why a request was rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The request breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// A limit is reached.
    #[error("{0}")]
    Busy(String),
    /// The object does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The operating system reported an error.
    #[error("{0}")]
    Failed(String),
}

/// A command that may be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct JobKind {
    /// Its name.
    pub command: String,
    /// Description.
    pub about: String,
    /// Its fields.
    pub fields: Vec<Field>,
}

/// A field of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Description.
    pub about: String,
    /// Its type.
    pub kind: FieldKind,
    /// Whether the command needs it.
    pub required: bool,
    /// Whether it may be repeated.
    pub many: bool,
    /// Allowed values of a choice.
    pub choices: Vec<String>,
    /// Default value.
    pub default: Option<String>,
}

/// Type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// Files or directories below the working directory of the server, separated by commas.
    Path,
    /// Text.
    Text,
    /// One of a fixed set of words.
    Choice,
    /// A flag.
    Flag,
}

/// A request to start a job.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobOrder {
    /// The command.
    pub command: String,
    /// Its fields by name: text, numbers, `true` for a flag, lists where a field may be repeated.
    #[serde(default)]
    pub values: BTreeMap<String, Value>,
}

/// A request to extend the watch list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchOrder {
    /// The sector; created when it does not exist.
    pub sector: String,
    /// Code and exchange.
    pub symbol: heqis_quant::Symbol,
    /// Its type.
    #[serde(default)]
    pub list: Watched,
}

/// Kind of a watched instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Watched {
    /// A stock.
    #[default]
    Stocks,
    /// An index.
    Indices,
    /// A fund.
    Funds,
}

/// State of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It runs.
    Running,
    /// It ended with exit code 0.
    Done,
    /// It ended with an error.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// A job in a list.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Job {
    /// Its number, from 1.
    pub n: u64,
    /// The command.
    pub command: String,
    /// The arguments of the command line.
    pub arguments: Vec<String>,
    /// Its state.
    pub state: JobState,
    /// Start, milliseconds since the Unix epoch.
    pub started_ms: i64,
    /// End, milliseconds since the Unix epoch.
    pub ended_ms: Option<i64>,
    /// Exit code; null while it runs and after a signal.
    pub exit: Option<i32>,
    /// Completed fraction, where the command reports it.
    pub progress: Option<f64>,
    /// The last line of its log.
    pub last: Option<String>,
    /// ChartIndicators that it has written.
    pub lines: u64,
}

/// Jobs, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct JobList {
    /// Number of running jobs.
    pub running: u64,
    /// Largest number of jobs that run at once.
    pub most: u64,
    /// The jobs.
    pub rows: Vec<Job>,
}

/// A part of a job's log.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct JobLog {
    /// The job.
    pub job: Job,
    /// Number of the first line, from 1; older lines may have been dropped.
    pub first: u64,
    /// The lines.
    pub lines: Vec<String>,
    /// Value of `after` for the next request.
    pub next: u64,
}

/// The watch list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WatchList {
    /// Its file.
    pub path: String,
    /// Its sectors.
    pub sectors: Vec<WatchSector>,
}

/// A sector of the watch list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WatchSector {
    /// Its name.
    pub name: String,
    /// Stocks, by name or code.
    pub stocks: Vec<String>,
    /// Indices, by code.
    pub indices: Vec<String>,
    /// Funds, by code.
    pub funds: Vec<String>,
}
