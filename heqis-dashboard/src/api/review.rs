//! Routes of bars, decisions and their quality, which every page has.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use bytes::Bytes;
use futures_util::{Stream, stream};
use heqis_quant::{Date, Symbol};
use schemars::JsonSchema;
use serde::Deserialize;

use super::csv::{self, Column, Format};
use super::responses::{
    self, BarsResponse, DecisionResponse, DecisionRow, DecisionsResponse, QualityResponse,
    SymbolRow,
};
use super::{blocking, checked_limit};
use crate::api_error::ApiError;
use crate::archive::{Strategy, StrategyKind};
use crate::bars::BarSeries;
use crate::decisions::Decisions;
use crate::decisions::{Filter, SideFilter};
use crate::drift;
use crate::quality::{self, Period};
use crate::sources::Sources;

/// Largest number of bars, decisions or instruments of one response.
const MAX_ROWS: usize = 5_000;
/// Default number of bars.
const DEFAULT_BARS: usize = 500;
/// Default number of decisions.
const DEFAULT_DECISIONS: usize = 200;

/// Query of `GET /api/symbols`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SymbolsQuery {
    /// Prefix of a code or of the initials of a name, or a part of a name or sector; best matches come first.
    q: Option<String>,
    /// Largest number of instruments, 1 to 5000; default all.
    limit: Option<usize>,
}

/// `GET /api/symbols`.
pub(crate) async fn symbols(
    sources: web::Data<Sources>,
    query: web::Query<SymbolsQuery>,
) -> Result<HttpResponse, ApiError> {
    let SymbolsQuery { q, limit } = query.into_inner();
    let limit = match limit {
        Some(_) => checked_limit(limit, 0, MAX_ROWS)?,
        None => usize::MAX,
    };
    let rows = blocking(sources, move |sources| {
        let typed = q
            .as_deref()
            .map(str::trim)
            .filter(|typed| !typed.is_empty());
        let mut ranked: Vec<_> = sources
            .bars
            .listings()?
            .into_iter()
            .filter_map(|listing| {
                let rank =
                    typed.map_or(Some(0), |typed| sources.names.rank(listing.symbol, typed))?;
                Some((rank, listing))
            })
            .collect();
        ranked.sort_by_key(|(rank, listing)| (*rank, listing.symbol));
        let row = |(_, listing)| SymbolRow::of(listing, &sources.names);
        Ok(ranked.into_iter().take(limit).map(row).collect::<Vec<_>>())
    });
    Ok(HttpResponse::Ok().json(rows.await?))
}

/// Query of `GET /api/bars`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BarsQuery {
    /// Code and exchange, such as 600000.SH.
    symbol: Symbol,
    /// The last bars that closed before this moment, milliseconds since the Unix epoch; at most one of these three.
    before_ms: Option<i64>,
    /// The first bars that closed after this moment.
    after_ms: Option<i64>,
    /// Bars around this moment; the first one that closed at it or later is in the middle.
    around_ms: Option<i64>,
    /// Largest number of bars, 1 to 5000; default 500, as CSV all.
    limit: Option<usize>,
    /// Format of the response.
    #[serde(default)]
    format: Format,
}

