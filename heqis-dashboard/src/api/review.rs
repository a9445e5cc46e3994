//! Bars, decisions, and what they were worth: the routes that every page has.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use heqis_quant::{Date, Symbol};
use schemars::JsonSchema;
use serde::Deserialize;

use super::answers::{
    self, BarsAnswer, DecisionAnswer, DecisionRow, DecisionsAnswer, QualityAnswer, SymbolRow,
};
use super::fault::Fault;
use super::sheet::{self, Column, Format};
use super::{aside, limited};
use crate::archive::{Decider, Strategy};
use crate::decisions::{Filter, Wanted};
use crate::market::Series;
use crate::quality::{Period, pairs, quality};
use crate::{Decisions, Desk, drift};

/// Most bars, decisions or instruments of one answer.
const MAX_ROWS: usize = 5_000;
/// Bars of an answer when the question does not say.
const DEFAULT_BARS: usize = 500;
/// Decisions of an answer when the question does not say.
const DEFAULT_DECISIONS: usize = 200;

/// What `GET /api/symbols` is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SymbolsQuery {
    /// The beginning of a code or of the initials of a name, or a part of a name or sector; the best ones come first.
    q: Option<String>,
    /// Most instruments of the answer, 1 to 5000; all when it is left out.
    limit: Option<usize>,
}

/// `GET /api/symbols`.
pub(crate) async fn symbols(
    desk: web::Data<Desk>,
    query: web::Query<SymbolsQuery>,
) -> Result<HttpResponse, Fault> {
    let SymbolsQuery { q, limit } = query.into_inner();
    let limit = match limit {
        Some(_) => limited(limit, 0, MAX_ROWS)?,
        None => usize::MAX,
    };
    let rows = aside(desk, move |desk| {
        let typed = q
            .as_deref()
            .map(str::trim)
            .filter(|typed| !typed.is_empty());
        let mut ranked: Vec<_> = desk
            .market
            .listings()?
            .into_iter()
            .filter_map(|listing| {
                let rank = typed.map_or(Some(0), |typed| desk.names.rank(listing.symbol, typed))?;
                Some((rank, listing))
            })
            .collect();
        ranked.sort_by_key(|(rank, listing)| (*rank, listing.symbol));
        let row = |(_, listing)| SymbolRow::of(listing, &desk.names);
        Ok(ranked.into_iter().take(limit).map(row).collect::<Vec<_>>())
    });
    Ok(HttpResponse::Ok().json(rows.await?))
}

/// What `GET /api/bars` is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BarsQuery {
    /// Code and exchange, such as 600000.SH.
    symbol: Symbol,
    /// The last bars that closed before this moment, milliseconds since the Unix epoch; of these three at most one.
    before_ms: Option<i64>,
    /// The first bars that closed after this moment.
    after_ms: Option<i64>,
    /// Bars on both sides of this moment, the first one that closed at it or later in their middle.
    around_ms: Option<i64>,
    /// Most bars of the answer, 1 to 5000; 500 when it is left out.
    limit: Option<usize>,
    /// How the answer is written.
    #[serde(default)]
    format: Format,
}

