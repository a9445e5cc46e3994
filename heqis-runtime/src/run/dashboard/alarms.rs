//! Alarms: detected in the reports of the nodes, raised once, cleared once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use heqis_dashboard::live::{
    Alarm, AlarmName, Condition, EdgeState, EventKind, Level, NodeState, State, Topology,
};
use heqis_tls::Identity;

use super::events::EventLog;
use super::webhook::Webhook;
use super::words::word;
use crate::run::certificates::WARN_DAYS;
use crate::topology::Board;

/// How long a restart or a loss keeps its alarm, milliseconds: a single event must be seen too.
const LASTING_MS: i64 = 60_000;
/// Consecutive observations in which books must not close: the parts of a running edge's books are not read at one instant.
const OPEN_OBSERVATIONS: u32 = 3;

/// The cause of a loss that the policy of an edge intends: a newer frame of the same key replaces an older one.
const SUPERSEDED: &str = "superseded";

/// Limits above which an alarm is raised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Longest time without a decision; `None` sets no limit.
    pub(super) decision_gap: Option<Duration>,
    /// How far the clocks of two joined nodes may differ.
    pub(super) clock_offset: Duration,
}

/// Conditions found, by name and subject, with a text for operators.
type Found = BTreeMap<(AlarmName, String), String>;

/// The alarms of a graph.
pub(super) struct Alarms {
    raised: Mutex<BTreeMap<(AlarmName, String), Alarm>>,
    log: Arc<EventLog>,
    webhook: Option<Webhook>,
}

impl Alarms {
    pub(super) fn new(log: Arc<EventLog>, webhook: Option<Webhook>) -> Self {
        Self {
            raised: Mutex::default(),
            log,
            webhook,
        }
    }

    /// Returns the current alarms, by name and subject.
    pub(super) fn now(&self) -> Vec<Alarm> {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        raised.values().cloned().collect()
    }

    /// Returns whether alarms are sent to a webhook.
    pub(super) fn is_sent(&self) -> bool {
        self.webhook.is_some()
    }

    /// Updates the alarms: raises new ones, clears those whose condition is over.
    pub(super) fn update(&self, topology: &str, node: &str, found: Found, now_ms: i64) {
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Vec::new();
        raised.retain(|key, alarm| {
            let stays = found.contains_key(key);
            if !stays {
                changed.push((false, alarm.clone()));
            }
            stays
        });
        for ((name, subject), text) in found {
            let known = raised.get_mut(&(name, subject.clone()));
            match known {
                Some(alarm) => alarm.text = text,
                None => {
                    let alarm = Alarm {
                        name,
                        subject: subject.clone(),
                        since_ms: now_ms,
                        text,
                    };
                    changed.push((true, alarm.clone()));
                    raised.insert((name, subject), alarm);
                }
            }
        }
        drop(raised);
        for (is_raised, alarm) in changed {
            let (kind, level) = match is_raised {
                true => (EventKind::AlarmRaised, Level::Error),
                false => (EventKind::AlarmCleared, Level::Info),
            };
            let cause = format!("{}: {}", word(alarm.name), alarm.text);
            self.log
                .add(now_ms, node, kind, level, &alarm.subject, Some(cause));
            if let Some(webhook) = &self.webhook {
                webhook.send(topology, node, is_raised, &alarm);
            }
        }
    }
}

/// Detects conditions in a series of observations.
#[derive(Debug, Default)]
pub(super) struct Detector {
    /// Restarts of each stage, and when they last increased.
    restarts: BTreeMap<String, (u64, i64)>,
    /// Losses of each part of an edge, other than by frames that replace older ones, and when they last increased.
    losses: BTreeMap<(String, String), (u64, i64)>,
    /// Consecutive observations in which the books of a part of an edge did not close.
    open: BTreeMap<(String, String), u32>,
    /// Number of the last decision, and when it was first observed.
    last: (u64, i64),
}

