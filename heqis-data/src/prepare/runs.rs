//! Files in any arrangement → the rows of each symbol.
//!
//! A file may contain one instrument, one day of the market, or any other part. Rows are therefore sorted externally: each
//! worker collects rows of its files in a chunk, sorts the chunk by symbol and writes it as a *run*; the index of a run
//! gives the place of each symbol. A series is then gathered from all runs and sorted by time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use heqis_quant::{Bar, Date, Marks, Symbol};

use crate::bar_file::open;
use crate::bars::TableOptions;
use crate::error::DataError;
use crate::import_args::InputFile;

/// Largest number of rows of a chunk.
const CHUNK_ROWS: usize = 131_072;
/// Bytes of one row in a run.
const ROW_BYTES: usize = 94;
/// Bytes of a row without its marks, which few rows have.
pub(super) const BARE_BYTES: usize = 92;

/// A bar with its place in the inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Origin {
    /// The bar.
    pub bar: Bar,
    /// The index of the file in the list.
    pub file: u32,
    /// The row in the file, counted from 1 after the header.
    pub row: u32,
}

/// An unreadable row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The row in the file, counted from 1 after the header.
    pub row: u32,
    /// The message of the table reader, with line, column, rule and value.
    pub message: String,
}

/// The properties of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSummary {
    /// Layout, encoding and units.
    pub detected: String,
    /// Whether its bars have a time of day.
    pub has_time: bool,
    /// Warnings about the table.
    pub warnings: Vec<String>,
    /// The reason why the whole file is left out.
    pub left_out: Option<String>,
    /// Number of rows, unreadable ones included.
    pub rows: u64,
    /// Unreadable rows.
    pub unreadable: Vec<Unreadable>,
    /// Up to two of its symbols; a single one is the only symbol of the file.
    pub symbols: BTreeSet<Symbol>,
}

/// All rows of a number of files, indexed by symbol.
#[derive(Debug)]
pub struct Runs {
    paths: Vec<PathBuf>,
    /// For each symbol the run, the first row in it and the number of rows.
    index: BTreeMap<Symbol, Vec<(u32, u64, u32)>>,
    /// The properties of each file, by its index in the list.
    pub files: BTreeMap<usize, FileSummary>,
}

impl Runs {
    /// Reads the files with the indices `wanted` into runs in the directory `dir`.
    ///
    /// # Errors
    ///
    /// The error of the first file in the list that cannot be opened or whose header is refused, regardless of the number
    /// of threads.
    pub fn build(
        dir: &Path,
        files: &[InputFile],
        wanted: &[usize],
        options: &TableOptions,
        threads: usize,
    ) -> Result<Self, DataError> {
        let next = AtomicUsize::new(0);
        let failed: Mutex<Option<(usize, DataError)>> = Mutex::new(None);
        let runs_written = AtomicUsize::new(0);
        let results: Vec<Worker> = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads.clamp(1, wanted.len().max(1)))
                .map(|_| {
                    scope.spawn(|| {
                        let mut worker = Worker::new(dir, options, &runs_written);
                        loop {
                            let claimed = next.fetch_add(1, Ordering::Relaxed);
                            let Some(&file) = wanted.get(claimed) else {
                                break;
                            };
                            if let Err(error) = worker.read(&files[file], file) {
                                note(&failed, file, error);
                                // Later files need not be read; earlier ones may fail too, and the first failure is returned.
                                next.fetch_max(wanted.len(), Ordering::Relaxed);
                                break;
                            }
                        }
                        if let Err(error) = worker.flush() {
                            note(&failed, usize::MAX, error);
                        }
                        worker
                    })
                })
                .collect();
            handles
                .into_iter()
                .map(|handle| match handle.join() {
                    Ok(worker) => worker,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect()
        });
        if let Some((_, error)) = failed.into_inner().unwrap_or_else(|e| e.into_inner()) {
            return Err(error);
        }
        let mut runs = Self {
            paths: Vec::new(),
            index: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        for worker in results {
            for (path, segments) in worker.runs {
                let run = u32::try_from(runs.paths.len()).unwrap_or(u32::MAX);
                runs.paths.push(path);
                for (symbol, from, rows) in segments {
                    runs.index
                        .entry(symbol)
                        .or_default()
                        .push((run, from, rows));
                }
            }
            runs.files.extend(worker.summaries);
        }
        Ok(runs)
    }

