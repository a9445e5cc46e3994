//! Reads small files: settings, lists of names, a word written by an operator.

use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind, Read as _, Result};
use std::path::Path;

/// Reads a regular file of at most `max_bytes` bytes. Never waits for another process and never reads more than that.
///
/// # Errors
/// Those of the system; [`ErrorKind::InvalidInput`] when the path names a directory, a pipe, a socket or a device, and
/// [`ErrorKind::FileTooLarge`] when the file is longer.
pub fn read_small_file(path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    // Checked before it is opened: opening a pipe waits for a writer, and opening a device may have an effect.
    plain(&std::fs::metadata(path)?)?;
    let file = File::open(path)?;
    plain(&file.metadata()?)?;
    // The limit applies while reading, because the file may grow.
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let rule = format!("must hold at most {max_bytes} bytes");
        return Err(Error::new(ErrorKind::FileTooLarge, rule));
    }
    Ok(bytes)
}

fn plain(kind: &Metadata) -> Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    let what = match kind.is_dir() {
        true => "directory",
        false => "pipe, socket or device",
    };
    let rule = format!("must be a regular file, and is a {what}");
    Err(Error::new(ErrorKind::InvalidInput, rule))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, b"word").unwrap();
        assert_eq!(read_small_file(&file, 4).unwrap(), b"word");
        let refused = |path: &Path, max| {
            let error = read_small_file(path, max).unwrap_err();
            (error.kind(), error.to_string())
        };
        let (kind, rule) = refused(&file, 3);
        assert_eq!(
            (kind, rule.as_str()),
            (ErrorKind::FileTooLarge, "must hold at most 3 bytes")
        );
        let (kind, rule) = refused(directory.path(), 4);
        assert_eq!(kind, ErrorKind::InvalidInput);
        assert!(rule.ends_with("is a directory"), "{rule}");
        let (kind, rule) = refused(Path::new("/dev/zero"), 4);
        assert_eq!(kind, ErrorKind::InvalidInput);
        assert!(rule.ends_with("is a pipe, socket or device"), "{rule}");
        let (kind, _) = refused(&directory.path().join("none"), 4);
        assert_eq!(kind, ErrorKind::NotFound);
    }
}
