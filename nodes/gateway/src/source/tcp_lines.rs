//! `tcp-lines`: bars as JSON or CSV lines from TCP clients, so that any feed can be plugged in; emits [`BarMessage`]s.
//!
//! One thread accepts, one thread per client reads; they send bars over a bounded channel. When the pipeline is full the
//! channel fills, the threads stop reading, and TCP makes the client wait. Dropping the source ends every thread.
//!
//! Counts `client`; `wrong_token` for clients without the token, `failed_handshake` for those without TLS; `refused_client` for clients above the limit, and for the oldest of 64
//! that have proved nothing when one more comes; `idle_client` for those that lost their place because
//! they sent no bar; `bad_line` for lines that are not bars, of these `bad_line_syntax`, `bad_line_value` and
//! `bad_line_torn` (the client left within it); `long_line` for clients cut off because a line of theirs was too
//! long. A client stays after a bad line, except when it is the CSV header, without which nothing after it can be
//! understood. `refused_symbol` counts bars of symbols that have no place, `future_bar` those of a day after tomorrow.
//! The notes `listen` and `symbols` say where the source listens and how many symbols have a place.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use heqis_actors::{BuildContext, Next, Note, Source, StageError};
use heqis_messages::BarMessage;
use socket2::SockRef;

use super::live::{LiveInput, LiveSender};
use super::live_config::outside;
use super::tcp_access::Access;
use super::tcp_client::{Client, Clients};
use super::tcp_config::{CLIENTS, LINE_BYTES, TcpLinesConfig};

/// Pause of the accepting thread when it cannot accept, for instance because the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Most clients that have not yet shown what is asked for.
const UNPROVED: usize = 64;

/// How long it waits before it tries again to listen at an address that no interface has yet.
const BIND_AGAIN: Duration = Duration::from_secs(1);

/// Reads bars from TCP clients.
#[derive(Debug)]
pub struct TcpLines {
    input: LiveInput,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
    end_on_close: bool,
}

/// What the threads share with the source.
#[derive(Debug)]
struct Shared {
    listening: Mutex<Listening>,
    note: Note,
    clients: Arc<Clients>,
}

/// Where the source listens.
#[derive(Debug)]
struct Listening {
    /// The address that was asked for; once there is a listener, the one that it has.
    address: SocketAddr,
    /// `None` while no interface has the address.
    listener: Option<Arc<TcpListener>>,
}

impl Source for TcpLines {
    type Config = TcpLinesConfig;
    type Out = BarMessage;
    const KIND: &'static str = "tcp-lines";
    const ABOUT: &'static str = "Takes bars as JSON or CSV lines from TCP clients.";
    const REPLAYABLE: bool = false;

    fn check(config: &TcpLinesConfig, base: &Path) -> Vec<String> {
        let idle = config.idle_timeout.0.is_zero();
        outside("max_clients", config.max_clients, CLIENTS)
            .into_iter()
            .chain(outside("max_line_bytes", config.max_line_bytes, LINE_BYTES))
            .chain(idle.then(|| "idle_timeout must be longer than nothing".to_owned()))
            .chain(Access::faults(config))
            .chain(config.live.faults(base))
            .collect()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a blocking accept has a thread, joined when the source is dropped"
    )]
    fn build(config: &TcpLinesConfig, cx: &BuildContext) -> Result<Self, StageError> {
        // Refuses the same where nothing was checked before, as in a test.
        let faults = Self::check(config, &cx.path(""));
        if !faults.is_empty() {
            return Err(StageError::Config(faults.join("; ")));
        }
        let fault =
            |error: io::Error| StageError::config(format!("listen on {}: {error}", config.listen));
        let access = Access::of(config, &cx.path(""))?;
        if Access::is_open(config) {
            tracing::warn!(stage = cx.stage(), listen = %config.listen, "bars are taken from other machines without TLS or without a token");
        }
        let (input, sender) = LiveInput::open(&config.live, cx)?;
        let shared = Arc::new(Shared {
            listening: Mutex::new(Listening {
                address: config.listen,
                listener: None,
            }),
            note: cx.note("listen"),
            clients: Arc::new(Clients::new(cx, access)),
        });
        // An address in use is a permanent fault. One that no interface has yet may appear with the network.
        let tried = shared.listen(cx.stage());
        if let Err(error) = tried
            && error.kind() != io::ErrorKind::AddrNotAvailable
        {
            return Err(fault(error));
        }
        let acceptor = std::thread::Builder::new()
            .name("tcp-lines".into())
            .spawn({
                let (shared, config) = (shared.clone(), config.clone());
                let stage = cx.stage().to_owned();
                move || {
                    if let Some(listener) = listener(&shared, &sender, &stage) {
                        accept(&listener, &shared, &config, &sender);
                    }
                }
            })
            .map_err(fault)?;
        Ok(Self {
            input,
            shared,
            acceptor: Some(acceptor),
            end_on_close: config.end_on_close,
        })
    }

    fn warm_up(&mut self) -> Result<Option<BarMessage>, StageError> {
        self.input.warm_up()
    }

    fn next(&mut self) -> Result<Next<BarMessage>, StageError> {
        // Read before the channel: a client that leaves in between has put its last bar there already.
        let gone = self.shared.clients.have_left();
        Ok(match self.input.next() {
            Next::Waiting if gone && self.end_on_close => Next::End,
            next => next,
        })
    }
}

