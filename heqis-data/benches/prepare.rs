//! Prepares a synthetic market end to end and reads it back: `cargo bench -p heqis-data --bench prepare -- [SYMBOLS DAYS
//! [THREADS]]`, by default 5,000 symbols × 2,500 days on all cores.
//!
//! Prints the wall time of each step, the size on disk and the peak memory of the process (Linux).

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its figures and stops at the first fault"
)]

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use heqis_data::prepare::reference::Tables;
use heqis_data::prepare::{self, Options};
use heqis_data::store::DataSet;
use heqis_data::store::dataset::Columns;
use heqis_data::store::manifest::{Adjust, TrainTo};
use heqis_quant::scaler::{OutOfRange, ScalerKind};
use heqis_quant::{CleanConfig, Date, FeatureSet, Symbol};

fn main() {
    let numbers: Vec<usize> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (symbols, days, threads) = (number(0, 5000), number(1, 2500), number(2, cores));

    let dir = tempfile::tempdir().unwrap();
    let (tables, out) = (dir.path().join("tables"), dir.path().join("data"));
    std::fs::create_dir(&tables).unwrap();
    let start = Instant::now();
    let bytes: usize = (0..symbols).map(|i| write_table(&tables, i, days)).sum();
    println!(
        "{symbols} symbols x {days} days = {} rows, {} MB of CSV written in {:.1} s",
        symbols * days,
        bytes / 1_000_000,
        start.elapsed().as_secs_f64()
    );

    let options = Options {
        inputs: vec![tables.clone()],
        out: out.clone(),
        features: FeatureSet::standard(),
        window_bars: 16,
        flat_band: 0.005,
        target: heqis_quant::target::Target::default(),
        train_to: TrainTo::Fraction(0.6),
        clean: CleanConfig::default(),
        adjust: Adjust::None,
        scaler: ScalerKind::MinMax,
        out_of_range: OutOfRange::Clip,
        tables: Tables::default(),
        threads,
        full: false,
        reading: Default::default(),
        max_bad_share: 0.25,
    };
    let rows = timed("prepare, from nothing", || {
        prepare::prepare(&options).unwrap()
    })
    .manifest
    .rows;
    println!("  {threads} threads, {rows:?}");
    println!("  peak memory {} MB", peak_memory_kb() / 1000);
    timed("prepare, nothing changed", || {
        prepare::prepare(&options).unwrap()
    });
    write_table(&tables, 7 % symbols, days + 1);
    let outcome = timed("prepare, one symbol has a new day", || {
        prepare::prepare(&options).unwrap()
    });
    println!("  {} computed, {} copied", outcome.computed, outcome.reused);

    let data = DataSet::open(&out).unwrap();
    let size: u64 = data.manifest().files.iter().map(|file| file.bytes).sum();
    println!(
        "  {} MB of Parquet in {} files",
        size / 1_000_000,
        data.manifest().files.len()
    );
    let years = data.manifest().files.len();
    for (what, columns) in [("bars", Columns::Bars), ("everything", Columns::All)] {
        let mut read = 0;
        timed(&format!("read {what}, one thread"), || {
            data.scan(0..years, columns, |rows| {
                read += rows.len();
                Ok(())
            })
            .unwrap();
        });
        assert_eq!(read as u64, data.manifest().rows.bars);
        timed(&format!("read {what}, two threads"), || {
            std::thread::scope(|scope| {
                for half in [0..years / 2, years / 2..years] {
                    let data = &data;
                    scope.spawn(move || data.scan(half, columns, |_| Ok(())).unwrap());
                }
            });
        });
    }
    let middle = data.manifest().symbols[symbols / 2].symbol;
    let day = data.symbol(middle, Columns::Bars).unwrap().bars()[days / 2].date;
    for columns in [Columns::Bars, Columns::All] {
        let rows = timed(&format!("read one symbol, {columns:?}"), || {
            data.symbol(middle, columns).unwrap()
        });
        println!("  {} rows", rows.len());
        let rows = timed(&format!("read one day, {columns:?}"), || {
            data.day(day, columns).unwrap()
        });
        println!("  {} rows", rows.len());
    }
}

/// Times a step: the fastest of three runs if it is quick, otherwise one run.
fn timed<T>(what: &str, mut work: impl FnMut() -> T) -> T {
    let start = Instant::now();
    let mut result = work();
    let mut best = start.elapsed();
    if best.as_millis() < 500 && !what.starts_with("prepare") {
        for _ in 0..2 {
            let start = Instant::now();
            result = work();
            best = best.min(start.elapsed());
        }
    }
    println!("{what}: {:.3} s", best.as_secs_f64());
    result
}

/// Writes one table of a random walk in cents, within the limits of its board, and returns its length.
fn write_table(dir: &Path, index: usize, days: usize) -> usize {
    let symbol = match index % 3 {
        0 => format!("{:06}.SH", 600_000 + index / 3),
        1 => format!("{:06}.SZ", 1 + index / 3),
        _ => format!("{:06}.SZ", 300_000 + index / 3),
    };
    assert!(Symbol::parse(&symbol).is_ok());
    // xorshift64*: the same table on every host.
    let mut state =
        0x9e37_79b9_7f4a_7c15u64 ^ (index as u64 + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mut random = |below: i64| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as i64 % below
    };
    let mut text = String::from("date,open,high,low,close,volume,amount\n");
    let mut close = 1000 + random(4000);
    let mut day = Date::parse("2014-01-02").unwrap().days();
    for _ in 0..days {
        let date = Date::from_days(day).unwrap();
        let spread = (close / 40).max(2);
        let open = (close + random(2 * spread + 1) - spread).max(100);
        let next = (close + random(2 * spread + 1) - spread).max(100);
        let high = open.max(next) + random(spread / 2 + 1);
        let low = (open.min(next) - random(spread / 2 + 1)).max(99);
        let volume = 100_000 + random(9_000_000);
        let price = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
        writeln!(
            text,
            "{date},{},{},{},{},{volume},{}",
            price(open),
            price(high),
            price(low),
            price(next),
            volume * next / 100
        )
        .unwrap();
        close = next;
        day += 1;
        while Date::from_days(day).unwrap().is_weekend() {
            day += 1;
        }
    }
    std::fs::write(dir.join(format!("{symbol}.csv")), &text).unwrap();
    text.len()
}

/// Returns the peak resident memory of this process, or 0 where the system does not report it.
fn peak_memory_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}
