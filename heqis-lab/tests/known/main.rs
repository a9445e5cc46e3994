//! Facts in addition to bars: ex-rights bridge prices without changing them, contradictions are reported, and a directory of
//! fetched tables becomes a data set without edits.
#![allow(clippy::unwrap_used)]

mod fetched;
#[path = "../../../heqis-data/tests/market/mod.rs"]
mod market;

use heqis_data::prepare::findings::{self, Finding};
use heqis_data::prepare::reference::Tables;
use heqis_data::prepare::{self, Options, PrepareOutcome};
use heqis_data::store::dataset::Columns;
use heqis_data::store::manifest::Adjust;
use heqis_data::store::{DataSet, Rows};
use heqis_lab::data::check::{self, CheckArgs};
use heqis_lab::data::show::{self, ShowArgs};
use heqis_quant::scaler::ScalerKind;
use heqis_quant::{Date, Marks, Symbol};
use market::{files, options, rows, symbol, write_table};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

const EVENTS: &str = "ts_code,ex_date,cash_div,gift,incr,rights,rights_price\n";

/// Returns the rows of a random walk with a two-for-one split on the row `at`: prices are halved to the cent and volumes
/// doubled.
fn split_rows(index: usize, days: usize, at: usize) -> Vec<String> {
    let mut all = rows(index, days);
    for row in &mut all[at..] {
        let mut cells: Vec<String> = row.split(',').map(str::to_owned).collect();
        for cell in &mut cells[1..5] {
            let cents = (cell.parse::<f64>().unwrap() * 100.0).round() as i64;
            *cell = format!("{}.{:02}", cents / 200, cents / 2 % 100);
        }
        cells[5] = (cells[5].parse::<i64>().unwrap() * 2).to_string();
        *row = cells.join(",");
    }
    all
}

fn date_of(row: &str) -> String {
    row.split(',').next().unwrap().to_owned()
}

fn series(out: &Path, index: usize) -> Rows {
    let data = DataSet::open(out).unwrap();
    let symbol = Symbol::parse(&symbol(index)).unwrap();
    data.symbol(symbol, Columns::All).unwrap()
}

/// Writes a market of two stocks, the first of which splits two for one on row 150, and its event.
fn market_with_event(root: &Path) -> (PathBuf, PathBuf) {
    let dir = root.join("tables");
    std::fs::create_dir_all(&dir).unwrap();
    let split = split_rows(0, 320, 150);
    write_table(&dir, 0, &split);
    write_table(&dir, 1, &rows(1, 320));
    let events = root.join("events.csv");
    let event = format!("{EVENTS}{},{},0,0,1,0,0\n", symbol(0), date_of(&split[150]));
    std::fs::write(&events, event).unwrap();
    (dir, events)
}

fn with_events(dir: &Path, events: &Path, out: &Path, adjust: Adjust) -> Options {
    Options {
        adjust,
        tables: Tables {
            events: Some(events.to_owned()),
            ..Tables::default()
        },
        ..options(&[dir], out)
    }
}

fn findings(out: &Path) -> Vec<Finding> {
    let data = DataSet::open(out).unwrap();
    let all = findings::of_bars(data.dir()).unwrap();
    all.into_values().flatten().collect()
}

fn violations(out: &Path) -> String {
    let answer = check::run(&CheckArgs {
        dir: out.to_owned(),
        calendar: None,
        json: false,
    });
    let answer = answer.unwrap();
    match answer.good {
        true => answer.lines.last().unwrap().clone(),
        false => answer.lines.join("\n"),
    }
}

fn show(out: &Path, index: usize, adjust: Option<Adjust>) -> Vec<serde_json::Value> {
    let lines = show::run(&ShowArgs {
        dir: out.to_owned(),
        symbol: Symbol::parse(&symbol(index)).unwrap(),
        from: None,
        to: None,
        adjust,
        csv: false,
        json: true,
        plot: None,
    });
    serde_json::from_str(&lines.unwrap().lines[0]).unwrap()
}

