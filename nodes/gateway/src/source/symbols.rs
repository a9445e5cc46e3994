//! A file that names the symbols that a live source admits.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use heqis_actors::read_small_file;
use heqis_quant::Symbol;

/// Longest list that is read, bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A list of codes, one a line; what follows a `#` is a comment.
#[derive(Debug)]
pub(super) struct SymbolsFile {
    path: PathBuf,
    /// Most codes that it may name.
    max: usize,
    codes: HashSet<Symbol>,
    /// Time and length of the file as it was last read, or tried to be.
    version: Option<(SystemTime, u64)>,
}

impl SymbolsFile {
    /// Reads the list.
    ///
    /// # Errors
    /// What is wrong with the file, with its path.
    pub(super) fn open(path: PathBuf, max: usize) -> Result<Self, String> {
        let version = version(&path).ok();
        let codes = read(&path, max)?;
        Ok(Self {
            path,
            max,
            codes,
            version,
        })
    }

    pub(super) fn contains(&self, symbol: Symbol) -> bool {
        self.codes.contains(&symbol)
    }

    /// How many codes there are.
    pub(super) fn len(&self) -> usize {
        self.codes.len()
    }

    /// Reads the list again when the file has changed; returns whether it was. A file that cannot be used leaves the list
    /// as it is: half a list would stop the bars of all others.
    pub(super) fn refresh(&mut self) -> Result<bool, String> {
        let now = version(&self.path).map_err(|error| message(&self.path, &error))?;
        if self.version == Some(now) {
            return Ok(false);
        }
        self.version = Some(now);
        self.codes = read(&self.path, self.max)?;
        Ok(true)
    }
}

fn version(path: &Path) -> io::Result<(SystemTime, u64)> {
    let file = std::fs::metadata(path)?;
    Ok((file.modified()?, file.len()))
}

fn message(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn read(path: &Path, max: usize) -> Result<HashSet<Symbol>, String> {
    let bytes = read_small_file(path, MAX_BYTES).map_err(|error| message(path, &error))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{}: is not UTF-8", path.display()))?;
    let mut codes = HashSet::new();
    for (line, number) in text.lines().zip(1_usize..) {
        let code = line.split('#').next().unwrap_or_default().trim();
        if code.is_empty() {
            continue;
        }
        let symbol = Symbol::parse(code)
            .map_err(|error| format!("{}: line {number}: {error}", path.display()))?;
        codes.insert(symbol);
    }
    if codes.is_empty() {
        return Err(format!("{}: names no symbol", path.display()));
    }
    if codes.len() > max {
        let count = codes.len();
        return Err(format!(
            "{}: names {count} symbols, max_symbols is {max}",
            path.display()
        ));
    }
    Ok(codes)
}
