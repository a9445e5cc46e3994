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

/// How long a restart or a loss keeps its alarm, milliseconds: a single event must be seen too.
const LASTING_MS: i64 = 60_000;
/// Consecutive observations in which books must not close: the parts of a running edge's books are not read at one instant.
const OPEN_OBSERVATIONS: u32 = 3;

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
    /// Losses of each part of an edge, and when they last increased.
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
        let stages = || state.nodes.iter().flat_map(|node| &node.stages);
        for budget in &topology.budgets {
            let Some(end) = budget.path.last() else {
                continue;
            };
            for stage in stages().filter(|stage| stage.stage == *end && stage.frames > 0) {
                if stage.age.p99_us > budget.p99_us {
                    let text = format!(
                        "of 100 frames, 99 are up to {:.0} µs old, the budget is {:.0} µs",
                        stage.age.p99_us, budget.p99_us
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
        for engine in node
            .engines
            .iter()
            .filter(|engine| !engine.skipped.is_empty())
        {
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
        if grew(self.losses.entry(key.clone()), lost, now_ms) {
            let causes: Vec<String> = edge
                .dropped
                .iter()
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
mod tests {
    #![allow(clippy::unwrap_used)]

    use heqis_dashboard::live::{
        Budget, ClockState, EdgeInfo, EngineState, Quantiles, Skipped, StageInfo, StageState,
    };

    use super::*;

    fn edge(sent: u64, delivered: u64) -> EdgeState {
        EdgeState {
            edge: "a->b".into(),
            side: "sender".into(),
            sent,
            delivered,
            duplicate: 0,
            dropped: BTreeMap::new(),
            in_flight: 0,
            credits: Some(7),
            connected: Some(true),
            waits: None,
            clock: None,
        }
    }

    fn state(at_ms: i64, condition: Condition, edge: EdgeState, restarts: u64) -> State {
        State {
            at_ms,
            nodes: vec![NodeState {
                node: "gateway".into(),
                condition,
                detail: None,
                stages: vec![StageState {
                    stage: "b".into(),
                    frames: 1,
                    latency: Quantiles::default(),
                    age: Quantiles {
                        p99_us: 900.0,
                        ..Quantiles::default()
                    },
                    restarts,
                    events: Vec::new(),
                }],
                edges: vec![edge],
                trading_states: Vec::new().into(),
                engines: Vec::new(),
            }],
            ..State::default()
        }
    }

    fn topology(p99_us: f64) -> Topology {
        Topology {
            name: "t".into(),
            nodes: Vec::new(),
            stages: Vec::new(),
            edges: Vec::new(),
            budgets: vec![Budget {
                path: vec!["a".into(), "b".into()],
                p99_us,
            }],
        }
    }

    fn names(found: &Found) -> Vec<AlarmName> {
        found.keys().map(|(name, _)| *name).collect()
    }

    #[test]
    fn each_fault_raises_its_own_alarm_and_a_sound_graph_none() {
        let mut detector = Detector::default();
        let calm = topology(1_000.0);
        let good = |at_ms| state(at_ms, Condition::Running, edge(5, 5), 0);
        assert_eq!(names(&detector.observe(&calm, &good(0))), []);
        assert_eq!(
            names(&detector.observe(&topology(800.0), &good(1))),
            [AlarmName::AgeOverBudget]
        );

        let mut down = good(2);
        down.nodes[0].edges[0].connected = Some(false);
        assert_eq!(
            names(&detector.observe(&calm, &down)),
            [AlarmName::LinkDown]
        );

        let mut fell = good(3);
        fell.nodes[0].engines.push(EngineState {
            stage: "engine".into(),
            bundle: "b".into(),
            backend: "cpu".into(),
            skipped: vec![Skipped {
                backend: "tensorrt".into(),
                reason: "no library".into(),
            }],
        });
        let found = detector.observe(&calm, &fell);
        assert_eq!(names(&found), [AlarmName::EngineFellBack]);
        assert_eq!(
            found.values().next().unwrap(),
            "cpu computes; tensorrt: no library"
        );

        let mut gone = good(4);
        gone.nodes[0].condition = Condition::Unreachable;
        gone.nodes[0].edges[0].connected = Some(false);
        assert_eq!(
            names(&detector.observe(&calm, &gone)),
            [AlarmName::NodeUnreachable]
        );
    }

    #[test]
    fn a_restart_and_a_loss_keep_their_alarm_for_a_minute() {
        let mut detector = Detector::default();
        let calm = topology(1_000.0);
        // What happened before the first observation raises no alarm.
        assert_eq!(
            names(&detector.observe(&calm, &state(0, Condition::Running, edge(5, 5), 3))),
            []
        );
        let mut losing = edge(6, 5);
        losing.dropped.insert("full".into(), 1);
        let found = detector.observe(&calm, &state(1_000, Condition::Running, losing.clone(), 4));
        assert_eq!(
            names(&found),
            [AlarmName::StageRestarting, AlarmName::LosingFrames]
        );
        let found = detector.observe(&calm, &state(60_999, Condition::Running, losing.clone(), 4));
        assert_eq!(
            names(&found),
            [AlarmName::StageRestarting, AlarmName::LosingFrames]
        );
        assert_eq!(
            names(&detector.observe(&calm, &state(61_000, Condition::Running, losing, 4))),
            []
        );
    }

    #[test]
    fn books_are_open_after_three_observations_or_at_the_end() {
        let mut detector = Detector::default();
        let calm = topology(1_000.0);
        let open = |at_ms, condition| state(at_ms, condition, edge(6, 5), 0);
        for at_ms in 0..2 {
            assert_eq!(
                names(&detector.observe(&calm, &open(at_ms, Condition::Running))),
                []
            );
        }
        assert_eq!(
            names(&detector.observe(&calm, &open(2, Condition::Running))),
            [AlarmName::BooksOpen]
        );
        let mut other = Detector::default();
        assert_eq!(
            names(&other.observe(&calm, &open(0, Condition::Ended))),
            [AlarmName::BooksOpen]
        );
    }

    #[test]
    fn the_gap_is_counted_from_the_last_decision() {
        let mut detector = Detector::default();
        let at = |at_ms| state(at_ms, Condition::Running, edge(0, 0), 0);
        let allowed = Some(Duration::from_secs(5));
        assert!(detector.decision_gap(&at(1_000), 3, allowed).is_empty());
        assert!(detector.decision_gap(&at(5_999), 3, allowed).is_empty());
        assert_eq!(detector.decision_gap(&at(6_000), 3, allowed).len(), 1);
        assert!(detector.decision_gap(&at(6_001), 4, allowed).is_empty());
        assert!(detector.decision_gap(&at(60_000), 4, None).is_empty());
    }

    #[test]
    fn clocks_are_apart_beyond_the_uncertainty() {
        let stage = |name: &str, node: &str| StageInfo {
            name: name.into(),
            kind: String::new(),
            about: String::new(),
            node: node.into(),
            params: serde_json::Value::Null,
        };
        let joined = Topology {
            stages: vec![stage("a", "gateway"), stage("b", "compute")],
            edges: vec![EdgeInfo {
                name: "a->b".into(),
                from: "a".into(),
                to: "b".into(),
                capacity: 1,
                policy: "block".into(),
                bridged: true,
            }],
            ..topology(1_000.0)
        };
        let observe = |ahead_us, uncertainty_us| {
            let mut state = state(0, Condition::Running, edge(0, 0), 0);
            state.nodes[0].edges[0].clock = Some(ClockState {
                ahead_us,
                uncertainty_us,
            });
            let mut other = state.nodes[0].clone();
            other.node = "compute".into();
            if let Some(clock) = &mut other.edges[0].clock {
                clock.ahead_us = -ahead_us;
            }
            state.nodes.push(other);
            clocks_apart(&joined, &state, Duration::from_millis(50))
        };
        assert!(observe(49_000.0, 10.0).is_empty());
        assert!(observe(-60_000.0, 20_000.0).is_empty());
        for (ahead_us, how) in [(250_000.0, "behind"), (-250_000.0, "ahead of")] {
            let found = observe(ahead_us, 100.0);
            let subjects: Vec<&str> = found.keys().map(|(_, subject)| subject.as_str()).collect();
            // Once for the pair, as the node observed last measures it.
            assert_eq!(subjects, ["compute, gateway"]);
            let text = found.values().next().unwrap();
            let expected = format!("the clock of gateway is 250.0 ms {how} that of compute");
            assert!(text.starts_with(&expected), "{text}");
        }
    }

    #[test]
    fn an_alarm_is_raised_once_and_cleared_once() {
        let log = Arc::new(EventLog::default());
        let alarms = Alarms::new(log.clone(), None);
        let found =
            |text: &str| Found::from([((AlarmName::LinkDown, "a->b".to_owned()), text.to_owned())]);
        alarms.update("t", "gateway", found("first"), 10);
        alarms.update("t", "gateway", found("second"), 20);
        let now = alarms.now();
        assert_eq!(
            (now.len(), now[0].since_ms, now[0].text.as_str()),
            (1, 10, "second")
        );
        alarms.update("t", "gateway", Found::new(), 30);
        assert!(alarms.now().is_empty());
        let (events, _) = log.before(None, 10);
        let kinds: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [EventKind::AlarmCleared, EventKind::AlarmRaised]);
    }

    #[test]
    fn a_certificate_that_ends_soon_raises_an_alarm_until_it_is_renewed() {
        let directory = tempfile::tempdir().unwrap();
        let authority = heqis_tls::Authority::create(directory.path(), "dual", 25).unwrap();
        let look = |days| {
            authority.issue("gateway", days).unwrap();
            let files = heqis_tls::IdentityFiles::in_directory(directory.path(), "gateway");
            let identity = Identity::new(files, Some("gateway"));
            let _ = identity.current();
            certificates("gateway", &identity)
        };
        let own = (AlarmName::CertificateEnds, "gateway".to_owned());
        let of_authority = (AlarmName::CertificateEnds, "authority".to_owned());
        let found = look(30);
        assert_eq!(found[&own], "the certificate ends in 30 days");
        assert_eq!(found[&of_authority], "the certificate ends in 25 days");
        assert_eq!(look(31).into_keys().collect::<Vec<_>>(), [of_authority]);
        std::fs::write(directory.path().join("ca.pem"), "half a copy").unwrap();
        let unusable = look(31);
        let text = &unusable[&(AlarmName::CertificateUnusable, "gateway".to_owned())];
        assert!(text.contains("ca.pem"), "{text}");
    }
}