    /// Adds the runs of other files.
    pub fn extend(&mut self, other: Self) {
        let shift = u32::try_from(self.paths.len()).unwrap_or(u32::MAX);
        self.paths.extend(other.paths);
        for (symbol, segments) in other.index {
            let moved = segments
                .into_iter()
                .map(|(run, from, rows)| (run + shift, from, rows));
            self.index.entry(symbol).or_default().extend(moved);
        }
        self.files.extend(other.files);
    }

    /// Returns the symbols, in order.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol> + '_ {
        self.index.keys().copied()
    }

    /// Opens the runs for one thread.
    ///
    /// # Errors
    ///
    /// [`DataError::File`] when a run cannot be opened.
    pub(crate) fn gatherer(&self) -> Result<Gatherer<'_>, DataError> {
        let open =
            |path: &PathBuf| File::open(path).map_err(|source| DataError::file(path, source));
        Ok(Gatherer {
            runs: self,
            files: self.paths.iter().map(open).collect::<Result<_, _>>()?,
            bytes: Vec::new(),
        })
    }
}

/// Keeps the error of the first file in the list.
fn note(failed: &Mutex<Option<(usize, DataError)>>, file: usize, error: DataError) {
    let mut first = failed.lock().unwrap_or_else(|e| e.into_inner());
    if first.as_ref().is_none_or(|(known, _)| file < *known) {
        *first = Some((file, error));
    }
}

/// Gathers series from open runs.
#[derive(Debug)]
pub struct Gatherer<'a> {
    runs: &'a Runs,
    files: Vec<File>,
    bytes: Vec<u8>,
}

impl Gatherer<'_> {
    /// Returns all rows of a symbol in the order of time; rows of one time keep the order of files and rows.
    ///
    /// # Errors
    ///
    /// [`DataError::File`] when a run cannot be read.
    pub fn series(&mut self, symbol: Symbol) -> Result<Vec<Origin>, DataError> {
        let mut rows = Vec::new();
        for &(run, from, count) in self.runs.index.get(&symbol).into_iter().flatten() {
            let path = &self.runs.paths[run as usize];
            let file = &mut self.files[run as usize];
            self.bytes.resize(count as usize * ROW_BYTES, 0);
            file.seek(SeekFrom::Start(from * ROW_BYTES as u64))
                .and_then(|_| file.read_exact(&mut self.bytes))
                .map_err(|source| DataError::file(path, source))?;
            for bytes in self.bytes.chunks_exact(ROW_BYTES) {
                rows.push(decode(symbol, bytes).ok_or_else(|| {
                    DataError::kind(path, "must contain the rows that were written to it")
                })?);
            }
        }
        rows.sort_unstable_by_key(|origin| (origin.bar.time_ns, origin.file, origin.row));
        Ok(rows)
    }
}

/// One run: its file, and for each symbol the first row and the number of rows.
type Run = (PathBuf, Vec<(Symbol, u64, u32)>);

/// The chunk of one thread.
struct Worker<'a> {
    dir: &'a Path,
    options: &'a TableOptions,
    runs_written: &'a AtomicUsize,
    chunk: Vec<Origin>,
    runs: Vec<Run>,
    summaries: BTreeMap<usize, FileSummary>,
}

impl<'a> Worker<'a> {
    fn new(dir: &'a Path, options: &'a TableOptions, runs_written: &'a AtomicUsize) -> Self {
        Self {
            dir,
            options,
            runs_written,
            chunk: Vec::new(),
            runs: Vec::new(),
            summaries: BTreeMap::new(),
        }
    }

