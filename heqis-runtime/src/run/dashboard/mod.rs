//! The page of a node: its data from the graph, and its server.
//!
//! ```text
//! stages ▸ taps ▸ LiveBars, Decisions ▸ ┐
//! report of this node ▸ graph ▸      Sources ▸ heqis_dashboard::Dashboard
//! reports of the others ▸ peers ▸    ┘
//! ```
//!
//! - `taps`: copies of frames. `graph`: the running graph as the page presents it. `peers`: the reports of the other nodes.
//! - `observe`: reads the graph periodically. `alarms`: detected there; `webhook`: sends them. `events`: the event log.
//! - `words`: small conversions. Trading states are a matter of `run::trading_state`.
//!
//! The pipeline never waits for the page: what the page does not fetch is dropped, and a page that cannot be served is a
//! warning.

mod alarms;
mod events;
mod graph;
mod observe;
mod peers;
mod taps;
mod webhook;
mod words;

use std::cell::RefCell;
use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_rt::task::JoinHandle;
use actix_rt::time::sleep;
use heqis_actors::{Clock, Counter, Counters, Events, GraphBuilder, StopHandle};
use heqis_dashboard::{
    Dashboard, DashboardError, Decisions, Journal, LiveBars, Names, Settings, Sources, Token,
};

use heqis_dashboard::live::{EventKind, Level};
use heqis_dashboard::wrong_tokens::WrongTokens;
use heqis_tls::{OwnCertificate, WebCertificate};

use super::certificates;
use super::http::{RETRY, Ready};
use super::trading_state::Requests;
use crate::topology::{Board, DashboardSpec, Node, Plan, Time};
use alarms::Limits;
use graph::Graph;
use webhook::Webhook;
use words::now_ms;

/// The variable that holds a token which outlives a restart; with `_FILE` at its end, that of a file with it.
const TOKEN_VARIABLE: &str = "HEQIS_DASHBOARD_TOKEN";
/// Bars kept for the page, about a quarter of a kilobyte each.
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
    served: Rc<RefCell<Option<Dashboard>>>,
    /// Tries to serve until the address is there.
    retry: Option<JoinHandle<()>>,
    /// Whether the node keeps serving the page when its stages have ended.
    pub(super) stays: bool,
}

impl Page {
    /// Returns the page of the node with index `node`; `None` when the topology gives it none. `ready` is filled when its
    /// stages are built. `requests` are what the node may ask of others.
    #[expect(
        clippy::disallowed_methods,
        reason = "an identity of the process, by the time of its start"
    )]
    pub(super) fn of(
        plan: &Plan,
        node: usize,
        machine: Board,
        ready: &Ready,
        requests: Option<Arc<Requests>>,
    ) -> Option<Self> {
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
            graph: Arc::new(Graph::new(
                plan,
                node,
                machine,
                ready.clone(),
                requests,
                webhook(spec),
            )),
            served: Rc::default(),
            retry: None,
            stays: spec.stay,
        })
    }

    /// Adds the taps of the page to the node's stages.
    pub(super) fn tap(&self, builder: GraphBuilder, plan: &Plan, node: usize) -> GraphBuilder {
        taps::add(builder, plan, node, &self.bars, &self.decisions)
    }

    /// Serves the page, which lists `graph_events`, or says why not.
    pub(super) fn serve(
        &mut self,
        plan: &Plan,
        node: usize,
        graph_events: Events,
        wrong_tokens: Counter,
        refused: Counters<2>,
    ) {
        let spec = &plan.nodes[node];
        let Some(page) = &spec.dashboard else { return };
        events::listen(&self.graph.log, spec.name.clone(), graph_events);
        let limits = Limits {
            decision_gap: page.silence_s.map(Duration::from_secs),
            clock_offset: page
                .clock_offset
                .map_or(CLOCK_OFFSET, |Time(offset)| offset),
        };
        let identity = certificates::identity(plan, node);
        observe::for_alarms(&self.graph, &self.decisions, limits, identity);
        self.read_journals(plan, node);
        let source = format!("{} · {}", plan.name, spec.name);
        let sources = Sources {
            live: Some(self.graph.clone()),
            training: taps::training(plan, node),
            names: names(plan, page),
            ..Sources::new(source, self.bars.clone(), self.decisions.clone())
        };
        let server = Server {
            node: spec.clone(),
            base: plan.base.clone(),
            page: page.clone(),
            sources,
            graph: self.graph.clone(),
            served: self.served.clone(),
            wrong_tokens: Arc::new(WrongTokens::new("page", Clock::real()).counter(wrong_tokens)),
            refused,
        };
        match server.start() {
            Ok(()) => {}
            Err(DashboardError::Address { source, address })
                if source.kind() == ErrorKind::AddrNotAvailable =>
            {
                tracing::warn!(node = %spec.name, %address, error = %source, "no dashboard yet: no interface has the address");
                self.retry = Some(actix_rt::spawn(async move {
                    loop {
                        sleep(RETRY).await;
                        if server.start().is_ok() {
                            return;
                        }
                    }
                }));
            }
            Err(error) => {
                tracing::warn!(node = %spec.name, %error, "no dashboard; the graph runs without it");
            }
        }
    }

    /// Returns whether the page is served.
    pub(super) fn is_served(&self) -> bool {
        self.served.borrow().is_some()
    }

    /// Returns what adds a changed trading state to the events.
    pub(super) fn notice_of_trading_states(
        &self,
    ) -> impl Fn(&str, String) + Send + Sync + Clone + 'static {
        let (log, node) = (self.graph.log.clone(), self.graph.own_name().to_owned());
        move |subject, cause| {
            let kind = EventKind::TradingState;
            log.add(now_ms(), &node, kind, Level::Warning, subject, Some(cause));
        }
    }

    /// Gives the page the handle by which it may drain the graph.
    pub(super) fn started(&self, handle: StopHandle) {
        self.graph.started(handle);
    }

    /// Marks the stages as ended.
    pub(super) fn ended(&self) {
        self.graph.ended();
    }

    /// Stops serving.
    pub(super) async fn stop(self) {
        if let Some(retry) = self.retry {
            retry.abort();
        }
        let served = self.served.take();
        if let Some(served) = served {
            served.stop().await;
        }
    }

    /// Lists the decisions of journals on this machine, so that a restart of the process leaves no gap on the page. A finished
    /// journal is left out where its stage begins a new one.
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
                    if source.kind() == ErrorKind::NotFound => {}
                // The stage checks journals; it ends the node when one is broken.
                Err(error) => tracing::debug!(%error, "the dashboard does not list a journal"),
            }
        }
    }
}

