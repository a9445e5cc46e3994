//! Opens, locks and renames the files of a journal.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use heqis_base::files::{publish_draft, sync_directory, write_draft};
use heqis_data::journal::reader::NOT_REGULAR;
use heqis_data::journal::{JournalError, Names};
use heqis_quant::decision::journal::SegmentIndex;

/// How often a path may change its file between opening and locking.
const ATTEMPTS: usize = 8;

/// Returns what prevents `path` from being a journal, as far as can be checked without opening it.
pub(super) fn fault(path: &Path) -> Option<String> {
    if path.exists() && !path.is_file() {
        return Some(format!("{} {NOT_REGULAR}", path.display()));
    }
    // The nearest directory that exists; those below it are created.
    let above = path.ancestors().skip(1).find(|above| above.exists())?;
    (!above.is_dir()).then(|| format!("{} is not a directory", above.display()))
}

/// Opens a regular file for reading and appending. Pipes and devices are refused: reading one may never end.
pub(super) fn open_regular(path: &Path, how: &mut OpenOptions) -> Result<File, JournalError> {
    let file = how
        .read(true)
        .append(true)
        .open(path)
        .map_err(JournalError::io(path, "open"))?;
    let meta = file.metadata().map_err(JournalError::io(path, "open"))?;
    if meta.is_file() {
        Ok(file)
    } else {
        Err(JournalError::io(path, "open")(io::Error::other(
            NOT_REGULAR,
        )))
    }
}

/// Locks a journal's file for this process and stage.
pub(super) fn lock(path: &Path, file: &File) -> Result<(), JournalError> {
    match heqis_actors::lock_for_writing(file).map_err(JournalError::io(path, "lock"))? {
        true => Ok(()),
        false => Err(JournalError::Locked {
            path: path.to_owned(),
        }),
    }
}

/// Opens and locks the active segment; creates it when it is missing.
pub(super) fn open_locked(path: &Path) -> Result<File, JournalError> {
    for _ in 0..ATTEMPTS {
        let file = open_regular(path, OpenOptions::new().create(true))?;
        lock(path, &file)?;
        let meta = file.metadata().map_err(JournalError::io(path, "open"))?;
        // Another process may have finished the segment between opening and locking.
        if std::fs::metadata(path)
            .is_ok_and(|named| (named.dev(), named.ino()) == (meta.dev(), meta.ino()))
        {
            return Ok(file);
        }
    }
    Err(JournalError::Locked {
        path: path.to_owned(),
    })
}

/// Writes an index so that it is there as a whole or not at all.
pub(super) fn write_index(names: &Names, index: &SegmentIndex) -> Result<(), JournalError> {
    write_index_draft(names, index)?;
    publish_index(names, index.segment)
}

pub(super) fn write_index_draft(names: &Names, index: &SegmentIndex) -> Result<(), JournalError> {
    let path = names.index(index.segment);
    write_draft(&path, |file| file.write_all(index.text().as_bytes()))
        .map_err(JournalError::io(&path, "write"))
}

pub(super) fn publish_index(names: &Names, number: u64) -> Result<(), JournalError> {
    let path = names.index(number);
    publish_draft(&path).map_err(JournalError::io(&path, "write"))
}

/// Renames a file to a name that is not there. Every process that could give it that name holds the journal's lock first.
#[expect(
    clippy::disallowed_methods,
    reason = "a segment keeps its bytes under another name"
)]
pub(super) fn move_new(from: &Path, to: &Path) -> Result<(), JournalError> {
    match std::fs::symlink_metadata(to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Ok(_) => {
            let exists = io::ErrorKind::AlreadyExists.into();
            return Err(JournalError::io(to, "keep a file under its name")(exists));
        }
        Err(error) => return Err(JournalError::io(to, "inspect")(error)),
    }
    std::fs::rename(from, to).map_err(JournalError::io(to, "keep a file under its name"))
}

/// Forces the names in a directory to the disk.
pub(super) fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    sync_directory(dir).map_err(JournalError::io(dir, "sync"))
}

/// Suffix of the path while a segment is restored.
pub(super) const RESTORED: &str = ".restore";

/// Gives its name to a segment that was being restored when its process was killed, unless the name is taken.
pub(super) fn finish_restore(path: &Path) -> Result<(), JournalError> {
    let restored = with_suffix(path, RESTORED);
    match path.exists() || !restored.is_file() {
        true => Ok(()),
        false => move_new(&restored, path),
    }
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
