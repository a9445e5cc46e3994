//! The tear sheet: its numbers are those of alphalens, and it says what it does not use.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use heqis_backtest::tear_sheet::panel::{EntryPrice, Panel, Unused};
use heqis_backtest::tear_sheet::statistics::Summary;
use heqis_backtest::tear_sheet::{Settings, TearSheet};
use heqis_quant::{Bar, Date, Marks, Symbol};
use serde_json::Value;

type Scores = BTreeMap<Symbol, Vec<(Date, f64)>>;
type Bars = BTreeMap<Symbol, Vec<Bar>>;

fn bar(symbol: Symbol, date: Date, open: f64, close: f64) -> Bar {
    Bar {
        symbol,
        time_ns: date.close_time_ns(),
        date,
        open,
        high: open.max(close),
        low: open.min(close),
        close,
        pre_close: None,
        volume_shares: 1e6,
        amount_cny: None,
        marks: Marks::NONE,
    }
}

/// The table that the script alphalens_values.py wrote, with the closes as prices.
fn table() -> (Scores, Bars) {
    let (mut scores, mut bars) = (Scores::new(), Bars::new());
    for line in include_str!("tear_sheet/scores.csv").lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let date = Date::parse(cells[0]).unwrap();
        let symbol = Symbol::parse(cells[1]).unwrap();
        let close: f64 = cells[2].parse().unwrap();
        bars.entry(symbol)
            .or_default()
            .push(bar(symbol, date, close, close));
        let of_stock = scores.entry(symbol).or_default();
        if let Ok(score) = cells[3].parse() {
            of_stock.push((date, score));
        }
    }
    (scores, bars)
}

fn sheet(price: EntryPrice, scores: &Scores, bars: &Bars) -> TearSheet {
    let settings = Settings {
        price,
        horizons: vec![1, 3],
        quantiles: 4,
        round_trip_cost: 0.001,
    };
    let panel = Panel::new(scores, bars, price, &settings.horizons, 4).unwrap();
    let sectors = panel.symbols.iter().enumerate();
    let sector = |at| if at % 2 == 0 { "even" } else { "odd" };
    let sectors = sectors.map(|(at, symbol)| (*symbol, sector(at).to_owned()));
    TearSheet::of(&panel, settings, &sectors.collect()).unwrap()
}

#[track_caller]
fn near(ours: impl Into<Option<f64>>, theirs: &Value) {
    let (ours, theirs) = (ours.into().unwrap(), theirs.as_f64().unwrap());
    assert!((ours - theirs).abs() <= 1e-12, "{ours} is not {theirs}");
}

#[test]
fn the_numbers_are_those_of_alphalens() {
    let expected: Value = serde_json::from_str(include_str!("tear_sheet/alphalens.json")).unwrap();
    let (scores, bars) = table();
    let sheet = sheet(EntryPrice::Close, &scores, &bars);
    assert_eq!(sheet.scores as u64, expected["rows"].as_u64().unwrap());
    for (at, (of, name)) in sheet.horizons.iter().zip(["1D", "3D"]).enumerate() {
        let expected = &expected[name];
        near(of.rank_ic.mean, &expected["ic_mean"]);
        near(of.rank_ic.deviation, &expected["ic_deviation"]);
        near(of.rank_ic.t, &expected["ic_t"]);
        near(of.rank_ic.skew, &expected["ic_skew"]);
        near(of.rank_ic.kurtosis, &expected["ic_kurtosis"]);
        near(of.long_short.mean, &expected["long_short"]);
        near(of.rank_autocorrelation, &expected["autocorrelation"]);
        for quantile in &of.quantiles {
            let name = quantile.quantile.to_string();
            near(quantile.mean_excess, &expected["excess"][&name]);
            near(quantile.mean_return, &expected["returns"][&name]);
            near(quantile.turnover, &expected["turnover"][&name]);
        }
        for part in &sheet.sectors {
            near(part.rank_ic[at].mean, &expected["by_group"][&part.name]);
        }
        let top = &of.quantiles[3];
        let costs = top.turnover.unwrap() * 0.001;
        assert_eq!(of.top_after_costs, Some(top.mean_excess.unwrap() - costs));
    }
}

#[test]
fn the_future_beyond_the_exit_changes_nothing_of_the_past() {
    let (scores, bars) = table();
    let whole = sheet(EntryPrice::Open, &scores, &bars);
    let cut = Date::parse("2021-03-15").unwrap();
    let bars: Bars = (bars.into_iter())
        .map(|(symbol, bars)| {
            (
                symbol,
                bars.into_iter().filter(|bar| bar.date <= cut).collect(),
            )
        })
        .collect();
    let past = sheet(EntryPrice::Open, &scores, &bars);
    assert!(past.days.len() > 40 && past.days.len() < whole.days.len());
    assert_eq!(past.days, whole.days[..past.days.len()]);
}

