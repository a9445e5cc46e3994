//! Files of bars through complete commands: lost rows leave a hole and no false move, adjusted tables give the same results
//! as unadjusted ones, a market without a close loses no minute, and above the limit of lost rows nothing is written.
#![allow(clippy::unwrap_used)]

#[path = "../../heqis-data/tests/market/mod.rs"]
mod market;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use heqis_data::prepare::{self, Options};
use heqis_data::store::dataset::Columns;
use heqis_data::store::manifest::TrainTo;
use heqis_data::store::{DataSet, Rows};
use heqis_lab::backtest::BacktestArgs;
use heqis_lab::backtest::backtest;
use heqis_quant::{Date, FeatureSet, Marks, Symbol};
use market::options;
use proptest::prelude::*;

fn next_weekday(day: Date) -> Date {
    let mut next = Date::from_days(day.days() + 1).unwrap();
    while next.is_weekend() {
        next = Date::from_days(next.days() + 1).unwrap();
    }
    next
}

fn rows(out: &Path, symbol: &str) -> Rows {
    let symbol = Symbol::parse(symbol).unwrap();
    DataSet::open(out)
        .unwrap()
        .symbol(symbol, Columns::All)
        .unwrap()
}

fn moves(inputs: &Path, out: &Path) -> Options {
    Options {
        features: FeatureSet::parse(&["return_1", "range_ratio"]).unwrap(),
        train_to: TrainTo::Fraction(1.0),
        max_bad_share: 1.0,
        ..options(&[inputs], out)
    }
}

/// Damage to a row.
#[derive(Clone, Copy, Debug)]
enum Damage {
    None,
    Deleted,
    Unreadable,
    HighBelowOpen,
    NoNumber,
    WrongAmount,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Fault L1 and similar ones: every label is the move between two accepted closes, whatever lies between them.
    #[test]
    fn labels_are_the_moves_between_accepted_closes_whatever_was_lost(
        steps in prop::collection::vec((-90i64..=90, prop_oneof![
            6 => Just(Damage::None), 1 => Just(Damage::Deleted), 1 => Just(Damage::Unreadable),
            1 => Just(Damage::HighBelowOpen), 1 => Just(Damage::NoNumber), 1 => Just(Damage::WrongAmount)
        ]), 20..60),
        given in any::<bool>(),
    ) {
        let root = tempfile::tempdir().unwrap();
        let mut text = String::from("ts_code,trade_date,open,high,low,close,pre_close,vol,amount\n");
        let (mut day, mut close) = (Date::parse("2015-01-05").unwrap(), 2_000i64);
        let mut accepted: Vec<(Date, i64)> = Vec::new();
        for (i, (step, damage)) in steps.iter().enumerate() {
            let before = close;
            close = (close * (1000 + step) + 500) / 1000;
            let price = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
            let (high, low) = (before.max(close), before.min(close));
            let (mut open, mut shown, mut amount) = (price(before), price(close), (before + close) as f64 / 2.0);
            let ends = i == 0 || i + 1 == steps.len();
            let damage = if ends { Damage::None } else { *damage };
            match damage {
                Damage::HighBelowOpen => open = price(high + 10),
                Damage::NoNumber => shown = "x".into(),
                Damage::WrongAmount => amount *= 3.5,
                _ => {}
            }
            let pre_close = if given { price(before) } else { String::new() };
            let row = format!("600000.SH,{day},{open},{},{},{shown},{pre_close},{},{:.3}", price(high), price(low), 10_000 + i, amount * (10_000 + i) as f64 / 1_000.0);
            match damage {
                Damage::Deleted => {}
                Damage::Unreadable => text += &format!("{}\n", row.replace(',', "|")),
                _ => text += &format!("{row}\n"),
            }
            if matches!(damage, Damage::None) {
                accepted.push((day, close));
            }
            day = next_weekday(day);
            // No holiday of the exchange in this span may count as a lost day.
            while ("2015-02-18".parse::<Date>().unwrap().."2015-02-25".parse().unwrap()).contains(&day)
                || day == "2015-04-06".parse().unwrap()
            {
                day = next_weekday(day);
            }
        }
        let table = root.path().join("table.csv");
        fs::write(&table, &text).unwrap();
        let out = root.path().join("set");
        prepare::prepare(&moves(&table, &out)).unwrap();
        let rows = rows(&out, "600000.SH");
        let stored: Vec<(Date, i64)> = rows.bars().iter().map(|bar| (bar.date, (bar.close * 100.0).round() as i64)).collect();
        // Without a reference price the limits are unknown: a bar may then be rejected or marked.
        if given {
            prop_assert_eq!(&stored, &accepted);
        }
        let bars = rows.bars();
        for (pair, next) in bars.windows(2).zip(rows.next()) {
            if pair[1].marks.breaks_level() {
                prop_assert!(!given);
                continue;
            }
            let expected = pair[1].close / pair[0].close - 1.0;
            let got = next.unwrap().next_return;
            prop_assert!((got - expected).abs() < 1e-12, "{} {}: {} for {}", pair[0].date, pair[1].date, got, expected);
            let adjacent = next_weekday(pair[0].date) == pair[1].date;
            if !adjacent && given && pair[1].pre_close != Some(pair[0].close) && pair[0].date.days() + 4 > pair[1].date.days() {
                prop_assert!(pair[1].marks.contains(Marks::HOLE), "{} {}", pair[1].date, pair[1].marks);
            }
        }
    }
}

