//! A web server of one's own with the metrics of a graph, in one tokio runtime: `cargo run --example metrics_server`
use axum::{Router, routing::get};
use heqis::prelude::*;

#[derive(Payload)]
struct Count(u64);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let graph = GraphBuilder::new("counts")
        .source_iter("count", (0..1_000).map(Count))
        .sink_fn("sink", |_: &Frame<Count>| ())
        .chain(&["count", "sink"])
        .spawn()?;
    let reporter = graph.reporter();
    let metrics = Router::new().route("/metrics", get(|| async move { reporter.render_metrics() }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/metrics", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, metrics).into_future());
    assert!(graph.wait().await.is_clean());
    let page = tokio::task::spawn_blocking(|| ureq::get(url).call()?.body_mut().read_to_string());
    assert!(page.await??.contains(r#"{edge="count->sink""#));
    Ok(())
}
