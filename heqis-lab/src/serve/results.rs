//! Result directories: the runs that they hold, and each run's manifest.
//!
//! A run is recognised by its files. Its id is the path below the named directory, and only selects it from the list of a
//! scan; no path is ever made from a request.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use heqis_dashboard::archive::{Artefact, Run, RunKind, RunState};
use heqis_quant::Date;
use serde_json::Value;

use crate::error::LabError;

/// How deep directories are scanned for runs: strategy, mode and stock, and two more.
const MAX_DEPTH: usize = 5;
/// Most directories that are scanned.
const MAX_DIRS: usize = 100_000;
/// How deep the files of a run are listed below its directory.
const MAX_FILE_DEPTH: usize = 2;
/// Most files of a run that are listed.
const MAX_FILES: usize = 500;

/// A directory that is scanned for runs.
#[derive(Clone, Debug)]
pub(super) struct Root {
    /// Prefix of the ids of its runs.
    pub(super) name: String,
    /// The directory.
    pub(super) dir: PathBuf,
}

impl Root {
    /// Names directories after themselves; a second one of the same name gets a number.
    pub(super) fn of(dirs: &[PathBuf]) -> Result<Vec<Self>, LabError> {
        let mut roots: Vec<Self> = Vec::new();
        for dir in dirs {
            // Opened once at the start, so that a wrong path is an error and not an empty page.
            let whole = fs::canonicalize(dir).map_err(|source| LabError::file(dir, source))?;
            fs::read_dir(&whole).map_err(|source| LabError::file(dir, source))?;
            let base = whole
                .file_name()
                .map_or("results".into(), |name| name.to_string_lossy().into_owned());
            let taken = roots
                .iter()
                .filter(|root| root.name == base || root.name.starts_with(&format!("{base}~")))
                .count();
            let name = match taken {
                0 => base,
                more => format!("{base}~{}", more + 1),
            };
            roots.push(Self { name, dir: whole });
        }
        Ok(roots)
    }
}

/// A run found by a scan.
#[derive(Clone, Debug)]
pub(super) struct FoundRun {
    pub(super) id: String,
    pub(super) kind: RunKind,
    pub(super) dir: PathBuf,
}

impl FoundRun {
    /// Returns the id of the run's parent directory, which a strategy's backtests share.
    pub(super) fn parent(&self) -> &str {
        self.id.rsplit_once('/').map_or("", |(parent, _)| parent)
    }

    /// Returns the path of the file that describes the run.
    fn manifest(&self) -> PathBuf {
        self.dir.join(match self.kind {
            RunKind::Backtest => "summary.json",
            RunKind::Training => "run.json",
            RunKind::Selection => "selection.json",
            RunKind::Bundle | RunKind::Dataset => "manifest.json",
        })
    }
}

/// Scans `roots` and returns the runs by kind and id.
pub(super) fn find(roots: &[Root]) -> Vec<FoundRun> {
    let mut found = Vec::new();
    let mut left = MAX_DIRS;
    for root in roots {
        walk(&root.dir, &root.name, 0, &mut left, &mut found);
    }
    found.sort_by(|a, b| (a.kind, &a.id).cmp(&(b.kind, &b.id)));
    found
}

fn walk(dir: &Path, id: &str, depth: usize, left: &mut usize, found: &mut Vec<FoundRun>) {
    if *left == 0 {
        return;
    }
    *left -= 1;
    if let Some(kind) = kind(dir) {
        found.push(FoundRun {
            id: id.to_owned(),
            kind,
            dir: dir.to_owned(),
        });
        // Bundles are written below their training; the other kinds have no runs below them.
        if kind != RunKind::Training {
            return;
        }
    }
    // A directory that was removed or is not readable holds nothing to show.
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    if depth == MAX_DEPTH {
        return;
    }
    for entry in entries.flatten() {
        // Links are not followed: they may lead to files that are not meant for readers.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            walk(
                &entry.path(),
                &format!("{id}/{name}"),
                depth + 1,
                left,
                found,
            );
        }
    }
}

fn kind(dir: &Path) -> Option<RunKind> {
    let has = |name: &str| dir.join(name).is_file();
    match () {
        () if has("equity.csv") && has("summary.json") => Some(RunKind::Backtest),
        () if has("run.json") => Some(RunKind::Training),
        () if has("selection.json") => Some(RunKind::Selection),
        () if has("manifest.json") && has("model.onnx") => Some(RunKind::Bundle),
        () if has("manifest.json") => Some(RunKind::Dataset),
        () => None,
    }
}