/// `GET /api/bars`: the last bars, or those around a moment, with the indicators of the chart.
pub(crate) async fn bars(
    sources: web::Data<Sources>,
    query: web::Query<BarsQuery>,
) -> Result<HttpResponse, ApiError> {
    let BarsQuery {
        symbol,
        before_ms,
        after_ms,
        around_ms,
        limit,
        format,
    } = query.into_inner();
    let limit = match (format, limit) {
        (Format::Csv, None) => usize::MAX,
        _ => checked_limit(limit, DEFAULT_BARS, MAX_ROWS)?,
    };
    let range = match (before_ms, after_ms, around_ms) {
        (None, None, None) => BarRange::Last,
        (Some(ms), None, None) => BarRange::Before(ms),
        (None, Some(ms), None) => BarRange::After(ms),
        (None, None, Some(ms)) => BarRange::Around(ms),
        _ => {
            let rule = "of before_ms, after_ms and around_ms at most one may be given";
            return Err(ApiError::Invalid(rule.into()));
        }
    };
    let found = blocking(sources, move |sources| {
        let series = sources.bars.series(symbol)?;
        Ok(series.map(|series| BarsResponse::of(symbol, &series, range, limit)))
    });
    let response = found
        .await?
        .ok_or_else(|| ApiError::NotFound(format!("there is no bar of {symbol}")))?;
    match format {
        Format::Json => Ok(HttpResponse::Ok().json(response)),
        Format::Csv => csv::columns(symbol.as_str(), &BARS, response.len(), &response),
    }
}

const BARS: [Column; 27] = [
    ("date", "date"),
    ("time_ms", "time_ms"),
    ("open", "open"),
    ("high", "high"),
    ("low", "low"),
    ("close", "close"),
    ("reference", "reference"),
    ("volume", "volume"),
    ("amount", "amount"),
    ("ma5", "lines/ma5"),
    ("ma10", "lines/ma10"),
    ("ma20", "lines/ma20"),
    ("ma60", "lines/ma60"),
    ("volume_ma5", "lines/volume_ma5"),
    ("volume_ma10", "lines/volume_ma10"),
    ("dif", "lines/dif"),
    ("dea", "lines/dea"),
    ("macd", "lines/macd"),
    ("k", "lines/k"),
    ("d", "lines/d"),
    ("j", "lines/j"),
    ("rsi6", "lines/rsi6"),
    ("rsi12", "lines/rsi12"),
    ("rsi24", "lines/rsi24"),
    ("boll_upper", "lines/boll_upper"),
    ("boll_middle", "lines/boll_middle"),
    ("boll_lower", "lines/boll_lower"),
];

/// Which bars of a series are requested; moments in milliseconds since the Unix epoch.
#[derive(Clone, Copy)]
enum BarRange {
    Last,
    Before(i64),
    After(i64),
    Around(i64),
}

impl BarsResponse {
    fn of(symbol: Symbol, series: &BarSeries, range: BarRange, limit: usize) -> Self {
        let bars = series.bars();
        let until =
            |is: &dyn Fn(i64) -> bool| bars.partition_point(|bar| is(responses::ms(bar.time_ns)));
        let end = match range {
            BarRange::Last => bars.len(),
            BarRange::Before(moment) => until(&|ms| ms < moment),
            BarRange::After(moment) => until(&|ms| ms <= moment).saturating_add(limit),
            BarRange::Around(moment) => until(&|ms| ms < moment).saturating_add(limit.div_ceil(2)),
        };
        let start = end.saturating_sub(limit).min(bars.len());
        Self::cut(symbol, series, start..end.min(bars.len()))
    }
}

/// `GET /api/strategies`.
pub(crate) async fn strategies(sources: web::Data<Sources>) -> Result<HttpResponse, ApiError> {
    let listed = blocking(sources, |sources| match &sources.archive {
        Some(archive) => Ok(archive.strategies()?),
        None => Ok(vec![own(sources)]),
    });
    Ok(HttpResponse::Ok().json(listed.await?))
}

/// Returns the only strategy of a page without an archive.
fn own(sources: &Sources) -> Strategy {
    let kind = match sources.live {
        Some(_) => StrategyKind::Live,
        None => StrategyKind::Journal,
    };
    let (from, to, symbols) = sources.decisions.extent();
    Strategy {
        id: OWN.to_owned(),
        name: sources.description.clone(),
        kind,
        decisions: Some(sources.decisions.last()),
        symbols: Some(symbols as u64),
        from,
        to,
    }
}

/// Id of the only strategy of a page without an archive.
const OWN: &str = "own";

