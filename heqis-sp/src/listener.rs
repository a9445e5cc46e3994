//! Waiting for peers.

use std::collections::{HashMap, VecDeque};
use std::fs::Permissions;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::net::{TcpListener, UnixListener};

use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::error::SpError;
use crate::inproc::Inproc;
use crate::inproc::Listening;
use crate::options::SocketOptions;
use crate::secure::Security;
use crate::stream::{Stream, tcp_socket};

/// The connections that the kernel holds before they are accepted.
const BACKLOG: u32 = 128;

/// The handshakes under way at once. One more ends another, so that silent peers, however many, do
/// not keep others out: the oldest one of the host that has most of them, so that a host that
/// floods ends its own.
const HANDSHAKES: usize = 256;

/// A peer that has not completed its handshake.
struct Pending {
    /// Its host; `None` on this machine's own kinds of endpoint.
    host: Option<IpAddr>,
    handshake: Pin<Box<dyn Future<Output = Result<Connection, SpError>> + Send>>,
}

/// A bound endpoint that accepts peers. Dropping it frees the endpoint.
pub struct Listener {
    acceptor: Acceptor,
    endpoint: Endpoint,
    options: SocketOptions,
    /// From the oldest to the newest.
    handshakes: VecDeque<Pending>,
}

enum Acceptor {
    Tcp(TcpListener),
    Ipc(UnixListener, SocketFile),
    Inproc(Listening),
}

/// The socket file of an ipc listener, removed on drop.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // An error cannot be reported here; a stale file is removed by the next bind.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Binds `endpoint`. A socket file without a listener is replaced; any other file is not.
    ///
    /// # Errors
    /// [`SpError::Io`] when the endpoint is taken or cannot be had, and [`SpError::InvalidOption`].
    pub async fn bind(
        endpoint: &Endpoint,
        options: SocketOptions,
        inproc: &Inproc,
    ) -> Result<Self, SpError> {
        options.validate_for(endpoint)?;
        let (acceptor, endpoint) = open(endpoint, &options, inproc)
            .await
            .map_err(SpError::io(format!("bind {endpoint}")))?;
        Ok(Self {
            acceptor,
            endpoint,
            options,
            handshakes: VecDeque::new(),
        })
    }

    /// Returns the endpoint as bound: where port 0 was asked for, with the port that was given.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns the next peer that has completed its handshake.
    ///
    /// Handshakes run side by side, inside this call: call it in a loop. Cancel-safe.
    ///
    /// # Errors
    /// As [`connect`](super::connect), for the one peer that failed. The listener stays usable
    /// after every error: count it and call again, after a pause when it is [`SpError::Io`],
    /// which can mean that the process is out of file descriptors.
    pub async fn accept(&mut self) -> Result<Connection, SpError> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection, SpError>> {
        let mut first = 0;
        loop {
            for index in first..self.handshakes.len() {
                if let Poll::Ready(done) = self.handshakes[index].handshake.as_mut().poll(cx) {
                    drop(self.handshakes.remove(index));
                    return Poll::Ready(done);
                }
            }
            let accepted = ready!(self.acceptor.poll_accept(cx, &self.options));
            let (stream, peer, host) =
                accepted.map_err(SpError::io(format!("accept on {}", self.endpoint)))?;
            let (endpoint, options) = (self.endpoint.clone(), self.options.clone());
            let handshake = Box::pin(async move {
                let secure = |security: &Security, stream| security.accept(stream);
                let made =
                    Connection::establish(stream, &endpoint, secure, peer.clone(), &options).await;
                made.map_err(|error| match error {
                    SpError::Tls {
                        cause,
                        reason,
                        of_peer,
                    } => SpError::Tls {
                        cause,
                        reason: format!("{peer}: {reason}"),
                        of_peer,
                    },
                    other => other,
                })
            });
            if self.handshakes.len() == HANDSHAKES {
                self.handshakes.remove(self.surplus());
                self.handshakes.push_back(Pending { host, handshake });
                // The new one is polled by the next call, which the caller makes at once.
                let limit = HANDSHAKES;
                return Poll::Ready(Err(SpError::Crowded { limit }));
            }
            // Those before it wait for their peers.
            first = self.handshakes.len();
            self.handshakes.push_back(Pending { host, handshake });
        }
    }

    /// The place of the handshake that ends when there is one too many.
    fn surplus(&self) -> usize {
        let mut counts: HashMap<Option<IpAddr>, usize> = HashMap::new();
        for pending in &self.handshakes {
            *counts.entry(pending.host).or_default() += 1;
        }
        let most = counts.values().max().copied().unwrap_or(0);
        let floods = |pending: &Pending| counts.get(&pending.host) == Some(&most);
        self.handshakes.iter().position(floods).unwrap_or(0)
    }
}

