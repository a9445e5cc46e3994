//! Finished runs, and jobs that make new ones: the routes of a page with an archive.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use heqis_quant::Symbol;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::answers::{OrdersAnswer, TradesAnswer};
use super::fault::Fault;
use super::sheet::{self, Column, Format};
use super::{aside, limited};
use crate::Desk;
use crate::archive::Archive;
use crate::jobs::{JobOrder, Jobs, WatchOrder};

/// Most orders of one answer.
const MAX_ORDERS: usize = 5_000;
/// Orders of an answer when the question does not say.
const DEFAULT_ORDERS: usize = 200;

fn archive(desk: &Desk) -> Result<&dyn Archive, Fault> {
    desk.archive
        .as_deref()
        .ok_or_else(|| Fault::without("runs"))
}

fn jobs(desk: &Desk) -> Result<&dyn Jobs, Fault> {
    desk.jobs.as_deref().ok_or_else(|| Fault::without("jobs"))
}

fn missing(id: &str) -> Fault {
    Fault::Missing(format!("there is no such run: {id}"))
}

/// `GET /api/runs`.
pub(crate) async fn runs(desk: web::Data<Desk>) -> Result<HttpResponse, Fault> {
    let runs = aside(desk, |desk| Ok(archive(desk)?.runs()?));
    Ok(HttpResponse::Ok().json(runs.await?))
}

/// What `GET /api/run` is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunQuery {
    /// The run.
    id: String,
}

/// `GET /api/run`.
pub(crate) async fn run(
    desk: web::Data<Desk>,
    query: web::Query<RunQuery>,
) -> Result<HttpResponse, Fault> {
    let id = query.into_inner().id;
    let detail = aside(desk, move |desk| {
        archive(desk)?.run(&id)?.ok_or_else(|| missing(&id))
    });
    Ok(HttpResponse::Ok().json(detail.await?))
}

/// What `GET /api/artefact` is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArtefactQuery {
    /// The run.
    run: String,
    /// The file, as the run lists it.
    path: String,
}

/// `GET /api/artefact`: a file of a run. Pictures and text are shown, everything else is to be kept.
pub(crate) async fn artefact(
    desk: web::Data<Desk>,
    query: web::Query<ArtefactQuery>,
) -> Result<HttpResponse, Fault> {
    let ArtefactQuery { run, path } = query.into_inner();
    let found = aside(desk, move |desk| {
        archive(desk)?
            .artefact(&run, &path)?
            .ok_or_else(|| Fault::Missing(format!("{run} lists no file {path}")))
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

/// What `GET /api/equity` is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EquityQuery {
    /// The backtest.
    run: String,
    /// How the answer is written.
    #[serde(default)]
    format: Format,
}

/// `GET /api/equity`: the account of a backtest day by day.
pub(crate) async fn equity(
    desk: web::Data<Desk>,
    query: web::Query<EquityQuery>,
) -> Result<HttpResponse, Fault> {
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
    let equity = aside(desk, move |desk| {
        archive(desk)?.equity(&run)?.ok_or_else(|| missing(&run))
    });
    let equity = equity.await?;
    match format {
        Format::Json => Ok(HttpResponse::Ok().json(equity)),
        Format::Csv => sheet::columns("equity", &COLUMNS, equity.date.len(), &equity),
    }
}

/// What `GET /api/trades` is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TradesQuery {
    /// The backtest.
    run: String,
    /// Only of this instrument.
    symbol: Option<Symbol>,
    /// How the answer is written.
    #[serde(default)]
    format: Format,
}

/// `GET /api/trades`: the round trips of a backtest, with the distribution of what they returned.
pub(crate) async fn trades(
    desk: web::Data<Desk>,
    query: web::Query<TradesQuery>,
) -> Result<HttpResponse, Fault> {
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
    let answer = aside(desk, move |desk| {
        let mut rows = archive(desk)?.trades(&run)?.ok_or_else(|| missing(&run))?;
        rows.retain(|trade| symbol.is_none_or(|symbol| symbol == trade.symbol));
        Ok(TradesAnswer::of(run, rows))
    });
    let answer = answer.await?;
    match format {
        Format::Json => Ok(HttpResponse::Ok().json(answer)),
        Format::Csv => sheet::rows("trades", &COLUMNS, &answer.rows),
    }
}

/// What `GET /api/orders` is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrdersQuery {
    /// A backtest, or a strategy for all of its backtests.
    run: String,
    /// Only of this instrument.
    symbol: Option<Symbol>,
    /// Only those that were not filled whole, or only the others.
    refused: Option<bool>,
    /// Only those after so many, counted from the newest.
    skip: Option<usize>,
    /// Most orders of the answer, 1 to 5000; 200 when it is left out.
    limit: Option<usize>,
    /// How the answer is written.
    #[serde(default)]
    format: Format,
}

