//! The tables as CSV: one file for each interface.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use heqis_base::files::{draft_path, publish_draft};
use heqis_data::DataError;

use crate::api::Api;
use crate::error::FetchError;
use crate::reply::Cell;

/// A CSV table that gets its name when it is complete.
pub(crate) struct CsvTable {
    pub(crate) api: &'static Api,
    path: PathBuf,
    rows: csv::Writer<BufWriter<File>>,
}

impl CsvTable {
    pub(crate) fn create(dir: &Path, api: &'static Api) -> Result<Self, FetchError> {
        let path = dir.join(format!("{}.csv", api.name));
        let draft = draft_path(&path);
        let file = std::fs::create_dir_all(dir)
            .and_then(|()| File::create(&draft))
            .map_err(|error| DataError::file(&draft, error))?;
        let mut rows = csv::Writer::from_writer(BufWriter::new(file));
        rows.write_record(api.fields.iter().map(|(name, _)| *name))
            .map_err(|error| DataError::file(&draft, error.into()))?;
        Ok(Self { api, path, rows })
    }

    /// Removes the table of an earlier run, if there is one.
    pub(crate) fn remove(dir: &Path, api: &'static Api) -> Result<(), FetchError> {
        let path = dir.join(format!("{}.csv", api.name));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(DataError::file(&path, error).into())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn add(&mut self, rows: &[Vec<Cell>]) -> Result<(), FetchError> {
        for row in rows {
            self.rows
                .write_record(row.iter().map(Cell::to_text))
                .map_err(|error| DataError::file(&self.path, error.into()))?;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<(), FetchError> {
        let file = self.rows.into_inner().map_err(|error| {
            let source = std::io::Error::other(error.to_string());
            DataError::file(&self.path, source)
        })?;
        let published = file
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| publish_draft(&self.path));
        Ok(published.map_err(|error| DataError::file(&self.path, error))?)
    }
}
