//! The authority of one topology: a certificate that signs those of its nodes, and the lists of what it has issued and
//! revoked.
//!
//! ```text
//! ca.pem       its certificate, on every machine          ca.key       its key, on the machine of the operator only
//! NODE.pem     the certificate of a node                  NODE.key     its key
//! revoked.txt  serial, name, day: on every machine        issued.txt   serial, name, last day
//! ```
//!
//! Keys are P-256 and made by graviola; rcgen writes the certificates. A key is written with mode 0600 and appears
//! nowhere else.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use graviola::signing::ecdsa::{P256, SigningKey};
use heqis_base::files::{write_atomically, write_private_atomically};
use heqis_base::text::shortened;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm,
};
use rustls::pki_types::PrivateKeyDer;
use time::OffsetDateTime;

use crate::certificate::{Certificate, date};
use crate::cpu::missing_features;
use crate::crypto::now;
use crate::error::TlsError;
use crate::files::IdentityFiles;
use crate::loaded::{chain, key, read, revoked};

/// Bytes of a serial number; random, so that they are unique without a counter.
const SERIAL_BYTES: usize = 16;

/// Certificates are valid from a day ago on: the clock of a board may be behind.
const BACKDATE_S: i64 = 86_400;

/// The files of an authority in one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityFiles {
    /// The directory, which also gets the certificates of the nodes.
    pub directory: PathBuf,
}

/// An authority that can sign.
pub struct Authority {
    files: AuthorityFiles,
    /// Its own certificate.
    pub certificate: Certificate,
    issuer: Issuer<'static, NodeKey>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authority")
            .field(&self.files.directory)
            .finish()
    }
}

/// A line of the list of issued certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Serial number in hexadecimal digits.
    pub serial: String,
    /// Name of the node.
    pub name: String,
    /// Last day of its span, as in `2027-11-30`.
    pub last_day: String,
}

impl AuthorityFiles {
    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.directory.join("ca.key")
    }

    /// What it has revoked.
    #[must_use]
    pub fn revoked(&self) -> PathBuf {
        self.directory.join("revoked.txt")
    }

    /// What it has issued.
    #[must_use]
    pub fn issued(&self) -> PathBuf {
        self.directory.join("issued.txt")
    }
}

impl Authority {
    /// Makes an authority called `name` that is valid for `days`, in a directory that has none.
    ///
    /// ```
    /// use heqis_tls::{Authority, Identity, IdentityFiles};
    ///
    /// let directory = tempfile::tempdir()?;
    /// let authority = Authority::create(directory.path(), "dual-board", 3650)?;
    /// authority.issue("gateway", 365)?;
    /// let files = IdentityFiles::in_directory(directory.path(), "gateway");
    /// assert_eq!(Identity::new(files, Some("gateway")).days_left(), Some(365));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TlsError::Malformed`] where there is one already, and what the system says.
    pub fn create(directory: &Path, name: &str, days: u32) -> Result<Self, TlsError> {
        let files = AuthorityFiles {
            directory: directory.to_owned(),
        };
        for (what, path) in [
            ("certificate of the authority", files.certificate()),
            ("key", files.key()),
        ] {
            if path.exists() {
                let reason = "it is there already: another authority needs another directory, and every node a new certificate"
                    .to_owned();
                return Err(TlsError::Malformed { what, path, reason });
            }
        }
        std::fs::create_dir_all(directory).map_err(unwritable("directory", directory))?;
        let key = NodeKey::generate()?;
        let mut params = params(name, span(days))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.key_identifier_method = key.identifier();
        let signed = params.self_signed(&key).map_err(failed)?;
        let path = files.key();
        write_private_atomically(&path, key.pem()?.as_bytes()).map_err(unwritable("key", &path))?;
        write(&files.certificate(), &pem("CERTIFICATE", signed.der()))?;
        write(
            &files.revoked(),
            "# serial, name, day: certificates that are no longer accepted\n",
        )?;
        write(&files.issued(), "# serial, name, last day\n")?;
        Self::open(directory)
    }

