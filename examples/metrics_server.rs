//! A web server of one's own that serves the metrics of a graph, in one tokio runtime with it.
//!
//! ```sh
//! cargo run --example metrics_server
//! ```

use std::time::Duration;

use axum::{Router, routing::get};
use heqis::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[derive(Payload)]
struct Count(u64);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let graph = GraphBuilder::new("counts")
        .source_iter("count", (0..1_000).map(Count))
        .sink_fn("sink", |_: &Frame<Count>| ())
        .chain(&["count", "sink"])
        .start()
        .await?;
    let reporter = graph.reporter();
    let metrics = Router::new().route("/metrics", get(|| async move { reporter.render_metrics() }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(axum::serve(listener, metrics).into_future());
    assert!(graph.wait().await.is_clean());

    let mut client = tokio::net::TcpStream::connect(address).await?;
    client.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
    let mut page = String::new();
    tokio::time::timeout(Duration::from_secs(5), client.read_to_string(&mut page)).await??;
    assert!(
        page.contains(r#"heqis_edge_frames_total{edge="count->sink""#),
        "{page}"
    );
    server.abort();
    Ok(())
}
