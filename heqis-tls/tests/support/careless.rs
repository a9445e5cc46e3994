//! A peer that is not ours, with whatever certificate it likes: the checks on its own side are left out.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme, version};

#[derive(Debug)]
struct TrustsAll;

impl ServerCertVerifier for TrustsAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// Its configuration, with the certificate and the key of these files, or with none.
pub fn config(
    versions: &[&'static rustls::SupportedProtocolVersion],
    files: Option<[&std::path::Path; 2]>,
) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls_graviola::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustsAll));
    Arc::new(match files {
        None => builder.with_no_client_auth(),
        Some([certificate, key]) => {
            let chain = CertificateDer::pem_file_iter(certificate).unwrap();
            let key = PrivateKeyDer::from_pem_file(key).unwrap();
            let signer = provider.key_provider.load_private_key(key).unwrap();
            let chain = chain.map(Result::unwrap).collect();
            let key = Arc::new(rustls::sign::CertifiedKey::new(chain, signer));
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)))
        }
    })
}

pub const TLS13: &[&rustls::SupportedProtocolVersion] = &[&version::TLS13];
pub const TLS12: &[&rustls::SupportedProtocolVersion] = &[&version::TLS12];

/// A listener with the certificate and the key of these files, which takes everyone.
pub fn server([certificate, key]: [&std::path::Path; 2]) -> tokio_rustls::TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls_graviola::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(TLS13)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key);
    Arc::new(config.unwrap()).into()
}
