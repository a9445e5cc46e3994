//! Alpha158 over many stocks, on every core.
//!
//! `cargo bench -p heqis-factors --bench factors -- FILE STOCKS BARS [SET]` reads `tests/peers/alpha158_peer.py time`'s `bars.f64`;
//! without arguments it makes 100 stocks of 2,500 bars of its own.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::time::Instant;

use heqis_factors::{Columns, FactorSeries, FactorSet, shipped};

fn bars(arguments: &[String]) -> (Vec<[f64; 7]>, usize) {
    if let [file, stocks, bars, ..] = arguments {
        let bytes = std::fs::read(file).unwrap();
        let (numbers, rest) = bytes.as_chunks::<8>();
        assert!(rest.is_empty());
        let numbers: Vec<f64> = numbers
            .iter()
            .map(|bytes| f64::from_le_bytes(*bytes))
            .collect();
        let rows: Vec<[f64; 7]> = numbers.as_chunks::<7>().0.to_vec();
        let per_stock: usize = bars.parse().unwrap();
        assert_eq!(rows.len(), stocks.parse::<usize>().unwrap() * per_stock);
        return (rows, per_stock);
    }
    let mut close = 20.0;
    let rows = (0..250_000u32).map(|i| {
        let step = f64::from(i.wrapping_mul(2_654_435_761) >> 16) / 65_536.0 - 0.5;
        let open = close;
        close = (close * (1.0 + 0.04 * step)).clamp(1.0, 1000.0);
        let (high, low) = (open.max(close) * 1.01, open.min(close) * 0.99);
        let volume = 1e6 + 9e5 * step;
        [open, high, low, close, volume, volume * close, close]
    });
    (rows.collect(), 2_500)
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let (rows, per_stock) = bars(&arguments);
    let name = arguments.get(3).map_or("alpha158", String::as_str);
    let set = FactorSet::parse(shipped::find(name).unwrap().text, &Columns::bars()).unwrap();
    let stocks: Vec<&[[f64; 7]]> = rows.chunks(per_stock).collect();
    let threads = std::thread::available_parallelism().unwrap().get();
    for threads in [1, threads] {
        let start = Instant::now();
        let present: usize = std::thread::scope(|scope| {
            let work = |first| {
                let (set, stocks) = (&set, &stocks);
                move || {
                    let mut out = vec![0.0; set.len()];
                    let mut present = 0;
                    for stock in stocks.iter().skip(first).step_by(threads) {
                        let mut series = FactorSeries::new(set).unwrap();
                        for bar in *stock {
                            series.update(bar, &mut out).unwrap();
                            present += out.iter().filter(|value| !value.is_nan()).count();
                        }
                    }
                    present
                }
            };
            let running: Vec<_> = (0..threads).map(|first| scope.spawn(work(first))).collect();
            running
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "heqis: {} rows, {} factors ({} operations), {threads} threads, {present} values, {seconds:.2} s, {:.2} us a bar",
            rows.len(),
            set.len(),
            set.operations(),
            seconds / rows.len() as f64 * 1e6
        );
    }
}
