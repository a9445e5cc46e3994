//! `csv-replay`: replays files of bars, merged by time; emits [`BarMessage`]s. They are read by `heqis-data`,
//! so CSV may be compressed, and layout, units, times and codes are decided as in the lab.
//!
//! Counts `bad_row` for rows that are no bars, of these `bad_row_syntax` (number of cells) and `bad_row_value`; the first
//! of each are logged with file, line, column, rule and value. A file that cannot be read on fails the source.

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use heqis_actors::{BuildContext, ContentHash, Next, Snapshot, Source, StageError};
use heqis_data::bar_file::{self, BarFile, FilePlace, open_series};
use heqis_data::bars::{Prices, TableOptions, VolumeUnit};
use heqis_messages::BarMessage;
use heqis_quant::{Bar, Date, DayOrder, QuantError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bad_input::BadInput;

/// How fast bars are replayed: `"max"`, or a multiple of real time such as `86400.0` for a day a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Speed {
    /// As fast as the pipeline takes them.
    Max(Max),
    /// This many times as fast as the bars' own time stamps.
    Multiple(f64),
}

/// The word `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Max {
    /// As fast as the pipeline takes them.
    Max,
}

/// Parameters of a `csv-replay` source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CsvReplayConfig {
    /// The files, each in order of time unless `sort` is set: CSV, also compressed with gzip, or Parquet if it is built in; Tushare, Yahoo and
    /// similar headers are recognised. A file without a symbol column holds the symbol that it is named after, such as
    /// `002032.SZ.csv`.
    #[schemars(length(min = 1))]
    pub paths: Vec<PathBuf>,
    /// How fast.
    #[serde(default = "max")]
    pub speed: Speed,
    /// Whether the rows of each file are sorted by time and symbol first, for files with one series after another. Such a file is
    /// read as a whole, and is read again after a restart.
    #[serde(default)]
    pub sort: bool,
    /// First day to replay.
    #[serde(default)]
    pub from: Option<Date>,
    /// Last day to replay.
    #[serde(default)]
    pub to: Option<Date>,
    /// What prices are, instead of what the files show: as traded, or adjusted for ex-rights by the vendor.
    #[serde(default)]
    pub prices: Option<Prices>,
    /// Unit of the volumes: shares or lots; by default the one that the amounts show.
    #[serde(default)]
    pub volume_unit: Option<VolumeUnit>,
    /// The IANA zone of times without an offset, instead of that of the instrument's exchange.
    #[serde(default)]
    pub timezone: Option<String>,
    /// Order of day and month in dates that end with the year.
    #[serde(default)]
    pub day_order: Option<DayOrder>,
}

fn max() -> Speed {
    Speed::Max(Max::Max)
}

/// Replays CSV files.
pub struct CsvReplay {
    files: Vec<Replayed>,
    days: Days,
    bad_rows: BadInput,
    cx: BuildContext,
    /// Nanoseconds of bar time per nanosecond of the clock; `None` does not wait.
    speed: Option<f64>,
    /// Clock and bar time of the first bar.
    start_ns: Option<(i64, i64)>,
}

/// One file while it is replayed.
struct Replayed {
    rows: Box<dyn Rows + Send>,
    /// The bar that is due, or the failure in its place.
    next: Option<Result<Bar, StageError>>,
}

/// The rows of a file.
trait Rows: Iterator<Item = Result<Bar, QuantError>> {
    fn place(&self) -> Option<FilePlace>;
    fn skip_to(&mut self, place: &FilePlace) -> Result<(), QuantError>;
}

impl Rows for BarFile {
    fn place(&self) -> Option<FilePlace> {
        self.place()
    }

    fn skip_to(&mut self, place: &FilePlace) -> Result<(), QuantError> {
        self.skip_to(place)
    }
}

/// The rows of a file by time and symbol; those that are no bars come first.
struct Sorted(std::vec::IntoIter<Result<Bar, QuantError>>);

impl Sorted {
    fn of(rows: impl Iterator<Item = Result<Bar, QuantError>>) -> Self {
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_key(|row| row.as_ref().ok().map(|bar| (bar.time_ns, bar.symbol)));
        Self(rows.into_iter())
    }
}

