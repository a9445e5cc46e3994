//! HTTPS: servers with the certificate of a node or one of another authority, and clients of public servers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use heqis_sp::PeerIdentity;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoClientAuth, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificate::Certificate;
use crate::config::{server, server_with};
use crate::crypto::now;
#[cfg(feature = "client")]
use crate::crypto::provider;
use crate::error::{TlsError, Whose, of_io};
use crate::identity::{Identity, LOOK_EVERY, Stamp, stamp};
use crate::link::let_read;
use crate::loaded::{certified, chain};
use crate::verify::{Accepted, Gate};

/// What an HTTPS server proves its name with. Changed files are read again without a restart.
#[derive(Clone, Debug)]
pub enum WebCertificate {
    /// The certificate of a node. Clients may show one of the same authority, see [`WebCertificate::accept`].
    Node(Identity),
    /// A certificate of any authority, such as one that browsers know.
    Own(OwnCertificate),
}

impl WebCertificate {
    /// Checks that there is a certificate to show now.
    ///
    /// # Errors
    /// What is wrong with its files.
    pub fn check(&self) -> Result<(), TlsError> {
        match self {
            Self::Node(identity) => identity.current().map(drop),
            Self::Own(own) => own.current().map(drop),
        }
    }

    /// Does the handshake with a client, and returns its stream and who it is, where it has shown a certificate. A client
    /// with a certificate of another authority, or with a revoked one, is refused.
    ///
    /// The limit on its time is the caller's.
    ///
    /// # Errors
    /// As [`WebCertificate::check`], and why there is no connection.
    pub async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, Option<PeerIdentity>), TlsError> {
        // Each has a check of its own, which remembers what it has found.
        let (config, gate) = match self {
            Self::Node(identity) => {
                let loaded = identity.current()?;
                let gate = Arc::new(Gate::new(loaded.clone(), Accepted::Certified));
                let config = server(&loaded, Arc::new(OptionalClients(gate.clone())))?;
                (config, Some(gate))
            }
            Self::Own(own) => (own.server_config()?, None),
        };
        let acceptor = TlsAcceptor::from(Arc::new(config));
        match acceptor.accept(stream).into_fallible().await {
            Ok(stream) => Ok((stream, gate.and_then(|gate| gate.peer()))),
            Err((error, stream)) => {
                let_read(stream).await;
                let fault = gate.and_then(|gate| gate.fault());
                Err(fault.unwrap_or_else(|| of_io(&error)))
            }
        }
    }

    /// Returns whether the certificate of a client is still accepted: it has not been revoked since.
    #[must_use]
    pub fn still_accepts(&self, peer: &PeerIdentity) -> bool {
        match self {
            Self::Node(identity) => {
                (identity.last()).is_some_and(|loaded| !loaded.is_revoked(&peer.serial))
            }
            Self::Own(_) => false,
        }
    }
}

/// A certificate and its key in files of their own.
#[derive(Clone, Debug)]
pub struct OwnCertificate {
    certificate: PathBuf,
    key: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    loaded: Option<Arc<CertifiedKey>>,
    stamps: Option<[Option<Stamp>; 2]>,
    looked: Option<Instant>,
}

impl OwnCertificate {
    /// The certificate chain and the key in these PEM files. Reads nothing yet.
    #[must_use]
    pub fn new(certificate: PathBuf, key: PathBuf) -> Self {
        Self {
            certificate,
            key,
            state: Arc::default(),
        }
    }

