//! Journals and result directories in the form that the page requests.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heqis_backtest::inputs::Benchmark;
use heqis_dashboard::archive::{
    Artefact, Equity, Order, ResultTable, Run, RunDetail, RunKind, Strategy, StrategyKind, Trade,
};
use heqis_dashboard::{Archive, DashboardError, Decisions};

use super::results::{self, FoundRun, Root};
use super::tables;

/// Longest file that is sent.
const MAX_ARTEFACT_BYTES: u64 = 64 * 1024 * 1024;
/// Strategies whose decisions are kept in memory.
const MAX_KEPT: usize = 4;

/// A journal's decisions with its name.
pub(super) struct NamedJournal {
    pub(super) name: String,
    pub(super) decisions: Arc<Decisions>,
}

/// Finished work on disk. Every request scans the directories, so that a new run appears.
pub(super) struct ResultArchive {
    journals: Vec<NamedJournal>,
    roots: Vec<Root>,
    benchmark: Option<(String, Benchmark)>,
    /// Runs by their directories, with the time of their manifest.
    runs: Mutex<HashMap<PathBuf, (u128, Run)>>,
    /// Decisions of strategies, the last requested at the end, with the time of their newest manifest.
    kept: Mutex<Vec<(String, u128, Arc<Decisions>)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ResultArchive {
    pub(super) fn new(
        journals: Vec<NamedJournal>,
        roots: Vec<Root>,
        benchmark: Option<(String, Benchmark)>,
    ) -> Self {
        Self {
            journals,
            roots,
            benchmark,
            runs: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    fn find(&self, id: &str) -> Option<FoundRun> {
        results::find(&self.roots)
            .into_iter()
            .find(|found| found.id == id)
    }

    fn backtest(&self, id: &str) -> Option<FoundRun> {
        self.find(id)
            .filter(|found| found.kind == RunKind::Backtest)
    }

    /// Returns the backtests of a strategy; empty when there is no such strategy.
    fn backtests(&self, strategy: &str) -> Vec<FoundRun> {
        let mut found = results::find(&self.roots);
        found.retain(|found| found.kind == RunKind::Backtest && found.parent() == strategy);
        found
    }

    /// Returns the line of a run, which is read again only when its manifest has changed.
    fn line(&self, found: &FoundRun) -> Run {
        let written = results::written_ns(found);
        if let Some((then, run)) = lock(&self.runs).get(&found.dir)
            && *then == written
            && run.id == found.id
        {
            return run.clone();
        }
        let run = results::run(found);
        lock(&self.runs).insert(found.dir.clone(), (written, run.clone()));
        run
    }
}

impl Archive for ResultArchive {
    fn strategies(&self) -> Result<Vec<Strategy>, DashboardError> {
        let journal = |named: &NamedJournal| {
            let (from, to, symbols) = named.decisions.extent();
            Strategy {
                id: format!("journal:{}", named.name),
                name: named.name.clone(),
                kind: StrategyKind::Journal,
                decisions: Some(named.decisions.last()),
                symbols: Some(symbols as u64),
                from,
                to,
            }
        };
        let mut strategies: Vec<Strategy> = self.journals.iter().map(journal).collect();
        let found = results::find(&self.roots);
        let backtests: Vec<&FoundRun> = found
            .iter()
            .filter(|found| found.kind == RunKind::Backtest)
            .collect();
        for runs in backtests.chunk_by(|a, b| a.parent() == b.parent()) {
            let lines: Vec<Run> = runs.iter().map(|run| self.line(run)).collect();
            let Some(first) = lines.first() else { continue };
            let words = [&first.strategy, &first.mode].into_iter().flatten();
            strategies.push(Strategy {
                id: runs[0].parent().to_owned(),
                name: words.map(String::as_str).collect::<Vec<_>>().join(" · "),
                kind: StrategyKind::Backtest,
                decisions: None,
                symbols: None,
                from: lines.iter().filter_map(|run| run.from).min(),
                to: lines.iter().filter_map(|run| run.to).max(),
            });
        }
        Ok(strategies)
    }

    fn decisions(&self, strategy: &str) -> Result<Option<Arc<Decisions>>, DashboardError> {
        if let Some(name) = strategy.strip_prefix("journal:") {
            let named = self.journals.iter().find(|named| named.name == name);
            return Ok(named.map(|named| named.decisions.clone()));
        }
        let runs = self.backtests(strategy);
        let Some(written) = runs.iter().map(results::written_ns).max() else {
            return Ok(None);
        };
        if let Some((.., decisions)) = lock(&self.kept)
            .iter()
            .find(|(id, then, _)| id == strategy && *then == written)
        {
            return Ok(Some(decisions.clone()));
        }
        let mut epoch = DefaultHasher::new();
        (strategy, written).hash(&mut epoch);
        let decisions = Arc::new(tables::decisions(&runs, epoch.finish())?);
        let mut kept = lock(&self.kept);
        kept.retain(|(id, ..)| id != strategy);
        if kept.len() == MAX_KEPT {
            kept.remove(0);
        }
        kept.push((strategy.to_owned(), written, decisions.clone()));
        Ok(Some(decisions))
    }

    fn runs(&self) -> Result<Vec<Run>, DashboardError> {
        let found = results::find(&self.roots);
        lock(&self.runs).retain(|dir, _| found.iter().any(|found| found.dir == *dir));
        Ok(found.iter().map(|found| self.line(found)).collect())
    }

    fn run(&self, id: &str) -> Result<Option<RunDetail>, DashboardError> {
        let Some(found) = self.find(id) else {
            return Ok(None);
        };
        let curves = found.dir.join("curves.csv");
        Ok(Some(RunDetail {
            run: self.line(&found),
            // The state of the run reports a broken manifest.
            manifest: results::manifest(&found).unwrap_or_default(),
            artefacts: results::artefacts(&found),
            curves: match found.kind == RunKind::Training && curves.is_file() {
                true => points(&curves)?,
                false => Vec::new(),
            },
            table: match found.kind {
                RunKind::Selection => Some(table(&found.dir.join(crate::select::report::TABLE))?),
                _ => None,
            },
        }))
    }

    fn equity(&self, id: &str) -> Result<Option<Equity>, DashboardError> {
        let run = self.backtest(id);
        run.map(|run| tables::equity(&run, self.benchmark.as_ref()))
            .transpose()
    }

    fn trades(&self, id: &str) -> Result<Option<Vec<Trade>>, DashboardError> {
        self.backtest(id)
            .map(|run| tables::trades(&run))
            .transpose()
    }

    fn orders(&self, id: &str) -> Result<Option<Vec<Order>>, DashboardError> {
        let runs = match self.backtest(id) {
            Some(run) => vec![run],
            None => self.backtests(id),
        };
        (!runs.is_empty())
            .then(|| tables::orders(&runs))
            .transpose()
    }

    fn artefact(
        &self,
        id: &str,
        path: &str,
    ) -> Result<Option<(Artefact, Vec<u8>)>, DashboardError> {
        let Some(found) = self.find(id) else {
            return Ok(None);
        };
        // The path is looked up and not joined, so it cannot lead out of the directory.
        let Some(artefact) = results::artefacts(&found)
            .into_iter()
            .find(|file| file.path == path)
        else {
            return Ok(None);
        };
        if artefact.bytes > MAX_ARTEFACT_BYTES {
            let rule = format!(
                "{path}: has {} bytes, at most {MAX_ARTEFACT_BYTES} are sent",
                artefact.bytes
            );
            return Err(DashboardError::Archive(rule));
        }
        let whole = found.dir.join(&artefact.path);
        let content = std::fs::read(&whole).map_err(|source| DashboardError::File {
            path: whole.display().to_string(),
            source,
        })?;
        Ok(Some((artefact, content)))
    }
}

/// Returns the points of a training's curves; absent values are left out.
fn points(
    path: &std::path::Path,
) -> Result<Vec<std::collections::BTreeMap<String, serde_json::Value>>, DashboardError> {
    let fault = |error: String| DashboardError::Archive(format!("{}: {error}", path.display()));
    tables::rows::<heqis_train::train::curves::Point>(path)?
        .iter()
        .map(|point| {
            let value = serde_json::to_value(point).map_err(|error| fault(error.to_string()))?;
            serde_json::from_value(value).map_err(|error| fault(error.to_string()))
        })
        .collect()
}

/// Reads a table as text.
fn table(path: &std::path::Path) -> Result<ResultTable, DashboardError> {
    let fault = |error: csv::Error| DashboardError::Archive(format!("{}: {error}", path.display()));
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_path(path)
        .map_err(fault)?;
    let cells = |row: &csv::StringRecord| row.iter().map(str::to_owned).collect::<Vec<_>>();
    let columns = cells(reader.headers().map_err(fault)?);
    let rows = reader
        .records()
        .map(|row| row.map(|row| cells(&row)).map_err(fault));
    Ok(ResultTable {
        columns,
        rows: rows.collect::<Result<_, _>>()?,
    })
}
