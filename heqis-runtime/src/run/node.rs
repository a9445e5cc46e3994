//! One node of a plan, in this process.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::ToSocketAddrs as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use heqis_actors::{
    Clock, Gauges, LivenessProbe, Metrics, MetricsError, NodeReport, Reporter, StopHandle,
    TerminationSignals,
};
use heqis_dashboard::Token;
use heqis_dashboard::wrong_tokens::WrongTokens;
use heqis_tls::WebCertificate;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::certificates::CertificateWatch;
use super::dashboard::Page;
use super::farewell::Farewell;
use super::http;
use super::trading_state::Links;
use super::{Notifier, Options, RunError};
use crate::machine::{Identity, MachineGauges, Sensors};
use crate::topology::{Board, Node, Plan};
use crate::watch::WatchCounters;

/// Where a node serves metrics when its topology does not say; the log names the port.
const ANY_LOOPBACK_PORT: &str = "127.0.0.1:0";

/// What a supervised node reports to its parent, one JSON object per line on standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum ChildEvent {
    /// Every stage is built.
    Ready {
        /// Address of the node's metrics.
        metrics: String,
    },
    /// The node has ended.
    Report(Box<NodeReport>),
}

/// Writes one event for the parent.
pub(super) fn send(event: &ChildEvent) -> Result<(), RunError> {
    let mut line = serde_json::to_string(event).unwrap_or_default();
    line.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .map_err(RunError::io("standard output"))
}

/// Runs the node with index `node` until its stages have ended, or a signal or the parent's end stops it.
pub(super) fn run(
    plan: &Plan,
    node: usize,
    options: &Options,
    mut signals: TerminationSignals,
) -> Result<NodeReport, RunError> {
    let spec = &plan.nodes[node];
    let supervised = options.supervised;
    let metrics = Metrics::new(&spec.name);
    let machine = MachineGauges::new(
        &metrics,
        &identify(&spec.name, spec.board, &options.machine),
        Sensors::find(&options.machine),
    )?;
    let watching = WatchCounters::new(&metrics)?;
    let waiting = waiting_gauge(&metrics)?;
    let certificate = CertificateWatch::of(plan, node, &metrics)?;
    let wrong_tokens = metrics.counters(
        "heqis_wrong_tokens_total",
        "Requests with a wrong token, by server: `metrics` or `page`.",
        ["server"],
    )?;
    let refused = metrics.counters(
        "heqis_refused_connections_total",
        "Connections that were refused, by server, `metrics` or `page`, and cause.",
        ["server", "cause"],
    )?;
    metrics.set_info(env!("CARGO_PKG_VERSION"), &plan.name);
    let ready = http::Ready::new(OnceLock::new());
    let mut links = Links::of(plan, node, &metrics)?;
    let mut page = Page::of(plan, node, machine.board(), &ready, links.requests.clone());
    let mut graph = plan.graph_of(node, &links.ports).warned().metrics(metrics);
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
        let farewell = Arc::new(Farewell::new(Clock::real()));
        let served = http::Served {
            ready: Arc::clone(&ready),
            farewell: farewell.clone(),
            machine,
            names: host_names(spec),
            tls: spec.metrics.as_deref().filter(|metrics| spec.uses_https(metrics)).map(|_| WebCertificate::Node(spec.tls.clone())),
            token: Token::from_environment(http::METRICS_TOKEN)?,
            wrong_tokens: Arc::new(
                WrongTokens::new("metrics", Clock::real()).counter(wrong_tokens.of(["metrics"])),
            ),
            refused: refused.clone(),
        };
        let server =
            http::Endpoint::serve(&spec.name, socket, served).map_err(RunError::io(what))?;
        let (sender, mut stopping) = watch::channel(false);
        let stop = Stop {
            handle: graph.stop_handle(),
            stopping: sender,
        };
        let signals = {
            let stop = stop.clone();
            actix_rt::spawn(async move {
                signals.recv().await;
                stop.apply(Order::Stop(None));
                signals.recv().await;
                tracing::warn!("a second signal: the drain ends now");
                stop.apply(Order::Abandon);
            })
        };
        if supervised {
            obey_parent(stop).map_err(RunError::io("thread 'parent-watch'"))?;
        }
        if let Some(page) = &mut page {
            page.serve(plan, node, graph.events(), wrong_tokens.of(["page"]), refused);
        }
        if let Some(page) = &page {
            links.notify(page.notice_of_trading_states());
        }
        links
            .start()
            .map_err(RunError::io("threads for trading states"))?;
        let running = graph.start().await?;
        let _ = ready.set(running.reporter());
        if let Some(page) = &page {
            page.started(running.stop_handle());
        }
        if supervised {
            send(&ChildEvent::Ready {
                metrics: server.url(),
            })?;
        }
        let mut background: Vec<_> = spec
            .watch
            .iter()
            .map(|watch| {
                let watch = watch.clone();
                actix_rt::spawn(watch.run(running.reporter(), Clock::real(), watching.clone()))
            })
            .collect();
        if let Some(notifier) = options.service.notifier() {
            notifier.ready(&format!("node '{}' of '{}' runs", spec.name, plan.name));
            let (watchdog, probe) = (options.service.watchdog, running.liveness());
            background.push(actix_rt::spawn(notify(notifier, watchdog, probe, stopping.clone())));
        }
        background.push(actix_rt::spawn(watch_waits(running.reporter(), waiting)));
        if let Some(certificate) = certificate {
            background.push(actix_rt::spawn(certificate.run(Clock::real())));
        }
        let report = running.wait().await;
        farewell.ended();
        if let Some(page) = &page {
            page.ended();
            if page.stays && page.is_served() {
                tracing::info!(node = %spec.name, "every stage has ended; the dashboard is served until the node is stopped");
                let _ = stopping.wait_for(|stopping| *stopping).await;
            }
        }
        farewell.linger().await;
        if let Some(page) = page {
            page.stop().await;
        }
        signals.abort();
        for task in background {
            task.abort();
        }
        server.stop().await;
        Ok(report)
    })
}