/// Returns id and decisions of a strategy, of the first one when none is named. May block.
fn strategy_decisions(
    sources: &Sources,
    strategy: Option<&str>,
) -> Result<(String, Arc<Decisions>), ApiError> {
    let missing = |id: &str| ApiError::NotFound(format!("there is no strategy {id}"));
    match (&sources.archive, strategy) {
        (None, None | Some(OWN)) => Ok((OWN.to_owned(), sources.decisions.clone())),
        (None, Some(id)) => Err(missing(id)),
        (Some(archive), strategy) => {
            let id = match strategy {
                Some(id) => id.to_owned(),
                None => match archive.strategies()?.into_iter().next() {
                    Some(first) => first.id,
                    None => return Ok((OWN.to_owned(), sources.decisions.clone())),
                },
            };
            let decisions = archive.decisions(&id)?.ok_or_else(|| missing(&id))?;
            Ok((id, decisions))
        }
    }
}

/// Query of `GET /api/decisions`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecisionsQuery {
    /// Strategy; default the first one.
    strategy: Option<String>,
    /// Only of this instrument.
    symbol: Option<Symbol>,
    /// Only this side; `trade` is both buy and sell.
    side: Option<SideFilter>,
    /// Only decisions that a filter rejected, or only the others.
    refused: Option<bool>,
    /// First day.
    from: Option<Date>,
    /// Last day.
    to: Option<Date>,
    /// Only decisions with a smaller number.
    before: Option<u64>,
    /// Largest number of decisions, 1 to 5000; default 200, as CSV all.
    limit: Option<usize>,
    /// Format of the response.
    #[serde(default)]
    format: Format,
}

/// `GET /api/decisions`: the newest decisions, newest first.
pub(crate) async fn decisions(
    sources: web::Data<Sources>,
    query: web::Query<DecisionsQuery>,
) -> Result<HttpResponse, ApiError> {
    let query = query.into_inner();
    let limit = checked_limit(query.limit, DEFAULT_DECISIONS, MAX_ROWS)?;
    let is_whole = query.format == Format::Csv && query.limit.is_none();
    let filter = Filter {
        symbol: query.symbol,
        side: query.side,
        refused: query.refused,
        from: query.from,
        to: query.to,
        before: query.before,
    };
    let strategy = query.strategy;
    if is_whole {
        let found = blocking(sources, move |sources| {
            Ok(strategy_decisions(sources, strategy.as_deref())?.1)
        });
        return csv::streamed("decisions", &DECISIONS, whole(found.await?, filter));
    }
    let response = blocking(sources, move |sources| {
        let (_, decisions) = strategy_decisions(sources, strategy.as_deref())?;
        let (rows, more) = decisions.query(&filter, limit);
        Ok(DecisionsResponse {
            epoch: format!("{:x}", decisions.epoch()),
            last: decisions.last(),
            rows: rows.iter().map(DecisionRow::of).collect(),
            more,
        })
    });
    let response = response.await?;
    match query.format {
        Format::Json => Ok(HttpResponse::Ok().json(response)),
        Format::Csv => csv::rows("decisions", &DECISIONS, &response.rows),
    }
}

/// Yields all lines of the decisions that pass `filter`, newest first, some thousands at a time.
fn whole(
    decisions: Arc<Decisions>,
    filter: Filter,
) -> impl Stream<Item = Result<Bytes, ApiError>> + 'static {
    stream::unfold(Some(filter), move |filter| {
        let decisions = decisions.clone();
        async move {
            let mut filter = filter?;
            let read = web::block(move || {
                let (rows, more) = decisions.query(&filter, MAX_ROWS);
                filter.before = rows.last().map(|(number, _)| *number);
                let rows: Vec<_> = rows.iter().map(DecisionRow::of).collect();
                let lines = csv::chunk(&DECISIONS, &rows)?;
                Ok((lines, more.then_some(filter)))
            });
            match read.await {
                Ok(Ok((lines, next))) => Some((Ok(lines), next)),
                Ok(Err(error)) => Some((Err(error), None)),
                Err(error) => Some((Err(ApiError::Internal(error.to_string())), None)),
            }
        }
    })
}

