//! Trades synthetic history with full rules and fees: `cargo bench -p heqis-lab --bench backtest -- [SYMBOLS DAYS
//! [ROUNDS]]`, by default 500 symbols × 2,500 days and 5 rounds; at most 5,000 symbols.
//!
//! The model is trivial, so that the simulator dominates the time: a close above the mean of the last 20 closes is bought,
//! one below is sold. Every round visits each arm in turn: an account for each stock on one thread and on two, and one
//! account over all stocks. Prints the median time of each arm, bars per second, and the peak memory of the process (Linux).
//! `benches/backtest_peers.py` trades similar prices with other simulators.
//!
//! `-- --end-to-end [SYMBOLS DAYS]` writes such bars (one CSV file each) and the model's predictions (one CSV file) into a
//! temporary directory, and measures the command `heqis-lab backtest --portfolio --no-pages` on them as a separate process,
//! including reading and writing: wall time, processor time and peak memory (Linux).

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its figures and stops at the first fault"
)]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use heqis_backtest::broker::{Ledger, Slippage};
use heqis_backtest::market::DayBar;
use heqis_backtest::{
    Allocation, BrokerConfig, InstrumentInfo, MarketHistory, OrderIntent, Stock, simulate,
};
use heqis_quant::decision::Side;
use heqis_quant::{Bar, Calendar, Date, Markets, Marks, Symbol};

/// Bars of the mean.
const MEAN: usize = 20;

fn main() {
    let numbers: Vec<usize> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    let (symbols, days, rounds) = (number(0, 500), number(1, 2_500), number(2, 5));
    let end_to_end = std::env::args().any(|arg| arg == "--end-to-end");

    let dates: Vec<Date> = (Date::new(2014, 1, 1).unwrap().days()..)
        .filter_map(Date::from_days)
        .filter(|date| !date.is_weekend())
        .take(days)
        .collect();
    let calendar = Calendar::new(dates).unwrap();
    if end_to_end {
        return command(symbols, &calendar);
    }
    let stocks: Vec<Stock> = (0..symbols).map(|i| stock(i, &calendar)).collect();
    let alone: Vec<MarketHistory> = stocks
        .iter()
        .map(|stock| MarketHistory::new(calendar.clone(), vec![stock.clone()]).unwrap())
        .collect();
    let together = MarketHistory::new(calendar, stocks).unwrap();
    let bars: usize = alone
        .iter()
        .map(|market| market.stocks()[0].bars().len())
        .sum();
    println!("{symbols} symbols x {days} days = {bars} bars");

    let book = Markets::shipped().unwrap();
    let arms: [(&str, &dyn Fn() -> [usize; 2]); 3] = [
        ("an account for each stock, one thread", &|| {
            accounts(&alone, &book, 1)
        }),
        ("an account for each stock, two threads", &|| {
            accounts(&alone, &book, 2)
        }),
        ("one account of ten stocks, one thread", &|| {
            let intents = intents(&together);
            let bounds = Allocation {
                max_positions: 10,
                ..Allocation::default()
            };
            count(&simulate(&together, &book, &intents, config(), &bounds).unwrap())
        }),
    ];
    let mut times = vec![Vec::new(); arms.len()];
    let mut done = vec![[0; 2]; arms.len()];
    let mut busy = vec![0.0; arms.len()];
    for _ in 0..rounds {
        for (at, (_, arm)) in arms.iter().enumerate() {
            let (start, before) = (Instant::now(), processor_seconds(11));
            done[at] = arm();
            times[at].push(start.elapsed().as_secs_f64());
            busy[at] += processor_seconds(11) - before;
        }
    }
    for (at, (name, _)) in arms.iter().enumerate() {
        let (times, [orders, fills]) = (&mut times[at], done[at]);
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        println!(
            "{name}: {median:.3} s (best {:.3}), {:.2} million bars/s, {:.2} million bars per processor second, \
             {orders} orders, {fills} fills",
            times[0],
            bars as f64 / median / 1e6,
            (bars * rounds) as f64 / busy[at].max(0.01) / 1e6,
        );
    }
    println!("peak memory {} MB", peak_memory_kb("self") / 1000);
}

