//! Routes of finished runs and of jobs, on a page with an archive.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use heqis_quant::Symbol;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::csv::{self, Column, Format};
use super::responses::{OrdersResponse, TradesResponse};
use super::{blocking, checked_limit};
use crate::api_error::ApiError;
use crate::archive::Archive;
use crate::jobs::{JobOrder, Jobs, WatchOrder};
use crate::sources::Sources;

/// Largest number of orders of one response.
const MAX_ORDERS: usize = 5_000;
/// Default number of orders.
const DEFAULT_ORDERS: usize = 200;

fn archive(sources: &Sources) -> Result<&dyn Archive, ApiError> {
    sources
        .archive
        .as_deref()
        .ok_or_else(|| ApiError::absent("runs"))
}

fn jobs(sources: &Sources) -> Result<&dyn Jobs, ApiError> {
    sources
        .jobs
        .as_deref()
        .ok_or_else(|| ApiError::absent("jobs"))
}

fn missing(id: &str) -> ApiError {
    ApiError::NotFound(format!("there is no such run: {id}"))
}

/// `GET /api/runs`.
pub(crate) async fn runs(sources: web::Data<Sources>) -> Result<HttpResponse, ApiError> {
    let runs = blocking(sources, |sources| Ok(archive(sources)?.runs()?));
    Ok(HttpResponse::Ok().json(runs.await?))
}

/// Query of `GET /api/run`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunQuery {
    /// The run.
    id: String,
}

/// `GET /api/run`.
pub(crate) async fn run(
    sources: web::Data<Sources>,
    query: web::Query<RunQuery>,
) -> Result<HttpResponse, ApiError> {
    let id = query.into_inner().id;
    let detail = blocking(sources, move |sources| {
        archive(sources)?.run(&id)?.ok_or_else(|| missing(&id))
    });
    Ok(HttpResponse::Ok().json(detail.await?))
}

/// Query of `GET /api/artefact`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArtefactQuery {
    /// The run.
    run: String,
    /// The file, as the run lists it.
    path: String,
}

/// `GET /api/artefact`: a file of a run. Pictures and text are shown inline, other files are downloaded.
pub(crate) async fn artefact(
    sources: web::Data<Sources>,
    query: web::Query<ArtefactQuery>,
) -> Result<HttpResponse, ApiError> {
    let ArtefactQuery { run, path } = query.into_inner();
    let found = blocking(sources, move |sources| {
        archive(sources)?
            .artefact(&run, &path)?
            .ok_or_else(|| ApiError::NotFound(format!("{run} lists no file {path}")))
    });
    let (artefact, content) = found.await?;
    let shown = [
        "image/png",
        "image/svg+xml",
        "text/csv",
        "application/json",
        "text/plain",
    ];
    let how = match shown.contains(&artefact.content_type) {
        true => "inline",
        false => "attachment",
    };
    let name: String = artefact
        .path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, artefact.content_type))
        .insert_header((
            header::CONTENT_DISPOSITION,
            format!("{how}; filename=\"{name}\""),
        ))
        .body(content))
}

/// Query of `GET /api/equity`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EquityQuery {
    /// The backtest.
    run: String,
    /// Format of the response.
    #[serde(default)]
    format: Format,
}

/// `GET /api/equity`: the daily account of a backtest.
pub(crate) async fn equity(
    sources: web::Data<Sources>,
    query: web::Query<EquityQuery>,
) -> Result<HttpResponse, ApiError> {
    const COLUMNS: [Column; 7] = [
        ("date", "date"),
        ("equity", "equity"),
        ("return", "return"),
        ("drawdown", "drawdown"),
        ("exposure", "exposure"),
        ("benchmark", "benchmark"),
        ("benchmark_drawdown", "benchmark_drawdown"),
    ];
    let EquityQuery { run, format } = query.into_inner();
    let equity = blocking(sources, move |sources| {
        archive(sources)?.equity(&run)?.ok_or_else(|| missing(&run))
    });
    let equity = equity.await?;
    match format {
        Format::Json => Ok(HttpResponse::Ok().json(equity)),
        Format::Csv => csv::columns("equity", &COLUMNS, equity.date.len(), &equity),
    }
}

/// Query of `GET /api/trades`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TradesQuery {
    /// The backtest.
    run: String,
    /// Only this instrument.
    symbol: Option<Symbol>,
    /// Format of the response.
    #[serde(default)]
    format: Format,
}

/// `GET /api/trades`: the round trips of a backtest, with the distribution of their returns.
pub(crate) async fn trades(
    sources: web::Data<Sources>,
    query: web::Query<TradesQuery>,
) -> Result<HttpResponse, ApiError> {
    const COLUMNS: [Column; 10] = [
        ("symbol", "symbol"),
        ("opened", "opened"),
        ("closed", "closed"),
        ("open", "open"),
        ("bought_shares", "bought_shares"),
        ("spent", "spent"),
        ("earned", "earned"),
        ("gain", "gain"),
        ("return", "return"),
        ("days", "days"),
    ];
    let TradesQuery {
        run,
        symbol,
        format,
    } = query.into_inner();
    let response = blocking(sources, move |sources| {
        let mut rows = archive(sources)?
            .trades(&run)?
            .ok_or_else(|| missing(&run))?;
        rows.retain(|trade| symbol.is_none_or(|symbol| symbol == trade.symbol));
        Ok(TradesResponse::of(run, rows))
    });
    let response = response.await?;
    match format {
        Format::Json => Ok(HttpResponse::Ok().json(response)),
        Format::Csv => csv::rows("trades", &COLUMNS, &response.rows),
    }
}

