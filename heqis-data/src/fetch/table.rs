//! The tables as CSV: one file for each interface.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use super::api::Api;
use super::reply::Cell;
use crate::error::DataError;

/// A CSV table that gets its name when it is complete.
pub(super) struct CsvTable {
    pub(super) api: &'static Api,
    path: PathBuf,
    rows: csv::Writer<BufWriter<File>>,
}

impl CsvTable {
    pub(super) fn create(dir: &Path, api: &'static Api) -> Result<Self, DataError> {
        let path = dir.join(format!("{}.csv", api.name));
        let part = path.with_extension("csv.part");
        let file = std::fs::create_dir_all(dir)
            .and_then(|()| File::create(&part))
            .map_err(|error| DataError::file(&part, error))?;
        let mut rows = csv::Writer::from_writer(BufWriter::new(file));
        rows.write_record(api.fields.iter().map(|(name, _)| *name))
            .map_err(|error| DataError::file(&part, error.into()))?;
        Ok(Self { api, path, rows })
    }

    /// Removes the table of an earlier run, if there is one.
    pub(super) fn remove(dir: &Path, api: &'static Api) -> Result<(), DataError> {
        let path = dir.join(format!("{}.csv", api.name));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(DataError::file(&path, error))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn add(&mut self, rows: &[Vec<Cell>]) -> Result<(), DataError> {
        for row in rows {
            self.rows
                .write_record(row.iter().map(Cell::to_text))
                .map_err(|error| DataError::file(&self.path, error.into()))?;
        }
        Ok(())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a table that the next run writes again"
    )]
    pub(super) fn finish(mut self) -> Result<(), DataError> {
        self.rows
            .flush()
            .and_then(|()| std::fs::rename(self.path.with_extension("csv.part"), &self.path))
            .map_err(|error| DataError::file(&self.path, error))
    }
}
