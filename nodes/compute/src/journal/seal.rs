//! Finishing a segment: its index is written, it gets its number, and the next one begins.
//!
//! Each step leaves files from which the next start can continue: an index without its segment is not used, and a missing
//! active segment is begun.

use std::fs::OpenOptions;

use heqis_data::journal::JournalError;

use super::file::JournalFile;
use super::files::{lock, move_new, open_regular, publish_index, sync_dir, write_index_draft};

/// The steps, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The segment is forced to the disk.
    Sync,
    /// The index is written to a draft.
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
                self.continue_in(file, day)?;
                self.sync()?;
                sync_dir(self.names.dir())
            }
        }
    }
}
