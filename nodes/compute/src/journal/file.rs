//! The journal's file: opened fresh or resumed, appended to, closed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use heqis_quant::QuantError;
use heqis_quant::decision::journal::{Contents, Line, Place, Record};
use thiserror::Error;

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
    #[error(transparent)]
    Corrupt(#[from] QuantError),
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

fn parse(path: &Path, text: &[u8]) -> Result<Contents, JournalError> {
    Ok(Contents::parse(text, &path.display().to_string())?)
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
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<(Place, Record)>), JournalError> {
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
        let mut line = String::new();
        Line::Header.write(&mut line);
        journal.append(&line, 0)?;
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
        Line::Closing {
            decisions: self.decisions,
        }
        .write(&mut line);
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