#[test]
fn a_position_is_entered_at_the_next_open_and_not_where_nothing_trades() {
    let symbols = ["600000.SH", "600001.SH", "600002.SH"].map(|text| Symbol::parse(text).unwrap());
    let days: Vec<Date> = (1..=6)
        .map(|day| Date::new(2021, 3, day).unwrap())
        .collect();
    let mut bars: Bars = symbols
        .iter()
        .map(|symbol| {
            let of_day = |(at, date): (usize, &Date)| {
                let open = 10.0 + at as f64;
                bar(*symbol, *date, open, open + 0.5)
            };
            (*symbol, days.iter().enumerate().map(of_day).collect())
        })
        .collect();
    // The second stock does not trade on the day of the first entry, the third one not on that of the first exit; and the
    // third one gives one share for each share on the last day, which halves its price.
    bars.get_mut(&symbols[1]).unwrap().remove(1);
    let third = bars.get_mut(&symbols[2]).unwrap();
    third.remove(2);
    let last = third.last_mut().unwrap();
    last.pre_close = Some(14.5 / 2.0);
    for price in [
        &mut last.open,
        &mut last.high,
        &mut last.low,
        &mut last.close,
    ] {
        *price /= 2.0;
    }
    let scores: Scores = symbols
        .iter()
        .map(|symbol| (*symbol, days.iter().map(|day| (*day, 1.0)).collect()))
        .collect();
    let panel = Panel::new(&scores, &bars, EntryPrice::Open, &[1], 2).unwrap();
    let first = &panel.days[&days[0]];
    assert_eq!(first.stocks, [0, 2]);
    // From open 11 to open 12; the third one from open 11 to its last close, 11.5.
    assert_eq!(first.returns[0], [12.0 / 11.0 - 1.0, 11.5 / 11.0 - 1.0]);
    assert_eq!(panel.days.get(&days[1]), None);
    // From open 14 to open 15, for all three: the gift is no loss.
    let day = &panel.days[&days[3]];
    assert_eq!(day.stocks, [0, 1, 2]);
    assert_eq!(day.returns[0], [15.0 / 14.0 - 1.0; 3]);
    let expected = Unused {
        no_bar: 2,
        no_entry: 2,
        no_exit: 6,
        few_stocks: 1,
        exits_without_bar: 1,
    };
    assert_eq!(panel.unused, expected);
}

#[test]
fn what_cannot_be_used_is_counted_and_settings_out_of_range_are_refused() {
    let (scores, mut bars) = table();
    let first = *bars.keys().next().unwrap();
    bars.remove(&first);
    let panel = Panel::new(&scores, &bars, EntryPrice::Open, &[2], 4).unwrap();
    let of_first = scores[&first].len();
    assert_eq!(panel.unused.no_bar, of_first);
    let used: usize = panel.days.values().map(|day| day.scores.len()).sum();
    let Unused {
        no_bar,
        no_entry,
        no_exit,
        few_stocks,
        ..
    } = panel.unused;
    let all: usize = scores.values().map(Vec::len).sum();
    assert_eq!(used + no_bar + no_entry + no_exit + few_stocks, all);
    for (horizons, rule) in [
        (vec![], "horizons: must be trading days"),
        (vec![0], "horizons: must be trading days"),
        (vec![3, 1], "horizons: must be trading days"),
        (vec![1000], "scores: must hold a day"),
    ] {
        let error = Panel::new(&scores, &bars, EntryPrice::Open, &horizons, 4).unwrap_err();
        assert!(error.to_string().contains(rule), "{error}");
    }
    for (quantiles, round_trip_cost) in [(1, 0.0), (101, 0.0), (5, 1.0), (5, f64::NAN)] {
        let settings = Settings {
            price: EntryPrice::Open,
            horizons: vec![2],
            quantiles,
            round_trip_cost,
        };
        assert!(TearSheet::of(&panel, settings, &BTreeMap::new()).is_err());
    }
}

#[test]
fn overlapping_days_count_for_less() {
    // The same value five days in a row, as returns over five days have it: a fifth of the days is independent.
    let independent: Vec<f64> = (0..200_u32)
        .map(|at| f64::from(at.wrapping_mul(2_654_435_761) >> 16) - 32_768.0)
        .collect();
    let repeated: Vec<f64> = independent.iter().flat_map(|value| [*value; 5]).collect();
    let shift =
        |values: &[f64]| -> Vec<f64> { values.iter().map(|value| value + 4_000.0).collect() };
    let one = Summary::of(&shift(&independent), 1);
    let five = Summary::of(&shift(&repeated), 5);
    assert_eq!(one.t, one.t_overlap);
    let (naive, honest) = (
        five.t.unwrap() / one.t.unwrap(),
        five.t_overlap.unwrap() / one.t.unwrap(),
    );
    assert!(naive > 2.2, "{naive}");
    assert!(honest > 0.9 && honest < 1.4, "{honest}");
}