/// `GET /api/bars`: the last bars, or those about a moment, with every line of the chart.
pub(crate) async fn bars(
    desk: web::Data<Desk>,
    query: web::Query<BarsQuery>,
) -> Result<HttpResponse, Fault> {
    let BarsQuery {
        symbol,
        before_ms,
        after_ms,
        around_ms,
        limit,
        format,
    } = query.into_inner();
    let limit = limited(limit, DEFAULT_BARS, MAX_ROWS)?;
    let place = match (before_ms, after_ms, around_ms) {
        (None, None, None) => Place::Last,
        (Some(ms), None, None) => Place::Before(ms),
        (None, Some(ms), None) => Place::After(ms),
        (None, None, Some(ms)) => Place::Around(ms),
        _ => {
            let rule = "of before_ms, after_ms and around_ms at most one may be given";
            return Err(Fault::Wrong(rule.into()));
        }
    };
    let found = aside(desk, move |desk| {
        let series = desk.market.series(symbol)?;
        Ok(series.map(|series| BarsAnswer::of(symbol, &series, place, limit)))
    });
    let answer = found
        .await?
        .ok_or_else(|| Fault::Missing(format!("there is no bar of {symbol}")))?;
    match format {
        Format::Json => Ok(HttpResponse::Ok().json(answer)),
        Format::Csv => sheet::columns(symbol.as_str(), &BARS, answer.len(), &answer),
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

/// Where in a series the bars of an answer lie; moments in milliseconds since the Unix epoch.
#[derive(Clone, Copy)]
enum Place {
    Last,
    Before(i64),
    After(i64),
    Around(i64),
}

impl BarsAnswer {
    fn of(symbol: Symbol, series: &Series, place: Place, limit: usize) -> Self {
        let bars = series.bars();
        let until =
            |is: &dyn Fn(i64) -> bool| bars.partition_point(|bar| is(answers::ms(bar.time_ns)));
        let end = match place {
            Place::Last => bars.len(),
            Place::Before(moment) => until(&|ms| ms < moment),
            Place::After(moment) => until(&|ms| ms <= moment) + limit,
            Place::Around(moment) => until(&|ms| ms < moment) + limit.div_ceil(2),
        };
        let start = end.saturating_sub(limit).min(bars.len());
        Self::cut(symbol, series, start..end.min(bars.len()))
    }
}

/// `GET /api/strategies`.
pub(crate) async fn strategies(desk: web::Data<Desk>) -> Result<HttpResponse, Fault> {
    let listed = aside(desk, |desk| match &desk.archive {
        Some(archive) => Ok(archive.strategies()?),
        None => Ok(vec![own(desk)]),
    });
    Ok(HttpResponse::Ok().json(listed.await?))
}

/// The one strategy of a page without an archive.
fn own(desk: &Desk) -> Strategy {
    let kind = match desk.live {
        Some(_) => Decider::Live,
        None => Decider::Journal,
    };
    let (from, to, symbols) = desk.decisions.extent();
    Strategy {
        id: OWN.to_owned(),
        name: desk.source.clone(),
        kind,
        decisions: Some(desk.decisions.last()),
        symbols: Some(symbols as u64),
        from,
        to,
    }
}

/// The id of the strategy of a page without an archive.
const OWN: &str = "own";

/// The decisions of a strategy, of the first one when none is named. May block.
fn chosen(desk: &Desk, strategy: Option<&str>) -> Result<(String, Arc<Decisions>), Fault> {
    let missing = |id: &str| Fault::Missing(format!("there is no strategy {id}"));
    match (&desk.archive, strategy) {
        (None, None | Some(OWN)) => Ok((OWN.to_owned(), desk.decisions.clone())),
        (None, Some(id)) => Err(missing(id)),
        (Some(archive), strategy) => {
            let id = match strategy {
                Some(id) => id.to_owned(),
                None => match archive.strategies()?.into_iter().next() {
                    Some(first) => first.id,
                    None => return Ok((OWN.to_owned(), desk.decisions.clone())),
                },
            };
            let decisions = archive.decisions(&id)?.ok_or_else(|| missing(&id))?;
            Ok((id, decisions))
        }
    }
}

/// What `GET /api/decisions` is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecisionsQuery {
    /// Whose; those of the first strategy when it is left out.
    strategy: Option<String>,
    /// Only of this instrument.
    symbol: Option<Symbol>,
    /// Only to this side; `trade` is both buy and sell.
    side: Option<Wanted>,
    /// Only those where something was wanted and refused, or only the others.
    refused: Option<bool>,
    /// First day.
    from: Option<Date>,
    /// Last day.
    to: Option<Date>,
    /// Only those listed before this number.
    before: Option<u64>,
    /// Most decisions of the answer, 1 to 5000; 200 when it is left out.
    limit: Option<usize>,
    /// How the answer is written.
    #[serde(default)]
    format: Format,
}

/// `GET /api/decisions`: the newest decisions, newest first.
pub(crate) async fn decisions(
    desk: web::Data<Desk>,
    query: web::Query<DecisionsQuery>,
) -> Result<HttpResponse, Fault> {
    let query = query.into_inner();
    let limit = limited(query.limit, DEFAULT_DECISIONS, MAX_ROWS)?;
    let filter = Filter {
        symbol: query.symbol,
        side: query.side,
        refused: query.refused,
        from: query.from,
        to: query.to,
        before: query.before,
    };
    let strategy = query.strategy;
    let answer = aside(desk, move |desk| {
        let (_, decisions) = chosen(desk, strategy.as_deref())?;
        let (rows, more) = decisions.query(&filter, limit);
        Ok(DecisionsAnswer {
            epoch: format!("{:x}", decisions.epoch()),
            last: decisions.last(),
            rows: rows.iter().map(DecisionRow::of).collect(),
            more,
        })
    });
    let answer = answer.await?;
    match query.format {
        Format::Json => Ok(HttpResponse::Ok().json(answer)),
        Format::Csv => sheet::rows("decisions", &DECISIONS, &answer.rows),
    }
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

/// What `GET /api/decisions/{n}` is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecisionQuery {
    /// Whose; that of the first strategy when it is left out.
    strategy: Option<String>,
}

/// `GET /api/decisions/{n}`: everything that is known of one decision.
pub(crate) async fn decision(
    desk: web::Data<Desk>,
    number: web::Path<u64>,
    query: web::Query<DecisionQuery>,
) -> Result<HttpResponse, Fault> {
    let number = number.into_inner();
    let strategy = query.into_inner().strategy;
    let found = aside(desk, move |desk| {
        let (_, decisions) = chosen(desk, strategy.as_deref())?;
        let decision = decisions.get(number).ok_or_else(|| {
            Fault::Missing(format!(
                "there is no decision {number} any more, or none yet"
            ))
        })?;
        let series = desk.market.series(decision.symbol)?;
        Ok(DecisionAnswer::of(
            &(number, decision),
            series.as_deref(),
            &desk.market.feature_names(),
        ))
    });
    Ok(HttpResponse::Ok().json(found.await?))
}

/// What `GET /api/quality` is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QualityQuery {
    /// Whose predictions; those of the first strategy when it is left out.
    strategy: Option<String>,
    /// Only of this instrument.
    symbol: Option<Symbol>,
    /// First day.
    from: Option<Date>,
    /// Last day.
    to: Option<Date>,
    /// How days are put together.
    #[serde(default)]
    period: Period,
}

