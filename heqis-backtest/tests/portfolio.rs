//! Order intents → orders of a shared account, with results computed by hand.
#![allow(clippy::unwrap_used)]

use heqis_backtest::broker::{Ledger, Reason, Slippage, Status};
use heqis_backtest::{
    Allocation, BrokerConfig, InstrumentInfo, MarketHistory, OrderIntent, Weighting, simulate,
};
use heqis_quant::decision::Side;
use heqis_quant::rules::Trade;
use heqis_quant::{Bar, Date, Markets, Marks, Symbol};

const NAMES: [&str; 3] = ["000001.SZ", "600000.SH", "600036.SH"];

fn bar(symbol: &str, date: &str, open: f64, close: f64, pre_close: f64, volume: f64) -> Bar {
    let date = Date::parse(date).unwrap();
    Bar {
        symbol: Symbol::parse(symbol).unwrap(),
        time_ns: date.close_time_ns(),
        date,
        open,
        high: open.max(close),
        low: open.min(close),
        close,
        pre_close: Some(pre_close),
        volume_shares: volume,
        amount_cny: None,
        marks: Marks::NONE,
    }
}

const DAYS: [&str; 5] = [
    "2024-01-02",
    "2024-01-03",
    "2024-01-04",
    "2024-01-05",
    "2024-01-08",
];

/// Three stocks at 10.00 for five days, changed by `edit`.
fn market(edit: impl Fn(&mut Vec<Vec<Bar>>)) -> MarketHistory {
    let mut bars: Vec<Vec<Bar>> = NAMES
        .iter()
        .map(|name| {
            DAYS.map(|day| bar(name, day, 10.0, 10.0, 10.0, 1e6))
                .to_vec()
        })
        .collect();
    edit(&mut bars);
    let series: Vec<_> = bars
        .iter()
        .map(|bars| (bars[0].symbol, bars.as_slice(), InstrumentInfo::default()))
        .collect();
    MarketHistory::of_bars(&series).unwrap()
}

fn intent(day: u32, stock: usize, side: Side, score: f64) -> OrderIntent {
    OrderIntent {
        step: day,
        stock,
        side,
        score,
    }
}

fn run(market: &MarketHistory, intents: &[OrderIntent], allocation: Allocation) -> Ledger {
    let config = BrokerConfig {
        cash_cents: 10_000_000,
        slippage: Slippage::None,
        participation_e4: 10_000,
        ..BrokerConfig::default()
    };
    let markets = Markets::shipped().unwrap();
    simulate(market, &markets, intents, config, &allocation).unwrap()
}

/// Returns stock, side, shares ordered and filled, and reasons of each order.
fn orders(ledger: &Ledger) -> Vec<(usize, Trade, u64, u64, Vec<Reason>)> {
    let reasons =
        |notes: &[heqis_backtest::broker::Note]| notes.iter().map(|note| note.reason).collect();
    ledger
        .orders
        .iter()
        .map(|order| {
            let request = order.request;
            let notes = reasons(&order.notes);
            (
                request.stock,
                request.trade,
                order.wanted_shares,
                order.filled_shares,
                notes,
            )
        })
        .collect()
}

fn two_stocks() -> Allocation {
    Allocation {
        max_positions: 2,
        ..Allocation::default()
    }
}

#[test]
fn the_best_scores_share_the_account_and_other_buys_are_refused() {
    let market = market(|_| {});
    let intents = [
        intent(0, 0, Side::Buy, 0.01),
        intent(0, 1, Side::Buy, 0.03),
        intent(0, 2, Side::Buy, 0.02),
    ];
    let ledger = run(&market, &intents, two_stocks());
    // 50,000.00 each is 5,000 shares; the fees of the first, 12.50 + 0.50, leave less for the second.
    assert_eq!(
        orders(&ledger),
        [
            (1, Trade::Buy, 5_000, 5_000, vec![]),
            (2, Trade::Buy, 5_000, 4_900, vec![Reason::Cash]),
            (0, Trade::Buy, 0, 0, vec![Reason::MaxPositions]),
        ]
    );
    // 49,000.00 + 12.25 + 0.49.
    let cash = 10_000_000 - 5_001_300 - 4_901_274;
    assert_eq!(ledger.days[1].cash_cents, cash);
    assert_eq!(ledger.days[1].equity_cents(), cash + 9_900_000);
}

