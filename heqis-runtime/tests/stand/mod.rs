//! Real processes over real sockets: a folder, free ports, and the processes that run in it.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything that is waited for may take on a loaded machine; reaching it is a failure, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// A place to run one topology in.
pub struct Stand {
    pub folder: tempfile::TempDir,
    topology: String,
    overrides: Vec<String>,
    environment: Vec<(String, String)>,
    pub ports: Vec<u16>,
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Ports without a listener. All are held at once, so that no two are the same. They lie below those that the kernel
/// gives to outgoing connections: one of these may take a port while the node that listens on it is down.
fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (first, places) = (10_000, 22_000);
    let start = std::process::id().wrapping_mul(7_919);
    let mut held = Vec::new();
    while held.len() < count {
        let next = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(first + next % places).unwrap();
        held.extend(TcpListener::bind(("127.0.0.1", port)));
    }
    held.iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect()
}

impl Stand {
    /// A stand for a shipped topology with nodes `nodes`, bridged edges `edges` and journals `journals`, all of whose
    /// addresses and files are this stand's own.
    pub fn new(topology: &str, nodes: &[&str], edges: &[&str], journals: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ports = free_ports(nodes.len() + edges.len() + 1);
        let mut overrides = Vec::new();
        for (node, port) in nodes.iter().zip(&ports) {
            overrides.push(format!("nodes.{node}.metrics=\"127.0.0.1:{port}\""));
            overrides.push(format!("nodes.{node}.dashboard.address=\"127.0.0.1:0\""));
        }
        for (edge, port) in edges.iter().zip(&ports[nodes.len()..]) {
            overrides.push(format!("edges.{edge}.transport.port={port}"));
        }
        for journal in journals {
            let path = folder.path().join(format!("{journal}.jsonl"));
            overrides.push(format!(
                "stages.{journal}.params.path=\"{}\"",
                path.display()
            ));
        }
        if topology == "live-tcp" {
            let here = folder.path().display();
            overrides.push(format!("nodes.gateway.state.path=\"{here}/gateway.state\""));
            overrides.push(format!("stages.market.record.path=\"{here}/market\""));
        }
        Self {
            folder,
            topology: format!("topologies/{topology}.toml"),
            overrides,
            environment: Vec::new(),
            ports,
        }
    }

    pub fn dual_board() -> Self {
        Self::new(
            "dual-board",
            &["gateway", "compute"],
            &["ring->engine", "signal->feedback"],
            &["journal"],
        )
    }

    /// The live topology, whose source listens on the stand's last port.
    pub fn live() -> Self {
        let stand = Self::new(
            "live-tcp",
            &["gateway", "compute"],
            &["ring->engine", "signal->feedback"],
            &["journal"],
        );
        let port = *stand.ports.last().unwrap();
        stand.set(&format!("stages.market.params.listen=\"127.0.0.1:{port}\""))
    }

    /// As [`Stand::live`], with edges that lose nothing however late a frame is.
    pub fn lossless_live() -> Self {
        Self::live()
            .set("stages.ring.params.policy=\"block\"")
            .set("edges.ring->engine.policy=\"block\"")
            .set("edges.ring->engine.max_age=\"1h\"")
    }

    /// Replaces lines of the topology's text: overrides can change values, not the kind of a stage with its parameters.
    pub fn rewrite(mut self, from: &str, to: &str) -> Self {
        let text = std::fs::read_to_string(root().join(&self.topology)).unwrap();
        assert!(text.contains(from), "no '{from}' in {}", self.topology);
        let text = text
            .replacen(from, to, 1)
            .replace("base = \"..\"", &format!("base = \"{}\"", root().display()));
        let path = self.folder.path().join("topology.toml");
        std::fs::write(&path, text).unwrap();
        self.topology = path.display().to_string();
        self
    }

    /// Carries the bridged edges of the two boards over sockets in this stand's folder.
    pub fn over_ipc(mut self) -> Self {
        self.overrides
            .retain(|change| !change.contains(".transport.port="));
        [5555, 5556].iter().fold(self, |stand, port| {
            let socket = stand.folder.path().join(format!("{port}.sock"));
            stand.rewrite(
                &format!("scheme = \"tcp\", port = {port}"),
                &format!("scheme = \"ipc\", path = \"{}\"", socket.display()),
            )
        })
    }

    /// Takes the pages away that the nodes of `live-tcp` would serve.
    pub fn without_pages(mut self) -> Self {
        self.overrides
            .retain(|change| !change.contains(".dashboard."));
        self.rewrite(
            "dashboard = { address = \"127.0.0.1:9180\", names = \"data/stock_basic.csv\" }",
            "",
        )
    }

    pub fn set(mut self, change: &str) -> Self {
        self.overrides.push(change.to_owned());
        self
    }

    /// Sets a variable of the environment of what is started.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn journal(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.jsonl"))
    }

    pub fn journal_bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.journal(name)).unwrap_or_default()
    }

    /// Whole lines of a journal that is being written.
    pub fn journal_lines(&self, name: &str) -> usize {
        self.journal_bytes(name)
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count()
    }

    /// How `program` is started here; its output goes into pipes.
    pub fn command(&self, program: &[&str], extra: &[&str]) -> Command {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).current_dir(root()).args([
            "--topology",
            &self.topology,
            "--json",
        ]);
        for change in &self.overrides {
            command.args(["--set", change]);
        }
        command
            .args(extra)
            .env_remove("HEQIS_SET")
            .env("RUST_LOG", "info")
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs to the end.
    pub fn run(&self, extra: &[&str]) -> Ended {
        self.start(extra).finish()
    }

    pub fn start(&self, extra: &[&str]) -> Running {
        self.start_with(&[env!("CARGO_BIN_EXE_heqis-runtime")], extra)
    }

    /// As [`Stand::start`] with another program, for instance an emulator and what it runs.
    pub fn start_with(&self, program: &[&str], extra: &[&str]) -> Running {
        let mut child = self.command(program, extra).spawn().unwrap();
        // Logs are read all the time: a full pipe would stop the process.
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::Builder::new()
            .name("test-log".into())
            .spawn(move || {
                let mut text = Vec::new();
                let _ = stderr.read_to_end(&mut text);
                String::from_utf8_lossy(&text).into_owned()
            })
            .unwrap();
        Running {
            child: Some(child),
            log: Some(log),
        }
    }
}

