//! Metrics compared with other libraries (`golden/metrics.json`, written by `golden/metrics.py`), and with results by hand.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use heqis_backtest::broker::{DayAccount, Ledger, Trip};
use heqis_backtest::metrics::{
    Basis, BenchmarkMetrics, Correlations, CrossSection, Curve, Metrics, profit_factor, win_rate,
};
use heqis_quant::Date;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    versions: BTreeMap<String, String>,
    series: Vec<Series>,
    scores: Vec<Scores>,
}

#[derive(Deserialize)]
struct Series {
    risk_free: f64,
    returns: Vec<f64>,
    benchmark: Vec<f64>,
    empyrical: BTreeMap<String, f64>,
    quantstats: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Scores {
    days: Vec<CrossSection>,
    scipy: BTreeMap<String, f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/metrics.json")).unwrap()
}

#[test]
fn metrics_equal_those_of_empyrical_and_quantstats() {
    let golden = golden();
    assert_eq!(golden.versions["empyrical-reloaded"], "0.7.1");
    assert_eq!(golden.versions["quantstats"], "0.0.86");
    let mut compared = 0;
    for series in &golden.series {
        let basis = Basis {
            risk_free: series.risk_free,
            ..Basis::default()
        };
        let curve = Curve::of(&series.returns, &basis);
        let against = BenchmarkMetrics::of(&series.returns, &series.benchmark, &basis).unwrap();
        let ours = |name: &str| match name {
            "total_return" => curve.total_return,
            "annual_return" => curve.annual_return.unwrap(),
            "volatility" => curve.volatility.unwrap(),
            "sharpe" => curve.sharpe.unwrap(),
            "sortino" => curve.sortino.unwrap(),
            "calmar" => curve.calmar.unwrap(),
            "max_drawdown" => curve.max_drawdown,
            "alpha" => against.alpha.unwrap(),
            "beta" => against.beta.unwrap(),
            "information_ratio" => against.information_ratio.unwrap(),
            "win_rate" => win_rate(&series.returns).unwrap(),
            "profit_factor" => profit_factor(&series.returns).unwrap(),
            other => panic!("no metric {other}"),
        };
        for (name, theirs) in series.empyrical.iter().chain(&series.quantstats) {
            let ours = ours(name);
            let near = (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0);
            assert!(near, "{name}: {ours} is not {theirs}");
            compared += 1;
        }
    }
    assert_eq!(compared, 3 * (10 + 7));
}

#[test]
fn correlations_equal_those_of_scipy() {
    for scores in golden().scores {
        let ours = Correlations::of(&scores.days, &Basis::default()).unwrap();
        assert_eq!(ours.times, scores.days.len());
        for (name, ours) in [
            ("ic", ours.ic),
            ("rank_ic", ours.rank_ic),
            ("icir", ours.icir.unwrap()),
            ("rank_icir", ours.rank_icir.unwrap()),
        ] {
            let theirs = scores.scipy[name];
            assert!(
                (ours - theirs).abs() < 1e-9,
                "{name}: {ours} is not {theirs}"
            );
        }
    }
}

#[test]
fn undefined_metrics_are_none() {
    let basis = Basis::default();
    let flat = Curve::of(&[0.0; 20], &basis);
    assert_eq!((flat.sharpe, flat.sortino, flat.calmar), (None, None, None));
    assert_eq!((flat.max_drawdown, flat.annual_return), (0.0, Some(0.0)));
    let steady = Curve::of(&[0.001; 20], &basis);
    assert_eq!((steady.sharpe, steady.sortino), (None, None));
    assert_eq!(Curve::of(&[], &basis).annual_return, None);
    assert_eq!(Curve::of(&[0.1], &basis).volatility, None);
    let against = BenchmarkMetrics::of(&[0.1, 0.2], &[0.0, 0.0], &basis).unwrap();
    assert_eq!((against.alpha, against.beta), (None, None));
    assert!(BenchmarkMetrics::of(&[0.1], &[], &basis).is_err());
    assert_eq!((win_rate(&[0.0]), profit_factor(&[1.0])), (None, None));
    // Neither two stocks nor a constant score have a correlation.
    let basis = Basis::default();
    let two = vec![vec![(1.0, 2.0), (2.0, 3.0)]];
    let alike = vec![vec![(1.0, 2.0), (1.0, 3.0), (1.0, 1.0)]];
    assert_eq!(Correlations::of(&two, &basis), None);
    assert_eq!(Correlations::of(&alike, &basis), None);
}

/// A run of four days, with every metric computed by hand.
#[test]
fn round_trips_turnover_and_exposure_equal_those_by_hand() {
    let date = |text| Date::parse(text).unwrap();
    let day = |text, cash_cents, holdings_cents, bought_cents, sold_cents| DayAccount {
        date: date(text),
        cash_cents,
        holdings_cents,
        bought_cents,
        sold_cents,
        fees_cents: 5,
        dividends_cents: 0,
        positions: u32::from(holdings_cents > 0),
    };
    let trip = |spent_cents, earned_cents, open| Trip {
        stock: 0,
        opened: date("2024-01-02"),
        closed: date("2024-01-05"),
        bought_shares: 100,
        spent_cents,
        earned_cents,
        open,
    };
    let ledger = Ledger {
        days: vec![
            day("2024-01-02", 1000, 0, 0, 0),
            day("2024-01-03", 500, 500, 500, 0),
            day("2024-01-04", 500, 300, 0, 0),
            day("2024-01-05", 1200, 0, 0, 700),
        ],
        trips: vec![
            trip(500, 700, false),
            trip(400, 300, false),
            trip(100, 100, true),
        ],
        ..Ledger::default()
    };
    let basis = Basis {
        days_per_year: 4.0,
        ..Basis::default()
    };
    let metrics = Metrics::of(&ledger, 1000, Some(&[0.0, 0.1, 0.0, 0.2]), &[], basis).unwrap();
    assert_eq!((metrics.days, metrics.fees_cents), (4, 20));
    assert!((metrics.curve.total_return - 0.2).abs() < 1e-12);
    assert!((metrics.curve.max_drawdown + 0.2).abs() < 1e-12);
    // The mean equity is 1,000; 600 is half of the amount traded, in one year.
    assert_eq!(metrics.turnover, Some(0.6));
    assert_eq!(metrics.exposure, Some((0.5 + 0.375) / 4.0));
    assert_eq!(metrics.days_in_market, Some(0.5));
    assert_eq!(metrics.cost_share, Some(20.0 / 1200.0));
    let trades = metrics.trades;
    assert_eq!((trades.count, trades.open), (3, 1));
    assert_eq!(
        (trades.win_rate, trades.profit_factor),
        (Some(0.5), Some(2.0))
    );
    assert_eq!(trades.average_cents, Some(100.0 / 3.0));
    assert!((trades.average.unwrap() - (0.4 - 0.25) / 3.0).abs() < 1e-12);
    assert!(metrics.benchmark.unwrap().beta.unwrap() > 0.0);
    let error = Metrics::of(&ledger, 0, None, &[], basis).unwrap_err();
    assert!(error.to_string().contains("must not be empty"), "{error}");
}

#[test]
fn an_invalid_basis_is_refused() {
    let good = Basis::default();
    for basis in [
        Basis {
            days_per_year: 0.0,
            ..good
        },
        Basis {
            risk_free: -1.0,
            ..good
        },
        Basis { ddof: 2, ..good },
    ] {
        assert!(basis.validate().is_err(), "{basis:?}");
    }
    assert!(good.validate().is_ok());
}
