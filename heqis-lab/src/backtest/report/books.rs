//! A ledger as tables: signals, orders, fills, positions, equity, ex-rights and round trips.

use heqis_quant::rules::Limits;

use super::table::{Table, Values};
use crate::backtest::broker::{Ledger, Size};
use crate::backtest::market::Market;
use crate::backtest::metrics::returns::drawdowns;

/// Returns all tables of a run by their names.
///
/// `returns` are those of [`daily_returns`](crate::backtest::metrics::daily_returns).
#[must_use]
pub fn tables(market: &Market, ledger: &Ledger, returns: &[f64]) -> Vec<(&'static str, Table)> {
    vec![
        ("orders", orders(market, ledger)),
        ("fills", fills(market, ledger)),
        ("positions", positions(market, ledger)),
        ("equity", equity(ledger, returns)),
        ("entitlements", entitlements(market, ledger)),
        ("trips", trips(market, ledger)),
    ]
}

fn column<T>(rows: &[T], value: impl Fn(&T) -> i64) -> Values {
    Values::Whole(rows.iter().map(|row| Some(value(row))).collect())
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
    Table::new()
        .with("order", column(&ids, |id| *id as i64))
        .with(
            "placed",
            Values::Days(rows.iter().map(|row| row.placed).collect()),
        )
        .with("symbol", text(rows, |row| name(market, row.ticket.stock)))
        .with(
            "side",
            text(rows, |row| format!("{:?}", row.ticket.trade).to_lowercase()),
        )
        .with(
            "everything",
            text(rows, |row| (row.ticket.size == Size::All).to_string()),
        )
        .with(
            "wanted_shares",
            column(rows, |row| row.wanted_shares as i64),
        )
        .with(
            "filled_shares",
            column(rows, |row| row.filled_shares as i64),
        )
        .with("status", text(rows, |row| row.status.name().to_owned()))
        .with(
            "reasons",
            text(rows, |row| {
                let notes = row.notes.iter();
                let notes = notes.map(|note| format!("{} {}", note.date, note.reason));
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
    let limits = |up: bool| Values::Whole(rows.iter().map(|row| limit(row.limits, up)).collect());
    Table::new()
        .with("order", column(rows, |row| row.order as i64))
        .with(
            "date",
            Values::Days(rows.iter().map(|row| row.date).collect()),
        )
        .with("symbol", text(rows, |row| name(market, row.stock)))
        .with(
            "side",
            text(rows, |row| format!("{:?}", row.trade).to_lowercase()),
        )
        .with("shares", column(rows, |row| row.shares as i64))
        .with("open_cents", column(rows, |row| row.open_cents))
        .with("price_cents", column(rows, |row| row.price_cents))
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
        )
        .with("down_limit_cents", limits(false))
        .with("up_limit_cents", limits(true))
}

fn positions(market: &Market, ledger: &Ledger) -> Table {
    let rows = &ledger.positions;
    Table::new()
        .with(
            "date",
            Values::Days(rows.iter().map(|row| row.date).collect()),
        )
        .with("symbol", text(rows, |row| name(market, row.stock)))
        .with("shares", column(rows, |row| row.shares as i64))
        .with("mark_cents", column(rows, |row| row.mark_cents))
        .with("value_cents", column(rows, |row| row.value_cents))
}

fn equity(ledger: &Ledger, returns: &[f64]) -> Table {
    let rows = &ledger.days;
    let numbers = |values: &[f64]| Values::Numbers(values.iter().copied().map(Some).collect());
    Table::new()
        .with(
            "date",
            Values::Days(rows.iter().map(|row| row.date).collect()),
        )
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
        .with("held_shares", column(rows, |row| row.held_shares as i64))
        .with("cash_cents", column(rows, |row| row.cash_cents))
        .with("tax_cents", column(rows, |row| row.tax_cents))
        .with("new_shares", column(rows, |row| row.new_shares as i64))
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
            column(rows, |row| row.bought_shares as i64),
        )
        .with("spent_cents", column(rows, |row| row.spent_cents))
        .with("earned_cents", column(rows, |row| row.earned_cents))
        .with("gain_cents", column(rows, |row| row.gain_cents()))
        .with(
            "gain",
            Values::Numbers(rows.iter().map(|row| Some(row.gain())).collect()),
        )
}
