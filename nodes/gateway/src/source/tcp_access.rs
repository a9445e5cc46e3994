//! Who may send bars to `tcp-lines`: its certificate, and the token that clients show.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use heqis_actors::StageError;
use heqis_base::secrets::is_equal;
use heqis_tls::OwnCertificate;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::tcp_config::TcpLinesConfig;

/// Shortest and longest token, characters.
const TOKEN: std::ops::RangeInclusive<usize> = 32..=256;

/// What a client must do before its first bar.
#[derive(Clone, Default)]
pub(super) struct Access {
    tls: Option<Arc<ServerConfig>>,
    token: Option<Arc<str>>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access(…)")
    }
}

/// Why a client may not send bars.
pub(super) enum NoAccess {
    /// It has not shown the token.
    Token,
    /// The connection has failed, or its handshake.
    Connection(io::Error),
}

impl Access {
    /// Whether clients of other machines send bars without TLS or without a token.
    pub(super) fn is_open(config: &TcpLinesConfig) -> bool {
        let local = config.listen.ip().to_canonical().is_loopback();
        !local && (config.tls.is_none() || config.token_file.is_none())
    }

    /// Whether clients must prove anything.
    pub(super) fn is_asked(&self) -> bool {
        self.tls.is_some() || self.token.is_some()
    }

    /// Why the configuration is refused: an address that other machines reach without TLS or without a token.
    pub(super) fn faults(config: &TcpLinesConfig) -> Option<String> {
        let missing = match (&config.tls, &config.token_file) {
            (Some(_), Some(_)) => return None,
            (Some(_), None) => "token_file",
            (None, Some(_)) => "tls",
            (None, None) => "tls and token_file",
        };
        (Self::is_open(config) && !config.insecure).then(|| {
            format!(
                "listen = \"{}\" is reached by other machines and needs {missing}, or `insecure = true` to accept their bars without",
                config.listen
            )
        })
    }

    /// Reads the token and prepares TLS.
    pub(super) fn of(config: &TcpLinesConfig, base: &Path) -> Result<Self, StageError> {
        let tls = match &config.tls {
            None => None,
            Some(tls) => {
                let (certificate, key) = (base.join(&tls.certificate), base.join(&tls.key));
                let certificate = OwnCertificate::new(certificate, key);
                Some(Arc::new(
                    certificate.server_config().map_err(StageError::config)?,
                ))
            }
        };
        let token = match &config.token_file {
            None => None,
            Some(path) => Some(token(&base.join(path)).map_err(StageError::config)?.into()),
        };
        Ok(Self { tls, token })
    }

    /// Opens the lines of a client: the handshake, then the line with the token.
    pub(super) fn open<'a>(
        &self,
        mut stream: impl Read + Write + 'a,
    ) -> Result<Box<dyn Read + 'a>, NoAccess> {
        let stream: Box<dyn Read + 'a> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let mut connection = ServerConnection::new(tls.clone())
                    .map_err(|error| NoAccess::Connection(io::Error::other(error)))?;
                while connection.is_handshaking() {
                    connection
                        .complete_io(&mut stream)
                        .map_err(NoAccess::Connection)?;
                }
                Box::new(StreamOwned::new(connection, stream))
            }
        };
        let Some(token) = &self.token else {
            return Ok(stream);
        };
        // What it has read beyond the line stays in it.
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        let most = *TOKEN.end() as u64 + 2;
        stream
            .by_ref()
            .take(most)
            .read_until(b'\n', &mut line)
            .map_err(NoAccess::Connection)?;
        match is_equal(line.trim_ascii_end(), token.as_bytes()) {
            true => Ok(Box::new(stream)),
            false => Err(NoAccess::Token),
        }
    }
}

fn token(path: &Path) -> Result<String, String> {
    let fault = |reason: &dyn fmt::Display| format!("token_file {}: {reason}", path.display());
    let mode = std::fs::metadata(path).map_err(|error| fault(&error))?;
    if mode.permissions().mode() & 0o077 != 0 {
        return Err(fault(&"other users can read it: chmod 600"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fault(&error))?;
    let token = text.trim();
    let sound = TOKEN.contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    match sound {
        true => Ok(token.to_owned()),
        false => Err(fault(&format!(
            "a token has {} to {} visible ASCII characters, got {} bytes",
            TOKEN.start(),
            TOKEN.end(),
            token.len()
        ))),
    }
}
