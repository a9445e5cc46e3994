//! Where a socket listens or dials, as text and as type.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::SpError;

/// The longest path that fits a `sockaddr_un` on Linux, with its closing zero byte.
const IPC_PATH_MAX_BYTES: usize = 107;

/// The address of a listener.
///
/// Parses from and prints as `tcp://host:port`, `tls+tcp://host:port`, `ipc:///absolute/path` or `inproc://name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// A TCP listener.
    Tcp {
        /// A name, an IPv4 address, or an IPv6 address (without its brackets).
        host: String,
        /// The port; 0 lets the system choose one when listening.
        port: u16,
    },
    /// A TCP listener whose streams are protected by TLS; needs [`SocketOptions::security`](super::SocketOptions).
    Tls {
        /// As of [`Endpoint::Tcp`].
        host: String,
        /// The port; 0 lets the system choose one when listening.
        port: u16,
    },
    /// A Unix-domain socket at an absolute path.
    Ipc {
        /// The path of the socket file.
        path: PathBuf,
    },
    /// A listener inside this process, found through an [`Inproc`](super::Inproc) hub.
    Inproc {
        /// The name in the hub.
        name: String,
    },
}

impl Endpoint {
    /// Returns host and port of an endpoint that has them.
    #[must_use]
    pub fn host_port(&self) -> Option<(&str, u16)> {
        match self {
            Self::Tcp { host, port } | Self::Tls { host, port } => Some((host, *port)),
            Self::Ipc { .. } | Self::Inproc { .. } => None,
        }
    }

    /// Returns whether others on a network reach it and nothing protects what is sent: plain tcp at any address but a
    /// loopback one. A name other than `localhost` counts as one of the network.
    ///
    /// ```
    /// use heqis_sp::Endpoint;
    ///
    /// let is_open = |text: &str| text.parse::<Endpoint>().map(|endpoint| endpoint.is_open());
    /// assert!(is_open("tcp://10.0.0.2:5555")? && is_open("tcp://0.0.0.0:5555")?);
    /// assert!(!is_open("tcp://127.0.0.1:5555")? && !is_open("tls+tcp://10.0.0.2:5555")?);
    /// # Ok::<(), heqis_sp::SpError>(())
    /// ```
    pub fn is_open(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => !is_loopback(host),
            Self::Tls { .. } | Self::Ipc { .. } | Self::Inproc { .. } => false,
        }
    }
}

/// Whether `host` is `localhost` or a loopback address.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

impl FromStr for Endpoint {
    type Err = SpError;

    /// Parses an endpoint.
    ///
    /// # Errors
    /// [`SpError::InvalidEndpoint`] with the rule that the text breaks.
    fn from_str(text: &str) -> Result<Self, SpError> {
        parse(text).map_err(|rule| SpError::InvalidEndpoint {
            endpoint: text.to_owned(),
            rule,
        })
    }
}

fn parse(text: &str) -> Result<Endpoint, &'static str> {
    let (scheme, rest) = text
        .split_once("://")
        .ok_or("must look like tcp://host:port, ipc:///path or inproc://name")?;
    match scheme {
        "tcp" => parse_tcp(rest).map(|(host, port)| Endpoint::Tcp { host, port }),
        "tls+tcp" => parse_tcp(rest).map(|(host, port)| Endpoint::Tls { host, port }),
        "ipc" => parse_ipc(rest),
        "inproc" if rest.is_empty() => Err("the name after inproc:// is empty"),
        "inproc" => Ok(Endpoint::Inproc {
            name: rest.to_owned(),
        }),
        _ => Err("the scheme must be tcp, tls+tcp, ipc or inproc"),
    }
}

fn parse_tcp(rest: &str) -> Result<(String, u16), &'static str> {
    let (host, port) = rest.rsplit_once(':').ok_or("the port is missing")?;
    let host = match host.strip_prefix('[') {
        Some(inner) => {
            let inner = inner.strip_suffix(']').ok_or("the bracket is not closed")?;
            if inner.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("the brackets do not hold an IPv6 address");
            }
            inner
        }
        None if host.contains(':') => return Err("an IPv6 address must stand in brackets"),
        None if host.is_empty() => {
            return Err("the host is empty; write 0.0.0.0 to listen on every interface");
        }
        None if !host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) =>
        {
            return Err("the host is neither a name nor an address");
        }
        None => host,
    };
    // u16::from_str takes a leading plus sign, which no URL does.
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err("the port is not a number");
    }
    let port = port
        .parse()
        .map_err(|_| "the port is not between 0 and 65535")?;
    Ok((host.to_owned(), port))
}

fn parse_ipc(rest: &str) -> Result<Endpoint, &'static str> {
    if !rest.starts_with('/') {
        return Err("the path must be absolute, as in ipc:///run/heqis.sock");
    }
    if rest.ends_with('/') {
        return Err("the path names a directory");
    }
    if rest.contains('\0') {
        return Err("the path holds a zero byte");
    }
    if rest.len() > IPC_PATH_MAX_BYTES {
        return Err("the path is longer than 107 bytes");
    }
    Ok(Endpoint::Ipc {
        path: PathBuf::from(rest),
    })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write_tcp(f, "tcp", host, *port),
            Self::Tls { host, port } => write_tcp(f, "tls+tcp", host, *port),
            Self::Ipc { path } => write!(f, "ipc://{}", path.display()),
            Self::Inproc { name } => write!(f, "inproc://{name}"),
        }
    }
}

fn write_tcp(f: &mut fmt::Formatter<'_>, scheme: &str, host: &str, port: u16) -> fmt::Result {
    match host.contains(':') {
        true => write!(f, "{scheme}://[{host}]:{port}"),
        false => write!(f, "{scheme}://{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_scheme_prints_as_it_was_read() {
        for text in [
            "tcp://127.0.0.1:5555",
            "tcp://gateway.local:0",
            "tcp://[::1]:65535",
            "tls+tcp://10.0.0.2:5555",
            "tls+tcp://[::1]:0",
            "ipc:///run/heqis/edge.sock",
            "inproc://features",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_fault_names_the_text_and_the_rule() {
        let long = format!("ipc:///{}", "x".repeat(200));
        for (text, rule) in [
            ("", "must look like"),
            ("127.0.0.1:5555", "must look like"),
            ("udp://host:1", "scheme must be"),
            ("tcp://host", "port is missing"),
            ("tls+tcp://host", "port is missing"),
            ("tcp://:5555", "host is empty"),
            ("tcp://*:5555", "neither a name nor an address"),
            ("tcp://host:", "not between"),
            ("tcp://host:+1", "not a number"),
            ("tcp://host:65536", "not between"),
            ("tcp://::1:5555", "in brackets"),
            ("tcp://[::1:5555", "not closed"),
            ("tcp://[host]:5555", "IPv6"),
            ("ipc://relative", "absolute"),
            ("ipc:///run/", "directory"),
            (&long, "longer than 107"),
            ("inproc://", "name after"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert_eq!(error.cause(), "invalid_endpoint");
            let message = error.to_string();
            assert!(message.contains(rule), "{text:?} gave {message}");
            assert!(message.contains(text), "{text:?} gave {message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_that_parses_prints_as_an_equal_endpoint(text in "(tcp|tls\\+tcp|ipc|inproc)://\\PC{0,40}") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
            }
        }
    }
}
