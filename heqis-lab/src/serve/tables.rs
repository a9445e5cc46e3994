//! The tables of backtests, read back.

use std::collections::HashMap;
use std::path::Path;

use heqis_backtest::inputs::Benchmark;
use heqis_backtest::metrics::returns::drawdowns;
use heqis_dashboard::archive::{Equity, Month, Order, OrderNote, Trade};
use heqis_dashboard::{DashboardError, Decision, Decisions};
use heqis_quant::decision::{DecisionReason, Position};
use heqis_quant::{Date, Side, Symbol};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::results::FoundRun;

/// Most decisions of a strategy that are held in memory, some 200 bytes each.
const MAX_DECISIONS: usize = 2_000_000;

/// Reads the rows of a table.
pub(super) fn rows<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, DashboardError> {
    let fault = |error: csv::Error| DashboardError::Archive(format!("{}: {error}", path.display()));
    let mut reader = csv::Reader::from_path(path).map_err(fault)?;
    reader.deserialize().map(|row| row.map_err(fault)).collect()
}

#[derive(Deserialize)]
struct SignalRow {
    date: Date,
    symbol: Symbol,
    close: f64,
    predicted_return: f64,
    down: Option<f64>,
    flat: Option<f64>,
    up: Option<f64>,
    side: Side,
    confidence: Option<f64>,
    reason: DecisionReason,
}

/// Reads the decisions of one strategy's backtests in the order of days. The table does not hold the position; it follows
/// from the sides, since the decision step assumes that every decision is executed.
pub(super) fn decisions(runs: &[FoundRun], epoch: u64) -> Result<Decisions, DashboardError> {
    let mut listed = Vec::new();
    for (stream, run) in (0u64..).zip(runs) {
        let path = run.dir.join("signals.csv");
        let mut positions: HashMap<Symbol, Position> = HashMap::new();
        for (position, row) in (0u64..).zip(rows::<SignalRow>(&path)?) {
            let held = positions.entry(row.symbol).or_insert(Position::Flat);
            match row.side {
                Side::Buy => *held = Position::Long,
                Side::Sell => *held = Position::Flat,
                Side::Hold => {}
            }
            listed.push(Decision {
                origin: (stream, position),
                symbol: row.symbol,
                date: row.date,
                time_ns: row.date.close_time_ns(),
                close: row.close,
                side: row.side,
                // A table of predictions may have no probabilities; zeros stand for absent ones.
                confidence: row.confidence.unwrap_or(0.0),
                reason: row.reason,
                position: *held,
                predicted_return: row.predicted_return,
                probabilities: [row.down, row.flat, row.up].map(|share| share.unwrap_or(0.0)),
                timings: Vec::new(),
            });
        }
        if listed.len() > MAX_DECISIONS {
            let rule = format!(
                "{}: more than {MAX_DECISIONS} decisions of one strategy",
                run.id
            );
            return Err(DashboardError::Archive(rule));
        }
    }
    listed.sort_by_key(|decision| (decision.date, decision.symbol));
    let decisions = Decisions::new(listed.len(), epoch);
    for decision in listed {
        decisions.push(decision);
    }
    Ok(decisions)
}

#[derive(Deserialize)]
struct DayRow {
    date: Date,
    holdings_cents: i64,
    equity_cents: i64,
    #[serde(rename = "return")]
    returned: f64,
    drawdown: f64,
}

/// Reads the account of a backtest, with the benchmark's returns.
pub(super) fn equity(
    run: &FoundRun,
    benchmark: Option<&(String, Benchmark)>,
) -> Result<Equity, DashboardError> {
    let days: Vec<DayRow> = rows(&run.dir.join("equity.csv"))?;
    let date: Vec<Date> = days.iter().map(|day| day.date).collect();
    let compared = benchmark
        .map(|(_, benchmark)| benchmark.returns(&date))
        .transpose()
        .map_err(|error| DashboardError::Archive(error.to_string()))?;
    let returns: Vec<f64> = days.iter().map(|day| day.returned).collect();
    Ok(Equity {
        run: run.id.clone(),
        months: months(&date, &returns, compared.as_deref()),
        equity: days.iter().map(|day| yuan(day.equity_cents)).collect(),
        drawdown: days.iter().map(|day| day.drawdown).collect(),
        exposure: days
            .iter()
            .map(|day| day.holdings_cents as f64 / day.equity_cents as f64)
            .collect(),
        benchmark_name: benchmark.map(|(name, _)| name.clone()),
        benchmark_drawdown: compared.as_deref().map(drawdowns),
        benchmark: compared,
        returns,
        date,
    })
}

