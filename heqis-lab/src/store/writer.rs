//! Series after series into one Parquet file a year.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heqis_quant::Symbol;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::TypePtr;

use super::columns::{FIXED, properties, schema, write};
use super::manifest::FileEntry;
use super::rows::Rows;
use crate::error::LabError;

/// A row group is closed at the first border between two series behind this many rows. Small enough that the open
/// groups of all years fit into memory, and large enough that a year has some forty of them.
pub const GROUP_ROWS: usize = 32_768;

/// Writes the `bars` directory of a version. Series come in the order of their symbols, so that the rows of one symbol
/// and year lie in one row group and its statistics find them.
pub struct BarsWriter {
    dir: PathBuf,
    feature_count: usize,
    schema: TypePtr,
    properties: WriterPropertiesPtr,
    years: BTreeMap<i16, Year>,
    last: Option<Symbol>,
}

/// The open file of one year.
struct Year {
    path: PathBuf,
    file: SerializedFileWriter<BufWriter<File>>,
    pending: Rows,
    rows: u64,
}

impl BarsWriter {
    /// Creates the directory `dir`.
    ///
    /// # Errors
    ///
    /// [`LabError::File`] when the directory cannot be made, and [`LabError::DataSet`] when a feature has the name of
    /// another column.
    pub fn create(dir: &Path, features: &[String]) -> Result<Self, LabError> {
        std::fs::create_dir_all(dir).map_err(|source| LabError::file(dir, source))?;
        if let Some(name) = features.iter().find(|name| FIXED.contains(&name.as_str())) {
            return Err(LabError::data_set(
                dir,
                format!("the feature {name} has the name of a column of bars"),
            ));
        }
        Ok(Self {
            dir: dir.to_owned(),
            feature_count: features.len(),
            schema: schema(features).map_err(|source| LabError::parquet(dir, source))?,
            properties: Arc::new(properties()),
            years: BTreeMap::new(),
            last: None,
        })
    }

    /// Adds one series, complete and in the order of time.
    ///
    /// # Errors
    ///
    /// [`LabError::DataSet`] when the rows are of several instruments or the symbol does not lie behind the one before,
    /// [`LabError::File`] and [`LabError::Parquet`] when a file cannot be written.
    pub fn append(&mut self, series: &Rows) -> Result<(), LabError> {
        let bars = series.bars();
        let Some(first) = bars.first() else {
            return Ok(());
        };
        let symbol = first.symbol;
        if self.last.is_some_and(|last| symbol <= last)
            || bars.iter().any(|bar| bar.symbol != symbol)
        {
            return Err(LabError::data_set(
                &self.dir,
                format!("series must come one by one in the order of symbols, got {symbol}"),
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
            let open = self.year(year)?;
            open.pending.extend_from(series, start..end);
            start = end;
        }
        // Only here, so that a series whose years alternate still lies in one row group of each.
        for year in self.years.values_mut() {
            if year.pending.len() >= GROUP_ROWS {
                year.flush()?;
            }
        }
        Ok(())
    }

    /// Closes all files and returns what was written, in the order of years.
    ///
    /// # Errors
    ///
    /// [`LabError::File`] and [`LabError::Parquet`] when a file cannot be written through to the disk.
    pub fn finish(self) -> Result<Vec<FileEntry>, LabError> {
        let mut entries = Vec::new();
        for (year, mut open) in self.years {
            open.flush()?;
            let written = open
                .file
                .into_inner()
                .map_err(|source| LabError::parquet(&open.path, source))?;
            let file = written
                .into_inner()
                .map_err(|error| LabError::file(&open.path, error.into_error()))?;
            file.sync_all()
                .map_err(|source| LabError::file(&open.path, source))?;
            let bytes = file
                .metadata()
                .map_err(|source| LabError::file(&open.path, source))?
                .len();
            entries.push(FileEntry {
                name: file_name(year),
                rows: open.rows,
                bytes,
            });
        }
        Ok(entries)
    }

    fn year(&mut self, year: i16) -> Result<&mut Year, LabError> {
        match self.years.entry(year) {
            std::collections::btree_map::Entry::Occupied(open) => Ok(open.into_mut()),
            std::collections::btree_map::Entry::Vacant(vacant) => {
                let path = self.dir.join(file_name(year));
                let file = File::create(&path).map_err(|source| LabError::file(&path, source))?;
                let file = SerializedFileWriter::new(
                    BufWriter::new(file),
                    self.schema.clone(),
                    self.properties.clone(),
                )
                .map_err(|source| LabError::parquet(&path, source))?;
                Ok(vacant.insert(Year {
                    path,
                    file,
                    pending: Rows::new(self.feature_count),
                    rows: 0,
                }))
            }
        }
    }
}

impl Year {
    fn flush(&mut self) -> Result<(), LabError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut put = || {
            let mut group = self.file.next_row_group()?;
            write(&mut group, &self.pending)?;
            group.close().map(drop)
        };
        put().map_err(|source| LabError::parquet(&self.path, source))?;
        self.rows += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

fn file_name(year: i16) -> String {
    format!("{year}.parquet")
}
