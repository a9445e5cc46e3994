//! The running graph as the page presents it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use heqis_actors::Stage as _;
use heqis_actors::{EdgeReport, NodeReport, StageReport, StopHandle};
use heqis_compute::Signal;
use heqis_dashboard::Live;
use heqis_dashboard::jobs::Rejected;
use heqis_dashboard::live::{
    Budget, ClockState, Condition, EdgeInfo, EdgeState, EngineState, Event, EventKind, Level,
    NodeInfo, NodeState, Quantiles, RequestStatus, Skipped, StageInfo, StageState,
    StageTradingState, State, Topology, TradingStateRequest, TradingStates,
};
use heqis_quant::TradingState;
use heqis_tls::Identity;

use super::super::http::Ready;
use super::super::trading_state::{Requests, Status, TradingStateSwitch, switches};
use super::alarms::Alarms;
use super::events::EventLog;
use super::webhook::Webhook;
use super::words::{now_ms, word};
use crate::topology::{Board, Plan};

/// The graph of one node, and the last reports of the others.
pub(super) struct Graph {
    topology: Topology,
    /// Index of the own node.
    own: usize,
    ready: Ready,
    handle: OnceLock<StopHandle>,
    ended: AtomicBool,
    /// The last state of each other node, by index.
    others: Mutex<BTreeMap<usize, NodeState>>,
    /// Where each other node serves its report, or why it is unknown.
    pub(super) peers: Vec<(usize, Result<Peer, String>)>,
    /// When the page asked last, milliseconds since the Unix epoch; only the page needs the reports of other nodes.
    asked_ms: AtomicI64,
    /// Which board this machine is.
    machine: Option<String>,
    /// Whether the page is served after the end, so that how the other nodes ended is wanted even while it is closed.
    stays: bool,
    /// The stages of this node whose trading state can be set.
    switches: Vec<TradingStateSwitch>,
    /// The requests to other nodes for theirs.
    requests: Option<Arc<Requests>>,
    pub(super) log: Arc<EventLog>,
    pub(super) alarms: Alarms,
    /// The last observation, for the page.
    shown: Mutex<Option<State>>,
}

/// A page that has not asked for this long is closed.
const CLOSED_MS: i64 = 3_000;
/// Events in each state; older ones are requested separately.
const SHOWN_EVENTS: usize = 20;

impl Graph {
    pub(super) fn new(
        plan: &Plan,
        own: usize,
        machine: Board,
        ready: Ready,
        requests: Option<Arc<Requests>>,
        webhook: Option<Webhook>,
    ) -> Self {
        let log = Arc::new(EventLog::default());
        let others = (0..plan.nodes.len()).filter(|&node| node != own);
        Self {
            topology: topology(plan),
            own,
            ready,
            handle: OnceLock::new(),
            ended: AtomicBool::new(false),
            others: Mutex::default(),
            peers: others.map(|node| (node, peer(plan, own, node))).collect(),
            asked_ms: AtomicI64::new(0),
            machine: Some(machine.name().to_owned()),
            stays: plan.nodes[own]
                .dashboard
                .as_ref()
                .is_some_and(|page| page.stay),
            switches: switches(plan, own),
            requests,
            alarms: Alarms::new(log.clone(), webhook),
            log,
            shown: Mutex::default(),
        }
    }

    pub(super) fn started(&self, handle: StopHandle) {
        let _ = self.handle.set(handle);
    }

    pub(super) fn ended(&self) {
        self.ended.store(true, Ordering::Release);
        self.observe();
    }

    /// Returns whether the page is open: it has asked recently.
    pub(super) fn is_watched(&self) -> bool {
        now_ms() - self.asked_ms.load(Ordering::Acquire) <= CLOSED_MS
    }

    /// Returns whether the reports of other nodes are wanted now.
    pub(super) fn wants_reports(&self) -> bool {
        self.stays || self.is_watched()
    }

