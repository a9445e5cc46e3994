//! A ledger as tables: orders, fills, positions, equity, ex-rights and round trips.

use heqis_data::table::{Table, Values};
use heqis_quant::rules::Limits;

use crate::broker::{Fill, Ledger, Order, Size};
use crate::market::MarketHistory;
use crate::metrics::returns::drawdowns;

/// Returns all tables of a run by their names: see docs/backtest.md for their columns and units.
///
/// `returns` has one return for each row of the account: see [`returns_of`](crate::metrics::returns_of).
#[must_use]
pub fn tables<'a>(
    market: &'a MarketHistory,
    ledger: &'a Ledger,
    returns: &'a [f64],
) -> Vec<(&'static str, Table<'a>)> {
    vec![
        ("orders", orders(market, ledger)),
        ("fills", fills(market, ledger)),
        ("positions", positions(market, ledger)),
        ("equity", equity(market, ledger, returns)),
        ("entitlements", entitlements(market, ledger)),
        ("trips", trips(market, ledger)),
    ]
}

fn column<'a, T>(rows: &'a [T], value: impl Fn(&T) -> i64 + 'a) -> Values<'a> {
    Values::whole(rows, move |row| Some(value(row)))
}

/// Adds the time of each row if a day has several steps.
fn time<'a, T>(
    table: Table<'a>,
    market: &'a MarketHistory,
    rows: &'a [T],
    step: impl Fn(&T) -> u32 + 'a,
) -> Table<'a> {
    match market.is_intraday() {
        true => {
            let time = move |row: &T| market.time_text(step(row));
            table.with("time", Values::text(rows, time))
        }
        false => table,
    }
}

/// Returns a column of quantities: whole shares if all stocks are traded in whole shares, else decimal numbers.
fn shares<'a, T>(
    market: &'a MarketHistory,
    rows: &'a [T],
    stock: impl Fn(&T) -> usize + 'a,
    value: impl Fn(&T) -> u64 + 'a,
) -> Values<'a> {
    let rules = |stock: usize| market.stocks()[stock].market();
    match rows
        .iter()
        .all(|row| rules(stock(row)).quantity_decimals == 0)
    {
        true => column(rows, move |row| value(row) as i64),
        false => Values::text(rows, move |row| rules(stock(row)).quantity_text(value(row))),
    }
}

/// Adds a column of prices: `…_cents` in whole cents if all stocks are priced in cents, else `…` with decimal numbers in the
/// currency of the account.
fn prices<'a, T>(
    table: Table<'a>,
    names: [&'static str; 2],
    market: &'a MarketHistory,
    rows: &'a [T],
    stock: impl Fn(&T) -> usize + 'a,
    value: impl Fn(&T) -> Option<i64> + 'a,
) -> Table<'a> {
    let rules = |stock: usize| market.stocks()[stock].market();
    match rows.iter().all(|row| rules(stock(row)).price_decimals == 2) {
        true => table.with(names[0], Values::whole(rows, value)),
        false => table.with(
            names[1],
            Values::text(rows, move |row| {
                let price = value(row);
                price.map_or(String::new(), |price| rules(stock(row)).price_text(price))
            }),
        ),
    }
}

fn name(market: &MarketHistory, stock: usize) -> String {
    market.stocks()[stock].symbol().to_string()
}

fn orders<'a>(market: &'a MarketHistory, ledger: &'a Ledger) -> Table<'a> {
    let rows = &ledger.orders;
    let quantity = |value: fn(&Order) -> u64| shares(market, rows, |row| row.request.stock, value);
    let table = Table::new(rows.len())
        .with("order", Values::Whole(Box::new(|row| Some(row as i64))))
        .with("placed", Values::days(rows, |row| row.placed));
    time(table, market, rows, |row| row.placed_step)
        .with(
            "symbol",
            Values::text(rows, move |row| name(market, row.request.stock)),
        )
        .with(
            "side",
            Values::text(rows, |row| {
                format!("{:?}", row.request.trade).to_lowercase()
            }),
        )
        .with(
            "everything",
            Values::text(rows, |row| (row.request.size == Size::All).to_string()),
        )
        .with("wanted_shares", quantity(|row| row.wanted_shares))
        .with("filled_shares", quantity(|row| row.filled_shares))
        .with(
            "status",
            Values::text(rows, |row| row.status.name().to_owned()),
        )
        .with(
            "reasons",
            Values::text(rows, |row| {
                let notes = row.notes.iter();
                let notes = notes.map(ToString::to_string);
                notes.collect::<Vec<_>>().join("; ")
            }),
        )
}

