//! `tcp-lines`: bars as JSON or CSV lines from TCP clients, so that any feed can be plugged in; emits [`BarMessage`]s.
//!
//! One thread accepts, one thread a client reads; they hand bars over a bounded channel. When the pipeline is full the
//! channel fills, the threads stop reading, and TCP makes the client wait. Dropping the source ends every thread.
//!
//! Counts `client`; `refused_client` for clients above the limit; `bad_line` for lines that are no bars, of these
//! `bad_line_syntax`, `bad_line_value` and `bad_line_torn` (the client left in the middle of it); `long_line` for clients
//! cut off because a line of theirs was too long. A client stays after a bad line, except when it is the CSV header,
//! without which nothing after it can be understood. `refused_symbol` counts bars of symbols above the limit, `future_bar`
//! those of a day after tomorrow.

use std::io::{self, BufRead as _, BufReader};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use heqis_actors::{BuildContext, Counter, Next, Source, StageError, Waker};
use heqis_messages::BarMessage;
use heqis_quant::{Bar, BarReader, QuantError, TableOptions};
use schemars::JsonSchema;
use serde::Deserialize;
use socket2::{SockRef, TcpKeepalive};

use super::bad_input::{BadInput, Reason};
use super::json_bar::json_bar;
use super::live::LiveGate;
use super::whole_lines::{End, WholeLines};
use crate::log_limit::LogLimit;

/// Bars that wait between the reading threads and the pipeline.
const CHANNEL: usize = 256;

/// Least and most that may be asked for: a CSV header needs about the least, and every client costs a thread and a line.
const LINE_BYTES: (usize, usize) = (64, 1_048_576);
const CLIENTS: (usize, usize) = (1, 256);
const SYMBOLS: (usize, usize) = (1, 1_000_000);

/// A client whose machine died is noticed after about this long and two minutes; otherwise it would hold its place.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How long the accepting thread rests when it cannot accept, for instance because the process has no descriptor left.
const REST: Duration = Duration::from_millis(100);

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
    #[schemars(range(min = LINE_BYTES.0, max = LINE_BYTES.1))]
    pub max_line_bytes: usize,
    /// Most clients at once; further ones are refused.
    #[serde(default = "max_clients")]
    #[schemars(range(min = CLIENTS.0, max = CLIENTS.1))]
    pub max_clients: usize,
    /// Most symbols over the life of the source; bars of further ones are refused, because every stage keeps something
    /// for each symbol.
    #[serde(default = "max_symbols")]
    #[schemars(range(min = SYMBOLS.0, max = SYMBOLS.1))]
    pub max_symbols: usize,
    /// Whether the source ends when its last client has left.
    #[serde(default)]
    pub end_on_close: bool,
}

fn max_symbols() -> usize {
    10_000
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
    /// `None` only while the source is dropped.
    bars: Option<Receiver<Bar>>,
    shared: Arc<Shared>,
    listener: Arc<TcpListener>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
    end_on_close: bool,
    gate: LiveGate,
}

/// What the threads share with the source.
#[derive(Debug)]
struct Shared {
    stopping: AtomicBool,
    /// Clients that have come, and those that are here.
    came: AtomicUsize,
    here: AtomicUsize,
    waker: Waker,
    client: Counter,
    refused: Counter,
    long_line: Counter,
    /// Cloned for each client, so that one that sends garbage does not silence the log for others.
    bad_lines: BadInput,
}

impl Source for TcpLines {
    type Config = TcpLinesConfig;
    type Out = BarMessage;
    const KIND: &'static str = "tcp-lines";
    const ABOUT: &'static str = "Takes bars as JSON or CSV lines from TCP clients.";
    const REPLAYABLE: bool = false;

    fn check(config: &TcpLinesConfig, _: &Path) -> Vec<String> {
        [
            ("max_clients", config.max_clients, CLIENTS),
            ("max_line_bytes", config.max_line_bytes, LINE_BYTES),
            ("max_symbols", config.max_symbols, SYMBOLS),
        ]
        .into_iter()
        .filter(|(_, value, (min, max))| !(*min..=*max).contains(value))
        .map(|(name, value, (min, max))| format!("{name} is {value}, it must lie in {min}..={max}"))
        .collect()
    }

