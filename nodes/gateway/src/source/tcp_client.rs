//! A client of `tcp-lines`: the thread that reads it, and what ends it.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use heqis_actors::{BuildContext, Counter, LogLimit};
use heqis_data::{BarReader, TableOptions};
use heqis_quant::{Bar, QuantError};
use socket2::{SockRef, TcpKeepalive};

use super::bad_input::{BadInput, Reason};
use super::json_bar::json_bar;
use super::live::LiveSender;
use super::tcp_access::{Access, NoAccess};
use super::tcp_config::{LineFormat, TcpLinesConfig};
use super::whole_lines::{End, WholeLines};

/// A client whose machine died is noticed after about this long and two minutes; otherwise it would hold its place.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// In place of the time of the last bar, while the client waits for room in the channel: it is the pipeline that is slow.
const WAITING: u64 = u64::MAX;

/// All clients of a source: how many there are, and what they cause.
#[derive(Debug)]
pub(super) struct Clients {
    /// Clients that have ever connected, and those that are connected.
    came: AtomicUsize,
    here: AtomicUsize,
    client: Counter,
    idle: Counter,
    wrong_token: Counter,
    failed_handshake: Counter,
    access: Access,
    refused: Counter,
    /// Those that have a place.
    places: Mutex<Vec<Arc<Seat>>>,
    long_line: Counter,
    bad_lines: BadInput,
    /// Limits lines about anything but bad lines.
    log: Mutex<LogLimit>,
}

impl Clients {
    pub(super) fn new(cx: &BuildContext, access: Access) -> Self {
        Self {
            came: AtomicUsize::new(0),
            here: AtomicUsize::new(0),
            client: cx.counter("client"),
            idle: cx.counter("idle_client"),
            wrong_token: cx.counter("wrong_token"),
            failed_handshake: cx.counter("failed_handshake"),
            access,
            refused: cx.counter("refused_client"),
            places: Mutex::default(),
            long_line: cx.counter("long_line"),
            bad_lines: BadInput::new(cx, "bad_line"),
            log: Mutex::new(LogLimit::new(cx.clock().clone())),
        }
    }

    /// Whether clients must prove something before they have a place.
    pub(super) fn is_asked(&self) -> bool {
        self.access.is_asked()
    }

    /// Gives a client a place: there is one, or the client that has been silent longest has lost its own.
    fn admit(&self, seat: &Arc<Seat>, config: &TcpLinesConfig) -> bool {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|other| other.is_here());
        if places.len() >= config.max_clients {
            let silent = places
                .iter()
                .filter_map(|other| Some((other.silent_for()?, other)))
                .max_by_key(|(silent, _)| *silent);
            match silent {
                Some((silent, other)) if silent >= config.idle_timeout.0 => other.give_up_place(),
                _ => return false,
            }
        }
        // Here before it has come: in between, the source must not think that all have left.
        self.here.fetch_add(1, Ordering::AcqRel);
        self.came.fetch_add(1, Ordering::AcqRel);
        seat.admitted.store(true, Ordering::Release);
        self.client.inc();
        places.push(seat.clone());
        true
    }

    /// Counts a client for which there is no place.
    pub(super) fn crowded(&self, peer: &dyn std::fmt::Display, max: usize) {
        self.refused.inc();
        if let Some(left_out) = self.admit_line() {
            tracing::warn!(%peer, max, suppressed = left_out, "client refused: too many are here");
        }
    }

    /// Returns whether a client has had a place and none has one now.
    pub(super) fn have_left(&self) -> bool {
        self.came.load(Ordering::Acquire) > 0 && self.here.load(Ordering::Acquire) == 0
    }

    /// Returns the number of lines left out when another line about clients may be written.
    pub(super) fn admit_line(&self) -> Option<u64> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.admit()
    }
}

/// A client and the thread that reads it.
#[derive(Debug)]
pub(super) struct Client {
    seat: Arc<Seat>,
    thread: JoinHandle<()>,
}