/// `GET /api/quality`: predictions against what followed.
pub(crate) async fn measured(
    desk: web::Data<Desk>,
    query: web::Query<QualityQuery>,
) -> Result<HttpResponse, Fault> {
    let query = query.into_inner();
    let answer = aside(desk, move |desk| {
        let (strategy, decisions) = chosen(desk, query.strategy.as_deref())?;
        let filter = Filter {
            symbol: query.symbol,
            from: query.from,
            to: query.to,
            ..Filter::default()
        };
        let (rows, _) = decisions.query(&filter, usize::MAX);
        let pairs = pairs(&rows, &*desk.market)?;
        Ok(QualityAnswer {
            strategy,
            quality: quality(&pairs, query.period, desk.flat_band),
        })
    });
    Ok(HttpResponse::Ok().json(answer.await?))
}

/// What `GET /api/drift` is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DriftQuery {
    /// Only this instrument.
    symbol: Option<Symbol>,
    /// How days are put together.
    #[serde(default)]
    period: Period,
}

/// `GET /api/drift`: inputs against the span that the models were fitted on.
pub(crate) async fn drifted(
    desk: web::Data<Desk>,
    query: web::Query<DriftQuery>,
) -> Result<HttpResponse, Fault> {
    let DriftQuery { symbol, period } = query.into_inner();
    let answer = aside(desk, move |desk| {
        let training = desk
            .training
            .as_ref()
            .ok_or_else(|| Fault::without("scaler that tells a training span"))?;
        Ok(drift::drift(training, &*desk.market, symbol, period)?)
    });
    Ok(HttpResponse::Ok().json(answer.await?))
}
