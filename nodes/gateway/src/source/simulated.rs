//! `simulated`: makes bars of many symbols from a seed; emits [`BarMessage`]s.
//!
//! Each symbol walks in integer cents within the day's A-share limits. Counts nothing.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use heqis_actors::{BuildContext, ContentHash, Next, Snapshot, Source, StageError, duration_ns};
use heqis_messages::BarMessage;
use heqis_quant::rules::{Limits, Markets};
use heqis_quant::{Bar, Date, Marks, QuantError, Symbol};
use schemars::JsonSchema;
use serde::Deserialize;

use super::live_config::outside;

/// Parameters of a `simulated` source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulatedConfig {
    /// The same seed gives the same bars.
    pub seed: u64,
    /// Number of symbols, named 600000.SH and on.
    #[schemars(range(min = 1, max = 1000))]
    pub symbols: u32,
    /// Days per symbol.
    #[schemars(range(min = 1))]
    pub days: u32,
    /// First day; absent, 2020-01-02.
    #[serde(default)]
    pub start: Option<Date>,
    /// Bars a second over all symbols; absent, as fast as the pipeline takes them.
    #[serde(default)]
    #[schemars(range(min = 0.001))]
    pub rate_per_s: Option<f64>,
}

impl SimulatedConfig {
    fn first_day(&self) -> Result<Date, QuantError> {
        self.start.map_or_else(|| Date::new(2020, 1, 2), Ok)
    }

    /// Days from the first one to the end of the calendar.
    fn most_days(&self) -> Result<u32, QuantError> {
        let (first, last) = (self.first_day()?, Date::new(2199, 12, 31)?);
        // Both ends are weekdays, and what lies between them counts neither.
        Ok(1 + first.weekdays_until(last) + u32::from(first < last))
    }
}

/// 600000.SH and on; all of them are main board names.
const MAX_SYMBOLS: u32 = 1_000;
/// A bar in a quarter of an hour, and more than any pipeline takes: the pauses between bars stay whole nanoseconds.
const MIN_RATE_PER_S: f64 = 0.001;
const MAX_RATE_PER_S: f64 = 1e9;

/// Makes bars.
#[derive(Debug)]
pub struct Simulated {
    markets: Markets,
    walks: Vec<Walk>,
    date: Date,
    days_left: u32,
    /// The symbol whose bar is next.
    next: usize,
    every_ns: Option<i64>,
    due_ns: Option<i64>,
    cx: BuildContext,
}

#[derive(Debug)]
struct Walk {
    symbol: Symbol,
    close_cents: i64,
    random: SplitMix64,
}

/// The first day that is not complete, the days left with it, the next symbol, and of each walk the close and the random
/// state.
type Cursor = (Date, u32, usize, Vec<(i64, u64)>);

/// SplitMix64 (Steele, Lea, Flood 2014): small, seedable, the same on every machine.
#[derive(Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in -1..1, bell-shaped: the mean of four even draws, widened.
    fn bell(&mut self) -> f64 {
        let even = |bits: u64| (bits >> 11) as f64 / (1u64 << 53) as f64 - 0.5;
        (even(self.next()) + even(self.next()) + even(self.next()) + even(self.next())) / 2.0
    }
}

/// Standard deviation of a day's move is about a third of this.
const DAILY_SWING: f64 = 0.06;

impl Walk {
    fn day(&mut self, date: Date, markets: &Markets) -> Result<Bar, StageError> {
        let reference = self.close_cents;
        let (down, up) = match markets
            .limits(self.symbol, date, false, reference)
            .map_err(StageError::failed)?
        {
            Limits::Band { up, down } => (down.max(1), up),
            Limits::NoLimit => (1, reference * 2),
        };
        let mut price = |around: i64| {
            let moved = around as f64 * (1.0 + DAILY_SWING * self.random.bell());
            (moved.round() as i64).clamp(down, up)
        };
        let open = price(reference);
        let close = price(open);
        let (high, low) = (
            price(open).max(open).max(close),
            price(close).min(open).min(close),
        );
        self.close_cents = close;
        let volume_shares = (1 + self.random.next() % 100_000) as f64 * 100.0;
        let cny = |cents: i64| cents as f64 / 100.0;
        Ok(Bar {
            symbol: self.symbol,
            time_ns: date.close_time_ns(),
            date,
            open: cny(open),
            high: cny(high),
            low: cny(low),
            close: cny(close),
            pre_close: Some(cny(reference)),
            volume_shares,
            amount_cny: Some(volume_shares * cny(open + close) / 2.0),
            marks: Marks::NONE,
        })
    }
}

impl Source for Simulated {
    type Config = SimulatedConfig;
    type Out = BarMessage;
    const KIND: &'static str = "simulated";
    const ABOUT: &'static str =
        "Makes bars of many symbols from a seed, within the A-share price limits.";
    const REPLAYABLE: bool = true;

