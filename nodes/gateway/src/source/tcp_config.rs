//! The parameters of `tcp-lines`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use heqis_actors::units::Time;
use schemars::JsonSchema;
use serde::Deserialize;

use super::live_config::LiveConfig;

/// Limits of the parameters: a CSV header needs about the shortest line, and every client costs a thread and a line.
pub(super) const LINE_BYTES: (usize, usize) = (64, 1_048_576);
pub(super) const CLIENTS: (usize, usize) = (1, 256);

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LineFormat {
    /// An object a line: `symbol`, `date`, `open`, `high`, `low`, `close`, `volume` (shares), optionally `pre_close`,
    /// `amount` (CNY) and `time_ns`.
    Json,
    /// CSV with a header line first, as `csv-replay` reads it, with a symbol column.
    Csv,
}

/// The certificate of a `tcp-lines` source. Changed files are read again without a restart.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpTls {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM, which only its owner may read.
    pub key: PathBuf,
}

/// Parameters of a `tcp-lines` source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpLinesConfig {
    /// Where to listen, such as `127.0.0.1:5700`. An address that other machines reach needs `tls` and `token_file`.
    pub listen: SocketAddr,
    /// TLS 1.3, with the certificate of the server. Default: plain TCP.
    #[serde(default)]
    pub tls: Option<TcpTls>,
    /// File with a token of at least 32 characters, closed to other users, that each client sends as its first line. Default: none is
    /// asked for.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Accepts clients of other machines without TLS or without a token. Default: false.
    #[serde(default)]
    pub insecure: bool,
    /// What a line looks like.
    pub format: LineFormat,
    /// Longest line, bytes; a longer one ends its connection.
    #[serde(default = "max_line_bytes")]
    #[schemars(range(min = LINE_BYTES.0, max = LINE_BYTES.1))]
    pub max_line_bytes: usize,
    /// Most clients at once. A further client replaces the one that has been silent longest, if that one has been silent for at
    /// least `idle_timeout`; otherwise it is rejected.
    #[serde(default = "max_clients")]
    #[schemars(range(min = CLIENTS.0, max = CLIENTS.1))]
    pub max_clients: usize,
    /// How long a client may send no bar before a further client may replace it; a client that has never sent a bar is
    /// disconnected after this time in any case.
    #[serde(default = "idle_timeout")]
    pub idle_timeout: Time,
    /// The accepted symbols, and earlier bars.
    #[serde(flatten)]
    pub live: LiveConfig,
    /// Whether the source ends when its last client has left.
    #[serde(default)]
    pub end_on_close: bool,
}

fn idle_timeout() -> Time {
    Time(Duration::from_secs(60))
}

fn max_line_bytes() -> usize {
    4096
}

fn max_clients() -> usize {
    4
}