/// What the accepting thread and the reading thread know of a client.
#[derive(Debug)]
struct Seat {
    /// A second handle, to hang up with. The reading thread takes it away when it ends, so that the connection is really
    /// closed then and the client's next write fails.
    stream: Mutex<Option<TcpStream>>,
    came: Instant,
    /// When the last bar was handed over, milliseconds after the client came; [`WAITING`] while one is handed over.
    last_ms: AtomicU64,
    /// Whether there was a bar.
    spoke: AtomicBool,
    /// Whether it has shown what is asked for, and has had a place.
    admitted: AtomicBool,
    /// Whether its place was taken away.
    idle: AtomicBool,
    gone: AtomicBool,
}

impl Seat {
    fn is_here(&self) -> bool {
        !self.gone.load(Ordering::Acquire) && !self.idle.load(Ordering::Acquire)
    }

    /// How long it has sent no bar; `None` while the pipeline makes it wait.
    fn silent_for(&self) -> Option<Duration> {
        let last_ms = self.last_ms.load(Ordering::Acquire);
        let last = Duration::from_millis(last_ms);
        (last_ms != WAITING).then(|| self.came.elapsed().saturating_sub(last))
    }

    /// Ends it because another client needs its place.
    fn give_up_place(&self) {
        self.idle.store(true, Ordering::Release);
        self.hang_up();
    }

    /// Ends it: its thread reads no further.
    fn hang_up(&self) {
        let stream = self.stream.lock();
        if let Some(stream) = &*stream.unwrap_or_else(PoisonError::into_inner) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Client {
    /// Starts the thread that reads a client; `None` where it needs no proof and there is no place.
    #[expect(
        clippy::disallowed_methods,
        reason = "a blocking read has a thread that ends with its connection, whose age is in real time"
    )]
    pub(super) fn start(
        stream: TcpStream,
        number: u64,
        shared: &Arc<Clients>,
        config: &TcpLinesConfig,
        sender: &LiveSender,
    ) -> io::Result<Option<Self>> {
        SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
        let seat = Arc::new(Seat {
            stream: Mutex::new(Some(stream.try_clone()?)),
            came: Instant::now(),
            last_ms: AtomicU64::new(0),
            spoke: AtomicBool::new(false),
            admitted: AtomicBool::new(false),
            idle: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        });
        if !shared.is_asked() && !shared.admit(&seat, config) {
            return Ok(None);
        }
        // Made here, so that a thread that cannot be started gives the place back too.
        let reading = Reading {
            stream,
            seat: seat.clone(),
            shared: shared.clone(),
            sender: sender.clone(),
        };
        let config = config.clone();
        std::thread::Builder::new()
            .name(format!("tcp-lines-{number}"))
            .spawn(move || reading.serve(&config))
            .map(|thread| Some(Self { seat, thread }))
    }

    /// Whether its thread has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Whether it is connected and has not shown what is asked for.
    pub(super) fn is_unproved(&self) -> bool {
        self.seat.is_here() && !self.seat.admitted.load(Ordering::Acquire)
    }

    /// Ends it: its thread reads no further.
    pub(super) fn hang_up(&self) {
        self.seat.hang_up();
    }

    /// Ends it because another client needs its place.
    pub(super) fn give_up_place(&self) {
        self.seat.give_up_place();
    }

    pub(super) fn join(self) {
        let _ = self.thread.join();
    }
}

/// What the reading thread holds. However the thread ends, dropping it closes the connection and gives the place back.
struct Reading {
    stream: TcpStream,
    seat: Arc<Seat>,
    shared: Arc<Clients>,
    sender: LiveSender,
}

impl Drop for Reading {
    fn drop(&mut self) {
        let stream = self.seat.stream.lock();
        stream.unwrap_or_else(PoisonError::into_inner).take();
        self.seat.gone.store(true, Ordering::Release);
        if self.seat.admitted.load(Ordering::Acquire) {
            self.shared.here.fetch_sub(1, Ordering::AcqRel);
        }
        self.sender.wake();
    }
}

