//! Replaces a file as a whole.
//!
//! The contents are written to a draft next to the file, `NAME.new`, and the draft is renamed. A reader, and a restart
//! after `kill -9`, finds the old contents or the new ones, never a part. [`write_atomically`] also forces the draft and
//! its directory to the disk, so that the same holds after a power cut.
//!
//! The draft has a fixed name, so that a killed process leaves one file at most and the next write removes it. Two
//! processes must not replace the same file at the same time; callers that share a directory hold a lock.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Replaces the file at `path` with `contents`, safe against power cuts.
///
/// # Errors
/// When the draft cannot be written, synced or renamed; the old file is then still there.
pub fn write_atomically(path: &Path, contents: &[u8]) -> io::Result<()> {
    write_atomically_with(path, |file| file.write_all(contents))
}

/// As [`write_atomically`], for a file that only its owner may read and write: a key or a token. No other user can open it
/// at any time, whatever the umask.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_private_atomically(path: &Path, contents: &[u8]) -> io::Result<()> {
    let draft = draft_path(path);
    // One that was left behind may be open to others.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = || {
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(contents)?;
        file.sync_all()
    };
    written().inspect_err(|_| remove(&draft))?;
    publish_draft(path)
}

/// As [`write_atomically`], with contents that `write` produces.
///
/// # Errors
/// As [`write_atomically`], and those of `write`.
pub fn write_atomically_with<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
) -> Result<(), E> {
    write_draft(path, write)?;
    Ok(publish_draft(path)?)
}

/// Replaces the file at `path` with `contents` without waiting for the disk: safe against kills, not against power cuts.
/// For files that are written often and whose loss costs little.
///
/// # Errors
/// When the draft cannot be written or renamed.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that replaces files"
)]
pub fn replace_unsynced(path: &Path, contents: &[u8]) -> io::Result<()> {
    let draft = draft_path(path);
    fs::write(&draft, contents)
        .and_then(|()| fs::rename(&draft, path))
        .inspect_err(|_| remove(&draft))
}

/// The first half of [`write_atomically_with`]: the draft is on the disk afterwards, the file is unchanged.
///
/// # Errors
/// As [`write_atomically_with`]; the draft is then removed.
pub fn write_draft<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
) -> Result<(), E> {
    let draft = draft_path(path);
    let written = || {
        let mut file = BufWriter::new(File::create(&draft)?);
        write(&mut file)?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(file.sync_all()?)
    };
    written().inspect_err(|_| remove(&draft))
}

/// The second half of [`write_atomically_with`]: the draft takes the place of the file.
///
/// # Errors
/// When the draft cannot be renamed or the directory not synced.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that replaces files"
)]
pub fn publish_draft(path: &Path) -> io::Result<()> {
    fs::rename(draft_path(path), path)?;
    sync_directory(path.parent().unwrap_or(Path::new("")))
}

/// Where the draft of the file at `path` is written.
#[must_use]
pub fn draft_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Forces the names in a directory to the disk; the empty path is the working directory. File systems that cannot sync a
/// directory are accepted.
///
/// # Errors
/// When the directory cannot be opened or synced.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    let directory = match directory.as_os_str().is_empty() {
        true => Path::new("."),
        false => directory,
    };
    match File::open(directory)?.sync_all() {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// The write has failed; a draft that cannot be removed either is replaced by the next write.
fn remove(draft: &Path) {
    let _ = fs::remove_file(draft);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_no_draft_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        fs::write(draft_path(&path), "left by a killed process").unwrap();
        write_atomically(&path, b"one").unwrap();
        replace_unsynced(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(directory.path()), ["state.json"]);
    }

    #[test]
    fn a_private_file_is_closed_to_others_even_over_an_open_draft() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.key");
        fs::write(draft_path(&path), "open to all").unwrap();
        fs::write(&path, "open to all").unwrap();
        write_private_atomically(&path, b"secret").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"secret");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(names(directory.path()), ["node.key"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_draft() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        write_atomically(&path, b"old").unwrap();
        let failed = write_atomically_with(&path, |file| {
            file.write_all(b"half of the new")?;
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(directory.path()), ["state.json"]);
    }

    #[test]
    fn between_the_two_halves_the_old_file_is_still_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index");
        write_atomically(&path, b"old").unwrap();
        write_draft(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        publish_draft(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing/file");
        let error = write_atomically(&path, b"").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
