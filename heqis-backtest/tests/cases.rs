//! Cases of all markets with results computed by hand, from the files in `cases/`.
//!
//! Each case has bars, the orders submitted after a close, and the cash, shares and equity after later closes, with the
//! computation in its `why`. The reasons of every order without an immediate full fill are listed.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use heqis_backtest::broker::{OrderRequest, Reason, Size, Slippage};
use heqis_backtest::{Broker, BrokerConfig, InstrumentInfo, MarketHistory, Stock};
use heqis_quant::adjust::EventKind;
use heqis_quant::rules::Trade;
use heqis_quant::{Bar, Calendar, Date, ExRight, Markets, Marks, Symbol};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    why: String,
    cash: String,
    #[serde(default)]
    slippage: Option<Slippage>,
    #[serde(default)]
    participation_e4: Option<u32>,
    #[serde(default)]
    buy_days: Option<u32>,
    #[serde(default)]
    dividend_tax_e4: Option<u32>,
    /// The trading days, or `from..to` for every weekday; by default the days with a bar of any stock.
    #[serde(default)]
    calendar: String,
    #[serde(default)]
    stock: BTreeMap<String, StockFacts>,
    /// `date symbol open high low close pre_close volume`, with `-` for no reference. For bars shorter than a day the
    /// first column is their end, `2024-01-02T09:31` on the clock of the exchange; 24:00 is the end of a day.
    bars: String,
    /// `date symbol buy|sell shares|all`, submitted after the close of the date, or of the bars that end at a time.
    orders: String,
    /// `date cash symbol:shares,… equity`, with `-` for no shares.
    expect: String,
    /// `order-number reason reason …`, with orders numbered from 1; orders without a line have no reason.
    #[serde(default)]
    reasons: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StockFacts {
    listed: Option<Date>,
    delisted: Option<Date>,
    special: Vec<(Date, Date)>,
    free_days: BTreeSet<Date>,
    /// `ex_date cash gift increase rights rights_price exright|reform`.
    events: String,
}

fn cents(text: &str) -> i64 {
    let (whole, part) = text.split_once('.').unwrap();
    assert_eq!(part.len(), 2, "{text}");
    whole.parse::<i64>().unwrap() * 100 + part.parse::<i64>().unwrap()
}

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|row| !row.is_empty())
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("number {text}"))
}

fn facts(symbol: Symbol, given: StockFacts) -> InstrumentInfo {
    let events = rows(&given.events)
        .map(|row| ExRight {
            symbol,
            ex_date: Date::parse(row[0]).unwrap(),
            cash_cny: number(row[1]),
            gift: number(row[2]),
            increase: number(row[3]),
            rights: number(row[4]),
            rights_price_cny: number(row[5]),
            kind: match row[6] {
                "exright" => EventKind::ExRight,
                "reform" => EventKind::ReformNoExRight,
                other => panic!("kind {other}"),
            },
        })
        .collect();
    InstrumentInfo {
        listed: given.listed,
        delisted: given.delisted,
        special: given
            .special
            .into_iter()
            .map(|(from, to)| (from, Some(to)))
            .collect(),
        free_days: given.free_days,
        events,
    }
}

/// Parses a date, or a time on the clock of the exchange, to the day and the end of a bar.
fn moment(markets: &Markets, symbol: Symbol, text: &str) -> (Date, i64) {
    let Some((date, time)) = text.split_once('T') else {
        let date = Date::parse(text).unwrap();
        return (date, date.close_time_ns());
    };
    let date = Date::parse(date).unwrap();
    let (hours, minutes) = time.split_once(':').unwrap();
    let second = hours.parse::<u32>().unwrap() * 3_600 + minutes.parse::<u32>().unwrap() * 60;
    let market = markets.of(symbol).unwrap().market;
    (date, market.time_ns(date, second).unwrap())
}

/// Parses a decimal number of shares to quantity units of its market.
fn units(market: &MarketHistory, stock: usize, shares: &str) -> u64 {
    let per_share = market.stocks()[stock].market().units_per_share();
    (number(shares) * per_share as f64).round() as u64
}

impl Case {
    fn market(&self, markets: &Markets) -> MarketHistory {
        let mut bars: BTreeMap<Symbol, Vec<Bar>> = BTreeMap::new();
        for row in rows(&self.bars) {
            let symbol = Symbol::parse(row[1]).unwrap();
            let (date, time_ns) = moment(markets, symbol, row[0]);
            bars.entry(symbol).or_default().push(Bar {
                symbol,
                time_ns,
                date,
                open: number(row[2]),
                high: number(row[3]),
                low: number(row[4]),
                close: number(row[5]),
                pre_close: (row[6] != "-").then(|| number(row[6])),
                volume_shares: number(row[7]),
                amount_cny: None,
                marks: Marks::NONE,
            });
        }
        let day = |text| Date::parse(text).unwrap();
        let mut days: Vec<Date> = match self.calendar.split_once("..") {
            None => self.calendar.split_whitespace().map(day).collect(),
            Some((from, to)) => (day(from).days()..=day(to).days())
                .filter_map(Date::from_days)
                .filter(|day| !day.is_weekend())
                .collect(),
        };
        if days.is_empty() {
            days = bars.values().flatten().map(|bar| bar.date).collect();
            days.sort_unstable();
            days.dedup();
        }
        let calendar = Calendar::new(days).unwrap();
        let stocks = bars
            .iter()
            .map(|(symbol, bars)| {
                let given = self.stock.get(symbol.as_str()).cloned().unwrap_or_default();
                Stock::new(*symbol, bars, facts(*symbol, given), &calendar).unwrap()
            })
            .collect();
        MarketHistory::new(calendar, stocks).unwrap()
    }

