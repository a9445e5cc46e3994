//! The connections of an HTTP server: who comes in, how many at once, and what is said of those who do not.
//!
//! ```text
//! listener ▸ seat ▸ TLS ▸ requests ▸ guard ▸ seat kept
//! ```
//!
//! A connection has a seat from its first byte on. With all seats taken, one more connection ends another: the oldest one of the
//! host that has most of them, so that a host that floods ends its own. Those of which no request was authorised end
//! first, then the others; an open event stream stays. Silent connections, however many, keep no other out.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Request, Response};
use actix_rt::net::TcpStream;
use actix_server::Server;
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config,
};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Extensions, ServiceRequest};
use futures_util::task::AtomicWaker;
use heqis_core::{Clock, Counters, LogLimit};
use heqis_tls::{PeerIdentity, WebCertificate};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// Connections that the kernel holds before they are accepted.
const BACKLOG: i32 = 1024;

/// Who comes in. Clones share the seats.
#[derive(Clone)]
pub struct Connections(Arc<Inside>);

struct Inside {
    server: &'static str,
    tls: Option<WebCertificate>,
    most: usize,
    refused: Option<Counters<2>>,
    /// From the oldest to the newest.
    seats: Mutex<Vec<Arc<Seat>>>,
    log: Mutex<LogLimit>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connections").field(&self.0.server).finish()
    }
}

/// No request was authorised.
const OPEN: u8 = 0;
/// A request was authorised.
const AUTHORISED: u8 = 1;
/// It is an event stream.
const STREAM: u8 = 2;

/// A connection.
#[derive(Debug)]
pub struct Seat {
    host: Option<IpAddr>,
    /// The certificate that the peer has shown.
    peer: std::sync::OnceLock<PeerIdentity>,
    /// [`OPEN`], [`AUTHORISED`] or [`STREAM`].
    rank: AtomicU8,
    lost: AtomicBool,
    /// The task that reads and writes.
    waker: AtomicWaker,
}

impl Seat {
    /// Remembers that a request was authorised, so that connections without one are ended before this one.
    pub fn authorise(&self) {
        self.rank.fetch_max(AUTHORISED, Ordering::Relaxed);
    }

    /// Keeps the connection: it is an event stream.
    pub(crate) fn keep(&self) {
        self.rank.store(STREAM, Ordering::Relaxed);
    }

    fn lose(&self) {
        self.lost.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn is_lost(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.lost.load(Ordering::Acquire)
    }
}

/// Returns the seat of a request's connection.
#[must_use]
pub fn seat(request: &ServiceRequest) -> Option<&Arc<Seat>> {
    request.conn_data::<Arc<Seat>>()
}

/// How long connections may be silent.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the head of the first request.
    pub request: Duration,
    /// Between two requests.
    pub idle: Duration,
}

impl Connections {
    /// The connections of `server`, as the log and the metric name it: `most` at once, and plain HTTP without `tls`.
    #[must_use]
    pub fn new(server: &'static str, tls: Option<WebCertificate>, most: usize) -> Self {
        Self(Arc::new(Inside {
            server,
            tls,
            most,
            refused: None,
            seats: Mutex::default(),
            log: Mutex::new(LogLimit::new(Clock::real())),
        }))
    }

    /// Counts refused connections in a family with the labels `server` and `cause`.
    #[must_use]
    pub fn counters(self, refused: Option<Counters<2>>) -> Self {
        // Not shared yet.
        let inside = Arc::try_unwrap(self.0).map(|inside| Inside { refused, ..inside });
        Self(inside.map_or_else(|shared| shared, Arc::new))
    }

    /// Returns whether a connection belongs to a peer whose certificate is accepted now.
    #[must_use]
    pub fn is_certified(&self, seat: &Seat) -> bool {
        let tls = self.0.tls.as_ref();
        (seat.peer.get()).is_some_and(|peer| tls.is_some_and(|tls| tls.still_accepts(peer)))
    }

    /// Serves `app` to them. Must be called in an actix system.
    ///
    /// # Errors
    /// When there is no certificate to show, and what the system says.
    pub fn serve<F, A, S, B>(
        &self,
        listener: TcpListener,
        patience: Patience,
        app: F,
    ) -> io::Result<Server>
    where
        F: Fn() -> A + Send + Clone + 'static,
        A: IntoServiceFactory<S, Request>,
        S: ServiceFactory<Request, Config = AppConfig> + 'static,
        S::Error: Into<Error>,
        S::InitError: fmt::Debug,
        S::Response: Into<Response<B>>,
        B: MessageBody + 'static,
    {
        if let Some(tls) = &self.0.tls {
            tls.check().map_err(io::Error::other)?;
        }
        SockRef::from(&listener).listen(BACKLOG)?;
        let builder = Server::build()
            .workers(1)
            // Those that are ended leave a moment later.
            .max_concurrent_connections(2 * self.0.most)
            .disable_signals()
            .shutdown_timeout(1);
        let stopping = builder.graceful_shutdown_signal();
        let connections = self.clone();
        let builder = builder.listen(self.0.server, listener, move || {
            let (connections, stopping) = (connections.clone(), stopping.clone());
            let app = app().into_factory();
            let app = app.map_err(|error| error.into().error_response());
            let http = HttpService::build()
                .client_request_timeout(patience.request)
                .client_disconnect_timeout(patience.request)
                .keep_alive(patience.idle)
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .on_connect_ext(|guest: &Guest, data: &mut Extensions| {
                    data.insert(guest.seat.clone());
                })
                .h1(map_config(app, |()| AppConfig::default()));
            fn_service(move |stream: TcpStream| {
                let connections = connections.clone();
                async move { connections.enter(stream).await.map_err(DispatchError::Io) }
            })
            .and_then(http)
        })?;
        Ok(builder.run())
    }