/// Writes the inputs of the command, runs it, and prints time and memory.
fn command(symbols: usize, calendar: &Calendar) {
    let work = tempfile::tempdir().unwrap();
    let dir = |name: &str| work.path().join(name);
    std::fs::create_dir(dir("bars")).unwrap();
    let mut table = BufWriter::new(File::create(dir("mean.csv")).unwrap());
    writeln!(table, "symbol,date,predicted_return,p_down,p_flat,p_up").unwrap();
    let mut count = 0;
    for index in 0..symbols {
        let bars = bars(index, calendar);
        let path = dir("bars").join(format!("{}.csv", bars[0].symbol));
        let mut file = BufWriter::new(File::create(path).unwrap());
        writeln!(file, "date,open,high,low,close,pre_close,volume").unwrap();
        for bar in &bars {
            let prices = [bar.open, bar.high, bar.low, bar.close];
            let [open, high, low, close] = prices.map(|price| format!("{price:.2}"));
            let (date, before, volume) = (bar.date, bar.pre_close.unwrap(), bar.volume_shares);
            writeln!(
                file,
                "{date},{open},{high},{low},{close},{before:.2},{volume}"
            )
            .unwrap();
        }
        file.flush().unwrap();
        count += bars.len();
        for window in bars.windows(MEAN) {
            let last = &window[MEAN - 1];
            let mean = window.iter().map(|bar| bar.close).sum::<f64>() / MEAN as f64;
            let expected = last.close / mean - 1.0;
            let odds = match expected > 0.0 {
                true => "0.2,0.2,0.6",
                false => "0.6,0.2,0.2",
            };
            writeln!(table, "{},{},{expected:.6},{odds}", last.symbol, last.date).unwrap();
        }
    }
    table.flush().unwrap();
    println!(
        "{symbols} symbols x {} days = {count} bars",
        calendar.days().len()
    );

    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_heqis-lab"))
        .args(["backtest", "--portfolio", "--no-pages"])
        .arg(dir("bars"))
        .arg("--strategy")
        .arg(dir("mean.csv"))
        .arg("--out")
        .arg(dir("out"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    let status = loop {
        peak = peak.max(peak_memory_kb(&child.id().to_string()));
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    assert!(status.success(), "the command failed");
    let seconds = start.elapsed().as_secs_f64();
    // Of children that were waited for.
    let busy = processor_seconds(13);
    println!(
        "heqis-lab backtest --portfolio: {seconds:.1} s, {busy:.1} processor seconds, {:.2} million bars/s, peak memory {} MB, \
         {:.0} bytes a bar",
        count as f64 / seconds / 1e6,
        peak * 1024 / 1_000_000,
        (peak * 1024) as f64 / count as f64,
    );
}

fn config() -> BrokerConfig {
    BrokerConfig {
        slippage: Slippage::Rate(5),
        ..BrokerConfig::default()
    }
}

fn count(ledger: &Ledger) -> [usize; 2] {
    [ledger.orders.len(), ledger.fills.len()]
}

/// Trades each market separately: decisions, orders, fills and the daily account.
fn accounts(markets: &[MarketHistory], book: &Markets, threads: usize) -> [usize; 2] {
    let part = markets.len().div_ceil(threads);
    let trade = |markets: &[MarketHistory]| {
        let mut sum = [0; 2];
        for market in markets {
            let all = Allocation::default();
            let ledger = simulate(market, book, &intents(market), config(), &all).unwrap();
            let [orders, fills] = count(&ledger);
            sum = [sum[0] + orders, sum[1] + fills];
        }
        sum
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = markets
            .chunks(part)
            .map(|markets| scope.spawn(move || trade(markets)))
            .collect();
        parts.into_iter().fold([0; 2], |sum, part| {
            let [orders, fills] = part.join().unwrap();
            [sum[0] + orders, sum[1] + fills]
        })
    })
}

/// The side that the trivial model chooses at each bar, in the order of days.
fn intents(market: &MarketHistory) -> Vec<OrderIntent> {
    let mut intents: Vec<OrderIntent> = Vec::new();
    for (stock, history) in market.stocks().iter().enumerate() {
        let mut held = false;
        let mut sum = 0;
        for (at, bar) in history.bars().iter().enumerate() {
            sum += bar.close;
            if at >= MEAN {
                sum -= history.bars()[at - MEAN].close;
            }
            if at + 1 < MEAN {
                continue;
            }
            let above = bar.close * MEAN as i64 > sum;
            if above != held {
                held = above;
                intents.push(intent(bar, stock, above, sum));
            }
        }
    }
    if market.stocks().len() > 1 {
        intents.sort_by_key(|intent| (intent.step, intent.stock));
    }
    intents
}

fn intent(bar: &DayBar, stock: usize, above: bool, sum: i64) -> OrderIntent {
    OrderIntent {
        step: bar.step,
        stock,
        side: if above { Side::Buy } else { Side::Sell },
        score: bar.close as f64 * MEAN as f64 / sum as f64 - 1.0,
    }
}

/// A random walk in cents within ten percent a day; two bars in a hundred open at a limit, and one in a hundred is missing.
/// The same on every host.
fn bars(index: usize, calendar: &Calendar) -> Vec<Bar> {
    // Each board has a thousand codes.
    let (board, exchange) = [
        (600, "SH"),
        (601, "SH"),
        (603, "SH"),
        (605, "SH"),
        (2, "SZ"),
    ][index / 1_000];
    let symbol = format!("{board:03}{:03}.{exchange}", index % 1_000);
    let symbol = Symbol::parse(&symbol).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (index as u64 + 1);
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let mut close = 1_000 + next(4_000) as i64;
    let mut bars = Vec::with_capacity(calendar.days().len());
    for date in calendar.days() {
        let (up, down) = ((close * 110 + 50) / 100, (close * 90 + 50) / 100);
        let dice = next(100);
        let step = |draw: u64| close * (draw as i64 - 300) / 10_000;
        let mut open = (close + step(next(601))).clamp(down, up);
        match dice {
            0 => open = up,
            1 => open = down,
            _ => {}
        }
        let last = (close + step(next(601))).clamp(down, up).max(200);
        let volume = 100_000 + next(1_000_000);
        if dice != 2 {
            let price = |cents: i64| cents as f64 / 100.0;
            bars.push(Bar {
                symbol,
                time_ns: date.close_time_ns(),
                date: *date,
                open: price(open),
                high: price(open.max(last)),
                low: price(open.min(last)),
                close: price(last),
                pre_close: Some(price(close)),
                volume_shares: volume as f64,
                amount_cny: None,
                marks: Marks::NONE,
            });
            close = last;
        }
    }
    bars
}

fn stock(index: usize, calendar: &Calendar) -> Stock {
    let bars = bars(index, calendar);
    Stock::new(bars[0].symbol, &bars, InstrumentInfo::default(), calendar).unwrap()
}

/// Returns user and system time in hundredths, from a field of `/proc/self/stat` after the name, or 0 where the system
/// does not report it: from the 11th on those of all threads of this process, from the 13th on those of its children.
fn processor_seconds(from: usize) -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in brackets may hold spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(from).take(2);
    ticks
        .filter_map(|field| field.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

/// Returns the peak resident memory of a process, or 0 where the system does not report it.
fn peak_memory_kb(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kb| kb.parse().ok())
        .unwrap_or(0)
}
