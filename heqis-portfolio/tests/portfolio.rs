//! A portfolio from cross-section to cross-section: orders, limits, recovery.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use heqis_portfolio::config::{Beta, Sectors, Weights};
use heqis_portfolio::{Actual, Portfolio, PortfolioConfig, Row, Section};
use heqis_quant::bar::BarRef;
use heqis_quant::decision::{Band, DecisionReason as Why, Position, TradingState};
use heqis_quant::{Date, Decision, MarketSnapshot, Prediction, Side, Symbol};

fn symbol(at: usize) -> Symbol {
    Symbol::parse(&format!("S{at:03}")).unwrap()
}

fn row(day: u64, at: usize, score: f64) -> Row {
    let date = Date::from_days(18_000 + day as i32).unwrap();
    let close = 10.0;
    Row {
        bar: BarRef {
            symbol: symbol(at),
            date,
            time_ns: date.close_time_ns(),
            close,
        },
        snapshot: MarketSnapshot {
            reference_close: Some(close),
            limits: Some(Band {
                down_cents: 900,
                up_cents: 1_100,
            }),
            ..MarketSnapshot::of_close(date, close)
        },
        prediction: Prediction {
            predicted_return: score,
            probabilities: [0.3, 0.4, 0.3],
        },
        score,
    }
}

fn section(number: u64, rows: Vec<Row>) -> Section {
    Section {
        number,
        time_ns: Date::from_days(18_000 + number as i32)
            .unwrap()
            .close_time_ns(),
        rows,
        missing: Vec::new(),
        is_late: false,
    }
}

fn step(portfolio: &mut Portfolio, section: &Section) -> Vec<Decision> {
    portfolio.step(section, TradingState::Active, None)
}

fn reasons(decisions: &[Decision]) -> Vec<Why> {
    decisions.iter().map(|one| one.reason).collect()
}

/// Opens at its upper limit.
fn locked(mut row: Row) -> Row {
    (row.snapshot.open, row.snapshot.close) = (11.0, 11.0);
    row
}

#[test]
fn an_order_that_is_not_filled_is_tried_again_then_given_up_and_never_held() {
    let mut portfolio = Portfolio::new(PortfolioConfig::of(1)).unwrap();
    let decisions = step(
        &mut portfolio,
        &section(1, vec![row(1, 0, 1.0), row(1, 1, 2.0)]),
    );
    assert_eq!(reasons(&decisions), [Why::Outranked, Why::TopRanked]);
    for day in 2..=3 {
        let rows = vec![row(day, 0, 1.0), locked(row(day, 1, 2.0))];
        let decisions = step(&mut portfolio, &section(day, rows));
        assert_eq!(reasons(&decisions), [Why::Outranked, Why::Waiting]);
        let ranked = decisions[1].ranked.unwrap();
        assert_eq!((ranked.value, ranked.order.unwrap().since), (0.0, 1));
        assert!(portfolio.account().0.is_empty());
    }
    // The third bar is the last one: the place goes to the next best.
    let rows = vec![row(4, 0, 1.0), locked(row(4, 1, 2.0))];
    let decisions = step(&mut portfolio, &section(4, rows));
    assert_eq!(reasons(&decisions), [Why::TopRanked, Why::GivenUp]);
    assert_eq!(decisions[1].position, Position::Flat);
    let ranked = decisions[1].ranked.unwrap();
    assert_eq!((ranked.order, ranked.unfilled.unwrap().since), (None, 1));
    // It is filled by the next bar.
    let decisions = step(
        &mut portfolio,
        &section(5, vec![row(5, 0, 3.0), row(5, 1, 2.0)]),
    );
    assert_eq!(reasons(&decisions), [Why::Kept, Why::Outranked]);
    assert_eq!(portfolio.account().0, [(symbol(0), 1.0)].into());
}

#[test]
fn a_missing_bar_fills_nothing_and_a_sale_waits_for_as_long_as_it_takes() {
    let mut portfolio = Portfolio::new(PortfolioConfig::of(1)).unwrap();
    step(
        &mut portfolio,
        &section(1, vec![row(1, 0, 1.0), row(1, 1, 2.0)]),
    );
    step(
        &mut portfolio,
        &section(2, vec![row(2, 0, 1.0), row(2, 1, 2.0)]),
    );
    let decisions = step(
        &mut portfolio,
        &section(3, vec![row(3, 0, 3.0), row(3, 1, 2.0)]),
    );
    assert_eq!(reasons(&decisions), [Why::TopRanked, Why::Dropped]);
    // Ten days without a bar: what is sold is still held, and counts so. The buy is filled without its cash.
    for day in 4..14 {
        let decisions = step(&mut portfolio, &section(day, vec![row(day, 0, 3.0)]));
        assert_eq!(reasons(&decisions), [Why::Kept]);
    }
    assert!(portfolio.account().0.contains_key(&symbol(1)));
    let decisions = step(
        &mut portfolio,
        &section(14, vec![row(14, 0, 3.0), row(14, 1, 2.0)]),
    );
    assert_eq!(reasons(&decisions), [Why::Kept, Why::Outranked]);
    assert_eq!(portfolio.account(), ([(symbol(0), 1.0)].into(), 0.0));
}