/// Host names under which others may request the metrics of a node, in addition to the address that it listens on.
fn host_names(spec: &Node) -> Vec<String> {
    let page = spec.dashboard.iter().flat_map(|page| &page.hosts);
    let served = spec
        .metrics
        .iter()
        .filter_map(|metrics| metrics.rsplit_once(':'));
    [&spec.name, &spec.address]
        .into_iter()
        .chain(page)
        .cloned()
        .chain(served.map(|(host, _)| host.to_owned()))
        .collect()
}

/// Identifies the machine and logs it. A node on another board than declared runs as well.
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

/// Reports the state of the node to the service manager, until it is aborted.
async fn notify(
    notifier: Notifier,
    watchdog: Option<Duration>,
    probe: LivenessProbe,
    mut stopping: watch::Receiver<bool>,
) {
    let alive = async {
        if let Some(patience) = watchdog {
            notifier.stay_alive(patience, probe, &Clock::real()).await;
        }
    };
    let stopped = async {
        if stopping.wait_for(|stopping| *stopping).await.is_ok() {
            notifier.stopping();
        }
    };
    tokio::join!(alive, stopped);
}

/// How this node is stopped.
#[derive(Clone)]
struct Stop {
    handle: StopHandle,
    stopping: watch::Sender<bool>,
}

/// What a signal or the parent asks of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Drain, within this time or else the topology's.
    Stop(Option<Duration>),
    /// End the drain now.
    Abandon,
}

impl Order {
    /// The line by which a parent gives the order.
    pub(super) fn line(self) -> String {
        match self {
            Self::Stop(None) => "stop\n".into(),
            Self::Stop(Some(drain)) => format!("stop {}\n", drain.as_millis()),
            Self::Abandon => "abandon\n".into(),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let order = match (words.next()?, words.next()) {
            ("stop", None) => Self::Stop(None),
            ("stop", Some(ms)) => Self::Stop(Some(Duration::from_millis(ms.parse().ok()?))),
            ("abandon", None) => Self::Abandon,
            _ => return None,
        };
        words.next().is_none().then_some(order)
    }
}

impl Stop {
    fn apply(&self, order: Order) {
        match order {
            Order::Stop(None) => self.handle.stop(),
            Order::Stop(Some(drain)) => self.handle.stop_within(drain),
            Order::Abandon => self.handle.abandon(),
        }
        self.stopping.send_replace(true);
    }
}

/// Registers the metric of what waits on a node.
///
/// # Errors
/// When `metrics` has it already.
pub fn waiting_gauge(metrics: &Metrics) -> Result<Gauges<1>, MetricsError> {
    metrics.gauges(
        "heqis_waiting_seconds",
        "How long an edge or a stage of this node has waited for another node, a stage or a resource; absent when it does not.",
        ["subject"],
    )
}

/// Reads once a second what on this node waits, for the metric and, once a minute, for the log.
async fn watch_waits(reporter: Reporter, gauge: Gauges<1>) {
    const PERIOD: Duration = Duration::from_secs(1);
    const REMIND_NS: i64 = 60_000_000_000;
    let clock = Clock::real();
    // The subjects in the metric, and when each was last logged.
    let mut known: BTreeMap<String, i64> = BTreeMap::new();
    loop {
        clock.sleep(PERIOD).await;
        let now_ns = clock.now_ns();
        let waiting = reporter.waiting();
        known.retain(|subject, _| {
            let waits = waiting.iter().any(|waiting| waiting.subject == *subject);
            if !waits {
                gauge.remove([subject]);
            }
            waits
        });
        for waits in waiting {
            let seconds = now_ns.saturating_sub(waits.since_ns) as f64 * 1e-9;
            gauge.set([&waits.subject], seconds);
            let logged_ns = known.entry(waits.subject.clone()).or_insert(waits.since_ns);
            if now_ns - *logged_ns >= REMIND_NS {
                *logged_ns = now_ns;
                tracing::warn!(
                    subject = waits.subject,
                    reason = waits.reason,
                    seconds = seconds as u64,
                    "waits"
                );
            }
        }
    }
}

/// Follows the orders on standard input, and stops when it ends: the parent holds the other end. So no node outlives its
/// parent, even one that was killed.
#[expect(
    clippy::disallowed_methods,
    reason = "a thread that waits for standard input to end, past every arbiter"
)]
fn obey_parent(stop: Stop) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("parent-watch".into())
        .spawn(move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                match Order::parse(&line) {
                    Some(order) => stop.apply(order),
                    None => tracing::warn!(line, "not an order"),
                }
            }
            stop.apply(Order::Stop(None));
        })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_written_and_anything_else_is_refused() {
        let within = Order::Stop(Some(Duration::from_millis(2_500)));
        for order in [Order::Stop(None), within, Order::Abandon] {
            assert_eq!(Order::parse(&order.line()), Some(order));
        }
        for line in ["", "halt", "stop soon", "stop 1 2", "abandon 3"] {
            assert_eq!(Order::parse(line), None, "{line}");
        }
    }
}