#[test]
fn a_known_event_makes_returns_continuous_and_leaves_prices_as_traded() {
    let root = tempfile::tempdir().unwrap();
    let (dir, events) = market_with_event(root.path());
    let out = |name: &str| root.path().join(name);
    for (name, adjust) in [("forward", Adjust::Forward), ("backward", Adjust::Backward)] {
        prepare::prepare(&with_events(&dir, &events, &out(name), adjust)).unwrap();
        assert!(
            violations(&out(name)).contains(" 0 violations"),
            "{}",
            violations(&out(name))
        );
    }
    prepare::prepare(&options(&[&dir], &out("none"))).unwrap();
    let unsplit = root.path().join("unsplit");
    std::fs::create_dir(&unsplit).unwrap();
    write_table(&unsplit, 0, &rows(0, 320));
    prepare::prepare(&options(&[&unsplit], &out("same"))).unwrap();

    let (forward, backward) = (series(&out("forward"), 0), series(&out("backward"), 0));
    assert_eq!(forward, backward);
    assert_eq!(forward.len(), 320);
    // Only the reference price of the day itself was added to a bar.
    let plain = series(&out("none"), 0);
    for (row, (bar, traded)) in forward.bars().iter().zip(plain.bars()).enumerate() {
        assert_eq!(bar.close, traded.close);
        assert_eq!(bar.pre_close.is_some(), row == 150);
    }
    assert!(plain.bars()[150].marks.contains(Marks::EX_RIGHT_SUSPECTED));
    assert!(forward.bars().iter().all(|bar| !bar.marks.breaks_level()));
    // Features and labels are those of the stock without the split, up to half cents.
    let same = series(&out("same"), 0);
    for row in 0..320 {
        let pairs = forward.features(row).into_iter().flatten();
        for (ours, theirs) in pairs.zip(same.features(row).into_iter().flatten()) {
            assert!((ours - theirs).abs() < 2e-3, "row {row}: {ours} {theirs}");
        }
        if let (Some(ours), Some(theirs)) = (forward.next()[row], same.next()[row]) {
            assert!(
                (ours.next_return - theirs.next_return).abs() < 2e-3,
                "row {row}"
            );
        }
    }

    // Shown prices equal those of the market on the last day, on the first day, or on all days.
    let close = |rows: &[serde_json::Value], row: usize| rows[row]["close"].as_f64().unwrap();
    let (traded, shown) = (
        show(&out("forward"), 0, Some(Adjust::None)),
        show(&out("forward"), 0, None),
    );
    let step = forward.bars()[149].close / forward.bars()[150].pre_close.unwrap();
    assert!((step - 2.0).abs() < 0.002);
    assert_eq!(close(&shown, 319), close(&traded, 319));
    assert!((close(&shown, 149) - close(&traded, 149) / step).abs() < 1e-9);
    let shown = show(&out("backward"), 0, None);
    assert_eq!(close(&shown, 149), close(&traded, 149));
    assert!((close(&shown, 150) - close(&traded, 150) * step).abs() < 1e-9);
}

#[test]
fn contradictions_are_reported_and_counted_and_not_repaired() {
    let root = tempfile::tempdir().unwrap();
    let (dir, events) = market_with_event(root.path());
    let out = root.path().join("out");
    let day = date_of(&rows(0, 320)[150]);
    // Factors without the event, without one day, and with an invalid value.
    let mut factors = String::from("ts_code,trade_date,adj_factor\n");
    for (at, row) in rows(0, 320).iter().enumerate() {
        match at {
            40 => {}
            60 => factors += &format!("{},{},-1\n", symbol(0), date_of(row)),
            _ => factors += &format!("{},{},1\n", symbol(0), date_of(row)),
        }
    }
    for row in rows(1, 320) {
        factors += &format!("{},{},3.5\n", symbol(1), date_of(&row));
    }
    let path = root.path().join("factors.csv");
    std::fs::write(&path, factors).unwrap();
    let bad = std::fs::read_to_string(&events).unwrap() + "600000.SH,2015-09-01,0,0,0,0.3,0\n";
    std::fs::write(&events, bad).unwrap();
    let mut given = with_events(&dir, &events, &out, Adjust::Backward);
    given.tables.factors = Some(path);
    let outcome = prepare::prepare(&given).unwrap();
    let found: Vec<(String, String, Option<f64>)> = findings(&out)
        .into_iter()
        .map(|finding| (finding.date, finding.evidence, finding.got))
        .collect();
    let at = |row: usize| date_of(&rows(0, 320)[row]);
    assert_eq!(
        found,
        [
            (at(40), "sign".into(), Some(0.0)),
            (at(60), "sign".into(), Some(-1.0)),
            (day.clone(), "events".into(), Some(1.0)),
            (day, "prices".into(), Some(1.0)),
        ]
    );
    let counted = &outcome.manifest.findings;
    assert_eq!(
        (counted["sign"], counted["events"], counted["unreadable"]),
        (2, 1, 1)
    );
    assert_eq!(outcome.manifest.rows.bars, 640);
    assert!(violations(&out).contains(" 0 violations"));
    // A changed table is reported as such.
    std::fs::write(&events, EVENTS).unwrap();
    let answer = check::run(&CheckArgs {
        dir: out,
        calendar: None,
        json: false,
    });
    let lines = answer.unwrap().lines.join("\n");
    assert!(lines.contains("not verified: events"), "{lines}");
}

