//! The server: routes and lifetime, on one worker thread of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, web};

use crate::access::{Settings, Token};
use crate::connections::{Connections, Patience};
use crate::error::DashboardError;
use crate::guard::{AccessRules, LOGIN, guard};
use crate::sources::Sources;
use crate::stream::Hub;
use crate::{api, api_error, assets, stream};

/// Connections in addition to those of the streams; a browser opens up to six.
const SPARE_CONNECTIONS: usize = 48;

/// How long a connection is kept between two requests.
const IDLE: Duration = Duration::from_secs(5);

/// A running dashboard.
pub struct Dashboard {
    address: SocketAddr,
    scheme: &'static str,
    /// A name that the certificate holds.
    name: Option<String>,
    login: Option<Token>,
    handle: ServerHandle,
    hub: Arc<Hub>,
}

impl Dashboard {
    /// Serves `sources`. Must be called in an actix system.
    ///
    /// # Errors
    /// [`DashboardError::Exposed`], [`DashboardError::OpenControl`] and [`DashboardError::Plain`] when the settings lack a token or
    /// a certificate that they need, [`DashboardError::Tls`] when the certificate cannot be used,
    /// [`DashboardError::Address`] when the address cannot be bound.
    pub fn start(mut settings: Settings, sources: Sources) -> Result<Self, DashboardError> {
        settings.check()?;
        let fault = |address| move |source| DashboardError::Address { address, source };
        // Bound here and not by the server: the guard needs the port before the first request.
        let listener =
            std::net::TcpListener::bind(settings.address).map_err(fault(settings.address))?;
        settings.address = listener.local_addr().map_err(fault(settings.address))?;
        let address = settings.address;
        let (timeout, streams) = (settings.request_timeout, settings.max_streams);
        let login = settings.token.clone();
        if let Some(certificate) = &settings.tls {
            certificate
                .check()
                .map_err(|source| DashboardError::Tls { address, source })?;
        }
        let connections =
            Connections::new("page", settings.tls.clone(), streams + SPARE_CONNECTIONS)
                .counters(settings.refused.clone());
        let (scheme, name) = (settings.scheme(), settings.hosts.first().cloned());
        let hub = Arc::new(Hub::new(streams));
        let runs_a_graph = sources.live.is_some();
        let (access, sources, streams_hub) = (
            web::Data::new(AccessRules::new(settings)),
            web::Data::new(sources),
            web::Data::from(hub.clone()),
        );
        let patience = Patience {
            request: timeout,
            idle: IDLE,
        };
        let app = move || {
            if runs_a_graph {
                lower_priority();
            }
            App::new()
                .app_data(access.clone())
                .app_data(sources.clone())
                .app_data(streams_hub.clone())
                .app_data(
                    web::QueryConfig::default()
                        .error_handler(|error, _| api_error::bad_request(error)),
                )
                .app_data(
                    web::JsonConfig::default()
                        .error_handler(|error, _| api_error::bad_request(error)),
                )
                .app_data(
                    web::PathConfig::default()
                        .error_handler(|error, _| api_error::bad_request(error)),
                )
                .wrap(from_fn(guard))
                .configure(routes)
        };
        let server = connections.serve(listener, patience, app);
        let server = server.map_err(fault(address))?;
        let handle = server.handle();
        actix_rt::spawn(server);
        Ok(Self {
            address,
            scheme,
            name,
            login,
            handle,
            hub,
        })
    }

