//! A commit log in a file: a line for each record, with the source items that it is made from.
//!
//! ```text
//! {"origins":{"done":[{"stream":7,"first":1,"last":10}],"kept":[],"tag":0},"text":"55"}
//! ```
//!
//! A line is written with one write; a line without its end is left by a killed writer and is cut off.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::file_lock::lock_for_writing;
use crate::origins::Origins;

/// A record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitRecord {
    /// The source items that it is made from.
    pub origins: Origins,
    /// What a program wrote.
    pub text: String,
}

/// Reads the texts of a commit log, oldest first; none where the file does not exist.
///
/// # Errors
/// Those of the system; [`io::ErrorKind::InvalidData`] with file and line where a line is no record.
pub fn read_commit_log(path: impl AsRef<Path>) -> io::Result<Vec<String>> {
    let (records, _) = read(path.as_ref())?;
    Ok(records.into_iter().map(|record| record.text).collect())
}

/// The records, and the bytes of their lines.
fn read(path: &Path) -> io::Result<(Vec<CommitRecord>, u64)> {
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read?,
    };
    let whole = text
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |end| end + 1);
    let lines = text[..whole].split_inclusive(|&byte| byte == b'\n');
    let record = |(at, line): (usize, &[u8])| {
        serde_json::from_slice(line).map_err(|error| {
            let place = format!("{}, line {}: {error}", path.display(), at + 1);
            io::Error::new(io::ErrorKind::InvalidData, place)
        })
    };
    let records: io::Result<_> = lines.enumerate().map(record).collect();
    Ok((records?, whole as u64))
}

/// A commit log that is being written. One process writes it at a time.
#[derive(Debug)]
pub struct CommitLogFile {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines; a failed write is cut back to here.
    bytes: u64,
}

impl CommitLogFile {
    /// Opens the log at `path`, creates it where it does not exist, and returns its records.
    ///
    /// # Errors
    /// Those of [`read_commit_log`]; [`io::ErrorKind::WouldBlock`] where another process or stage writes it.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<(Self, Vec<CommitRecord>)> {
        let path = path.into();
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        if !lock_for_writing(&file)? {
            let rule = format!("{}: another process or stage is writing it", path.display());
            return Err(io::Error::new(io::ErrorKind::WouldBlock, rule));
        }
        let (records, bytes) = read(&path)?;
        file.set_len(bytes)?;
        Ok((Self { path, file, bytes }, records))
    }

    /// Appends records with one write. A failed write leaves none of them.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn append(&mut self, records: &[CommitRecord]) -> io::Result<()> {
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, record)?;
            lines.push(b'\n');
        }
        if let Err(error) = self.file.write_all(&lines) {
            self.file.set_len(self.bytes)?;
            let place = format!("{}: {error}", self.path.display());
            return Err(io::Error::new(error.kind(), place));
        }
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// Forces what was written to the disk, against power cuts.
    ///
    /// # Errors
    /// Those of the system.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::origins::OriginRun;

    fn record(position: u64) -> CommitRecord {
        let run = OriginRun {
            stream: 7,
            first: position,
            last: position,
        };
        CommitRecord {
            origins: Origins::from_parts([run], [], 0),
            text: format!("line {position}\nand more"),
        }
    }

    #[test]
    fn a_log_is_read_as_it_was_written_and_a_torn_line_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert_eq!(read_commit_log(&path).unwrap(), Vec::<String>::new());
        let (mut log, found) = CommitLogFile::open(&path).unwrap();
        assert_eq!(found, []);
        log.append(&[record(1), record(2)]).unwrap();
        let busy = CommitLogFile::open(&path).unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::WouldBlock);
        drop(log);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], &whole[..20]].concat()).unwrap();
        assert_eq!(read_commit_log(&path).unwrap().len(), 2);
        let (mut log, found) = CommitLogFile::open(&path).unwrap();
        assert_eq!(found, [record(1), record(2)]);
        log.append(&[record(3)]).unwrap();
        log.sync().unwrap();
        assert_eq!(read_commit_log(&path).unwrap()[2], "line 3\nand more");
        std::fs::write(&path, [&whole[..20], b"\n", &whole[..]].concat()).unwrap();
        let damaged = read_commit_log(&path).unwrap_err();
        assert!(damaged.to_string().contains("log, line 1: "), "{damaged}");
    }
}