#[test]
fn a_changed_event_recomputes_its_stock_only() {
    let root = tempfile::tempdir().unwrap();
    let (dir, events) = market_with_event(root.path());
    let (out, fresh) = (root.path().join("out"), root.path().join("fresh"));
    let update = || -> PrepareOutcome {
        let outcome = prepare::prepare(&with_events(&dir, &events, &out, Adjust::Backward));
        let _ = std::fs::remove_dir_all(&fresh);
        prepare::prepare(&with_events(&dir, &events, &fresh, Adjust::Backward)).unwrap();
        assert_eq!(files(&out), files(&fresh));
        outcome.unwrap()
    };
    let counts = |outcome: PrepareOutcome| (outcome.computed, outcome.reused);
    assert_eq!(counts(update()), (2, 0));
    assert_eq!(counts(update()), (0, 2));
    // An event after the last bar has no effect yet, and one of another stock has none here.
    let text = std::fs::read_to_string(&events).unwrap();
    let later = format!(
        "{text}{},2030-01-01,1,0,0,0,0\n600999.SH,2015-03-03,1,0,0,0,0\n",
        symbol(0)
    );
    std::fs::write(&events, &later).unwrap();
    assert_eq!(counts(update()), (0, 2));
    let now = format!("{later}{},2015-06-01,0.1,0,0,0,0\n", symbol(1));
    std::fs::write(&events, now).unwrap();
    assert_eq!(counts(update()), (1, 1));
    // Ten cents are within the limits: without the table the dividend is not detectable.
    let bars = series(&out, 1);
    let marked: Vec<_> = bars
        .bars()
        .iter()
        .filter(|bar| bar.pre_close.is_some())
        .collect();
    assert_eq!(marked.len(), 1);
    assert_eq!(marked[0].date.to_string(), "2015-06-01");
}

/// Writes tables as `fetch` does: two stocks, an index, their factors, names, suspensions and days.
fn fetched(dir: &Path, days: usize) {
    std::fs::create_dir_all(dir).unwrap();
    let compact = |row: &str| date_of(row).replace('-', "");
    let bars = "ts_code,trade_date,open,high,low,close,pre_close,change,pct_chg,vol,amount\n";
    let (mut daily, mut index) = (bars.to_owned(), bars.to_owned());
    let mut factors = "ts_code,trade_date,adj_factor\n".to_owned();
    let mut days_table = "exchange,cal_date,is_open,pretrade_date\n".to_owned();
    let mut before = String::new();
    for (stock, rows) in [split_rows(0, 320, 150), rows(1, 320)].iter().enumerate() {
        let mut last: Option<f64> = None;
        let mut factor = 2.5;
        for (at, row) in rows[..days].iter().enumerate() {
            let cells: Vec<&str> = row.split(',').collect();
            let close: f64 = cells[4].parse().unwrap();
            let split = stock == 0 && at == 150;
            let cents = last.map(|last| (last * 100.0).round());
            let reference = cents.map(|cents| match split {
                true => (cents / 2.0).round() / 100.0,
                false => cents / 100.0,
            });
            if let (true, Some(last), Some(reference)) = (split, last, reference) {
                factor *= last / reference;
            }
            last = Some(close);
            factors += &format!("{},{},{factor:.6}\n", symbol(stock), compact(row));
            // The second stock is suspended on two days; the vendor has recorded one of them.
            if stock == 1 && (at == 70 || at == 71) {
                last = rows[69].split(',').nth(4).unwrap().parse().ok();
                continue;
            }
            let pre_close = reference.map(|price| price.to_string()).unwrap_or_default();
            let volume: f64 = cells[5].parse::<f64>().unwrap() / 100.0;
            let amount = volume
                * (cells[2].parse::<f64>().unwrap() + cells[3].parse::<f64>().unwrap())
                / 20.0;
            daily += &format!(
                "{},{},{},{},{},{},{pre_close},,,{volume},{amount}\n",
                symbol(stock),
                compact(row),
                cells[1],
                cells[2],
                cells[3],
                cells[4]
            );
        }
    }
    for (at, row) in rows(2, 320)[..days].iter().enumerate() {
        let cells: Vec<&str> = row.split(',').collect();
        index += &format!(
            "000300.SH,{},{},{},{},{},,,,{},\n",
            compact(row),
            cells[1],
            cells[2],
            cells[3],
            cells[4],
            cells[5]
        );
        days_table += &format!("SSE,{},1,{before}\n", compact(row));
        if at % 5 == 4 {
            let saturday = Date::from_days(Date::parse(&date_of(row)).unwrap().days() + 1).unwrap();
            days_table += &format!(
                "SSE,{},0,{}\n",
                saturday.to_string().replace('-', ""),
                compact(row)
            );
        }
        before = compact(row);
    }
    let table = |name: &str, text: &str| {
        std::fs::write(dir.join(format!("{name}.csv")), text).unwrap();
    };
    table("daily", &daily);
    table("index_daily", &index);
    table("adj_factor", &factors);
    table("trade_cal", &days_table);
    table(
        "daily_basic",
        "ts_code,trade_date,turnover_rate,volume_ratio,pe,pb,total_share,float_share,total_mv,circ_mv\n",
    );
    // Special treatment from 2015-03-02 to 2015-04-30: the vendor lacks it on one day.
    table(
        "stk_limit",
        &format!(
            "ts_code,trade_date,pre_close,up_limit,down_limit\n{0},20150227,10.00,11.00,9.00\n{0},20150302,10.00,10.50,9.50\n\
             {0},20150303,10.00,11.00,9.00\n{1},20150302,9.99,10.99,8.99\n",
            symbol(0),
            symbol(1)
        ),
    );
    let stock =
        |index: usize, name: &str| format!("{},{name},银行,主板,,L,20150105,\n", symbol(index));
    table(
        "stock_basic",
        &format!(
            "ts_code,name,industry,market,exchange,list_status,list_date,delist_date\n{}{}",
            stock(0, "甲"),
            stock(1, "乙")
        ),
    );
    table(
        "namechange",
        &format!(
            "ts_code,name,start_date,end_date,change_reason\n{0},*ST甲,20150302,20150430,*ST\n{0},甲,20150501,,撤销*ST\n\
             {0},甲股,20150105,20150301,\n",
            symbol(0)
        ),
    );
    table(
        "suspend_d",
        &format!(
            "ts_code,trade_date,suspend_timing,suspend_type\n{0},{1},,S\n{0},{2},,S\n",
            symbol(1),
            compact(&rows(1, 320)[70]),
            compact(&rows(1, 320)[90])
        ),
    );
}