/// A stock at unadjusted prices, with its ex-rights, and the factor of each day relative to that of the last day.
struct Traded {
    table: String,
    events: String,
    adjusted: String,
    limit_days: usize,
}

/// Returns 1,500 days that often reach their limits, with a dividend or a bonus every 150 days.
fn traded(seed: u64) -> Traded {
    let mut state = seed;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut day = Date::parse("2012-01-04").unwrap();
    let (mut close, mut factor) = (1_500i64, 1.0f64);
    let mut days: Vec<(Date, [i64; 4], i64, u64, f64)> = Vec::new();
    let mut events = String::from("ts_code,ex_date,cash_div,gift,incr,rights,rights_price\n");
    let mut limit_days = 0;
    for i in 0..1_500 {
        let mut reference = close;
        if i % 150 == 149 {
            let (cash, bonus) = if i % 300 == 149 { (30, 0) } else { (0, 5) };
            reference = ((close - cash) * 10 + (10 + bonus) / 2) / (10 + bonus);
            factor *= close as f64 / reference as f64;
            writeln!(
                events,
                "600101.SH,{day},{:.2},0,{:.1},0,0",
                cash as f64 / 100.0,
                bonus as f64 / 10.0
            )
            .unwrap();
        }
        let (up, down) = ((reference * 110 + 50) / 100, (reference * 90 + 50) / 100);
        // Prices stay between 8 and 40 CNY.
        let drift = if reference < 1_200 {
            30
        } else if reference > 3_000 {
            -30
        } else {
            0
        };
        close = match random(20) {
            0 if reference < 3_600 => up,
            1 if reference > 900 => down,
            _ => (reference * (1_000 + drift + random(41) as i64 - 20) / 1_000).clamp(down, up),
        };
        limit_days += usize::from(close == up || close == down);
        let open = (reference + close) / 2;
        let (high, low) = (open.max(close).min(up), open.min(close).max(down));
        days.push((
            day,
            [open, high, low, close],
            reference,
            1_000_000 + random(900_000),
            factor,
        ));
        day = next_weekday(day);
    }
    let header = "date,open,high,low,close,volume\n";
    let (mut table, mut adjusted) = (header.to_owned(), header.to_owned());
    let last = factor;
    for (day, prices, _, volume, factor) in days {
        let text = |scale: f64| {
            prices
                .map(|cents| format!("{:.2}", cents as f64 / 100.0 * scale))
                .join(",")
        };
        writeln!(table, "{day},{},{volume}", text(1.0)).unwrap();
        writeln!(adjusted, "{day},{},{volume}", text(factor / last)).unwrap();
    }
    Traded {
        table,
        events,
        adjusted,
        limit_days,
    }
}

