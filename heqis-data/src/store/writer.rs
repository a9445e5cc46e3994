//! Series → one Parquet file for each year.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heqis_quant::{Date, Symbol};
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::TypePtr;

use super::columns::{FIXED, properties, schema, write};
use super::manifest::FileEntry;
use super::rows::Rows;
use crate::error::DataError;

/// A row group ends at the first boundary between two series after this number of rows. It is small enough for the open
/// groups of all years to fit into memory, and large enough for a year to have about forty groups.
pub const GROUP_ROWS: usize = 32_768;

/// Writes the `bars` directory of a version. Series are added in the order of symbols, so that the rows of a
/// symbol and year are in one row group and can be found by its statistics.
pub struct BarsWriter {
    dir: PathBuf,
    feature_count: usize,
    schema: TypePtr,
    properties: WriterPropertiesPtr,
    years: BTreeMap<i16, Year>,
    /// Files reused from another version.
    kept: BTreeMap<i16, FileEntry>,
    last: Option<Symbol>,
}

/// The open file of one year.
struct Year {
    path: PathBuf,
    file: SerializedFileWriter<BufWriter<File>>,
    pending: Rows,
    days: BTreeSet<Date>,
    entry: FileEntry,
}

impl BarsWriter {
    /// Creates the directory `dir`.
    ///
    /// # Errors
    ///
    /// [`DataError::File`] when the directory cannot be made, and [`DataError::Rule`] when a feature has the name of
    /// another column.
    pub fn create(dir: &Path, features: &[String]) -> Result<Self, DataError> {
        std::fs::create_dir_all(dir).map_err(|source| DataError::file(dir, source))?;
        if let Some(name) = features.iter().find(|name| FIXED.contains(&name.as_str())) {
            return Err(DataError::kind(
                dir,
                format!("the feature {name} has the name of a column of bars"),
            ));
        }
        Ok(Self {
            dir: dir.to_owned(),
            feature_count: features.len(),
            schema: schema(features).map_err(|source| DataError::parquet(dir, source))?,
            properties: Arc::new(properties()),
            years: BTreeMap::new(),
            kept: BTreeMap::new(),
            last: None,
        })
    }

    /// Reuses the file of one year of another version, whose directory of bars is `from`. [`BarsWriter::append`] then
    /// ignores rows of that year; the caller ensures that they are the same.
    ///
    /// The file is hard-linked if the file system supports it, since written files are never changed, and copied
    /// otherwise.
    ///
    /// # Errors
    ///
    /// [`DataError::File`] when the file can neither be linked nor copied.
    pub fn keep(&mut self, from: &Path, year: i16, entry: &FileEntry) -> Result<(), DataError> {
        let (old, new) = (from.join(&entry.name), self.dir.join(&entry.name));
        if std::fs::hard_link(&old, &new).is_err() {
            std::fs::copy(&old, &new).map_err(|source| DataError::file(&old, source))?;
        }
        self.kept.insert(year, entry.clone());
        Ok(())
    }

    /// Adds one series, complete and in the order of time.
    ///
    /// # Errors
    ///
    /// [`DataError::Rule`] when the rows are of several instruments or the symbol is not after the previous one,
    /// [`DataError::File`] and [`DataError::Parquet`] when a file cannot be written.
    pub fn append(&mut self, series: &Rows) -> Result<(), DataError> {
        let bars = series.bars();
        let Some(first) = bars.first() else {
            return Ok(());
        };
        let symbol = first.symbol;
        if self.last.is_some_and(|last| symbol <= last)
            || bars.iter().any(|bar| bar.symbol != symbol)
        {
            return Err(DataError::kind(
                &self.dir,
                format!("series must be added one by one in the order of symbols, got {symbol}"),
            ));
        }
        self.last = Some(symbol);
        let mut start = 0;
        while start < bars.len() {
            let year = bars[start].date.year();
            let end = start
                + bars[start..]
                    .iter()
                    .take_while(|bar| bar.date.year() == year)
                    .count();
            if !self.kept.contains_key(&year) {
                let open = self.year(year)?;
                open.pending.extend_from(series, start..end);
            }
            start = end;
        }
        // Only after the whole series, so that a series with alternating years is in one row group of each year.
        for year in self.years.values_mut() {
            if year.pending.len() >= GROUP_ROWS {
                year.flush()?;
            }
        }
        Ok(())
    }

    /// Begins with the first symbol again, for the rows of later years.
    pub(crate) fn restart(&mut self) {
        self.last = None;
    }

    /// Closes all files and returns their entries, in the order of years.
    ///
    /// # Errors
    ///
    /// [`DataError::File`] and [`DataError::Parquet`] when a file cannot be written or synced to the disk.
    pub fn finish(self) -> Result<Vec<FileEntry>, DataError> {
        let mut entries = self.kept;
        for (year, mut open) in self.years {
            open.flush()?;
            let written = open
                .file
                .into_inner()
                .map_err(|source| DataError::parquet(&open.path, source))?;
            let file = written
                .into_inner()
                .map_err(|error| DataError::file(&open.path, error.into_error()))?;
            file.sync_all()
                .map_err(|source| DataError::file(&open.path, source))?;
            let bytes = file
                .metadata()
                .map_err(|source| DataError::file(&open.path, source))?
                .len();
            open.entry.bytes = bytes;
            open.entry.days = open.days.into_iter().collect();
            entries.insert(year, open.entry);
        }
        Ok(entries.into_values().collect())
    }

    fn year(&mut self, year: i16) -> Result<&mut Year, DataError> {
        match self.years.entry(year) {
            std::collections::btree_map::Entry::Occupied(open) => Ok(open.into_mut()),
            std::collections::btree_map::Entry::Vacant(vacant) => {
                let path = self.dir.join(file_name(year));
                let file = File::create(&path).map_err(|source| DataError::file(&path, source))?;
                let file = SerializedFileWriter::new(
                    BufWriter::new(file),
                    self.schema.clone(),
                    self.properties.clone(),
                )
                .map_err(|source| DataError::parquet(&path, source))?;
                Ok(vacant.insert(Year {
                    path,
                    file,
                    pending: Rows::new(self.feature_count),
                    days: BTreeSet::new(),
                    entry: FileEntry {
                        name: file_name(year),
                        ..FileEntry::default()
                    },
                }))
            }
        }
    }
}

impl Year {
    fn flush(&mut self) -> Result<(), DataError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut put = || {
            let mut group = self.file.next_row_group()?;
            write(&mut group, &self.pending)?;
            group.close().map(drop)
        };
        put().map_err(|source| DataError::parquet(&self.path, source))?;
        self.count();
        self.pending.clear();
        Ok(())
    }

    /// Counts the pending rows.
    fn count(&mut self) {
        let (rows, entry) = (&self.pending, &mut self.entry);
        entry.rows += rows.len() as u64;
        entry.labelled += rows.next().iter().flatten().count() as u64;
        for (row, bar) in rows.bars().iter().enumerate() {
            entry.with_features += u64::from(rows.features(row).is_some());
            self.days.insert(bar.date);
            for mark in bar.marks.names() {
                *entry.marks.entry(mark.to_owned()).or_insert(0) += 1;
            }
        }
    }
}

fn file_name(year: i16) -> String {
    format!("{year}.parquet")
}
