//! The node's HTTP endpoint: `/metrics`, `/healthz`, `/readyz`, and `/report` for people and tools.
//!
//! It runs on a thread of its own, so that a scrape never waits for the pipeline nor the pipeline for a scrape.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use actix_web::dev::ServerHandle;
use actix_web::http::header::ContentType;
use actix_web::{App, HttpResponse, HttpServer, web};
use heqis_actors::Reporter;

use crate::machine::MachineGauges;

/// Most connections that the endpoint keeps at once.
const MAX_CONNECTIONS: usize = 64;

/// What the endpoint knows of the graph; empty until every stage is built.
pub(crate) type Ready = Arc<OnceLock<Reporter>>;

/// Starts the endpoint on `address`.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) fn serve(
    address: SocketAddr,
    ready: Ready,
    machine: MachineGauges,
) -> std::io::Result<(SocketAddr, ServerHandle)> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(ready.clone()))
            .app_data(web::Data::new(machine.clone()))
            .route("/metrics", web::get().to(metrics))
            .route("/healthz", web::get().to(healthz))
            .route("/readyz", web::get().to(readyz))
            .route("/report", web::get().to(report))
    })
    .workers(1)
    .max_connections(MAX_CONNECTIONS)
    .disable_signals()
    .shutdown_timeout(1)
    .bind(address)?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    let server = server.run();
    let handle = server.handle();
    actix_rt::spawn(server);
    Ok((bound, handle))
}

async fn metrics(
    ready: web::Data<OnceLock<Reporter>>,
    machine: web::Data<MachineGauges>,
) -> HttpResponse {
    match ready.get() {
        Some(reporter) => {
            machine.sample();
            HttpResponse::Ok()
                .content_type("text/plain; version=0.0.4; charset=utf-8")
                .body(reporter.render_metrics())
        }
        None => not_ready(),
    }
}

/// Alive: the process answers.
async fn healthz() -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::plaintext())
        .body("alive\n")
}

/// Ready: every stage is built, self-tests included, and the node is not draining.
async fn readyz(ready: web::Data<OnceLock<Reporter>>) -> HttpResponse {
    match ready.get() {
        Some(reporter) if reporter.stopping() => HttpResponse::ServiceUnavailable()
            .content_type(ContentType::plaintext())
            .body("draining\n"),
        Some(_) => HttpResponse::Ok()
            .content_type(ContentType::plaintext())
            .body("ready\n"),
        None => not_ready(),
    }
}

async fn report(ready: web::Data<OnceLock<Reporter>>) -> HttpResponse {
    match ready.get() {
        Some(reporter) => HttpResponse::Ok().json(reporter.report()),
        None => not_ready(),
    }
}

fn not_ready() -> HttpResponse {
    HttpResponse::ServiceUnavailable()
        .content_type(ContentType::plaintext())
        .body("building stages\n")
}