#[test]
fn a_sale_with_a_limit_of_tries_is_given_up_and_the_instrument_stays_held() {
    let config = PortfolioConfig {
        sell_tries: Some(1),
        avoid_limits: false,
        ..PortfolioConfig::of(1)
    };
    let mut portfolio = Portfolio::new(config).unwrap();
    for day in 1..=2 {
        step(
            &mut portfolio,
            &section(day, vec![row(day, 0, 1.0), row(day, 1, 2.0)]),
        );
    }
    step(
        &mut portfolio,
        &section(3, vec![row(3, 0, 3.0), row(3, 1, 2.0)]),
    );
    let mut low = row(4, 1, 2.0);
    (low.snapshot.open, low.snapshot.close) = (9.0, 9.0);
    let decisions = step(&mut portfolio, &section(4, vec![row(4, 0, 3.0), low]));
    assert_eq!(decisions[1].reason, Why::GivenUp);
    assert_eq!(decisions[1].position, Position::Long);
}

#[test]
fn rebalancing_waits_for_its_turn_and_a_halt_gives_orders_up() {
    let config = PortfolioConfig {
        every: 3,
        ..PortfolioConfig::of(1)
    };
    let mut portfolio = Portfolio::new(config).unwrap();
    step(
        &mut portfolio,
        &section(1, vec![row(1, 0, 1.0), row(1, 1, 2.0)]),
    );
    for day in 2..=3 {
        let rows = vec![row(day, 0, 3.0), row(day, 1, 2.0)];
        let decisions = step(&mut portfolio, &section(day, rows));
        assert_eq!(reasons(&decisions), [Why::NotRebalanced; 2]);
    }
    let rows = vec![row(4, 0, 3.0), row(4, 1, 2.0)];
    let decisions = step(&mut portfolio, &section(4, rows));
    assert_eq!(reasons(&decisions), [Why::TopRanked, Why::Dropped]);
    let rows = vec![locked(row(5, 0, 3.0)), row(5, 1, 2.0)];
    let decisions = portfolio.step(&section(5, rows), TradingState::Reducing, None);
    assert_eq!(reasons(&decisions), [Why::Reducing, Why::NotRebalanced]);
    assert_eq!(portfolio.account().0, BTreeMap::new());
}

#[test]
fn the_fills_of_a_broker_replace_the_assumed_ones() {
    let mut portfolio = Portfolio::new(PortfolioConfig::of(2)).unwrap();
    let rows = |day| vec![row(day, 0, 1.0), row(day, 1, 2.0), row(day, 2, 0.5)];
    let empty = Actual {
        cash: 1000.0,
        ..Actual::default()
    };
    let decisions = portfolio.step(&section(1, rows(1)), TradingState::Active, Some(&empty));
    assert_eq!(
        reasons(&decisions),
        [Why::TopRanked, Why::TopRanked, Why::Outranked]
    );
    let half = Actual {
        cash: 500.0,
        values: [(symbol(0), 500.0)].into(),
        unfilled: [symbol(1)].into(),
    };
    let decisions = portfolio.step(&section(2, rows(2)), TradingState::Active, Some(&half));
    assert_eq!(
        reasons(&decisions),
        [Why::Kept, Why::Waiting, Why::Outranked]
    );
    let weights: Vec<f64> = decisions
        .iter()
        .map(|one| one.ranked.unwrap().weight)
        .collect();
    assert_eq!(weights, [0.5, 0.5, 0.0]);
}

#[test]
fn a_late_row_is_recorded_and_changes_nothing() {
    let mut portfolio = Portfolio::new(PortfolioConfig::of(1)).unwrap();
    step(&mut portfolio, &section(1, vec![row(1, 0, 1.0)]));
    let before = portfolio.snapshot();
    let late = Section {
        is_late: true,
        ..section(1, vec![row(1, 1, 9.0)])
    };
    let decisions = step(&mut portfolio, &late);
    assert_eq!(
        (decisions[0].reason, decisions[0].side),
        (Why::Late, Side::Hold)
    );
    assert_eq!(decisions[0].ranked.unwrap().rank, None);
    step(&mut portfolio, &section(2, vec![row(2, 0, 1.0)]));
    let mut other = Portfolio::new(PortfolioConfig::of(1)).unwrap();
    other.restore(&before).unwrap();
    step(&mut other, &section(2, vec![row(2, 0, 1.0)]));
    assert_eq!(portfolio.snapshot(), other.snapshot());
}