impl Detector {
    /// Returns the conditions that hold in `state`.
    pub(super) fn observe(&mut self, topology: &Topology, state: &State) -> Found {
        let mut found = Found::new();
        for node in &state.nodes {
            self.node(node, state.at_ms, &mut found);
        }
        // A link to a node that ended in order is not missed.
        let ended = |stage: &str| {
            let stage = topology.stages.iter().find(|one| one.name == stage);
            let mut nodes = state.nodes.iter();
            stage.is_some_and(|stage| {
                nodes.any(|node| node.node == stage.node && node.condition == Condition::Ended)
            })
        };
        for edge in &topology.edges {
            if ended(&edge.from) || ended(&edge.to) {
                found.remove(&(AlarmName::LinkDown, edge.name.clone()));
            }
        }
        let stages = || state.nodes.iter().flat_map(|node| &node.stages);
        for budget in &topology.budgets {
            let Some(end) = budget.path.last() else {
                continue;
            };
            for stage in stages().filter(|stage| stage.stage == *end && stage.frames > 0) {
                if stage.age.p99_us > budget.p99_us {
                    let text = format!(
                        "99 % of the frames are at most {:.1} ms old, the budget is {:.1} ms",
                        stage.age.p99_us / 1e3,
                        budget.p99_us / 1e3
                    );
                    found.insert((AlarmName::AgeOverBudget, budget.path.join("->")), text);
                }
            }
        }
        found
    }

    fn node(&mut self, node: &NodeState, now_ms: i64, found: &mut Found) {
        if node.condition == Condition::Unreachable {
            let text = node.detail.clone().unwrap_or_default();
            found.insert((AlarmName::NodeUnreachable, node.node.clone()), text);
            // Its figures are outdated.
            return;
        }
        // A machine that is no board has no board's backend: only one that fails while it runs is a fault.
        let is_board = node.machine.as_deref() != Some(Board::Host.name());
        for engine in &node.engines {
            let failed = engine.skipped.iter().any(|skipped| skipped.failed);
            if engine.skipped.is_empty() || !(is_board || failed) {
                continue;
            }
            let reasons = engine.skipped.iter();
            let reasons: Vec<String> = reasons
                .map(|skipped| format!("{}: {}", skipped.backend, skipped.reason))
                .collect();
            let text = format!("{} computes; {}", engine.backend, reasons.join("; "));
            found.insert((AlarmName::EngineFellBack, engine.stage.clone()), text);
        }
        for stage in &node.stages {
            if grew(
                self.restarts.entry(stage.stage.clone()),
                stage.restarts,
                now_ms,
            ) {
                let text = format!("rebuilt {} times", stage.restarts);
                found.insert((AlarmName::StageRestarting, stage.stage.clone()), text);
            }
        }
        for edge in &node.edges {
            self.edge(node, edge, now_ms, found);
        }
    }

    fn edge(&mut self, node: &NodeState, edge: &EdgeState, now_ms: i64, found: &mut Found) {
        let key = (edge.edge.clone(), edge.side.clone());
        if edge.connected == Some(false) && node.condition == Condition::Running {
            let text = match &edge.waits {
                Some(whom) => format!("the {} has no connection to {whom}", edge.side),
                None => format!("the {} has no connection", edge.side),
            };
            found.insert((AlarmName::LinkDown, edge.edge.clone()), text);
        }
        let lost: u64 = edge.dropped.values().sum();
        // An edge that keeps the newest frame drops the others as it should.
        let missed = edge
            .dropped
            .iter()
            .filter(|(cause, frames)| *cause != SUPERSEDED && **frames > 0);
        if grew(
            self.losses.entry(key.clone()),
            missed.clone().map(|(_, frames)| frames).sum(),
            now_ms,
        ) {
            let causes: Vec<String> = missed
                .map(|(cause, frames)| format!("{cause} {frames}"))
                .collect();
            found.insert(
                (AlarmName::LosingFrames, edge.edge.clone()),
                causes.join(", "),
            );
        }
        let closes = edge.sent == edge.delivered + edge.duplicate + lost + edge.in_flight;
        let ended = node.condition == Condition::Ended;
        let observations = self.open.entry(key).or_default();
        *observations = if closes { 0 } else { *observations + 1 };
        if *observations >= OPEN_OBSERVATIONS || (ended && (!closes || edge.in_flight > 0)) {
            let text = format!(
                "{} sent, {} delivered, {} duplicate, {lost} dropped, {} in flight",
                edge.sent, edge.delivered, edge.duplicate, edge.in_flight
            );
            found.insert((AlarmName::BooksOpen, edge.edge.clone()), text);
        }
    }

