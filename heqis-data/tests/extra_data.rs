//! Checks against real data that is not part of this repository.
//!
//! They run if the environment variable `HEQIS_EXTRA_DATA` names a folder with
//! `daily_7stocks_19961216_20111206.csv` (seven stocks in Tushare's layout with `adj_factor`), `exrights_1991_2011.csv`
//! (ex-right events) and `index_000001SH_daily_1990_2011.csv` (the exchange's days). Without it they count as ignored.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use heqis_data::BarReader;
use heqis_quant::adjust::{EventKind, Evidence, VendorFactor, check_factors};
use heqis_quant::breaches::{BreachReason, breaches};
use heqis_quant::instrument::suspensions;
use heqis_quant::rules::Markets;
use heqis_quant::{
    Bar, Calendar, CleanConfig, Cleaner, Date, ExRight, ExRights, Factors, Marks, Span, Symbol,
};
use heqis_test_harness::{Group, run, tests, variable};

const VARIABLE: &str = "HEQIS_EXTRA_DATA";

fn main() -> ExitCode {
    let missing = variable(VARIABLE, "the folder of the extra data");
    run([Group::needs(
        missing,
        tests![
            the_files_are_read_completely,
            factors_computed_from_events_are_the_published_ones,
            the_published_factors_agree_with_every_event_and_a_missing_one_is_found,
            every_day_beyond_its_limits_is_flagged_with_its_reason,
            the_cleaner_rejects_these_days_and_changes_no_price,
            suspended_days_are_the_days_of_the_index_without_a_bar,
            a_cleaner_with_events_and_one_with_factors_pass_the_same_bars,
        ],
    )])
}

struct Extra {
    /// Bars and the vendor's factor of each, by stock.
    stocks: BTreeMap<Symbol, (Vec<Bar>, Vec<f64>)>,
    events: Vec<ExRight>,
    calendar: Calendar,
}

