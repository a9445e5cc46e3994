//! What is wrong right now, found in what the nodes report: raised once, cleared once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use heqis_dashboard::Decisions;
use heqis_dashboard::live::{
    Alarm, AlarmName, Condition, EdgeState, EventKind, Level, NodeState, State, Topology,
};
use tokio::time::sleep;

use super::events::EventLog;
use super::graph::{Graph, word};
use super::webhook::Webhook;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a restart or a loss keeps its alarm, milliseconds: what happens once must still be seen.
const LASTING_MS: i64 = 60_000;
/// Looks in a row at which books must not close: the parts of a running edge's books are not read at one instant.
const OPEN_LOOKS: u32 = 3;

/// What is too much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long nothing may be decided; any time when `None`.
    pub(super) silence: Option<Duration>,
    /// How far the clocks of two joined nodes may differ.
    pub(super) clock_offset: Duration,
}

/// What is wrong, by name and what it is about, with words for people.
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

    /// The alarms of now, by name and subject.
    pub(super) fn now(&self) -> Vec<Alarm> {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        raised.values().cloned().collect()
    }

    /// Whether somebody is told who does not look at the page.
    fn is_sent(&self) -> bool {
        self.webhook.is_some()
    }

    /// Takes what is wrong now: raises what is new, clears what is gone.
    fn take(&self, topology: &str, node: &str, found: Found, now_ms: i64) {
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = Vec::new();
        raised.retain(|key, alarm| {
            let stays = found.contains_key(key);
            if !stays {
                told.push((false, alarm.clone()));
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
                    told.push((true, alarm.clone()));
                    raised.insert((name, subject), alarm);
                }
            }
        }
        drop(raised);
        for (is_raised, alarm) in told {
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

/// Looks for as long as the graph is held by anybody else.
pub(super) fn watch(graph: &Arc<Graph>, decisions: &Arc<Decisions>, limits: Limits) {
    actix_rt::spawn(look(Arc::downgrade(graph), decisions.clone(), limits));
}

async fn look(graph: Weak<Graph>, decisions: Arc<Decisions>, limits: Limits) {
    let mut judge = Judge::default();
    loop {
        sleep(PAUSE).await;
        let Some(graph) = graph.upgrade() else { return };
        if graph.alarms.is_sent() {
            // Otherwise the other nodes are asked only while somebody looks.
            graph.asked();
        }
        let state = graph.look();
        let mut found = judge.judge(graph.topology(), &state);
        found.extend(judge.silence(&state, decisions.last(), limits.silence));
        found.extend(clocks_apart(graph.topology(), &state, limits.clock_offset));
        let own = graph.own_name();
        graph
            .alarms
            .take(&graph.topology().name, own, found, state.at_ms);
    }
}

/// What has to be remembered from look to look.
#[derive(Debug, Default)]
struct Judge {
    /// Restarts of each stage, and when they grew last.
    restarts: BTreeMap<String, (u64, i64)>,
    /// Losses of each part of an edge, and when they grew last.
    losses: BTreeMap<(String, String), (u64, i64)>,
    /// Looks in a row at which the books of a part of an edge did not close.
    open: BTreeMap<(String, String), u32>,
    /// The last decision's number, and when it was new.
    last: (u64, i64),
}

impl Judge {
    /// What is wrong in `state`.
    fn judge(&mut self, topology: &Topology, state: &State) -> Found {
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
            // Its figures are old.
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
        let looks = self.open.entry(key).or_default();
        *looks = if closes { 0 } else { *looks + 1 };
        if *looks >= OPEN_LOOKS || (ended && (!closes || edge.in_flight > 0)) {
            let text = format!(
                "{} sent, {} delivered, {} duplicate, {lost} dropped, {} in flight",
                edge.sent, edge.delivered, edge.duplicate, edge.in_flight
            );
            found.insert((AlarmName::BooksOpen, edge.edge.clone()), text);
        }
    }

    /// Whether there has been no decision for `silence` while a node runs.
    fn silence(&mut self, state: &State, last: u64, silence: Option<Duration>) -> Found {
        let now_ms = state.at_ms;
        if self.last.0 != last || self.last.1 == 0 {
            self.last = (last, now_ms);
        }
        let runs = state
            .nodes
            .iter()
            .any(|node| node.condition == Condition::Running);
        let silent_ms = now_ms - self.last.1;
        let allowed_ms =
            silence.map(|silence| i64::try_from(silence.as_millis()).unwrap_or(i64::MAX));
        match allowed_ms {
            Some(allowed_ms) if runs && silent_ms >= allowed_ms => {
                let text = format!("no decision for {} s", silent_ms / 1_000);
                Found::from([((AlarmName::NoDecision, "decisions".to_owned()), text)])
            }
            _ => Found::new(),
        }
    }
}

/// Pairs of nodes whose clocks certainly differ by more than `allowed`: each once, however many edges join them, and as
/// both ends of those measure it.
fn clocks_apart(topology: &Topology, state: &State, allowed: Duration) -> Found {
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

/// Whether a count has grown lately. The first one met is where counting begins: the page may be younger than the node.
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
                trading_states: Vec::new(),
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
    fn each_fault_raises_its_own_alarm_and_a_well_graph_none() {
        let mut judge = Judge::default();
        let calm = topology(1_000.0);
        let good = |at_ms| state(at_ms, Condition::Running, edge(5, 5), 0);
        assert_eq!(names(&judge.judge(&calm, &good(0))), []);
        assert_eq!(
            names(&judge.judge(&topology(800.0), &good(1))),
            [AlarmName::AgeOverBudget]
        );

        let mut down = good(2);
        down.nodes[0].edges[0].connected = Some(false);
        assert_eq!(names(&judge.judge(&calm, &down)), [AlarmName::LinkDown]);

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
        let found = judge.judge(&calm, &fell);
        assert_eq!(names(&found), [AlarmName::EngineFellBack]);
        assert_eq!(
            found.values().next().unwrap(),
            "cpu computes; tensorrt: no library"
        );

        let mut gone = good(4);
        gone.nodes[0].condition = Condition::Unreachable;
        gone.nodes[0].edges[0].connected = Some(false);
        assert_eq!(
            names(&judge.judge(&calm, &gone)),
            [AlarmName::NodeUnreachable]
        );
    }

    #[test]
    fn a_restart_and_a_loss_are_told_for_a_minute() {
        let mut judge = Judge::default();
        let calm = topology(1_000.0);
        // What had happened before anybody looked is no news.
        assert_eq!(
            names(&judge.judge(&calm, &state(0, Condition::Running, edge(5, 5), 3))),
            []
        );
        let mut losing = edge(6, 5);
        losing.dropped.insert("full".into(), 1);
        let found = judge.judge(&calm, &state(1_000, Condition::Running, losing.clone(), 4));
        assert_eq!(
            names(&found),
            [AlarmName::StageRestarting, AlarmName::LosingFrames]
        );
        let found = judge.judge(&calm, &state(60_999, Condition::Running, losing.clone(), 4));
        assert_eq!(
            names(&found),
            [AlarmName::StageRestarting, AlarmName::LosingFrames]
        );
        assert_eq!(
            names(&judge.judge(&calm, &state(61_000, Condition::Running, losing, 4))),
            []
        );
    }

    #[test]
    fn books_are_open_after_three_looks_or_at_the_end() {
        let mut judge = Judge::default();
        let calm = topology(1_000.0);
        let open = |at_ms, condition| state(at_ms, condition, edge(6, 5), 0);
        for at_ms in 0..2 {
            assert_eq!(
                names(&judge.judge(&calm, &open(at_ms, Condition::Running))),
                []
            );
        }
        assert_eq!(
            names(&judge.judge(&calm, &open(2, Condition::Running))),
            [AlarmName::BooksOpen]
        );
        let mut other = Judge::default();
        assert_eq!(
            names(&other.judge(&calm, &open(0, Condition::Ended))),
            [AlarmName::BooksOpen]
        );
    }

    #[test]
    fn silence_is_counted_from_the_last_decision() {
        let mut judge = Judge::default();
        let at = |at_ms| state(at_ms, Condition::Running, edge(0, 0), 0);
        let allowed = Some(Duration::from_secs(5));
        assert!(judge.silence(&at(1_000), 3, allowed).is_empty());
        assert!(judge.silence(&at(5_999), 3, allowed).is_empty());
        assert_eq!(judge.silence(&at(6_000), 3, allowed).len(), 1);
        assert!(judge.silence(&at(6_001), 4, allowed).is_empty());
        assert!(judge.silence(&at(60_000), 4, None).is_empty());
    }

    #[test]
    fn clocks_are_apart_when_the_uncertainty_cannot_be_the_reason() {
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
        let look = |ahead_us, uncertainty_us| {
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
        assert!(look(49_000.0, 10.0).is_empty());
        assert!(look(-60_000.0, 20_000.0).is_empty());
        for (ahead_us, how) in [(250_000.0, "behind"), (-250_000.0, "ahead of")] {
            let found = look(ahead_us, 100.0);
            let subjects: Vec<&str> = found.keys().map(|(_, subject)| subject.as_str()).collect();
            // Once for the pair, in the words of the node that was looked at last.
            assert_eq!(subjects, ["compute, gateway"]);
            let text = found.values().next().unwrap();
            let told = format!("the clock of gateway is 250.0 ms {how} that of compute");
            assert!(text.starts_with(&told), "{text}");
        }
    }

    #[test]
    fn an_alarm_is_raised_once_and_cleared_once() {
        let log = Arc::new(EventLog::default());
        let alarms = Alarms::new(log.clone(), None);
        let found =
            |text: &str| Found::from([((AlarmName::LinkDown, "a->b".to_owned()), text.to_owned())]);
        alarms.take("t", "gateway", found("first"), 10);
        alarms.take("t", "gateway", found("second"), 20);
        let now = alarms.now();
        assert_eq!(
            (now.len(), now[0].since_ms, now[0].text.as_str()),
            (1, 10, "second")
        );
        alarms.take("t", "gateway", Found::new(), 30);
        assert!(alarms.now().is_empty());
        let (events, _) = log.before(None, 10);
        let kinds: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [EventKind::AlarmCleared, EventKind::AlarmRaised]);
    }
}
