//! Small synthetic markets for the tests of data sets.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use heqis_lab::prepare::Options;
use heqis_lab::prepare::known::Tables;
use heqis_lab::store::manifest::{Adjust, TrainTo};
use heqis_quant::scaler::{OutOfRange, ScalerKind};
use heqis_quant::{CleanConfig, Date, FeatureSet};

pub(crate) const HEADER: &str = "date,open,high,low,close,volume\n";

/// The symbol of one table: main boards of both exchanges by turns.
pub(crate) fn symbol(index: usize) -> String {
    match index % 2 {
        0 => format!("{:06}.SH", 600_000 + index),
        _ => format!("{:06}.SZ", 1 + index),
    }
}

/// A random walk in cents on weekdays from 2015-01-05, the same for the same index, within the limits of the boards.
pub(crate) fn rows(index: usize, days: usize) -> Vec<String> {
    let mut state =
        0x9e37_79b9_7f4a_7c15u64 ^ (index as u64 + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mut random = |below: i64| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as i64 % below
    };
    let mut close = 1000 + random(3000);
    let mut day = Date::parse("2015-01-05").unwrap().days();
    (0..days)
        .map(|_| {
            let date = Date::from_days(day).unwrap();
            day += match (day + 1).rem_euclid(7) {
                2 => 3,
                _ => 1,
            };
            let spread = (close / 40).max(2);
            let open = (close + random(2 * spread + 1) - spread).max(500);
            let next = (close + random(2 * spread + 1) - spread).max(500);
            let high = open.max(next) + random(spread / 2 + 1);
            let low = open.min(next) - random(spread / 2 + 1);
            close = next;
            let price = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
            let mut row = String::new();
            write!(
                row,
                "{date},{},{},{},{},{}",
                price(open),
                price(high),
                price(low),
                price(next),
                100_000 + random(9_000_000)
            )
            .unwrap();
            row
        })
        .collect()
}

/// Writes the table of one symbol.
pub(crate) fn write_table(dir: &Path, index: usize, rows: &[String]) -> PathBuf {
    let path = dir.join(format!("{}.csv", symbol(index)));
    std::fs::write(&path, format!("{HEADER}{}\n", rows.join("\n"))).unwrap();
    path
}

/// Options with small features, so that a short series has rows.
pub(crate) fn options(inputs: &[&Path], out: &Path) -> Options {
    Options {
        inputs: inputs.iter().map(|path| path.to_path_buf()).collect(),
        out: out.to_owned(),
        features: FeatureSet::parse(&["return_1", "volatility_5", "ma_ratio_5", "range_ratio"])
            .unwrap(),
        window_bars: 4,
        flat_band: 0.005,
        train_to: TrainTo::Date(Date::parse("2015-12-31").unwrap()),
        clean: CleanConfig::default(),
        adjust: Adjust::None,
        scaler: ScalerKind::MinMax,
        out_of_range: OutOfRange::Clip,
        tables: Tables::default(),
        threads: 2,
        full: false,
    }
}

/// Every file below a directory with its bytes, by its path in it; the lock is left out.
pub(crate) fn files(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut found, mut open) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if !path.ends_with("lock") {
                let inside = path.strip_prefix(root).unwrap().to_owned();
                found.push((inside, std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}
