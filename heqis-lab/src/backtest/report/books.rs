//! A ledger as tables: signals, orders, fills, positions, equity, ex-rights and round trips.

use heqis_quant::rules::Limits;

use super::table::{Table, Values};
use crate::backtest::broker::{Fill, Ledger, Order, Size};
use crate::backtest::market::Market;
use crate::backtest::metrics::returns::drawdowns;

/// Returns all tables of a run by their names: see docs/backtest.md for their columns and units.
///
/// `returns` has one for each row of the account: those of [`returns_of`](crate::backtest::metrics::returns_of).
#[must_use]
pub fn tables(market: &Market, ledger: &Ledger, returns: &[f64]) -> Vec<(&'static str, Table)> {
    vec![
        ("orders", orders(market, ledger)),
        ("fills", fills(market, ledger)),
        ("positions", positions(market, ledger)),
        ("equity", equity(market, ledger, returns)),
        ("entitlements", entitlements(market, ledger)),
        ("trips", trips(market, ledger)),
    ]
}

fn column<T>(rows: &[T], value: impl Fn(&T) -> i64) -> Values {
    Values::Whole(rows.iter().map(|row| Some(value(row))).collect())
}

/// Adds the time of each row where a day has several.
fn time<T>(table: Table, market: &Market, rows: &[T], step: impl Fn(&T) -> u32) -> Table {
    match market.is_intraday() {
        true => table.with("time", text(rows, |row| market.time_text(step(row)))),
        false => table,
    }
}

/// Quantities: whole shares where all stocks are traded in such, else decimal numbers.
fn shares<T>(
    market: &Market,
    rows: &[T],
    stock: impl Fn(&T) -> usize,
    value: impl Fn(&T) -> u64,
) -> Values {
    let rules = |stock: usize| market.stocks()[stock].market();
    match rows
        .iter()
        .all(|row| rules(stock(row)).quantity_decimals == 0)
    {
        true => column(rows, |row| value(row) as i64),
        false => text(rows, |row| rules(stock(row)).quantity_text(value(row))),
    }
}