/// Fault L2: the adjusted table of a stock gives the features and labels of the unadjusted one, within the rounding of its
/// prices, and no day at a limit is lost in either.
#[test]
fn an_adjusted_table_gives_the_results_of_the_unadjusted_one_with_events() {
    let root = tempfile::tempdir().unwrap();
    for seed in 1..=3 {
        let stock = traded(seed);
        assert!(stock.limit_days > 100, "{}", stock.limit_days);
        let dir = |name: &str| {
            let dir = root.path().join(format!("{name}-{seed}"));
            fs::create_dir_all(&dir).unwrap();
            dir
        };
        let write = |name: &str, text: &str| -> PathBuf {
            let path = dir(name).join("600101.SH.csv");
            fs::write(&path, text).unwrap();
            path
        };
        let events = dir("events").join("events.csv");
        fs::write(&events, &stock.events).unwrap();
        let features = [
            "return_1",
            "return_5",
            "range_ratio",
            "ma_ratio_20",
            "volatility_20",
            "dif_ratio",
            "k",
        ];
        let set = |inputs: &Path, out: &Path| Options {
            features: FeatureSet::parse(&features).unwrap(),
            max_bad_share: 0.0,
            ..moves(inputs, out)
        };
        let (plain, out) = (write("traded", &stock.table), dir("plain"));
        let with_events = Options {
            adjust: heqis_data::store::manifest::Adjust::Forward,
            tables: prepare::reference::Tables {
                events: Some(events),
                ..Default::default()
            },
            ..set(&plain, &out)
        };
        prepare::prepare(&with_events).unwrap();
        let (adjusted, adjusted_out) = (write("adjusted", &stock.adjusted), dir("set"));
        let outcome = prepare::prepare(&set(&adjusted, &adjusted_out)).unwrap();
        assert!(
            outcome.report.series[0].adjusted.is_some(),
            "{:?}",
            outcome.report
        );
        let (a, b) = (rows(&out, "600101.SH"), rows(&adjusted_out, "600101.SH"));
        assert_eq!((a.len(), b.len()), (1_500, 1_500));
        assert!(
            b.bars()
                .iter()
                .all(|bar| bar.marks.contains(Marks::ADJUSTED))
        );
        for row in 0..a.len() {
            // Half a cent of each of two adjusted prices.
            let rounding = 0.01
                / b.bars()[row.saturating_sub(30)]
                    .close
                    .min(b.bars()[row].close);
            if let (Some(x), Some(y)) = (a.features(row), b.features(row)) {
                for (name, (x, y)) in features.iter().zip(x.iter().zip(y)) {
                    // K is a position within a range of about a tenth of the price; the others scale with prices.
                    let allowed = if *name == "k" { 40.0 } else { 2.5 } * rounding;
                    assert!(
                        (x - y).abs() <= allowed,
                        "{seed} {row} {name}: {x} {y}, {allowed}"
                    );
                }
            }
            match (a.next()[row], b.next()[row]) {
                (Some(x), Some(y)) => assert!(
                    (x.next_return - y.next_return).abs() <= 2.5 * rounding,
                    "{row}"
                ),
                (x, y) => assert_eq!(x.is_some(), y.is_some(), "{row}"),
            }
        }
        // A backtest on them reports the missing information, and credits no event twice.
        let p = root.path().join("p.csv");
        fs::write(
            &p,
            "symbol,date,predicted_return\n600101.SH,2012-01-05,0.02\n",
        )
        .unwrap();
        let line = run(
            &format!("{} --strategy {}", adjusted.display(), p.display()),
            &root.path().join("bt"),
        );
        assert!(
            line.warnings
                .iter()
                .any(|warning| warning.contains("prices of 1 of 1 instruments are adjusted")),
            "{:?}",
            line.warnings
        );
    }
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: BacktestArgs,
}

