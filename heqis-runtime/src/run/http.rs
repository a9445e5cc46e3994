//! The node's HTTP endpoint: `/metrics`, `/healthz`, `/readyz`, and `/report`.
//!
//! It runs on a thread of its own, so that a scrape never waits for the pipeline nor the pipeline for a scrape. Requests for a
//! foreign host name are rejected, as on the page; where a token is set, all but `/healthz` need it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, ContentType};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpResponse, HttpResponseBuilder, web};
use heqis_actors::authority::{Action, Party};
use heqis_actors::{Counters, Reporter};
use heqis_dashboard::Token;
use heqis_dashboard::connections::{Connections, Patience, seat};
use heqis_dashboard::hosts::Hosts;
use heqis_dashboard::wrong_tokens::WrongTokens;
use heqis_tls::WebCertificate;

use super::farewell::{self, Farewell};
use crate::machine::MachineGauges;

/// The variable that holds the token for metrics, `/report` and `/readyz`; with `_FILE` at its end, that of a file with it.
pub(super) const METRICS_TOKEN: &str = "HEQIS_METRICS_TOKEN";
/// Most connections that the endpoint keeps at once.
const MAX_CONNECTIONS: usize = 256;
/// Time between two attempts to bind an address that no interface has.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(2);

/// The graph's reporter; empty until every stage is built.
pub(crate) type Ready = Arc<OnceLock<Reporter>>;

/// The endpoint. It starts as soon as an interface has its address: the network of a board may come up after the node.
pub(crate) struct Endpoint {
    address: SocketAddr,
    scheme: &'static str,
    server: Rc<RefCell<Option<ServerHandle>>>,
    retry: Option<actix_rt::task::JoinHandle<()>>,
}

