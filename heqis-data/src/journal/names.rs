//! The names of a journal's files, and which of them exist.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::JournalError;

/// The least digits of a segment's number.
const DIGITS: usize = 6;

/// The names of a journal's files, derived from the path of its active segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    active: PathBuf,
    dir: PathBuf,
    stem: String,
    /// With its dot; empty if the path has none.
    extension: String,
}

/// The numbers of existing finished segments and indexes, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Finished segments.
    pub segments: Vec<u64>,
    /// Indexes, with or without their segments.
    pub indexes: Vec<u64>,
}

impl Names {
    /// The names of the journal at `path`.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.unwrap_or_default().to_string_lossy().into_owned()
        };
        let dir = match path.parent() {
            Some(dir) if dir != Path::new("") => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        Self {
            active: path.to_owned(),
            dir,
            stem: text(path.file_stem()),
            extension: path
                .extension()
                .map(|extension| format!(".{}", extension.to_string_lossy()))
                .unwrap_or_default(),
        }
    }

    /// The active segment: the journal's path.
    #[must_use]
    pub fn active(&self) -> &Path {
        &self.active
    }

    /// The directory of all files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The finished segment `number`.
    #[must_use]
    pub fn segment(&self, number: u64) -> PathBuf {
        self.sibling(&format!(
            ".{number:0width$}{}",
            self.extension,
            width = DIGITS
        ))
    }

    /// The index of segment `number`.
    #[must_use]
    pub fn index(&self, number: u64) -> PathBuf {
        self.sibling(&format!(".{number:0width$}.index.json", width = DIGITS))
    }

    /// A run that was set aside, as its own journal.
    #[must_use]
    pub fn run(&self, number: u64) -> Self {
        Self::of(&self.sibling(&format!(".run-{number:04}{}", self.extension)))
    }

    /// The time stamps of decisions' stages, next to the journal.
    #[must_use]
    pub fn timings(&self) -> PathBuf {
        let mut name = self.active.as_os_str().to_owned();
        name.push(".timings.jsonl");
        name.into()
    }

    fn sibling(&self, rest: &str) -> PathBuf {
        self.active.with_file_name(format!("{}{rest}", self.stem))
    }

    /// Returns which files exist. No file is opened.
    ///
    /// # Errors
    /// [`JournalError::Io`] if the directory cannot be read, [`JournalError::Files`] if a finished segment is missing
    /// between others.
    pub fn find(&self) -> Result<Found, JournalError> {
        let mut found = Found::default();
        for name in self.listed()? {
            let Some(rest) = name.strip_prefix(&self.stem) else {
                continue;
            };
            if let Some(number) = number(rest, ".", ".index.json", DIGITS) {
                found.indexes.push(number);
            } else if let Some(number) = number(rest, ".", &self.extension, DIGITS) {
                found.segments.push(number);
            }
        }
        found.segments.sort_unstable();
        found.indexes.sort_unstable();
        if let Some(gap) = found
            .segments
            .windows(2)
            .find(|pair| pair[0] + 1 != pair[1])
        {
            let missing = self.segment(gap[0] + 1);
            return Err(JournalError::files(
                &missing,
                format!("is missing between segments {} and {}", gap[0], gap[1]),
            ));
        }
        Ok(found)
    }

    /// The highest number of a run that was set aside, 0 without one.
    ///
    /// # Errors
    /// [`JournalError::Io`] if the directory cannot be read.
    pub fn last_run(&self) -> Result<u64, JournalError> {
        let run = |name: String| {
            let rest = name.strip_prefix(&self.stem)?.strip_prefix(".run-")?;
            let digits = rest.split('.').next()?;
            number(digits, "", "", 4)
        };
        let runs = self.listed()?.into_iter().filter_map(run);
        Ok(runs.max().unwrap_or(0))
    }

    /// All existing files of the journal, except those of runs that were set aside.
    ///
    /// # Errors
    /// Those of [`Names::find`].
    pub fn files(&self) -> Result<Vec<PathBuf>, JournalError> {
        let found = self.find()?;
        let mut files: Vec<PathBuf> = found.segments.iter().map(|&n| self.segment(n)).collect();
        files.extend(found.indexes.iter().map(|&n| self.index(n)));
        files.extend([self.active.clone(), self.timings()]);
        files.retain(|file| file.exists());
        Ok(files)
    }

    fn listed(&self) -> Result<Vec<String>, JournalError> {
        let failed = || JournalError::io(&self.dir, "list");
        let entries = match std::fs::read_dir(&self.dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed())?,
        };
        let names: Result<Vec<OsString>, _> = entries
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect();
        let names = names.map_err(failed())?;
        Ok(names
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .collect())
    }
}

/// The number between `before` and `after`, if written like this program writes it.
fn number(text: &str, before: &str, after: &str, width: usize) -> Option<u64> {
    let digits = text.strip_prefix(before)?.strip_suffix(after)?;
    let number: u64 = digits.parse().ok()?;
    (number > 0 && format!("{number:0width$}") == digits).then_some(number)
}
