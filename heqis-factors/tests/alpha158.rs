//! The shipped set `alpha158` against Qlib's own values, of `tests/peers/alpha158_peer.py`.
//!
//! `HEQIS_ALPHA158` names another file of the same script, such as one of every bar.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;

use heqis_factors::{Columns, FactorSeries, FactorSet, shipped};

/// The bars of 002032.SZ as `[open, high, low, close, volume, amount, vwap]`.
fn bars() -> Vec<[f64; 7]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/ashare/002032.SZ.csv");
    let mut rows = csv::Reader::from_path(path).unwrap();
    let names = rows.headers().unwrap().clone();
    rows.records()
        .map(|row| {
            let row = row.unwrap();
            let of = |name: &str| -> f64 {
                let at = names.iter().position(|column| column == name).unwrap();
                row[at].parse().unwrap()
            };
            let (volume, amount) = (of("volume"), of("amount"));
            let prices = ["open", "high", "low", "close"].map(of);
            let [open, high, low, close] = prices;
            [open, high, low, close, volume, amount, amount / volume]
        })
        .collect()
}

/// How far a value of ours lies from Qlib's. Qlib's rolling sums of correlations and squares carry an error of their own.
fn distance(ours: f64, qlib: f64) -> f64 {
    (ours - qlib).abs() / qlib.abs().max(1.0)
}

/// Values computed with rational numbers where Qlib's differ most: factor, bar, value.
const EXACT: [(&str, usize, f64); 2] = [
    ("RSQR5", 2217, 0.920_863_309_352_516_9),
    ("CORR5", 2273, -0.879_623_537_967_501_7),
];

#[test]
fn alpha158_has_qlibs_values() {
    let set = FactorSet::parse(shipped::find("alpha158").unwrap().text, &Columns::bars()).unwrap();
    let mut series = FactorSeries::new(&set).unwrap();
    let rows: Vec<Vec<f64>> = bars()
        .iter()
        .map(|bar| {
            let mut row = vec![0.0; set.len()];
            series.update(bar, &mut row).unwrap();
            row
        })
        .collect();

    let committed =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/golden/alpha158_002032_qlib.csv");
    let path = std::env::var_os("HEQIS_ALPHA158").map_or(committed, Into::into);
    let mut golden = csv::Reader::from_path(path).unwrap();
    let names: Vec<String> = golden
        .headers()
        .unwrap()
        .iter()
        .map(str::to_owned)
        .collect();
    assert_eq!(
        names[2..],
        set.names().map(str::to_owned).collect::<Vec<_>>()
    );
    let (mut compared, mut missing) = (0, BTreeMap::<String, usize>::new());
    let mut worst = BTreeMap::<String, (f64, usize)>::new();
    for row in golden.records() {
        let row = row.unwrap();
        let bar: usize = row[0].parse().unwrap();
        for (at, name) in names[2..].iter().enumerate() {
            let ours = rows[bar][at];
            let Ok(qlib) = row[at + 2].parse::<f64>() else {
                if !ours.is_nan() {
                    *missing.entry(format!("{name}: only in Qlib")).or_default() += 1;
                }
                continue;
            };
            if ours.is_nan() {
                *missing.entry(format!("{name}: only here")).or_default() += 1;
                continue;
            }
            compared += 1;
            let off = distance(ours, qlib);
            let entry = worst.entry(name.clone()).or_default();
            if off > entry.0 {
                *entry = (off, bar);
            }
        }
    }
    let mut order: Vec<_> = worst
        .into_iter()
        .filter(|(_, (off, _))| *off > 1e-10)
        .collect();
    order.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
    eprintln!("{compared} values compared; above 1e-10: {order:?}; missing {missing:?}");
    assert!(compared > 5_000);
    // Qlib's running sums lose digits in short windows that hardly vary; ours is exact there, see the test below.
    let bound = |name: &str| match name {
        "RSQR5" | "CORR5" => 1e-8,
        _ => 1e-9,
    };
    assert!(
        order.iter().all(|(name, (off, _))| *off <= bound(name)),
        "{order:?}"
    );
    for (name, bar, exact) in EXACT {
        let at = set.names().position(|other| other == name).unwrap();
        assert!(
            distance(rows[bar][at], exact) < 1e-12,
            "{name}: {} for {exact}",
            rows[bar][at]
        );
    }
    assert!(missing.is_empty(), "{missing:?}");
}
