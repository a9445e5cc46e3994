//! The reader of a data set.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use heqis_quant::{Date, Scaler, Symbol};
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use parquet::file::statistics::Statistics;

pub use super::columns::Columns;
use super::columns::{FIXED, days, read, symbol_of, symbols};
use super::manifest::Manifest;
use super::rows::Rows;
use crate::error::DataError;

/// The version of a data set that was current when it was opened.
#[derive(Clone, Debug)]
pub struct DataSet {
    dir: PathBuf,
    manifest: Manifest,
}

impl DataSet {
    /// Opens the data set in `root`.
    ///
    /// # Errors
    ///
    /// As [`Manifest::read`].
    pub fn open(root: &Path) -> Result<Self, DataError> {
        let manifest = Manifest::read(root)?;
        Ok(Self {
            dir: root.join(&manifest.version),
            manifest,
        })
    }

    /// Opens a version under construction.
    pub(crate) fn at(dir: PathBuf, manifest: Manifest) -> Self {
        Self { dir, manifest }
    }

    /// Returns the manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the directory of the version, which contains `bars`, `scaler_params.json` and `rejects.csv`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads the scaler.
    ///
    /// # Errors
    ///
    /// [`DataError::File`] when the file cannot be read, and [`DataError::Table`] when it is not a scaler.
    pub fn scaler(&self) -> Result<Scaler, DataError> {
        let path = self.dir.join("scaler_params.json");
        let text =
            std::fs::read_to_string(&path).map_err(|source| DataError::file(&path, source))?;
        Ok(Scaler::from_json(&text)?)
    }

    /// Reads the whole series of one symbol, empty when the data set has no bar of it.
    ///
    /// # Errors
    ///
    /// [`DataError::File`] and [`DataError::Parquet`] when a file cannot be read.
    pub fn symbol(&self, symbol: Symbol, columns: Columns) -> Result<Rows, DataError> {
        let mut rows = self.empty(columns);
        for entry in &self.manifest.files {
            let file = YearFile::open(&self.dir, &entry.name, true)?;
            for index in 0..file.reader.num_row_groups() {
                let group = file.reader.metadata().row_group(index);
                if symbol_range(group).is_some_and(|(from, to)| symbol < from || to < symbol) {
                    continue;
                }
                let found = file.wrap(|reader| {
                    let group = reader.get_row_group(index)?;
                    let cells = symbols(group.as_ref())?;
                    let name = ByteArray::from(symbol.as_str());
                    let range = run(&cells, &name);
                    if range.is_empty() {
                        return Ok(None);
                    }
                    let n = self.manifest.settings.features.len();
                    read(group.as_ref(), &[range], columns, n).map(Some)
                })?;
                if let Some(found) = found {
                    rows.extend_from(&found, 0..found.len());
                }
            }
        }
        Ok(rows)
    }

    /// Reads the bars of all symbols on one day, in the order of symbols.
    ///
    /// # Errors
    ///
    /// As [`DataSet::symbol`].
    pub fn day(&self, date: Date, columns: Columns) -> Result<Rows, DataError> {
        let mut rows = self.empty(columns);
        let name = format!("{}.parquet", date.year());
        if !self.manifest.files.iter().any(|entry| entry.name == name) {
            return Ok(rows);
        }
        let file = YearFile::open(&self.dir, &name, true)?;
        let wanted = date.days();
        for index in 0..file.reader.num_row_groups() {
            let found = file.wrap(|reader| {
                let group = reader.get_row_group(index)?;
                let ranges = runs_of(&days(group.as_ref())?, wanted);
                let n = self.manifest.settings.features.len();
                read(group.as_ref(), &ranges, columns, n)
            })?;
            rows.extend_from(&found, 0..found.len());
        }
        Ok(rows)
    }

    /// Reads the files of years in pieces of some ten thousand rows, and passes each piece to `take`. `years` are indices
    /// of files in the manifest: several threads read a whole market fastest with a year each.
    ///
    /// # Errors
    ///
    /// As [`DataSet::symbol`], and the errors of `take`.
    ///
    /// # Panics
    ///
    /// Panics when `years` is beyond the files of the manifest.
    pub fn scan(
        &self,
        years: Range<usize>,
        columns: Columns,
        mut take: impl FnMut(Rows) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let n = self.manifest.settings.features.len();
        for entry in &self.manifest.files[years] {
            let file = YearFile::open(&self.dir, &entry.name, false)?;
            for index in 0..file.reader.num_row_groups() {
                take(file.group(index, columns, n)?)?;
            }
        }
        Ok(())
    }

    /// Returns a reader of all series in the order of symbols. It reads the file of each year once and in order, and
    /// keeps one row group of each year in memory.
    ///
    /// # Errors
    ///
    /// As [`DataSet::symbol`].
    pub fn series(&self, columns: Columns) -> Result<SeriesReader, DataError> {
        self.series_of(columns, |_| true)
    }

    /// Returns a reader of all series in the years for which `wanted` is true.
    ///
    /// # Errors
    ///
    /// As [`DataSet::symbol`].
    pub(crate) fn series_of(
        &self,
        columns: Columns,
        wanted: impl Fn(i16) -> bool,
    ) -> Result<SeriesReader, DataError> {
        let years = self
            .manifest
            .files
            .iter()
            .filter(|entry| entry.year().is_none_or(&wanted))
            .map(|entry| {
                Ok(Cursor {
                    file: YearFile::open(&self.dir, &entry.name, false)?,
                    next_group: 0,
                    rows: self.empty(columns),
                    at: 0,
                })
            })
            .collect::<Result<_, DataError>>()?;
        Ok(SeriesReader {
            years,
            columns,
            feature_count: self.manifest.settings.features.len(),
        })
    }

