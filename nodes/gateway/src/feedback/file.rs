//! The file of a `feedback` stage: a line per decision, and the number of the last one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use heqis_actors::{Origin, StageError};
use heqis_messages::DecisionMessage;

/// Bytes at the file's end in which its last whole line is looked for; a line has less than a fifth of them.
const TAIL_BYTES: u64 = 1024;

/// Decisions that are written down once.
#[derive(Debug)]
pub(super) struct DecisionFile {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines; a failed append is cut back to here.
    bytes: u64,
    /// Number of the last decision that has one, 0 before the first.
    last: u64,
}

/// What keeps `path` from being such a file, as far as can be seen without touching it.
pub(super) fn fault(path: &Path) -> Option<String> {
    (path.exists() && !path.is_file()).then(|| format!("{} is not a regular file", path.display()))
}

impl DecisionFile {
    /// Opens the file or makes it, cuts a torn last line off, and reads the last number.
    pub(super) fn open(path: &Path) -> Result<Self, StageError> {
        if let Some(fault) = fault(path) {
            return Err(StageError::config(fault));
        }
        let failed = |error: io::Error| StageError::config(format!("{}: {error}", path.display()));
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(failed)?;
        }
        let mut options = OpenOptions::new();
        let options = options.create(true).read(true).append(true);
        let mut file = options.open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let start = length.saturating_sub(TAIL_BYTES);
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        file.read_to_end(&mut tail).map_err(failed)?;
        let whole = tail
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |end| end + 1);
        if whole == 0 && start > 0 {
            return Err(StageError::config(format!(
                "{}: no line ends in its last {TAIL_BYTES} bytes",
                path.display()
            )));
        }
        let last = match number(&tail[..whole], start == 0) {
            Ok(last) => last,
            Err(rule) => {
                return Err(StageError::config(format!("{}: {rule}", path.display())));
            }
        };
        let bytes = start + whole as u64;
        if bytes < length {
            tracing::warn!(path = %path.display(), bytes = length - bytes, "a torn line is cut off");
            file.set_len(bytes).map_err(failed)?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes,
            last,
        })
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Appends a decision. A failed write leaves no torn line.
    pub(super) fn append(
        &mut self,
        origin: Origin,
        message: &DecisionMessage,
    ) -> Result<(), StageError> {
        let DecisionMessage {
            decision, number, ..
        } = message;
        let (stream, position) = (origin.stream, origin.position);
        let (symbol, date, side) = (decision.symbol, decision.date, decision.side);
        let line = format!("{number},{stream:016x},{position},{symbol},{date},{side}\n");
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            let cut = self.file.set_len(self.bytes);
            let error = cut.err().unwrap_or(error);
            return Err(StageError::unavailable(format!(
                "{}: {error}",
                self.path.display()
            )));
        }
        self.bytes += line.len() as u64;
        self.last = self.last.max(*number);
        Ok(())
    }
}

/// The last number that is not 0 in whole lines, the first of which may be cut unless it is the file's first one.
fn number(lines: &[u8], from_start: bool) -> Result<u64, String> {
    let mut lines: Vec<&[u8]> = lines.split_inclusive(|&byte| byte == b'\n').collect();
    if !from_start && lines.len() > 1 {
        lines.remove(0);
    }
    for line in lines.iter().rev() {
        let text = String::from_utf8_lossy(line);
        let number = text.split_once(',').and_then(|(n, _)| n.parse().ok());
        match number {
            None => return Err(format!("not a line of decisions: {}", text.trim_end())),
            Some(0) => {}
            Some(number) => return Ok(number),
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn opened(text: &str) -> (Result<u64, String>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("decisions.csv");
        std::fs::write(&path, text).unwrap();
        let last = DecisionFile::open(&path).map(|file| file.last());
        (
            last.map_err(|error| error.to_string()),
            std::fs::read_to_string(&path).unwrap(),
        )
    }

    #[test]
    fn the_last_number_is_read_back_and_a_torn_line_is_cut_off() {
        let line = |n: u64| format!("{n},00000000000000ab,7,600000.SH,2006-01-06,hold\n");
        let many: String = (1..=100).map(line).collect();
        for (text, last, kept) in [
            (String::new(), 0, 0),
            ("3,00".into(), 0, 0),
            (line(1), 1, line(1).len()),
            (line(1) + "2,000", 1, line(1).len()),
            (line(4) + &line(0), 4, 2 * line(4).len()),
            (many.clone() + "101,0", 100, many.len()),
        ] {
            let (got, left) = opened(&text);
            assert_eq!(got, Ok(last));
            assert_eq!(left, text[..kept]);
        }
    }

    #[test]
    fn another_file_is_refused_and_left_as_it_is() {
        let text = "a letter\nto a friend\n";
        let (got, left) = opened(text);
        assert!(got.is_err_and(|error| error.contains("not a line of decisions")));
        assert_eq!(left, text);
        assert!(opened(&"x".repeat(2_000)).0.is_err());
    }
}
