//! Who may see the page: the address it is bound to, the token, the names it answers to.

use std::fmt;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::DashboardError;

/// Hexadecimal digits of a token that is drawn here: 256 bits.
const DRAWN_DIGITS: usize = 64;

/// A secret of at least 128 bits, as hexadecimal digits. `Debug` does not show it.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Draws a token of 256 bits from the operating system.
    ///
    /// # Errors
    /// [`DashboardError::File`] when the system has no random numbers.
    pub fn draw() -> Result<Self, DashboardError> {
        const SOURCE: &str = "/dev/urandom";
        let mut bytes = [0u8; DRAWN_DIGITS / 2];
        std::fs::File::open(SOURCE)
            .and_then(|mut file| file.read_exact(&mut bytes))
            .map_err(|source| DashboardError::File {
                path: SOURCE.into(),
                source,
            })?;
        Ok(Self(
            bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        ))
    }

    /// Takes a token that was made elsewhere.
    ///
    /// # Errors
    /// [`DashboardError::Token`] when `text` is not 32 to 128 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, DashboardError> {
        let good = (32..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        match good {
            true => Ok(Self(text.to_owned())),
            false => Err(DashboardError::Token { length: text.len() }),
        }
    }

    /// The secret itself, for the one place that shows it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `given` is the secret; takes the same time wherever they differ.
    pub(crate) fn matches(&self, given: &str) -> bool {
        let (own, given) = (self.0.as_bytes(), given.as_bytes());
        let differing = own.iter().zip(given).fold(0, |sum, (a, b)| sum | (a ^ b));
        own.len() == given.len() && std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where and to whom the page is served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen. Anything but a loopback address needs a token.
    pub address: SocketAddr,
    /// What a reader has to show; `None` lets every process of this machine read.
    pub token: Option<Token>,
    /// Names beside `localhost` and the address itself under which the page may be asked for. Every other one is
    /// turned away, so that no foreign page can point its own name here and read along.
    pub hosts: Vec<String>,
    /// Whether the page may drain the graph. Needs a token.
    pub control: bool,
    /// Most pages that are kept up to date at once.
    pub max_streams: usize,
    /// How long a client may take over the head of a request.
    pub request_timeout: Duration,
}

impl Settings {
    /// A page for reading, without a token, on `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            token: None,
            hosts: Vec::new(),
            control: false,
            max_streams: 16,
            request_timeout: Duration::from_secs(5),
        }
    }

    /// Whether other machines can reach the address.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        !self.address.ip().is_loopback()
    }

    pub(crate) fn check(&self) -> Result<(), DashboardError> {
        let address = self.address;
        match &self.token {
            Some(_) => Ok(()),
            None if self.is_exposed() => Err(DashboardError::Exposed { address }),
            None if self.control => Err(DashboardError::OpenControl { address }),
            None => Ok(()),
        }
    }

    /// Whether a request may ask for `host`, the part of the Host header before the port. Only names can be pointed
    /// elsewhere by their owner, so the port does not matter: it may have been forwarded.
    pub(crate) fn answers_to(&self, host: &str) -> bool {
        let own = self.address.ip();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(asked) if own.is_unspecified() => !asked.is_unspecified(),
            Ok(asked) if own.is_loopback() => asked.is_loopback(),
            Ok(asked) => asked == own,
            Err(_) => {
                (host.eq_ignore_ascii_case("localhost")
                    && (own.is_loopback() || own.is_unspecified()))
                    || self
                        .hosts
                        .iter()
                        .any(|name| host.eq_ignore_ascii_case(name))
            }
        }
    }
}
