//! Runs every node of a plan as a child process on this machine, with real sockets between them.
//!
//! The parent forwards the children's logs, restarts a child that was killed, stops the run from its sources down,
//! and leaves no child running: each child also watches a pipe that closes with the parent.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use heqis_actors::{NodeReport, TerminationSignals};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::node::{ChildEvent, Order};
use super::{RunError, Summary};
use crate::topology::Plan;

/// Most times that one killed child is started again within a run.
const RESTARTS: u64 = 5;
/// Pause before a killed child is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(200);
/// Time beyond the drain timeout in which a child must report and exit.
const LEAVE: Duration = Duration::from_secs(3);

/// Least time that a node gets to drain.
const LEAST_DRAIN: Duration = Duration::from_millis(200);
/// The part of the drain in which only nodes with sources drain, while the others still take their frames.
const SOURCES_FIRST: f64 = 0.6;

/// Steps of a stop. Each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    Running,
    /// Nodes with sources drain.
    Sources,
    /// Every node drains.
    All,
    /// Every node ends its drain.
    Abandon,
    /// Every node is killed.
    Kill,
}

/// How one node ended.
struct Outcome {
    node: usize,
    report: Option<NodeReport>,
    restarts: u64,
    /// How the last process ended, when it failed.
    failure: Option<String>,
}

/// Runs every node of `plan` to its end.
pub(super) fn run(
    plan: &Plan,
    arguments: &[OsString],
    signals: TerminationSignals,
) -> Result<Summary, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::io("asynchronous runtime"))?;
    runtime.block_on(supervise(plan, arguments, signals))
}

async fn supervise(
    plan: &Plan,
    arguments: &[OsString],
    signals: TerminationSignals,
) -> Result<Summary, RunError> {
    let program = std::env::current_exe().map_err(RunError::io("path of this program"))?;
    let (stop, stopping) = watch::channel(Stop::Running);
    let mut nodes = JoinSet::new();
    for (index, node) in plan.nodes.iter().enumerate() {
        let mut command = Command::new(&program);
        command
            .args(arguments)
            .args(["--node", &node.name, "--supervised"])
            // The service manager knows the parent only.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // ctrl-c in a terminal reaches the parent alone, which stops the children in the right order.
            .process_group(0)
            .kill_on_drop(true);
        let life = Life {
            index,
            name: node.name.clone(),
            drain: plan.drain_timeout,
            has_source: plan
                .stages
                .iter()
                .any(|stage| stage.node == index && stage.is_source()),
            command,
            stopping: stopping.clone(),
        };
        nodes.spawn(life.run());
    }
    drop(stopping);
    let stopper = tokio::spawn(stop_in_order(stop.clone(), plan.drain_timeout, signals));
    let mut outcomes = Vec::new();
    let mut sources: BTreeSet<usize> = plan
        .stages
        .iter()
        .filter(|stage| stage.is_source())
        .map(|stage| stage.node)
        .collect();
    while let Some(outcome) = nodes.join_next().await {
        let Ok(outcome) = outcome else { continue };
        sources.remove(&outcome.node);
        if sources.is_empty() {
            // No further frames are sent to the others.
            stop.send_if_modified(|now| {
                *now == Stop::Sources && {
                    *now = Stop::All;
                    true
                }
            });
        }
        let failed = outcome
            .report
            .as_ref()
            .is_none_or(|report| report.failure.is_some());
        if failed || outcome.failure.is_some() {
            // The others cannot work without this node.
            stop.send_if_modified(|now| std::mem::replace(now, Stop::All.max(*now)) < Stop::All);
        }
        outcomes.push(outcome);
    }
    stopper.abort();
    Ok(sum_up(plan, outcomes))
}

/// Waits for SIGTERM, ctrl-c or a failed node, then stops what still runs within `drain`: nodes with sources first, so
/// that what they have under way still arrives. A second signal ends the drain.
#[expect(
    clippy::disallowed_methods,
    reason = "bounds the end of child processes in real time"
)]
async fn stop_in_order(
    stop: watch::Sender<Stop>,
    drain: Duration,
    mut signals: TerminationSignals,
) {
    let mut now = stop.subscribe();
    let raise = |step: Stop| {
        stop.send_if_modified(|now| std::mem::replace(now, step.max(*now)) < step);
    };
    let failed = async { now.wait_for(|step| *step >= Stop::All).await.is_ok() };
    tokio::select! {
        () = signals.recv() => raise(Stop::Sources),
        _ = failed => {}
    }
    let begun = Instant::now();
    let steps = async {
        tokio::time::sleep_until((begun + drain.mul_f64(SOURCES_FIRST)).into()).await;
        raise(Stop::All);
        tokio::time::sleep_until((begun + drain + LEAVE).into()).await;
    };
    tokio::select! {
        () = steps => {}
        () = signals.recv() => {
            tracing::warn!("a second signal: the drain ends now");
            raise(Stop::Abandon);
            tokio::time::sleep(LEAVE).await;
        }
    }
    raise(Stop::Kill);
}

fn sum_up(plan: &Plan, mut outcomes: Vec<Outcome>) -> Summary {
    outcomes.sort_by_key(|outcome| outcome.node);
    let restarts: BTreeMap<String, u64> = outcomes
        .iter()
        .map(|outcome| (plan.nodes[outcome.node].name.clone(), outcome.restarts))
        .collect();
    let failures: Vec<String> = outcomes
        .iter()
        .filter_map(|outcome| {
            let failure = outcome.failure.as_ref()?;
            Some(format!(
                "node '{}' {failure}",
                plan.nodes[outcome.node].name
            ))
        })
        .collect();
    let reports = outcomes
        .into_iter()
        .filter_map(|outcome| outcome.report)
        .collect();
    let mut summary = Summary::new(&plan.name, reports, restarts);
    summary.faults.extend(failures);
    summary
}