/// Numbers that look random, the same in each run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as f64 / (1u64 << 31) as f64
    }
}

/// A market with limits, gaps, missing bars and invalid predictions.
fn market(days: u64, stocks: usize) -> Vec<Section> {
    let mut noise = Noise(7);
    let sections = (1..=days).map(|day| {
        let mut rows = Vec::new();
        for at in 0..stocks {
            if noise.next() < 0.1 {
                continue;
            }
            let score = if noise.next() < 0.02 {
                f64::NAN
            } else {
                noise.next() - 0.5
            };
            let mut row = row(day, at, score);
            row.snapshot.open = 10.0 + (noise.next() - 0.5) * 2.4;
            row.snapshot.close = 10.0 + (noise.next() - 0.5) * 2.2;
            rows.push(row);
        }
        section(day, rows)
    });
    sections.collect()
}

fn everything() -> PortfolioConfig {
    let members = |range: std::ops::Range<usize>| range.map(symbol).collect();
    PortfolioConfig {
        replace: 2,
        every: 2,
        weights: Weights::InverseVolatility,
        max_weight: 0.4,
        drift: Some(0.02),
        max_turnover: Some(0.5),
        sectors: Some(Sectors {
            members: [("a".into(), members(0..6)), ("b".into(), members(6..9))].into(),
            max_share: Some(0.6),
            neutral: false,
        }),
        beta: Some(Beta {
            max: 0.9,
            tilt: 0.5,
        }),
        sell_tries: Some(2),
        ..PortfolioConfig::of(5)
    }
}

/// The text of a decision, in which numbers are exact and NaN is equal to itself.
fn texts(decisions: &[Decision]) -> Vec<String> {
    decisions.iter().map(Decision::text).collect()
}

#[test]
fn records_restore_a_portfolio_at_any_place_within_a_cross_section() {
    for config in [
        PortfolioConfig::of(3),
        everything(),
        PortfolioConfig {
            weights: Weights::Score,
            buy_tries: 1,
            ..everything()
        },
    ] {
        let sections = market(120, 12);
        let mut whole = Portfolio::new(config.clone()).unwrap();
        let expected: Vec<Vec<Decision>> = sections
            .iter()
            .map(|section| step(&mut whole, section))
            .collect();
        let all: Vec<Why> = reasons(&expected.concat());
        for why in [Why::TopRanked, Why::Dropped, Why::Waiting, Why::AtLimit] {
            assert!(all.contains(&why), "{why} does not occur");
        }
        let mut noise = Noise(3);
        for last in 0..sections.len() - 1 {
            let recorded = 1 + (noise.next() * expected[last].len() as f64) as usize;
            let before = expected[..last].iter().flatten();
            let records = before.chain(&expected[last][..recorded.min(expected[last].len())]);
            let mut newest: BTreeMap<Symbol, Decision> = BTreeMap::new();
            for record in records {
                // As a journal keeps them.
                let record: Decision = serde_json::from_str(&record.text()).unwrap();
                newest.insert(record.symbol, record);
            }
            let mut portfolio = Portfolio::new(config.clone()).unwrap();
            newest.values().for_each(|record| portfolio.recover(record));
            for at in last..(last + 6).min(sections.len()) {
                let got = step(&mut portfolio, &sections[at]);
                assert_eq!(texts(&got), texts(&expected[at]), "{last} {recorded} {at}");
            }
        }
    }
}

#[test]
fn a_saved_state_continues_with_the_same_bits() {
    let sections = market(60, 12);
    let mut whole = Portfolio::new(everything()).unwrap();
    for (at, section) in sections.iter().enumerate() {
        let mut restored = Portfolio::new(everything()).unwrap();
        restored.restore(&whole.snapshot()).unwrap();
        let expected = texts(&step(&mut whole, section));
        assert_eq!(texts(&step(&mut restored, section)), expected, "{at}");
    }
    assert!(Portfolio::new(everything()).unwrap().restore(b"{").is_err());
}

#[test]
fn limits_hold_where_weights_are_set() {
    let config = PortfolioConfig {
        every: 1,
        drift: Some(1e-6),
        max_turnover: None,
        ..everything()
    };
    let mut portfolio = Portfolio::new(config.clone()).unwrap();
    let mut checked = 0;
    for section in market(200, 12) {
        let before = portfolio.account();
        let decisions = step(&mut portfolio, &section);
        let (held, _) = &before;
        assert!(held.len() <= 5 + 5, "{held:?}");
        for decision in &decisions {
            let ranked = decision.ranked.unwrap();
            if decision.side == Side::Buy {
                assert!(ranked.order.unwrap().amount > 0.0);
                // The tilt of beta may add half.
                assert!(ranked.weight <= 0.4 * 1.5 + 1e-9, "{ranked:?}");
                checked += 1;
            }
        }
    }
    assert!(checked > 100);
}
