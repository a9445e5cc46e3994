//! Twelve indicators over 5,000 symbols of 2,500 days, one thread, streaming bar by bar.
//!
//! ```text
//! HEQIS_TEST_PYTHON=path/to/python cargo bench --bench indicators [-- --rounds N --symbols N --days N]
//! ```
//!
//! The peers are the TA-Lib C library, one batch call per indicator and symbol, and pandas where the indicator takes one
//! line. They run when the Python named by `HEQIS_TEST_PYTHON` has `TA-Lib` and `pandas` from PyPI. Both sides generate
//! the same bars from the same seed and write every value into columns; the sums of the last values are compared, so that
//! both do the same work. `one pass` updates all twelve on each bar, as a node does; the rows above it replay one
//! indicator alone. Rounds alternate over all arms: read the ratios.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // A program for people at a terminal.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use heqis_quant::indicators::{
    Adx, Atr, Boll, Cci, CloseVolume, Ema, Hlc, Indicator, Ma, Macd, Obv, Profile, Returns, Rsi,
    Stoch, Volatility,
};

const SEED: u64 = 20_260_706;
const LINES: usize = 19;
const NAMES: [&str; 12] = [
    "ma20",
    "ema12",
    "macd",
    "rsi14",
    "boll20",
    "atr14",
    "adx14",
    "obv",
    "cci14",
    "stoch9",
    "return5",
    "volatility20",
];

#[derive(Clone, Copy)]
struct Day {
    high: f64,
    low: f64,
    close: f64,
    volume_shares: f64,
}

impl Day {
    fn hlc(&self) -> Hlc {
        Hlc {
            high: self.high,
            low: self.low,
            close: self.close,
        }
    }

    fn volume(&self) -> CloseVolume {
        CloseVolume {
            close: self.close,
            volume_shares: self.volume_shares,
        }
    }
}