    fn build(config: &TcpLinesConfig, cx: &BuildContext) -> Result<Self, StageError> {
        // A graph built by hand has not asked.
        let faults = Self::check(config, Path::new(""));
        if !faults.is_empty() {
            return Err(StageError::Config(faults.join("; ")));
        }
        let fault =
            |error: io::Error| StageError::config(format!("listen on {}: {error}", config.listen));
        let listener = Arc::new(TcpListener::bind(config.listen).map_err(fault)?);
        let address = listener.local_addr().map_err(fault)?;
        tracing::info!(stage = cx.stage(), %address, "listening for bars");
        let (sender, bars) = sync_channel(CHANNEL);
        let shared = Arc::new(Shared {
            stopping: AtomicBool::new(false),
            came: AtomicUsize::new(0),
            here: AtomicUsize::new(0),
            waker: cx.waker(),
            client: cx.counter("client"),
            refused: cx.counter("refused_client"),
            long_line: cx.counter("long_line"),
            bad_lines: BadInput::new(cx, "bad_line"),
        });
        let acceptor = std::thread::Builder::new()
            .name("tcp-lines".into())
            .spawn({
                let (listener, shared, config) = (listener.clone(), shared.clone(), config.clone());
                move || accept(&listener, &shared, &config, &sender)
            })
            .map_err(fault)?;
        Ok(Self {
            bars: Some(bars),
            shared,
            listener,
            address,
            acceptor: Some(acceptor),
            end_on_close: config.end_on_close,
            gate: LiveGate::new(cx, config.max_symbols),
        })
    }

