//! The calls of a run, their order, and the tables written from them.

use std::collections::BTreeSet;

use heqis_quant::{Date, Span, Symbol};

use crate::api::{self, Api};
use crate::call::{Call, Selection};
use crate::client::Client;
use crate::error::FetchError;
use crate::listing;
use crate::reply::Cell;
use crate::table::CsvTable;
use crate::{FetchArgs, Summary, setting};
use heqis_data::watch_list::WatchList;

/// The interfaces of stocks with rows by day. Suspensions come first, since a suspended day needs no bar.
static BY_DAY: [&Api; 5] = [
    &api::SUSPEND_D,
    &api::DAILY,
    &api::DAILY_BASIC,
    &api::ADJ_FACTOR,
    &api::STK_LIMIT,
];

/// The interfaces without a trading day, or not of stocks.
static OTHERS: [&Api; 4] = [
    &api::DIVIDEND,
    &api::NAMECHANGE,
    &api::INDEX_DAILY,
    &api::FUND_DAILY,
];

/// Year, month and day on which the Shanghai exchange opened, the first day of a calendar.
const FIRST_DAY: (i16, i8, i8) = (1990, 12, 19);

/// Fetches all data with the given client and writes the tables.
///
/// # Errors
///
/// [`FetchError`] for wrong settings, failed calls and files that cannot be written.
pub fn fetch(client: &mut Client<'_>, args: &FetchArgs) -> Result<Summary, FetchError> {
    if args.to < args.from {
        let rule = format!("must not lie before {}, got {}", args.from, args.to);
        return Err(setting("--to", rule));
    }
    let now_ns = i64::try_from(client.clock.now_ns()).unwrap_or(i64::MAX);
    let today = Date::of_time_ns(now_ns)?;
    let days = calendar(client, args, today)?;
    let stocks = stocks(client, args)?;
    let days_ahead = days.iter().filter(|day| **day > today).count();
    let days: Vec<Date> = days.into_iter().filter(|day| *day <= today).collect();
    let calls = match &args.watch {
        Some(path) => {
            let list = WatchList::read(path)?;
            watched(client, args, &list, &stocks, days.last().copied())?
        }
        None => market(args, &days),
    };

    // A table without a call must not remain from an earlier run.
    let called: Vec<&str> = calls.iter().map(|call| call.api.name).collect();
    for api in BY_DAY.into_iter().chain(OTHERS) {
        if !called.contains(&api.name) {
            CsvTable::remove(&args.out, api)?;
        }
    }
    client.progress.begin(calls.len());
    let mut suspended: BTreeSet<(Symbol, Date)> = BTreeSet::new();
    let mut table: Option<CsvTable> = None;
    for mut call in calls {
        let api = call.api;
        if table.as_ref().is_none_or(|table| table.api != api) {
            if let Some(full) = table.take() {
                full.finish()?;
            }
            table = Some(CsvTable::create(&args.out, api)?);
        }
        // A suspended stock has no bar on that day.
        if let (Some(code), Some(day)) = (call.selection.code, call.must_reach)
            && suspended.contains(&(code, day))
        {
            call.must_reach = None;
        }
        let rows = client.fetch(&call)?;
        if *api == api::SUSPEND_D {
            suspended.extend(
                rows.iter()
                    .filter_map(|row| match (&row[0], &row[1], &row[3]) {
                        (Cell::Code(code), Cell::Day(day), Cell::Text(kind)) if kind == "S" => {
                            Some((*code, *day))
                        }
                        _ => None,
                    }),
            );
        }
        if let Some(table) = &mut table {
            table.add(&rows)?;
        }
        client.progress.step(api.name);
    }
    client.progress.end();
    if let Some(full) = table {
        full.finish()?;
    }
    Ok(Summary {
        counts: client.counts,
        late: client.late.clone(),
        days_ahead,
    })
}

