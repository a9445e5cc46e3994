//! The page of a node: what it is fed from the graph, and how it is served.
//!
//! ```text
//! stages ▸ taps ▸ LiveBars, Decisions ▸ ┐
//! report of this node ▸ graph ▸      Sources ▸ heqis_dashboard::Dashboard
//! reports of the others ▸ peers ▸    ┘
//! ```
//!
//! - `taps`: which frames are looked at. `graph`: the running graph as the page sees it. `peers`: the other nodes' reports.
//! - `events`: what happened. `alarms`: what is wrong now; `webhook`: tells those who do not look. `kill`: how far to trade.
//!
//! The pipeline never waits for the page: what the page does not fetch is forgotten, and a page that cannot be served is
//! a warning.

mod alarms;
mod events;
mod graph;
mod kill;
mod peers;
mod taps;
mod webhook;

use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use heqis_actors::{GraphBuilder, GraphHandle};
use heqis_dashboard::{
    Dashboard, DashboardError, Decisions, Journal, LiveBars, Names, Settings, Sources, Token,
};

use super::http::Ready;
use crate::topology::{DashboardSpec, Plan, Time};
use alarms::Limits;
use graph::Graph;
use webhook::Webhook;

/// The variable that holds a token which outlives a restart.
const TOKEN_VARIABLE: &str = "HEQIS_DASHBOARD_TOKEN";
/// Bars that are kept for the page, about a quarter of a kilobyte each.
const ROOM_BARS: usize = 100_000;
/// How far the clocks of two nodes may differ when the topology does not say.
const CLOCK_OFFSET: Duration = Duration::from_millis(50);
/// Decisions that are kept for the page, about half a kilobyte each.
const ROOM_DECISIONS: usize = 50_000;

/// The page of a node while it runs.
pub(super) struct Page {
    bars: Arc<LiveBars>,
    decisions: Arc<Decisions>,
    graph: Arc<Graph>,
    served: Option<Dashboard>,
    /// Whether the node stays for its readers when its stages have ended.
    pub(super) stays: bool,
}

impl Page {
    /// The page of the node with index `node`, `None` when the topology gives it none. `ready` fills when its stages are
    /// built.
    pub(super) fn of(plan: &Plan, node: usize, ready: &Ready) -> Option<Self> {
        let spec = plan.nodes[node].dashboard.as_ref()?;
        let features = taps::feature_names(plan, node);
        let now_ns = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| age.as_nanos());
        // Any two processes that a browser may meet at this address start at different nanoseconds.
        let epoch = u64::try_from(now_ns).unwrap_or(u64::MAX);
        Some(Self {
            bars: Arc::new(LiveBars::new(ROOM_BARS, features)),
            decisions: Arc::new(Decisions::new(ROOM_DECISIONS, epoch)),
            graph: Arc::new(Graph::new(plan, node, ready.clone(), webhook(spec))),
            served: None,
            stays: spec.stay,
        })
    }

    /// Lets the page look at what the node's stages take.
    pub(super) fn tap(&self, builder: GraphBuilder, plan: &Plan, node: usize) -> GraphBuilder {
        taps::add(builder, plan, node, &self.bars, &self.decisions)
    }

    /// Serves the page, or says why not.
    pub(super) fn serve(&mut self, plan: &Plan, node: usize) {
        let spec = &plan.nodes[node];
        let Some(page) = &spec.dashboard else { return };
        events::listen(&self.graph.log, spec.name.clone());
        let limits = Limits {
            silence: page.silence_s.map(Duration::from_secs),
            clock_offset: page
                .clock_offset
                .map_or(CLOCK_OFFSET, |Time(offset)| offset),
        };
        alarms::watch(&self.graph, &self.decisions, limits);
        self.read_journals(plan, node);
        let source = format!("{} · {}", plan.name, spec.name);
        let sources = Sources {
            live: Some(self.graph.clone()),
            training: taps::training(plan, node),
            names: names(plan, page),
            ..Sources::new(source, self.bars.clone(), self.decisions.clone())
        };
        match settings(page).and_then(|settings| Dashboard::start(settings, sources)) {
            Ok(served) => {
                tracing::info!(node = %spec.name, "dashboard on {}", served.url());
                if let Some(link) = served.login_url() {
                    // Past the log: what is logged is kept and sent about, and this is a secret.
                    let _ = writeln!(std::io::stderr(), "log in to the dashboard with {link}");
                }
                self.served = Some(served);
                graph::watch(&self.graph);
                peers::watch(&self.graph);
            }
            Err(error) => {
                tracing::warn!(node = %spec.name, %error, "no dashboard; the graph runs without it");
            }
        }
    }

    /// Whether there is anybody to stay for.
    pub(super) fn is_served(&self) -> bool {
        self.served.is_some()
    }

    /// Lets the page drain the graph where it may.
    pub(super) fn started(&self, handle: GraphHandle) {
        self.graph.started(handle);
    }

    /// Tells the page that the stages have ended.
    pub(super) fn ended(&self) {
        self.graph.ended();
    }

    /// Ends the page.
    pub(super) async fn stop(self) {
        if let Some(served) = self.served {
            served.stop().await;
        }
    }

    /// Lists what journals on this machine hold and their runs go on in: the page must not have a gap where the process was
    /// started again. A finished one belongs to a run before where its stage begins a new one.
    fn read_journals(&self, plan: &Plan, node: usize) {
        for (path, begins_new) in taps::journals(plan, node) {
            match Journal::read_last(&path, ROOM_DECISIONS) {
                Ok(journal) if journal.closed && begins_new => {}
                Ok(journal) => {
                    for decision in journal.decisions {
                        self.decisions.push(decision);
                    }
                }
                Err(DashboardError::File { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound => {}
                // Judging journals is the stage's work; it says so and ends the node when one is broken.
                Err(error) => tracing::debug!(%error, "the dashboard does not list a journal"),
            }
        }
    }
}

/// What instruments are called, or a warning why nobody knows: names are no reason not to run.
fn names(plan: &Plan, page: &DashboardSpec) -> Names {
    let Some(path) = &page.names else {
        return Names::default();
    };
    Names::read(&plan.base.join(path)).unwrap_or_else(|error| {
        tracing::warn!(%error, "the page shows codes without names");
        Names::default()
    })
}

/// The webhook of a page, or a warning why there is none: alarms are no reason not to run.
fn webhook(page: &DashboardSpec) -> Option<Webhook> {
    let url = page.webhook.clone()?;
    match Webhook::start(url) {
        Ok(webhook) => Some(webhook),
        Err(error) => {
            tracing::warn!(%error, "no webhook: its thread cannot be had");
            None
        }
    }
}

/// Settings of the page, with a token where it needs one.
fn settings(page: &DashboardSpec) -> Result<Settings, DashboardError> {
    let unknown: SocketAddr = ([0, 0, 0, 0], 0).into();
    let address = page
        .address
        .to_socket_addrs()
        .and_then(|mut found| {
            found
                .next()
                .ok_or_else(|| std::io::ErrorKind::NotFound.into())
        })
        .map_err(|source| DashboardError::Address {
            address: unknown,
            source,
        })?;
    let mut settings = Settings::new(address);
    settings.hosts = page.hosts.clone();
    settings.control = page.control;
    settings.token = match std::env::var(TOKEN_VARIABLE) {
        Ok(token) => Some(Token::parse(&token)?),
        Err(_) if settings.is_exposed() || page.control => Some(Token::draw()?),
        Err(_) => None,
    };
    Ok(settings)
}
