//! The journal's file: opened fresh or resumed, appended to, closed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::record::{Closing, FORMAT, Header, Record, checked, write_line};

/// Why a journal could not be read or written.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("journal {path}: {what}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A line that is not the torn last one breaks the format: the file was changed, or the disk lies.
    #[error("journal {path}, line {line}: {rule}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The rule that it breaks.
        rule: String,
    },
    /// Another process, or another stage of this one, writes the journal.
    #[error("journal {path}: another process or stage is writing it")]
    Locked {
        /// The file.
        path: PathBuf,
    },
}

/// What [`fault`] and opening say of a pipe, a device or a directory.
const NOT_REGULAR: &str = "is not a regular file";

/// What keeps `path` from being a journal, as far as can be seen without touching it.
pub(super) fn fault(path: &Path) -> Option<String> {
    if path.exists() && !path.is_file() {
        return Some(format!("{} {NOT_REGULAR}", path.display()));
    }
    // The nearest directory that is there; those below it are made.
    let above = path.ancestors().skip(1).find(|above| above.exists())?;
    (!above.is_dir()).then(|| format!("{} is not a directory", above.display()))
}

/// What a journal holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// Decisions in order.
    pub records: Vec<Record>,
    /// Whether the closing record is there; without it the writer was killed or still runs.
    pub closed: bool,
    /// Bytes of whole lines; what is behind them is a torn write.
    pub whole_bytes: u64,
}

/// Reads a journal and checks every line. A torn last line is left out.
///
/// # Errors
/// [`JournalError::Corrupt`] naming the line and the rule.
pub fn read(path: &Path) -> Result<Contents, JournalError> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut text))
        .map_err(io_error(path, "read"))?;
    parse(path, &text)
}

fn header_line() -> String {
    let mut line = String::new();
    write_line(
        &Header {
            heqis_journal: FORMAT,
        },
        &mut line,
    );
    line
}

fn parse(path: &Path, text: &[u8]) -> Result<Contents, JournalError> {
    let mut contents = Contents {
        records: Vec::new(),
        closed: false,
        whole_bytes: 0,
    };
    let corrupt = |line, rule| JournalError::Corrupt {
        path: path.to_owned(),
        line,
        rule,
    };
    for (index, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let number = index + 1;
        let Some(line) = line.strip_suffix(b"\n") else {
            break;
        };
        let line = std::str::from_utf8(line).map_err(|_| corrupt(number, "is not UTF-8".into()))?;
        let object = checked(line).map_err(|rule| corrupt(number, rule))?;
        let fault = |error: serde_json::Error| corrupt(number, error.to_string());
        if contents.closed {
            return Err(corrupt(number, "stands behind the closing record".into()));
        }
        if index == 0 {
            let header: Header = serde_json::from_str(&object).map_err(fault)?;
            if header.heqis_journal != FORMAT {
                return Err(corrupt(
                    number,
                    format!("format {} is not {FORMAT}", header.heqis_journal),
                ));
            }
        } else if object.starts_with("{\"decisions\"") {
            let closing: Closing = serde_json::from_str(&object).map_err(fault)?;
            if closing.decisions != contents.records.len() as u64 {
                let rule = format!(
                    "closes {} decisions, {} are there",
                    closing.decisions,
                    contents.records.len()
                );
                return Err(corrupt(number, rule));
            }
            contents.closed = true;
        } else {
            let record: Record = serde_json::from_str(&object).map_err(fault)?;
            if record.n != contents.records.len() as u64 + 1 {
                return Err(corrupt(
                    number,
                    format!(
                        "decision {} stands at {}",
                        record.n,
                        contents.records.len() + 1
                    ),
                ));
            }
            if u64::from_str_radix(&record.stream, 16).is_err() {
                return Err(corrupt(
                    number,
                    format!("stream '{}' is not hexadecimal", record.stream),
                ));
            }
            contents.records.push(record);
        }
        contents.whole_bytes += line.len() as u64 + 1;
    }
    if contents.whole_bytes == 0 && !header_line().as_bytes().starts_with(text) {
        // Not a header that was cut off: somebody else's file, which must not be taken for a torn one and emptied.
        return Err(corrupt(1, "is not the header of a journal".into()));
    }
    Ok(contents)
}

/// A journal that is being written.
#[derive(Debug)]
pub(super) struct JournalFile {
    path: PathBuf,
    file: File,
    decisions: u64,
    /// Bytes of whole lines; a failed append is cut back to here.
    whole_bytes: u64,
}

