//! Invariants of the broker for random bars and orders.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use heqis_backtest::broker::{Ledger, OrderRequest, Size, Slippage, Status};
use heqis_backtest::{Broker, BrokerConfig, InstrumentInfo, MarketHistory, Stock};
use heqis_quant::adjust::EventKind;
use heqis_quant::rules::Trade;
use heqis_quant::{Bar, Calendar, Date, ExRight, Markets, Marks, Symbol};
use proptest::prelude::*;

/// Name, limit in percent, minimum buy, lot step.
const STOCKS: [(&str, i64, u64, u64); 4] = [
    ("300750.SZ", 20, 100, 100),
    ("600000.SH", 10, 100, 100),
    ("688981.SH", 20, 200, 1),
    ("830799.BJ", 30, 100, 1),
];

/// One random day of one stock: whether it trades, four prices as steps between the limits, and the volume.
type DayDraw = (bool, [u8; 4], u16);

#[derive(Clone, Debug)]
struct World {
    days: Vec<Date>,
    bars: Vec<Vec<Bar>>,
    events: Vec<ExRight>,
}

fn day(text: &str) -> Date {
    Date::parse(text).unwrap()
}

/// Weekdays around the change of the stamp duty on 2023-08-28.
fn weekdays(count: usize) -> Vec<Date> {
    (day("2023-08-21").days()..)
        .filter_map(Date::from_days)
        .filter(|day| !day.is_weekend())
        .take(count)
        .collect()
}

fn world(draws: &[Vec<DayDraw>], given: &[(usize, usize, u8, u8)]) -> World {
    let days = weekdays(draws[0].len());
    let events: Vec<ExRight> = given
        .iter()
        .map(|(stock, at, cash, gift)| ExRight {
            symbol: Symbol::parse(STOCKS[*stock].0).unwrap(),
            ex_date: days[at % days.len()],
            cash_cny: f64::from(*cash) / 1000.0,
            gift: f64::from(*gift) / 100.0,
            increase: 0.0,
            rights: 0.0,
            rights_price_cny: 0.0,
            kind: EventKind::ExRight,
        })
        .collect();
    let mut bars = Vec::new();
    for (stock, draws) in draws.iter().enumerate() {
        let symbol = Symbol::parse(STOCKS[stock].0).unwrap();
        let mut close: i64 = 1_000;
        let mut series = Vec::new();
        for (date, (trades, steps, volume)) in days.iter().zip(draws) {
            if !trades {
                continue;
            }
            // A quarter of the prices are at a limit of the last close, with or without ex-rights.
            let (low, high) = (close * 9 / 10, close * 11 / 10);
            let at = |step: u8| match step % 8 {
                0 => low,
                7 => high,
                _ => low + (high - low) * i64::from(step) / 255,
            };
            let mut prices = steps.map(at);
            let (open, last) = (prices[0].max(1), prices[3].max(1));
            prices.sort_unstable();
            series.push(Bar {
                symbol,
                time_ns: date.close_time_ns(),
                date: *date,
                open: open as f64 / 100.0,
                high: prices[3].max(1) as f64 / 100.0,
                low: prices[0].max(1) as f64 / 100.0,
                close: last as f64 / 100.0,
                pre_close: None,
                volume_shares: f64::from(*volume),
                amount_cny: None,
                marks: Marks::NONE,
            });
            close = last.max(100);
        }
        bars.push(series);
    }
    World { days, bars, events }
}

fn market(world: &World) -> MarketHistory {
    let calendar = Calendar::new(world.days.clone()).unwrap();
    let stocks = world
        .bars
        .iter()
        .zip(STOCKS)
        .map(|(bars, (name, ..))| {
            let facts = InstrumentInfo {
                events: world.events.clone(),
                ..InstrumentInfo::default()
            };
            Stock::new(Symbol::parse(name).unwrap(), bars, facts, &calendar).unwrap()
        })
        .collect();
    MarketHistory::new(calendar, stocks).unwrap()
}

type OrderDraw = (usize, usize, bool, Option<u16>);

fn run(market: &MarketHistory, config: BrokerConfig, orders: &[OrderDraw]) -> Ledger {
    let markets = Markets::shipped().unwrap();
    let mut broker = Broker::new(market, &markets, config).unwrap();
    let days = market.days().len();
    let mut at = 0;
    while broker.advance().unwrap().is_some() {
        for (_, stock, buy, shares) in orders.iter().filter(|order| order.0 % days == at) {
            let (trade, size) = match (buy, shares) {
                (true, shares) => (Trade::Buy, Size::Shares(shares.unwrap_or(500).into())),
                (false, Some(shares)) => (Trade::Sell, Size::Shares((*shares).into())),
                (false, None) => (Trade::Sell, Size::All),
            };
            broker.submit(OrderRequest {
                stock: *stock,
                trade,
                size,
            });
        }
        at += 1;
    }
    broker.finish()
}