/// One node over all its processes.
struct Life {
    index: usize,
    name: String,
    has_source: bool,
    drain: Duration,
    command: Command,
    stopping: watch::Receiver<Stop>,
}

impl Life {
    async fn run(mut self) -> Outcome {
        let mut outcome = Outcome {
            node: self.index,
            report: None,
            restarts: 0,
            failure: None,
        };
        loop {
            let child = match self.command.spawn() {
                Ok(child) => child,
                Err(error) => {
                    outcome.failure = Some(format!("could not be started: {error}"));
                    return outcome;
                }
            };
            let (status, report) = self.watch(child).await;
            outcome.report = report;
            outcome.failure = ended_badly(&status, outcome.report.is_some());
            let killed = matches!(&status, Ok(status) if status.signal().is_some());
            // Stopped by another process, as for a restart.
            let left = outcome.failure.is_none()
                && outcome
                    .report
                    .as_ref()
                    .is_some_and(|report| report.left && report.failure.is_none());
            let again = (killed || left)
                && *self.stopping.borrow() == Stop::Running
                && outcome.restarts < RESTARTS;
            if !again {
                return outcome;
            }
            outcome.restarts += 1;
            tracing::warn!(node = %self.name, restarts = outcome.restarts, killed, "node ended in mid-stream, starting it again");
            tokio::time::sleep(RESTART_PAUSE).await;
        }
    }

    /// Forwards the output of the child until it has ended.
    async fn watch(
        &mut self,
        mut child: Child,
    ) -> (std::io::Result<ExitStatus>, Option<NodeReport>) {
        let logs = child.stderr.take().map(|stderr| {
            let name = self.name.clone();
            tokio::spawn(async move {
                let mut lines = BufReader::new(stderr).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    forward(&name, &line);
                }
            })
        });
        let events = child.stdout.take().map(|stdout| {
            let name = self.name.clone();
            tokio::spawn(async move {
                let mut report = None;
                let mut lines = BufReader::new(stdout).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    match serde_json::from_str(&line) {
                        Ok(ChildEvent::Ready { metrics }) => {
                            forward(&name, &format!("ready; metrics on {metrics}"));
                        }
                        Ok(ChildEvent::Report(last)) => report = Some(*last),
                        Err(_) => forward(&name, &line),
                    }
                }
                report
            })
        });
        // Waiting for a child closes its standard input, which the child takes for the end of its parent.
        let mut orders = child.stdin.take();
        let status = self.wait(&mut child, &mut orders).await;
        drop(orders);
        let report = match events {
            Some(events) => events.await.ok().flatten(),
            None => None,
        };
        if let Some(logs) = logs {
            let _ = logs.await;
        }
        (status, report)
    }

    /// Waits for the child's end, passing on the steps of a stop.
    #[expect(
        clippy::disallowed_methods,
        reason = "bounds the end of child processes in real time"
    )]
    async fn wait(
        &mut self,
        child: &mut Child,
        orders: &mut Option<ChildStdin>,
    ) -> std::io::Result<ExitStatus> {
        let mut passed_on = Stop::Running;
        let mut begun = None;
        loop {
            let step = *self.stopping.borrow_and_update();
            let begun: Instant = match step {
                Stop::Running => Instant::now(),
                _ => *begun.get_or_insert_with(Instant::now),
            };
            let order = match step {
                Stop::Running => None,
                Stop::Sources if !self.has_source => None,
                Stop::Sources => Some(Order::Stop(Some(self.drain))),
                Stop::All if passed_on >= Stop::Sources => None,
                Stop::All => {
                    // One limit for the whole graph: the others have what the nodes with sources have left of it.
                    let left = self.drain.saturating_sub(begun.elapsed());
                    Some(Order::Stop(Some(left.max(LEAST_DRAIN))))
                }
                Stop::Abandon => (passed_on < Stop::Abandon).then_some(Order::Abandon),
                Stop::Kill => {
                    child.start_kill()?;
                    None
                }
            };
            if let Some(order) = order
                && let Some(orders) = orders
            {
                passed_on = step;
                if let Err(error) = orders.write_all(order.line().as_bytes()).await {
                    tracing::warn!(%error, "a node did not receive its order to stop");
                }
            }
            tokio::select! {
                status = child.wait() => return status,
                changed = self.stopping.changed() => {
                    if changed.is_err() {
                        return child.wait().await;
                    }
                }
            }
        }
    }
}

fn ended_badly(status: &std::io::Result<ExitStatus>, reported: bool) -> Option<String> {
    match status {
        Ok(status) if status.success() && reported => None,
        // A node that reports lists its own faults; the summary shows them.
        Ok(status) if status.code() == Some(1) && reported => None,
        Ok(status) if status.success() => Some("ended without a report".into()),
        Ok(status) => Some(format!("ended with {status}")),
        Err(error) => Some(format!("could not be waited for: {error}")),
    }
}

/// Writes a log line of a child to the log of this process, which may be closed by now.
fn forward(node: &str, line: &str) {
    let _ = writeln!(std::io::stderr(), "[{node}] {line}");
}