/// Compounds daily returns by month.
fn months(days: &[Date], returns: &[f64], benchmark: Option<&[f64]>) -> Vec<Month> {
    let mut months: Vec<Month> = Vec::new();
    for (at, day) in days.iter().enumerate() {
        let (year, month) = (day.year(), day.month());
        if months
            .last()
            .is_none_or(|last| (last.year, last.month) != (year, month))
        {
            months.push(Month {
                year,
                month,
                days: 0,
                returned: 0.0,
                benchmark: benchmark.map(|_| 0.0),
            });
        }
        if let Some(last) = months.last_mut() {
            last.days += 1;
            last.returned = (1.0 + last.returned) * (1.0 + returns[at]) - 1.0;
            last.benchmark = last
                .benchmark
                .zip(benchmark)
                .map(|(so_far, benchmark)| (1.0 + so_far) * (1.0 + benchmark[at]) - 1.0);
        }
    }
    months
}

#[derive(Deserialize)]
struct TripRow {
    symbol: Symbol,
    opened: Date,
    closed: Date,
    open: bool,
    bought_shares: i64,
    spent_cents: i64,
    earned_cents: i64,
    gain_cents: i64,
    gain: f64,
}

/// Reads the round trips of a backtest.
pub(super) fn trades(run: &FoundRun) -> Result<Vec<Trade>, DashboardError> {
    let trips: Vec<TripRow> = rows(&run.dir.join("trips.csv"))?;
    let trade = |trip: TripRow| Trade {
        symbol: trip.symbol,
        opened: trip.opened,
        closed: trip.closed,
        open: trip.open,
        bought_shares: trip.bought_shares,
        spent: yuan(trip.spent_cents),
        earned: yuan(trip.earned_cents),
        gain: yuan(trip.gain_cents),
        returned: trip.gain,
        days: trip.closed.days() - trip.opened.days(),
    };
    Ok(trips.into_iter().map(trade).collect())
}

#[derive(Deserialize)]
struct OrderRow {
    order: u64,
    placed: Date,
    symbol: Symbol,
    side: Side,
    wanted_shares: i64,
    filled_shares: i64,
    status: String,
    reasons: String,
}

/// Reads the orders of backtests, oldest first.
pub(super) fn orders(runs: &[FoundRun]) -> Result<Vec<Order>, DashboardError> {
    let mut orders = Vec::new();
    for run in runs {
        let rows: Vec<OrderRow> = rows(&run.dir.join("orders.csv"))?;
        orders.extend(rows.into_iter().map(|row| Order {
            run: run.id.clone(),
            order: row.order,
            placed: row.placed,
            symbol: row.symbol,
            side: row.side,
            wanted_shares: row.wanted_shares,
            filled_shares: row.filled_shares,
            status: row.status,
            reasons: notes(&row.reasons),
        }));
    }
    orders.sort_by_key(|order| order.placed);
    Ok(orders)
}

/// Parses reasons such as `2015-03-03 limit_up ×2 to 2015-03-04; 2015-03-05 suspended`.
fn notes(text: &str) -> Vec<OrderNote> {
    let note = |note: &str| match note.split_once(' ') {
        Some((day, rest)) if Date::parse(day).is_ok() => {
            let (reason, lasted) = rest.split_once(" ×").unwrap_or((rest, ""));
            OrderNote {
                date: Date::parse(day).ok(),
                reason: reason.to_owned(),
                to: lasted
                    .split_once(" to ")
                    .and_then(|(_, day)| Date::parse(day).ok()),
            }
        }
        _ => OrderNote {
            date: None,
            reason: note.to_owned(),
            to: None,
        },
    };
    text.split("; ")
        .filter(|part| !part.is_empty())
        .map(note)
        .collect()
}

fn yuan(cents: i64) -> f64 {
    cents as f64 / 100.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn months_compound_their_days_and_end_with_the_calendar() {
        let days: Vec<Date> = ["2015-01-30", "2015-02-02", "2015-02-03", "2016-02-01"]
            .map(|day| Date::parse(day).unwrap())
            .into();
        let months = months(&days, &[0.1, 0.1, -0.5, 0.2], Some(&[0.0, 1.0, 1.0, 0.0]));
        let shown: Vec<(i16, i8, u64)> = months.iter().map(|m| (m.year, m.month, m.days)).collect();
        assert_eq!(shown, [(2015, 1, 1), (2015, 2, 2), (2016, 2, 1)]);
        assert!((months[1].returned - (1.1 * 0.5 - 1.0)).abs() < 1e-12);
        assert_eq!(months[1].benchmark, Some(3.0));
    }

    #[test]
    fn reasons_are_parsed_day_by_day() {
        let both = notes("2015-03-02 limit_up ×2 to 2015-03-03; 2015-03-04 suspended");
        assert_eq!(both.len(), 2);
        assert_eq!(
            (both[0].reason.as_str(), both[0].to),
            ("limit_up", Date::parse("2015-03-03").ok())
        );
        assert_eq!(
            (both[1].date, both[1].reason.as_str()),
            (Date::parse("2015-03-04").ok(), "suspended")
        );
        assert_eq!(notes(""), []);
        assert_eq!(notes("expired")[0].date, None);
    }
}
