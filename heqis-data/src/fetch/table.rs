//! The tables that leave: one CSV file an interface.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::api::Api;
use super::reply::Cell;
use crate::error::DataError;

/// A CSV table that takes its name when it is whole.
pub(super) struct Table {
    pub(super) api: &'static Api,
    path: PathBuf,
    file: std::io::BufWriter<std::fs::File>,
}

impl Table {
    pub(super) fn create(dir: &Path, api: &'static Api) -> Result<Self, DataError> {
        let path = dir.join(format!("{}.csv", api.name));
        let part = path.with_extension("csv.part");
        let file = std::fs::create_dir_all(dir)
            .and_then(|()| std::fs::File::create(&part))
            .map_err(|error| DataError::file(&part, error))?;
        let names: Vec<&str> = api.fields.iter().map(|(name, _)| *name).collect();
        let mut file = std::io::BufWriter::new(file);
        writeln!(file, "{}", names.join(",")).map_err(|error| DataError::file(&part, error))?;
        Ok(Self { api, path, file })
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
            let cells: Vec<String> = row.iter().map(|cell| quote(&cell.to_text())).collect();
            writeln!(self.file, "{}", cells.join(","))
                .map_err(|error| DataError::file(&self.path, error))?;
        }
        Ok(())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a table that the next run writes again"
    )]
    pub(super) fn finish(mut self) -> Result<(), DataError> {
        self.file
            .flush()
            .and_then(|()| std::fs::rename(self.path.with_extension("csv.part"), &self.path))
            .map_err(|error| DataError::file(&self.path, error))
    }
}

fn quote(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
