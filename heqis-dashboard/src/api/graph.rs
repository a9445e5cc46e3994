//! The running graph: the routes of a live page.

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::fault::Fault;
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

/// `POST /api/control/drain`; the guard has asked for flag, token and origin.
pub(crate) async fn drain(desk: web::Data<Desk>) -> Result<HttpResponse, Fault> {
    let graph = live(&desk)?;
    tracing::warn!("draining: asked for on the dashboard");
    graph.drain();
    Ok(HttpResponse::Accepted().json(json!({ "draining": true })))
}
