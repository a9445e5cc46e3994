//! Running a plan: one node in this process, or every node of the topology as a child process each.
//!
//! ```text
//! plan ▸ fleet ▸ child process per node ▸ node ▸ GraphBuilder ▸ report ▸ summary
//! ```
//!
//! - `node`: one node's graph, its HTTP endpoint, its report. `dashboard`: the page of a node. `certificates`: its certificate while it runs.
//!   `trading_state`: how far stages may trade, here and on other nodes. `fleet`: child processes, their logs, their restarts,
//!   stopping them from the sources down. `http`: the endpoint. [`Service`]: the service manager. `summary`: the report of a run.

mod certificates;
mod dashboard;
mod farewell;
mod fleet;
mod http;
mod node;
mod service;
mod summary;
mod trading_state;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use heqis_actors::{GraphError, MetricsError, TerminationSignals};
use heqis_dashboard::DashboardError;
use thiserror::Error;

use crate::topology::Plan;
pub use certificates::certificate_gauges;
pub use node::waiting_gauge;
pub use service::{Notifier, Service};
pub use summary::Summary;

/// How to run a plan.
#[derive(Clone, Debug)]
pub struct Options {
    /// Run only this node, in this process; `None` runs every node, as a child process each.
    pub node: Option<String>,
    /// Another process started this one and reads its standard output as JSON lines; when its standard input ends,
    /// the other process is gone and this one drains.
    pub supervised: bool,
    /// Print the summary as JSON.
    pub json: bool,
    /// Arguments that make a child read the same plan: the topology, profile, overrides and logging.
    pub child_arguments: Vec<OsString>,
    /// Root of the files in which the kernel shows the machine; `/` but for tests.
    pub machine: PathBuf,
    /// What the service manager that started this process requests.
    pub service: Service,
}

/// Why a run could not be started or ended badly.
#[derive(Debug, Error)]
pub enum RunError {
    /// The topology has no such node.
    #[error("the topology has no node '{name}'; it has {known}")]
    UnknownNode {
        /// What was asked for.
        name: String,
        /// The nodes that there are.
        known: String,
    },
    /// The node's graph could not be started.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A family of the node's metrics is registered twice.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The token of the metrics is malformed, or its file cannot be read.
    #[error("metrics: {0}")]
    Token(#[from] DashboardError),
    /// An address, a child process or the output failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl RunError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Runs `plan` to its end, prints the summary on standard output, and returns whether the run was clean. The first of
/// `signals` drains, the second ends the drain.
///
/// # Errors
/// [`RunError`] when nothing could be run.
pub fn run(plan: &Plan, options: &Options, signals: &TerminationSignals) -> Result<bool, RunError> {
    let summary = match &options.node {
        Some(name) => {
            let index = plan.node(name).ok_or_else(|| RunError::UnknownNode {
                name: name.clone(),
                known: plan
                    .nodes
                    .iter()
                    .map(|node| node.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })?;
            let report = node::run(plan, index, options, signals.clone())?;
            if options.supervised {
                node::send(&node::ChildEvent::Report(Box::new(report.clone())))?;
                return Ok(Summary::new(&plan.name, vec![report], Default::default()).is_clean());
            }
            Summary::new(&plan.name, vec![report], Default::default())
        }
        None => fleet::run(plan, &options.child_arguments, signals.clone())?,
    };
    let text = if options.json {
        serde_json::to_string_pretty(&summary).unwrap_or_default() + "\n"
    } else {
        summary.render()
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(RunError::io("standard output"))?;
    Ok(summary.is_clean())
}
