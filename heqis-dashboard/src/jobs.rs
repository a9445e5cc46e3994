//! Work that the page starts: commands of the lab as child processes, and the watch list.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that runs jobs. No call may block for long: they are made on the server's own thread.
pub trait Jobs: Send + Sync {
    /// The commands that may be started, with what each takes.
    fn kinds(&self) -> Vec<JobKind>;

    /// Jobs that run and the last ones that have ended.
    fn list(&self) -> JobList;

    /// Changes whenever [`Jobs::list`] answers something else.
    fn version(&self) -> u64;

    /// The lines of a job's log behind line `after`, `None` when there is no such job.
    fn log(&self, job: u64, after: u64) -> Option<JobLog>;

    /// Starts a job and returns its number.
    ///
    /// # Errors
    /// [`Refused`] when the order breaks a rule, or as many jobs run as may.
    fn start(&self, order: &JobOrder) -> Result<u64, Refused>;

    /// Ends a job, and returns whether it ran.
    ///
    /// # Errors
    /// [`Refused::Missing`] when there is no such job.
    fn cancel(&self, job: u64) -> Result<bool, Refused>;

    /// The watch list, `None` where there is none.
    ///
    /// # Errors
    /// [`Refused::Broken`] when it cannot be read.
    fn watch_list(&self) -> Result<Option<WatchList>, Refused>;

    /// Puts an instrument on the watch list, and returns whether it was not there.
    ///
    /// # Errors
    /// [`Refused`] when there is no list, it cannot be written, or the order breaks a rule.
    fn watch(&self, order: &WatchOrder) -> Result<bool, Refused>;
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// What was asked for breaks a rule.
    #[error("{0}")]
    Wrong(String),
    /// As many run as may.
    #[error("{0}")]
    Busy(String),
    /// There is no such thing.
    #[error("{0}")]
    Missing(String),
    /// The machine did not do it.
    #[error("{0}")]
    Broken(String),
}

/// A command that may be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct JobKind {
    /// Its name.
    pub command: String,
    /// What it does.
    pub about: String,
    /// What it takes.
    pub fields: Vec<Field>,
}

/// Something that a command takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it means.
    pub about: String,
    /// What it is.
    pub kind: FieldKind,
    /// Whether the command needs it.
    pub required: bool,
    /// Whether it may be given several times.
    pub many: bool,
    /// What it may be, for a choice.
    pub choices: Vec<String>,
    /// What it is when it is left out.
    pub default: Option<String>,
}

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// Files or directories below the directory that the page was started in, several of them with commas between.
    Path,
    /// Text.
    Text,
    /// One of a few words.
    Choice,
    /// Yes or no.
    Flag,
}

/// A job that is asked for.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobOrder {
    /// The command.
    pub command: String,
    /// Its fields by name: text, numbers, true for a flag, lists where several may be given.
    #[serde(default)]
    pub values: BTreeMap<String, Value>,
}

/// An instrument for the watch list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchOrder {
    /// The sector; one that is not there is added.
    pub sector: String,
    /// Code and exchange.
    pub symbol: heqis_quant::Symbol,
    /// What it is.
    #[serde(default)]
    pub list: Watched,
}

/// What a watched instrument is.
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

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It runs.
    Running,
    /// It ended well.
    Done,
    /// It ended otherwise.
    Failed,
    /// It was told to end.
    Cancelled,
}

/// A job in a list.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Job {
    /// Its number, from 1.
    pub n: u64,
    /// The command.
    pub command: String,
    /// The whole command line behind the program's name.
    pub arguments: Vec<String>,
    /// How it stands.
    pub state: JobState,
    /// When it began, milliseconds since the Unix epoch.
    pub started_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// What it left as its exit code; null while it runs, and when a signal ended it.
    pub exit: Option<i32>,
    /// The part that is done, where the command tells.
    pub progress: Option<f64>,
    /// The last line of its log.
    pub last: Option<String>,
    /// Lines that it has written.
    pub lines: u64,
}

/// Jobs, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct JobList {
    /// How many run.
    pub running: u64,
    /// How many may run at once.
    pub most: u64,
    /// The jobs.
    pub rows: Vec<Job>,
}

/// A part of a job's log.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct JobLog {
    /// The job.
    pub job: Job,
    /// Number of the first line, from 1; lines before it that are not kept any more are left out.
    pub first: u64,
    /// The lines.
    pub lines: Vec<String>,
    /// What to give as `after` to go on.
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
