//! The running graph: the routes of a live page.

use actix_web::{HttpResponse, web};
use heqis_quant::KillState;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::answers::EventsAnswer;
use super::fault::Fault;
use super::{aside, limited};
use crate::{Desk, Live};

fn live(desk: &Desk) -> Result<&dyn Live, Fault> {
    let none = || Fault::Missing("no graph runs here: this page is for review".into());
    desk.live.as_deref().ok_or_else(none)
}

/// `GET /api/topology`.
pub(crate) async fn topology(desk: web::Data<Desk>) -> Result<HttpResponse, Fault> {
    Ok(HttpResponse::Ok().json(live(&desk)?.topology()))
}

/// `GET /api/live`.
pub(crate) async fn state(desk: web::Data<Desk>) -> Result<HttpResponse, Fault> {
    Ok(HttpResponse::Ok().json(live(&desk)?.state()))
}

/// What `GET /api/events` is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsQuery {
    /// Only those before this number.
    before: Option<u64>,
    /// Most events of the answer, 1 to 1000; 100 when it is left out.
    limit: Option<usize>,
}

/// `GET /api/events`: what happened, newest first.
pub(crate) async fn events(
    desk: web::Data<Desk>,
    query: web::Query<EventsQuery>,
) -> Result<HttpResponse, Fault> {
    let limit = limited(query.limit, 100, 1_000)?;
    let (rows, more) = live(&desk)?.events(query.before, limit);
    Ok(HttpResponse::Ok().json(EventsAnswer { rows, more }))
}

/// What `POST /api/control/kill` is told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KillOrder {
    /// How far may be traded.
    state: KillState,
}

/// `POST /api/control/kill`; the guard has asked for flag, token and origin, here and below.
pub(crate) async fn kill(
    desk: web::Data<Desk>,
    order: web::Json<KillOrder>,
) -> Result<HttpResponse, Fault> {
    let state = order.state;
    live(&desk)?;
    let told = aside(desk, move |desk| Ok(live(desk)?.kill(state)?));
    told.await?;
    Ok(HttpResponse::Ok().json(json!({ "state": state })))
}

/// `POST /api/control/drain`; as above.
pub(crate) async fn drain(desk: web::Data<Desk>) -> Result<HttpResponse, Fault> {
    let graph = live(&desk)?;
    tracing::warn!("draining: asked for on the dashboard");
    graph.drain();
    Ok(HttpResponse::Accepted().json(json!({ "draining": true })))
}