fn fills<'a>(market: &'a MarketHistory, ledger: &'a Ledger) -> Table<'a> {
    let rows = &ledger.fills;
    let price = |table: Table<'a>, names, value: fn(&Fill) -> Option<i64>| {
        prices(table, names, market, rows, |row| row.stock, value)
    };
    let table = Table::new(rows.len())
        .with("order", column(rows, |row| row.order as i64))
        .with("date", Values::days(rows, |row| row.date));
    let table = time(table, market, rows, |row| row.step)
        .with(
            "symbol",
            Values::text(rows, move |row| name(market, row.stock)),
        )
        .with(
            "side",
            Values::text(rows, |row| format!("{:?}", row.trade).to_lowercase()),
        )
        .with(
            "shares",
            shares(market, rows, |row| row.stock, |row| row.shares),
        );
    let table = price(table, ["open_cents", "open"], |row| Some(row.open));
    let table = price(table, ["price_cents", "price"], |row| Some(row.price));
    let table = table
        .with("amount_cents", column(rows, |row| row.amount_cents))
        .with(
            "commission_cents",
            column(rows, |row| row.bill.commission_cents),
        )
        .with(
            "stamp_duty_cents",
            column(rows, |row| row.bill.stamp_duty_cents),
        )
        .with(
            "transfer_cents",
            column(rows, |row| row.bill.transfer_cents),
        );
    let table = price(table, ["down_limit_cents", "down_limit"], |row| {
        limit(row.limits, false)
    });
    price(table, ["up_limit_cents", "up_limit"], |row| {
        limit(row.limits, true)
    })
}

fn limit(limits: Limits, up: bool) -> Option<i64> {
    match limits {
        Limits::Band { up: highest, down } => Some(if up { highest } else { down }),
        Limits::NoLimit => None,
    }
}

fn positions<'a>(market: &'a MarketHistory, ledger: &'a Ledger) -> Table<'a> {
    let rows = &ledger.positions;
    let table = Table::new(rows.len()).with("date", Values::days(rows, |row| row.date));
    let table = time(table, market, rows, |row| row.step)
        .with(
            "symbol",
            Values::text(rows, move |row| name(market, row.stock)),
        )
        .with(
            "shares",
            shares(market, rows, |row| row.stock, |row| row.shares),
        );
    prices(
        table,
        ["mark_cents", "mark"],
        market,
        rows,
        |row| row.stock,
        |row| Some(row.mark),
    )
    .with("value_cents", column(rows, |row| row.value_cents))
}

fn equity<'a>(market: &'a MarketHistory, ledger: &'a Ledger, returns: &'a [f64]) -> Table<'a> {
    let rows = &ledger.days;
    let drawdowns = drawdowns(returns);
    let table = Table::new(rows.len()).with("date", Values::days(rows, |row| row.date));
    let table = match market.is_intraday() {
        true => table.with(
            "time",
            Values::Text(Box::new(|step| market.time_text(step as u32))),
        ),
        false => table,
    };
    table
        .with("cash_cents", column(rows, |row| row.cash_cents))
        .with("holdings_cents", column(rows, |row| row.holdings_cents))
        .with("equity_cents", column(rows, |row| row.equity_cents()))
        .with("bought_cents", column(rows, |row| row.bought_cents))
        .with("sold_cents", column(rows, |row| row.sold_cents))
        .with("fees_cents", column(rows, |row| row.fees_cents))
        .with("dividends_cents", column(rows, |row| row.dividends_cents))
        .with("positions", column(rows, |row| row.positions.into()))
        .with("return", Values::numbers(returns, |value| Some(*value)))
        .with(
            "drawdown",
            Values::Numbers(Box::new(move |row| drawdowns.get(row).copied())),
        )
}

fn entitlements<'a>(market: &'a MarketHistory, ledger: &'a Ledger) -> Table<'a> {
    let rows = &ledger.entitled;
    Table::new(rows.len())
        .with("date", Values::days(rows, |row| row.date))
        .with(
            "symbol",
            Values::text(rows, move |row| name(market, row.stock)),
        )
        .with(
            "held_shares",
            shares(market, rows, |row| row.stock, |row| row.held_shares),
        )
        .with("cash_cents", column(rows, |row| row.cash_cents))
        .with("tax_cents", column(rows, |row| row.tax_cents))
        .with(
            "new_shares",
            shares(market, rows, |row| row.stock, |row| row.new_shares),
        )
        .with(
            "rights_lapsed",
            Values::text(rows, |row| row.rights_lapsed.to_string()),
        )
}

fn trips<'a>(market: &'a MarketHistory, ledger: &'a Ledger) -> Table<'a> {
    let rows = &ledger.trips;
    Table::new(rows.len())
        .with(
            "symbol",
            Values::text(rows, move |row| name(market, row.stock)),
        )
        .with("opened", Values::days(rows, |row| row.opened))
        .with("closed", Values::days(rows, |row| row.closed))
        .with("open", Values::text(rows, |row| row.open.to_string()))
        .with(
            "bought_shares",
            shares(market, rows, |row| row.stock, |row| row.bought_shares),
        )
        .with("spent_cents", column(rows, |row| row.spent_cents))
        .with("earned_cents", column(rows, |row| row.earned_cents))
        .with("gain_cents", column(rows, |row| row.gain_cents()))
        .with("gain", Values::numbers(rows, |row| Some(row.gain())))
}