    /// Records what another node answers, or why it does not.
    pub(super) fn record_report(&self, node: usize, answer: Result<Answer, String>) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(answer) => {
                let trading_states = self.trading_states(node, &answer.report);
                let condition = match answer.is_last {
                    true => Condition::Ended,
                    false => Condition::Running,
                };
                let state = NodeState {
                    machine: answer.machine,
                    ..state(answer.report, condition, None, trading_states)
                };
                others.insert(node, state);
            }
            // Its last figures stay; a node that ended in order need not respond any more.
            Err(reason) => {
                let state = others.entry(node).or_insert_with(|| self.unreported(node));
                if state.condition == Condition::Ended {
                    return;
                }
                state.condition = Condition::Unreachable;
                state.detail = Some(reason);
            }
        }
    }

    fn unreported(&self, node: usize) -> NodeState {
        NodeState {
            node: self.topology.nodes[node].name.clone(),
            condition: Condition::Building,
            machine: None,
            detail: None,
            stages: Vec::new(),
            edges: Vec::new(),
            trading_states: Vec::new().into(),
            engines: Vec::new(),
        }
    }

    fn own(&self) -> NodeState {
        let Some(reporter) = self.ready.get() else {
            return self.unreported(self.own);
        };
        let report = reporter.report();
        let failure = report.failure.clone();
        let condition = match () {
            () if self.ended.load(Ordering::Acquire) => Condition::Ended,
            () if reporter.stopping() => Condition::Draining,
            () => Condition::Running,
        };
        let trading_states = self.trading_states(self.own, &report);
        NodeState {
            machine: self.machine.clone(),
            ..state(report, condition, failure, trading_states)
        }
    }
}

impl Graph {
    /// Returns the topology.
    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Returns the name of this node.
    pub(super) fn own_name(&self) -> &str {
        &self.topology.nodes[self.own].name
    }

    /// Marks the page as open, so that the other nodes are asked for reports.
    pub(super) fn mark_asked(&self) {
        self.asked_ms.store(now_ms(), Ordering::Release);
    }

    /// Reads books and figures, without alarms and events. The page shows them until the next observation.
    ///
    /// Stages wait while their figures are read. So the thread of the page, which has the lowest priority, must not do it:
    /// it could be preempted while they wait.
    pub(super) fn observe(&self) -> State {
        let at_ms = now_ms();
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let nodes = (0..self.topology.nodes.len())
            .map(|node| match others.get(&node) {
                _ if node == self.own => self.own(),
                Some(other) => other.clone(),
                None => self.unreported(node),
            })
            .collect::<Vec<_>>();
        drop(others);
        let nodes = nodes.into_iter().enumerate();
        let nodes = nodes
            .map(|(node, state)| self.with_requests(node, state))
            .collect();
        let state = State {
            at_ms,
            nodes,
            ..State::default()
        };
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.insert(state).clone()
    }

    /// Returns the last observation.
    fn shown(&self) -> State {
        let shown = {
            let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.clone()
        };
        // Before the first observation no stage runs that could wait.
        shown.unwrap_or_else(|| self.observe())
    }

    /// Returns the trading states of the stages of a node: as each reports it, and on this node as the files state it, which
    /// a stage reads only when it has frames.
    fn trading_states(&self, node: usize, report: &NodeReport) -> Vec<StageTradingState> {
        let switch = |stage: &str| {
            let mut own = self.switches.iter().filter(|_| node == self.own);
            own.find(|switch| switch.stage == stage)
        };
        let states = report.stages.iter().filter_map(|stage| {
            let reported = stage.notes.get("kill")?;
            let switch = switch(&stage.stage);
            Some(StageTradingState {
                stage: stage.stage.clone(),
                state: switch.map_or_else(|| reported.clone(), |switch| switch.state().to_string()),
                settable: switch.is_some(),
            })
        });
        states.collect()
    }
}