fn of_fetched(dir: &Path, out: &Path) -> Options {
    Options {
        adjust: Adjust::Backward,
        ..options(&[dir], out)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Bars, factors, names, suspensions and days all end at the cut, and all results before it stay the same to the bit.
    #[test]
    fn cutting_off_later_rows_does_not_change_earlier_ones(cut in 262usize..320, z_score in any::<bool>()) {
        let root = tempfile::tempdir().unwrap();
        let scaler = if z_score { ScalerKind::ZScore } else { ScalerKind::MinMax };
        let prepared = |days: usize, name: &str| {
            let (dir, out) = (root.path().join(format!("{name}.in")), root.path().join(name));
            fetched(&dir, days);
            prepare::prepare(&Options { scaler, ..of_fetched(&dir, &out) }).unwrap();
            out
        };
        let (whole, short) = (prepared(320, "whole"), prepared(cut, "short"));
        prop_assert_eq!(
            DataSet::open(&whole).unwrap().scaler().unwrap(),
            DataSet::open(&short).unwrap().scaler().unwrap()
        );
        let last = date_of(&rows(0, 320)[cut - 1]);
        let past: Vec<Finding> = findings(&whole).into_iter().filter(|f| f.date <= last).collect();
        prop_assert_eq!(past, findings(&short));
        for index in 0..2 {
            let (long, short_rows) = (series(&whole, index), series(&short, index));
            let len = short_rows.len();
            prop_assert_eq!(&long.bars()[..len], short_rows.bars());
            for row in 0..len {
                prop_assert_eq!(long.features(row), short_rows.features(row));
                let known = (row + 1 < len).then(|| long.next()[row]).flatten();
                prop_assert_eq!(short_rows.next()[row], known);
            }
            let (long, short_rows) = (show(&whole, index, None), show(&short, index, None));
            for (long, short) in long.iter().zip(&short_rows) {
                prop_assert_eq!(&long["close"], &short["close"]);
            }
        }
    }
}

#[test]
fn a_table_without_an_adjustment_is_rejected_on_the_command_line() {
    let root = tempfile::tempdir().unwrap();
    let (dir, events) = market_with_event(root.path());
    let out = root.path().join("out");
    let run = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_heqis-lab"));
        command.arg("prepare").arg(&dir).arg("--out").arg(&out);
        command
            .arg("--events")
            .arg(&events)
            .args(["--features", "return_1,range_ratio"]);
        let output = command.args(more).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.success(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (good, _, output) = run(&[]);
    assert!(!good && output.contains("need --adjust"), "{output}");
    let (good, output, _) = run(&[
        "--adjust",
        "forward",
        "--scaler",
        "z-score",
        "--out-of-range",
        "pass",
        "--json",
    ]);
    assert!(good);
    let output: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(output["adjustment"], "forward");
    assert_eq!(output["findings"], serde_json::json!({}));
    let text = std::fs::read_to_string(
        DataSet::open(&out)
            .unwrap()
            .dir()
            .join("scaler_params.json"),
    );
    assert!(text.unwrap().contains("\"pass\""));
}
