//! One reading of a node's files, checked as a whole.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;

use crate::certificate::Certificate;
use crate::cpu::missing_features;
use crate::crypto::{now, provider};
use crate::error::{TlsError, Whose};
use crate::files::IdentityFiles;

/// The longest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// The mode bits by which others than the owner reach a file.
const OTHERS: u32 = 0o077;

/// The contents of a node's files.
#[derive(Debug)]
pub struct Loaded {
    /// What the node's certificate says.
    pub certificate: Certificate,
    /// What that of the authority says; of several, the one that ends last.
    pub authority: Certificate,
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) clients: Arc<dyn ClientCertVerifier>,
    pub(crate) servers: Arc<dyn ServerCertVerifier>,
    /// Serial numbers, in hexadecimal digits.
    revoked: BTreeSet<String>,
}

impl Loaded {
    /// Reads the files and checks them: the key belongs to the certificate and is closed to other users, the certificate
    /// is signed by the authority, valid now, not revoked, and that of `name` where one is given.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read(files: &IdentityFiles, name: Option<&str>) -> Result<Self, TlsError> {
        let missing = missing_features();
        if !missing.is_empty() {
            return Err(TlsError::CpuFeature { missing });
        }
        let (roots, authority) = roots(&files.ca)?;
        let roots = Arc::new(roots);
        let chain = chain("certificate", &files.certificate)?;
        let own = || Whose::Own(files.certificate.clone());
        let certificate =
            Certificate::read(&chain[0]).ok_or_else(|| malformed(&files.certificate, NOT_X509))?;
        let key = certified(chain, &files.certificate, &files.key)?;
        let unusable = |error: &dyn std::fmt::Display| malformed_ca(&files.ca, error);
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider())
            .build()
            .map_err(|error| unusable(&error))?;
        let servers = WebPkiServerVerifier::builder_with_provider(roots, provider())
            .build()
            .map_err(|error| unusable(&error))?;
        let loaded = Self {
            certificate,
            authority,
            key: Arc::new(key),
            clients,
            servers,
            revoked: revoked(&files.revoked)?,
        };
        loaded.check_own(own())?;
        match name {
            Some(name) if loaded.certificate.node() != Some(name) => Err(TlsError::WrongName {
                whose: own(),
                expected: vec![name.to_owned()],
            }),
            _ => Ok(loaded),
        }
    }

    /// Checks the node's own certificate as a peer would.
    ///
    /// # Errors
    /// What a peer would refuse it for.
    pub(crate) fn check_own(&self, whose: Whose) -> Result<(), TlsError> {
        let [leaf, between @ ..] = &self.key.cert[..] else {
            return Err(TlsError::NoCertificate);
        };
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now().cast_unsigned()));
        self.clients
            .verify_client_cert(leaf, between, now)
            .map_err(|error| TlsError::of_certificate(&error, whose.clone()))?;
        match self.is_revoked(&self.certificate.serial) {
            true => Err(TlsError::Revoked { whose }),
            false => Ok(()),
        }
    }

    /// Returns whether the certificate with this serial number is revoked.
    #[must_use]
    pub fn is_revoked(&self, serial: &str) -> bool {
        self.revoked.contains(serial)
    }

    /// Goes on refusing what an earlier reading refused: a file that is copied over the list is short for a moment.
    pub(crate) fn keep_revoked(&mut self, earlier: &Self) {
        self.revoked.extend(earlier.revoked.iter().cloned());
    }
}

/// Joins a chain, read from `certificate`, with the key that belongs to it.
pub(crate) fn certified(
    chain: Vec<CertificateDer<'static>>,
    certificate: &Path,
    key_path: &Path,
) -> Result<CertifiedKey, TlsError> {
    let signer = provider()
        .key_provider
        .load_private_key(key(key_path)?)
        .map_err(|error| TlsError::Malformed {
            what: "key",
            path: key_path.to_owned(),
            reason: error.to_string(),
        })?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(_) => Err(TlsError::KeyMismatch {
            key: key_path.to_owned(),
            certificate: certificate.to_owned(),
        }),
    }
}

