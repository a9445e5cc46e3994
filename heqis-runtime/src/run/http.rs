//! The node's HTTP endpoint: `/metrics`, `/healthz`, `/readyz`, and `/report` for people and tools.
//!
//! It runs on a thread of its own, so that a scrape never waits for the pipeline nor the pipeline for a scrape.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::header::ContentType;
use actix_web::{App, HttpResponse, HttpServer, web};
use heqis_actors::Reporter;

use crate::machine::MachineGauges;

/// Most connections that the endpoint keeps at once.
const MAX_CONNECTIONS: usize = 512;
/// How long a connection may say nothing.
const SILENT: Duration = Duration::from_secs(2);

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
        // Probes ask by HEAD as well; the server leaves out the body.
        macro_rules! at {
            ($path:literal, $handler:ident) => {
                web::resource($path)
                    .route(web::get().to($handler))
                    .route(web::head().to($handler))
            };
        }
        App::new()
            .app_data(web::Data::from(ready.clone()))
            .app_data(web::Data::new(machine.clone()))
            .service(at!("/metrics", metrics))
            .service(at!("/healthz", healthz))
            .service(at!("/readyz", readyz))
            .service(at!("/report", report))
    })
    .workers(1)
    // Connections that say nothing must not keep a scrape waiting.
    .client_request_timeout(SILENT)
    .keep_alive(SILENT)
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

/// Ready: every stage is built, self-tests included, the node is not draining, and nothing on it waits for another node, a
/// stage or a resource. What waits is named, a line each.
async fn readyz(ready: web::Data<OnceLock<Reporter>>) -> HttpResponse {
    let (is_ready, text) = match ready.get() {
        None => return not_ready(),
        Some(reporter) if reporter.stopping() => (false, "draining\n".to_owned()),
        Some(reporter) => {
            let waiting = reporter.waiting();
            let lines: Vec<String> = waiting
                .iter()
                .map(|waits| format!("{} waits: {}\n", waits.subject, waits.reason))
                .collect();
            match lines.is_empty() {
                true => (true, "ready\n".to_owned()),
                false => (false, lines.concat()),
            }
        }
    };
    let mut response = match is_ready {
        true => HttpResponse::Ok(),
        false => HttpResponse::ServiceUnavailable(),
    };
    response.content_type(ContentType::plaintext()).body(text)
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
