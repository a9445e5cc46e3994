//! TLS below a connection, as far as this crate knows it: who makes the streams is handed in.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::error::SpError;

/// A handshake under way. Dropping it ends the attempt and closes the stream.
pub type SecureHandshake = Pin<Box<dyn Future<Output = Result<SecureStream, SpError>> + Send>>;

/// What a stream of bytes must offer.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A stream after its TLS handshake, and the peer that has proved its name in it.
pub struct SecureStream {
    /// The protected stream. An error of it may hold an [`SpError`], which is then reported as it is.
    pub stream: Box<dyn Duplex>,
    /// The peer.
    pub peer: PeerIdentity,
}

/// What a peer has proved about itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    /// The name in its certificate.
    pub name: String,
    /// The serial number of its certificate, in hexadecimal digits.
    pub serial: String,
}

/// The identity of this side and the peers that it accepts. `heqis-tls` implements it; this crate needs no cryptography.
///
/// The deadline of a handshake is the caller's: [`SocketOptions::handshake_timeout`](crate::SocketOptions).
pub trait Secure: fmt::Debug + Send + Sync {
    /// Checks that a handshake can begin: certificate and key are there and usable.
    ///
    /// # Errors
    /// [`SpError::Tls`] with what is wrong.
    fn ready(&self) -> Result<(), SpError>;

    /// Does the handshake of a listener. It fails with [`SpError::Tls`].
    fn accept(&self, stream: TcpStream) -> SecureHandshake;

    /// Does the handshake of a dialer. It fails with [`SpError::Tls`].
    fn connect(&self, stream: TcpStream) -> SecureHandshake;

    /// Checks that a peer may still be connected: its certificate has not been revoked since.
    ///
    /// # Errors
    /// [`SpError::Tls`] with the reason.
    fn still_accepts(&self, peer: &PeerIdentity) -> Result<(), SpError>;
}

/// A shared [`Secure`], as options hold it. Two are equal when they are the same object.
#[derive(Clone)]
pub struct Security(Arc<dyn Secure>);

impl Security {
    /// Shares `secure`.
    pub fn new(secure: impl Secure + 'static) -> Self {
        Self(Arc::new(secure))
    }
}

impl std::ops::Deref for Security {
    type Target = dyn Secure;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for Security {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Security {}
