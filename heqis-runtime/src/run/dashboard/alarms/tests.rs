//! Tests of the detection.

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
            machine: None,
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
            failed: false,
        }],
    });
    let found = detector.observe(&calm, &fell);
    assert_eq!(names(&found), [AlarmName::EngineFellBack]);
    assert_eq!(
        found.values().next().unwrap(),
        "cpu computes; tensorrt: no library"
    );

    // On a machine that is no board, a board's backend is not missed; one that has computed and failed is, seen first or later.
    fell.nodes[0].machine = Some("host".into());
    assert_eq!(names(&Detector::default().observe(&calm, &fell)), []);
    fell.nodes[0].engines[0].skipped[0].failed = true;
    assert_eq!(
        names(&Detector::default().observe(&calm, &fell)),
        [AlarmName::EngineFellBack]
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
fn frames_that_newer_ones_replace_and_links_to_a_node_that_has_ended_raise_no_alarm() {
    let mut detector = Detector::default();
    let mut joined = topology(1_000.0);
    let stage = |name: &str, node: &str| StageInfo {
        name: name.into(),
        kind: String::new(),
        about: String::new(),
        node: node.into(),
        params: serde_json::Value::Null,
    };
    joined.stages = vec![stage("a", "gateway"), stage("b", "compute")];
    joined.edges = vec![EdgeInfo {
        name: "a->b".into(),
        from: "a".into(),
        to: "b".into(),
        capacity: 1,
        policy: "latest_by_key".into(),
        bridged: true,
    }];
    let mut now = state(0, Condition::Running, edge(5, 5), 0);
    assert_eq!(names(&detector.observe(&joined, &now)), []);
    now.at_ms = 1;
    now.nodes[0].edges[0].sent = 9;
    now.nodes[0].edges[0].dropped.insert(SUPERSEDED.into(), 4);
    assert_eq!(names(&detector.observe(&joined, &now)), []);
    now.nodes[0].edges[0].connected = Some(false);
    let mut other = now.nodes[0].clone();
    other.node = "compute".into();
    other.condition = Condition::Ended;
    other.edges.clear();
    now.nodes.push(other);
    assert_eq!(names(&detector.observe(&joined, &now)), []);
    now.nodes[1].condition = Condition::Running;
    assert_eq!(
        names(&detector.observe(&joined, &now)),
        [AlarmName::LinkDown]
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
