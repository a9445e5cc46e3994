//! Comparison of a vendor's adjusted closes with events and prices, on the committed series of 600000.SH.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::File;

use heqis_data::BarReader;
use heqis_quant::adjust::{EventKind, Evidence, FactorMismatch, VendorFactor, check_factors};
use heqis_quant::breaches::breaches;
use heqis_quant::rules::Markets;
use heqis_quant::{
    Adjustment, Bar, CleanConfig, Cleaner, Date, ExRight, Factors, FeatureSet, FeatureState, Marks,
    Symbol,
};

/// The bars of the file and the vendor-adjusted close of each.
fn pudong_bank() -> (Vec<Bar>, Vec<f64>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/ashare/600000.SH.csv");
    let symbol = Symbol::parse("600000.SH").unwrap();
    let mut reader = BarReader::new(File::open(path).unwrap(), Some(symbol), "600000.SH").unwrap();
    let (mut bars, mut closes) = (Vec::new(), Vec::new());
    while let Some(bar) = reader.next() {
        bars.push(bar.unwrap());
        closes.push(reader.vendor_number("Adj_Close").unwrap().unwrap());
    }
    (bars, closes)
}

/// Every dividend, gift and reform of the bank up to 2011, as it announced them.
fn events() -> Vec<ExRight> {
    [
        ("20000706", 0.15, 0.0, 0.0),
        ("20020822", 0.2, 0.0, 0.5),
        ("20030623", 0.1, 0.0, 0.0),
        ("20040520", 0.11, 0.0, 0.0),
        ("20050512", 0.12, 0.0, 0.0),
        ("20060512", 0.0, 0.3, 0.0),
        ("20060525", 0.13, 0.0, 0.0),
        ("20070718", 0.15, 0.0, 0.0),
        ("20080424", 0.16, 0.3, 0.0),
        ("20090609", 0.23, 0.4, 0.0),
        ("20100610", 0.15, 0.3, 0.0),
        ("20110603", 0.16, 0.3, 0.0),
    ]
    .map(|(date, cash_cny, gift, increase)| ExRight {
        symbol: Symbol::parse("600000.SH").unwrap(),
        ex_date: Date::parse(date).unwrap(),
        cash_cny,
        gift,
        increase,
        rights: 0.0,
        rights_price_cny: 0.0,
        kind: if date == "20060512" {
            EventKind::ReformNoExRight
        } else {
            EventKind::ExRight
        },
    })
    .into()
}

fn findings(events: &[ExRight]) -> Vec<FactorMismatch> {
    let (bars, closes) = pudong_bank();
    let vendor: Vec<VendorFactor> = bars
        .iter()
        .zip(closes)
        .map(|(bar, adjusted)| VendorFactor::of_adjusted_close(adjusted, bar.close))
        .collect();
    check_factors(&bars, &vendor, Some(events), &Markets::shipped().unwrap()).unwrap()
}

#[test]
fn events_and_prices_find_the_bonus_that_the_vendor_omits() {
    let found = findings(&events());
    let on_the_day: Vec<_> = found
        .iter()
        .filter(|found| found.date.to_string() == "2010-06-10")
        .collect();
    assert_eq!(
        on_the_day.iter().map(|f| f.evidence).collect::<Vec<_>>(),
        [Evidence::Events, Evidence::Prices]
    );
    let events_say = on_the_day[0];
    assert!((events_say.expected - 18.5 / 14.12).abs() < 1e-12);
    assert!((events_say.got - 1.0).abs() < 1e-3);
}

#[test]
fn prices_alone_find_that_day_and_no_other() {
    let by_prices: Vec<String> = findings(&[])
        .iter()
        .filter(|found| found.evidence == Evidence::Prices)
        .map(|found| found.date.to_string())
        .collect();
    assert_eq!(by_prices, ["2010-06-10"]);
}

#[test]
fn an_unknown_factor_of_the_vendor_is_reported() {
    let found = findings(&events());
    let signs: Vec<_> = found
        .iter()
        .filter(|found| found.evidence == Evidence::Sign)
        .collect();
    assert_eq!(signs.len(), 18);
    assert_eq!(signs[0].date.to_string(), "2015-04-07");
    assert!(signs.iter().all(|found| found.got < 0.0));
}

#[test]
fn the_vendor_counts_every_dividend_up_to_2011_too_high() {
    let found = findings(&events());
    let by_events: Vec<(String, bool)> = found
        .iter()
        .filter(|found| found.evidence == Evidence::Events && found.date.year() <= 2011)
        .map(|found| (found.date.to_string(), found.got > found.expected))
        .collect();
    let expected = [
        ("2000-07-06", true),
        ("2002-08-22", true),
        ("2003-06-23", true),
        ("2004-05-20", true),
        ("2005-05-12", true),
        ("2006-05-25", true),
        ("2007-07-18", true),
        ("2008-04-24", true),
        ("2009-06-09", true),
        ("2010-06-10", false),
        ("2011-06-03", true),
    ];
    // The reform of 2006-05-12 is not among them, since it has no ex-right.
    assert_eq!(
        by_events,
        expected.map(|(date, high)| (date.to_owned(), high))
    );
}

