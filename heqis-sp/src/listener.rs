//! Waiting for peers.

use std::future::{Future, poll_fn};
use std::io;
use std::os::unix::fs::FileTypeExt;
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
use crate::stream::{Stream, tcp_socket};

/// The connections that the kernel holds before they are accepted.
const BACKLOG: u32 = 128;

/// The handshakes under way at once. A peer that stays silent takes one place until its handshake
/// times out; it does not keep the others out.
const HANDSHAKES: usize = 64;

type Handshake = Pin<Box<dyn Future<Output = Result<Connection, SpError>> + Send>>;

/// A bound endpoint that accepts peers. Dropping it frees the endpoint.
pub struct Listener {
    acceptor: Acceptor,
    endpoint: Endpoint,
    options: SocketOptions,
    handshakes: Vec<Handshake>,
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
        options.validate()?;
        let (acceptor, endpoint) = open(endpoint, &options, inproc)
            .await
            .map_err(SpError::io(format!("bind {endpoint}")))?;
        Ok(Self {
            acceptor,
            endpoint,
            options,
            handshakes: Vec::new(),
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
        while self.handshakes.len() < HANDSHAKES {
            let Poll::Ready(accepted) = self.acceptor.poll_accept(cx, &self.options) else {
                break;
            };
            let (stream, peer) =
                accepted.map_err(SpError::io(format!("accept on {}", self.endpoint)))?;
            let ipc = matches!(self.endpoint, Endpoint::Ipc { .. });
            let options = self.options.clone();
            self.handshakes.push(Box::pin(async move {
                Connection::establish(stream, ipc, peer, &options).await
            }));
        }
        for index in 0..self.handshakes.len() {
            if let Poll::Ready(done) = self.handshakes[index].as_mut().poll(cx) {
                drop(self.handshakes.swap_remove(index));
                return Poll::Ready(done);
            }
        }
        Poll::Pending
    }
}

impl Acceptor {
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
        options: &SocketOptions,
    ) -> Poll<io::Result<(Stream, String)>> {
        Poll::Ready(match self {
            Self::Tcp(listener) => {
                let (stream, address) = ready!(listener.poll_accept(cx))?;
                Ok((Stream::tcp(stream, options)?, format!("tcp://{address}")))
            }
            Self::Ipc(listener, file) => {
                // The dialing side of a Unix-domain socket has no address of its own.
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                let peer = format!("ipc://{}", file.0.display());
                Ok((Stream::unix(stream, options)?, peer))
            }
            Self::Inproc(listening) => match ready!(listening.dialers.poll_recv(cx)) {
                Some(pipe) => {
                    let peer = format!("inproc://{}", listening.name());
                    Ok((Stream::Pipe(Box::new(pipe)), peer))
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

async fn bind_ipc(path: &Path) -> io::Result<UnixListener> {
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