    /// Runs the case and returns all differences from the expected results.
    fn faults(&self) -> Vec<String> {
        assert!(self.why.len() > 20, "{}: must have a why", self.name);
        let markets = Markets::shipped().unwrap();
        let market = self.market(&markets);
        let first = market.stocks()[0].symbol();
        let config = BrokerConfig {
            cash_cents: cents(&self.cash),
            slippage: self.slippage.unwrap_or(Slippage::None),
            participation_e4: self.participation_e4.unwrap_or(10_000),
            buy_days: self.buy_days.unwrap_or(1),
            dividend_tax_e4: self.dividend_tax_e4.unwrap_or(0),
        };
        let find = |symbol: &str| {
            let symbol = Symbol::parse(symbol).unwrap();
            let at = |stock: &Stock| stock.symbol() == symbol;
            market.stocks().iter().position(at).unwrap()
        };
        let mut faults = Vec::new();
        let (mut placed, mut seen) = (0, 0);
        let mut broker = Broker::new(&market, &markets, config).unwrap();
        while let Some(date) = broker.advance().unwrap() {
            let step = market.steps()[broker.next_step() as usize - 1];
            let is_now = |text: &str| moment(&markets, first, text) == (date, step.time_ns);
            for row in rows(&self.expect).filter(|row| is_now(row[0])) {
                seen += 1;
                let mut shares = String::new();
                for stock in broker.held() {
                    let symbol = market.stocks()[*stock].symbol();
                    let comma = if shares.is_empty() { "" } else { "," };
                    let rules = market.stocks()[*stock].market();
                    let held = rules.quantity_text(broker.position(*stock).shares());
                    shares += &format!("{comma}{symbol}:{held}");
                }
                if shares.is_empty() {
                    shares.push('-');
                }
                let money = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
                let got = [
                    row[0].to_owned(),
                    money(broker.cash_cents()),
                    shares,
                    money(broker.equity_cents()),
                ];
                if got.iter().ne(row.iter()) {
                    faults.push(format!("{}: expected {row:?}, got {got:?}", self.name));
                }
            }
            for row in rows(&self.orders).filter(|row| is_now(row[0])) {
                placed += 1;
                broker.submit(OrderRequest {
                    stock: find(row[1]),
                    trade: match row[2] {
                        "buy" => Trade::Buy,
                        "sell" => Trade::Sell,
                        other => panic!("side {other}"),
                    },
                    size: match row[3] {
                        "all" => Size::All,
                        shares => Size::Shares(units(&market, find(row[1]), shares)),
                    },
                });
            }
        }
        assert_eq!(
            (placed, seen),
            (rows(&self.orders).count(), rows(&self.expect).count()),
            "{}: an order or an expectation is on no trading day",
            self.name
        );
        let ledger = broker.finish();
        let mut expected = vec![Vec::new(); ledger.orders.len()];
        for row in rows(&self.reasons) {
            expected[row[0].parse::<usize>().unwrap() - 1] = row[1..].to_vec();
        }
        for (i, (order, expected)) in ledger.orders.iter().zip(expected).enumerate() {
            let got: Vec<&str> = order.notes.iter().map(|note| note.reason.name()).collect();
            if got != expected {
                let n = i + 1;
                let name = &self.name;
                faults.push(format!(
                    "{name}: order {n} expected {expected:?}, got {got:?}"
                ));
            }
        }
        faults
    }
}

fn cases() -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<_> = [dir.clone(), dir.join("markets")]
        .iter()
        .flat_map(|dir| std::fs::read_dir(dir).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let file: File = toml::from_str(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        cases.extend(file.case);
    }
    cases
}

#[test]
fn every_case_has_the_cash_and_shares_computed_by_hand() {
    let cases = cases();
    let faults: Vec<String> = cases.iter().flat_map(Case::faults).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let mut names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cases.len(), "case names are unique");
    assert!(cases.len() >= 100, "{} cases", cases.len());
}

/// The comparison can fail: it finds a wrong cent and a wrong reason.
#[test]
fn a_wrong_cent_and_a_wrong_reason_are_found() {
    let mut case = cases().swap_remove(0);
    assert!(case.faults().is_empty());
    case.reasons = format!("1 {}", Reason::Delisted);
    assert_eq!(case.faults().len(), 1);
    case.reasons.clear();
    let last = case.expect.trim_end().chars().last().unwrap();
    let other = if last == '0' { '1' } else { '0' };
    case.expect = case.expect.trim_end().trim_end_matches(last).to_owned() + &other.to_string();
    assert!(!case.faults().is_empty());
}
