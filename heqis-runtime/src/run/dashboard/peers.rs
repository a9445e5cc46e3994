//! The reports of the other nodes, requested over HTTP while the page is open, or where it stays after the end.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use heqis_dashboard::Token;
use heqis_tls::client_config;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::graph::{Answer, Graph, Peer};
use crate::run::farewell::{BOARD, ENDED};
use crate::run::http::METRICS_TOKEN;

/// Time between two requests to the same node.
const PAUSE: Duration = Duration::from_millis(500);
/// Time limit of a request.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest response, bytes; a report has some hundred bytes per edge or stage.
const MAX_ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// Requests the report of every other node periodically, until the graph is dropped.
pub(super) fn watch(graph: &Arc<Graph>) {
    for (node, address) in &graph.peers {
        match address {
            Ok(peer) => {
                actix_rt::spawn(ask(Arc::downgrade(graph), *node, peer.clone()));
            }
            Err(reason) => graph.record_report(*node, Err(reason.clone())),
        }
    }
}

async fn ask(graph: Weak<Graph>, node: usize, peer: Peer) {
    let address = &peer.address;
    // Every node of a topology has the same token for its metrics. A malformed one has ended this node already.
    let token = Token::from_environment(METRICS_TOKEN).ok().flatten();
    loop {
        sleep(PAUSE).await;
        match graph.upgrade() {
            None => return,
            Some(graph) if !graph.wants_reports() => continue,
            Some(_) => {}
        }
        let answer = match timeout(PATIENCE, report(&peer, token.as_ref())).await {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(error)) => Err(format!("{address}: {error}")),
            Err(_) => Err(format!("{address}: no response within {PATIENCE:?}")),
        };
        if let Some(graph) = graph.upgrade() {
            graph.record_report(node, answer);
        }
    }
}

/// Reads the report that the node at `address` serves next to its metrics.
async fn report(peer: &Peer, token: Option<&Token>) -> io::Result<Answer> {
    let address = &peer.address;
    let stream = TcpStream::connect(address).await?;
    let Some((name, identity)) = &peer.tls else {
        return request(stream, address, token).await;
    };
    let loaded = identity.current().map_err(io::Error::other)?;
    let config = client_config(&loaded).map_err(io::Error::other)?;
    let name = ServerName::try_from(name.clone()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    request(stream, address, token).await
}

/// Requests the report over `stream`.
async fn request(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    address: &str,
    token: Option<&Token>,
) -> io::Result<Answer> {
    let token = token.map_or_else(String::new, |token| {
        format!("Authorization: Bearer {}\r\n", token.reveal())
    });
    let question =
        format!("GET /report HTTP/1.1\r\nHost: {address}\r\n{token}Connection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut answer = Vec::new();
    stream
        .take(MAX_ANSWER_BYTES)
        .read_to_end(&mut answer)
        .await?;
    parse(&answer).map_err(io::Error::other)
}

/// Returns the report in a response with a length and no chunks, as nodes send it.
fn parse(answer: &[u8]) -> Result<Answer, String> {
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or("the response is not HTTP")?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let body = &answer[end + 4..];
    match head.split(' ').nth(1) {
        Some("200") => {
            let header = |wanted: &str| {
                let mut lines = head.lines().filter_map(|line| line.split_once(':'));
                let found = lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                found.map(|(_, value)| value.trim().to_owned())
            };
            Ok(Answer {
                is_last: header(ENDED).is_some(),
                machine: header(BOARD),
                report: serde_json::from_slice(body).map_err(|error| error.to_string())?,
            })
        }
        Some(_) => Err(String::from_utf8_lossy(body).trim().to_owned()),
        None => Err("the response is not HTTP".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_report_is_read_from_its_response_and_anything_else_is_an_error() {
        let body = r#"{"topology":"t","node":"compute","failure":null,"edges":[],"stages":[]}"#;
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let running = parse(answer.as_bytes()).unwrap();
        assert_eq!(running.report.node, "compute");
        assert_eq!((running.is_last, running.machine), (false, None));
        let last = answer.replace("200 OK", "200 OK\r\nHeqis-Ended: true\r\nheqis-board: host");
        let last = parse(last.as_bytes()).unwrap();
        assert_eq!(
            (last.is_last, last.machine.as_deref()),
            (true, Some("host"))
        );
        let building = b"HTTP/1.1 503 Service Unavailable\r\n\r\nbuilding stages\n";
        assert_eq!(parse(building).unwrap_err(), "building stages");
        for garbage in [
            &b""[..],
            b"\r\n\r\n",
            b"SSH-2.0-x\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n{\"node\":1}",
        ] {
            assert!(parse(garbage).is_err());
        }
    }
}
