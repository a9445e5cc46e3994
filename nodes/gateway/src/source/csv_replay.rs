//! `csv-replay`: replays CSV files, merged by time; emits [`BarMessage`]s.
//!
//! Counts `bad_row` for rows that are no bars, of these `bad_row_syntax` (number of cells) and `bad_row_value`; the first
//! of each are logged with file, line, column, rule and value. A file that cannot be read on fails the source.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use heqis_actors::{BuildContext, Clock, Next, Source, StageError};
use heqis_messages::BarMessage;
use heqis_quant::{Bar, BarReader, Date, QuantError, Symbol};
use schemars::JsonSchema;
use serde::Deserialize;

use super::bad_input::BadInput;

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
    days: Days,
    bad_rows: BadInput,
    clock: Clock,
    /// Nanoseconds of bar time per nanosecond of the clock; `None` does not wait.
    speed: Option<f64>,
    /// Clock and bar time of the first bar.
    start_ns: Option<(i64, i64)>,
}

/// Rows of a file; the reader has a buffer of its own.
type Rows = BarReader<Box<dyn Read>>;

/// One file while it is replayed.
struct Replayed {
    rows: Rows,
    /// The bar that is due, or why there is none although the file has not ended.
    next: Option<Result<Bar, StageError>>,
}

/// The days to replay.
#[derive(Clone, Copy)]
struct Days {
    from: Option<Date>,
    to: Option<Date>,
}

impl Days {
    fn contain(self, date: Date) -> bool {
        self.from.is_none_or(|from| date >= from) && self.to.is_none_or(|to| date <= to)
    }
}

fn open(path: &Path) -> Result<Rows, String> {
    let file: Box<dyn Read> =
        Box::new(File::open(path).map_err(|error| format!("{}: {error}", path.display()))?);
    let symbol = path
        .file_stem()
        .and_then(|stem| Symbol::parse(&stem.to_string_lossy()).ok());
    BarReader::new(file, symbol, path.display().to_string()).map_err(|error| error.to_string())
}

/// What is wrong with a file, as far as its beginning shows. Vendors like to give the newest bar first; replayed so, all
/// but the first would be rejected for coming too late.
fn fault(path: &Path) -> Option<String> {
    let mut bars = match open(path) {
        Ok(rows) => rows.filter_map(Result::ok).take(2),
        Err(fault) => return Some(fault),
    };
    match (bars.next(), bars.next()) {
        (None, _) => Some(format!("{}: no row is a bar", path.display())),
        (Some(first), Some(second))
            if first.symbol == second.symbol && first.time_ns > second.time_ns =>
        {
            Some(format!(
                "{}: {} stands before {}, the oldest bar must come first",
                path.display(),
                first.date,
                second.date
            ))
        }
        _ => None,
    }
}

impl CsvReplayConfig {
    /// What is wrong with the parameters, whatever the files hold.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.paths.is_empty() {
            faults.push("paths is empty, it must name at least one file".into());
        }
        if let Speed::Multiple(speed) = self.speed
            && !(speed.is_finite() && speed > 0.0)
        {
            faults.push(format!("speed is {speed}, it must be above 0"));
        }
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from > to
        {
            faults.push(format!("from {from} is after to {to}"));
        }
        faults
    }
}

impl Replayed {
    /// Reads on to the next bar of `days`. Bad rows are counted; a file that cannot be read on is a failure, since the
    /// rest of it would be missing.
    fn read(&mut self, days: Days, bad_rows: &mut BadInput) -> Option<Result<Bar, StageError>> {
        loop {
            match self.rows.next()? {
                Ok(bar) if days.contain(bar.date) => return Some(Ok(bar)),
                Ok(_) => {}
                Err(error @ QuantError::Io { .. }) => return Some(Err(StageError::failed(error))),
                Err(error) => bad_rows.take((&error).into(), &error),
            }
        }
    }
}

