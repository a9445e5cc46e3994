//! What can be wrong with a certificate, a key or a peer, and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use heqis_base::text::shortened;
use heqis_sp::SpError;
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};

use crate::certificate::{Certificate, date};

/// Whose certificate an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// That of this side, read from this file.
    Own(PathBuf),
    /// That of the peer: the names that it states, and its serial number. Only where the authority has signed it are
    /// they proved.
    Peer {
        /// The names, joined by commas; empty when it states none.
        names: String,
        /// The serial number in hexadecimal digits.
        serial: String,
    },
}

impl Whose {
    /// A peer may write much into a certificate of its own making: what is kept of it is short.
    pub(crate) fn peer(certificate: Option<&Certificate>) -> Self {
        let (names, serial) = certificate.map_or((String::new(), ""), |found| {
            let names = found.names.iter().take(MOST_NAMES + 1);
            let names: Vec<_> = names.map(String::as_str).collect();
            (names.join(", "), found.serial.as_str())
        });
        Self::Peer {
            names: shortened(&names, MOST_TEXT),
            serial: shortened(serial, MOST_SERIAL),
        }
    }

    const fn renew(&self) -> &'static str {
        match self {
            Self::Own(_) => "issue a new one with `heqis-runtime certs renew`",
            Self::Peer { .. } => "its node needs a new one from `heqis-runtime certs renew`",
        }
    }
}

/// What is kept of the names of a peer, characters, and how many are looked at.
const MOST_TEXT: usize = 128;
const MOST_NAMES: usize = 16;

/// Digits of a serial number: RFC 5280 allows 20 bytes.
const MOST_SERIAL: usize = 40;

/// What is kept of a reason, which may repeat what a peer has sent.
const MOST_REASON: usize = 256;

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(path) => write!(f, "the certificate {}", path.display()),
            Self::Peer { names, serial } if names.is_empty() => {
                write!(f, "the peer's certificate {serial} without a name")
            }
            Self::Peer { names, serial } => {
                write!(f, "the peer's certificate `{names}` ({serial})")
            }
        }
    }
}

/// Why there is no trust, or no TLS at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The processor lacks instructions.
    #[error("this processor lacks {} that TLS needs: use an edge without TLS on a network of your own", .missing.join(", "))]
    CpuFeature {
        /// Their names.
        missing: Vec<&'static str>,
    },
    /// A file is not there.
    #[error("the {what} {} is missing: make it with `heqis-runtime certs`, and copy it to this machine", path.display())]
    Missing {
        /// What it holds.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("the {what} {} cannot be {action}: {reason}", path.display())]
    Unreadable {
        /// What it holds.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// What the system says.
        reason: String,
    },
    /// Others than its owner may read a key.
    #[error("the key {} is open to other users (mode {mode:04o}): `chmod 600` it, and renew its certificate if others could read it", path.display())]
    KeyMode {
        /// Where it is.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file does not hold what it should.
    #[error("the {what} {} cannot be used: {reason}", path.display())]
    Malformed {
        /// What it should hold.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Key and certificate do not belong together.
    #[error("the key {} is not that of the certificate {}: copy both from the same `heqis-runtime certs issue`", key.display(), certificate.display())]
    KeyMismatch {
        /// The key.
        key: PathBuf,
        /// The certificate.
        certificate: PathBuf,
    },
    /// A name that no certificate is made for.
    #[error("`{name}` is no name for a certificate: {rule}")]
    BadName {
        /// The name.
        name: String,
        /// What one is like.
        rule: &'static str,
    },
    /// A certificate is too old.
    #[error("{whose} expired on {}, this machine says it is {}: {}", date(*.not_after), date(*.now), whose.renew())]
    Expired {
        /// Whose.
        whose: Whose,
        /// Its end, in seconds since 1970.
        not_after: i64,
        /// The time here, in seconds since 1970.
        now: i64,
    },
    /// A certificate is not valid yet.
    #[error("{whose} is valid from {} on, this machine says it is {}: set the clock", date(*.not_before), date(*.now))]
    NotYetValid {
        /// Whose.
        whose: Whose,
        /// Its begin, in seconds since 1970.
        not_before: i64,
        /// The time here, in seconds since 1970.
        now: i64,
    },
    /// A certificate is of another authority.
    #[error(
        "{whose} is not signed by the authority of this topology: both nodes need certificates of the same `heqis-runtime certs init`"
    )]
    ForeignCa {
        /// Whose.
        whose: Whose,
    },
    /// A certificate has been revoked.
    #[error("{whose} is revoked: {}", whose.renew())]
    Revoked {
        /// Whose.
        whose: Whose,
    },
    /// A certificate is of another node.
    #[error("{whose} is not that of {}", one_of(.expected))]
    WrongName {
        /// Whose.
        whose: Whose,
        /// The names that are accepted.
        expected: Vec<String>,
    },
    /// The peer shows a certificate and cannot prove that it has the key of it.
    #[error("{whose} is shown by a peer that does not have its key")]
    WithoutKey {
        /// Whose.
        whose: Whose,
    },
    /// A certificate is not made for this.
    #[error("{whose} cannot be used: {reason}")]
    Unusable {
        /// Whose.
        whose: Whose,
        /// Why.
        reason: String,
    },
    /// The peer has shown no certificate.
    #[error("the peer has no certificate: issue one for its node with `heqis-runtime certs issue`")]
    NoCertificate,
    /// The peer does not accept the certificate of this side.
    #[error("the peer refused our certificate{}", reason_of(.alert))]
    RefusedByPeer {
        /// The alert that it sent.
        alert: String,
    },
    /// What the peer sends is no TLS.
    #[error("the peer speaks no TLS: both ends of an edge need the same scheme")]
    NotTls,
    /// The handshake or the stream is damaged.
    #[error("{0}")]
    Protocol(String),
}