/// Fetches the calendar, year by year, and returns its open days. Every past day must be in it.
fn calendar(
    client: &mut Client<'_>,
    args: &FetchArgs,
    today: Date,
) -> Result<BTreeSet<Date>, FetchError> {
    let mut table = CsvTable::create(&args.out, &api::TRADE_CAL)?;
    let (mut known, mut open) = (BTreeSet::new(), BTreeSet::new());
    for year in args.from.year()..=args.to.year() {
        let span = Span {
            from: Date::new(year, 1, 1)?.max(args.from),
            to: Date::new(year, 12, 31)?.min(args.to),
        };
        let selection = Selection {
            exchange: Some("SSE"),
            span: Some(span),
            ..Selection::default()
        };
        let rows = client.fetch(&Call::new(&api::TRADE_CAL, selection, span.to))?;
        table.add(&rows)?;
        for row in &rows {
            let (Cell::Day(day), Cell::Number(is_open)) = (&row[1], &row[2]) else {
                continue;
            };
            known.insert(*day);
            if *is_open == 1.0 {
                open.insert(*day);
            }
        }
    }
    table.finish()?;
    let first = Date::new(FIRST_DAY.0, FIRST_DAY.1, FIRST_DAY.2)?.max(args.from);
    let past = first.days()..=args.to.min(today).days();
    let unknown = past
        .filter_map(Date::from_days)
        .find(|day| !known.contains(day));
    match unknown {
        None => Ok(open),
        Some(day) => Err(FetchError::Reply {
            api: api::TRADE_CAL.name,
            row: 0,
            field: "cal_date".into(),
            rule: "must have every requested day",
            value: format!("nothing on {day}"),
        }),
    }
}

/// Fetches the list of stocks: listed, delisted and paused ones.
fn stocks(client: &mut Client<'_>, args: &FetchArgs) -> Result<Vec<Vec<Cell>>, FetchError> {
    let mut stocks = Vec::new();
    for status in ["L", "D", "P"] {
        let selection = Selection {
            list_status: Some(status),
            ..Selection::default()
        };
        stocks.extend(client.fetch(&Call::new(&api::STOCK_BASIC, selection, args.to))?);
    }
    let mut table = CsvTable::create(&args.out, &api::STOCK_BASIC)?;
    table.add(&stocks)?;
    table.finish()?;
    Ok(stocks)
}

/// Returns the calls for all stocks of the market: one for each day and interface.
fn market(args: &FetchArgs, days: &[Date]) -> Vec<Call> {
    let mut calls = Vec::new();
    for api in BY_DAY {
        for day in days {
            let selection = Selection {
                day: Some(*day),
                ..Selection::default()
            };
            let mut call = Call::new(api, selection, *day);
            call.must_reach = api.has_rows_every_day(day.year()).then_some(*day);
            calls.push(call);
        }
    }
    for day in days {
        let selection = Selection {
            ex_day: Some(*day),
            ..Selection::default()
        };
        calls.push(Call::new(&api::DIVIDEND, selection, *day));
    }
    // The name on the first day may be much older, so the whole history is requested.
    calls.push(Call::new(&api::NAMECHANGE, Selection::default(), args.to));
    calls
}

/// Returns the calls for the instruments of a watch list: one for each instrument and interface.
fn watched(
    client: &Client<'_>,
    args: &FetchArgs,
    list: &WatchList,
    stocks: &[Vec<Cell>],
    last_open: Option<Date>,
) -> Result<Vec<Call>, FetchError> {
    let span = Span::new(args.from, args.to)?;
    let by_code = |api: &'static Api, code: Symbol| {
        let selection = Selection {
            code: Some(code),
            span: Some(span),
            ..Selection::default()
        };
        let mut call = Call::new(api, selection, args.to);
        call.must_reach = last_open.filter(|day| api.has_rows_every_day(day.year()));
        call
    };
    let mut listings = Vec::new();
    for listing in listing::stocks(list, stocks)? {
        match listing.trades_in(span) {
            true => listings.push(listing),
            false => client.progress.note(&format!(
                "{}: not listed from {} to {}, left out",
                listing.code, args.from, args.to
            )),
        }
    }
    let mut calls = Vec::new();
    for api in BY_DAY {
        for listing in &listings {
            let mut call = by_code(api, listing.code);
            // There are no bars before a listing and after its end.
            call.must_reach = call.must_reach.filter(|day| listing.trades_on(*day));
            calls.push(call);
        }
    }
    for api in [&api::DIVIDEND, &api::NAMECHANGE] {
        for listing in &listings {
            let selection = Selection {
                code: Some(listing.code),
                ..Selection::default()
            };
            calls.push(Call::new(api, selection, args.to));
        }
    }
    let others = [
        (&api::INDEX_DAILY, list.indices()),
        (&api::FUND_DAILY, list.funds()),
    ];
    for (api, codes) in others {
        calls.extend(codes.into_iter().map(|code| by_code(api, code)));
    }
    Ok(calls)
}