const NOT_X509: &str = "it holds no certificate that can be read";

fn malformed(path: &Path, reason: &str) -> TlsError {
    TlsError::Malformed {
        what: "certificate",
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

fn malformed_ca(path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::Malformed {
        what: "certificate of the authority",
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// Reads a short file.
pub(crate) fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    open(what, path).and_then(|file| contents(what, path, file))
}

fn open(what: &'static str, path: &Path) -> Result<File, TlsError> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => TlsError::Missing {
            what,
            path: path.to_owned(),
        },
        _ => unreadable(what, path, &error),
    })
}

fn contents(what: &'static str, path: &Path, file: File) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(what, path, &error))?;
    // The rest of a list of revoked certificates must not be left out.
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(TlsError::Malformed {
            what,
            path: path.to_owned(),
            reason: format!("it is longer than {MAX_BYTES} bytes"),
        }),
        false => Ok(bytes),
    }
}

fn unreadable(what: &'static str, path: &Path, error: &io::Error) -> TlsError {
    TlsError::Unreadable {
        what,
        path: path.to_owned(),
        action: "read",
        reason: error.to_string(),
    }
}

/// Reads the certificates of a PEM file, at least one.
pub(crate) fn chain(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(what, path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(TlsError::Malformed {
            what,
            path: path.to_owned(),
            reason: "it is no PEM file with a certificate".to_owned(),
        }),
    }
}

/// Reads the first certificate of a PEM file.
///
/// # Errors
/// When it is missing, or not one.
pub fn read_certificate(path: &Path) -> Result<Certificate, TlsError> {
    let missing = missing_features();
    if !missing.is_empty() {
        return Err(TlsError::CpuFeature { missing });
    }
    let first = chain("certificate", path)?;
    let certificate = first.first().and_then(|der| Certificate::read(der));
    certificate.ok_or_else(|| malformed(path, NOT_X509))
}

/// Reads a private key, of which only its owner may know.
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let file = open("key", path)?;
    let mode = file
        .metadata()
        .map_err(|error| unreadable("key", path, &error))?
        .permissions()
        .mode();
    if mode & OTHERS != 0 {
        return Err(TlsError::KeyMode {
            path: path.to_owned(),
            mode: mode & 0o7777,
        });
    }
    PrivateKeyDer::from_pem_slice(&contents("key", path, file)?).map_err(|_| TlsError::Malformed {
        what: "key",
        path: path.to_owned(),
        reason: "it is no PEM file with a private key".to_owned(),
    })
}

fn roots(path: &Path) -> Result<(RootCertStore, Certificate), TlsError> {
    let mut roots = RootCertStore::empty();
    let mut last: Option<Certificate> = None;
    for der in chain("certificate of the authority", path)? {
        let read = Certificate::read(&der).ok_or_else(|| malformed_ca(path, &NOT_X509))?;
        if last
            .as_ref()
            .is_none_or(|last| last.not_after < read.not_after)
        {
            last = Some(read);
        }
        roots.add(der).map_err(|error| malformed_ca(path, &error))?;
    }
    let last = last.ok_or_else(|| malformed_ca(path, &NOT_X509))?;
    Ok((roots, last))
}

/// Reads serial numbers, the first word of each line; the rest of a line is for people.
///
/// # Errors
/// When the file is missing, or a line begins with something else.
pub fn revoked(path: &Path) -> Result<BTreeSet<String>, TlsError> {
    let what = "list of revoked certificates";
    let text = String::from_utf8_lossy(&read(what, path)?).into_owned();
    let mut serials = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("");
        let Some(word) = line.split_whitespace().next() else {
            continue;
        };
        if !word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(TlsError::Malformed {
                what,
                path: path.to_owned(),
                reason: format!("line {} begins with no serial number: {word}", index + 1),
            });
        }
        serials.insert(word.trim_start_matches('0').to_ascii_lowercase());
    }
    Ok(serials)
}
