//! What the other nodes report, asked for over HTTP while anybody looks at the page.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use heqis_actors::NodeReport;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::graph::Graph;

/// Pause between two questions to the same node.
const PAUSE: Duration = Duration::from_millis(500);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest answer, in bytes; a report has some hundred bytes an edge or stage.
const MAX_ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// Asks every other node from time to time, for as long as the graph is held by anybody else.
pub(super) fn watch(graph: &Arc<Graph>) {
    for (node, address) in &graph.peers {
        match address {
            Ok(address) => {
                actix_rt::spawn(ask(Arc::downgrade(graph), *node, address.clone()));
            }
            Err(reason) => graph.heard(*node, Err(reason.clone())),
        }
    }
}

async fn ask(graph: Weak<Graph>, node: usize, address: String) {
    loop {
        sleep(PAUSE).await;
        match graph.upgrade() {
            None => return,
            Some(graph) if !graph.is_watched() => continue,
            Some(_) => {}
        }
        let answer = match timeout(PATIENCE, report(&address)).await {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(error)) => Err(format!("{address}: {error}")),
            Err(_) => Err(format!("{address}: no answer within {PATIENCE:?}")),
        };
        if let Some(graph) = graph.upgrade() {
            graph.heard(node, answer);
        }
    }
}

/// Reads the report that the node at `address` serves beside its metrics.
async fn report(address: &str) -> io::Result<NodeReport> {
    let mut stream = TcpStream::connect(address).await?;
    let question = format!("GET /report HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut answer = Vec::new();
    stream
        .take(MAX_ANSWER_BYTES)
        .read_to_end(&mut answer)
        .await?;
    parse(&answer).map_err(io::Error::other)
}

/// The report in an answer with a length and no chunks, which is how a node answers.
fn parse(answer: &[u8]) -> Result<NodeReport, String> {
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or("the answer is no HTTP")?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let body = &answer[end + 4..];
    match head.split(' ').nth(1) {
        Some("200") => serde_json::from_slice(body).map_err(|error| error.to_string()),
        Some(_) => Err(String::from_utf8_lossy(body).trim().to_owned()),
        None => Err("the answer is no HTTP".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_report_is_taken_out_of_its_answer_and_anything_else_is_said() {
        let body = r#"{"topology":"t","node":"compute","failure":null,"edges":[],"stages":[]}"#;
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(parse(answer.as_bytes()).unwrap().node, "compute");
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
