//! The HTTP API: JSON for the page and for anybody's programs. Read-only but for [`drain`].
//!
//! - `answers`: the shapes of the answers. [`openapi`]: the document that describes them.

pub(crate) mod answers;
pub(crate) mod openapi;

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, web};
use heqis_quant::{Date, Symbol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decisions::{Filter, Wanted};
use crate::guard::Gate;
use crate::market::{Market, Series};
use crate::{DashboardError, Desk};
use answers::{About, BarsAnswer, DecisionAnswer, DecisionRow, DecisionsAnswer};

/// Most bars of one answer.
const MAX_BARS: usize = 5_000;
/// Bars of an answer when the question does not say.
const DEFAULT_BARS: usize = 500;
/// Most decisions of one answer.
const MAX_DECISIONS: usize = 5_000;
/// Decisions of an answer when the question does not say.
const DEFAULT_DECISIONS: usize = 200;

/// What is said when there is nothing better to say.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Trouble {
    /// What is wrong, in a sentence.
    error: String,
}

/// An answer that turns a request away.
pub(crate) fn refuse(status: StatusCode, reason: &str) -> HttpResponse {
    HttpResponse::build(status).json(Trouble {
        error: reason.to_owned(),
    })
}

/// An answer for what is no fault of the request; the reason stands in the log as well.
pub(crate) fn broken(reason: &str) -> HttpResponse {
    tracing::error!(%reason, "the dashboard cannot answer");
    refuse(StatusCode::INTERNAL_SERVER_ERROR, reason)
}

/// `GET /api/about`.
pub(crate) async fn about(desk: web::Data<Desk>, gate: web::Data<Gate>) -> HttpResponse {
    HttpResponse::Ok().json(About::of(&desk, gate.settings.control))
}

/// `GET /api/openapi.json`.
pub(crate) async fn document() -> HttpResponse {
    HttpResponse::Ok().json(openapi::document())
}

/// `GET /api/symbols`.
pub(crate) async fn symbols(desk: web::Data<Desk>) -> HttpResponse {
    match aside(desk, |market| market.listings()).await {
        Ok(listings) => HttpResponse::Ok().json(listings),
        Err(error) => broken(&error),
    }
}

/// What `GET /api/bars` is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BarsQuery {
    /// Code and exchange, such as 600000.SH.
    symbol: Symbol,
    /// Only bars that closed before this moment, milliseconds since the Unix epoch.
    before_ms: Option<i64>,
    /// Most bars of the answer, 1 to 5000; 500 when it is left out.
    limit: Option<usize>,
}

/// `GET /api/bars`: the last bars before a moment, with every line of the chart.
pub(crate) async fn bars(desk: web::Data<Desk>, query: web::Query<BarsQuery>) -> HttpResponse {
    let BarsQuery {
        symbol,
        before_ms,
        limit,
    } = query.into_inner();
    let limit = limit.unwrap_or(DEFAULT_BARS);
    if !(1..=MAX_BARS).contains(&limit) {
        return refuse(
            StatusCode::BAD_REQUEST,
            &format!("limit must be 1 to {MAX_BARS}, got {limit}"),
        );
    }
    let found = aside(desk, move |market| {
        let series = market.series(symbol)?;
        Ok(series.map(|series| BarsAnswer::of(symbol, &series, before_ms, limit)))
    });
    match found.await {
        Ok(Some(answer)) => HttpResponse::Ok().json(answer),
        Ok(None) => refuse(
            StatusCode::NOT_FOUND,
            &format!("there is no bar of {symbol}"),
        ),
        Err(error) => broken(&error),
    }
}

/// What `GET /api/decisions` is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecisionsQuery {
    /// Only of this instrument.
    symbol: Option<Symbol>,
    /// Only to this side; `trade` is both buy and sell.
    side: Option<Wanted>,
    /// First day.
    from: Option<Date>,
    /// Last day.
    to: Option<Date>,
    /// Only those listed before this number.
    before: Option<u64>,
    /// Most decisions of the answer, 1 to 5000; 200 when it is left out.
    limit: Option<usize>,
}