/// What is needed to serve a page, now or when its address is there.
struct Server {
    node: Node,
    base: PathBuf,
    page: DashboardSpec,
    sources: Sources,
    graph: Arc<Graph>,
    served: Rc<RefCell<Option<Dashboard>>>,
    wrong_tokens: Arc<WrongTokens>,
    refused: Counters<2>,
}

impl Server {
    fn start(&self) -> Result<(), DashboardError> {
        let served = Dashboard::start(self.settings()?, self.sources.clone())?;
        tracing::info!(node = %self.node.name, "dashboard on {}", served.url());
        if let Some(link) = served.login_url() {
            // Not logged: logs are kept and forwarded, and this is a secret.
            let _ = writeln!(std::io::stderr(), "log in to the dashboard with {link}");
        }
        self.served.replace(Some(served));
        observe::for_page(&self.graph);
        peers::watch(&self.graph);
        Ok(())
    }

    /// Returns the settings of the page, with a token where it needs one.
    fn settings(&self) -> Result<Settings, DashboardError> {
        let page = &self.page;
        let node = &self.node;
        let unknown: SocketAddr = ([0, 0, 0, 0], 0).into();
        let address = page
            .address
            .to_socket_addrs()
            .and_then(|mut found| found.next().ok_or_else(|| ErrorKind::NotFound.into()))
            .map_err(|source| DashboardError::Address {
                address: unknown,
                source,
            })?;
        let mut settings = Settings::new(address);
        settings.hosts = page.hosts.clone();
        settings
            .hosts
            .extend([node.name.clone(), node.address.clone()]);
        settings.insecure = node.insecure;
        settings.tls = match (&page.certificate, &page.key) {
            (Some(certificate), Some(key)) => Some(WebCertificate::Own(OwnCertificate::new(
                self.base.join(certificate),
                self.base.join(key),
            ))),
            _ if node.uses_https(&page.address) => Some(WebCertificate::Node(node.tls.clone())),
            _ => None,
        };
        settings.control = page.control;
        settings.wrong_tokens = self.wrong_tokens.clone();
        settings.refused = Some(self.refused.clone());
        settings.token = match Token::from_environment(TOKEN_VARIABLE)? {
            None if settings.is_exposed() || page.control => Some(Token::draw()?),
            token => token,
        };
        Ok(settings)
    }
}

/// Reads the names of instruments; a list that cannot be read is a warning, and the page shows codes.
fn names(plan: &Plan, page: &DashboardSpec) -> Names {
    let Some(path) = &page.names else {
        return Names::default();
    };
    Names::read(&plan.base.join(path)).unwrap_or_else(|error| {
        tracing::warn!(%error, "the page shows codes without names");
        Names::default()
    })
}

/// Starts the webhook of a page; one that cannot be started is a warning.
fn webhook(page: &DashboardSpec) -> Option<Webhook> {
    let url = page.webhook.clone()?;
    match Webhook::start(url) {
        Ok(webhook) => Some(webhook),
        Err(error) => {
            tracing::warn!(%error, "no webhook: its thread cannot be started");
            None
        }
    }
}