/// Returns the random number at an index of the stream: splitmix64, which needs no state and is reproduced in numpy.
fn draw(place: u64) -> u64 {
    let mut z = SEED.wrapping_add((place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Bars of one symbol: a random walk in whole cents around 1,000, so that both sides have the same bits.
fn symbol(symbol: usize, days: usize) -> Vec<Day> {
    let mut close_cents = 100_000i64;
    (0..days)
        .map(|day| {
            let at =
                |k: u64, below: u64| (draw((symbol * days + day) as u64 * 5 + k) % below) as i64;
            let open_cents = close_cents + at(1, 61) - 30;
            close_cents += at(0, 301) - 150;
            Day {
                high: (open_cents.max(close_cents) + at(2, 80)) as f64 / 100.0,
                low: (open_cents.min(close_cents) - at(3, 80)) as f64 / 100.0,
                close: close_cents as f64 / 100.0,
                volume_shares: ((1000 + at(4, 100_000)) * 100) as f64,
            }
        })
        .collect()
}

/// The twelve indicators, in the profile of the peer.
struct Twelve {
    ma: Ma,
    ema: Ema,
    macd: Macd,
    rsi: Rsi,
    boll: Boll,
    atr: Atr,
    adx: Adx,
    obv: Obv,
    cci: Cci,
    stoch: Stoch,
    returns: Returns,
    volatility: Volatility,
}

impl Twelve {
    fn new() -> Self {
        let profile = Profile::Talib;
        Self {
            ma: Ma::new(20).unwrap(),
            ema: Ema::new(12, profile).unwrap(),
            macd: Macd::new(12, 26, 9, profile).unwrap(),
            rsi: Rsi::new(14, profile).unwrap(),
            boll: Boll::new(20, 2.0, 0).unwrap(),
            atr: Atr::new(14, profile).unwrap(),
            adx: Adx::new(14, 14, profile).unwrap(),
            obv: Obv::new(profile),
            cci: Cci::new(14).unwrap(),
            stoch: Stoch::new(9, 3, 3).unwrap(),
            returns: Returns::new(5).unwrap(),
            volatility: Volatility::new(20).unwrap(),
        }
    }
}

/// One column per line, each as long as the series; missing values are NaN, as in TA-Lib.
struct Columns(Vec<Vec<f64>>);

impl Columns {
    fn put<const N: usize>(&mut self, first: usize, day: usize, lines: Option<[f64; N]>) {
        for (k, line) in lines.unwrap_or([f64::NAN; N]).into_iter().enumerate() {
            self.0[first + k][day] = line;
        }
    }
}

/// The columns of each of [`NAMES`].
const COLUMNS: [std::ops::Range<usize>; 12] = [
    0..1,
    1..2,
    2..5,
    5..6,
    6..9,
    9..10,
    10..13,
    13..14,
    14..15,
    15..17,
    17..18,
    18..19,
];

/// Updates the indicator at an index of [`NAMES`] and writes its values. The index is a constant at every call, so the
/// match is optimised away.
#[inline(always)]
fn step(twelve: &mut Twelve, which: usize, day: &Day, i: usize, out: &mut Columns) {
    let first = COLUMNS[which].start;
    match which {
        0 => out.put(first, i, twelve.ma.update(day.close).map(|v| [v])),
        1 => out.put(first, i, twelve.ema.update(day.close).map(|v| [v])),
        2 => {
            let value = twelve.macd.update(day.close);
            out.put(first, i, value.map(|v| [v.dif, v.dea, v.bar]));
        }
        3 => out.put(first, i, twelve.rsi.update(day.close).map(|v| [v])),
        4 => {
            let value = twelve.boll.update(day.close);
            out.put(first, i, value.map(|v| [v.upper, v.middle, v.lower]));
        }
        5 => out.put(first, i, twelve.atr.update(day.hlc()).map(|v| [v])),
        6 => {
            let value = twelve.adx.update(day.hlc());
            out.put(first, i, value.map(|v| [v.adx, v.plus_di, v.minus_di]));
        }
        7 => out.put(first, i, twelve.obv.update(day.volume()).map(|v| [v])),
        8 => out.put(first, i, twelve.cci.update(day.hlc()).map(|v| [v])),
        9 => {
            let value = twelve.stoch.update(day.hlc());
            out.put(first, i, value.map(|v| [v.k, v.d]));
        }
        10 => out.put(first, i, twelve.returns.update(day.close).map(|v| [v])),
        _ => out.put(first, i, twelve.volatility.update(day.close).map(|v| [v])),
    }
}

/// Runs a function over every symbol and returns nanoseconds per bar and the sums of the last values by column.
fn measure(
    market: &[Vec<Day>],
    out: &mut Columns,
    mut run: impl FnMut(&mut Twelve, &[Day], &mut Columns),
) -> (f64, [f64; LINES]) {
    let mut sums = [0.0; LINES];
    let start = Instant::now();
    for days in market {
        run(&mut Twelve::new(), days, out);
        for (sum, column) in sums.iter_mut().zip(&out.0) {
            *sum += column.last().unwrap();
        }
    }
    let bars: usize = market.iter().map(Vec::len).sum();
    (start.elapsed().as_nanos() as f64 / bars as f64, sums)
}

fn alone<const WHICH: usize>(market: &[Vec<Day>], out: &mut Columns) -> f64 {
    let run = |twelve: &mut Twelve, days: &[Day], out: &mut Columns| {
        for (i, day) in days.iter().enumerate() {
            step(twelve, WHICH, day, i, out);
        }
    };
    measure(market, out, run).0
}

fn one_pass(market: &[Vec<Day>], out: &mut Columns) -> (f64, [f64; LINES]) {
    measure(market, out, |twelve, days, out| {
        for (i, day) in days.iter().enumerate() {
            step(twelve, 0, day, i, out);
            step(twelve, 1, day, i, out);
            step(twelve, 2, day, i, out);
            step(twelve, 3, day, i, out);
            step(twelve, 4, day, i, out);
            step(twelve, 5, day, i, out);
            step(twelve, 6, day, i, out);
            step(twelve, 7, day, i, out);
            step(twelve, 8, day, i, out);
            step(twelve, 9, day, i, out);
            step(twelve, 10, day, i, out);
            step(twelve, 11, day, i, out);
        }
    })
}

/// Results of the peers: nanoseconds per bar and the sums of the last values, by peer and indicator.
type Said = BTreeMap<(String, String), (f64, Vec<f64>)>;

/// Runs the peers once, or returns why they cannot run.
fn ask_peers(symbols: usize, days: usize) -> Result<Said, String> {
    let python = std::env::var("HEQIS_TEST_PYTHON")
        .map_err(|_| "HEQIS_TEST_PYTHON is not set".to_owned())?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/talib_bench.py");
    let output = Command::new(&python)
        .arg(script)
        .args([SEED.to_string(), symbols.to_string(), days.to_string()])
        .output()
        .map_err(|error| format!("{python}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let mut said = Said::new();
    for line in text.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(peer), Some(name), Some(ns)) = (words.next(), words.next(), words.next()) else {
            return Err(line.to_owned());
        };
        let Ok(ns) = ns.parse() else {
            return Err(line.to_owned());
        };
        let sums = words.map(|word| word.parse().unwrap()).collect();
        said.insert((peer, name), (ns, sums));
    }
    Ok(said)
}

/// Returns the peak memory of this process in MiB, where the system reports it.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, otherwise: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.map_or(otherwise, |at| arguments[at + 1].parse().unwrap())
    };
    let rounds = number("--rounds", 5);
    let (symbols, days) = (number("--symbols", 5000), number("--days", 2500));
    let market: Vec<Vec<Day>> = (0..symbols).map(|n| symbol(n, days)).collect();
    let before = peak_mib();
    let mut out = Columns(vec![vec![f64::NAN; days]; LINES]);

    type Arm = fn(&[Vec<Day>], &mut Columns) -> f64;
    let arms: [Arm; 12] = [
        alone::<0>,
        alone::<1>,
        alone::<2>,
        alone::<3>,
        alone::<4>,
        alone::<5>,
        alone::<6>,
        alone::<7>,
        alone::<8>,
        alone::<9>,
        alone::<10>,
        alone::<11>,
    ];
    let mut ours = vec![Vec::new(); NAMES.len() + 1];
    let mut theirs = BTreeMap::<(String, String), Vec<f64>>::new();
    let (mut sums, mut peer_sums, mut silence) = ([0.0; LINES], Said::new(), None);
    for _ in 0..rounds {
        for (arm, times) in arms.iter().zip(&mut ours) {
            times.push(arm(&market, &mut out));
        }
        let (ns, last) = one_pass(&market, &mut out);
        ours[NAMES.len()].push(ns);
        sums = last;
        if silence.is_none() {
            match ask_peers(symbols, days) {
                Ok(said) => {
                    for (key, (ns, _)) in &said {
                        theirs.entry(key.clone()).or_default().push(*ns);
                    }
                    peer_sums = said;
                }
                Err(why) => silence = Some(why),
            }
        }
    }

    let peer = |peer: &str, name: &str| {
        let times = theirs.get(&(peer.to_owned(), name.to_owned()))?;
        Some(median(times))
    };
    let cell = |value: Option<f64>, places: usize| {
        value.map_or("–".to_owned(), |value| format!("{value:.places$}"))
    };
    println!(
        "{symbols} symbols x {days} days, one thread, medians of {rounds} rounds, ns per bar\n"
    );
    println!(
        "| indicator | streaming | TA-Lib batch | ratio | pandas batch |\n|---|---|---|---|---|"
    );
    let mut talib_total = Some(0.0);
    for (name, times) in NAMES.iter().zip(&ours) {
        let (ns, talib) = (median(times), peer("talib", name));
        talib_total = talib_total.zip(talib).map(|(total, ns)| total + ns);
        println!(
            "| {name} | {ns:.1} | {} | {} | {} |",
            cell(talib, 1),
            cell(talib.map(|talib| ns / talib), 2),
            cell(peer("pandas", name), 1)
        );
    }
    let ns = median(&ours[NAMES.len()]);
    println!(
        "| all twelve, one pass | {ns:.1} | {} | {} | |",
        cell(talib_total, 1),
        cell(talib_total.map(|talib| ns / talib), 2)
    );
    println!("\n{:.2} million bars/s through all twelve", 1e3 / ns);
    if let (Some(before), Some(after)) = (before, peak_mib()) {
        println!(
            "peak memory {after:.0} MiB, of it {before:.0} MiB before the first update: the bars; one symbol's state {} B \
             and its windows",
            size_of::<Twelve>()
        );
    }
    if let Some(why) = silence {
        println!("peers: {}", why.trim());
        return;
    }
    for (name, columns) in NAMES.iter().zip(COLUMNS) {
        let (_, theirs) = &peer_sums[&("talib".to_owned(), (*name).to_owned())];
        let ours = &sums[columns];
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for (a, b) in ours.iter().zip(theirs) {
            let off = (a - b).abs() / b.abs().max(1.0);
            assert!(off < 1e-9, "{name}: {a} for {b}, the work is not the same");
        }
    }
    println!("the sums of the last values of all {LINES} lines agree with TA-Lib to 1e-9");
}
