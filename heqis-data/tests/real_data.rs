//! The committed series, read and cleaned.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use heqis_data::BarReader;
use heqis_quant::{Bar, Calendar, CleanConfig, Cleaner, Marks, Symbol};

fn read(file: &str) -> Vec<Bar> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../data")
        .join(file);
    let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let symbol = Symbol::parse(&stem).ok();
    BarReader::new(File::open(&path).unwrap(), symbol, file)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

type Dates = Vec<String>;

/// Cleans bars and returns the good ones, the dates of each reject reason and the dates of each mark.
fn clean(
    bars: &[Bar],
    mut cleaner: Cleaner,
) -> (
    Vec<Bar>,
    BTreeMap<&'static str, Dates>,
    BTreeMap<&'static str, Dates>,
) {
    let (mut good, mut rejects, mut marks) = (
        Vec::new(),
        BTreeMap::<_, Dates>::new(),
        BTreeMap::<_, Dates>::new(),
    );
    for bar in bars {
        match cleaner.check(*bar) {
            Ok(bar) => {
                for name in bar.marks.names() {
                    marks.entry(name).or_default().push(bar.date.to_string());
                }
                good.push(bar);
            }
            Err(reject) => rejects
                .entry(reject.reason())
                .or_default()
                .push(bar.date.to_string()),
        }
    }
    (good, rejects, marks)
}

fn plain() -> Cleaner {
    Cleaner::new(CleanConfig::default()).unwrap()
}

fn with_index_calendar() -> Cleaner {
    plain().with_calendar(
        Calendar::new(read("ashare/000300.SH.csv").iter().map(|bar| bar.date)).unwrap(),
    )
}

#[test]
fn every_bar_of_supor_passes_and_its_six_jumps_are_marked() {
    let bars = read("ashare/002032.SZ.csv");
    assert_eq!(bars.len(), 2813);
    assert_eq!(
        (bars[0].volume_shares, bars[0].amount_cny),
        (7_877_900.0, Some(90_923_240.0))
    );
    let (good, rejects, marks) = clean(&bars, plain());
    assert_eq!(good.len(), 2813);
    assert!(rejects.is_empty(), "{rejects:?}");
    assert_eq!(
        marks["ex_right_suspected"],
        [
            "2005-07-01",
            "2005-08-08",
            "2008-03-28",
            "2010-05-27",
            "2012-05-17",
            "2015-05-29"
        ]
    );
    assert_eq!(marks["first_bar"], ["2004-08-17"]);
}

#[test]
fn with_a_calendar_every_suspension_of_supor_is_marked() {
    let bars = read("ashare/002032.SZ.csv");
    let calendar = read("ashare/000300.SH.csv");
    let (good, rejects, marks) = clean(&bars, with_index_calendar());
    assert!(rejects.is_empty(), "{rejects:?}");
    // Counted independently: runs of days of the index without a bar of the stock.
    let mut has_bar: BTreeMap<_, bool> = calendar.iter().map(|bar| (bar.date, false)).collect();
    for bar in &good {
        if let Some(has) = has_bar.get_mut(&bar.date) {
            *has = true;
        }
    }
    let runs: Vec<bool> = has_bar
        .into_iter()
        .filter(|(date, _)| *date <= good[good.len() - 1].date)
        .map(|(_, has)| has)
        .collect();
    let resumed = runs.windows(2).filter(|pair| !pair[0] && pair[1]).count();
    let missing = runs.iter().filter(|has| !**has).count();
    assert_eq!(missing, 74);
    let after_calendar_start = good
        .iter()
        .filter(|bar| bar.marks.contains(Marks::GAP) && bar.date > calendar[0].date);
    assert_eq!(after_calendar_start.count(), resumed);
    assert!(marks["gap"].contains(&"2006-04-12".to_owned()));
}

#[test]
fn only_the_invented_holidays_of_pudong_bank_are_rejected() {
    let bars = read("ashare/600000.SH.csv");
    assert_eq!(bars.len(), 3659);
    let made_up = [
        "2010-02-15",
        "2010-02-16",
        "2010-02-17",
        "2010-02-18",
        "2012-01-02",
        "2012-01-03",
    ];
    for (cleaner, reason) in [
        (plain(), "repeated"),
        (with_index_calendar(), "closed_market"),
    ] {
        let (good, rejects, marks) = clean(&bars, cleaner);
        assert_eq!(rejects.len(), 1, "{rejects:?}");
        assert_eq!(rejects[reason], made_up);
        assert_eq!(good.len(), 3653);
        assert_eq!(
            marks["ex_right_suspected"],
            [
                "2002-08-22",
                "2008-04-24",
                "2009-06-09",
                "2010-06-10",
                "2011-06-03"
            ]
        );
    }
}

#[test]
fn indices_and_foreign_stocks_pass_without_limits() {
    let (good, rejects, marks) = clean(&read("ashare/000300.SH.csv"), plain());
    assert_eq!((good.len(), rejects.len()), (4857, 0), "{rejects:?}");
    assert_eq!(marks.keys().copied().collect::<Vec<_>>(), ["first_bar"]);

    let bars = read("us/bokeh_5stocks_unadj_adjclose_2000_2013.csv");
    let (good, rejects, marks) = clean(&bars, plain());
    assert_eq!(marks["first_bar"].len(), 5);
    assert_eq!(
        good.len() + rejects.values().map(Vec::len).sum::<usize>(),
        12_154
    );
    assert!(rejects.is_empty(), "{rejects:?}");
}