impl Iterator for Sorted {
    type Item = Result<Bar, QuantError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl Rows for Sorted {
    /// A restarted source begins at its first bar.
    fn place(&self) -> Option<FilePlace> {
        None
    }

    fn skip_to(&mut self, _: &FilePlace) -> Result<(), QuantError> {
        Ok(())
    }
}

/// Of each file the bar that is due and the place after it; `None` after the last bar.
type Cursor = Vec<Option<(Bar, FilePlace)>>;

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

/// What is wrong with a file, as far as its beginning shows. Vendors like to give the newest bar first; replayed so, all
/// but the first would be rejected for coming too late.
fn fault(path: &Path, options: &TableOptions) -> Option<String> {
    let rows = match bar_file::open(path, options) {
        Ok(rows) => rows,
        Err(fault) => return Some(fault.to_string()),
    };
    let mut why = None;
    let mut bars = rows
        .filter_map(|row| {
            row.map_err(|error| why.get_or_insert(error.to_string()).len())
                .ok()
        })
        .take(2);
    let (first, second) = (bars.next(), bars.next());
    drop(bars);
    match (first, second) {
        (None, _) => Some(format!(
            "{}: no row is a bar: {}",
            path.display(),
            why.unwrap_or_else(|| "there is no row".into())
        )),
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
    /// A replay of whole files as fast as they are taken.
    pub(super) fn of(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            speed: max(),
            sort: false,
            from: None,
            to: None,
            prices: None,
            volume_unit: None,
            timezone: None,
            day_order: None,
        }
    }

    fn options(&self) -> TableOptions {
        TableOptions {
            prices: self.prices,
            volume_unit: self.volume_unit,
            zone: self.timezone.clone(),
            day_order: self.day_order,
            ..TableOptions::default()
        }
    }

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
                faults.extend(fault(&path, &config.options()));
            }
        }
        faults.extend(config.faults());
        faults
    }

    /// What was read and how it is understood; not how fast, nor from where.
    fn identity(config: &CsvReplayConfig, base: &Path) -> Result<Option<u64>, StageError> {
        let mut hash = ContentHash::default();
        let understood = (
            (config.from, config.to),
            (config.prices, config.volume_unit),
            (&config.timezone, config.day_order),
        );
        let _ = write!(hash, "{understood:?}");
        if config.sort {
            let _ = write!(hash, "sorted");
        }
        for path in &config.paths {
            let path = base.join(path);
            let failed = |error| StageError::config(format!("{}: {error}", path.display()));
            // A file without a column of symbols holds the one that it is named after.
            let name = path.file_name().unwrap_or_default();
            let _ = write!(hash, "\0{}\0", name.display());
            let file = fs::File::open(&path).map_err(failed)?;
            if !file.metadata().map_err(failed)?.is_file() {
                return Err(failed(std::io::Error::other("is not a regular file")));
            }
            std::io::copy(
                &mut std::io::BufReader::with_capacity(1 << 16, file),
                &mut hash,
            )
            .map_err(failed)?;
        }
        Ok(Some(hash.value()))
    }

    fn build(config: &CsvReplayConfig, cx: &BuildContext) -> Result<Self, StageError> {
        // Refuses the same where nothing was checked before, as in a test.
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
            let rows =
                open_series(&cx.path(path), &config.options()).map_err(StageError::config)?;
            for warning in &rows.detected().warnings {
                // The option is one of the lab's commands.
                let warning = warning.trim_end_matches(": see --events");
                tracing::warn!(stage = cx.stage(), path = %path.display(), %warning, "table of bars");
            }
            tracing::info!(stage = cx.stage(), path = %path.display(), table = %rows.detected(), "table of bars");
            let rows: Box<dyn Rows + Send> = match config.sort {
                true => Box::new(Sorted::of(rows)),
                false => Box::new(rows),
            };
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
            cx: cx.clone(),
            speed,
            start_ns: None,
        })
    }

    fn next(&mut self) -> Result<Next<BarMessage>, StageError> {
        let Some(index) = self.first() else {
            return Ok(Next::End);
        };
        let file = &mut self.files[index];
        if self.cx.is_replaying() {
            // What is known already is not waited for; the pace is that of the first bar after it.
            self.start_ns = None;
        } else if let Some(speed) = self.speed
            && let Some(Ok(bar)) = &file.next
        {
            let now_ns = self.cx.clock().now_ns();
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

    fn cursor(&self) -> Option<Vec<u8>> {
        let of_file = |file: &Replayed| match &file.next {
            None => Some(None),
            Some(Ok(bar)) => Some(Some((*bar, file.rows.place()?))),
            Some(Err(_)) => None,
        };
        let cursor: Cursor = self.files.iter().map(of_file).collect::<Option<_>>()?;
        match Snapshot::of(&cursor) {
            Snapshot::State(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn seek(&mut self, _: u64, cursor: Option<&[u8]>) -> Result<bool, StageError> {
        let cursor = cursor.map(Snapshot::read::<Cursor>);
        let Some(Ok(cursor)) = cursor.filter(|read| match read {
            Ok(cursor) => cursor.len() == self.files.len(),
            // Of another version: the bars before are read.
            Err(_) => false,
        }) else {
            return Ok(false);
        };
        for (file, at) in self.files.iter_mut().zip(cursor) {
            if let Some((_, place)) = &at {
                file.rows.skip_to(place).map_err(StageError::failed)?;
            }
            file.next = at.map(|(bar, _)| Ok(bar));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io;

    use heqis_actors::Clock;
    use heqis_data::BarReader;
    use heqis_quant::Symbol;

    use super::*;

    /// A disk that breaks.
    struct Broken;

    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk broke"))
        }
    }

    impl<R: io::Read> Rows for BarReader<R> {
        fn place(&self) -> Option<FilePlace> {
            None
        }

        fn skip_to(&mut self, _: &FilePlace) -> Result<(), QuantError> {
            unreachable!("there is no place to skip to")
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_on_fails_the_source_after_the_bars_before_it() {
        use io::Read as _;
        let text: &[u8] =
            b"date,open,high,low,close,volume\n2015-06-01,1,1,1,1,100\n2015-06-02,1,1,1,1,100\n";
        let symbol = Symbol::parse("600000.SH").unwrap();
        let rows = BarReader::new(text.chain(Broken), Some(symbol), "broken.csv").unwrap();
        let rows = Box::new(rows);
        let cx = BuildContext::detached("market", "", Clock::virtual_at(0));
        let mut source = CsvReplay {
            files: vec![Replayed { rows, next: None }],
            days: Days {
                from: None,
                to: None,
            },
            bad_rows: BadInput::new(&cx, "bad_row"),
            cx: cx.clone(),
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