    fn next(&mut self) -> Result<Next<BarMessage>, StageError> {
        let Some(bars) = &self.bars else {
            return Ok(Next::End);
        };
        // Looked at before the channel: a client that leaves in between has put its last bar there already.
        let gone = self.shared.came.load(Ordering::Acquire) > 0
            && self.shared.here.load(Ordering::Acquire) == 0;
        loop {
            return Ok(match bars.try_recv() {
                Ok(bar) if self.gate.admit(&bar) => Next::Item(BarMessage(bar)),
                Ok(_) => continue,
                Err(TryRecvError::Empty) if gone && self.end_on_close => Next::End,
                Err(TryRecvError::Empty) => Next::Waiting,
                Err(TryRecvError::Disconnected) => Next::End,
            });
        }
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
        // A reading thread that waits for room in the channel sees that nobody will make any.
        self.bars = None;
        // Ends the wait for a client on Linux. Elsewhere somebody has to come: this is somebody.
        if SockRef::from(&*self.listener)
            .shutdown(Shutdown::Both)
            .is_err()
            || !cfg!(target_os = "linux")
        {
            let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        }
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.thread().unpark();
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// A client and the thread that reads it.
struct Client {
    stream: TcpStream,
    thread: JoinHandle<()>,
}

/// Accepts clients until the source is dropped; then ends those that are here.
fn accept(
    listener: &TcpListener,
    shared: &Arc<Shared>,
    config: &TcpLinesConfig,
    bars: &SyncSender<Bar>,
) {
    let mut clients: Vec<Client> = Vec::new();
    let mut log = LogLimit::new();
    let mut number = 0u64;
    loop {
        let accepted = listener.accept();
        if shared.stopping() {
            break;
        }
        // Those who left have ended their threads; their sockets are let go of here.
        clients.retain(|client| !client.thread.is_finished());
        let started = accepted.and_then(|(stream, peer)| {
            if shared.here.load(Ordering::Acquire) >= config.max_clients {
                shared.refused.inc();
                if log.admit() {
                    tracing::warn!(%peer, max = config.max_clients, "client refused: too many are here");
                }
                return Ok(None);
            }
            number += 1;
            start(stream, number, shared, config, bars).map(Some)
        });
        match started {
            Ok(client) => clients.extend(client),
            Err(error) => {
                if log.admit() {
                    tracing::warn!(%error, "a client cannot be accepted");
                }
                std::thread::park_timeout(REST);
            }
        }
    }
    for client in &clients {
        let _ = client.stream.shutdown(Shutdown::Both);
    }
    for client in clients {
        let _ = client.thread.join();
    }
}

/// Starts the thread that reads a client.
fn start(
    stream: TcpStream,
    number: u64,
    shared: &Arc<Shared>,
    config: &TcpLinesConfig,
    bars: &SyncSender<Bar>,
) -> io::Result<Client> {
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    let reading = stream.try_clone()?;
    // Here before it has come: in between, the source must not think that everybody has left.
    shared.here.fetch_add(1, Ordering::AcqRel);
    shared.came.fetch_add(1, Ordering::AcqRel);
    shared.client.inc();
    let spawned = std::thread::Builder::new()
        .name(format!("tcp-lines-{number}"))
        .spawn({
            let (shared, bars, config) = (shared.clone(), bars.clone(), config.clone());
            move || {
                serve(&reading, &shared, &config, &bars);
                // The accepting thread holds the socket too; the client is told at once.
                let _ = reading.shutdown(Shutdown::Both);
                shared.here.fetch_sub(1, Ordering::AcqRel);
                shared.waker.wake();
            }
        });
    if spawned.is_err() {
        shared.here.fetch_sub(1, Ordering::AcqRel);
    }
    spawned.map(|thread| Client { stream, thread })
}

/// Reads one client to its end.
fn serve(stream: &TcpStream, shared: &Shared, config: &TcpLinesConfig, bars: &SyncSender<Bar>) {
    let peer = stream
        .peer_addr()
        .map_or_else(|_| "client".to_owned(), |peer| peer.to_string());
    let mut bad_lines = shared.bad_lines.clone();
    let mut lines = WholeLines::new(stream, config.max_line_bytes);
    // Waits while the channel is full; that is the back-pressure. Nobody listens once the source is dropped.
    let mut hand_over = |bar| {
        let taken = bars.send(bar).is_ok();
        shared.waker.wake();
        taken
    };
    match config.format {
        LineFormat::Json => json_lines(&mut lines, &peer, &mut bad_lines, &mut hand_over),
        LineFormat::Csv => csv_lines(&mut lines, &peer, &mut bad_lines, &mut hand_over),
    }
    match lines.end() {
        Some(End::Torn(bytes)) if !shared.stopping() => {
            bad_lines.take(
                Reason::Torn,
                &format!("{peer}: the last line, {bytes} bytes, has no line end"),
            );
        }
        Some(End::TooLong) => {
            shared.long_line.inc();
            tracing::warn!(%peer, max = config.max_line_bytes, "client cut off: its line is too long");
        }
        _ => {}
    }
}

fn json_lines(
    lines: &mut WholeLines<&TcpStream>,
    peer: &str,
    bad_lines: &mut BadInput,
    hand_over: &mut dyn FnMut(Bar) -> bool,
) {
    let mut lines = BufReader::new(lines);
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        // The lines never fail: whatever breaks them looks like their end.
        if lines.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
            return;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match json_bar(&line) {
            Ok(bar) => {
                if !hand_over(bar) {
                    return;
                }
            }
            Err(error) => {
                bad_lines.take((&error).into(), &format!("{peer} line {number}: {error}"))
            }
        }
    }
}

fn csv_lines(
    lines: &mut WholeLines<&TcpStream>,
    peer: &str,
    bad_lines: &mut BadInput,
    hand_over: &mut dyn FnMut(Bar) -> bool,
) {
    let rows = match BarReader::live(&mut *lines, TableOptions::default(), peer) {
        Ok(rows) => rows,
        // A client that came and said nothing has sent no bad line.
        Err(QuantError::Header { got, .. }) if got.is_empty() => return,
        Err(error) => return bad_lines.take((&error).into(), &error),
    };
    for row in rows {
        match row {
            Ok(bar) => {
                if !hand_over(bar) {
                    return;
                }
            }
            Err(error) => bad_lines.take((&error).into(), &error),
        }
    }
}