    /// Gives a connection a seat and does its handshake.
    async fn enter(&self, stream: TcpStream) -> io::Result<(Guest, Option<SocketAddr>)> {
        let address = stream.peer_addr().ok();
        let Some(seat) = self.sit(address) else {
            self.refuse(address, "crowd", &"every seat is taken");
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        // From here on dropping it gives the seat back.
        let mut guest = Guest {
            stream: Box::new(tokio::io::empty()),
            seat,
            connections: self.clone(),
        };
        let Some(tls) = &self.0.tls else {
            guest.stream = Box::new(stream);
            return Ok((guest, address));
        };
        let seat = guest.seat.clone();
        let lost = std::future::poll_fn(|cx| match seat.is_lost(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        let shaken = tokio::select! {
            // Counted where it lost its seat.
            () = lost => return Err(io::ErrorKind::ConnectionAborted.into()),
            shaken = tokio::time::timeout(HANDSHAKE, tls.accept(stream)) => shaken,
        };
        match shaken {
            Ok(Ok((stream, peer))) => {
                if let Some(peer) = peer {
                    let _ = guest.seat.peer.set(peer);
                }
                guest.stream = Box::new(stream);
                Ok((guest, address))
            }
            Ok(Err(error)) => {
                self.refuse(address, error.cause(), &error);
                Err(io::Error::other(error))
            }
            Err(_) => {
                self.refuse(address, "timed_out", &"no handshake in time");
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }

    fn sit(&self, address: Option<SocketAddr>) -> Option<Arc<Seat>> {
        let seat = Arc::new(Seat {
            host: address.map(|address| address.ip()),
            peer: Default::default(),
            rank: AtomicU8::new(OPEN),
            lost: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        let mut seats = self.0.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let surplus = match seats.len() < self.0.most {
            true => None,
            false => {
                let place = surplus(&seats)?;
                Some(seats.remove(place))
            }
        };
        seats.push(seat.clone());
        drop(seats);
        if let Some(surplus) = surplus {
            surplus.lose();
            self.refuse(
                address,
                "crowd",
                &"another connection was closed to make room",
            );
        }
        Some(seat)
    }

    fn leave(&self, seat: &Arc<Seat>) {
        let mut seats = self.0.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|other| !Arc::ptr_eq(other, seat));
    }

    fn refuse(&self, peer: Option<SocketAddr>, cause: &'static str, reason: &dyn fmt::Display) {
        let server = self.0.server;
        if let Some(refused) = &self.0.refused {
            refused.of([server, cause]).inc();
        }
        let mut log = self.0.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(suppressed) = log.admit() {
            let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
            tracing::warn!(server, peer, cause, %reason, suppressed, "connection refused");
        }
    }
}

/// The place of the connection that ends when there is one too many; `None` when each is an event stream.
fn surplus(seats: &[Arc<Seat>]) -> Option<usize> {
    let rank = |seat: &Arc<Seat>| seat.rank.load(Ordering::Relaxed);
    let least = seats.iter().map(rank).min().filter(|rank| *rank < STREAM)?;
    let mut counts: HashMap<Option<IpAddr>, usize> = HashMap::new();
    for seat in seats.iter().filter(|seat| rank(seat) == least) {
        *counts.entry(seat.host).or_default() += 1;
    }
    let most = counts.values().max().copied();
    let floods = |seat: &Arc<Seat>| rank(seat) == least && counts.get(&seat.host).copied() == most;
    seats.iter().position(floods)
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

/// A connection with a seat.
struct Guest {
    stream: Box<dyn Duplex>,
    seat: Arc<Seat>,
    connections: Connections,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.connections.leave(&self.seat);
    }
}

impl Guest {
    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        match self.seat.is_lost(cx) {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn address(host: u8) -> Option<SocketAddr> {
        Some(SocketAddr::from(([10, 0, 0, host], 1)))
    }

    #[test]
    fn a_host_that_floods_ends_its_own_before_those_with_a_right() {
        let connections = Connections::new("page", None, 4);
        let sit = |host| connections.sit(address(host)).unwrap();
        let (other, first, authorised) = (sit(1), sit(2), sit(2));
        authorised.authorise();
        let flood: Vec<_> = (0..10).map(|_| sit(2)).collect();
        let lost = |seat: &Seat| seat.lost.load(Ordering::Relaxed);
        assert!(!lost(&other) && !lost(&authorised) && lost(&first));
        let ended = flood.iter().filter(|seat| lost(seat)).count();
        assert_eq!(ended, 8, "two of ten are left, next to the two others");
        // With each of them authorised the host with most of them ends one, and a stream is never ended.
        flood.iter().for_each(|seat| seat.authorise());
        other.authorise();
        other.keep();
        let third = sit(3);
        assert!(lost(&authorised) && !lost(&other));
        for seat in flood.iter().chain([&third]) {
            seat.keep();
        }
        assert!(connections.sit(address(4)).is_none());
        connections.leave(&other);
        assert!(connections.sit(address(4)).is_some());
    }
}
