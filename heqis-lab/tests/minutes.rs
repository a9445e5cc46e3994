//! Minute bars are read, cleaned, stored and labelled like daily bars: several bars each day, each with its own time.
#![allow(clippy::unwrap_used)]

#[path = "../../heqis-data/tests/market/mod.rs"]
mod market;

use heqis_data::prepare::{self, Options, report};
use heqis_data::store::DataSet;
use heqis_data::store::dataset::Columns;
use heqis_data::store::manifest::TrainTo;
use heqis_lab::data::check::{self, CheckArgs};
use heqis_lab::data::show::{self, ShowArgs};
use heqis_quant::{CleanConfig, Date, Marks, Symbol};
use market::{files, options};

/// Returns four days of five-minute bars of one stock in the vendor's format, newest first.
fn table() -> String {
    let header = "ts_code,trade_time,close,open,high,low,vol,amount\n";
    let mut rows = Vec::new();
    let mut cents = 1000;
    for day in ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"] {
        let clocks = (1..=48).map(|n| {
            let minutes = 9 * 60 + 30 + 5 * n + if n > 24 { 90 } else { 0 };
            format!("{:02}:{:02}:00", minutes / 60, minutes % 60)
        });
        for (n, clock) in clocks.enumerate() {
            let open = cents;
            cents += [3, -2, 1, -1, 2, -4, 2][(n * 5 + n / 7) % 7];
            let (high, low) = (open.max(cents) + 1, open.min(cents) - 1);
            let price = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
            let shares = 1000 + 100 * n as i64;
            rows.push(format!(
                "600000.SH,{day} {clock},{},{},{},{},{shares},{:.2}",
                price(cents),
                price(open),
                price(high),
                price(low),
                shares as f64 * (high + low) as f64 / 200.0,
            ));
        }
    }
    rows.reverse();
    format!("{header}{}\n", rows.join("\n"))
}

#[test]
fn bars_of_minutes_become_a_data_set() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("minutes.csv");
    let mut text = table();
    // One minute occurs twice, one is a fourth above the previous day's close, and one is missing.
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let duplicate = lines
        .iter()
        .find(|line| line.contains("2024-01-03 10:00:00"))
        .unwrap();
    text += &format!("{duplicate}\n");
    let text: String = text
        .lines()
        .filter(|line| !line.contains("2024-01-04 14:00:00"))
        .map(|line| match line.contains("2024-01-05 09:40:00") {
            true => "600000.SH,2024-01-05 09:40:00,12.50,12.50,12.50,12.50,1000,12500\n".to_owned(),
            false => format!("{line}\n"),
        })
        .collect();
    std::fs::write(&path, text).unwrap();
    let outs = [1, 3].map(|threads| {
        let out = root.path().join(format!("out{threads}"));
        prepare::prepare(&Options {
            threads,
            train_to: TrainTo::Date(Date::parse("2024-01-03").unwrap()),
            clean: CleanConfig {
                bar_minutes: Some(5),
                ..CleanConfig::default()
            },
            ..options(&[&path], &out)
        })
        .unwrap();
        out
    });
    assert_eq!(files(&outs[0]), files(&outs[1]));
    let out = &outs[0];
    let data = DataSet::open(out).unwrap();
    let symbol = Symbol::parse("600000.SH").unwrap();
    let rows = data.symbol(symbol, Columns::All).unwrap();
    let bars = rows.bars();
    assert_eq!(bars.len(), 4 * 48 - 2);
    assert!(
        bars.windows(2)
            .all(|pair| pair[0].time_ns < pair[1].time_ns)
    );
    assert_eq!(bars[0].volume_shares, 1000.0);
    let text: Vec<(String, String)> = report::read(data.dir())
        .unwrap()
        .into_iter()
        .map(|line| (line.date, line.reason))
        .collect();
    assert_eq!(
        text,
        [
            ("2024-01-03".to_owned(), "duplicate".to_owned()),
            ("2024-01-05".to_owned(), "outside_limits".to_owned())
        ]
    );
    // The hole and the rejected bar are gaps; a lunch break and a night are not.
    let clock = |time_ns: i64| (time_ns / 60_000_000_000 + 480) % 1440;
    let gaps: Vec<(String, i64)> = bars
        .iter()
        .filter(|bar| bar.marks.contains(Marks::GAP))
        .map(|bar| (bar.date.to_string(), clock(bar.time_ns)))
        .collect();
    assert_eq!(
        gaps,
        [
            ("2024-01-04".to_owned(), 14 * 60 + 5),
            ("2024-01-05".to_owned(), 9 * 60 + 45)
        ]
    );
    // A label refers to the next bar, of the same day or of the next one.
    for (row, pair) in bars.windows(2).enumerate() {
        let next = rows.next()[row].unwrap();
        assert_eq!(next.date, pair[1].date);
        assert_eq!(next.next_return, pair[1].close / pair[0].close - 1.0);
    }
    assert!(rows.next()[bars.len() - 1].is_none());
    let manifest = data.manifest();
    assert_eq!(manifest.files[0].days.len(), 4);
    // The last label of the training span depends on the next day, so the scaler leaves it out, but not its features.
    assert_eq!(manifest.rows.scaler, 2 * 48 - 5);
    let day = data
        .day(Date::parse("2024-01-04").unwrap(), Columns::All)
        .unwrap();
    assert_eq!(day.len(), 47);

    let answer = check::run(&CheckArgs {
        dir: out.clone(),
        calendar: None,
        json: false,
    });
    let answer = answer.unwrap();
    assert!(answer.good, "{:?}", answer.lines);
    let show = |csv: bool| {
        show::run(&ShowArgs {
            dir: out.clone(),
            symbol,
            from: Some(Date::parse("2024-01-05").unwrap()),
            to: None,
            adjust: None,
            csv,
            json: !csv,
            plot: None,
        })
        .unwrap()
        .lines
    };
    assert_eq!(show(true).len(), 1 + 47);
    let first: serde_json::Value = serde_json::from_str(&show(false)[0]).unwrap();
    assert_eq!(first[0]["time_ns"], bars[48 + 48 + 47].time_ns);
}