#[test]
fn scores_divide_the_account_up_to_the_maximum_weight() {
    let market = market(|_| {});
    let intents = [intent(0, 0, Side::Buy, 0.01), intent(0, 1, Side::Buy, 0.03)];
    let by_score = Allocation {
        weighting: Weighting::Score,
        max_positions: 4,
        ..Allocation::default()
    };
    // Two of four parts are 50,000.00: a quarter and three quarters of it.
    let ledger = run(&market, &intents, by_score);
    let shares =
        |ledger: &Ledger| -> Vec<u64> { ledger.fills.iter().map(|fill| fill.shares).collect() };
    assert_eq!(shares(&ledger), [3_700, 1_200]);
    let bounded = Allocation {
        max_weight_e4: 2_000,
        ..by_score
    };
    assert_eq!(shares(&run(&market, &intents, bounded)), [2_000, 1_200]);
}

#[test]
fn the_turnover_cap_limits_buys_and_not_sales() {
    let market = market(|_| {});
    let intents = [
        intent(0, 0, Side::Buy, 0.03),
        intent(0, 1, Side::Buy, 0.02),
        intent(0, 2, Side::Buy, 0.01),
        intent(2, 0, Side::Sell, 0.0),
        intent(2, 1, Side::Sell, 0.0),
    ];
    let capped = Allocation {
        max_positions: 4,
        turnover_cap_e4: 3_000,
        ..Allocation::default()
    };
    let ledger = run(&market, &intents, capped);
    assert_eq!(
        orders(&ledger),
        [
            (0, Trade::Buy, 2_500, 2_500, vec![]),
            (1, Trade::Buy, 500, 500, vec![Reason::TurnoverCap]),
            (2, Trade::Buy, 0, 0, vec![Reason::TurnoverCap]),
            (0, Trade::Sell, 2_500, 2_500, vec![]),
            (1, Trade::Sell, 500, 500, vec![]),
        ]
    );
    assert_eq!(ledger.days[3].positions, 0);
}

#[test]
fn the_average_volume_before_the_order_limits_its_size() {
    // 1,000, then 3,000 shares: the mean is 2,000, and a tenth of it 200. The volume of the fill is not used.
    let market = market(|bars| {
        bars[0][0].volume_shares = 1_000.0;
        bars[0][1].volume_shares = 3_000.0;
    });
    let bound = Allocation {
        volume_share_e4: 1_000,
        ..Allocation::default()
    };
    let ledger = run(&market, &[intent(1, 0, Side::Buy, 0.0)], bound);
    assert_eq!(
        orders(&ledger),
        [(0, Trade::Buy, 200, 200, vec![Reason::VolumeCap])]
    );
}

#[test]
fn a_new_side_cancels_the_pending_orders_of_the_other() {
    // The sale stays pending at the limit down of the 4th; the new buy cancels it.
    let market = market(|bars| {
        bars[0][2] = bar(NAMES[0], DAYS[2], 9.0, 9.0, 10.0, 1e6);
        bars[0][3] = bar(NAMES[0], DAYS[3], 9.0, 9.0, 9.0, 1e6);
        bars[0][4] = bar(NAMES[0], DAYS[4], 9.0, 9.0, 9.0, 1e6);
    });
    let intents = [
        intent(0, 0, Side::Buy, 0.0),
        intent(1, 0, Side::Sell, 0.0),
        intent(2, 0, Side::Buy, 0.0),
    ];
    let ledger = run(&market, &intents, Allocation::default());
    let all = orders(&ledger);
    assert_eq!(all[1].4, [Reason::LimitDown, Reason::Superseded]);
    // With 9,900 shares at 9.00, the rest of the 100,000.00 CNY pays for one lot of 900.00 CNY and its fees.
    assert_eq!(all[2], (0, Trade::Buy, 100, 100, vec![]));
    assert_eq!(ledger.orders[1].status, Status::Refused);
    assert_eq!(ledger.days[4].positions, 1);
}

