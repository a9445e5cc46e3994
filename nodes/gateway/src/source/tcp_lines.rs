//! `tcp-lines`: bars as JSON or CSV lines from TCP clients, so that any feed can be plugged in; emits [`BarMessage`]s.
//!
//! One thread accepts, one thread a client reads; they hand bars over a bounded channel. When the pipeline is full the
//! channel fills, the threads stop reading, and TCP makes the client wait. Counts `client`, `bad_line`, and
//! `refused_client` for clients above the limit; a client whose line is too long is cut off and counts as `long_line`.

use std::io::{self, BufReader, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use heqis_actors::{BuildContext, Counter, Next, Source, StageError, Waker};
use heqis_messages::BarMessage;
use heqis_quant::{Bar, BarReader, Date, Marks, Symbol};
use schemars::JsonSchema;
use serde::Deserialize;

use super::LogLimit;

/// Bars that wait between the reading threads and the pipeline.
const CHANNEL: usize = 256;

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LineFormat {
    /// An object a line: `symbol`, `date`, `open`, `high`, `low`, `close`, `volume` (shares), optionally `pre_close`,
    /// `amount` (CNY) and `time_ns`.
    Json,
    /// CSV with a header line first, as `csv-replay` reads it, with a symbol column.
    Csv,
}

/// Parameters of a `tcp-lines` source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpLinesConfig {
    /// Where to listen, such as `127.0.0.1:5700`. There is no authentication: keep it on a trusted interface.
    pub listen: SocketAddr,
    /// What a line looks like.
    pub format: LineFormat,
    /// Longest line, bytes; a longer one ends its connection.
    #[serde(default = "max_line_bytes")]
    #[schemars(range(min = 64, max = 1_048_576))]
    pub max_line_bytes: usize,
    /// Most clients at once; further ones are refused.
    #[serde(default = "max_clients")]
    #[schemars(range(min = 1, max = 256))]
    pub max_clients: usize,
    /// Whether the source ends when its last client has left.
    #[serde(default)]
    pub end_on_close: bool,
}

fn max_line_bytes() -> usize {
    4096
}

fn max_clients() -> usize {
    4
}

/// Reads bars from TCP clients.
#[derive(Debug)]
pub struct TcpLines {
    bars: Receiver<Bar>,
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
    end_on_close: bool,
}

/// What the threads share with the source.
#[derive(Debug)]
struct Shared {
    stopping: AtomicBool,
    /// Clients that have come, and those that are here.
    came: AtomicUsize,
    here: AtomicUsize,
    /// Open connections, to be shut when the source is dropped.
    streams: Mutex<Vec<(usize, TcpStream)>>,
    waker: Waker,
    counters: Counters,
}

#[derive(Debug)]
struct Counters {
    client: Counter,
    refused: Counter,
    bad_line: Counter,
    long_line: Counter,
}

impl Source for TcpLines {
    type Config = TcpLinesConfig;
    type Out = BarMessage;
    const KIND: &'static str = "tcp-lines";
    const ABOUT: &'static str = "Takes bars as JSON or CSV lines from TCP clients.";
    const REPLAYABLE: bool = false;

    fn check(config: &TcpLinesConfig, _: &Path) -> Vec<String> {
        if config.max_clients == 0 { vec!["max_clients is 0, it must be at least 1".into()] } else { Vec::new() }
    }

    fn build(config: &TcpLinesConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let fault = |error: io::Error| StageError::config(format!("listen on {}: {error}", config.listen));
        let listener = TcpListener::bind(config.listen).map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        tracing::info!(stage = cx.stage(), %address, "listening for bars");
        let (sender, bars) = sync_channel(CHANNEL);
        let shared = Arc::new(Shared {
            stopping: AtomicBool::new(false),
            came: AtomicUsize::new(0),
            here: AtomicUsize::new(0),
            streams: Mutex::new(Vec::new()),
            waker: cx.waker(),
            counters: Counters {
                client: cx.counter("client"),
                refused: cx.counter("refused_client"),
                bad_line: cx.counter("bad_line"),
                long_line: cx.counter("long_line"),
            },
        });
        let acceptor = std::thread::Builder::new()
            .name("tcp-lines".into())
            .spawn({
                let (shared, config) = (shared.clone(), config.clone());
                move || accept(&listener, &shared, &config, &sender)
            })
            .map_err(fault)?;
        Ok(Self { bars, shared, address, acceptor: Some(acceptor), end_on_close: config.end_on_close })
    }

    fn next(&mut self) -> Result<Next<BarMessage>, StageError> {
        // Looked at before the channel: a client that leaves in between has put its last bar there already.
        let gone = self.shared.came.load(Ordering::Acquire) > 0 && self.shared.here.load(Ordering::Acquire) == 0;
        Ok(match self.bars.try_recv() {
            Ok(bar) => Next::Item(BarMessage(bar)),
            Err(TryRecvError::Empty) if gone && self.end_on_close => Next::End,
            Err(TryRecvError::Empty) => Next::Waiting,
            Err(TryRecvError::Disconnected) => Next::End,
        })
    }
}

