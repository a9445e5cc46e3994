//! The record of a search: a line for each trial, so that an interrupted search goes on and every trial counts.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::LabError;

/// Name of the file.
pub(super) const FILE: &str = "trials.jsonl";

/// A trial that is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// Its number, from 0.
    pub trial: usize,
    /// Its place in each dimension, from 0 to below 1.
    pub place: Vec<f64>,
    /// The values there.
    pub values: BTreeMap<String, serde_json::Value>,
    /// Mean of the folds' annual Sharpe ratios less its standard error.
    pub score: f64,
    /// Sharpe ratio of one day over all folds joined; 0 where the account did not move.
    pub daily_sharpe: f64,
}

/// The first line: what the trials belong to.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Head {
    search: serde_json::Value,
}

/// An open record.
pub(super) struct Record {
    path: PathBuf,
    file: File,
    /// All trials.
    pub(super) trials: Vec<TrialRecord>,
}

impl Record {
    /// Opens the record of this search, or begins one. The rest of a line that a killed search has left is removed.
    ///
    /// # Errors
    /// [`LabError`] when it cannot be read or written, another process has it, or it is one of another search.
    pub(super) fn open(dir: &Path, search: serde_json::Value) -> Result<Self, LabError> {
        let path = dir.join(FILE);
        std::fs::create_dir_all(dir).map_err(|source| LabError::file(dir, source))?;
        let failed = |source| LabError::file(&path, source);
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                let rule = "must not be in use by another search";
                return Err(LabError::rule(path.display().to_string(), rule));
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        let head = Head { search };
        let (mut trials, mut valid, mut has_head) = (Vec::new(), 0u64, false);
        let mut lines = BufReader::new(&file);
        let mut line = String::new();
        loop {
            line.clear();
            match lines.read_line(&mut line) {
                Ok(0) => break,
                Ok(_) if !line.ends_with('\n') => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::InvalidData => break,
                Err(error) => return Err(failed(error)),
            }
            let place = || {
                format!(
                    "{} line {}",
                    path.display(),
                    trials.len() + 1 + usize::from(has_head)
                )
            };
            if has_head {
                let trial: TrialRecord = serde_json::from_str(&line)
                    .map_err(|error| LabError::rule_got(place(), "must be a trial", error))?;
                if trial.trial != trials.len() {
                    let rule = format!("must be trial {}", trials.len());
                    return Err(LabError::rule_got(place(), rule, trial.trial));
                }
                trials.push(trial);
            } else {
                let before: Head = serde_json::from_str(&line).map_err(|error| {
                    LabError::rule_got(place(), "must be a record of a search", error)
                })?;
                if before != head {
                    let rule = "must be of the same bars, candidates, space, folds, sampler and seed; choose another --out";
                    return Err(LabError::rule_got(
                        place(),
                        rule,
                        changed(&before.search, &head.search),
                    ));
                }
                has_head = true;
            }
            valid += line.len() as u64;
        }
        file.set_len(valid).map_err(failed)?;
        if !has_head {
            write_line(&mut file, &path, &head)?;
        }
        Ok(Self { path, file, trials })
    }

    /// Adds trials; they are on the disk when it returns.
    pub(super) fn add(&mut self, trials: Vec<TrialRecord>) -> Result<(), LabError> {
        for trial in trials {
            write_line(&mut self.file, &self.path, &trial)?;
            self.trials.push(trial);
        }
        self.file
            .sync_data()
            .map_err(|source| LabError::file(&self.path, source))
    }
}

fn write_line(file: &mut File, path: &Path, line: &impl Serialize) -> Result<(), LabError> {
    let mut line = serde_json::to_vec(line).map_err(|error| LabError::json(path, error))?;
    line.push(b'\n');
    file.write_all(&line)
        .map_err(|source| LabError::file(path, source))
}

/// The names of the entries that differ.
fn changed(a: &serde_json::Value, b: &serde_json::Value) -> String {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
        return "another record".into();
    };
    let names = a.iter().filter(|(name, value)| b.get(*name) != Some(value));
    let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
    format!("another {}", names.join(", "))
}