impl Endpoint {
    /// Starts the endpoint on `address`, now or when an interface has it.
    ///
    /// # Errors
    /// When the address cannot be bound for another reason.
    pub(crate) fn serve(node: &str, address: SocketAddr, served: Served) -> std::io::Result<Self> {
        let server = Rc::new(RefCell::new(None));
        let scheme = served.scheme();
        match serve(address, served.clone()) {
            Ok((bound, handle)) => {
                tracing::info!(node, "metrics on {}://{bound}/metrics", scheme);
                server.replace(Some(handle));
                Ok(Self {
                    address: bound,
                    scheme,
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
                        if let Ok((bound, handle)) = serve(address, served.clone()) {
                            tracing::info!(
                                node,
                                "metrics on {}://{bound}/metrics",
                                served.scheme()
                            );
                            late.replace(Some(handle));
                            return;
                        }
                    }
                });
                Ok(Self {
                    address,
                    scheme,
                    server,
                    retry: Some(retry),
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Returns where it serves metrics, or will.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}/metrics", self.scheme, self.address)
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

/// What the endpoint serves, and to whom.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) ready: Ready,
    /// Who asks for the report, and gets the last one.
    pub(crate) farewell: Arc<Farewell>,
    pub(crate) machine: MachineGauges,
    /// Names under which the node may be requested, in addition to its address.
    pub(crate) names: Vec<String>,
    /// The certificate of the server; `None` serves plain HTTP.
    pub(crate) tls: Option<WebCertificate>,
    /// The token that requests must carry. Over HTTPS they need it, or a certificate of the topology's authority.
    pub(crate) token: Option<Token>,
    pub(crate) wrong_tokens: Arc<WrongTokens>,
    /// Where refused connections are counted.
    pub(crate) refused: Counters<2>,
}

impl Served {
    fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }
}

struct Access {
    hosts: Hosts,
    /// Whether requests need the token or a certificate.
    certified: bool,
    connections: Connections,
    token: Option<Token>,
    wrong_tokens: Arc<WrongTokens>,
}

/// Starts the endpoint on `address`.
fn serve(address: SocketAddr, served: Served) -> std::io::Result<(SocketAddr, ServerHandle)> {
    let Served {
        ready,
        farewell,
        machine,
        names,
        tls,
        token,
        wrong_tokens,
        refused,
    } = served;
    let connections =
        Connections::new("metrics", tls.clone(), MAX_CONNECTIONS).counters(Some(refused));
    let access = web::Data::new(Access {
        hosts: Hosts::new(address.ip(), names),
        certified: tls.is_some(),
        connections: connections.clone(),
        token,
        wrong_tokens,
    });
    let app = move || {
        // Probes ask by HEAD as well; the server leaves out the body.
        macro_rules! at {
            ($path:literal, $handler:ident) => {
                web::resource($path)
                    .route(web::get().to($handler))
                    .route(web::head().to($handler))
            };
        }
        App::new()
            .app_data(access.clone())
            .wrap(from_fn(guard))
            .app_data(web::Data::from(ready.clone()))
            .app_data(web::Data::from(farewell.clone()))
            .app_data(web::Data::new(machine.clone()))
            .service(at!("/metrics", metrics))
            .service(at!("/healthz", healthz))
            .service(at!("/readyz", readyz))
            .service(at!("/report", report))
    };
    let listener = std::net::TcpListener::bind(address)?;
    let bound = listener.local_addr()?;
    // Idle connections must not block a scrape.
    let patience = Patience {
        request: IDLE,
        idle: IDLE,
    };
    let server = connections.serve(listener, patience, app)?;
    let handle = server.handle();
    actix_rt::spawn(server);
    Ok((bound, handle))
}

/// Passes a request on when it names this node and carries the token.
async fn guard(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let access = request
        .app_data::<web::Data<Access>>()
        .map(|access| Arc::clone(access));
    let rejected = access.and_then(|access| access.reject(&request));
    match rejected {
        None => {
            if let Some(seat) = seat(&request).filter(|_| !is_open(&request)) {
                seat.authorise();
            }
            next.call(request).await
        }
        Some(mut response) => {
            let plain = ContentType::plaintext();
            Ok(request.into_response(response.content_type(plain).finish()))
        }
    }
}

/// Whether anyone may send the request.
fn is_open(request: &ServiceRequest) -> bool {
    Action::of_path(request.path()).party() == Party::Anyone
}

impl Access {
    fn reject(&self, request: &ServiceRequest) -> Option<HttpResponseBuilder> {
        let headers = request.headers();
        if self.hosts.requested(request.uri(), headers).is_none() {
            return Some(HttpResponse::MisdirectedRequest());
        }
        if is_open(request)
            || (self.token.is_none() && !self.certified)
            || seat(request).is_some_and(|seat| self.connections.is_certified(seat))
        {
            return None;
        }
        let given = headers.get(header::AUTHORIZATION);
        match given.and_then(|given| given.to_str().ok()?.strip_prefix("Bearer ")) {
            Some(given)
                if self
                    .token
                    .as_ref()
                    .is_some_and(|token| token.matches(given)) =>
            {
                None
            }
            Some(_)
                if !self
                    .wrong_tokens
                    .count(request.peer_addr().map(|peer| peer.ip())) =>
            {
                Some(HttpResponse::TooManyRequests())
            }
            _ => {
                let mut response = HttpResponse::Unauthorized();
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
                Some(response)
            }
        }
    }
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

async fn report(
    ready: web::Data<OnceLock<Reporter>>,
    farewell: web::Data<Farewell>,
    machine: web::Data<MachineGauges>,
) -> HttpResponse {
    match ready.get() {
        Some(reporter) => {
            let mut response = HttpResponse::Ok();
            response.insert_header((farewell::BOARD, machine.board().name()));
            // Before the report is read, so that a report of an ended node is its last.
            if farewell.asked() {
                response.insert_header((farewell::ENDED, "true"));
            }
            response.json(reporter.report())
        }
        None => not_ready(),
    }
}

fn not_ready() -> HttpResponse {
    HttpResponse::ServiceUnavailable()
        .content_type(ContentType::plaintext())
        .body("building stages\n")
}
