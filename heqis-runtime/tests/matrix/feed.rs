//! The feed of a live run: sends bars, and sends again what may be lost whenever its connection breaks.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::stand::root;

/// Between two bars.
const PACE: Duration = Duration::from_micros(700);
/// How often a connection is tried.
const AGAIN: Duration = Duration::from_millis(20);

/// Bars of the two shipped tables between two days, by day, as JSON lines.
pub fn bars(from: &str, to: &str) -> Vec<String> {
    let mut bars = Vec::new();
    for symbol in ["002032.SZ", "600000.SH"] {
        let path = root().join(format!("data/ashare/{symbol}.csv"));
        let csv = std::fs::read_to_string(path).unwrap();
        let mut lines = csv.lines();
        let header = lines.next().unwrap().to_lowercase();
        let header: Vec<&str> = header.split(',').collect();
        for line in lines {
            let fields: HashMap<&str, &str> = header.iter().copied().zip(line.split(',')).collect();
            let date = fields["date"];
            let date = format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..8]);
            if *from <= *date && *date <= *to {
                let prices: Vec<String> = ["open", "high", "low", "close", "volume"]
                    .map(|field| format!("\"{field}\":{}", fields[field]))
                    .into();
                let prices = prices.join(",");
                let json = format!("{{\"symbol\":\"{symbol}\",\"date\":\"{date}\",{prices}}}\n");
                bars.push((date, json));
            }
        }
    }
    // Stable: the tables' order within a day.
    bars.sort_by(|a, b| a.0.cmp(&b.0));
    bars.into_iter().map(|(_, json)| json).collect()
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Decisions in the journal.
    decided: AtomicU64,
    connections: AtomicUsize,
}

/// A feed that runs until it is dropped.
pub struct Feed {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Feeds `bars` to `port`. The feed goes on behind the bar of the last decision: `next[n]` is the bar behind that of
    /// decision `n`. It closes when `total` decisions are in the journal.
    pub fn start(port: u16, bars: Arc<Vec<String>>, next: Arc<Vec<usize>>, total: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let feed = Sender {
            port,
            bars,
            next,
            total,
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("feed".into())
            .spawn(move || feed.run())
            .unwrap();
        Self {
            shared,
            thread: Some(thread),
        }
    }

    pub fn decided(&self, decisions: u64) {
        self.shared.decided.store(decisions, Ordering::Release);
    }

    /// Whether every bar went over one connection, once.
    pub fn is_single(&self) -> bool {
        self.shared.connections.load(Ordering::Acquire) <= 1
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Sender {
    port: u16,
    bars: Arc<Vec<String>>,
    next: Arc<Vec<usize>>,
    total: u64,
    shared: Arc<Shared>,
}

impl Sender {
    fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    fn decided(&self) -> u64 {
        self.shared.decided.load(Ordering::Acquire)
    }

    fn run(&self) {
        while !self.stopped() {
            let decided = self.decided();
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", self.port)) {
                // A gateway that comes back when all is decided only has to receive the end of the stream.
                if decided < self.total {
                    self.shared.connections.fetch_add(1, Ordering::AcqRel);
                    let decided = usize::try_from(decided).unwrap();
                    let from = self.next.get(decided).copied().unwrap_or(0);
                    self.send(stream, from);
                }
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Sends the bars from `from` on and stays until all are decided or the connection is gone.
    fn send(&self, mut stream: TcpStream, from: usize) {
        let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
        let _ = stream.set_read_timeout(Some(Duration::from_micros(200)));
        for bar in &self.bars[from..] {
            let mut rest = bar.as_bytes();
            while !rest.is_empty() && !self.stopped() {
                match stream.write(rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(error) if is_late(error.kind()) => {}
                    Err(_) => return,
                }
            }
            std::thread::sleep(PACE);
        }
        while !self.stopped() && self.decided() < self.total {
            match stream.read(&mut [0]) {
                Ok(0) => return,
                Err(error) if !is_late(error.kind()) => return,
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

fn is_late(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