const DECISIONS: [Column; 15] = [
    ("n", "n"),
    ("symbol", "symbol"),
    ("date", "date"),
    ("time_ms", "time_ms"),
    ("close", "close"),
    ("side", "side"),
    ("wanted", "wanted"),
    ("reason", "reason"),
    ("confidence", "confidence"),
    ("stance", "stance"),
    ("predicted_return", "predicted_return"),
    ("down", "probabilities/0"),
    ("flat", "probabilities/1"),
    ("up", "probabilities/2"),
    ("age_us", "age_us"),
];

/// Query of `GET /api/decisions/{n}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecisionQuery {
    /// Strategy; default the first one.
    strategy: Option<String>,
}

/// `GET /api/decisions/{n}`: details of one decision.
pub(crate) async fn decision(
    sources: web::Data<Sources>,
    number: web::Path<u64>,
    query: web::Query<DecisionQuery>,
) -> Result<HttpResponse, ApiError> {
    let number = number.into_inner();
    let strategy = query.into_inner().strategy;
    let found = blocking(sources, move |sources| {
        let (_, decisions) = strategy_decisions(sources, strategy.as_deref())?;
        let decision = decisions.get(number).ok_or_else(|| {
            ApiError::NotFound(format!(
                "there is no decision {number}: it was dropped or is not made yet"
            ))
        })?;
        let series = sources.bars.series(decision.symbol)?;
        Ok(DecisionResponse::of(
            &(number, decision),
            series.as_deref(),
            &sources.bars.feature_names(),
        ))
    });
    Ok(HttpResponse::Ok().json(found.await?))
}

/// Query of `GET /api/quality`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QualityQuery {
    /// Strategy; default the first one.
    strategy: Option<String>,
    /// Only of this instrument.
    symbol: Option<Symbol>,
    /// First day.
    from: Option<Date>,
    /// Last day.
    to: Option<Date>,
    /// How days are grouped.
    #[serde(default)]
    period: Period,
}

/// `GET /api/quality`: predictions compared with realised returns.
pub(crate) async fn quality(
    sources: web::Data<Sources>,
    query: web::Query<QualityQuery>,
) -> Result<HttpResponse, ApiError> {
    let query = query.into_inner();
    let response = blocking(sources, move |sources| {
        let (strategy, decisions) = strategy_decisions(sources, query.strategy.as_deref())?;
        let filter = Filter {
            symbol: query.symbol,
            from: query.from,
            to: query.to,
            ..Filter::default()
        };
        let (rows, _) = decisions.query(&filter, usize::MAX);
        let pairs = quality::pairs(&rows, &*sources.bars)?;
        Ok(QualityResponse {
            strategy,
            quality: quality::quality(&pairs, query.period, sources.flat_band),
        })
    });
    Ok(HttpResponse::Ok().json(response.await?))
}

/// Query of `GET /api/drift`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DriftQuery {
    /// Only this instrument.
    symbol: Option<Symbol>,
    /// How days are grouped.
    #[serde(default)]
    period: Period,
}

/// `GET /api/drift`: inputs compared with the span that the models were fitted on.
pub(crate) async fn drift(
    sources: web::Data<Sources>,
    query: web::Query<DriftQuery>,
) -> Result<HttpResponse, ApiError> {
    let DriftQuery { symbol, period } = query.into_inner();
    let response = blocking(sources, move |sources| {
        let training = sources
            .training
            .as_ref()
            .ok_or_else(|| ApiError::absent("scaler of a training span"))?;
        Ok(drift::drift(training, &*sources.bars, symbol, period)?)
    });
    Ok(HttpResponse::Ok().json(response.await?))
}