/// Prices: a column `…_cents` of whole cents where all stocks are priced in such, else `…` of decimal numbers in the
/// currency of the account.
fn prices<T>(
    table: Table,
    names: [&'static str; 2],
    market: &Market,
    rows: &[T],
    stock: impl Fn(&T) -> usize,
    value: impl Fn(&T) -> Option<i64>,
) -> Table {
    let rules = |stock: usize| market.stocks()[stock].market();
    match rows.iter().all(|row| rules(stock(row)).price_decimals == 2) {
        true => table.with(names[0], Values::Whole(rows.iter().map(value).collect())),
        false => table.with(
            names[1],
            text(rows, |row| {
                let price = value(row);
                price.map_or(String::new(), |price| rules(stock(row)).price_text(price))
            }),
        ),
    }
}

fn text<T>(rows: &[T], value: impl Fn(&T) -> String) -> Values {
    Values::Text(rows.iter().map(value).collect())
}

fn name(market: &Market, stock: usize) -> String {
    market.stocks()[stock].symbol().to_string()
}

fn orders(market: &Market, ledger: &Ledger) -> Table {
    let rows = &ledger.orders;
    let ids: Vec<usize> = (0..rows.len()).collect();
    let quantity =
        |value: &dyn Fn(&Order) -> u64| shares(market, rows, |row| row.ticket.stock, value);
    let table = Table::new()
        .with("order", column(&ids, |id| *id as i64))
        .with(
            "placed",
            Values::Days(rows.iter().map(|row| row.placed).collect()),
        );
    time(table, market, rows, |row| row.placed_step)
        .with("symbol", text(rows, |row| name(market, row.ticket.stock)))
        .with(
            "side",
            text(rows, |row| format!("{:?}", row.ticket.trade).to_lowercase()),
        )
        .with(
            "everything",
            text(rows, |row| (row.ticket.size == Size::All).to_string()),
        )
        .with("wanted_shares", quantity(&|row| row.wanted_shares))
        .with("filled_shares", quantity(&|row| row.filled_shares))
        .with("status", text(rows, |row| row.status.name().to_owned()))
        .with(
            "reasons",
            text(rows, |row| {
                let notes = row.notes.iter();
                let notes = notes.map(ToString::to_string);
                notes.collect::<Vec<_>>().join("; ")
            }),
        )
}

fn fills(market: &Market, ledger: &Ledger) -> Table {
    let rows = &ledger.fills;
    let limit = |limits: Limits, up: bool| match limits {
        Limits::Band { up: highest, down } => Some(if up { highest } else { down }),
        Limits::NoLimit => None,
    };
    let price = |table: Table, names, value: &dyn Fn(&Fill) -> Option<i64>| {
        prices(table, names, market, rows, |row| row.stock, value)
    };
    let table = Table::new()
        .with("order", column(rows, |row| row.order as i64))
        .with(
            "date",
            Values::Days(rows.iter().map(|row| row.date).collect()),
        );
    let table = time(table, market, rows, |row| row.step)
        .with("symbol", text(rows, |row| name(market, row.stock)))
        .with(
            "side",
            text(rows, |row| format!("{:?}", row.trade).to_lowercase()),
        )
        .with(
            "shares",
            shares(market, rows, |row| row.stock, |row| row.shares),
        );
    let table = price(table, ["open_cents", "open"], &|row| Some(row.open));
    let table = price(table, ["price_cents", "price"], &|row| Some(row.price));
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
    let table = price(table, ["down_limit_cents", "down_limit"], &|row| {
        limit(row.limits, false)
    });
    price(table, ["up_limit_cents", "up_limit"], &|row| {
        limit(row.limits, true)
    })
}

fn positions(market: &Market, ledger: &Ledger) -> Table {
    let rows = &ledger.positions;
    let table = Table::new().with(
        "date",
        Values::Days(rows.iter().map(|row| row.date).collect()),
    );
    let table = time(table, market, rows, |row| row.step)
        .with("symbol", text(rows, |row| name(market, row.stock)))
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

fn equity(market: &Market, ledger: &Ledger, returns: &[f64]) -> Table {
    let rows = &ledger.days;
    let steps: Vec<u32> = (0..rows.len() as u32).collect();
    let numbers = |values: &[f64]| Values::Numbers(values.iter().copied().map(Some).collect());
    let table = Table::new().with(
        "date",
        Values::Days(rows.iter().map(|row| row.date).collect()),
    );
    time(table, market, &steps, |step| *step)
        .with("cash_cents", column(rows, |row| row.cash_cents))
        .with("holdings_cents", column(rows, |row| row.holdings_cents))
        .with("equity_cents", column(rows, |row| row.equity_cents()))
        .with("bought_cents", column(rows, |row| row.bought_cents))
        .with("sold_cents", column(rows, |row| row.sold_cents))
        .with("fees_cents", column(rows, |row| row.fees_cents))
        .with("dividends_cents", column(rows, |row| row.dividends_cents))
        .with("positions", column(rows, |row| row.positions.into()))
        .with("return", numbers(returns))
        .with("drawdown", numbers(&drawdowns(returns)))
}

fn entitlements(market: &Market, ledger: &Ledger) -> Table {
    let rows = &ledger.entitled;
    Table::new()
        .with(
            "date",
            Values::Days(rows.iter().map(|row| row.date).collect()),
        )
        .with("symbol", text(rows, |row| name(market, row.stock)))
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
            text(rows, |row| row.rights_lapsed.to_string()),
        )
}

fn trips(market: &Market, ledger: &Ledger) -> Table {
    let rows = &ledger.trips;
    Table::new()
        .with("symbol", text(rows, |row| name(market, row.stock)))
        .with(
            "opened",
            Values::Days(rows.iter().map(|row| row.opened).collect()),
        )
        .with(
            "closed",
            Values::Days(rows.iter().map(|row| row.closed).collect()),
        )
        .with("open", text(rows, |row| row.open.to_string()))
        .with(
            "bought_shares",
            shares(market, rows, |row| row.stock, |row| row.bought_shares),
        )
        .with("spent_cents", column(rows, |row| row.spent_cents))
        .with("earned_cents", column(rows, |row| row.earned_cents))
        .with("gain_cents", column(rows, |row| row.gain_cents()))
        .with(
            "gain",
            Values::Numbers(rows.iter().map(|row| Some(row.gain())).collect()),
        )
}