/// `GET /api/orders`: orders with the reasons for which they were not filled, newest first.
pub(crate) async fn orders(
    desk: web::Data<Desk>,
    query: web::Query<OrdersQuery>,
) -> Result<HttpResponse, Fault> {
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
    let limit = limited(query.limit, DEFAULT_ORDERS, MAX_ORDERS)?;
    let format = query.format;
    let answer = aside(desk, move |desk| {
        let mut orders = archive(desk)?
            .orders(&query.run)?
            .ok_or_else(|| missing(&query.run))?;
        orders.retain(|order| {
            let refused = order.filled_shares < order.wanted_shares;
            query.symbol.is_none_or(|symbol| symbol == order.symbol)
                && query.refused.is_none_or(|wanted| wanted == refused)
        });
        let mut newest = orders.into_iter().rev().skip(query.skip.unwrap_or(0));
        let rows = newest.by_ref().take(limit).collect();
        Ok(OrdersAnswer {
            rows,
            more: newest.next().is_some(),
        })
    });
    let answer = answer.await?;
    match format {
        Format::Json => Ok(HttpResponse::Ok().json(answer)),
        Format::Csv => sheet::rows("orders", &COLUMNS, &answer.rows),
    }
}

/// `GET /api/jobs`.
pub(crate) async fn job_list(desk: web::Data<Desk>) -> Result<HttpResponse, Fault> {
    Ok(HttpResponse::Ok().json(jobs(&desk)?.list()))
}

/// `GET /api/job-kinds`.
pub(crate) async fn job_kinds(desk: web::Data<Desk>) -> Result<HttpResponse, Fault> {
    Ok(HttpResponse::Ok().json(jobs(&desk)?.kinds()))
}

/// What `GET /api/jobs/{n}` is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobQuery {
    /// Only lines behind this number; all that are kept when it is left out.
    #[serde(default)]
    after: u64,
}

/// `GET /api/jobs/{n}`: a job and its log.
pub(crate) async fn job(
    desk: web::Data<Desk>,
    number: web::Path<u64>,
    query: web::Query<JobQuery>,
) -> Result<HttpResponse, Fault> {
    let log = jobs(&desk)?.log(*number, query.after);
    let log = log
        .ok_or_else(|| Fault::Missing(format!("there is no job {number} any more, or none yet")))?;
    Ok(HttpResponse::Ok().json(log))
}

/// `GET /api/watch`.
pub(crate) async fn watch_list(desk: web::Data<Desk>) -> Result<HttpResponse, Fault> {
    let list = aside(desk, |desk| {
        let list = jobs(desk)?.watch_list()?;
        list.ok_or_else(|| Fault::without("watch list"))
    });
    Ok(HttpResponse::Ok().json(list.await?))
}

/// `POST /api/control/jobs`; the guard has asked for flag, token and origin, here and below.
pub(crate) async fn start(
    desk: web::Data<Desk>,
    order: web::Json<JobOrder>,
) -> Result<HttpResponse, Fault> {
    let number = jobs(&desk)?.start(&order)?;
    tracing::warn!(number, command = %order.command, "job started: asked for on the dashboard");
    Ok(HttpResponse::Created().json(json!({ "n": number })))
}

/// `POST /api/control/jobs/{n}/cancel`.
pub(crate) async fn cancel(
    desk: web::Data<Desk>,
    number: web::Path<u64>,
) -> Result<HttpResponse, Fault> {
    let cancelled = jobs(&desk)?.cancel(*number)?;
    Ok(HttpResponse::Accepted().json(json!({ "cancelled": cancelled })))
}

/// `POST /api/control/watch`.
pub(crate) async fn watch(
    desk: web::Data<Desk>,
    order: web::Json<WatchOrder>,
) -> Result<HttpResponse, Fault> {
    let order = order.into_inner();
    let added = aside(desk, move |desk| Ok(jobs(desk)?.watch(&order)?));
    Ok(HttpResponse::Ok().json(json!({ "added": added.await? })))
}