    fn empty(&self, columns: Columns) -> Rows {
        Rows::new(match columns {
            Columns::Bars => 0,
            Columns::All => self.manifest.settings.features.len(),
        })
    }
}

/// Reads series in the order of symbols: see [`DataSet::series`].
pub struct SeriesReader {
    years: Vec<Cursor>,
    columns: Columns,
    feature_count: usize,
}

/// The position in the file of one year.
struct Cursor {
    file: YearFile,
    next_group: usize,
    rows: Rows,
    at: usize,
}

impl Cursor {
    fn symbol(&self) -> Option<Symbol> {
        self.rows.bars().get(self.at).map(|bar| bar.symbol)
    }

    /// Loads the next row group at the end of the current one.
    fn fill(&mut self, columns: Columns, feature_count: usize) -> Result<(), DataError> {
        while self.at == self.rows.len() && self.next_group < self.file.reader.num_row_groups() {
            self.rows = self.file.group(self.next_group, columns, feature_count)?;
            self.next_group += 1;
            self.at = 0;
        }
        Ok(())
    }
}

impl SeriesReader {
    /// Returns the series of a symbol after those read so far, or `None` if it does not exist. Series before it are
    /// skipped.
    ///
    /// # Errors
    ///
    /// As [`DataSet::symbol`].
    pub fn seek(&mut self, symbol: Symbol) -> Result<Option<Rows>, DataError> {
        loop {
            match self.peek()? {
                Some(next) if next < symbol => drop(self.next()?),
                Some(next) if next == symbol => return self.next(),
                _ => return Ok(None),
            }
        }
    }

    /// Returns the symbol of the next series.
    fn peek(&mut self) -> Result<Option<Symbol>, DataError> {
        for cursor in &mut self.years {
            cursor.fill(self.columns, self.feature_count)?;
        }
        Ok(self.years.iter().filter_map(Cursor::symbol).min())
    }

    /// Returns the next series, or `None` at the end.
    ///
    /// # Errors
    ///
    /// As [`DataSet::symbol`].
    #[allow(
        clippy::should_implement_trait,
        reason = "an iterator of results would not end at an error"
    )]
    pub fn next(&mut self) -> Result<Option<Rows>, DataError> {
        let Some(symbol) = self.peek()? else {
            return Ok(None);
        };
        let mut series: Option<Rows> = None;
        for cursor in &mut self.years {
            // This writer stores a series in one row group of a year, but other writers may not.
            while cursor.symbol() == Some(symbol) {
                let len = cursor.rows.bars()[cursor.at..]
                    .iter()
                    .take_while(|bar| bar.symbol == symbol)
                    .count();
                let range = cursor.at..cursor.at + len;
                let series = series.get_or_insert_with(|| Rows::new(cursor.rows.feature_count()));
                series.extend_from(&cursor.rows, range);
                cursor.at += len;
                cursor.fill(self.columns, self.feature_count)?;
            }
        }
        Ok(series)
    }
}

/// One open file of `bars`.
struct YearFile {
    path: PathBuf,
    reader: SerializedFileReader<File>,
}

impl YearFile {
    fn open(dir: &Path, name: &str, with_page_index: bool) -> Result<Self, DataError> {
        let path = dir.join("bars").join(name);
        let file = File::open(&path).map_err(|source| DataError::file(&path, source))?;
        let options = match with_page_index {
            true => ReadOptionsBuilder::new().with_page_index().build(),
            false => ReadOptionsBuilder::new().build(),
        };
        let reader = SerializedFileReader::new_with_options(file, options)
            .map_err(|source| DataError::parquet(&path, source))?;
        let columns = reader.metadata().file_metadata().schema_descr();
        let fixed = (0..columns.num_columns().min(FIXED.len())).map(|i| columns.column(i));
        if !fixed.map(|column| column.name().to_owned()).eq(FIXED) {
            return Err(DataError::kind(
                &path,
                format!("columns must start with {}", FIXED.join(", ")),
            ));
        }
        Ok(Self { path, reader })
    }

    fn group(&self, index: usize, columns: Columns, n: usize) -> Result<Rows, DataError> {
        self.wrap(|reader| {
            let group = reader.get_row_group(index)?;
            let len = group.metadata().num_rows().max(0) as usize;
            read(group.as_ref(), std::slice::from_ref(&(0..len)), columns, n)
        })
    }

    fn wrap<T>(
        &self,
        work: impl FnOnce(&SerializedFileReader<File>) -> Result<T, ParquetError>,
    ) -> Result<T, DataError> {
        work(&self.reader).map_err(|source| DataError::parquet(&self.path, source))
    }
}

/// Returns the first and the last symbol of a row group by its statistics.
fn symbol_range(group: &RowGroupMetaData) -> Option<(Symbol, Symbol)> {
    match group.columns().first()?.statistics()? {
        Statistics::ByteArray(range) => Some((
            symbol_of(range.min_opt()?).ok()?,
            symbol_of(range.max_opt()?).ok()?,
        )),
        _ => None,
    }
}

/// Returns the range of a symbol in sorted rows.
fn run(cells: &[ByteArray], name: &ByteArray) -> Range<usize> {
    let from = cells.partition_point(|cell| cell.data() < name.data());
    let to = cells.partition_point(|cell| cell.data() <= name.data());
    from..to
}

/// Returns the ranges of rows of a day.
fn runs_of(days: &[i32], wanted: i32) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (row, day) in days.iter().enumerate() {
        if *day == wanted {
            match runs.last_mut() {
                Some(run) if run.end == row => run.end += 1,
                _ => runs.push(row..row + 1),
            }
        }
    }
    runs
}