impl TcpLines {
    /// Where the source listens; the port that was given where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.listening().address
    }
}

impl Drop for TcpLines {
    fn drop(&mut self) {
        self.input.close();
        let (address, listener) = {
            let listening = self.shared.listening();
            (listening.address, listening.listener.clone())
        };
        // Ends the wait for a client on Linux. Elsewhere a client has to come: this is one.
        if let Some(listener) = listener
            && (SockRef::from(&*listener).shutdown(Shutdown::Both).is_err()
                || !cfg!(target_os = "linux"))
        {
            let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
        }
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.thread().unpark();
            let _ = acceptor.join();
        }
        // The address is free as soon as the source is gone.
        self.shared.listening().listener = None;
    }
}

impl Shared {
    fn listening(&self) -> MutexGuard<'_, Listening> {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries to listen.
    fn listen(&self, stage: &str) -> io::Result<Arc<TcpListener>> {
        let asked = self.listening().address;
        let bound = TcpListener::bind(asked)
            .and_then(|listener| Ok((listener.local_addr()?, Arc::new(listener))));
        match bound {
            Ok((address, listener)) => {
                *self.listening() = Listening {
                    address,
                    listener: Some(listener.clone()),
                };
                self.note.set(address.to_string());
                tracing::info!(stage, %address, "listening for bars");
                Ok(listener)
            }
            Err(error) => {
                self.note.set(format!("waiting for {asked}: {error}"));
                Err(error)
            }
        }
    }
}

/// The listener, as soon as there is one; `None` when the source is dropped first. Whatever keeps it from listening by now
/// may pass.
fn listener(shared: &Shared, sender: &LiveSender, stage: &str) -> Option<Arc<TcpListener>> {
    let bound = shared.listening().listener.clone();
    if bound.is_some() {
        return bound;
    }
    loop {
        if sender.is_closed() {
            return None;
        }
        match shared.listen(stage) {
            Ok(listener) => return Some(listener),
            Err(error) => {
                if let Some(left_out) = shared.clients.admit_line() {
                    let address = shared.listening().address;
                    tracing::warn!(stage, %address, %error, suppressed = left_out, "cannot listen for bars yet, will retry");
                }
            }
        }
        std::thread::park_timeout(BIND_AGAIN);
    }
}

/// Accepts clients until the source is dropped; then ends those that are here.
fn accept(
    listener: &TcpListener,
    shared: &Arc<Shared>,
    config: &TcpLinesConfig,
    sender: &LiveSender,
) {
    let mut clients: Vec<Client> = Vec::new();
    let mut number = 0u64;
    // A source that was dropped before this thread had its listener gets no client that ends the wait.
    while !sender.is_closed() {
        let accepted = listener.accept();
        if sender.is_closed() {
            break;
        }
        clients.retain(|client| !client.is_finished());
        let started = accepted.and_then(|(stream, peer)| {
            let most = UNPROVED.max(config.max_clients);
            let mut unproved = clients.iter().filter(|client| client.is_unproved());
            // The oldest of those that have proved nothing makes room, so that silent connections keep no feed out.
            let surplus = unproved.next().filter(|_| unproved.count() + 1 >= UNPROVED);
            if let Some(oldest) = surplus {
                oldest.give_up_place();
                shared.clients.crowded(&peer, UNPROVED);
            }
            // One that lost its place may need a moment to end.
            let client = match clients.len() < 2 * most + 2 * config.max_clients {
                true => {
                    number += 1;
                    Client::start(stream, number, &shared.clients, config, sender)?
                }
                false => None,
            };
            if client.is_none() {
                shared.clients.crowded(&peer, config.max_clients);
            }
            Ok(client)
        });
        match started {
            Ok(client) => clients.extend(client),
            Err(error) => {
                if let Some(left_out) = shared.clients.admit_line() {
                    tracing::warn!(%error, suppressed = left_out, "a client cannot be accepted");
                }
                std::thread::park_timeout(ACCEPT_PAUSE);
            }
        }
    }
    for client in &clients {
        client.hang_up();
    }
    for client in clients {
        client.join();
    }
}
