//! The watchdog and the service manager: real processes that hang, real commands, and time that a test moves.
#![allow(clippy::unwrap_used, missing_docs)]

mod stand;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use heqis_actors::Clock;
use heqis_runtime::watch::{Alarm, Outcome, RecoveryCommand, RecoverySpec};
use stand::{Stand, count, edge, event, get, metric, signal_process, wait_until};

const SECOND: i64 = 1_000_000_000;

fn spec(script: &str) -> RecoverySpec {
    RecoverySpec {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        timeout: Duration::from_secs(30),
        max: 2,
        window: Duration::from_secs(3600),
    }
}

const ALARM: Alarm = Alarm::LinkDown(Duration::from_secs(10));

async fn run(command: &mut RecoveryCommand, clock: &Clock) -> Outcome {
    command.run("compute", &ALARM, clock).await
}

fn is_alive(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

#[tokio::test]
async fn a_command_gets_peer_and_cause_and_reports_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("said");
    let clock = Clock::virtual_at(0);
    let script = format!("echo $HEQIS_PEER $HEQIS_ALARM > {}", file.display());
    let outcome = run(&mut RecoveryCommand::new(spec(&script)), &clock).await;
    assert_eq!(outcome, Outcome::Succeeded);
    assert_eq!(
        std::fs::read_to_string(file).unwrap(),
        "compute link_down\n"
    );
    let outcome = run(&mut RecoveryCommand::new(spec("exit 3")), &clock).await;
    assert_eq!(outcome, Outcome::Failed("exit status: 3".into()));
    let mut missing = spec("");
    missing.command = vec!["/no/such/program".into()];
    let outcome = run(&mut RecoveryCommand::new(missing), &clock).await;
    assert!(matches!(outcome, Outcome::NotStarted(why) if why.contains("/no/such/program")));
}

#[tokio::test]
async fn a_command_runs_at_most_max_times_within_its_window() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runs");
    let clock = Clock::virtual_at(0);
    let mut command = RecoveryCommand::new(spec(&format!("echo run >> {}", file.display())));
    let mut outcomes = Vec::new();
    for second in [0, 1800, 1801, 3599, 3600, 3601, 5400] {
        clock.advance_to(second * SECOND);
        outcomes.push((second, run(&mut command, &clock).await.name()));
    }
    let expected = [
        (0, "succeeded"),
        (1800, "succeeded"),
        (1801, "withheld"),
        (3599, "withheld"),
        (3600, "succeeded"),
        (3601, "withheld"),
        (5400, "succeeded"),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 4);
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let clock = Clock::virtual_at(0);
    // Far longer than any test may take: only a kill ends it.
    let script = format!(
        "sleep 86400 & echo $! > {0}.new; echo $$ >> {0}.new; mv {0}.new {0}; wait",
        file.display()
    );
    let mut command = RecoveryCommand::new(spec(&script));
    let running = run(&mut command, &clock);
    let advancing = async {
        while !file.exists() {
            tokio::task::yield_now().await;
        }
        clock.advance_to(30 * SECOND);
    };
    let (outcome, ()) = tokio::join!(running, advancing);
    assert_eq!(outcome, Outcome::TimedOut);
    for pid in std::fs::read_to_string(file).unwrap().lines() {
        wait_until("the command and its child are gone", || {
            // A killed child of a killed parent may wait for its new parent to see it.
            let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            !is_alive(pid) || status.is_ok_and(|status| status.contains(") Z "))
        });
    }
}

#[tokio::test]
async fn a_command_with_much_output_and_a_process_that_keeps_its_pipe_still_ends() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let clock = Clock::virtual_at(0);
    let script = format!(
        "yes x | head -c 1000000; sleep 86400 & echo $! > {}",
        file.display()
    );
    let outcome = run(&mut RecoveryCommand::new(spec(&script)), &clock).await;
    assert_eq!(outcome, Outcome::Succeeded);
    let left = std::fs::read_to_string(file).unwrap();
    signal_process(left.trim().parse().unwrap(), "KILL");
}

