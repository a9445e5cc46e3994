//! The facts in the tables of a fetched directory.

use heqis_data::prepare::{self, Options};
use heqis_data::store::DataSet;
use heqis_quant::scaler::{OutOfRange, ScalerKind, Spread};
use heqis_quant::{Date, Marks, Symbol};
use market::{options, rows, symbol};

use super::*;

#[test]
fn a_fetched_directory_becomes_a_data_set_with_all_facts_of_its_tables() {
    let root = tempfile::tempdir().unwrap();
    let (dir, out) = (root.path().join("fetched"), root.path().join("out"));
    fetched(&dir, 320);
    let outcome = prepare::prepare(&of_fetched(&dir, &out)).unwrap();
    let manifest = &outcome.manifest;
    let names: Vec<String> = manifest
        .symbols
        .iter()
        .map(|s| s.symbol.to_string())
        .collect();
    assert_eq!(names, ["000002.SZ", "000300.SH", "600000.SH"]);
    let roles: Vec<&str> = manifest
        .tables
        .iter()
        .map(|table| table.role.as_str())
        .collect();
    assert_eq!(
        roles,
        [
            "factors",
            "calendar",
            "stock_basic",
            "namechange",
            "suspend_d",
            "stk_limit"
        ]
    );
    assert!(
        manifest.inputs[0]
            .detected
            .contains("volume in lots of 100 shares by the amounts of 638 rows"),
        "{}",
        manifest.inputs[0].detected
    );
    let clean = &manifest.settings.clean;
    let day = |text: &str| Date::parse(text).unwrap();
    let stock = Symbol::parse("600000.SH").unwrap();
    assert_eq!(clean.list_dates[&stock], day("20150105"));
    assert!(clean.is_st(stock, day("20150302")) && clean.is_st(stock, day("20150430")));
    assert!(!clean.is_st(stock, day("20150501")) && !clean.is_st(stock, day("20150227")));
    // Bars are in shares and CNY, and the reference of the split is the vendor's.
    let split = series(&out, 0);
    let at = split
        .bars()
        .iter()
        .position(|bar| bar.date.to_string() == date_of(&rows(0, 320)[150]));
    let (before, bar) = (split.bars()[at.unwrap() - 1], split.bars()[at.unwrap()]);
    assert!((before.close / bar.pre_close.unwrap() - 2.0).abs() < 0.002);
    let volume: f64 = rows(0, 1)[0].split(',').nth(5).unwrap().parse().unwrap();
    assert_eq!(split.bars()[0].volume_shares, volume);
    // One of two days without a row was recorded, and one recorded day has a bar.
    let found: Vec<(String, String, String)> = findings(&out)
        .into_iter()
        .map(|finding| (finding.symbol, finding.date, finding.evidence))
        .collect();
    let at = |row: usize| date_of(&rows(1, 320)[row]);
    assert_eq!(
        found,
        [
            (symbol(1), at(71), "not_recorded".to_owned()),
            (symbol(1), at(90), "traded".to_owned())
        ]
    );
    assert_eq!(manifest.findings["limits"], 1);
    assert!(series(&out, 1).bars()[70].marks.contains(Marks::GAP));
    assert!(
        violations(&out).contains(" 0 violations"),
        "{}",
        violations(&out)
    );

    // A new day in all tables recomputes the affected series: all of them here.
    let again = prepare::prepare(&of_fetched(&dir, &out)).unwrap();
    assert_eq!((again.computed, again.reused), (0, 3));
    // Under special treatment the limit is 5 %: the same jump is rejected then, and not before.
    let text = std::fs::read_to_string(dir.join("daily.csv")).unwrap();
    let jump = |date: &str| {
        let lines: Vec<String> = text
            .lines()
            .map(|line| {
                let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
                if cells[0] == "600000.SH" && cells[1] == date {
                    let pre_close: f64 = cells[6].parse().unwrap();
                    let price = format!("{:.2}", pre_close * 1.08);
                    for cell in &mut cells[2..6] {
                        *cell = price.clone();
                    }
                    cells[10] = (cells[9].parse::<f64>().unwrap() * price.parse::<f64>().unwrap()
                        / 10.0)
                        .to_string();
                }
                cells.join(",")
            })
            .collect();
        std::fs::write(dir.join("daily.csv"), lines.join("\n") + "\n").unwrap();
        let outcome = prepare::prepare(&of_fetched(&dir, &out)).unwrap();
        outcome.manifest.rejects.get("outside_limits").copied()
    };
    assert_eq!(jump("20150227"), None);
    assert_eq!(jump("20150302"), Some(1));
}

#[test]
fn a_z_score_of_stored_rows_equals_that_of_all_rows_at_once() {
    let root = tempfile::tempdir().unwrap();
    let (dir, _) = market_with_event(root.path());
    let out = root.path().join("out");
    let outcome = prepare::prepare(&Options {
        scaler: ScalerKind::ZScore,
        out_of_range: OutOfRange::Pass,
        ..options(&[&dir], &out)
    });
    let scaler = DataSet::open(&out).unwrap().scaler().unwrap();
    assert_eq!(
        (scaler.kind(), scaler.out_of_range()),
        (ScalerKind::ZScore, OutOfRange::Pass)
    );
    let train_to = outcome.unwrap().manifest.scaler_span.to;
    let (mut values, mut targets) = (Vec::new(), Vec::new());
    for index in [1, 0] {
        let rows = series(&out, index);
        for (row, bar) in rows.bars().iter().enumerate() {
            if let Some(features) = rows.features(row).filter(|_| bar.date <= train_to) {
                values.push(features[1]);
                targets.extend(
                    rows.next()[row]
                        .filter(|n| n.date <= train_to)
                        .map(|n| n.next_return),
                );
            }
        }
    }
    let json: serde_json::Value = serde_json::from_str(&scaler.to_json()).unwrap();
    for (spread, mean, deviation) in [
        (Spread::of(&values), &json["x_min"][1], &json["x_scale"][1]),
        (Spread::of(&targets), &json["y_min"], &json["y_scale"]),
    ] {
        assert!((spread.mean - mean.as_f64().unwrap()).abs() < 1e-15);
        assert!((spread.deviation / deviation.as_f64().unwrap() - 1.0).abs() < 1e-12);
    }
}