    /// Opens the authority in a directory.
    ///
    /// # Errors
    /// What is wrong with its files.
    pub fn open(directory: &Path) -> Result<Self, TlsError> {
        let files = AuthorityFiles {
            directory: directory.to_owned(),
        };
        let missing = missing_features();
        if !missing.is_empty() {
            return Err(TlsError::CpuFeature { missing });
        }
        let what = "certificate of the authority";
        let path = files.certificate();
        let certificate = chain(what, &path)?
            .first()
            .and_then(|der| Certificate::read(der))
            .ok_or_else(|| TlsError::Malformed {
                what,
                path,
                reason: "it holds no certificate that can be read".to_owned(),
            })?;
        let key = NodeKey::read(&files.key())?;
        let mut params = params(&certificate.subject, span(1))?;
        params.key_identifier_method = key.identifier();
        Ok(Self {
            files,
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// Issues a certificate with a new key to the node called `name`, in place of the one that it has. The former one
    /// stays valid until it is revoked or ends.
    ///
    /// # Errors
    /// [`TlsError::BadName`], and when a file cannot be written.
    pub fn issue(&self, name: &str, days: u32) -> Result<Certificate, TlsError> {
        self.issue_with(name, &[], days)
    }

    /// As [`Authority::issue`], with the addresses and host names at which browsers and scrapers reach the node. Nodes
    /// accept each other by the name of the node alone.
    ///
    /// # Errors
    /// As [`Authority::issue`], and [`TlsError::BadName`] for a host with neither form.
    pub fn issue_with(
        &self,
        name: &str,
        hosts: &[String],
        days: u32,
    ) -> Result<Certificate, TlsError> {
        self.issue_for(name, hosts, span(days))
    }

    /// As [`Authority::issue_with`], with the begin and the end of the span in seconds since 1970.
    ///
    /// # Errors
    /// As [`Authority::issue_with`].
    pub fn issue_for(
        &self,
        name: &str,
        hosts: &[String],
        span: [i64; 2],
    ) -> Result<Certificate, TlsError> {
        check_node_name(name)?;
        let mut names = vec![of_host(name)?];
        for host in hosts.iter().filter(|host| *host != name) {
            let host = of_host(host)?;
            if !names.contains(&host) {
                names.push(host);
            }
        }
        let key = NodeKey::generate()?;
        let mut params = params(name, span)?;
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        params.key_identifier_method = key.identifier();
        let signed = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let certificate = Certificate::read(signed.der()).ok_or_else(|| failed("unreadable"))?;
        let files = IdentityFiles::in_directory(&self.files.directory, name);
        // Listed first: what is not listed could not be revoked.
        self.append(&self.files.issued(), &certificate, name)?;
        write_private_atomically(&files.key, key.pem()?.as_bytes())
            .map_err(unwritable("key", &files.key))?;
        write(&files.certificate, &pem("CERTIFICATE", signed.der()))?;
        Ok(certificate)
    }

    /// Returns what has been issued, the oldest first.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub fn issued(&self) -> Result<Vec<Issued>, TlsError> {
        let text = read("list of issued certificates", &self.files.issued())?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Ok(lines
            .filter_map(|line| {
                let mut words = line.split_whitespace().map(str::to_owned);
                Some(Issued {
                    serial: words.next()?,
                    name: words.next()?,
                    last_day: words.next()?,
                })
            })
            .collect())
    }

    /// Revokes every certificate that has been issued to the node called `name` so far, and returns those that were not
    /// revoked before. Nodes refuse them once they have the new `revoked.txt`.
    ///
    /// # Errors
    /// When a list cannot be read or written.
    pub fn revoke(&self, name: &str) -> Result<Vec<Issued>, TlsError> {
        let path = self.files.revoked();
        let already = revoked(&path)?;
        let mut fresh = self.issued()?;
        fresh.retain(|issued| issued.name == name && !already.contains(&issued.serial));
        let today = date(now());
        let mut text =
            String::from_utf8_lossy(&read("list of revoked certificates", &path)?).into_owned();
        for issued in &fresh {
            text.push_str(&format!("{} {name} {today}\n", issued.serial));
        }
        write(&path, &text)?;
        Ok(fresh)
    }

    /// Returns whether the certificate with this serial number is revoked.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub fn is_revoked(&self, serial: &str) -> Result<bool, TlsError> {
        Ok(revoked(&self.files.revoked())?.contains(serial))
    }

    fn append(&self, path: &Path, of: &Certificate, name: &str) -> Result<(), TlsError> {
        let text = read("list of issued certificates", path)?;
        let mut text = String::from_utf8_lossy(&text).into_owned();
        text.push_str(&format!("{} {name} {}\n", of.serial, of.last_day()));
        write(path, &text)
    }
}

/// Longest label of a DNS name.
const MAX_LABEL: usize = 63;

/// Checks that a node called `name` can have a certificate, which holds the name, and files, which are called by it.
///
/// # Errors
/// [`TlsError::BadName`].
pub fn check_node_name(name: &str) -> Result<(), TlsError> {
    let sound = name.starts_with(|first: char| first.is_ascii_lowercase())
        && (name.bytes())
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.ends_with('-')
        && name.len() <= MAX_LABEL;
    let rule = match name {
        "ca" => "the files of the authority are called by it",
        _ if sound => return Ok(()),
        _ => "one has a lower-case letter, then lower-case letters, digits and hyphens, 63 at most",
    };
    Err(bad_name(name, rule))
}

/// The entry of a certificate for an address or the name of a host.
fn of_host(host: &str) -> Result<SanType, TlsError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address.to_canonical()));
    }
    let label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && (label.bytes()).all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    // No name for more than one host: `*` would stand for them.
    let sound = host.len() <= 253 && host.split('.').all(label);
    let lower = host.to_ascii_lowercase();
    match (sound, lower.try_into()) {
        (true, Ok(name)) => Ok(SanType::DnsName(name)),
        _ => Err(bad_name(host, "a host is an IP address or a DNS name")),
    }
}

