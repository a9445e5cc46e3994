//! Small synthetic markets for the tests of data sets.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use heqis_data::prepare::Options;
use heqis_data::prepare::reference::Tables;
use heqis_data::store::manifest::{Adjust, TrainTo};
use heqis_quant::scaler::{OutOfRange, ScalerKind};
use heqis_quant::{CleanConfig, Date, FeatureSet};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub(crate) const HEADER: &str = "date,open,high,low,close,volume\n";

/// Returns the symbol of a table, alternating between the main boards of both exchanges.
pub(crate) fn symbol(index: usize) -> String {
    match index % 2 {
        0 => format!("{:06}.SH", 600_000 + index),
        _ => format!("{:06}.SZ", 1 + index),
    }
}

/// Returns a random walk in cents on weekdays from 2015-01-05, determined by the index and within the price limits.
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

/// Returns options with features of a short warm-up, so that a short series has rows.
pub(crate) fn options(inputs: &[&Path], out: &Path) -> Options {
    Options {
        inputs: inputs.iter().map(|path| path.to_path_buf()).collect(),
        out: out.to_owned(),
        features: FeatureSet::parse(&["return_1", "volatility_5", "ma_ratio_5", "range_ratio"])
            .unwrap(),
        window_bars: 4,
        flat_band: 0.005,
        target: heqis_quant::target::Target::default(),
        train_to: TrainTo::Date(Date::parse("2015-12-31").unwrap()),
        clean: CleanConfig::default(),
        adjust: Adjust::None,
        scaler: ScalerKind::MinMax,
        out_of_range: OutOfRange::Clip,
        tables: Tables::default(),
        threads: 2,
        full: false,
        reading: Default::default(),
        max_bad_share: 0.25,
    }
}

/// Returns every file below a directory except the lock, with its bytes, by relative path.
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

/// Prepares a data set from the closes of symbols in cents, with a bar on each weekday.
pub(crate) fn prepared(root: &Path, series: &[Vec<i64>]) -> PathBuf {
    let tables = root.join("tables");
    std::fs::create_dir_all(&tables).unwrap();
    for (index, closes) in series.iter().enumerate() {
        let mut table = HEADER.to_owned();
        let mut day = Date::parse("2010-01-04").unwrap();
        let mut open = closes[0];
        let price = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
        for close in closes {
            let (high, low) = (open.max(*close), open.min(*close));
            let [open_text, high, low, close_text] = [open, high, low, *close].map(price);
            writeln!(table, "{day},{open_text},{high},{low},{close_text},100000").unwrap();
            open = *close;
            loop {
                day = Date::from_days(day.days() + 1).unwrap();
                if !day.is_weekend() {
                    break;
                }
            }
        }
        let path = tables.join(format!("{}.csv", symbol(index)));
        std::fs::write(path, table).unwrap();
    }
    let out = root.join("set");
    let options = Options {
        features: FeatureSet::parse(&["return_1", "return_5", "range_ratio"]).unwrap(),
        train_to: TrainTo::Fraction(0.6),
        ..options(&[&tables], &out)
    };
    heqis_data::prepare::prepare(&options).unwrap();
    out
}

/// Returns closes with moves of about one per cent, whose signs `sign` computes from the two signs before.
pub(crate) fn closes(
    bars: usize,
    seed: u64,
    sign: impl Fn(&mut ChaCha8Rng, [bool; 2]) -> bool,
) -> Vec<i64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut closes, mut before) = (vec![5_000i64], [true, false]);
    for _ in 1..bars {
        let up = sign(&mut rng, before);
        before = [before[1], up];
        let size = 0.008 + 0.008 * f64::from(rng.next_u32()) / f64::from(u32::MAX);
        let last = closes[closes.len() - 1] as f64;
        let next = if up {
            last * (1.0 + size)
        } else {
            last / (1.0 + size)
        };
        closes.push(next.round() as i64);
    }
    closes
}
