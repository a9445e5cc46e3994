//! `csv-replay`: replays CSV files, merged by time; emits [`BarMessage`]s.
//!
//! Counts `bad_row` for rows that cannot be read; each is logged with file, line, column, rule and value.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use heqis_actors::{BuildContext, Clock, Counter, Next, Source, StageError};
use heqis_messages::BarMessage;
use heqis_quant::{Bar, BarReader, Date, Symbol};
use schemars::JsonSchema;
use serde::Deserialize;

use super::LogLimit;

/// How fast bars are replayed: `"max"`, or a multiple of real time such as `86400.0` for a day a second.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Speed {
    /// As fast as the pipeline takes them.
    Max(Max),
    /// So many times as fast as the bars' own time stamps.
    Multiple(f64),
}

/// The word `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Max {
    /// As fast as the pipeline takes them.
    Max,
}

/// Parameters of a `csv-replay` source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CsvReplayConfig {
    /// The files, each in order of time; Tushare, Yahoo and similar headers are recognised. A file without a symbol
    /// column is taken to hold the symbol that it is named after, such as `002032.SZ.csv`.
    #[schemars(length(min = 1))]
    pub paths: Vec<PathBuf>,
    /// How fast.
    #[serde(default = "max")]
    pub speed: Speed,
    /// First day to replay.
    #[serde(default)]
    pub from: Option<Date>,
    /// Last day to replay.
    #[serde(default)]
    pub to: Option<Date>,
}

fn max() -> Speed {
    Speed::Max(Max::Max)
}

/// Replays CSV files.
pub struct CsvReplay {
    files: Vec<Replayed>,
    clock: Clock,
    /// Nanoseconds of bar time per nanosecond of the clock; `None` does not wait.
    speed: Option<f64>,
    /// Clock and bar time of the first bar.
    start_ns: Option<(i64, i64)>,
}

struct Replayed {
    bars: Box<dyn Iterator<Item = Bar>>,
    next: Option<Bar>,
}

fn open(path: &Path) -> Result<BarReader<BufReader<File>>, String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let symbol = path.file_stem().and_then(|stem| Symbol::parse(&stem.to_string_lossy()).ok());
    BarReader::new(BufReader::new(file), symbol, path.display().to_string()).map_err(|error| error.to_string())
}

impl CsvReplay {
    /// The file whose next bar is due first: by time, then by symbol, then by the order of the files.
    fn first(&self) -> Option<usize> {
        (0..self.files.len())
            .filter_map(|index| Some((self.files[index].next.as_ref()?, index)))
            .min_by_key(|(bar, index)| (bar.time_ns, bar.symbol, *index))
            .map(|(_, index)| index)
    }
}

impl Source for CsvReplay {
    type Config = CsvReplayConfig;
    type Out = BarMessage;
    const KIND: &'static str = "csv-replay";
    const ABOUT: &'static str = "Replays bars from CSV files, merged by time.";
    const REPLAYABLE: bool = true;

    fn check(config: &CsvReplayConfig, base: &Path) -> Vec<String> {
        let mut faults: Vec<String> =
            config.paths.iter().filter_map(|path| open(&base.join(path)).err()).collect();
        if let Speed::Multiple(speed) = config.speed
            && !(speed.is_finite() && speed > 0.0)
        {
            faults.push(format!("speed is {speed}, it must be above 0"));
        }
        if let (Some(from), Some(to)) = (config.from, config.to)
            && from > to
        {
            faults.push(format!("from {from} is after to {to}"));
        }
        faults
    }

    fn build(config: &CsvReplayConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let mut files = Vec::new();
        for path in &config.paths {
            let reader = open(&cx.path(path)).map_err(StageError::Config)?;
            let (from, to) = (config.from, config.to);
            let bad_rows = BadRows { counter: cx.counter("bad_row"), log: LogLimit::new(), stage: cx.stage().to_owned() };
            let mut bars = bad_rows
                .filter(reader)
                .filter(move |bar| from.is_none_or(|from| bar.date >= from) && to.is_none_or(|to| bar.date <= to));
            let next = bars.next();
            files.push(Replayed { bars: Box::new(bars), next });
        }
        let speed = match config.speed {
            Speed::Max(Max::Max) => None,
            Speed::Multiple(speed) => Some(speed),
        };
        Ok(Self { files, clock: cx.clock().clone(), speed, start_ns: None })
    }

    fn next(&mut self) -> Result<Next<BarMessage>, StageError> {
        let Some(index) = self.first() else { return Ok(Next::End) };
        let file = &mut self.files[index];
        if let Some(speed) = self.speed
            && let Some(bar) = &file.next
        {
            let now_ns = self.clock.now_ns();
            let (start_ns, first_ns) = *self.start_ns.get_or_insert((now_ns, bar.time_ns));
            // Rounding by a fraction of a nanosecond per day does not matter for pacing.
            let due_ns = start_ns + ((bar.time_ns - first_ns) as f64 / speed) as i64;
            if now_ns < due_ns {
                return Ok(Next::At(due_ns));
            }
        }
        let following = file.bars.next();
        Ok(match std::mem::replace(&mut file.next, following) {
            Some(bar) => Next::Item(BarMessage(bar)),
            None => Next::End,
        })
    }
}

/// Counts and logs the rows that are no bars.
struct BadRows {
    counter: Counter,
    log: LogLimit,
    stage: String,
}

impl BadRows {
    fn filter<E: std::fmt::Display>(
        mut self,
        rows: impl Iterator<Item = Result<Bar, E>> + 'static,
    ) -> impl Iterator<Item = Bar> {
        rows.filter_map(move |row| {
            row.map_err(|error| {
                self.counter.inc();
                if self.log.admit() {
                    tracing::warn!(stage = %self.stage, %error, "bad row");
                }
            })
            .ok()
        })
    }
}