impl Graph {
    /// Adds to the state of another node what this one has asked of it, and its trading state as it has reported over the link
    /// that carries the requests: its metrics show the state only after the next frame, and may be out of reach.
    fn with_requests(&self, node: usize, mut state: NodeState) -> NodeState {
        let requests = self.requests.as_ref().filter(|all| all.reaches(node));
        let Some(requests) = requests else {
            return state;
        };
        let reported = requests.reported(node);
        let name = &self.topology.nodes[node].name;
        let deciding = self.topology.stages.iter();
        let deciding = deciding.filter(|stage| stage.node == *name && stage.kind == Signal::KIND);
        let states = deciding.map(|stage| {
            // The last figures of a node that does not respond say nothing about now.
            let responds = state.condition != Condition::Unreachable;
            let known = state.trading_states.of(&stage.name);
            let known = known.filter(|_| responds).map(str::to_owned);
            StageTradingState {
                stage: stage.name.clone(),
                state: reported
                    .clone()
                    .or(known)
                    .unwrap_or_else(|| "unknown".into()),
                settable: true,
            }
        });
        let asked = requests.status(node).map(asked);
        state.trading_states = TradingStates::new(states.collect(), asked);
        state
    }
}

/// What became of a request, as the page shows it.
fn asked(status: Status) -> TradingStateRequest {
    TradingStateRequest {
        state: status.state.to_string(),
        status: match status.done {
            Some(true) => RequestStatus::Acknowledged,
            Some(false) => RequestStatus::Refused,
            None if status.reason.is_some() => RequestStatus::NotAcknowledged,
            None => RequestStatus::Requested,
        },
        reason: status.reason,
        at_ms: status.at_ms,
    }
}

impl Live for Graph {
    fn topology(&self) -> Topology {
        self.topology.clone()
    }

    fn state(&self) -> State {
        self.mark_asked();
        State {
            alarms: self.alarms.now(),
            events: self.log.before(None, SHOWN_EVENTS).0,
            ..self.shown()
        }
    }

    fn events(&self, before: Option<u64>, most: usize) -> (Vec<Event>, bool) {
        self.log.before(before, most)
    }

    fn can_set_trading_state(&self) -> bool {
        !self.switches.is_empty() || self.requests.is_some()
    }

    fn set_trading_state(&self, state: TradingState) -> Result<Vec<String>, Rejected> {
        if !self.can_set_trading_state() {
            return Err(Rejected::NotFound(
                "no stage of this node has a trading_state_file, and this node asks no other one"
                    .into(),
            ));
        }
        let mut asked = Vec::new();
        if let Some(requests) = &self.requests {
            asked = requests.ask(state, now_ms()).map_err(Rejected::Failed)?;
        }
        for switch in &self.switches {
            switch.set(state).map_err(Rejected::Failed)?;
            tracing::warn!(stage = %switch.stage, ?state, "trading state set on the dashboard");
            let (node, cause) = (self.own_name(), format!("set to {state} on the page"));
            self.log.add(
                now_ms(),
                node,
                EventKind::TradingState,
                Level::Warning,
                &switch.stage,
                Some(cause),
            );
        }
        self.observe();
        Ok(asked)
    }

    fn drain(&self) {
        if let Some(handle) = self.handle.get() {
            handle.stop();
        }
    }
}

/// The response of a node to a request for its report.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) report: NodeReport,
    /// Whether its stages have ended.
    pub(super) is_last: bool,
    /// Which board its machine is, where it is stated.
    pub(super) machine: Option<String>,
}

/// Another node, as this one requests its report.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// `host:port` of its metrics.
    pub(super) address: String,
    /// Its name, and the certificate of this node, where it serves them over HTTPS.
    pub(super) tls: Option<(String, Identity)>,
}

/// Returns where the node with index `node` serves its report, for the node with index `own`.
fn peer(plan: &Plan, own: usize, node: usize) -> Result<Peer, String> {
    let spec = &plan.nodes[node];
    let unknown = "the topology states no metrics port for it";
    let (host, port) = spec
        .metrics
        .as_deref()
        .and_then(|metrics| metrics.rsplit_once(':'))
        .ok_or(unknown)?;
    if port == "0" {
        return Err(unknown.into());
    }
    let host = match host {
        // It listens on every interface, so also at the address for other nodes.
        "0.0.0.0" | "[::]" => &spec.address,
        host => host,
    };
    let secure = spec
        .metrics
        .as_deref()
        .is_some_and(|metrics| spec.uses_https(metrics));
    Ok(Peer {
        address: format!("{host}:{port}"),
        tls: secure.then(|| (spec.name.clone(), plan.nodes[own].tls.clone())),
    })
}