/// Recomputes the account from fills and entitlements, and compares it with the ledger.
fn check(
    market: &MarketHistory,
    config: &BrokerConfig,
    ledger: &Ledger,
) -> Result<(), TestCaseError> {
    let mut cash = config.cash_cents;
    let mut shares = [0_u64; 4];
    let mut close = [0_i64; 4];
    for account in &ledger.days {
        let at_open = |stock: usize| {
            let bars = market.stocks()[stock].bars().iter();
            bars.copied()
                .find(|bar| market.days()[bar.day as usize] == account.date)
        };
        for given in ledger.entitled.iter().filter(|e| e.date == account.date) {
            prop_assert!(given.tax_cents <= given.cash_cents);
            cash += given.cash_cents - given.tax_cents;
            shares[given.stock] += given.new_shares;
        }
        let before = shares;
        let (mut sold, mut traded) = ([0_u64; 4], [0_u64; 4]);
        let (mut fees, mut bought_cents, mut sold_cents) = (0, 0, 0);
        for fill in ledger.fills.iter().filter(|fill| fill.date == account.date) {
            let stock = fill.stock;
            let (_, percent, least, step) = STOCKS[stock];
            let bar = at_open(stock).unwrap();
            let reference = bar.reference.unwrap();
            let (up, down) = (
                (reference * (100 + percent) + 50) / 100,
                (reference * (100 - percent) + 50) / 100,
            );
            prop_assert!((down..=up).contains(&fill.price), "outside the limits");
            prop_assert_eq!(fill.amount_cents, fill.price * fill.shares as i64);
            traded[stock] += fill.shares;
            fees += fill.bill.total_cents();
            match fill.trade {
                Trade::Buy => {
                    prop_assert!(bar.open < up && fill.price >= bar.open);
                    prop_assert!(fill.shares >= least && (fill.shares - least) % step == 0);
                    cash -= fill.amount_cents + fill.bill.total_cents();
                    bought_cents += fill.amount_cents;
                    shares[stock] += fill.shares;
                }
                Trade::Sell => {
                    prop_assert!(bar.open > down && fill.price <= bar.open);
                    cash += fill.amount_cents - fill.bill.total_cents();
                    sold_cents += fill.amount_cents;
                    sold[stock] += fill.shares;
                    prop_assert!(sold[stock] <= before[stock], "sold on the day of its buy");
                    shares[stock] -= fill.shares;
                }
            }
            prop_assert!(cash >= 0, "negative cash");
            prop_assert!(traded[stock] <= bar.volume * u64::from(config.participation_e4) / 10_000);
        }
        let mut holdings = 0;
        let mut rows = Vec::new();
        for stock in 0..4 {
            if let Some(bar) = at_open(stock) {
                close[stock] = bar.close;
            }
            if shares[stock] > 0 {
                rows.push((stock, shares[stock]));
            }
        }
        for row in ledger
            .positions
            .iter()
            .filter(|row| row.date == account.date)
        {
            prop_assert_eq!(rows.first().copied(), Some((row.stock, row.shares)));
            rows.remove(0);
            if at_open(row.stock).is_some() {
                prop_assert_eq!(row.mark, close[row.stock]);
            }
            holdings += row.mark * row.shares as i64;
        }
        prop_assert!(rows.is_empty(), "a holding is missing from the books");
        prop_assert_eq!(
            (account.cash_cents, account.holdings_cents),
            (cash, holdings)
        );
        prop_assert_eq!(
            (account.fees_cents, account.bought_cents, account.sold_cents),
            (fees, bought_cents, sold_cents)
        );
    }
    Ok(())
}

/// Every order without a full fill has a reason, and fills do not exceed the order.
fn check_orders(ledger: &Ledger) -> Result<(), TestCaseError> {
    let mut filled = BTreeMap::new();
    for fill in &ledger.fills {
        *filled.entry(fill.order).or_insert(0) += fill.shares;
    }
    for (id, order) in ledger.orders.iter().enumerate() {
        prop_assert_eq!(order.filled_shares, filled.get(&id).copied().unwrap_or(0));
        prop_assert!(order.filled_shares <= order.wanted_shares);
        match order.status {
            Status::Filled => prop_assert_eq!(order.filled_shares, order.wanted_shares),
            Status::Partial | Status::Refused => {
                prop_assert!(!order.notes.is_empty(), "{:?} has no reason", order);
            }
            Status::Pending => prop_assert!(false, "{:?} is still pending", order),
        }
    }
    Ok(())
}

