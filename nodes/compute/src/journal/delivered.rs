//! How far the journal's decisions have been delivered, in a small file next to it. After a kill, the decisions after that
//! point are emitted again, and their consumer recognises those that it has.

use std::io;
use std::path::{Path, PathBuf};

use heqis_actors::{Deliveries, StageError, read_small_file};
use heqis_base::files::replace_unsynced;
use serde::{Deserialize, Serialize};

/// Nanoseconds after which the file is written again while deliveries come.
const EVERY_NS: i64 = 500_000_000;
/// Most decisions that are emitted again when the file cannot be read.
const AGAIN: u64 = 4096;
/// Longest file that is read, bytes.
const MAX_BYTES: u64 = 4096;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    delivered: u64,
}

/// The file, and what was last written to it.
#[derive(Debug)]
pub(super) struct Delivered {
    path: PathBuf,
    written: u64,
    written_ns: i64,
}

impl Delivered {
    /// Reads how far a journal of `decisions` decisions was delivered. A journal without the file was made by a version
    /// that delivered before it wrote, or is new.
    pub(super) fn open(journal: &Path, decisions: u64) -> Result<Self, StageError> {
        let mut path = journal.as_os_str().to_owned();
        path.push(".delivered");
        let path = PathBuf::from(path);
        let delivered = match read(&path) {
            Ok(Some(delivered)) => delivered.min(decisions),
            Ok(None) => decisions,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the file of deliveries cannot be read; the last decisions are emitted again");
                decisions.saturating_sub(AGAIN)
            }
        };
        let mut opened = Self {
            path,
            written: delivered,
            written_ns: i64::MIN,
        };
        opened.write(delivered).map_err(|error| {
            StageError::unavailable(format!("{}: {error}", opened.path.display()))
        })?;
        Ok(opened)
    }

    /// Decisions that are known to be delivered.
    pub(super) fn known(&self) -> u64 {
        self.written
    }

    /// Saves what is delivered by now, at most twice a second unless it is the `last` time. A failure costs repeats only.
    pub(super) fn keep(&mut self, deliveries: &Deliveries, now_ns: i64, last: bool) {
        let done = deliveries.done();
        let is_due = last || now_ns.saturating_sub(self.written_ns) >= EVERY_NS;
        if done != self.written && is_due {
            self.written_ns = now_ns;
            if let Err(error) = self.write(done) {
                tracing::debug!(path = %self.path.display(), %error, "deliveries are not saved");
            }
        }
    }

    fn write(&mut self, delivered: u64) -> io::Result<()> {
        let text = serde_json::to_string(&Saved { delivered })? + "\n";
        // Twice a second on the thread of the journal, and a lost file costs repeats only.
        replace_unsynced(&self.path, text.as_bytes())?;
        self.written = delivered;
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<Option<u64>> {
    let text = match read_small_file(path, MAX_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let saved: Saved = serde_json::from_slice(&text)?;
    Ok(Some(saved.delivered))
}