    fn check(config: &SimulatedConfig, _: &Path) -> Vec<String> {
        let mut faults = Vec::from_iter(outside("symbols", config.symbols, (1, MAX_SYMBOLS)));
        if config.days == 0 {
            faults.push("days is 0, it must be at least 1".into());
        }
        let limits = (MIN_RATE_PER_S, MAX_RATE_PER_S);
        faults.extend(
            config
                .rate_per_s
                .and_then(|rate| outside("rate_per_s", rate, limits)),
        );
        if let Some(start) = config.start.filter(|start| start.is_weekend()) {
            faults.push(format!(
                "start {start} is a weekend, it must be a trading day"
            ));
        } else {
            match config.most_days() {
                Ok(most) if config.days > most => faults.push(format!(
                    "days is {}, the calendar ends after {most}",
                    config.days
                )),
                Ok(_) => {}
                Err(error) => faults.push(error.to_string()),
            }
        }
        faults
    }

    /// Which bars are made, and not how fast.
    fn identity(config: &SimulatedConfig, _: &Path) -> Result<Option<u64>, StageError> {
        let SimulatedConfig {
            seed,
            symbols,
            days,
            start,
            rate_per_s: _,
        } = config;
        let mut hash = ContentHash::default();
        let _ = write!(hash, "{seed} {symbols} {days} {start:?}");
        Ok(Some(hash.value()))
    }

    fn build(config: &SimulatedConfig, cx: &BuildContext) -> Result<Self, StageError> {
        // Refuses the same where nothing was checked before, as in a test.
        let faults = Self::check(config, Path::new(""));
        if !faults.is_empty() {
            return Err(StageError::Config(faults.join("; ")));
        }
        let mut seeds = SplitMix64(config.seed);
        let walks = (0..config.symbols)
            .map(|index| {
                let symbol = Symbol::parse(&format!("{}.SH", 600_000 + index))
                    .map_err(StageError::config)?;
                let mut random = SplitMix64(seeds.next());
                let close_cents = 500 + (random.next() % 4_500) as i64;
                Ok(Walk {
                    symbol,
                    close_cents,
                    random,
                })
            })
            .collect::<Result<_, StageError>>()?;
        Ok(Self {
            markets: Markets::shipped().map_err(StageError::config)?,
            walks,
            date: config.first_day().map_err(StageError::config)?,
            days_left: config.days,
            next: 0,
            every_ns: config
                .rate_per_s
                .map(|rate| duration_ns(Duration::from_secs_f64(1.0 / rate)).max(1)),
            due_ns: None,
            cx: cx.clone(),
        })
    }

    fn next(&mut self) -> Result<Next<BarMessage>, StageError> {
        if self.days_left == 0 {
            return Ok(Next::End);
        }
        if self.cx.is_replaying() {
            // What is known already is not waited for.
            self.due_ns = None;
        } else if let Some(every_ns) = self.every_ns {
            let now_ns = self.cx.clock().now_ns();
            let due_ns = *self.due_ns.get_or_insert(now_ns);
            if now_ns < due_ns {
                return Ok(Next::At(due_ns));
            }
            self.due_ns = Some(due_ns.saturating_add(every_ns));
        }
        let bar = self.walks[self.next].day(self.date, &self.markets)?;
        self.next += 1;
        if self.next == self.walks.len() {
            self.next = 0;
            self.days_left -= 1;
            // The last day may be the last one of the calendar.
            if self.days_left > 0 {
                self.date = next_weekday(self.date)?;
            }
        }
        Ok(Next::Item(BarMessage(bar)))
    }

    fn cursor(&self) -> Option<Vec<u8>> {
        let walks = self.walks.iter();
        let walks = walks.map(|walk| (walk.close_cents, walk.random.0));
        let cursor: Cursor = (self.date, self.days_left, self.next, walks.collect());
        match Snapshot::of(&cursor) {
            Snapshot::State(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn seek(&mut self, _: u64, cursor: Option<&[u8]>) -> Result<bool, StageError> {
        let cursor = cursor.and_then(|bytes| Snapshot::read::<Cursor>(bytes).ok());
        let is_own =
            |(_, _, next, walks): &Cursor| walks.len() == self.walks.len() && *next < walks.len();
        let Some((date, days_left, next, walks)) = cursor.filter(is_own) else {
            return Ok(false);
        };
        (self.date, self.days_left, self.next) = (date, days_left, next);
        for (walk, (close_cents, random)) in self.walks.iter_mut().zip(walks) {
            (walk.close_cents, walk.random) = (close_cents, SplitMix64(random));
        }
        Ok(true)
    }
}

fn next_weekday(date: Date) -> Result<Date, StageError> {
    let mut next = date;
    loop {
        next = Date::from_days(next.days() + 1)
            .ok_or_else(|| StageError::failed("the calendar ends"))?;
        if !next.is_weekend() {
            return Ok(next);
        }
    }
}