impl Reading {
    /// Reads the client to its end.
    fn serve(self, config: &TcpLinesConfig) {
        let Self {
            stream,
            seat,
            shared,
            sender,
        } = &self;
        let peer = stream
            .peer_addr()
            .map_or_else(|_| "client".to_owned(), |peer| peer.to_string());
        let patient = Patient {
            stream,
            seat,
            idle_timeout: config.idle_timeout.0,
        };
        let stream = match shared.access.open(patient) {
            Ok(stream) => stream,
            Err(no_access) => return self.refuse(&peer, &no_access),
        };
        if shared.is_asked() && !shared.admit(seat, config) {
            return shared.crowded(&peer, config.max_clients);
        }
        let mut lines = WholeLines::new(stream, config.max_line_bytes);
        let mut hand_over = |bar| {
            seat.last_ms.store(WAITING, Ordering::Release);
            let taken = sender.send(bar);
            let elapsed = u64::try_from(seat.came.elapsed().as_millis()).unwrap_or(WAITING - 1);
            seat.last_ms.store(elapsed, Ordering::Release);
            seat.spoke.store(true, Ordering::Release);
            taken
        };
        match config.format {
            LineFormat::Json => json_lines(&mut lines, &peer, &shared.bad_lines, &mut hand_over),
            LineFormat::Csv => csv_lines(&mut lines, &peer, &shared.bad_lines, &mut hand_over),
        }
        let idle = seat.idle.load(Ordering::Acquire);
        match lines.end() {
            _ if sender.is_closed() => {}
            _ if idle => {
                shared.idle.inc();
                if let Some(left_out) = shared.admit_line() {
                    let spoke = seat.spoke.load(Ordering::Acquire);
                    tracing::warn!(%peer, spoke, suppressed = left_out, "client cut off: it sends no bar");
                }
            }
            Some(End::Torn(bytes)) => {
                shared.bad_lines.take(
                    Reason::Torn,
                    &format!("{peer}: the last line, {bytes} bytes, has no line end"),
                );
            }
            Some(End::TooLong) => {
                shared.long_line.inc();
                if let Some(left_out) = shared.admit_line() {
                    tracing::warn!(%peer, max = config.max_line_bytes, suppressed = left_out, "client cut off: its line is too long");
                }
            }
            _ => {}
        }
    }
}

impl Reading {
    /// Counts a client that may not send bars.
    fn refuse(&self, peer: &str, no_access: &NoAccess) {
        let (counter, reason) = match no_access {
            _ if self.sender.is_closed() => return,
            NoAccess::Token => (
                &self.shared.wrong_token,
                "its first line is not the token".to_owned(),
            ),
            NoAccess::Connection(error) => (&self.shared.failed_handshake, error.to_string()),
        };
        counter.inc();
        if let Some(left_out) = self.shared.admit_line() {
            tracing::warn!(%peer, reason, suppressed = left_out, "client refused");
        }
    }
}

/// Reads from a client, and gives up one that has sent no bar in time, also when it sends a byte now and then.
struct Patient<'a> {
    stream: &'a TcpStream,
    seat: &'a Seat,
    idle_timeout: Duration,
}

impl Read for Patient<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.stream;
        loop {
            let wait = if self.seat.spoke.load(Ordering::Acquire) {
                None
            } else {
                let left = self.idle_timeout.saturating_sub(self.seat.came.elapsed());
                if left.is_zero() {
                    self.seat.idle.store(true, Ordering::Release);
                    return Err(ErrorKind::TimedOut.into());
                }
                Some(left)
            };
            stream.set_read_timeout(wait)?;
            match stream.read(out) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                other => return other,
            }
        }
    }
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self.stream).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&mut &*self.stream).flush()
    }
}

fn json_lines(
    lines: &mut WholeLines<Box<dyn Read + '_>>,
    peer: &str,
    bad_lines: &BadInput,
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
    lines: &mut WholeLines<Box<dyn Read + '_>>,
    peer: &str,
    bad_lines: &BadInput,
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