    fn read(&mut self, (path, named): &InputFile, file: usize) -> Result<(), DataError> {
        let reader = match open(path, self.options) {
            Ok(reader) => reader,
            Err(error) if !named => {
                let summary = FileSummary {
                    left_out: Some(error.to_string()),
                    ..FileSummary::default()
                };
                self.summaries.insert(file, summary);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut summary = FileSummary {
            detected: reader.detected().to_string(),
            has_time: reader.detected().has_time,
            warnings: reader.detected().warnings.clone(),
            ..FileSummary::default()
        };
        let mut last = None;
        let too_long = || DataError::kind(path, format!("must have at most {} rows", u32::MAX));
        for (row, bar) in (1u32..).zip(reader) {
            summary.rows = row.into();
            match bar {
                Ok(bar) => {
                    if last != Some(bar.symbol) && summary.symbols.len() < 2 {
                        summary.symbols.insert(bar.symbol);
                    }
                    last = Some(bar.symbol);
                    let file = u32::try_from(file).map_err(|_| too_long())?;
                    self.chunk.push(Origin { bar, file, row });
                    if self.chunk.len() >= CHUNK_ROWS {
                        self.flush()?;
                    }
                }
                Err(error @ heqis_quant::QuantError::Io { .. }) => return Err(error.into()),
                Err(error) => summary.unreadable.push(Unreadable {
                    row,
                    message: error.to_string(),
                }),
            }
            if row == u32::MAX {
                return Err(too_long());
            }
        }
        self.summaries.insert(file, summary);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DataError> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        self.chunk.sort_by_key(|origin| origin.bar.symbol);
        let number = self.runs_written.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("run-{number}"));
        let mut segments: Vec<(Symbol, u64, u32)> = Vec::new();
        let mut put = || -> std::io::Result<()> {
            let mut file = BufWriter::new(File::create(&path)?);
            for (row, origin) in (0u64..).zip(&self.chunk) {
                match segments.last_mut() {
                    Some((symbol, _, rows)) if *symbol == origin.bar.symbol => *rows += 1,
                    _ => segments.push((origin.bar.symbol, row, 1)),
                }
                file.write_all(&encode(origin))?;
            }
            file.flush()
        };
        put().map_err(|source| DataError::file(&path, source))?;
        self.runs.push((path, segments));
        self.chunk.clear();
        Ok(())
    }
}

/// Encodes a row for runs and for the digests of series. A missing value is NaN, which the reader never returns as a
/// number.
#[must_use]
pub fn encode(origin: &Origin) -> [u8; ROW_BYTES] {
    let bar = &origin.bar;
    let mut bytes = [0; ROW_BYTES];
    let numbers = [
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        bar.pre_close.unwrap_or(f64::NAN),
        bar.volume_shares,
        bar.amount_cny.unwrap_or(f64::NAN),
    ];
    bytes[..16].copy_from_slice(&bar.symbol.as_key().to_be_bytes());
    bytes[16..24].copy_from_slice(&bar.time_ns.to_le_bytes());
    bytes[24..28].copy_from_slice(&bar.date.days().to_le_bytes());
    for (place, number) in bytes[28..84].chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    bytes[84..88].copy_from_slice(&origin.file.to_le_bytes());
    bytes[88..92].copy_from_slice(&origin.row.to_le_bytes());
    bytes[92..94].copy_from_slice(&bar.marks.bits().to_le_bytes());
    bytes
}

fn decode(symbol: Symbol, bytes: &[u8]) -> Option<Origin> {
    let wide = |at: usize| bytes.get(at..at + 8)?.try_into().ok();
    let narrow = |at: usize| bytes.get(at..at + 4)?.try_into().ok();
    let number = |at: usize| wide(at).map(f64::from_le_bytes);
    let given = |number: f64| (!number.is_nan()).then_some(number);
    if bytes.get(..16)? != symbol.as_key().to_be_bytes() {
        return None;
    }
    Some(Origin {
        bar: Bar {
            symbol,
            time_ns: i64::from_le_bytes(wide(16)?),
            date: Date::from_days(i32::from_le_bytes(narrow(24)?))?,
            open: number(28)?,
            high: number(36)?,
            low: number(44)?,
            close: number(52)?,
            pre_close: given(number(60)?),
            volume_shares: number(68)?,
            amount_cny: given(number(76)?),
            marks: Marks::from_bits(u16::from_le_bytes(bytes.get(92..94)?.try_into().ok()?))?,
        },
        file: u32::from_le_bytes(narrow(84)?),
        row: u32::from_le_bytes(narrow(88)?),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_row_is_decoded_to_the_same_bits(
            prices in proptest::collection::vec(any::<f64>().prop_filter("finite, as read from tables", |x| x.is_finite()), 7),
            given in any::<[bool; 2]>(), days in 0i32..40_000, file in any::<u32>(), row in any::<u32>()
        ) {
            let date = Date::from_days(days).unwrap();
            let symbol = Symbol::parse("600000.SH").unwrap();
            let origin = Origin {
                bar: Bar {
                    symbol, time_ns: date.close_time_ns(), date,
                    open: prices[0], high: prices[1], low: prices[2], close: prices[3],
                    pre_close: given[0].then_some(prices[4]),
                    volume_shares: prices[5],
                    amount_cny: given[1].then_some(prices[6]),
                    marks: Marks::NONE,
                },
                file,
                row,
            };
            prop_assert_eq!(decode(symbol, &encode(&origin)), Some(origin));
            prop_assert_eq!(decode(Symbol::parse("AAPL").unwrap(), &encode(&origin)), None);
        }
    }
}