/// `GET /api/decisions`: the newest decisions, newest first.
pub(crate) async fn decisions(
    desk: web::Data<Desk>,
    query: web::Query<DecisionsQuery>,
) -> HttpResponse {
    let limit = query.limit.unwrap_or(DEFAULT_DECISIONS);
    if !(1..=MAX_DECISIONS).contains(&limit) {
        return refuse(
            StatusCode::BAD_REQUEST,
            &format!("limit must be 1 to {MAX_DECISIONS}, got {limit}"),
        );
    }
    let filter = Filter {
        symbol: query.symbol,
        side: query.side,
        from: query.from,
        to: query.to,
        before: query.before,
    };
    let (rows, more) = desk.decisions.query(&filter, limit);
    HttpResponse::Ok().json(DecisionsAnswer {
        epoch: format!("{:x}", desk.decisions.epoch()),
        last: desk.decisions.last(),
        rows: rows.iter().map(DecisionRow::of).collect(),
        more,
    })
}

/// `GET /api/decisions/{n}`: everything that is known of one decision.
pub(crate) async fn decision(desk: web::Data<Desk>, number: web::Path<u64>) -> HttpResponse {
    let number = number.into_inner();
    let Some(decision) = desk.decisions.get(number) else {
        return refuse(
            StatusCode::NOT_FOUND,
            &format!("there is no decision {number} any more, or none yet"),
        );
    };
    let found = aside(desk, move |market| {
        let series = market.series(decision.symbol)?;
        Ok(DecisionAnswer::of(
            &(number, decision),
            series.as_deref(),
            &market.feature_names(),
        ))
    });
    match found.await {
        Ok(answer) => HttpResponse::Ok().json(answer),
        Err(error) => broken(&error),
    }
}

/// `GET /api/topology`.
pub(crate) async fn topology(desk: web::Data<Desk>) -> HttpResponse {
    match &desk.live {
        Some(live) => HttpResponse::Ok().json(live.topology()),
        None => no_graph(),
    }
}

/// `GET /api/live`.
pub(crate) async fn live(desk: web::Data<Desk>) -> HttpResponse {
    match &desk.live {
        Some(live) => HttpResponse::Ok().json(live.state()),
        None => no_graph(),
    }
}

/// `POST /api/control/drain`; the guard has asked for flag, token and origin.
pub(crate) async fn drain(desk: web::Data<Desk>) -> HttpResponse {
    match &desk.live {
        Some(live) => {
            tracing::warn!("draining: asked for on the dashboard");
            live.drain();
            HttpResponse::Accepted().json(serde_json::json!({ "draining": true }))
        }
        None => no_graph(),
    }
}

/// What `GET /login` is asked.
#[derive(Deserialize)]
pub(crate) struct LoginQuery {
    token: String,
}

/// `GET /login`: takes the token out of the address and into a cookie that no script reads.
pub(crate) async fn login(gate: web::Data<Gate>, query: web::Query<LoginQuery>) -> HttpResponse {
    match &gate.settings.token {
        Some(token) if !token.matches(&query.token) => {
            refuse(StatusCode::UNAUTHORIZED, "this is not the token")
        }
        Some(token) => HttpResponse::SeeOther()
            .insert_header((header::LOCATION, "/"))
            .insert_header((
                header::SET_COOKIE,
                format!(
                    "{}={}; HttpOnly; SameSite=Strict; Path=/",
                    gate.cookie,
                    token.reveal()
                ),
            ))
            .finish(),
        None => HttpResponse::SeeOther()
            .insert_header((header::LOCATION, "/"))
            .finish(),
    }
}

/// Every other path.
pub(crate) async fn nothing() -> HttpResponse {
    refuse(StatusCode::NOT_FOUND, "there is nothing at this path")
}

fn no_graph() -> HttpResponse {
    refuse(
        StatusCode::NOT_FOUND,
        "no graph runs here: this page is for review",
    )
}

/// Reads the market on a thread that may block.
async fn aside<T: Send + 'static>(
    desk: web::Data<Desk>,
    read: impl FnOnce(&dyn Market) -> Result<T, DashboardError> + Send + 'static,
) -> Result<T, String> {
    let market = Arc::clone(&desk.market);
    match web::block(move || read(&*market)).await {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Turns a question that cannot be read into an answer of the usual shape.
pub(crate) fn misread(error: impl std::fmt::Display + Into<actix_web::Error>) -> actix_web::Error {
    let answer = refuse(StatusCode::BAD_REQUEST, &error.to_string());
    actix_web::error::InternalError::from_response(error.to_string(), answer).into()
}

impl BarsAnswer {
    fn of(symbol: Symbol, series: &Series, before_ms: Option<i64>, limit: usize) -> Self {
        let end = before_ms.map_or(series.bars().len(), |before| {
            series
                .bars()
                .partition_point(|bar| answers::ms(bar.time_ns) < before)
        });
        Self::cut(symbol, series, end.saturating_sub(limit)..end)
    }
}
