//! Finishing a segment: its index is written, it gets its number, and the next one begins.
//!
//! Each step leaves files that the next start can go on from: an index without its segment is not used, and a missing
//! active segment is begun.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use heqis_base::files::{publish_draft, sync_directory, write_draft};
use heqis_data::journal::{JournalError, Names};
use heqis_quant::decision::journal::Index;

use super::file::{JournalFile, lock, open_regular};

/// The steps, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The segment is forced to the disk.
    Sync,
    /// The index is written beside its name.
    WriteIndex,
    /// The index gets its name.
    NameIndex,
    /// The segment gets its number.
    Move,
    /// The next segment is begun.
    Begin,
}

pub(super) const STEPS: [Step; 5] = [
    Step::Sync,
    Step::WriteIndex,
    Step::NameIndex,
    Step::Move,
    Step::Begin,
];

impl JournalFile {
    /// Finishes the active segment and begins the next one on day `day` of the clock.
    pub(super) fn seal(&mut self, day: i64) -> Result<(), JournalError> {
        STEPS.iter().try_for_each(|&step| self.step(step, day))
    }

    /// One step of finishing the active segment.
    pub(super) fn step(&mut self, step: Step, day: i64) -> Result<(), JournalError> {
        let active = self.names.active().to_owned();
        match step {
            Step::Sync => self.sync(),
            Step::WriteIndex => write_index_draft(&self.names, &self.index()),
            Step::NameIndex => publish_index(&self.names, self.header.segment),
            Step::Move => {
                move_new(&active, &self.names.segment(self.header.segment))?;
                sync_dir(self.names.dir())
            }
            Step::Begin => {
                let file = open_regular(&active, OpenOptions::new().create_new(true))?;
                lock(&active, &file)?;
                self.go_on_in(file, day)?;
                self.sync()?;
                sync_dir(self.names.dir())
            }
        }
    }
}

/// Writes an index so that it is there as a whole or not at all.
pub(super) fn write_index(names: &Names, index: &Index) -> Result<(), JournalError> {
    write_index_draft(names, index)?;
    publish_index(names, index.segment)
}

fn write_index_draft(names: &Names, index: &Index) -> Result<(), JournalError> {
    let path = names.index(index.segment);
    write_draft(&path, |file| file.write_all(index.text().as_bytes()))
        .map_err(JournalError::io(&path, "write"))
}

fn publish_index(names: &Names, number: u64) -> Result<(), JournalError> {
    let path = names.index(number);
    publish_draft(&path).map_err(JournalError::io(&path, "write"))
}

/// Renames a file to a name that is not there. Whoever else would give it that name holds the journal's lock first.
pub(super) fn move_new(from: &Path, to: &Path) -> Result<(), JournalError> {
    match std::fs::symlink_metadata(to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Ok(_) => {
            let exists = io::ErrorKind::AlreadyExists.into();
            return Err(JournalError::io(to, "keep a file under its name")(exists));
        }
        Err(error) => return Err(JournalError::io(to, "look at")(error)),
    }
    std::fs::rename(from, to).map_err(JournalError::io(to, "keep a file under its name"))
}

/// Forces the names in a directory to the disk.
pub(super) fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    sync_directory(dir).map_err(JournalError::io(dir, "sync"))
}