#[test]
fn a_sale_without_a_fill_does_not_lead_to_too_many_positions() {
    let market = market(|bars| {
        bars[0][2] = bar(NAMES[0], DAYS[2], 9.0, 9.5, 10.0, 1e6);
        bars[0][3] = bar(NAMES[0], DAYS[3], 9.5, 9.5, 9.5, 1e6);
        bars[0][4] = bar(NAMES[0], DAYS[4], 9.5, 9.5, 9.5, 1e6);
    });
    let half = Allocation {
        max_weight_e4: 4_000,
        ..Allocation::default()
    };
    let intents = [
        intent(0, 0, Side::Buy, 0.0),
        intent(1, 0, Side::Sell, 0.0),
        intent(1, 1, Side::Buy, 0.0),
    ];
    let ledger = run(&market, &intents, half);
    let all = orders(&ledger);
    assert_eq!(all[0].3, 4_000);
    assert_eq!(all[1].4, [Reason::LimitDown]);
    assert_eq!(all[1].3, 4_000);
    assert_eq!(all[2].4, [Reason::MaxPositions]);
    assert!(ledger.days.iter().all(|day| day.positions <= 1));
}

#[test]
fn a_sale_without_a_position_is_refused_and_a_second_sale_makes_no_order() {
    let market = market(|bars| {
        bars[0][2] = bar(NAMES[0], DAYS[2], 9.0, 9.5, 10.0, 1e6);
        bars[0][3] = bar(NAMES[0], DAYS[3], 9.5, 9.5, 9.5, 1e6);
        bars[0][4] = bar(NAMES[0], DAYS[4], 9.5, 9.5, 9.5, 1e6);
    });
    let intents = [
        intent(0, 0, Side::Buy, 0.0),
        intent(0, 1, Side::Sell, 0.0),
        intent(1, 0, Side::Sell, 0.0),
        intent(2, 0, Side::Sell, 0.0),
    ];
    let ledger = run(&market, &intents, Allocation::default());
    let sales: Vec<_> = orders(&ledger)
        .into_iter()
        .filter(|order| order.1 == Trade::Sell)
        .collect();
    assert_eq!(sales[0].4, [Reason::NoPosition]);
    assert_eq!((sales.len(), sales[1].3), (2, 9_900));
}

#[test]
fn invalid_intents_are_refused() {
    let market = market(|_| {});
    let markets = Markets::shipped().unwrap();
    for (intents, reason) in [
        (
            vec![intent(1, 0, Side::Buy, 0.0), intent(0, 0, Side::Buy, 0.0)],
            "must not be before",
        ),
        (
            vec![intent(0, 0, Side::Buy, 0.0), intent(0, 0, Side::Buy, 0.0)],
            "must be the only one of its stock",
        ),
        (vec![intent(9, 0, Side::Buy, 0.0)], "must have a step"),
        (vec![intent(0, 3, Side::Buy, 0.0)], "must have a step"),
        (vec![intent(0, 0, Side::Buy, f64::NAN)], "finite score"),
    ] {
        let allocation = Allocation::default();
        let error = simulate(
            &market,
            &markets,
            &intents,
            BrokerConfig::default(),
            &allocation,
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains(reason), "{error}");
    }
    let none = Allocation {
        max_positions: 0,
        ..Allocation::default()
    };
    let error = simulate(&market, &markets, &[], BrokerConfig::default(), &none).unwrap_err();
    assert!(error.to_string().contains("max_positions"), "{error}");
}