impl Acceptor {
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
        options: &SocketOptions,
    ) -> Poll<io::Result<(Stream, String, Option<IpAddr>)>> {
        Poll::Ready(match self {
            Self::Tcp(listener) => {
                let (stream, address) = ready!(listener.poll_accept(cx))?;
                let peer = format!("tcp://{address}");
                Ok((Stream::tcp(stream, options)?, peer, Some(address.ip())))
            }
            Self::Ipc(listener, file) => {
                // The dialing side of a Unix-domain socket has no address of its own.
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                let peer = format!("ipc://{}", file.0.display());
                Ok((Stream::unix(stream, options)?, peer, None))
            }
            Self::Inproc(listening) => match ready!(listening.dialers.poll_recv(cx)) {
                Some(pipe) => {
                    let peer = format!("inproc://{}", listening.name());
                    Ok((Stream::Pipe(Box::new(pipe)), peer, None))
                }
                None => Err(io::ErrorKind::NotConnected.into()),
            },
        })
    }
}

async fn open(
    endpoint: &Endpoint,
    options: &SocketOptions,
    inproc: &Inproc,
) -> io::Result<(Acceptor, Endpoint)> {
    match endpoint {
        Endpoint::Tcp { host, port } => {
            let listener = bind_tcp(host, *port, options).await?;
            let bound = Endpoint::Tcp {
                host: host.clone(),
                port: listener.local_addr()?.port(),
            };
            Ok((Acceptor::Tcp(listener), bound))
        }
        Endpoint::Tls { host, port } => {
            let listener = bind_tcp(host, *port, options).await?;
            let bound = Endpoint::Tls {
                host: host.clone(),
                port: listener.local_addr()?.port(),
            };
            Ok((Acceptor::Tcp(listener), bound))
        }
        Endpoint::Ipc { path } => {
            let listener = bind_ipc(path).await?;
            let file = SocketFile(path.clone());
            Ok((Acceptor::Ipc(listener, file), endpoint.clone()))
        }
        Endpoint::Inproc { name } => {
            let listening = inproc.listen(name)?;
            Ok((Acceptor::Inproc(listening), endpoint.clone()))
        }
    }
}

async fn bind_tcp(host: &str, port: u16, options: &SocketOptions) -> io::Result<TcpListener> {
    let mut last = io::ErrorKind::NotFound.into();
    for address in tokio::net::lookup_host((host, port)).await? {
        let socket = tcp_socket(address.is_ipv4(), options)?;
        // A restarted node must get its port back while old connections fade out.
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Binds a socket file that only this user can open. Until its mode is set others may; the user of each peer is checked too.
async fn bind_ipc(path: &Path) -> io::Result<UnixListener> {
    let listener = bind_fresh(path).await?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn bind_fresh(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path).await => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        other => other,
    }
}

/// Returns whether `path` is a socket without a listener.
async fn is_stale(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if !is_socket {
        return false;
    }
    match tokio::net::UnixStream::connect(path).await {
        Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        Ok(_) => false,
    }
}