/// The gains of round trips add up to the gain of the account, to the cent.
fn check_trips(config: &BrokerConfig, ledger: &Ledger) -> Result<(), TestCaseError> {
    let gained: i64 = ledger.trips.iter().map(|trip| trip.gain_cents()).sum();
    let equity = ledger.days.last().unwrap().equity_cents();
    prop_assert_eq!(gained, equity - config.cash_cents);
    Ok(())
}

fn any_slippage() -> impl Strategy<Value = Slippage> {
    prop_oneof![
        Just(Slippage::None),
        (0_u32..60).prop_map(Slippage::Ticks),
        (0_u32..300).prop_map(Slippage::Rate),
        (0_u32..10_000).prop_map(Slippage::VolumeShare),
    ]
}

fn any_draws() -> impl Strategy<Value = Vec<Vec<DayDraw>>> {
    let day = (prop::bool::weighted(0.9), any::<[u8; 4]>(), any::<u16>());
    (8_usize..24).prop_flat_map(move |days| {
        prop::collection::vec(prop::collection::vec(day, days), STOCKS.len())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn money_and_shares_are_conserved_and_no_rule_is_broken(
        draws in any_draws(),
        events in prop::collection::vec((0_usize..4, 1_usize..24, any::<u8>(), any::<u8>()), 0..4),
        orders in prop::collection::vec(
            (0_usize..24, 0_usize..4, any::<bool>(), prop::option::of(0_u16..1_500)), 1..60
        ),
        slippage in any_slippage(),
        cash_cents in 0_i64..5_000_000,
        participation_e4 in 1_u32..=10_000,
        buy_days in 1_u32..4,
        dividend_tax_e4 in 0_u32..=10_000,
    ) {
        let world = world(&draws, &events);
        let market = market(&world);
        let config = BrokerConfig {
            cash_cents, slippage, participation_e4, buy_days, dividend_tax_e4,
        };
        let ledger = run(&market, config, &orders);
        prop_assert_eq!(ledger.days.len(), market.days().len());
        check(&market, &config, &ledger)?;
        check_orders(&ledger)?;
        check_trips(&config, &ledger)?;
        prop_assert_eq!(&run(&market, config, &orders), &ledger, "the same run twice");
    }
}

/// The random worlds trigger every rule; otherwise the invariants could hold trivially.
#[test]
fn random_worlds_trigger_every_rule() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut met = BTreeMap::new();
    let orders = prop::collection::vec(
        (
            0_usize..24,
            0_usize..4,
            any::<bool>(),
            prop::option::of(0_u16..1_500),
        ),
        60,
    );
    for _ in 0..60 {
        let mut draw =
            || -> Vec<Vec<DayDraw>> { any_draws().new_tree(&mut runner).unwrap().current() };
        let world = world(&draw(), &[(1, 5, 200, 30), (2, 7, 0, 15)]);
        let orders = orders.new_tree(&mut runner).unwrap().current();
        let config = BrokerConfig {
            cash_cents: 2_000_000,
            participation_e4: 500,
            buy_days: 2,
            ..BrokerConfig::default()
        };
        let ledger = run(&market(&world), config, &orders);
        *met.entry("fill").or_insert(0) += ledger.fills.len();
        *met.entry("entitled").or_insert(0) += ledger.entitled.len();
        *met.entry("trip").or_insert(0) += ledger.trips.iter().filter(|trip| !trip.open).count();
        for note in ledger.orders.iter().flat_map(|order| &order.notes) {
            *met.entry(note.reason.name()).or_insert(0) += 1;
        }
    }
    for (what, least) in [
        ("fill", 500),
        ("trip", 50),
        ("entitled", 10),
        ("suspended", 50),
        ("limit_up", 20),
        ("limit_down", 5),
        ("t_plus_one", 10),
        ("volume_cap", 50),
        ("lot_size", 50),
        ("cash", 50),
        ("no_position", 50),
        ("end_of_history", 1),
    ] {
        let count = met.get(what).copied().unwrap_or(0);
        assert!(
            count >= least,
            "{what}: {count} of at least {least}; {met:?}"
        );
    }
}
