//! A feed of bars of many symbols at a rate, over one connection.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use heqis_quant::Date;

/// How often bars are sent.
const TURN: Duration = Duration::from_millis(20);

/// A feed that runs until it is dropped.
pub struct Feed {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Sends a bar of each of `symbols` symbols a day, one day after the other, `rate` bars a second.
    pub fn start(port: u16, symbols: u32, rate: f64) -> Self {
        let (sent, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (count, stopped) = (sent.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("feed".into())
            .spawn(move || {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                let mut bars = Bars::new(symbols);
                let begun = Instant::now();
                while !stopped.load(Ordering::Acquire) {
                    let due = (begun.elapsed().as_secs_f64() * rate) as u64;
                    let more = due - count.load(Ordering::Acquire);
                    let text: String = (0..more).map(|_| bars.next()).collect();
                    if stream.write_all(text.as_bytes()).is_err() {
                        return;
                    }
                    count.store(due, Ordering::Release);
                    std::thread::sleep(TURN);
                }
            })
            .unwrap();
        Self {
            sent,
            stop,
            thread: Some(thread),
        }
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Prices in cents that walk by up to three in a hundred a day, within any day's limits.
struct Bars {
    closes: Vec<u64>,
    symbol: usize,
    date: Date,
    random: u64,
}

impl Bars {
    fn new(symbols: u32) -> Self {
        Self {
            closes: (0..u64::from(symbols)).map(|n| 1_000 + n).collect(),
            symbol: 0,
            date: Date::new(2015, 1, 5).unwrap(),
            random: 1,
        }
    }

    fn next(&mut self) -> String {
        if self.symbol == self.closes.len() {
            self.symbol = 0;
            self.date = next_weekday(self.date);
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let before = self.closes[self.symbol];
        // Far from both ends of what a share costs.
        let (least, most) = match before {
            ..500 => (100, 103),
            5_000.. => (97, 100),
            _ => (97, 103),
        };
        let close = before * (least + self.random % (most - least + 1)) / 100;
        self.closes[self.symbol] = close;
        let yuan = |cents: u64| format!("{}.{:02}", cents / 100, cents % 100);
        let (high, low) = (before.max(close), before.min(close));
        let mut line = String::new();
        let _ = writeln!(
            line,
            "{{\"symbol\":\"{}.SH\",\"date\":\"{}\",\"open\":{},\"high\":{},\"low\":{},\"close\":{},\"volume\":{}}}",
            600_000 + self.symbol,
            self.date,
            yuan(before),
            yuan(high),
            yuan(low),
            yuan(close),
            100_000 + self.random % 1_000_000
        );
        self.symbol += 1;
        line
    }
}

fn next_weekday(date: Date) -> Date {
    (1..)
        .map(|more| Date::from_days(date.days() + more).unwrap())
        .find(|later| !later.is_weekend())
        .unwrap()
}
