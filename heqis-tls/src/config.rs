//! rustls's configurations: TLS 1.3 only, nothing resumed.
//!
//! A resumed session would skip the certificate of the peer, and with it a revocation; early data could be replayed.

use std::sync::Arc;

use rustls::client::{ClientConfig, Resumption};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::SingleCertAndKey;
use rustls::version;

use crate::crypto::provider;
use crate::error::TlsError;
use crate::loaded::Loaded;
use crate::verify::{Accepted, Gate};

/// Which clients a server takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Any, with or without a certificate: a page that asks for a token instead.
    Any,
    /// Those with a certificate of the authority, of whatever node.
    Certified,
    /// Those with a certificate of one of these names.
    Named(Vec<String>),
}

/// Returns the configuration of a server.
///
/// # Errors
/// Not with a [`Loaded`] identity; rustls's error if it finds a contradiction.
pub fn server_config(loaded: &Arc<Loaded>, clients: Clients) -> Result<ServerConfig, TlsError> {
    let verifier: Arc<dyn ClientCertVerifier> = match clients {
        Clients::Any => Arc::new(NoClientAuth),
        Clients::Certified => Arc::new(Gate::new(loaded.clone(), Accepted::Certified)),
        Clients::Named(names) => Arc::new(Gate::new(loaded.clone(), Accepted::Named(names))),
    };
    server(loaded, verifier)
}

pub(crate) fn server(
    loaded: &Loaded,
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, TlsError> {
    server_with(
        clients,
        Arc::new(SingleCertAndKey::from(loaded.key.clone())),
    )
}

pub(crate) fn server_with(
    clients: Arc<dyn ClientCertVerifier>,
    certificates: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|error| TlsError::of(&error))?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(certificates);
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// Returns the configuration of a client that shows the certificate of its node. The name of the server is checked when
/// it connects.
///
/// # Errors
/// As [`server_config`].
pub fn client_config(loaded: &Arc<Loaded>) -> Result<ClientConfig, TlsError> {
    client(
        loaded,
        Arc::new(Gate::new(loaded.clone(), Accepted::Certified)),
    )
}

pub(crate) fn client(loaded: &Loaded, servers: Arc<Gate>) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|error| TlsError::of(&error))?
        // Not dangerous: the gate passes every check on to rustls's verifier, and adds to it.
        .dangerous()
        .with_custom_certificate_verifier(servers)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(loaded.key.clone())));
    config.resumption = Resumption::disabled();
    Ok(config)
}