fn one_of(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.is_empty() {
        true => "any node".to_owned(),
        false => quoted.join(" or "),
    }
}

fn reason_of(alert: &str) -> String {
    match alert {
        "" => String::new(),
        alert => format!(" ({alert})"),
    }
}

impl TlsError {
    /// Returns a short fixed word for the cause, fit for a metric label.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::CpuFeature { .. } => "cpu_feature",
            Self::Missing { .. } => "certificate_missing",
            Self::Unreadable { .. } => "certificate_unreadable",
            Self::KeyMode { .. } => "key_mode",
            Self::Malformed { .. } | Self::Unusable { .. } => "certificate_unusable",
            Self::KeyMismatch { .. } => "key_mismatch",
            Self::BadName { .. } => "bad_name",
            Self::Expired { .. } => "certificate_expired",
            Self::NotYetValid { .. } => "certificate_not_yet_valid",
            Self::ForeignCa { .. } => "certificate_foreign",
            Self::Revoked { .. } => "certificate_revoked",
            Self::WrongName { .. } => "certificate_name",
            Self::WithoutKey { .. } => "without_key",
            Self::NoCertificate => "no_certificate",
            Self::RefusedByPeer { .. } => "refused_by_peer",
            Self::NotTls => "no_tls",
            Self::Protocol(_) => "tls",
        }
    }

    /// Returns whether the peer is at fault, and not the files of this side.
    #[must_use]
    pub const fn is_of_peer(&self) -> bool {
        match self {
            Self::CpuFeature { .. }
            | Self::Missing { .. }
            | Self::Unreadable { .. }
            | Self::KeyMode { .. }
            | Self::Malformed { .. }
            | Self::KeyMismatch { .. }
            | Self::BadName { .. } => false,
            Self::Expired { whose, .. }
            | Self::NotYetValid { whose, .. }
            | Self::ForeignCa { whose }
            | Self::Revoked { whose }
            | Self::WrongName { whose, .. }
            | Self::WithoutKey { whose }
            | Self::Unusable { whose, .. } => matches!(whose, Whose::Peer { .. }),
            Self::NoCertificate | Self::RefusedByPeer { .. } | Self::NotTls | Self::Protocol(_) => {
                true
            }
        }
    }

    /// Reads a failure of rustls about a certificate, of which the parsed form is given where there is one.
    pub(crate) fn of_certificate(error: &rustls::Error, whose: Whose) -> Self {
        let rustls::Error::InvalidCertificate(error) = error else {
            return Self::of(error);
        };
        let seconds = |time: &rustls::pki_types::UnixTime| time.as_secs().cast_signed();
        match error {
            CertificateError::ExpiredContext { time, not_after } => Self::Expired {
                whose,
                not_after: seconds(not_after),
                now: seconds(time),
            },
            CertificateError::NotValidYetContext { time, not_before } => Self::NotYetValid {
                whose,
                not_before: seconds(not_before),
                now: seconds(time),
            },
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Self::ForeignCa { whose }
            }
            CertificateError::Revoked => Self::Revoked { whose },
            other => Self::Unusable {
                whose,
                reason: shortened(&other.to_string(), MOST_REASON),
            },
        }
    }

    /// Reads a failure of rustls that is not about a certificate of the peer.
    pub(crate) fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::NoCertificatesPresented => Self::NoCertificate,
            rustls::Error::AlertReceived(alert) => match alert {
                AlertDescription::CertificateRequired
                | AlertDescription::NoCertificate
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError => Self::RefusedByPeer {
                    alert: alert_name(*alert).to_owned(),
                },
                other => Self::Protocol(format!("the peer ended the handshake: {other:?}")),
            },
            rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge,
            ) => Self::NotTls,
            rustls::Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::SupportedVersionsExtensionRequired,
            ) => Self::Protocol("the peer does not speak TLS 1.3".to_owned()),
            other => Self::Protocol(shortened(&other.to_string(), MOST_REASON)),
        }
    }
}

/// The alert in words.
const fn alert_name(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "it needs one, and none was sent"
        }
        AlertDescription::CertificateRevoked => "revoked",
        AlertDescription::CertificateExpired => "expired, or not valid yet",
        AlertDescription::UnknownCA | AlertDescription::DecryptError => "of another authority",
        AlertDescription::BadCertificate | AlertDescription::AccessDenied => {
            "not that of the node that it expects"
        }
        AlertDescription::UnsupportedCertificate => "not made for this",
        _ => "",
    }
}

impl From<TlsError> for SpError {
    fn from(error: TlsError) -> Self {
        Self::Tls {
            cause: error.cause(),
            reason: error.to_string(),
            of_peer: error.is_of_peer(),
        }
    }
}

/// Reads an error of a stream or a handshake: the one of rustls inside it, or the system's.
pub(crate) fn of_io(error: &io::Error) -> TlsError {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (inner, error.kind()) {
        (Some(error), _) => TlsError::of(error),
        (None, io::ErrorKind::UnexpectedEof) => {
            TlsError::Protocol("the peer closed during the handshake".to_owned())
        }
        (None, _) => TlsError::Protocol(error.to_string()),
    }
}
