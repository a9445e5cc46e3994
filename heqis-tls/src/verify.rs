//! Who is accepted: the authority's signature, the span and the purpose, as rustls checks them, then the list of revoked
//! certificates and the name.

use std::sync::{Arc, Mutex, PoisonError};

use heqis_sp::PeerIdentity;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::certificate::Certificate;
use crate::error::{TlsError, Whose};
use crate::loaded::Loaded;

/// Which certificates of the authority are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// Each.
    Certified,
    /// Those with one of these names.
    Named(Vec<String>),
}

/// The check of a peer's certificate. It keeps what it found, because rustls's errors have no room for it.
#[derive(Debug)]
pub(crate) struct Gate {
    loaded: Arc<Loaded>,
    accepted: Accepted,
    found: Mutex<Found>,
}

/// What a check has found last.
#[derive(Debug, Default)]
struct Found {
    peer: Option<Certificate>,
    fault: Option<TlsError>,
}

impl Gate {
    pub(crate) fn new(loaded: Arc<Loaded>, accepted: Accepted) -> Self {
        Self {
            loaded,
            accepted,
            found: Mutex::default(),
        }
    }

    /// The peer of a handshake that is complete.
    pub(crate) fn peer(&self) -> Option<PeerIdentity> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = found.peer.as_ref()?;
        Some(PeerIdentity {
            name: peer.node()?.to_owned(),
            serial: peer.serial.clone(),
        })
    }

    /// Why a certificate was refused.
    pub(crate) fn fault(&self) -> Option<TlsError> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.fault.clone()
    }

    fn note(&self, peer: Option<Certificate>, fault: Option<TlsError>) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Found { peer, fault };
    }

    /// Ends a check that rustls's verifier has done with `result`.
    fn judge<T>(&self, leaf: &CertificateDer<'_>, result: Result<T, Error>) -> Result<T, Error> {
        let peer = Certificate::read(leaf);
        let whose = Whose::peer(peer.as_ref());
        let refuse = |fault, error| {
            self.note(peer.clone(), Some(fault));
            Err(Error::InvalidCertificate(error))
        };
        let verified = match result {
            Ok(verified) => verified,
            Err(error) => {
                self.note(peer, Some(TlsError::of_certificate(&error, whose)));
                return Err(error);
            }
        };
        let Some(certificate) = &peer else {
            let reason = "it cannot be read".to_owned();
            let fault = TlsError::Unusable { whose, reason };
            return refuse(fault, CertificateError::BadEncoding);
        };
        if self.loaded.is_revoked(&certificate.serial) {
            return refuse(TlsError::Revoked { whose }, CertificateError::Revoked);
        }
        if let Accepted::Named(expected) = &self.accepted
            && !(certificate.node()).is_some_and(|node| expected.iter().any(|name| name == node))
        {
            let expected = expected.clone();
            let fault = TlsError::WrongName { whose, expected };
            return refuse(fault, CertificateError::ApplicationVerificationFailure);
        }
        self.note(peer, None);
        Ok(verified)
    }

    /// Ends the check of a signature in the handshake.
    fn proved<T>(&self, leaf: &CertificateDer<'_>, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_err() {
            let peer = Certificate::read(leaf);
            let whose = Whose::peer(peer.as_ref());
            self.note(peer, Some(TlsError::WithoutKey { whose }));
        }
        result
    }
}

impl ClientCertVerifier for Gate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.loaded.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let result = self.loaded.clients.verify_client_cert(leaf, between, now);
        self.judge(leaf, result)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.loaded
            .clients
            .verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let result = self
            .loaded
            .clients
            .verify_tls13_signature(message, leaf, signature);
        self.proved(leaf, result)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.loaded.clients.supported_verify_schemes()
    }
}

impl ServerCertVerifier for Gate {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let servers = &self.loaded.servers;
        let mut result = servers.verify_server_cert(leaf, between, name, ocsp, now);
        // Of the names in a certificate, the first is that of the node; the others are those of its machine.
        if result.is_ok()
            && Certificate::read(leaf).is_some_and(|read| read.node() != Some(&*name.to_str()))
        {
            result = Err(CertificateError::NotValidForName.into());
        }
        // The name is checked last, so that a certificate with another one is at least of the authority.
        let is_name = |error: &Error| {
            matches!(
                error,
                Error::InvalidCertificate(
                    CertificateError::NotValidForName
                        | CertificateError::NotValidForNameContext { .. }
                )
            )
        };
        match result {
            Err(error) if is_name(&error) => {
                let peer = Certificate::read(leaf);
                let fault = TlsError::WrongName {
                    whose: Whose::peer(peer.as_ref()),
                    expected: vec![name.to_str().into_owned()],
                };
                self.note(peer, Some(fault));
                Err(error)
            }
            result => self.judge(leaf, result),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.loaded
            .servers
            .verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let result = self
            .loaded
            .servers
            .verify_tls13_signature(message, leaf, signature);
        self.proved(leaf, result)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.loaded.servers.supported_verify_schemes()
    }
}