impl TcpLines {
    /// Where the source listens; the port that was given where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TcpLines {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        for (_, stream) in self.shared.streams().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // A reading thread may be waiting for room in the channel: taking its bar lets it see that all is over.
        while self.bars.try_recv().is_ok() {}
        // Accepting blocks until somebody comes: this is somebody.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn streams(&self) -> MutexGuard<'_, Vec<(usize, TcpStream)>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, config: &TcpLinesConfig, bars: &SyncSender<Bar>) {
    let mut number = 0;
    for stream in listener.incoming() {
        if shared.stopping() {
            return;
        }
        let Ok(stream) = stream else { continue };
        if shared.here.load(Ordering::Acquire) >= config.max_clients {
            shared.counters.refused.inc();
            continue;
        }
        let Ok(handle) = stream.try_clone() else { continue };
        number += 1;
        shared.streams().push((number, handle));
        shared.here.fetch_add(1, Ordering::AcqRel);
        shared.came.fetch_add(1, Ordering::AcqRel);
        shared.counters.client.inc();
        let spawned = std::thread::Builder::new().name(format!("tcp-lines-{number}")).spawn({
            let (shared, bars, config) = (shared.clone(), bars.clone(), config.clone());
            move || {
                serve(stream, &shared, &config, &bars);
                shared.streams().retain(|(held, _)| *held != number);
                shared.here.fetch_sub(1, Ordering::AcqRel);
                shared.waker.wake();
            }
        });
        if spawned.is_err() {
            shared.streams().retain(|(held, _)| *held != number);
            shared.here.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Reads one client to its end.
fn serve(stream: TcpStream, shared: &Shared, config: &TcpLinesConfig, bars: &SyncSender<Bar>) {
    let peer = stream.peer_addr().map_or_else(|_| "client".to_owned(), |peer| peer.to_string());
    let lines = BoundedLines { read: stream, max: config.max_line_bytes, run: 0, too_long: false };
    let mut log = LogLimit::new();
    let mut take = |bar: Result<Bar, String>| {
        match bar {
            Ok(bar) => {
                // Waits while the channel is full; that is the back-pressure.
                if bars.send(bar).is_err() || shared.stopping() {
                    return false;
                }
                shared.waker.wake();
            }
            Err(reason) => {
                shared.counters.bad_line.inc();
                if log.admit() {
                    tracing::warn!(%peer, %reason, "bad line");
                }
            }
        }
        true
    };
    let too_long = match config.format {
        LineFormat::Json => {
            let mut lines = BufReader::new(lines);
            let mut line = String::new();
            loop {
                line.clear();
                match io::BufRead::read_line(&mut lines, &mut line) {
                    Ok(0) => break,
                    Ok(_) if line.trim().is_empty() => {}
                    Ok(_) => {
                        if !take(json_bar(&line)) {
                            break;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        if lines.get_ref().too_long || !take(Err("is not UTF-8".into())) {
                            break;
                        }
                    }
                    Err(_) => break,
                }
            }
            lines.get_ref().too_long
        }
        LineFormat::Csv => {
            let mut lines = lines;
            match BarReader::new(&mut lines, None, peer.clone()) {
                Ok(reader) => {
                    for bar in reader {
                        if !take(bar.map_err(|error| error.to_string())) {
                            break;
                        }
                    }
                }
                Err(error) => {
                    take(Err(error.to_string()));
                }
            }
            lines.too_long
        }
    };
    if too_long {
        shared.counters.long_line.inc();
        tracing::warn!(%peer, max = config.max_line_bytes, "client cut off: its line is too long");
    }
}

/// A bar as a JSON line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonBar {
    symbol: Symbol,
    date: Date,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    volume: f64,
    #[serde(default)]
    pre_close: Option<f64>,
    #[serde(default)]
    amount: Option<f64>,
    #[serde(default)]
    time_ns: Option<i64>,
}

fn json_bar(line: &str) -> Result<Bar, String> {
    let bar: JsonBar = serde_json::from_str(line).map_err(|error| error.to_string())?;
    Ok(Bar {
        symbol: bar.symbol,
        time_ns: bar.time_ns.unwrap_or_else(|| bar.date.close_time_ns()),
        date: bar.date,
        open: bar.open,
        high: bar.high,
        low: bar.low,
        close: bar.close,
        pre_close: bar.pre_close,
        volume_shares: bar.volume,
        amount_cny: bar.amount,
        marks: Marks::NONE,
    })
}

/// Reads on as long as no line is longer than `max` bytes, so that nobody can fill the memory with one line.
struct BoundedLines<R> {
    read: R,
    max: usize,
    /// Bytes since the last line end.
    run: usize,
    too_long: bool,
}

impl<R: Read> Read for BoundedLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.read.read(buffer)?;
        for &byte in &buffer[..count] {
            self.run = if byte == b'\n' { 0 } else { self.run + 1 };
            if self.run > self.max {
                self.too_long = true;
                return Err(io::Error::new(io::ErrorKind::InvalidData, "line too long"));
            }
        }
        Ok(count)
    }
}