fn open(folder: &std::path::Path, name: &str) -> File {
    let path = folder.join(name);
    File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

static EXTRA: LazyLock<Extra> = LazyLock::new(|| {
    let folder = PathBuf::from(std::env::var_os(VARIABLE).unwrap());
    let name = "daily_7stocks_19961216_20111206.csv";
    let mut reader = BarReader::new(open(&folder, name), None, name).unwrap();
    assert_eq!(
        reader.detected().to_string(),
        "Tushare layout in UTF-8, daily bars, volume in lots of 100 shares by the amounts of 256 rows, \
         amount in 1000 CNY"
    );
    let mut stocks: BTreeMap<Symbol, (Vec<Bar>, Vec<f64>)> = BTreeMap::new();
    while let Some(bar) = reader.next() {
        let bar = bar.unwrap();
        let factor = reader.vendor_number("adj_factor").unwrap().unwrap();
        let (bars, factors) = stocks.entry(bar.symbol).or_default();
        bars.push(bar);
        factors.push(factor);
    }
    let name = "exrights_1991_2011.csv";
    let read = ExRight::read_table(open(&folder, name), name).unwrap();
    let bad: Vec<String> = read.bad.iter().map(|row| row.error.to_string()).collect();
    assert_eq!(
        bad,
        [
            "exrights_1991_2011.csv line 1322, column rights_price: must be positive, since there are rights, got \"0.0\""
        ]
    );
    let name = "index_000001SH_daily_1990_2011.csv";
    let days = BarReader::new(open(&folder, name), None, name)
        .unwrap()
        .map(|bar| bar.unwrap().date);
    Extra {
        stocks,
        events: read.events,
        calendar: Calendar::new(days).unwrap(),
    }
});

fn day(text: &str) -> Date {
    Date::parse(text).unwrap()
}

fn the_files_are_read_completely() {
    let extra = &*EXTRA;
    let rows: usize = extra.stocks.values().map(|(bars, _)| bars.len()).sum();
    assert_eq!((extra.stocks.len(), rows), (7, 21_685));
    let reforms = extra
        .events
        .iter()
        .filter(|event| event.kind == EventKind::ReformNoExRight);
    assert_eq!((extra.events.len(), reforms.count()), (14_470, 967));
}

fn factors_computed_from_events_are_the_published_ones() {
    let extra = &*EXTRA;
    let mut steps = 0;
    for (symbol, (bars, published)) in &extra.stocks {
        let factors = Factors::from_events(bars, &extra.events).unwrap();
        steps += factors.steps().len() - 1;
        for (bar, published_factor) in bars.iter().zip(published) {
            // The published factor counts events before the first bar too.
            let ours = factors.at(bar.date).unwrap() * published[0];
            let off = (ours / published_factor - 1.0).abs();
            assert!(
                off < 1e-6,
                "{symbol} {}: {ours} {published_factor}",
                bar.date
            );
        }
        let as_published: Vec<(Date, f64)> = bars
            .iter()
            .map(|bar| bar.date)
            .zip(published.iter().copied())
            .collect();
        let taken = Factors::from_series(bars, &as_published).unwrap();
        assert_eq!(taken.steps().len(), factors.steps().len(), "{symbol}");
    }
    assert_eq!(steps, 66);
}

fn the_published_factors_agree_with_every_event_and_a_missing_one_is_found() {
    let extra = &*EXTRA;
    let limits = Markets::shipped().unwrap();
    let mut by_prices = Vec::new();
    for (bars, published) in extra.stocks.values() {
        let mut vendor: Vec<VendorFactor> = published
            .iter()
            .map(|factor| VendorFactor::published(*factor))
            .collect();
        for found in check_factors(bars, &vendor, Some(&extra.events), &limits).unwrap() {
            assert_eq!(found.evidence, Evidence::Prices, "{found:?}");
            by_prices.push(format!("{} {}", bars[0].symbol, found.date));
        }
        // A missing last event of this stock is found.
        let last = published[published.len() - 1];
        let from = published.iter().position(|factor| *factor == last).unwrap();
        for factor in &mut vendor[from..] {
            factor.factor = published[from - 1];
        }
        let found = check_factors(bars, &vendor, Some(&extra.events), &limits).unwrap();
        let forgotten = found
            .iter()
            .find(|found| found.evidence == Evidence::Events)
            .unwrap();
        assert_eq!(forgotten.date, bars[from].date);
        assert!((forgotten.expected - last / published[from - 1]).abs() < 1e-6);
        assert_eq!(forgotten.got, 1.0);
    }
    // Two first days after long suspensions, and two prices three cents beyond the limits.
    assert_eq!(
        by_prices,
        [
            "000002.SZ 1999-07-01",
            "000004.SZ 2006-08-18",
            "000005.SZ 2000-02-18",
            "000005.SZ 2006-07-31"
        ]
    );
}

fn every_day_beyond_its_limits_is_flagged_with_its_reason() {
    let extra = &*EXTRA;
    let limits = Markets::shipped().unwrap();
    let mut flagged = Vec::new();
    for (symbol, (bars, _)) in &extra.stocks {
        let found = breaches(
            bars,
            &limits,
            |_| false,
            &extra.events,
            Some(&extra.calendar),
        );
        for breach in found.unwrap() {
            flagged.push((symbol.to_string(), breach.date.to_string(), breach.reason));
        }
    }
    use BreachReason::{
        ExRight, FinePrice, ReferenceByOneCent, Resumption, ShareReform, Unexplained,
    };
    let expected = [
        ("000001.SZ", "1997-03-17", ReferenceByOneCent),
        ("000001.SZ", "1997-04-28", ReferenceByOneCent),
        ("000001.SZ", "1997-06-20", ReferenceByOneCent),
        ("000001.SZ", "1999-05-26", Unexplained),
        ("000001.SZ", "1999-07-01", ReferenceByOneCent),
        ("000001.SZ", "2000-02-14", Unexplained),
        ("000001.SZ", "2007-06-20", Resumption),
        ("000002.SZ", "1996-12-24", ReferenceByOneCent),
        ("000002.SZ", "1997-02-17", Unexplained),
        ("000002.SZ", "1997-03-24", Unexplained),
        ("000002.SZ", "1999-07-01", Unexplained),
        ("000002.SZ", "2000-01-10", ExRight),
        ("000002.SZ", "2000-02-17", Unexplained),
        ("000002.SZ", "2007-06-04", FinePrice),
        ("000004.SZ", "1997-04-28", ReferenceByOneCent),
        ("000004.SZ", "1997-05-07", ReferenceByOneCent),
        ("000004.SZ", "1998-11-04", Unexplained),
        ("000004.SZ", "2003-12-19", FinePrice),
        ("000004.SZ", "2006-08-18", Resumption),
        ("000004.SZ", "2007-05-28", ShareReform),
        ("000005.SZ", "1997-04-25", ReferenceByOneCent),
        ("000005.SZ", "1999-07-01", ReferenceByOneCent),
        ("000005.SZ", "2000-02-18", Unexplained),
        ("000005.SZ", "2006-07-31", Resumption),
        ("600004.SH", "2005-12-20", ShareReform),
        ("600005.SH", "2005-11-21", ShareReform),
    ];
    // 600000.SH breaks no limit after its first day.
    let expected = expected.map(|(symbol, date, reason)| (symbol.into(), date.into(), reason));
    assert_eq!(flagged, expected);
}

fn the_cleaner_rejects_these_days_and_changes_no_price() {
    let extra = &*EXTRA;
    let mut cleaner = Cleaner::new(CleanConfig::default())
        .unwrap()
        .with_calendar(extra.calendar.clone());
    let mut rejects = BTreeMap::<&str, usize>::new();
    let mut beyond = 0;
    for (bars, _) in extra.stocks.values() {
        for bar in bars {
            match cleaner.check(*bar) {
                Ok(passed) => {
                    beyond += usize::from(passed.marks.contains(Marks::BEYOND_LIMIT));
                    assert_eq!(
                        Bar {
                            marks: Marks::NONE,
                            ..passed
                        },
                        *bar
                    );
                }
                Err(reject) => *rejects.entry(reject.reason()).or_default() += 1,
            }
        }
    }
    // Of the 26 days, two are inside their limits in whole cents, and nine are a cent beyond.
    assert_eq!(rejects, [("no_trade", 10), ("outside_limits", 15)].into());
    assert_eq!(beyond, 9);
}

fn suspended_days_are_the_days_of_the_index_without_a_bar() {
    let extra = &*EXTRA;
    let days: Vec<usize> = extra
        .stocks
        .values()
        .map(|(bars, _)| {
            let span = Span::new(bars[0].date, bars[bars.len() - 1].date).unwrap();
            let found = suspensions(bars, &extra.calendar, span).unwrap();
            found.iter().map(|found| found.trading_days).sum()
        })
        .collect();
    // In the order of the codes: 000001, 000002, 000004, 000005, 600000, 600004, 600005.
    // 653 days without a row, and ten rows without a trade.
    assert_eq!(days, [157, 67, 133, 109, 84, 49, 64]);
    assert_eq!(days.iter().sum::<usize>(), 653 + 10);
    let before_reform = day("20060605");
    let (bars, _) = &extra.stocks[&Symbol::parse("000005.SZ").unwrap()];
    let span = Span::new(before_reform, day("20060731")).unwrap();
    let found = suspensions(bars, &extra.calendar, span).unwrap();
    assert_eq!((found.len(), found[0].trading_days), (1, 39));
}

fn a_cleaner_with_events_and_one_with_factors_pass_the_same_bars() {
    let extra = &*EXTRA;
    let factors = extra.stocks.iter().map(|(symbol, (bars, factors))| {
        let days = bars.iter().map(|bar| bar.date);
        (*symbol, days.zip(factors.iter().copied()).collect())
    });
    let by_events = ExRights::new().with_events(extra.events.iter().copied());
    let by_factors = ExRights::new().with_factors(factors.collect()).0;
    let passed = |known: ExRights| -> (Vec<Bar>, usize) {
        let mut cleaner = Cleaner::new(CleanConfig::default())
            .unwrap()
            .with_ex_rights(known.into());
        let bars = extra.stocks.values().flat_map(|(bars, _)| bars);
        // Without the vendor's reference prices, so that all come from events or factors.
        let bars = bars.map(|bar| {
            cleaner.check(Bar {
                pre_close: None,
                ..*bar
            })
        });
        let (good, bad): (Vec<_>, Vec<_>) = bars.partition(Result::is_ok);
        (good.into_iter().flatten().collect(), bad.len())
    };
    let (events, factors) = (passed(by_events), passed(by_factors));
    assert_eq!(events, factors);
    let referenced = events.0.iter().filter(|bar| bar.pre_close.is_some());
    // Ten of the 20 had no trade.
    assert_eq!((referenced.clone().count(), events.1), (66, 20));
    // Every computed reference price equals the published one to the cent. After a rejected bar it refers to the close before
    // that bar.
    let (after_holes, whole): (Vec<&Bar>, Vec<&Bar>) =
        referenced.partition(|bar| bar.marks.contains(Marks::HOLE));
    assert_eq!(after_holes.len(), 4);
    for bar in whole {
        let (bars, _) = &extra.stocks[&bar.symbol];
        let published = bars.iter().find(|other| other.date == bar.date).unwrap();
        assert_eq!(
            bar.pre_close, published.pre_close,
            "{} {}",
            bar.symbol, bar.date
        );
    }
}