fn run(text: &str, out: &Path) -> heqis_lab::backtest::Line {
    let out = out.display().to_string();
    let words = ["backtest"]
        .into_iter()
        .chain(text.split_whitespace())
        .chain(["--no-pages", "--out", &out]);
    backtest(&Cli::parse_from(words).args)
        .unwrap()
        .swap_remove(0)
}

/// 45,000 minutes of an instrument that never closes, with gaps, in a text of its time zone or of one with summer time.
fn minutes(zone: &str) -> (String, Vec<i64>) {
    let mut text = String::from("symbol,datetime,open,high,low,close,volume\n");
    let mut times = Vec::new();
    // From 2024-03-08 to 2024-04-09: across the start of summer time in New York.
    let start = 1_709_856_000i64;
    let mut price = 60_000i64;
    let mut minute = 0i64;
    while times.len() < 45_000 {
        minute += 1;
        // Occasional gaps of an hour, also across midnight.
        if minute % 9_973 == 0 {
            minute += 60;
        }
        let at = start + minute * 60;
        let offset = match zone {
            "Z" => 0,
            _ if at < 1_710_054_000 => -5 * 3600,
            _ => -4 * 3600,
        };
        let local = at + offset;
        let day = Date::from_days(i32::try_from(local.div_euclid(86_400)).unwrap()).unwrap();
        let clock = local.rem_euclid(86_400);
        let suffix = match (zone, offset) {
            ("Z", _) => String::new(),
            _ => format!("{:03}:00", offset / 3600),
        };
        price += (minute * 7_919) % 41 - 20;
        let next = price + (minute * 104_729) % 21 - 10;
        writeln!(
            text,
            "BTCUSDT,{day} {:02}:{:02}:00{suffix},{price},{},{},{next},{}",
            clock / 3600,
            clock / 60 % 60,
            price.max(next),
            price.min(next),
            if minute % 1_000 == 0 { 0 } else { 1_000_000 },
        )
        .unwrap();
        times.push(at * 1_000_000_000);
    }
    (text, times)
}

/// Fault L3: no minute of a market that never closes is lost or shifted in a data set or a backtest.
#[test]
fn a_market_that_never_closes_loses_no_minute() {
    let root = tempfile::tempdir().unwrap();
    for zone in ["Z", "New York"] {
        let (text, times) = minutes(zone);
        let table = root.path().join(format!("{zone}.csv"));
        fs::write(&table, &text).unwrap();
        let out = root.path().join(format!("set {zone}"));
        let strict = Options {
            max_bad_share: 0.0,
            ..moves(&table, &out)
        };
        prepare::prepare(&strict).unwrap();
        let rows = rows(&out, "BTCUSDT");
        let stored: Vec<i64> = rows.bars().iter().map(|bar| bar.time_ns).collect();
        assert!(
            stored == times,
            "{zone}: {} of {}",
            stored.len(),
            times.len()
        );
        // The day of each bar is that of the market, whatever the time zone of the text.
        for bar in rows.bars().iter().step_by(97) {
            assert_eq!(
                i64::from(bar.date.days()),
                bar.time_ns.div_euclid(86_400_000_000_000),
                "{zone}"
            );
        }
    }
    let p = root.path().join("p.csv");
    fs::write(&p, "symbol,date,time,predicted_return\nBTCUSDT,2024-03-09,23:59:00Z,0.02\nBTCUSDT,2024-03-10,07:30:00Z,-0.02\n").unwrap();
    let bars = root.path().join("Z.csv");
    let line = run(
        &format!(
            "{} --strategy {} --max-bad-share 0",
            bars.display(),
            p.display()
        ),
        &root.path().join("bt"),
    );
    assert_eq!((line.orders, line.fills), (2, 2), "{:?}", line.warnings);
    let mut fills = csv::Reader::from_path(line.dir.join("fills.csv")).unwrap();
    let at = fills
        .headers()
        .unwrap()
        .iter()
        .position(|name| name == "time")
        .unwrap();
    let times: Vec<String> = fills
        .records()
        .map(|row| row.unwrap()[at].to_owned())
        .collect();
    assert_eq!(
        times,
        ["2024-03-10T00:00:00+00:00", "2024-03-10T07:31:00+00:00"]
    );
}

