//! Routes of the running graph.

use actix_web::{HttpResponse, web};
use heqis_quant::TradingState;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::responses::EventsResponse;
use super::{blocking, checked_limit};
use crate::api_error::ApiError;
use crate::live::Live;
use crate::sources::Sources;

fn live(sources: &Sources) -> Result<&dyn Live, ApiError> {
    let none = || ApiError::NotFound("no graph runs here: this page is for review".into());
    sources.live.as_deref().ok_or_else(none)
}

/// `GET /api/topology`.
pub(crate) async fn topology(sources: web::Data<Sources>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(live(&sources)?.topology()))
}

/// `GET /api/live`.
pub(crate) async fn state(sources: web::Data<Sources>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(live(&sources)?.state()))
}

/// Query of `GET /api/events`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsQuery {
    /// Only events with a smaller number.
    before: Option<u64>,
    /// Largest number of events, 1 to 1000; default 100.
    limit: Option<usize>,
}

/// `GET /api/events`: events, newest first.
pub(crate) async fn events(
    sources: web::Data<Sources>,
    query: web::Query<EventsQuery>,
) -> Result<HttpResponse, ApiError> {
    let limit = checked_limit(query.limit, 100, 1_000)?;
    let (rows, more) = live(&sources)?.events(query.before, limit);
    Ok(HttpResponse::Ok().json(EventsResponse { rows, more }))
}

/// Body of `POST /api/control/trading-state`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TradingStateOrder {
    /// The trading state to set.
    state: TradingState,
}

/// `POST /api/control/kill`, the former path of [`set_trading_state`], which is served for one version.
pub(crate) async fn set_trading_state_formerly(
    sources: web::Data<Sources>,
    order: web::Json<TradingStateOrder>,
) -> Result<HttpResponse, ApiError> {
    tracing::warn!(
        "/api/control/kill is now /api/control/trading-state; the former path is served for one version"
    );
    set_trading_state(sources, order).await
}

/// `POST /api/control/trading-state`; the guard has checked flag, token and origin, here and below.
pub(crate) async fn set_trading_state(
    sources: web::Data<Sources>,
    order: web::Json<TradingStateOrder>,
) -> Result<HttpResponse, ApiError> {
    let state = order.state;
    live(&sources)?;
    let asked = blocking(sources, move |sources| {
        Ok(live(sources)?.set_trading_state(state)?)
    })
    .await?;
    // Another node has yet to do it.
    Ok(match asked.is_empty() {
        true => HttpResponse::Ok().json(json!({ "state": state })),
        false => HttpResponse::Accepted().json(json!({ "state": state, "requested": asked })),
    })
}

/// `POST /api/control/drain`; as above.
pub(crate) async fn drain(sources: web::Data<Sources>) -> Result<HttpResponse, ApiError> {
    let graph = live(&sources)?;
    tracing::warn!("draining: requested on the dashboard");
    graph.drain();
    Ok(HttpResponse::Accepted().json(json!({ "draining": true })))
}
