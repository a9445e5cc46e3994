//! The node's HTTP endpoint: `/metrics`, `/healthz`, `/readyz`, and `/report`.
//!
//! It runs on a thread of its own, so that a scrape never waits for the pipeline nor the pipeline for a scrape.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::header::ContentType;
use actix_web::{App, HttpResponse, HttpServer, web};
use heqis_actors::Reporter;

use crate::machine::MachineGauges;

/// Most connections that the endpoint keeps at once.
const MAX_CONNECTIONS: usize = 512;
/// Time between two attempts to bind an address that no interface has.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(2);

/// The graph's reporter; empty until every stage is built.
pub(crate) type Ready = Arc<OnceLock<Reporter>>;

/// The endpoint. It starts as soon as an interface has its address: the network of a board may come up after the node.
pub(crate) struct Endpoint {
    address: SocketAddr,
    server: Rc<RefCell<Option<ServerHandle>>>,
    retry: Option<actix_rt::task::JoinHandle<()>>,
}

impl Endpoint {
    /// Starts the endpoint on `address`, now or when an interface has it.
    ///
    /// # Errors
    /// When the address cannot be bound for another reason.
    pub(crate) fn serve(
        node: &str,
        address: SocketAddr,
        ready: Ready,
        machine: MachineGauges,
    ) -> std::io::Result<Self> {
        let server = Rc::new(RefCell::new(None));
        match serve(address, ready.clone(), machine.clone()) {
            Ok((bound, handle)) => {
                tracing::info!(node, "metrics on http://{bound}/metrics");
                server.replace(Some(handle));
                Ok(Self {
                    address: bound,
                    server,
                    retry: None,
                })
            }
            Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
                tracing::warn!(node, %address, %error, "no metrics yet: no interface has the address");
                let (late, node) = (server.clone(), node.to_owned());
                let retry = actix_rt::spawn(async move {
                    loop {
                        actix_rt::time::sleep(RETRY).await;
                        if let Ok((bound, handle)) = serve(address, ready.clone(), machine.clone())
                        {
                            tracing::info!(node, "metrics on http://{bound}/metrics");
                            late.replace(Some(handle));
                            return;
                        }
                    }
                });
                Ok(Self {
                    address,
                    server,
                    retry: Some(retry),
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Returns where it serves, or will.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn stop(self) {
        if let Some(retry) = self.retry {
            retry.abort();
        }
        let server = self.server.take();
        if let Some(server) = server {
            server.stop(true).await;
        }
    }
}

/// Starts the endpoint on `address`.
fn serve(
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
    // Idle connections must not block a scrape.
    .client_request_timeout(IDLE)
    .keep_alive(IDLE)
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

/// The process answers.
async fn healthz() -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::plaintext())
        .body("alive\n")
}

/// Ready means: every stage is built, self-tests included, the node is not draining, and nothing on it waits for another
/// node, a stage or a resource. What waits is listed, one line each.
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