#[test]
fn above_the_limit_of_lost_rows_nothing_is_written() {
    let root = tempfile::tempdir().unwrap();
    let stock = traded(7);
    let text: Vec<String> = stock
        .table
        .lines()
        .enumerate()
        .map(|(i, line)| match i > 0 && i % 2 == 0 {
            true => line.replace(',', "|"),
            false => line.to_owned(),
        })
        .collect();
    let table = root.path().join("600101.SH.csv");
    fs::write(&table, text.join("\n")).unwrap();
    let out = root.path().join("set");
    let message = prepare::prepare(&Options {
        max_bad_share: 0.25,
        ..moves(&table, &out)
    })
    .unwrap_err()
    .to_string();
    assert!(
        message.contains("of the rows cannot be used, and at most 25.0 % may"),
        "{message}"
    );
    assert!(
        message.contains("line 3, column *: must have 6 cells like the header"),
        "{message}"
    );
    assert!(DataSet::open(&out).is_err());
    let p = root.path().join("p.csv");
    fs::write(
        &p,
        "symbol,date,predicted_return\n600101.SH,2012-01-04,0.02\n",
    )
    .unwrap();
    let run = |share: &str| {
        let out = root.path().join("bt").display().to_string();
        let (table, p) = (table.display().to_string(), p.display().to_string());
        let words = [
            "backtest",
            &table,
            "--strategy",
            &p,
            "--max-bad-share",
            share,
            "--no-pages",
            "--out",
            &out,
        ];
        backtest(&Cli::parse_from(words).args)
    };
    assert!(
        run("0.25")
            .unwrap_err()
            .to_string()
            .contains("cannot be used")
    );
    assert!(!root.path().join("bt").exists());
    assert!(run("0.6").is_ok());
}

/// Faults D21 to D29: a file of a directory without usable rows is left out by name; one given by its own path is an error
/// with its reason.
#[test]
fn files_of_a_directory_that_are_not_tables_are_left_out_with_a_warning() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("tables");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("600101.SH.csv"), traded(3).table).unwrap();
    fs::write(dir.join("600102.SH.csv"), "").unwrap();
    fs::write(
        dir.join("._600101.SH.csv"),
        b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X",
    )
    .unwrap();
    fs::write(dir.join("notes.csv"), "these,are\nno,bars\n").unwrap();
    let out = root.path().join("set");
    let outcome = prepare::prepare(&moves(&dir, &out)).unwrap();
    let reasons: BTreeMap<String, String> = outcome
        .report
        .files
        .iter()
        .filter_map(|file| {
            let name = Path::new(&file.path)
                .file_name()?
                .to_string_lossy()
                .into_owned();
            Some((name, file.left_out.clone()?))
        })
        .collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons["600102.SH.csv"].contains("must not be empty"));
    assert!(reasons["notes.csv"].contains("header: is unknown"));
    assert_eq!(rows(&out, "600101.SH").len(), 1_500);
    let named = prepare::prepare(&moves(
        &dir.join("600102.SH.csv"),
        &root.path().join("none"),
    ));
    assert!(named.unwrap_err().to_string().contains("must not be empty"));
}