    /// Returns the configuration of a server that shows it, and takes clients without a certificate.
    ///
    /// # Errors
    /// What is wrong with its files now.
    pub fn server_config(&self) -> Result<ServerConfig, TlsError> {
        self.current()?;
        server_with(Arc::new(NoClientAuth), Arc::new(Resolver(self.clone())))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a bound on how often the files are looked at"
    )]
    fn current(&self) -> Result<Arc<CertifiedKey>, TlsError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Instant::now();
        if let Some(loaded) = &state.loaded
            && state.looked.is_some_and(|last| at - last < LOOK_EVERY)
        {
            return Ok(loaded.clone());
        }
        state.looked = Some(at);
        let stamps = [&self.certificate, &self.key].map(|path| stamp(path));
        if let Some(loaded) = &state.loaded
            && state.stamps.as_ref() == Some(&stamps)
        {
            return Ok(loaded.clone());
        }
        state.stamps = Some(stamps);
        match (read(&self.certificate, &self.key), &state.loaded) {
            (Ok(loaded), _) => {
                let loaded = Arc::new(loaded);
                state.loaded = Some(loaded.clone());
                Ok(loaded)
            }
            (Err(problem), Some(old)) => {
                tracing::error!(%problem, "the new certificate cannot be used, the old one stays");
                Ok(old.clone())
            }
            (Err(problem), None) => Err(problem),
        }
    }
}

fn read(certificate: &Path, key_path: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = chain("certificate", certificate)?;
    let leaf = chain.first().and_then(|der| Certificate::read(der));
    let now = now();
    if let Some(leaf) = leaf.filter(|leaf| leaf.not_after < now) {
        return Err(TlsError::Expired {
            whose: Whose::Own(certificate.to_owned()),
            not_after: leaf.not_after,
            now,
        });
    }
    certified(chain, certificate, key_path)
}

/// Looks for the certificate at each handshake, so that a new one is shown without a restart.
#[derive(Debug)]
struct Resolver(OwnCertificate);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.current().ok()
    }
}

/// Accepts clients without a certificate, and those with one of the node's authority.
#[derive(Debug)]
struct OptionalClients(Arc<Gate>);

impl ClientCertVerifier for OptionalClients {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.verify_client_cert(leaf, between, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ClientCertVerifier::verify_tls12_signature(&*self.0, message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ClientCertVerifier::verify_tls13_signature(&*self.0, message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ClientCertVerifier::supported_verify_schemes(&*self.0)
    }
}

/// Returns how a client checks the certificates of public servers: by Mozilla's list of authorities, or by those in the PEM
/// file that the variable `SSL_CERT_FILE` names.
///
/// # Errors
/// When that file cannot be read, and where the processor lacks an instruction.
#[cfg(feature = "client")]
#[expect(
    clippy::disallowed_methods,
    reason = "the variable is where other programs look for authorities too"
)]
pub fn web_client() -> Result<ureq::tls::TlsConfig, TlsError> {
    use ureq::tls::{Certificate, RootCerts, TlsConfig};
    let missing = crate::cpu::missing_features();
    if !missing.is_empty() {
        return Err(TlsError::CpuFeature { missing });
    }
    let roots = match std::env::var_os("SSL_CERT_FILE") {
        None => RootCerts::WebPki,
        Some(path) => {
            let chain = chain("certificates of the authorities", Path::new(&path))?;
            let certificates: Vec<_> = chain
                .iter()
                .map(|der| Certificate::from_der(der).to_owned())
                .collect();
            RootCerts::new_with_certs(&certificates)
        }
    };
    Ok(TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider())
        .root_certs(roots)
        .build())
}

/// Returns whether a request to `url` can be read by others on its way: plain HTTP to anything but a loopback address or
/// `localhost`. `None` where `url` is no address of HTTP or HTTPS.
///
/// ```
/// use heqis_tls::is_readable;
///
/// assert_eq!(is_readable("https://example.com/hook"), Some(false));
/// assert_eq!(is_readable("http://127.0.0.1:8080/"), Some(false));
/// assert_eq!(is_readable("http://example.com"), Some(true));
/// assert_eq!(is_readable("ftp://example.com"), None);
/// ```
#[cfg(feature = "client")]
#[must_use]
pub fn is_readable(url: &str) -> Option<bool> {
    let url: ureq::http::Uri = url.parse().ok()?;
    let host = url.host()?;
    match url.scheme_str()? {
        "https" => Some(false),
        "http" => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Some(!heqis_sp::is_loopback(host))
        }
        _ => None,
    }
}