#[test]
fn prices_on_one_level_have_no_jump() {
    let (bars, _) = pudong_bank();
    let last = bars.partition_point(|bar| bar.date.year() <= 2011);
    let bars = &bars[..last];
    let factors = Factors::from_events(bars, &events()).unwrap();
    let largest_fall = |closes: Vec<f64>| {
        closes
            .windows(2)
            .map(|pair| pair[1] / pair[0] - 1.0)
            .fold(0.0, f64::min)
    };
    let raw = largest_fall(bars.iter().map(|bar| bar.close).collect());
    let adjust = |adjustment| {
        let adjusted = factors.adjust(bars, adjustment).unwrap();
        adjusted.iter().map(|bar| bar.close).collect::<Vec<_>>()
    };
    let as_of = bars[bars.len() - 1].date;
    let forward = adjust(Adjustment::Forward { as_of });
    assert!(raw < -0.33, "{raw}");
    for level in [forward.clone(), adjust(Adjustment::Backward)] {
        let fall = largest_fall(level);
        assert!((-0.101..-0.099).contains(&fall), "{fall}");
    }
    assert_eq!(forward[forward.len() - 1], bars[bars.len() - 1].close);
    let limits = Markets::shipped().unwrap();
    let beyond = breaches(bars, &limits, |_| false, &events(), None).unwrap();
    assert!(beyond.is_empty(), "{beyond:?}");
}

/// The series after a cleaner with the events.
fn cleaned() -> Vec<Bar> {
    let config = CleanConfig {
        ex_rights: events(),
        ..CleanConfig::default()
    };
    let mut cleaner = Cleaner::new(config).unwrap();
    let passed = pudong_bank().0.into_iter();
    passed.filter_map(|bar| cleaner.check(bar).ok()).collect()
}

#[test]
fn features_after_a_known_event_equal_those_of_adjusted_prices() {
    let bars = cleaned();
    let set = FeatureSet::parse(&[
        "return_1",
        "return_20",
        "volatility_20",
        "gap_ratio",
        "ma_ratio_20",
        "dif_ratio",
        "macd_ratio",
        "k",
        "j",
        "volume_ratio_5",
    ])
    .unwrap();
    let rows = |bars: &[Bar]| -> Vec<Option<Vec<f64>>> {
        let mut state = FeatureState::new(&set).unwrap();
        bars.iter().map(|bar| state.update(bar).unwrap()).collect()
    };
    let followed = rows(&bars);
    assert_eq!(
        bars.iter().filter(|bar| bar.pre_close.is_some()).count(),
        11
    );
    let factors = Factors::from_references(&bars).unwrap();
    // The reference closes of the bars bridge the share reform and suspected ex-rights.
    let by_events = Factors::from_events(&bars, &events()).unwrap();
    for (before, bar) in bars
        .iter()
        .zip(&bars[1..])
        .filter(|(_, bar)| bar.pre_close.is_some())
    {
        let step = |f: &Factors| f.at(bar.date).unwrap() / f.at(before.date).unwrap();
        assert!(
            (step(&factors) / step(&by_events) - 1.0).abs() < 1e-12,
            "{}",
            bar.date
        );
    }
    let last = bars[bars.len() - 1].date;
    let forward = Adjustment::Forward { as_of: last };
    for adjustment in [forward, Adjustment::Backward] {
        let adjusted = factors.adjust(&bars, adjustment).unwrap();
        let continuous: Vec<Bar> = bars
            .iter()
            .zip(&adjusted)
            .map(|(bar, price)| Bar {
                open: price.open,
                high: price.high,
                low: price.low,
                close: price.close,
                volume_shares: bar.volume_shares / price.multiplier,
                pre_close: None,
                marks: Marks::NONE,
                ..*bar
            })
            .collect();
        for (i, (ours, theirs)) in followed.iter().zip(rows(&continuous)).enumerate() {
            assert_eq!(ours.is_some(), theirs.is_some());
            let pairs = ours.iter().flatten().zip(theirs.iter().flatten());
            for ((ours, theirs), name) in pairs.zip(set.names()) {
                // ln(1 + volume) depends on the level by one share.
                let tolerance = if name.starts_with("volume") {
                    1e-5
                } else {
                    1e-9
                };
                assert!(
                    (ours - theirs).abs() < tolerance,
                    "bar {i}, {name}: {ours} {theirs}"
                );
            }
        }
    }
}