#[test]
fn a_compute_node_that_hangs_is_detected_and_recovered_by_the_command() {
    let stand = Stand::dual_board()
        .set("stages.engine.params.simulate_latency_us=1000")
        .set("stages.engine.batch.max=1");
    let mut compute = stand.start(&["--node", "compute"]);
    let pid = compute.pid();
    let file = stand.folder.path().join("why");
    let script = format!(
        "echo $HEQIS_PEER $HEQIS_ALARM > {}; kill -CONT {pid}",
        file.display()
    );
    let stand = stand
        .set("nodes.gateway.watch.compute={stall_timeout=\"300ms\",max=100}")
        .set(&format!(
            "nodes.gateway.watch.compute.command=[\"sh\",\"-c\",\"{script}\"]"
        ));
    let gateway = stand.start(&["--node", "gateway"]);
    wait_until("some decisions are written", || {
        stand.journal_lines("journal") > 100
    });
    compute.signal("STOP");
    wait_until("the command has run", || file.exists());
    assert!(!compute.has_ended());
    let port = stand.ports[0];
    let alarms = |cause| metric(port, "heqis_watchdog_alarms_total", cause).unwrap_or(0.0);
    assert!(alarms("no_progress") + alarms("link_down") >= 1.0);
    wait_until("the command is counted", || {
        metric(port, "heqis_watchdog_commands_total", "succeeded") >= Some(1.0)
    });
    let ended = gateway.finish();
    let (gateway, compute) = (ended.clean(), compute.finish().clean());
    assert!(ended.log.contains("peer stalled"), "{}", ended.log);
    let why = std::fs::read_to_string(file).unwrap();
    assert!(
        why.starts_with("compute no_progress") || why.starts_with("compute link_down"),
        "{why}"
    );
    let sent = count(edge(&gateway, "ring->engine", "sender"), "sent");
    assert_eq!(
        event(&compute, "journal", "written"),
        sent,
        "no frame is lost"
    );
}

#[test]
fn a_service_manager_is_notified_that_the_node_is_ready_alive_and_stopping() {
    let stand = Stand::new("single-host", &["host"], &[], &["journal"]);
    let path = stand.folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let stand = stand
        .set("stages.market.params.speed=86400.0")
        .env("NOTIFY_SOCKET", path.to_str().unwrap())
        .env("WATCHDOG_USEC", "100000");
    let node = stand.start(&["--node", "host"]);
    let mut received = Vec::new();
    let listen = || {
        let mut message = [0; 256];
        let length = manager.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    received.push(listen());
    assert!(
        received[0].starts_with("READY=1\nSTATUS=node 'host' of 'single-host' runs"),
        "{received:?}"
    );
    assert_eq!(get(stand.ports[0], "/readyz").unwrap().0, 200);
    for _ in 0..3 {
        assert_eq!(listen(), "WATCHDOG=1");
    }
    node.signal("TERM");
    loop {
        let message = listen();
        if message.starts_with("STOPPING=1") {
            break;
        }
        assert_eq!(message, "WATCHDOG=1");
    }
    node.finish().clean();
}

#[test]
fn a_stage_that_hangs_stops_the_watchdog_messages() {
    let stand = Stand::new("single-host", &["host"], &[], &["journal"]);
    let path = stand.folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    // Each batch takes a minute: the engine's thread does not take a turn within the test.
    let stand = stand
        .set("stages.engine.params.simulate_latency_us=60000000")
        .env("NOTIFY_SOCKET", path.to_str().unwrap())
        .env("WATCHDOG_USEC", "20000");
    let node = stand.start(&["--node", "host"]);
    wait_until("metrics are served", || {
        get(stand.ports[0], "/metrics").is_some_and(|(status, _)| status == 200)
    });
    manager.set_nonblocking(true).unwrap();
    // Fifty scrapes take longer than several beats would: a busy node still sends.
    wait_until("the node stops sending", || {
        let mut message = [0; 256];
        while manager.recv(&mut message).is_ok() {}
        for _ in 0..50 {
            get(stand.ports[0], "/metrics").unwrap();
        }
        manager.recv(&mut message).is_err()
    });
    node.kill();
}