impl JournalFile {
    /// Opens the journal at `path`. An unfinished one is resumed, its records are returned and a torn last line is cut
    /// off; a finished one is kept as `<path>.prev`, in place of the one before it.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Record>), JournalError> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(io_error(path, "make its directory"))?;
        }
        let file = open_locked(path)?;
        let mut text = Vec::new();
        (&file)
            .read_to_end(&mut text)
            .map_err(io_error(path, "read"))?;
        let contents = parse(path, &text)?;
        if contents.closed {
            std::fs::rename(path, beside(path, ".prev"))
                .map_err(io_error(path, "keep the finished journal"))?;
            let file = open_locked(path)?;
            return Self::begin(path, file).map(|journal| (journal, Vec::new()));
        }
        if contents.whole_bytes == 0 {
            return Self::begin(path, file).map(|journal| (journal, Vec::new()));
        }
        let torn = text.len() as u64 - contents.whole_bytes;
        if torn > 0 {
            tracing::warn!(path = %path.display(), bytes = torn, "a torn line is cut off the journal");
        }
        let decisions = contents.records.len() as u64;
        let mut journal = Self {
            path: path.to_owned(),
            file,
            decisions,
            whole_bytes: contents.whole_bytes,
        };
        journal.cut_back()?;
        Ok((journal, contents.records))
    }

    fn begin(path: &Path, file: File) -> Result<Self, JournalError> {
        let mut journal = Self {
            path: path.to_owned(),
            file,
            decisions: 0,
            whole_bytes: 0,
        };
        journal.cut_back()?;
        journal.append(&header_line(), 0)?;
        Ok(journal)
    }

    /// Decisions written so far.
    pub(super) fn decisions(&self) -> u64 {
        self.decisions
    }

    /// Appends whole lines that hold `decisions` decisions, with one write. A failed write leaves no torn line.
    pub(super) fn append(&mut self, lines: &str, decisions: u64) -> Result<(), JournalError> {
        if let Err(error) = self.file.write_all(lines.as_bytes()) {
            self.cut_back()?;
            return Err(io_error(&self.path, "append")(error));
        }
        self.decisions += decisions;
        self.whole_bytes += lines.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), JournalError> {
        self.file.sync_data().map_err(io_error(&self.path, "sync"))
    }

    /// Writes the closing record: the run ended on purpose, and the next one starts a new journal.
    pub(super) fn close(&mut self) -> Result<(), JournalError> {
        let mut line = String::new();
        write_line(
            &Closing {
                decisions: self.decisions,
            },
            &mut line,
        );
        self.append(&line, 0)?;
        self.sync()
    }

    fn cut_back(&mut self) -> Result<(), JournalError> {
        self.file
            .set_len(self.whole_bytes)
            .map_err(io_error(&self.path, "cut off a torn line"))?;
        self.file
            .seek(SeekFrom::End(0))
            .map_err(io_error(&self.path, "seek"))?;
        Ok(())
    }
}

/// Opens a file for reading and writing, and makes it if it is missing. Pipes and devices are refused: reading one to its
/// end may last for ever.
fn open_regular(path: &Path) -> Result<File, JournalError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(io_error(path, "open"))?;
    if file.metadata().map_err(io_error(path, "open"))?.is_file() {
        Ok(file)
    } else {
        Err(io_error(path, "open")(io::Error::other(NOT_REGULAR)))
    }
}

fn open_locked(path: &Path) -> Result<File, JournalError> {
    let file = open_regular(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(JournalError::Locked {
            path: path.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(error)) => Err(io_error(path, "lock")(error)),
    }
}

/// Opens the file of time stamps beside the journal; it goes on, after its last whole line, when the journal was resumed.
pub(super) fn open_timings(journal: &Path, resumed: bool) -> Result<File, JournalError> {
    let path = beside(journal, ".timings.jsonl");
    let mut file = open_regular(&path)?;
    let mut text = Vec::new();
    if resumed {
        file.read_to_end(&mut text)
            .map_err(io_error(&path, "read"))?;
    }
    let whole = text
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at as u64 + 1);
    file.set_len(whole)
        .map_err(io_error(&path, "cut off a torn line"))?;
    file.seek(SeekFrom::End(0))
        .map_err(io_error(&path, "seek"))?;
    Ok(file)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn io_error(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { path, what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &[u8] = include_bytes!("../../tests/golden_journal.jsonl");

    /// Every byte of a journal is covered by a rule, except that without its last byte the last line is a torn one.
    #[test]
    fn a_change_of_any_byte_is_noticed() {
        let last = GOLDEN.len() - 1;
        for at in 0..=last {
            for changed in (0..8)
                .map(|bit| GOLDEN[at] ^ (1 << bit))
                .chain([b'\n', b'0', b'f'])
            {
                if changed == GOLDEN[at] {
                    continue;
                }
                let mut bytes = GOLDEN.to_vec();
                bytes[at] = changed;
                match parse(Path::new("changed.jsonl"), &bytes) {
                    Err(JournalError::Corrupt { line, .. }) => {
                        let expected =
                            1 + GOLDEN[..at].iter().filter(|&&byte| byte == b'\n').count();
                        assert_eq!(line, expected, "byte {at} is now {changed:#04x}");
                    }
                    Ok(contents) if at == last => {
                        assert!(!contents.closed && contents.records.len() == 2)
                    }
                    other => panic!("byte {at} is now {changed:#04x}: {other:?}"),
                }
            }
        }
    }
}