    /// Returns an alarm when there has been no decision for `limit` while a node runs. `last` is the number of the last one.
    pub(super) fn decision_gap(
        &mut self,
        state: &State,
        last: u64,
        limit: Option<Duration>,
    ) -> Found {
        let now_ms = state.at_ms;
        if self.last.0 != last || self.last.1 == 0 {
            self.last = (last, now_ms);
        }
        let runs = state
            .nodes
            .iter()
            .any(|node| node.condition == Condition::Running);
        let gap_ms = now_ms - self.last.1;
        let allowed_ms = limit.map(|limit| i64::try_from(limit.as_millis()).unwrap_or(i64::MAX));
        match allowed_ms {
            Some(allowed_ms) if runs && gap_ms >= allowed_ms => {
                let text = format!("no decision for {} s", gap_ms / 1_000);
                Found::from([((AlarmName::NoDecision, "decisions".to_owned()), text)])
            }
            _ => Found::new(),
        }
    }
}

/// Returns the pairs of nodes whose clocks differ by more than `allowed` beyond the uncertainty; each pair once, however
/// many edges join it.
pub(super) fn clocks_apart(topology: &Topology, state: &State, allowed: Duration) -> Found {
    let node_of = |stage: &str| {
        let found = topology.stages.iter().find(|one| one.name == stage);
        found.map(|stage| stage.node.as_str())
    };
    let mut found = Found::new();
    let running = |node: &&NodeState| node.condition != Condition::Unreachable;
    for node in state.nodes.iter().filter(running) {
        for edge in &node.edges {
            let Some(clock) = edge.clock else { continue };
            let known = topology.edges.iter().find(|one| one.name == edge.edge);
            let ends = known.map(|known| [&known.from, &known.to].map(|stage| node_of(stage)));
            let Some([Some(from), Some(to)]) = ends else {
                continue;
            };
            let peer = if node.node == from { to } else { from };
            if clock.ahead_us.abs() - clock.uncertainty_us > allowed.as_secs_f64() * 1e6 {
                let text = format!(
                    "the clock of {peer} is {:.1} ms {} that of {}, give or take {:.1} ms; {allowed:?} are allowed, and ages \
                     of frames that cross are off by as much",
                    clock.ahead_us.abs() / 1e3,
                    if clock.ahead_us > 0.0 {
                        "ahead of"
                    } else {
                        "behind"
                    },
                    node.node,
                    clock.uncertainty_us / 1e3,
                );
                let mut pair = [from, to];
                pair.sort_unstable();
                found.insert((AlarmName::ClocksApart, pair.join(", ")), text);
            }
        }
    }
    found
}

/// Returns an alarm for the certificate of `node`, and for that of its authority, which ends soon or has ended, and one for
/// new files that cannot be used.
pub(super) fn certificates(node: &str, identity: &Identity) -> Found {
    let mut found = Found::new();
    let days = [
        (node, identity.days_left()),
        ("authority", identity.authority_days_left()),
    ];
    for (subject, days) in days {
        if let Some(days) = days.filter(|days| *days <= WARN_DAYS) {
            let text = match days {
                0.. => format!("the certificate ends in {days} days"),
                _ => "the certificate has ended: links are not made again".to_owned(),
            };
            found.insert((AlarmName::CertificateEnds, subject.to_owned()), text);
        }
    }
    if let Some(problem) = identity.problem() {
        let key = (AlarmName::CertificateUnusable, node.to_owned());
        found.insert(key, problem.to_string());
    }
    found
}

/// Returns whether a count has increased recently. The first value is the base: the page may be younger than the node.
fn grew<K: Ord>(
    entry: std::collections::btree_map::Entry<'_, K, (u64, i64)>,
    count: u64,
    now_ms: i64,
) -> bool {
    let (known, since_ms) = entry.or_insert((count, i64::MIN));
    if count > *known {
        *since_ms = now_ms;
    }
    *known = count;
    *since_ms > i64::MIN && now_ms - *since_ms < LASTING_MS
}

#[cfg(test)]
mod tests;
