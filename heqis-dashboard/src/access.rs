//! Access to the page: bind address, token and accepted host names.

use std::fmt;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use heqis_base::secrets::is_equal;
use heqis_core::{Clock, Counters};
use heqis_tls::WebCertificate;

use crate::error::DashboardError;
use crate::hosts::Hosts;
use crate::wrong_tokens::WrongTokens;

/// Hexadecimal digits of a generated token: 256 bits.
const DRAWN_DIGITS: usize = 64;

/// A secret of at least 128 bits, as hexadecimal digits. `Debug` hides it.
#[derive(Clone)]
pub struct Token {
    secret: String,
    /// Whether no user has it yet.
    drawn: bool,
}

impl Token {
    /// Generates a token of 256 bits from the operating system's random numbers.
    ///
    /// # Errors
    /// [`DashboardError::File`] when the system provides no random numbers.
    pub fn draw() -> Result<Self, DashboardError> {
        const SOURCE: &str = "/dev/urandom";
        let mut bytes = [0u8; DRAWN_DIGITS / 2];
        std::fs::File::open(SOURCE)
            .and_then(|mut file| file.read_exact(&mut bytes))
            .map_err(|source| DashboardError::File {
                path: SOURCE.into(),
                source,
            })?;
        Ok(Self {
            secret: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            drawn: true,
        })
    }

    /// Parses a token that was generated elsewhere.
    ///
    /// # Errors
    /// [`DashboardError::Token`] when `text` is not 32 to 128 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, DashboardError> {
        let length = text.len();
        let others = text
            .bytes()
            .filter(|byte| !byte.is_ascii_hexdigit())
            .count();
        match (32..=128).contains(&length) && others == 0 {
            true => Ok(Self {
                secret: text.to_owned(),
                drawn: false,
            }),
            false => Err(DashboardError::Token { length, others }),
        }
    }

    /// Reads a token from the environment: the value of `variable`, or the content of the file that `variable` with `_FILE`
    /// names, such as a credential of systemd. `None` where neither is set.
    ///
    /// # Errors
    /// [`DashboardError::File`] when the file cannot be read, [`DashboardError::Token`] when the token is malformed.
    #[expect(
        clippy::disallowed_methods,
        reason = "a token has no place in a topology or on a command line"
    )]
    pub fn from_environment(variable: &str) -> Result<Option<Self>, DashboardError> {
        if let Ok(token) = std::env::var(variable) {
            return Self::parse(&token).map(Some);
        }
        let Some(path) = std::env::var_os(format!("{variable}_FILE")) else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(&path).map_err(|source| DashboardError::File {
            path: path.to_string_lossy().into_owned(),
            source,
        })?;
        Self::parse(text.trim_end()).map(Some)
    }

    /// Returns the secret, for the one place that shows it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.secret
    }

    /// Returns whether it was drawn here, so that a user has to be shown it.
    #[must_use]
    pub fn is_drawn(&self) -> bool {
        self.drawn
    }

    /// Compares `given` with the secret in constant time.
    #[must_use]
    pub fn matches(&self, given: &str) -> bool {
        is_equal(given.as_bytes(), self.secret.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where the page is served and who may read it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address to listen on. Every address other than loopback needs a token.
    pub address: SocketAddr,
    /// Token that a request must carry; `None` lets every process of this machine read.
    pub token: Option<Token>,
    /// Accepted host names in addition to `localhost` and the address itself. Requests for other hosts are rejected, which
    /// prevents DNS rebinding.
    pub hosts: Vec<String>,
    /// Whether the control actions are enabled. Needs a token.
    pub control: bool,
    /// Largest number of event streams open at once.
    pub max_streams: usize,
    /// Longest time that a client may take to send the head of a request.
    pub request_timeout: Duration,
    /// Certificate of the server; `None` serves plain HTTP.
    pub tls: Option<WebCertificate>,
    /// Accepts plain HTTP on an address that other machines reach.
    pub insecure: bool,
    /// Where wrong tokens are counted.
    pub wrong_tokens: Arc<WrongTokens>,
    /// Where refused connections are counted, by `server` and `cause`.
    pub refused: Option<Counters<2>>,
}

impl Settings {
    /// Returns settings of a read-only page without a token on `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            token: None,
            hosts: Vec::new(),
            control: false,
            max_streams: 16,
            request_timeout: Duration::from_secs(5),
            tls: None,
            insecure: false,
            wrong_tokens: Arc::new(WrongTokens::new("page", Clock::real())),
            refused: None,
        }
    }

    /// Returns the scheme of the page's address.
    pub(crate) fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }

    /// Returns whether other machines can reach the address.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        !self.address.ip().is_loopback()
    }

    pub(crate) fn check(&self) -> Result<(), DashboardError> {
        let address = self.address;
        if self.is_exposed() && self.tls.is_none() && !self.insecure {
            return Err(DashboardError::Plain { address });
        }
        match &self.token {
            Some(_) => Ok(()),
            None if self.is_exposed() => Err(DashboardError::Exposed { address }),
            None if self.control => Err(DashboardError::OpenControl { address }),
            None => Ok(()),
        }
    }

    /// Returns the host names that the page accepts.
    #[must_use]
    pub fn hosts(&self) -> Hosts {
        Hosts::new(self.address.ip(), self.hosts.clone())
    }
}