fn topology(plan: &Plan) -> Topology {
    let name = |stage: usize| plan.stages[stage].name.clone();
    Topology {
        name: plan.name.clone(),
        nodes: plan
            .nodes
            .iter()
            .map(|node| NodeInfo {
                name: node.name.clone(),
                board: node.board.name().to_owned(),
            })
            .collect(),
        stages: plan
            .stages
            .iter()
            .map(|stage| StageInfo {
                name: stage.name.clone(),
                kind: stage.kind.name.to_owned(),
                about: stage.kind.about.to_owned(),
                node: plan.nodes[stage.node].name.clone(),
                params: stage.params.clone(),
            })
            .collect(),
        edges: plan
            .edges
            .iter()
            .map(|edge| EdgeInfo {
                name: edge.name.clone(),
                from: name(edge.from),
                to: name(edge.to),
                capacity: edge.options.capacity as u64,
                policy: word(edge.options.policy),
                bridged: edge.bridge.is_some(),
            })
            .collect(),
        budgets: plan
            .budgets
            .iter()
            .map(|budget| Budget {
                path: budget.path.iter().map(|&stage| name(stage)).collect(),
                p99_us: budget.p99.as_secs_f64() * 1e6,
            })
            .collect(),
    }
}

fn state(
    report: NodeReport,
    condition: Condition,
    detail: Option<String>,
    trading_states: Vec<StageTradingState>,
) -> NodeState {
    NodeState {
        trading_states: trading_states.into(),
        engines: report.stages.iter().filter_map(engine).collect(),
        node: report.node,
        condition,
        machine: None,
        detail: detail.or(report.failure),
        stages: report.stages.into_iter().map(stage).collect(),
        edges: report.edges.into_iter().map(edge).collect(),
    }
}

/// Returns the backend of a stage's model, where the stage reports one.
fn engine(report: &StageReport) -> Option<EngineState> {
    let note = |name: &str| report.notes.get(name).cloned();
    let skipped = report.notes.iter().filter_map(|(name, reason)| {
        let backend = name.strip_prefix("skipped.")?.to_owned();
        Some(Skipped {
            failed: note(&format!("failed.{backend}")).is_some(),
            reason: reason.clone(),
            backend,
        })
    });
    Some(EngineState {
        stage: report.stage.clone(),
        bundle: note("bundle").unwrap_or_default(),
        backend: note("backend")?,
        skipped: skipped.collect(),
    })
}

fn stage(report: StageReport) -> StageState {
    StageState {
        stage: report.stage,
        frames: report.frames,
        latency: quantiles(report.latency),
        age: quantiles(report.age),
        restarts: report.restarts,
        events: report.events,
    }
}

fn quantiles(quantiles: heqis_actors::Quantiles) -> Quantiles {
    Quantiles {
        p50_us: quantiles.p50_us,
        p99_us: quantiles.p99_us,
        p999_us: quantiles.p999_us,
        max_us: quantiles.max_us,
    }
}

fn edge(report: EdgeReport) -> EdgeState {
    EdgeState {
        side: report.side.name().to_owned(),
        edge: report.edge,
        sent: report.sent,
        delivered: report.delivered,
        duplicate: report.duplicate,
        dropped: report
            .dropped
            .iter()
            .map(|(cause, frames)| (cause.name().to_owned(), *frames))
            .collect(),
        in_flight: report.in_flight,
        connected: report.connected,
        waits: report.waits.clone(),
        credits: report.credits,
        clock: report.clock.map(|clock| ClockState {
            ahead_us: clock.ahead_ns as f64 / 1e3,
            uncertainty_us: clock.uncertainty_ns as f64 / 1e3,
        }),
    }
}
