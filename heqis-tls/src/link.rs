//! The handshakes of bridged edges.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use heqis_sp::{PeerIdentity, Secure, SecureHandshake, SecureStream, Security, SpError};
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::{client, server};
use crate::error::{TlsError, Whose, of_io};
use crate::identity::Identity;
use crate::stream::TypedStream;
use crate::verify::{Accepted, Gate};

/// How long a refused peer may take to read why.
const LINGER: Duration = Duration::from_millis(200);

/// The most that it may send meanwhile.
const LINGER_BYTES: u64 = 1 << 16;

/// An identity and the one peer that it talks to.
#[derive(Debug)]
struct Link {
    identity: Identity,
    peer: String,
}

impl Identity {
    /// Returns what a bridged edge needs to talk to the node called `peer`, and to it only.
    ///
    /// ```
    /// use heqis_sp::{Protocol, SocketOptions};
    /// use heqis_tls::{Identity, IdentityFiles};
    ///
    /// let identity = Identity::new(IdentityFiles::in_directory("certs", "gateway"), Some("gateway"));
    /// let mut options = SocketOptions::new(Protocol::Pair1);
    /// options.security = Some(identity.link_with("compute"));
    /// // There are no such files here.
    /// let endpoint = "tls+tcp://10.0.0.2:5555".parse()?;
    /// assert_eq!(options.validate_for(&endpoint).unwrap_err().cause(), "certificate_missing");
    /// # Ok::<(), heqis_sp::SpError>(())
    /// ```
    #[must_use]
    pub fn link_with(&self, peer: impl Into<String>) -> Security {
        Security::new(Link {
            identity: self.clone(),
            peer: peer.into(),
        })
    }
}

impl Link {
    /// The check of the peer, and our files as of now.
    fn gate(&self) -> Result<(Arc<crate::loaded::Loaded>, Arc<Gate>), TlsError> {
        let loaded = self.identity.current()?;
        let gate = Gate::new(loaded.clone(), Accepted::Named(vec![self.peer.clone()]));
        Ok((loaded, Arc::new(gate)))
    }

    fn acceptor(&self) -> Result<(TlsAcceptor, Arc<Gate>), TlsError> {
        let (loaded, gate) = self.gate()?;
        let config = server(&loaded, gate.clone())?;
        Ok((Arc::new(config).into(), gate))
    }

    fn connector(&self) -> Result<(TlsConnector, ServerName<'static>, Arc<Gate>), TlsError> {
        let (loaded, gate) = self.gate()?;
        let config = client(&loaded, gate.clone())?;
        let name = ServerName::try_from(self.peer.clone()).map_err(|_| TlsError::WrongName {
            whose: Whose::peer(None),
            expected: vec![self.peer.clone()],
        })?;
        Ok((Arc::new(config).into(), name, gate))
    }
}

/// The error of a handshake: what the check of the peer found, or what ended it.
fn failed(gate: &Gate, error: &io::Error) -> SpError {
    gate.fault().unwrap_or_else(|| of_io(error)).into()
}

/// A peer that has completed its handshake has been checked.
fn completed(gate: &Gate, stream: Box<dyn heqis_sp::Duplex>) -> Result<SecureStream, SpError> {
    match gate.peer() {
        Some(peer) => Ok(SecureStream { stream, peer }),
        None => Err(TlsError::NoCertificate.into()),
    }
}

impl Secure for Link {
    fn ready(&self) -> Result<(), SpError> {
        self.identity.current()?;
        Ok(())
    }

    fn accept(&self, stream: TcpStream) -> SecureHandshake {
        let acceptor = self.acceptor();
        Box::pin(async move {
            let (acceptor, gate) = acceptor?;
            match acceptor.accept(stream).into_fallible().await {
                Ok(stream) => completed(&gate, Box::new(TypedStream(stream))),
                Err((error, stream)) => {
                    let_read(stream).await;
                    Err(failed(&gate, &error))
                }
            }
        })
    }

    fn connect(&self, stream: TcpStream) -> SecureHandshake {
        let connector = self.connector();
        Box::pin(async move {
            let (connector, name, gate) = connector?;
            match connector.connect(name, stream).into_fallible().await {
                Ok(stream) => completed(&gate, Box::new(TypedStream(stream))),
                Err((error, stream)) => {
                    let_read(stream).await;
                    Err(failed(&gate, &error))
                }
            }
        })
    }

    fn still_accepts(&self, peer: &PeerIdentity) -> Result<(), SpError> {
        // Trouble with our own certificate ends no link that works.
        match self.identity.last() {
            Some(loaded) if loaded.is_revoked(&peer.serial) => {
                let whose = Whose::Peer {
                    names: peer.name.clone(),
                    serial: peer.serial.clone(),
                };
                Err(TlsError::Revoked { whose }.into())
            }
            _ => Ok(()),
        }
    }
}

/// Lets a refused peer read the alert: closing a socket on which something is unread resets it, and the alert is lost.
pub(crate) async fn let_read(mut stream: TcpStream) {
    let rest = async {
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
        let _ = tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await;
    };
    let _ = tokio::time::timeout(LINGER, rest).await;
}
