//! One node of a plan, in this process.

use std::io::Write as _;
use std::net::ToSocketAddrs as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use heqis_actors::{Clock, GraphBuilder, Metrics, NodeReport, Pulse, terminated};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::dashboard::Page;
use super::http;
use super::{Notifier, Options, RunError};
use crate::machine::{Identity, MachineGauges, Sensors};
use crate::topology::{Board, Plan};
use crate::watch::WatchCounters;

/// Where a node serves metrics when its topology does not say; the log names the port.
const ANY_LOOPBACK_PORT: &str = "127.0.0.1:0";

/// What a supervised node tells its parent, one JSON object a line on standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Told {
    /// Every stage is built.
    Ready {
        /// Where the node serves metrics.
        http: String,
    },
    /// The node has ended.
    Report(Box<NodeReport>),
}

/// Writes one line to the parent.
pub(super) fn tell(told: &Told) -> Result<(), RunError> {
    let mut line = serde_json::to_string(told).unwrap_or_default();
    line.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .map_err(RunError::io("standard output"))
}

/// Runs the node with index `node` until its stages have ended, or SIGTERM, ctrl-c or the parent's end stop it.
pub(super) fn run(plan: &Plan, node: usize, options: &Options) -> Result<NodeReport, RunError> {
    let spec = &plan.nodes[node];
    let supervised = options.supervised;
    let metrics = Metrics::new(&spec.name);
    let machine = MachineGauges::new(
        &metrics,
        &identify(&spec.name, spec.board, &options.machine),
        Sensors::find(&options.machine),
    );
    let watching = WatchCounters::new(&metrics);
    metrics.set_info(env!("CARGO_PKG_VERSION"), &plan.name);
    let ready = http::Ready::new(OnceLock::new());
    let mut page = Page::of(plan, node, &ready);
    let mut graph = graph(plan, node).metrics(metrics);
    if let Some(page) = &page {
        graph = page.tap(graph, plan, node);
    }
    let system = actix_rt::System::new();
    system.block_on(async {
        let metrics = spec.metrics.as_deref().unwrap_or(ANY_LOOPBACK_PORT);
        let what = format!("node '{}': metrics on {metrics}", spec.name);
        let socket = metrics
            .to_socket_addrs()
            .and_then(|mut found| {
                found
                    .next()
                    .ok_or_else(|| std::io::ErrorKind::NotFound.into())
            })
            .map_err(RunError::io(what.clone()))?;
        let (bound, server) =
            http::serve(socket, Arc::clone(&ready), machine).map_err(RunError::io(what))?;
        tracing::info!(node = %spec.name, "metrics on http://{bound}/metrics");
        // Watched from before the first frame: until then SIGTERM would kill the process undrained. A stage that takes
        // minutes to be built hears it too.
        let (told, mut stopping) = watch::channel(false);
        let stop = {
            let handle = graph.handle();
            move || {
                handle.stop();
                told.send_replace(true);
            }
        };
        let signals = {
            let stop = stop.clone();
            actix_rt::spawn(async move {
                terminated().await;
                stop();
            })
        };
        if supervised {
            watch_parent(stop).map_err(RunError::io("thread 'parent-watch'"))?;
        }
        if let Some(page) = &mut page {
            page.serve(plan, node);
        }
        let running = graph.start().await?;
        let _ = ready.set(running.reporter());
        if let Some(page) = &page {
            page.started(running.handle());
        }
        if supervised {
            tell(&Told::Ready {
                http: bound.to_string(),
            })?;
        }
        let mut attendants: Vec<_> = spec
            .watch
            .iter()
            .map(|watch| {
                let watch = watch.clone();
                actix_rt::spawn(watch.keep(running.reporter(), Clock::real(), watching.clone()))
            })
            .collect();
        if let Some(notifier) = options.service.notifier() {
            notifier.ready(&format!("node '{}' of '{}' runs", spec.name, plan.name));
            let (watchdog, pulse) = (options.service.watchdog, running.pulse());
            attendants.push(actix_rt::spawn(attend(notifier, watchdog, pulse, stopping.clone())));
        }
        let report = running.wait(plan.drain_timeout).await;
        if let Some(page) = page {
            page.ended();
            if page.stays && page.is_served() {
                tracing::info!(node = %spec.name, "every stage has ended; the dashboard stays until this is stopped");
                let _ = stopping.wait_for(|stopping| *stopping).await;
            }
            page.stop().await;
        }
        signals.abort();
        for attendant in attendants {
            attendant.abort();
        }
        server.stop(true).await;
        Ok(report)
    })
}

/// Looks what the machine is, and says so; a node that was declared to be something else runs all the same.
fn identify(node: &str, declared: Board, root: &Path) -> Identity {
    let identity = Identity::read(root);
    let (found, model) = (
        identity.board.name(),
        identity.model.as_deref().unwrap_or("unknown"),
    );
    if declared.admits(identity.board) {
        tracing::info!(node, board = found, model, "machine");
    } else if identity.board == Board::Host {
        tracing::info!(
            node,
            declared = declared.name(),
            "machine: not a known board, running as a host"
        );
    } else {
        let declared = declared.name();
        tracing::warn!(
            node,
            declared,
            board = found,
            model,
            "machine: not the board that the topology names"
        );
    }
    identity
}

/// Tells the service manager how the node is, until it is aborted.
async fn attend(
    notifier: Notifier,
    watchdog: Option<Duration>,
    pulse: Pulse,
    mut stopping: watch::Receiver<bool>,
) {
    let alive = async {
        if let Some(patience) = watchdog {
            notifier.stay_alive(patience, &pulse, &Clock::real()).await;
        }
    };
    let stopped = async {
        if stopping.wait_for(|stopping| *stopping).await.is_ok() {
            notifier.stopping();
        }
    };
    tokio::join!(alive, stopped);
}

/// The part of the graph that `node` runs.
fn graph(plan: &Plan, node: usize) -> GraphBuilder {
    let mut graph = GraphBuilder::new(&plan.name)
        .node(&plan.nodes[node].name)
        .base(&plan.base)
        .scheduling(plan.nodes[node].scheduling);
    for stage in &plan.stages {
        graph = match &stage.prepared {
            Some(prepared) if stage.node == node => {
                graph.prepared(&stage.name, prepared.clone(), stage.options.clone())
            }
            _ => graph.remote(&stage.name),
        };
    }
    for edge in &plan.edges {
        let (from, to) = (&plan.stages[edge.from], &plan.stages[edge.to]);
        let names = (from.name.as_str(), to.name.as_str());
        graph = match &edge.bridge {
            None if from.node == node => graph.edge(names.0, names.1, edge.options),
            Some(bridge) if bridge.from_node == node => graph.edge_out(
                edge.route,
                names,
                bridge.payload,
                edge.options,
                bridge.options.clone(),
            ),
            Some(bridge) if bridge.to_node == node => graph.edge_in(
                edge.route,
                names,
                bridge.payload,
                edge.options,
                bridge.options.clone(),
            ),
            _ => graph,
        };
    }
    for budget in &plan.budgets {
        let path: Vec<&str> = budget
            .path
            .iter()
            .map(|&stage| plan.stages[stage].name.as_str())
            .collect();
        graph = graph.budget(&path, budget.p99);
    }
    graph
}

/// Calls `gone` when standard input ends: the parent holds its other end and is no more. So no node outlives the
/// process that started it, even one that was killed.
fn watch_parent(gone: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("parent-watch".into())
        .spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            gone();
        })?;
    Ok(())
}