/// Checks that a certificate can hold the address or the name of a host.
///
/// # Errors
/// [`TlsError::BadName`].
pub fn check_host(host: &str) -> Result<(), TlsError> {
    of_host(host).map(drop)
}

fn bad_name(name: &str, rule: &'static str) -> TlsError {
    let name = shortened(name, MAX_LABEL);
    TlsError::BadName { name, rule }
}

/// The span of a certificate that is valid for `days` from now on.
fn span(days: u32) -> [i64; 2] {
    let now = now();
    // An hour more, so that whole days are left after the minutes of the installation.
    [now - BACKDATE_S, now + i64::from(days) * 86_400 + 3_600]
}

/// What all certificates have: a subject, a span and a serial number.
fn params(name: &str, [from, to]: [i64; 2]) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // A four-digit year is all that a certificate has room for.
    let time = |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(failed);
    (params.not_before, params.not_after) = (time(from)?, time(to)?);
    let mut serial = [0; SERIAL_BYTES];
    graviola::random::fill(&mut serial).map_err(|_| failed("no random numbers"))?;
    // Positive, and of the same length always.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

/// A key of graviola, as rcgen takes it.
struct NodeKey {
    key: SigningKey<P256>,
    /// The point, uncompressed.
    public: Vec<u8>,
}

/// Bytes of a point, uncompressed: the end of its SubjectPublicKeyInfo.
const POINT_BYTES: usize = 65;

impl NodeKey {
    fn generate() -> Result<Self, TlsError> {
        let missing = missing_features();
        if !missing.is_empty() {
            return Err(TlsError::CpuFeature { missing });
        }
        Self::of(SigningKey::generate().map_err(|_| failed("no random numbers"))?)
    }

    fn of(key: SigningKey<P256>) -> Result<Self, TlsError> {
        let mut spki = [0; 128];
        let spki = key.to_spki_der(&mut spki).map_err(|_| failed("no key"))?;
        let start = spki.len().saturating_sub(POINT_BYTES);
        let public = spki[start..].to_vec();
        Ok(Self { key, public })
    }

    fn read(path: &Path) -> Result<Self, TlsError> {
        let unusable = || TlsError::Malformed {
            what: "key",
            path: path.to_owned(),
            reason: "it is no P-256 key in PKCS#8".to_owned(),
        };
        let PrivateKeyDer::Pkcs8(der) = key(path)? else {
            return Err(unusable());
        };
        let key = SigningKey::from_pkcs8_der(der.secret_pkcs8_der()).map_err(|_| unusable())?;
        Self::of(key)
    }

    fn pem(&self) -> Result<String, TlsError> {
        let mut der = [0; 256];
        let der = self
            .key
            .to_pkcs8_der(&mut der)
            .map_err(|_| failed("no key"))?;
        Ok(pem("PRIVATE KEY", der))
    }

    /// RFC 7093, method 1.
    fn identifier(&self) -> KeyIdMethod {
        use graviola::hashing::Hash;
        let hash = graviola::hashing::Sha256::hash(&self.public);
        KeyIdMethod::PreSpecified(hash.as_ref()[..20].to_vec())
    }
}

impl PublicKeyData for NodeKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for NodeKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let mut signature = [0; 128];
        self.key
            .sign_asn1::<graviola::hashing::Sha256>(&[message], &mut signature)
            .map(<[u8]>::to_vec)
            .map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// Text armour: RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let bits = (0..3).fold(0, |sum, at| {
                sum << 8 | u32::from(three.get(at).copied().unwrap_or(0))
            });
            for at in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
                text.push(if at <= three.len() {
                    char::from(digit)
                } else {
                    '='
                });
            }
        }
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

fn write(path: &Path, text: &str) -> Result<(), TlsError> {
    write_atomically(path, text.as_bytes()).map_err(unwritable("file", path))
}

fn unwritable<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> TlsError + use<'a> {
    move |error| TlsError::Unreadable {
        what,
        path: path.to_owned(),
        action: "written",
        reason: error.to_string(),
    }
}

fn failed(reason: impl fmt::Display) -> TlsError {
    TlsError::Protocol(format!("a certificate cannot be made: {reason}"))
}
