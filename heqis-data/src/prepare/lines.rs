//! Reports of a version as CSV, written line by line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::DataError;

/// Writes a report line by line, and counts the lines by key.
pub struct Lines<T> {
    path: PathBuf,
    lines: csv::Writer<BufWriter<File>>,
    key: fn(&T) -> &String,
    counts: BTreeMap<String, u64>,
}

impl<T: Serialize> Lines<T> {
    /// Creates the file at `path`; lines are counted by their `key`.
    ///
    /// # Errors
    ///
    /// [`DataError::File`] when it cannot be written.
    pub fn create(
        path: PathBuf,
        header: &[&str],
        key: fn(&T) -> &String,
    ) -> Result<Self, DataError> {
        let file = File::create(&path).map_err(|source| DataError::file(&path, source))?;
        let mut lines = csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(BufWriter::new(file));
        lines
            .write_record(header)
            .map_err(|error| DataError::file(&path, error.into()))?;
        Ok(Self {
            path,
            lines,
            key,
            counts: BTreeMap::new(),
        })
    }

    /// Adds a line.
    ///
    /// # Errors
    ///
    /// As [`Lines::create`].
    pub fn add(&mut self, line: &T) -> Result<(), DataError> {
        *self.counts.entry((self.key)(line).clone()).or_insert(0) += 1;
        self.lines
            .serialize(line)
            .map_err(|error| DataError::file(&self.path, error.into()))
    }

    /// Closes the file and returns the number of lines by key.
    ///
    /// # Errors
    ///
    /// As [`Lines::create`].
    pub fn finish(self) -> Result<BTreeMap<String, u64>, DataError> {
        let close = || -> std::io::Result<()> {
            let buffer = self
                .lines
                .into_inner()
                .map_err(csv::IntoInnerError::into_error)?;
            let file = buffer.into_inner().map_err(|error| error.into_error())?;
            file.sync_all()
        };
        close().map_err(|source| DataError::file(&self.path, source))?;
        Ok(self.counts)
    }
}

/// Reads a report.
///
/// # Errors
///
/// [`DataError::File`] when it cannot be read or a line has other fields.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, DataError> {
    let fault = |error: csv::Error| DataError::file(path, error.into());
    csv::Reader::from_path(path)
        .map_err(fault)?
        .deserialize()
        .map(|line| line.map_err(fault))
        .collect()
}