/// A process that runs; killed when a test fails.
pub struct Running {
    child: Option<Child>,
    log: Option<std::thread::JoinHandle<String>>,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn signal(&self, signal: &str) {
        signal_process(self.pid(), signal);
    }

    /// kill -9, and waits until the process is gone.
    pub fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn finish(mut self) -> Ended {
        let child = self.child.take().unwrap();
        let pid = child.id();
        let guard = Guard(pid);
        let output = child.wait_with_output().unwrap();
        std::mem::forget(guard);
        Ended {
            output,
            log: self.log.take().unwrap().join().unwrap(),
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

struct Guard(u32);

impl Drop for Guard {
    fn drop(&mut self) {
        signal_process(self.0, "KILL");
    }
}

pub fn signal_process(pid: u32, signal: &str) {
    let status = Command::new("kill")
        .args([format!("-{signal}"), pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "kill -{signal} {pid}");
}

/// A process that has ended.
pub struct Ended {
    output: Output,
    pub log: String,
}

impl Ended {
    pub fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    pub fn summary(&self) -> Value {
        serde_json::from_slice(&self.output.stdout).unwrap_or_else(|error| {
            panic!(
                "{error}\n{}\n{}",
                String::from_utf8_lossy(&self.output.stdout),
                self.log
            )
        })
    }

    /// The summary of a run that must have been clean.
    pub fn clean(&self) -> Value {
        let summary = self.summary();
        assert_eq!(
            self.code(),
            Some(0),
            "{:#}\n{}",
            summary["faults"],
            self.log
        );
        assert_eq!(summary["faults"], serde_json::json!([]));
        assert_books_close(&summary);
        summary
    }
}

/// Every edge of every node: sent = delivered + duplicate + dropped + in flight.
pub fn assert_books_close(summary: &Value) {
    let mut edges = 0;
    for node in summary["nodes"].as_array().unwrap() {
        for edge in node["edges"].as_array().unwrap() {
            let count = |key: &str| edge[key].as_u64().unwrap();
            let dropped: u64 = edge["dropped"]
                .as_object()
                .unwrap()
                .values()
                .map(|n| n.as_u64().unwrap())
                .sum();
            assert_eq!(
                count("sent"),
                count("delivered") + count("duplicate") + dropped + count("in_flight"),
                "{edge}"
            );
            edges += 1;
        }
    }
    assert!(edges > 0);
}

/// The report of one edge; `side` selects a half of a bridged edge.
pub fn edge<'a>(summary: &'a Value, name: &str, side: &str) -> &'a Value {
    let nodes = summary["nodes"].as_array().unwrap();
    nodes
        .iter()
        .flat_map(|node| node["edges"].as_array().unwrap())
        .find(|edge| edge["edge"] == name && edge["side"] == side)
        .unwrap_or_else(|| panic!("no edge {name} of side {side} in {summary:#}"))
}

pub fn count(value: &Value, key: &str) -> u64 {
    value[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no count {key} in {value}"))
}

/// How often a stage counted an event.
pub fn event(summary: &Value, stage: &str, event: &str) -> u64 {
    let nodes = summary["nodes"].as_array().unwrap();
    nodes
        .iter()
        .flat_map(|node| node["stages"].as_array().unwrap())
        .filter(|report| report["stage"] == stage)
        .flat_map(|report| report["events"].as_array().unwrap())
        .find(|pair| pair[0] == event)
        .map_or(0, |pair| pair[1].as_u64().unwrap())
}

/// Waits until `done` holds.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// GET over HTTP/1.1; `None` without an answer.
pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    request(port, "GET", path, &["Host: 127.0.0.1"])
}

/// A request over HTTP/1.1 with these lines in its head; `None` without an answer.
pub fn request(port: u16, method: &str, path: &str, lines: &[&str]) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let lines = lines.join("\r\n");
    let request = format!("{method} {path} HTTP/1.1\r\n{lines}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    let (head, body) = reply.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// The value of one sample of a node's metrics, found by its name and a part of its labels.
pub fn metric(port: u16, name: &str, label: &str) -> Option<f64> {
    let (_, body) = get(port, "/metrics")?;
    body.lines()
        .find(|line| line.starts_with(name) && line.contains(label))
        .and_then(|line| line.rsplit_once(' ')?.1.parse().ok())
}

/// The first bars of a committed table as JSON lines.
pub fn json_bars(count: usize) -> Vec<String> {
    let csv = std::fs::read_to_string(root().join("data/ashare/002032.SZ.csv")).unwrap();
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let json = |line: &str| {
        let fields: std::collections::HashMap<&str, &str> =
            header.iter().copied().zip(line.split(',')).collect();
        format!(
            "{{\"symbol\":\"002032.SZ\",\"date\":\"{}\",\"open\":{},\"high\":{},\"low\":{},\"close\":{},\"volume\":{}}}\n",
            fields["date"],
            fields["open"],
            fields["high"],
            fields["low"],
            fields["close"],
            fields["volume"]
        )
    };
    lines.take(count).map(json).collect()
}