    /// Returns the address with the port that was bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the page's address for people, without the token.
    #[must_use]
    pub fn url(&self) -> String {
        let mut shown = self.address;
        if let ("https", Some(name)) = (self.scheme, &self.name) {
            return format!("https://{name}:{}", shown.port());
        }
        if shown.ip().is_unspecified() {
            shown.set_ip(match shown {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("{}://{shown}", self.scheme)
    }

    /// Returns the link that logs a browser in, `None` where the page needs no token. With a token that was drawn here it holds
    /// the token: show it once, on the terminal that started the server, and never log it. Who has set the token has it.
    #[must_use]
    pub fn login_url(&self) -> Option<String> {
        let token = self.login.as_ref()?;
        let shown = match token.is_drawn() {
            true => token.reveal(),
            false => "$HEQIS_DASHBOARD_TOKEN",
        };
        Some(format!("{}{LOGIN}?token={shown}", self.url()))
    }

    /// Ends all streams, then stops the server.
    pub async fn stop(self) {
        self.hub.stop();
        self.handle.stop(true).await;
    }
}

/// Gives the calling thread the scheduling class `SCHED_IDLE`, so that a page takes no time from the pipeline. Called in the
/// worker's thread; threads that it starts inherit the class.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    {
        use thread_priority::{
            NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
            set_thread_priority_and_policy, thread_native_id,
        };
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        if let Err(error) =
            set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle)
        {
            tracing::debug!(?error, "the dashboard's thread keeps its priority");
        }
    }
}

fn routes(app: &mut web::ServiceConfig) {
    app.service(web::resource("/").to(assets::index))
        .service(web::resource("/assets/{path:.*}").to(assets::file))
        .service(web::resource(LOGIN).to(api::login))
        .service(web::resource("/api/about").to(api::about))
        .service(web::resource("/api/openapi.json").to(api::document))
        .service(web::resource("/api/symbols").to(api::review::symbols))
        .service(web::resource("/api/bars").to(api::review::bars))
        .service(web::resource("/api/strategies").to(api::review::strategies))
        .service(web::resource("/api/decisions").to(api::review::decisions))
        .service(web::resource("/api/decisions/{n}").to(api::review::decision))
        .service(web::resource("/api/quality").to(api::review::quality))
        .service(web::resource("/api/drift").to(api::review::drift))
        .service(web::resource("/api/runs").to(api::runs::runs))
        .service(web::resource("/api/run").to(api::runs::run))
        .service(web::resource("/api/artefact").to(api::runs::artefact))
        .service(web::resource("/api/equity").to(api::runs::equity))
        .service(web::resource("/api/trades").to(api::runs::trades))
        .service(web::resource("/api/orders").to(api::runs::orders))
        .service(web::resource("/api/jobs").to(api::runs::job_list))
        .service(web::resource("/api/jobs/{n}").to(api::runs::job))
        .service(web::resource("/api/job-kinds").to(api::runs::job_kinds))
        .service(web::resource("/api/watch").to(api::runs::watch_list))
        .service(web::resource("/api/topology").to(api::graph::topology))
        .service(web::resource("/api/live").to(api::graph::state))
        .service(web::resource("/api/events").to(api::graph::events))
        .service(web::resource("/api/stream").to(stream::stream))
        .service(web::resource("/api/control/drain").to(api::graph::drain))
        .service(web::resource("/api/control/trading-state").to(api::graph::set_trading_state))
        .service(web::resource("/api/control/kill").to(api::graph::set_trading_state_formerly))
        .service(web::resource("/api/control/jobs").to(api::runs::start))
        .service(web::resource("/api/control/jobs/{n}/cancel").to(api::runs::cancel))
        .service(web::resource("/api/control/watch").to(api::runs::watch))
        .default_service(web::to(api::not_found));
}

/// Serves `sources` until SIGTERM or ctrl-c; calls `started` once the server listens.
///
/// # Errors
/// As [`Dashboard::start`], and [`DashboardError::Server`] when signals cannot be handled.
pub fn serve(
    settings: Settings,
    sources: Sources,
    started: impl FnOnce(&Dashboard),
) -> Result<(), DashboardError> {
    use tokio::signal::unix::{SignalKind, signal};
    actix_rt::System::new().block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(DashboardError::Server)?;
        let dashboard = Dashboard::start(settings, sources)?;
        started(&dashboard);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        dashboard.stop().await;
        Ok(())
    })
}