impl CsvReplay {
    /// The file whose next bar is due first: by time, then by symbol, then by the order of the files. A failure is due
    /// at once.
    fn first(&self) -> Option<usize> {
        let due = |(index, file): (usize, &Replayed)| {
            let key = file
                .next
                .as_ref()?
                .as_ref()
                .map_or((i64::MIN, None), |bar| (bar.time_ns, Some(bar.symbol)));
            Some((key, index))
        };
        self.files
            .iter()
            .enumerate()
            .filter_map(due)
            .min()
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
        let mut faults = Vec::new();
        let mut seen = HashSet::new();
        for path in &config.paths {
            let path = base.join(path);
            // Two spellings of one file are one file; one that is not there has a fault of its own.
            if !seen.insert(fs::canonicalize(&path).unwrap_or_else(|_| path.clone())) {
                faults.push(format!("paths names {} twice", path.display()));
            } else {
                faults.extend(fault(&path));
            }
        }
        faults.extend(config.faults());
        faults
    }

    fn build(config: &CsvReplayConfig, cx: &BuildContext) -> Result<Self, StageError> {
        // A graph built by hand has not asked.
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(StageError::Config(faults.join("; ")));
        }
        let mut bad_rows = BadInput::new(cx, "bad_row");
        let days = Days {
            from: config.from,
            to: config.to,
        };
        let mut files = Vec::new();
        for path in &config.paths {
            let rows = open(&cx.path(path)).map_err(StageError::Config)?;
            let mut file = Replayed { rows, next: None };
            file.next = file.read(days, &mut bad_rows);
            files.push(file);
        }
        let speed = match config.speed {
            Speed::Max(Max::Max) => None,
            Speed::Multiple(speed) => Some(speed),
        };
        Ok(Self {
            files,
            days,
            bad_rows,
            clock: cx.clock().clone(),
            speed,
            start_ns: None,
        })
    }

    fn next(&mut self) -> Result<Next<BarMessage>, StageError> {
        let Some(index) = self.first() else {
            return Ok(Next::End);
        };
        let file = &mut self.files[index];
        if let Some(speed) = self.speed
            && let Some(Ok(bar)) = &file.next
        {
            let now_ns = self.clock.now_ns();
            let (start_ns, first_ns) = *self.start_ns.get_or_insert((now_ns, bar.time_ns));
            // Rounding by a fraction of a nanosecond per day does not matter for pacing.
            let due_ns = start_ns
                .saturating_add((bar.time_ns.saturating_sub(first_ns) as f64 / speed) as i64);
            if now_ns < due_ns {
                return Ok(Next::At(due_ns));
            }
        }
        let following = file.read(self.days, &mut self.bad_rows);
        match std::mem::replace(&mut file.next, following) {
            Some(Ok(bar)) => Ok(Next::Item(BarMessage(bar))),
            Some(Err(error)) => Err(error),
            None => Ok(Next::End),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io;

    use super::*;

    /// A disk that breaks.
    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk broke"))
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_on_fails_the_source_after_the_bars_before_it() {
        let text: &[u8] =
            b"date,open,high,low,close,volume\n2015-06-01,1,1,1,1,100\n2015-06-02,1,1,1,1,100\n";
        let symbol = Symbol::parse("600000.SH").unwrap();
        let file: Box<dyn Read> = Box::new(text.chain(Broken));
        let rows = BarReader::new(file, Some(symbol), "broken.csv").unwrap();
        let cx = BuildContext::detached("market", "", Clock::virtual_at(0));
        let mut source = CsvReplay {
            files: vec![Replayed { rows, next: None }],
            days: Days {
                from: None,
                to: None,
            },
            bad_rows: BadInput::new(&cx, "bad_row"),
            clock: cx.clock().clone(),
            speed: None,
            start_ns: None,
        };
        source.files[0].next = source.files[0].read(source.days, &mut source.bad_rows);
        let mut given = 0;
        let failure = loop {
            match source.next() {
                Ok(Next::Item(_)) => given += 1,
                Ok(other) => panic!("{other:?}"),
                Err(error) => break error,
            }
        };
        assert_eq!(given, 2);
        assert_eq!(
            failure,
            StageError::failed("broken.csv: reading failed: the disk broke")
        );
    }
}
