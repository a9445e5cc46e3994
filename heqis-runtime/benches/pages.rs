//! The cost of six open pages for the pipeline: the age of decisions with and without them, in turn within one run.
//!
//! ```text
//! cargo bench -p heqis-runtime --bench pages [-- --turns N] [--program HEQIS_RUNTIME]
//! ```
//!
//! One process replays `data/ashare` through `topologies/single-host.toml`, paced so that a bar comes every 1.4 ms. Every second
//! six pages are opened or closed: each reads the stream, and asks for what the page in the browser asks for when it opens and then,
//! while decisions arrive, every second. The first decisions after each change count for neither side. Other load on the machine
//! affects both sides alike, so compare the ratio.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // A program for people at a terminal.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

const PAGES: usize = 6;
const TURN: Duration = Duration::from_secs(1);
/// Decisions after a change that count for neither side.
const SETTLING: u64 = 30;
/// The largest share that the pages may add to the 99th percentile.
const BAR: f64 = 1.05;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let given = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let program = given("--program")
        .map_or_else(|| env!("CARGO_BIN_EXE_heqis-runtime").into(), PathBuf::from);
    let turns: usize = given("--turns").map_or(12, |turns| turns.parse().unwrap());
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let mut runs = 0;
    while without.len() < turns {
        let (mut more_without, mut more_with) = run(&program);
        without.append(&mut more_without);
        with.append(&mut more_with);
        runs += 1;
    }
    println!(
        "{PAGES} pages, {} turns each way in {runs} runs; age of decisions in µs",
        with.len()
    );
    println!(
        "{:>10} {:>10} {:>10} {:>10}",
        "", "without", "with", "ratio"
    );
    for (name, at) in [("median", 0.5), ("p90", 0.9), ("p99", 0.99)] {
        let of = |turns: &[Vec<f64>]| quantile(turns.iter().flatten().copied().collect(), at);
        let (a, b) = (of(&without), of(&with));
        println!("{name:>10} {a:>10.1} {b:>10.1} {:>10.3}", b / a);
    }
    // Turn by turn, so that one slow second of the machine does not dominate.
    let ratios = without
        .iter()
        .zip(&with)
        .map(|(a, b)| quantile(b.clone(), 0.99) / quantile(a.clone(), 0.99));
    let ratio = quantile(ratios.collect(), 0.5);
    let met = if ratio <= BAR { "met" } else { "NOT met" };
    println!(
        "p99, median of the ratios of neighbouring turns: {ratio:.3}; the bar of {BAR} is {met}"
    );
}

fn quantile(mut values: Vec<f64>, at: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values
        .get((last as f64 * at).round() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}

/// A process that ends with the bench.
struct Graph {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Graph {
    fn start(program: &Path) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folder = tempfile::tempdir().unwrap();
        let held = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let [metrics, port] = held.map(|listener| listener.local_addr().unwrap().port());
        let journal = folder.path().join("journal.jsonl");
        let mut command = Command::new(program);
        command.current_dir(root).args([
            "--topology",
            "topologies/single-host.toml",
            "--node",
            "host",
        ]);
        for change in [
            format!("nodes.host.metrics=\"127.0.0.1:{metrics}\""),
            format!("nodes.host.dashboard.address=\"127.0.0.1:{port}\""),
            "nodes.host.dashboard.stay=true".to_owned(),
            "stages.market.params.speed=30000000.0".to_owned(),
            format!("stages.journal.params.path=\"{}\"", journal.display()),
        ] {
            command.args(["--set", &change]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            port,
            _folder: folder,
        }
    }
}

/// A browser runs on another machine: the readers here run at idle priority.
fn stand_aside() {
    #[cfg(target_os = "linux")]
    thread_priority::set_thread_priority_and_policy(
        thread_priority::thread_native_id(),
        thread_priority::ThreadPriority::Min,
        thread_priority::ThreadSchedulePolicy::Normal(
            thread_priority::NormalThreadSchedulePolicy::Idle,
        ),
    )
    .unwrap();
}

impl Drop for Graph {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ages of decisions by turn, without pages and with them.
fn run(program: &Path) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let graph = Graph::start(program);
    let port = graph.port;
    let started = Instant::now();
    while last(port) < 200 {
        assert!(started.elapsed() < Duration::from_secs(60), "no decisions");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut bounds = vec![last(port)];
    let mut pages = Vec::new();
    let mut open = false;
    loop {
        std::thread::sleep(TURN);
        let here = last(port);
        let before = *bounds.last().unwrap();
        if here < before + 3 * SETTLING {
            // The data is about to end: a turn with few decisions is not significant.
            break;
        }
        bounds.push(here);
        match open {
            true => pages.drain(..).for_each(Page::close),
            false => pages.extend((0..PAGES).map(|_| Page::open(port))),
        }
        open = !open;
    }
    pages.drain(..).for_each(Page::close);
    let rows = get(port, "/api/decisions?limit=5000").unwrap();
    let ages: Vec<(u64, f64)> = rows["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| Some((row["n"].as_u64()?, row["age_us"].as_f64()?)))
        .collect();
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for (turn, pair) in bounds.windows(2).enumerate() {
        let of_turn = |n: u64| pair[0] + SETTLING < n && n <= pair[1];
        let ages: Vec<f64> = ages
            .iter()
            .filter(|(n, _)| of_turn(*n))
            .map(|(_, age)| *age)
            .collect();
        match turn % 2 {
            0 => without.push(ages),
            _ => with.push(ages),
        }
    }
    // Only complete pairs of neighbours whose decisions are all still kept.
    let pairs = without.len().min(with.len());
    without.truncate(pairs);
    with.truncate(pairs);
    (without, with)
}

fn last(port: u16) -> u64 {
    get(port, "/api/decisions?limit=1").map_or(0, |answer| answer["last"].as_u64().unwrap())
}

fn request(port: u16, path: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    Some(stream)
}

fn get(port: u16, path: &str) -> Option<Value> {
    let mut answer = String::new();
    request(port, path)?.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// An open page: its stream and its requests.
struct Page {
    closing: Arc<AtomicBool>,
    stream: TcpStream,
    threads: Vec<JoinHandle<()>>,
}

impl Page {
    fn open(port: u16) -> Self {
        let closing = Arc::new(AtomicBool::new(false));
        let stream = request(port, "/api/stream").unwrap();
        let read = BufReader::new(stream.try_clone().unwrap());
        let reads = std::thread::spawn(move || {
            stand_aside();
            read.lines().map_while(Result::ok).for_each(drop);
        });
        let closes = closing.clone();
        let asks = std::thread::spawn(move || {
            stand_aside();
            for path in [
                "/api/about",
                "/api/topology",
                "/api/symbols",
                "/api/bars?symbol=002032.SZ&limit=1000",
                "/api/decisions?symbol=002032.SZ&side=trade&limit=5000",
                "/api/decisions?side=trade&limit=100",
            ] {
                get(port, path);
            }
            while !closes.load(Ordering::Relaxed) {
                get(port, "/api/bars?symbol=002032.SZ&limit=100");
                for _ in 0..10 {
                    std::thread::sleep(Duration::from_millis(100));
                    if closes.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        });
        Self {
            closing,
            stream,
            threads: vec![reads, asks],
        }
    }

    fn close(self) {
        self.closing.store(true, Ordering::Relaxed);
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}