/// Reads the manifest of a run.
pub(super) fn manifest(found: &FoundRun) -> Result<Value, LabError> {
    let path = found.manifest();
    let text = fs::read_to_string(&path).map_err(|source| LabError::file(&path, source))?;
    serde_json::from_str(&text).map_err(|source| LabError::json(&path, source))
}

/// Returns when the manifest was last written, in nanoseconds since the Unix epoch.
pub(super) fn written_ns(found: &FoundRun) -> u128 {
    let written = fs::metadata(found.manifest()).and_then(|file| file.modified());
    written
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |age| age.as_nanos())
}

/// Returns a run as a line of a list.
pub(super) fn run(found: &FoundRun) -> Run {
    let last = |id: &str| id.rsplit('/').next().unwrap_or_default().to_owned();
    let empty = Run {
        id: found.id.clone(),
        kind: found.kind,
        name: last(&found.id),
        strategy: None,
        mode: None,
        symbol: None,
        from: None,
        to: None,
        state: RunState::Finished,
        note: None,
        figures: BTreeMap::new(),
    };
    let manifest = match manifest(found) {
        Ok(manifest) => manifest,
        Err(error) => {
            return Run {
                state: RunState::Broken,
                note: Some(error.to_string()),
                ..empty
            };
        }
    };
    let text = |pointer: &str| manifest.pointer(pointer)?.as_str().map(str::to_owned);
    let day = |pointer: &str| Date::parse(manifest.pointer(pointer)?.as_str()?).ok();
    let metrics = |pointer: &str| {
        let mut metrics = BTreeMap::new();
        if let Some(value) = manifest.pointer(pointer) {
            numbers("", value, &mut metrics);
        }
        metrics
    };
    match found.kind {
        RunKind::Backtest => {
            let [strategy, mode, symbol] = ["/run/strategy", "/run/mode", "/run/symbol"].map(&text);
            let parts: Vec<&str> = [&strategy, &mode, &symbol]
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect();
            Run {
                name: parts.join(" · "),
                from: day("/from"),
                to: day("/to"),
                figures: metrics("/metrics"),
                strategy,
                mode,
                symbol,
                ..empty
            }
        }
        RunKind::Training => Run {
            from: day("/days/training/from"),
            to: day("/days/validation/to"),
            state: match manifest["finished"] {
                Value::Bool(true) => RunState::Finished,
                _ => RunState::Unfinished,
            },
            figures: metrics("/figures"),
            ..empty
        },
        RunKind::Selection => empty,
        RunKind::Bundle => Run {
            name: text("/name").unwrap_or(empty.name),
            from: day("/training_span/from"),
            to: day("/training_span/to"),
            figures: metrics("/figures"),
            ..empty
        },
        RunKind::Dataset => Run {
            from: day("/span/from"),
            to: day("/span/to"),
            figures: metrics("/rows"),
            ..empty
        },
    }
}

/// Collects the numbers below `value` by their paths, such as `curve.sharpe`; null stands for an absent one.
fn numbers(name: &str, value: &Value, metrics: &mut BTreeMap<String, Option<f64>>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                numbers(&format!("{name}{dot}{field}"), value, metrics);
            }
        }
        Value::Number(_) | Value::Null => {
            metrics.insert(name.to_owned(), value.as_f64());
        }
        _ => {}
    }
}

/// Returns the files of a run by path. Links are left out.
pub(super) fn artefacts(found: &FoundRun) -> Vec<Artefact> {
    let mut files = Vec::new();
    list(&found.dir, "", 0, &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn list(dir: &Path, below: &str, depth: usize, files: &mut Vec<Artefact>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if files.len() == MAX_FILES {
            return;
        }
        let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else {
            continue;
        };
        let path = match below {
            "" => name,
            _ => format!("{below}/{name}"),
        };
        if kind.is_dir() && depth < MAX_FILE_DEPTH {
            list(&entry.path(), &path, depth + 1, files);
        } else if kind.is_file() {
            files.push(Artefact {
                content_type: content_type(&path),
                bytes: entry.metadata().map_or(0, |file| file.len()),
                path,
            });
        }
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("csv") => "text/csv",
        Some("json") => "application/json",
        Some("md" | "txt" | "toml" | "jsonl") => "text/plain",
        _ => "application/octet-stream",
    }
}
