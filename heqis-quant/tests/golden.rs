//! Indicators against values computed elsewhere, and against themselves after a restore or a late start.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use heqis_quant::indicators::{Kdj, KdjStart, Ma, Macd, Returns, SmaCn, Volatility};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The columns of the golden table; an empty cell is `None`.
fn golden() -> BTreeMap<String, Vec<Option<f64>>> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../data/golden/indicators_002032_talib_and_cn.csv"
    );
    let mut rows = csv::Reader::from_path(path).unwrap();
    let names: Vec<String> = rows.headers().unwrap().iter().map(str::to_owned).collect();
    let mut columns = BTreeMap::<String, Vec<Option<f64>>>::new();
    for row in rows.records() {
        for (name, cell) in names.iter().zip(row.unwrap().iter()) {
            columns
                .entry(name.clone())
                .or_default()
                .push(cell.parse().ok());
        }
    }
    columns
}

fn column(name: &str) -> Vec<f64> {
    golden()[name].iter().map(|cell| cell.unwrap()).collect()
}

/// Compares within 1e-9, relative above 1 because the table has ten significant digits.
fn assert_agrees(name: &str, ours: impl IntoIterator<Item = Option<f64>>) {
    let expected = &golden()[name];
    let ours: Vec<_> = ours.into_iter().collect();
    assert_eq!((ours.len(), expected.len()), (2813, 2813), "{name}");
    for (row, (ours, expected)) in ours.iter().zip(expected).enumerate() {
        match (ours, expected) {
            (Some(a), Some(b)) => assert!(
                (a - b).abs() <= 1e-9 * b.abs().max(1.0),
                "{name} row {row}: {a} for {b}"
            ),
            _ => assert_eq!(ours, expected, "{name} row {row}"),
        }
    }
}

fn bars() -> Vec<(f64, f64, f64)> {
    let (high, low, close) = (column("high"), column("low"), column("close"));
    (0..close.len())
        .map(|i| (high[i], low[i], close[i]))
        .collect()
}

#[test]
fn macd_is_that_of_chinese_terminals() {
    let mut macd = Macd::new(12, 26, 9).unwrap();
    let lines: Vec<_> = column("close")
        .into_iter()
        .map(|close| macd.update(close))
        .collect();
    assert_agrees("cn_dif", lines.iter().map(|v| Some(v.dif)));
    assert_agrees("cn_dea", lines.iter().map(|v| Some(v.dea)));
    assert_agrees("cn_macd", lines.iter().map(|v| Some(v.bar)));
}

#[test]
fn kdj_agrees_from_either_start() {
    for (start, names) in [
        (KdjStart::Fifty, ["cn_k50", "cn_d50", "cn_j50"]),
        (KdjStart::FirstRsv, ["cn_k", "cn_d", "cn_j"]),
    ] {
        let mut kdj = Kdj::new(9, 3, 3, start).unwrap();
        let lines: Vec<_> = bars()
            .into_iter()
            .map(|(high, low, close)| kdj.update(high, low, close))
            .collect();
        assert_agrees(names[0], lines.iter().map(|v| Some(v.k)));
        assert_agrees(names[1], lines.iter().map(|v| Some(v.d)));
        assert_agrees(names[2], lines.iter().map(|v| Some(v.j)));
    }
}

#[test]
fn the_plain_mean_is_the_middle_of_the_bollinger_band_in_both_profiles() {
    for name in ["cn_boll", "ta_bb_mid"] {
        let mut ma = Ma::new(20).unwrap();
        assert_agrees(
            name,
            column("close").into_iter().map(|close| ma.update(close)),
        );
    }
}

#[test]
fn the_chinese_mean_gives_the_rsi_of_chinese_terminals() {
    for (n, name) in [(6, "cn_rsi6"), (12, "cn_rsi12"), (24, "cn_rsi24")] {
        let (mut gains, mut moves) = (SmaCn::new(n, 1).unwrap(), SmaCn::new(n, 1).unwrap());
        let mut last = None;
        let rsi = column("close").into_iter().map(|close| {
            let change = close - last.replace(close)?;
            Some(gains.update(change.max(0.0)) / moves.update(change.abs()) * 100.0)
        });
        assert_agrees(name, rsi);
    }
}

/// Runs an indicator over all bars, and again with its state written to JSON and read back in the middle.
fn assert_survives_a_restore<I, V>(mut indicator: I, update: impl Fn(&mut I, (f64, f64, f64)) -> V)
where
    I: Serialize + DeserializeOwned + Clone,
    V: PartialEq + std::fmt::Debug,
{
    let mut restored = indicator.clone();
    for (i, bar) in bars().into_iter().enumerate() {
        if i % 97 == 13 {
            restored = serde_json::from_str(&serde_json::to_string(&restored).unwrap()).unwrap();
        }
        assert_eq!(
            update(&mut indicator, bar),
            update(&mut restored, bar),
            "bar {i}"
        );
    }
}

#[test]
fn a_state_that_was_saved_and_restored_gives_identical_bits() {
    assert_survives_a_restore(Macd::new(12, 26, 9).unwrap(), |macd, (_, _, close)| {
        let v = macd.update(close);
        [v.dif, v.dea, v.bar].map(f64::to_bits)
    });
    assert_survives_a_restore(
        Kdj::new(9, 3, 3, KdjStart::Fifty).unwrap(),
        |kdj, (high, low, close)| {
            let v = kdj.update(high, low, close);
            [v.k, v.d, v.j].map(f64::to_bits)
        },
    );
    assert_survives_a_restore(Ma::new(20).unwrap(), |ma, (_, _, close)| {
        ma.update(close).map(f64::to_bits)
    });
    assert_survives_a_restore(Returns::new(5).unwrap(), |r, (_, _, close)| {
        r.update(close).map(f64::to_bits)
    });
    assert_survives_a_restore(Volatility::new(20).unwrap(), |v, (_, _, close)| {
        v.update(close).map(f64::to_bits)
    });
}

#[test]
fn a_late_start_drifts_less_the_longer_it_runs() {
    let all = bars();
    let last = |start: usize| {
        let (mut macd, mut kdj) = (
            Macd::new(12, 26, 9).unwrap(),
            Kdj::new(9, 3, 3, KdjStart::Fifty).unwrap(),
        );
        let mut lines = None;
        for (high, low, close) in &all[start..] {
            lines = Some((macd.update(*close), kdj.update(*high, *low, *close)));
        }
        lines.unwrap()
    };
    let full = last(0);
    let mut worst = (f64::MAX, f64::MAX);
    for length in [40, 70, 120, 250, 500] {
        let (macd, kdj) = last(all.len() - length);
        let drift = (
            (macd.dea - full.0.dea).abs() / all[all.len() - 1].2,
            (kdj.k - full.1.k).abs() / 100.0,
        );
        eprintln!(
            "started {length} bars ago: dea/close off by {:.1e}, k by {:.1e}",
            drift.0, drift.1
        );
        assert!(
            drift.0 <= worst.0 && drift.1 <= worst.1,
            "{length} bars drift more than fewer did"
        );
        // These are the warm-ups that the feature set promises.
        assert!(length < 250 || drift.0 < 1e-8, "{length}");
        assert!(length < 70 || drift.1 < 1e-8, "{length}");
        worst = drift;
    }
}
