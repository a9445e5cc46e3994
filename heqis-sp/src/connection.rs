//! A stream on which the handshake has been done.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::endpoint::Endpoint;
use crate::error::SpError;
use crate::framing::{self, Framing, HANDSHAKE_BYTES};
use crate::inproc::Inproc;
use crate::options::SocketOptions;
use crate::reader::Reader;
use crate::secure::{Duplex, PeerIdentity, SecureHandshake, SecureStream, Security};
use crate::stream::{Stream, tcp_socket};
use crate::writer::Writer;

/// A connection with a compatible peer.
pub struct Connection {
    reader: Reader,
    writer: Writer,
    peer: String,
    identity: Option<PeerIdentity>,
}

/// Which side of a TLS handshake this one takes.
pub(crate) type Handshake = fn(&Security, TcpStream) -> SecureHandshake;

/// Dials `endpoint` once and does the handshake.
///
/// Dialing again, with a [`Backoff`](super::Backoff), is the caller's loop: only the caller knows
/// when to stop.
///
/// # Errors
/// [`SpError::TimedOut`], [`SpError::Io`], [`SpError::Tls`], [`SpError::Handshake`],
/// [`SpError::PeerSpeaksTls`], [`SpError::Incompatible`], [`SpError::Closed`] when the peer left before its handshake, and [`SpError::InvalidOption`].
pub async fn connect(
    endpoint: &Endpoint,
    options: &SocketOptions,
    inproc: &Inproc,
) -> Result<Connection, SpError> {
    options.validate_for(endpoint)?;
    let connected = within("connect", options.connect_timeout, async {
        open(endpoint, options, inproc)
            .await
            .map_err(SpError::io(format!("connect to {endpoint}")))
    });
    let stream = connected.await?;
    let secure = |security: &Security, stream| security.connect(stream);
    Connection::establish(stream, endpoint, secure, endpoint.to_string(), options).await
}

async fn open(endpoint: &Endpoint, options: &SocketOptions, inproc: &Inproc) -> io::Result<Stream> {
    match endpoint {
        Endpoint::Tcp { host, port } | Endpoint::Tls { host, port } => {
            let mut last = io::ErrorKind::NotFound.into();
            for address in tokio::net::lookup_host((host.as_str(), *port)).await? {
                let socket = tcp_socket(address.is_ipv4(), options)?;
                match socket.connect(address).await {
                    Ok(stream) => return tcp(stream, options),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
        Endpoint::Ipc { path } => Stream::unix(UnixStream::connect(path).await?, options),
        Endpoint::Inproc { name } => {
            let pipe = inproc.dial(name, options.send_buffer_bytes as usize)?;
            Ok(Stream::Pipe(Box::new(pipe)))
        }
    }
}

/// Refuses a TCP stream that met itself: dialing a free local port can get that very port as
/// its own source, and the two ends of such a stream would complete a handshake.
fn tcp(stream: TcpStream, options: &SocketOptions) -> io::Result<Stream> {
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Stream::tcp(stream, options)
}

impl Connection {
    /// Does the handshake over a stream of the caller's, with the framing of tcp, such as one end of
    /// an in-memory pipe in a test.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn over<S>(stream: S, options: &SocketOptions) -> Result<Self, SpError>
    where
        S: Duplex + 'static,
    {
        options.validate()?;
        let stream = Stream::Pipe(Box::new(stream));
        let greeting = Self::greet(stream, false, "stream".to_owned(), options);
        within("handshake", options.handshake_timeout, greeting).await
    }

    /// Does the handshakes of a stream at `endpoint`: that of TLS as `secure` says, where it has one, and that of SP.
    pub(crate) async fn establish(
        stream: Stream,
        endpoint: &Endpoint,
        secure: Handshake,
        peer: String,
        options: &SocketOptions,
    ) -> Result<Self, SpError> {
        let ipc = matches!(endpoint, Endpoint::Ipc { .. });
        within("handshake", options.handshake_timeout, async {
            match (endpoint, stream, &options.security) {
                (Endpoint::Tls { .. }, Stream::Tcp(stream), Some(security)) => {
                    let SecureStream { stream, peer: name } = secure(security, stream).await?;
                    let stream = Stream::Pipe(stream);
                    let connection = Self::greet(stream, false, peer, options).await?;
                    Ok(Self {
                        identity: Some(name),
                        ..connection
                    })
                }
                (_, stream, _) => {
                    if let Stream::Unix(stream) = &stream {
                        check_user(stream)?;
                    }
                    Self::greet(stream, ipc, peer, options).await
                }
            }
        })
        .await
    }

    async fn greet(
        stream: Stream,
        ipc: bool,
        peer: String,
        options: &SocketOptions,
    ) -> Result<Self, SpError> {
        let (mut read, mut write) = stream.split();
        let ours = framing::handshake(options.protocol);
        let mut theirs = [0; HANDSHAKE_BYTES];
        // Both ways at once: the peer may also wait to be written to before it reads. What was read
        // counts first: a peer that refuses this side says so, and may close before it is written to.
        let (written, got) = tokio::join!(
            async {
                write.write_all(&ours).await?;
                write.flush().await
            },
            read.read_exact(&mut theirs),
        );
        got.and(written).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset => SpError::Closed,
            _ => SpError::io(format!("handshake with {peer}"))(source),
        })?;
        framing::check_handshake(options.protocol, theirs)?;
        let framing = Framing {
            protocol: options.protocol,
            ipc,
            max_frame_bytes: options.max_frame_bytes,
            max_hops: options.max_hops,
        };
        Ok(Self {
            reader: Reader::new(read, framing, options),
            writer: Writer::new(write, framing, options),
            peer,
            identity: None,
        })
    }

    /// Returns the peer's address as text, for logs.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Returns what the peer has proved about itself; `None` without TLS.
    pub fn identity(&self) -> Option<&PeerIdentity> {
        self.identity.as_ref()
    }

    /// Returns both halves, to be used independently. Dropping the writer signals to the peer that no
    /// further message follows; the connection ends when both are dropped.
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

/// Checks that the process at the other end is of the same user, or of root.
fn check_user(stream: &UnixStream) -> Result<(), SpError> {
    let of = |stream: &UnixStream| {
        let user = stream.peer_cred().map(|user| user.uid());
        user.map_err(SpError::io("ask for the user of a peer"))
    };
    // Both ends of this pair are this process.
    let pair = UnixStream::pair().map_err(SpError::io("make a pair of sockets"))?;
    let (uid, ours) = (of(stream)?, of(&pair.0)?);
    match uid == ours || uid == 0 {
        true => Ok(()),
        false => Err(SpError::ForeignUser { uid, ours }),
    }
}

async fn within<T>(
    action: &'static str,
    allowed: Duration,
    work: impl Future<Output = Result<T, SpError>>,
) -> Result<T, SpError> {
    timeout(allowed, work).await.unwrap_or_else(|_| {
        Err(SpError::TimedOut {
            action,
            after_ms: u64::try_from(allowed.as_millis()).unwrap_or(u64::MAX),
        })
    })
}