/// Query of `GET /api/orders`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrdersQuery {
    /// A backtest, or a strategy for all its backtests.
    run: String,
    /// Only this instrument.
    symbol: Option<Symbol>,
    /// Only orders that were not filled completely, or only the others.
    refused: Option<bool>,
    /// Number of orders to skip, counted from the newest.
    skip: Option<usize>,
    /// Largest number of orders, 1 to 5000; default 200, as CSV all.
    limit: Option<usize>,
    /// Format of the response.
    #[serde(default)]
    format: Format,
}

/// `GET /api/orders`: orders with the reasons why they were not filled, newest first.
pub(crate) async fn orders(
    sources: web::Data<Sources>,
    query: web::Query<OrdersQuery>,
) -> Result<HttpResponse, ApiError> {
    const COLUMNS: [Column; 9] = [
        ("run", "run"),
        ("order", "order"),
        ("placed", "placed"),
        ("symbol", "symbol"),
        ("side", "side"),
        ("wanted_shares", "wanted_shares"),
        ("filled_shares", "filled_shares"),
        ("status", "status"),
        ("reasons", "reasons"),
    ];
    let query = query.into_inner();
    let format = query.format;
    let limit = match (format, query.limit) {
        (Format::Csv, None) => usize::MAX,
        (_, limit) => checked_limit(limit, DEFAULT_ORDERS, MAX_ORDERS)?,
    };
    let response = blocking(sources, move |sources| {
        let mut orders = archive(sources)?
            .orders(&query.run)?
            .ok_or_else(|| missing(&query.run))?;
        orders.retain(|order| {
            let refused = order.filled_shares < order.wanted_shares;
            query.symbol.is_none_or(|symbol| symbol == order.symbol)
                && query.refused.is_none_or(|wanted| wanted == refused)
        });
        let mut newest = orders.into_iter().rev().skip(query.skip.unwrap_or(0));
        let rows = newest.by_ref().take(limit).collect();
        Ok(OrdersResponse {
            rows,
            more: newest.next().is_some(),
        })
    });
    let response = response.await?;
    match format {
        Format::Json => Ok(HttpResponse::Ok().json(response)),
        Format::Csv => {
            let mut rows = response.rows.into_iter();
            let chunks = std::iter::from_fn(move || {
                let some: Vec<_> = rows.by_ref().take(MAX_ORDERS).collect();
                (!some.is_empty()).then(|| csv::chunk(&COLUMNS, &some))
            });
            csv::streamed("orders", &COLUMNS, futures_util::stream::iter(chunks))
        }
    }
}

/// `GET /api/jobs`.
pub(crate) async fn job_list(sources: web::Data<Sources>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(jobs(&sources)?.list()))
}

/// `GET /api/job-kinds`.
pub(crate) async fn job_kinds(sources: web::Data<Sources>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(jobs(&sources)?.kinds()))
}

/// Query of `GET /api/jobs/{n}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobQuery {
    /// Only lines after this number; default all that are kept.
    #[serde(default)]
    after: u64,
}

/// `GET /api/jobs/{n}`: a job and its log.
pub(crate) async fn job(
    sources: web::Data<Sources>,
    number: web::Path<u64>,
    query: web::Query<JobQuery>,
) -> Result<HttpResponse, ApiError> {
    let log = jobs(&sources)?.log(*number, query.after);
    let log = log.ok_or_else(|| {
        ApiError::NotFound(format!(
            "there is no job {number}: it was dropped or is not started yet"
        ))
    })?;
    Ok(HttpResponse::Ok().json(log))
}

/// `GET /api/watch`.
pub(crate) async fn watch_list(sources: web::Data<Sources>) -> Result<HttpResponse, ApiError> {
    let list = blocking(sources, |sources| {
        let list = jobs(sources)?.watch_list()?;
        list.ok_or_else(|| ApiError::absent("watch list"))
    });
    Ok(HttpResponse::Ok().json(list.await?))
}

/// `POST /api/control/jobs`; the guard has checked flag, token and origin, here and below.
pub(crate) async fn start(
    sources: web::Data<Sources>,
    order: web::Json<JobOrder>,
) -> Result<HttpResponse, ApiError> {
    let number = jobs(&sources)?.start(&order)?;
    tracing::warn!(number, command = %order.command, "job started: requested on the dashboard");
    Ok(HttpResponse::Created().json(json!({ "n": number })))
}

/// `POST /api/control/jobs/{n}/cancel`.
pub(crate) async fn cancel(
    sources: web::Data<Sources>,
    number: web::Path<u64>,
) -> Result<HttpResponse, ApiError> {
    let cancelled = jobs(&sources)?.cancel(*number)?;
    Ok(HttpResponse::Accepted().json(json!({ "cancelled": cancelled })))
}

/// `POST /api/control/watch`.
pub(crate) async fn watch(
    sources: web::Data<Sources>,
    order: web::Json<WatchOrder>,
) -> Result<HttpResponse, ApiError> {
    let order = order.into_inner();
    let added = blocking(sources, move |sources| Ok(jobs(sources)?.watch(&order)?));
    Ok(HttpResponse::Ok().json(json!({ "added": added.await? })))
}
