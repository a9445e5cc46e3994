//! One run of `prepare`: the files to read, the parts of the previous version to reuse, and the resulting draft.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use heqis_quant::{Date, Span, Symbol};
use sha2::{Digest, Sha256};

use super::flat::flat_warning;
use super::labels;
use super::parallel::parallel_map;
use super::report::{self, RejectRow};
use super::runs::{FileSummary, Origin, Runs};
use super::series::{self, PreparedSeries, SeriesConfig};
use super::sink::{Previous, Sink};
use super::{Options, PrepareOutcome, findings, scale};
use crate::error::DataError;
use crate::import_args::InputFile;
use crate::store::dataset::{Columns, DataSet};
use crate::store::manifest::{
    FileEntry, Input, Manifest, RowCounts, SCHEMA_VERSION, Settings, SymbolEntry, TrainTo,
};
use crate::store::{BarsWriter, Draft};

/// Largest number of changed series that are compared with the previous version to find unchanged years.
const FEW_SERIES: usize = 64;

/// One run with resolved inputs and settings.
pub(super) struct Run<'a> {
    pub(super) options: &'a Options,
    pub(super) files: &'a [InputFile],
    pub(super) settings: Settings,
    pub(super) config: SeriesConfig,
    pub(super) draft: &'a Draft,
}

pub(super) enum RunResult {
    /// The current version equals the result of this run.
    Unchanged(PrepareOutcome),
    /// The draft is complete.
    New(PrepareOutcome),
}

/// The files that were read, and the symbols whose files were not.
struct Plan {
    runs: Runs,
    files: BTreeMap<usize, FileSummary>,
    /// Symbols whose only file is unchanged and not read.
    untouched: BTreeSet<Symbol>,
}

impl Run<'_> {
    pub(super) fn make(self) -> Result<RunResult, DataError> {
        let threads = self.options.threads.max(1);
        let digests = self.digests(threads)?;
        let version = self.version(&digests)?;
        let previous = self.previous();
        if let Some(previous) = &previous
            && previous.data.manifest().version.trim_end_matches('0')
                == version.trim_end_matches('0')
        {
            return Ok(RunResult::Unchanged(PrepareOutcome {
                manifest: previous.data.manifest().clone(),
                computed: 0,
                reused: previous.symbols.len(),
                report: report::of_version(previous.data.dir(), previous.data.manifest())?,
            }));
        }
        // Stored labels that compare instruments are not the returns that they were computed from, and a changed series
        // changes the labels of all others.
        let target = self.settings.target;
        let previous = previous.filter(|_| !target.is_cross_sectional());
        let plan = self.plan(&digests, previous.as_ref(), threads)?;
        self.refuse_minutes(&plan)?;
        let inputs = self.inputs(&digests, &plan, previous.as_ref());

        let mut report = report::create(self.draft.dir())?;
        let (mut old_unreadable, mut old_rejected) = (BTreeMap::new(), BTreeMap::new());
        if let Some(previous) = &previous {
            for line in report::read(previous.data.dir())? {
                let (map, key) = match line.symbol.is_empty() {
                    true => (&mut old_unreadable, line.file.clone()),
                    false => (&mut old_rejected, line.symbol.clone()),
                };
                map.entry(key).or_insert_with(Vec::new).push(line);
            }
        }
        for (index, input) in inputs.iter().enumerate() {
            match plan.files.get(&index) {
                Some(summary) => {
                    for row in &summary.unreadable {
                        report.add(&RejectRow::unreadable(&input.path, row))?;
                    }
                }
                None => {
                    for line in old_unreadable.get(&input.path).into_iter().flatten() {
                        report.add(line)?;
                    }
                }
            }
        }

        let mut findings = findings::create(self.draft.dir())?;
        for finding in &self.config.reference.findings {
            findings.add(finding)?;
        }
        let old_findings = match &previous {
            Some(previous) => findings::of_bars(previous.data.dir())?,
            None => BTreeMap::new(),
        };
        // The rows of the first pass, if there is a second one.
        let first_pass = self.draft.dir().join("runs").join("first-pass");
        let written_to = match target.is_cross_sectional() {
            true => first_pass.as_path(),
            false => self.draft.dir(),
        };
        let mut sink = Sink {
            bars: BarsWriter::create(&written_to.join("bars"), &self.settings.features)?,
            report,
            findings,
            inputs: &inputs,
            old_rejected,
            old_findings,
            symbols: Vec::new(),
            computed: 0,
            flat: 0,
        };
        self.series(&plan, previous.as_ref(), threads, &mut sink)?;
        let Sink {
            bars,
            report,
            findings,
            symbols,
            computed,
            flat,
            ..
        } = sink;
        let files = bars.finish()?;
        let rejects = report.finish()?;
        let findings = findings.finish()?;
        let counts = RowCounts {
            read: inputs.iter().map(|input| input.rows).sum(),
            rejected: rejects.values().sum(),
            bars: files.iter().map(|file| file.rows).sum(),
            with_features: files.iter().map(|file| file.with_features).sum(),
            labelled: files.iter().map(|file| file.labelled).sum(),
            scaler: 0,
        };
        if counts.bars != symbols.iter().map(|entry| entry.bars).sum::<u64>() {
            let rule = "has other bars than its manifest states; prepare again with --full";
            return Err(DataError::kind(&self.options.out, rule));
        }
        let mut marks = BTreeMap::new();
        for (mark, count) in files.iter().flat_map(|file| &file.marks) {
            *marks.entry(mark.clone()).or_insert(0) += count;
        }
        let imported = report::of_draft(self.draft.dir(), &inputs, &symbols)?;
        imported
            .refuse_above(self.options.max_bad_share)
            .inspect_err(|_| crate::import_args::print_report(&imported))?;
        let days: Vec<Date> = files.iter().flat_map(|file| file.days.clone()).collect();
        let (Some(first), Some(last)) = (days.first(), days.last()) else {
            return Err(DataError::kind(
                &self.options.out,
                format!("no bar is left of {} rows", counts.read),
            ));
        };
        let train_to = match self.settings.train_to {
            TrainTo::Date(date) => date,
            TrainTo::Fraction(share) => {
                let days_in = (days.len() as f64 * share).ceil() as usize;
                days[days_in.clamp(1, days.len()) - 1]
            }
        };
        let reused = symbols.len() - computed;
        let span = Span::new(*first, *last)?;
        let mut manifest = Manifest {
            schema_version: SCHEMA_VERSION,
            version,
            settings: self.settings.clone(),
            scaler_span: span,
            span,
            rows: counts,
            rejects,
            marks,
            unlabelled: BTreeMap::new(),
            findings,
            warnings: flat_warning(flat, counts.labelled, self.settings.flat_band)
                .into_iter()
                .collect(),
            files,
            inputs: inputs.clone(),
            tables: self.config.reference.tables.clone(),
            symbols,
        };
        if target.is_cross_sectional() {
            let raw = DataSet::at(first_pass.clone(), manifest.clone());
            let dir = self.draft.dir().join("bars");
            let second = labels::relabel(&raw, &self.options.out, &dir, &self.config.markets)?;
            manifest.files = second.files;
            manifest.unlabelled = second.unlabelled;
            manifest.rows.labelled = manifest.files.iter().map(|file| file.labelled).sum();
            // The classes of ranks are thirds of a day, which no band makes flat.
            manifest.warnings.clear();
        }
        let runs = self.draft.dir().join("runs");
        std::fs::remove_dir_all(&runs).map_err(|source| DataError::file(&runs, source))?;
        let stored = DataSet::at(self.draft.dir().to_owned(), manifest.clone());
        let warmup_bars = self.options.features.warmup_bars();
        let out = &self.options.out;
        let (scaler, rows) = scale::fit(&stored, out, train_to, threads, warmup_bars)?;
        manifest.scaler_span = scaler.span();
        manifest.rows.scaler = rows;
        self.draft
            .write("scaler_params.json", (scaler.to_json() + "\n").as_bytes())?;
        Ok(RunResult::New(PrepareOutcome {
            manifest,
            computed,
            reused,
            report: imported,
        }))
    }

    /// Returns the SHA-256 of every file.
    fn digests(&self, threads: usize) -> Result<Vec<String>, DataError> {
        parallel_map(threads, self.files, |file| {
            crate::digest::sha256_of_file(&file.0)
        })
    }

    /// Returns the name of the version, a digest of all settings and inputs.
    fn version(&self, digests: &[String]) -> Result<String, DataError> {
        let settings = serde_json::to_vec(&self.settings)
            .map_err(|source| DataError::json(&self.options.out, source))?;
        let mut digest = Sha256::new();
        digest.update(&settings);
        for ((path, _), sha256) in self.files.iter().zip(digests) {
            digest.update(format!("\n{}\n{sha256}", path.display()));
        }
        for table in &self.config.reference.tables {
            digest.update(format!(
                "\n{}\n{}\n{}",
                table.role, table.path, table.sha256
            ));
        }
        Ok(format!(
            "v-{}1",
            &crate::digest::hex(&digest.finalize())[..15]
        ))
    }

    /// Returns the previous version if its settings are the same and its files have their recorded lengths.
    fn previous(&self) -> Option<Previous> {
        let data = DataSet::open(&self.options.out).ok()?;
        let manifest = data.manifest();
        let whole = manifest.files.iter().all(|file| {
            let path = data.dir().join("bars").join(&file.name);
            std::fs::metadata(path).is_ok_and(|found| found.len() == file.bytes)
        });
        let usable = whole
            && !self.options.full
            && manifest.settings.common() == self.settings.common()
            && data.scaler().is_ok()
            && [report::FILE, findings::FILE]
                .iter()
                .all(|name| data.dir().join(name).exists());
        let inputs = manifest.inputs.iter();
        let symbols = manifest.symbols.iter();
        usable.then(|| Previous {
            inputs: inputs.map(|i| (i.path.clone(), i.clone())).collect(),
            symbols: symbols.map(|s| (s.symbol, s.clone())).collect(),
            data: data.clone(),
        })
    }

    /// Reads changed files, files of several symbols, and unchanged files whose symbol also occurs in one of those.
    fn plan(
        &self,
        digests: &[String],
        previous: Option<&Previous>,
        threads: usize,
    ) -> Result<Plan, DataError> {
        let unchanged: Vec<Option<Symbol>> = self
            .files
            .iter()
            .zip(digests)
            .map(|((path, _), sha256)| {
                let input = previous?.inputs.get(&path.display().to_string())?;
                input.symbol.filter(|_| input.sha256 == *sha256)
            })
            .collect();
        let mut touched: BTreeSet<Symbol> = BTreeSet::new();
        if let Some(previous) = previous {
            let kept: BTreeSet<String> = self
                .files
                .iter()
                .zip(&unchanged)
                .filter(|(_, symbol)| symbol.is_some())
                .map(|((path, _), _)| path.display().to_string())
                .collect();
            let gone = previous.inputs.values().filter(|i| !kept.contains(&i.path));
            touched.extend(gone.filter_map(|input| input.symbol));
            let current = |entry: &SymbolEntry| self.reference_digest(entry.symbol, entry.read_to);
            let entries = previous.symbols.values();
            let changed = entries.filter(|entry| current(entry) != entry.reference_sha256);
            touched.extend(changed.map(|entry| entry.symbol));
        }
        let dir = self.draft.dir().join("runs");
        let build = |wanted: &[usize], part: &str| {
            let dir = dir.join(part);
            std::fs::create_dir_all(&dir).map_err(|source| DataError::file(&dir, source))?;
            Runs::build(&dir, self.files, wanted, &self.settings.reading, threads)
        };
        let is_unchanged = |index: &usize| unchanged[*index].is_some();
        let (old, new): (Vec<usize>, Vec<usize>) = (0..self.files.len()).partition(is_unchanged);
        let mut runs = build(&new, "new")?;
        touched.extend(runs.symbols());
        let (reread, untouched): (Vec<usize>, Vec<usize>) = old
            .into_iter()
            .partition(|&index| unchanged[index].is_some_and(|symbol| touched.contains(&symbol)));
        runs.extend(build(&reread, "again")?);
        let files = std::mem::take(&mut runs.files);
        Ok(Plan {
            runs,
            files,
            untouched: untouched
                .iter()
                .filter_map(|&index| unchanged[index])
                .collect(),
        })
    }

    fn inputs(&self, digests: &[String], plan: &Plan, previous: Option<&Previous>) -> Vec<Input> {
        self.files
            .iter()
            .zip(digests)
            .enumerate()
            .filter_map(|(index, ((path, _), sha256))| {
                let path = path.display().to_string();
                let Some(summary) = plan.files.get(&index) else {
                    return previous?.inputs.get(&path).cloned();
                };
                let mut symbols = summary.symbols.iter().copied();
                let (symbol, second) = (symbols.next(), symbols.next());
                Some(Input {
                    path,
                    sha256: sha256.clone(),
                    detected: summary.detected.clone(),
                    rows: summary.rows,
                    unreadable: summary.unreadable.len() as u64,
                    warnings: summary.warnings.clone(),
                    left_out: summary.left_out.clone(),
                    symbol: symbol.filter(|_| second.is_none()),
                })
            })
            .collect()
    }

    /// Returns the digest of the reference data of a series.
    fn reference_digest(&self, symbol: Symbol, last: Option<Date>) -> String {
        let clean = &self.settings.clean;
        self.config.reference.digest(clean, symbol, last)
    }

    /// Returns the years whose file does not change. They are determined only if few series changed, as after a new day
    /// of some symbols, since each changed series is then computed an additional time and compared with the stored rows.
    fn same_years(
        &self,
        plan: &Plan,
        previous: &Previous,
        all: &[Symbol],
    ) -> Result<BTreeSet<i16>, DataError> {
        let files = previous.data.manifest().files.iter();
        let mut same: BTreeSet<i16> = files.filter_map(FileEntry::year).collect();
        let gone = previous.symbols.keys().copied();
        let gone = gone.filter(|symbol| all.binary_search(symbol).is_err());
        let mut changed: BTreeSet<Symbol> = gone.collect();
        changed.extend(plan.runs.symbols());
        if changed.len() > FEW_SERIES {
            return Ok(BTreeSet::new());
        }
        let mut gatherer = plan.runs.gatherer()?;
        for symbol in changed {
            let origins = gatherer.series(symbol)?;
            let nothing = String::new;
            let new = series::prepare(&self.config, symbol, &origins, nothing(), nothing())?.rows;
            let new = new.by_year();
            let old = previous.data.symbol(symbol, Columns::All)?.by_year();
            let years: BTreeSet<i16> = new.keys().chain(old.keys()).copied().collect();
            for year in years {
                if new.get(&year) != old.get(&year) {
                    same.remove(&year);
                }
            }
        }
        Ok(same)
    }

    /// Refuses minute bars for any target but the default: its horizon would count minutes.
    fn refuse_minutes(&self, plan: &Plan) -> Result<(), DataError> {
        let target = self.settings.target;
        let minutes = plan.files.iter().find(|(_, file)| file.has_time);
        match minutes.filter(|_| !target.is_default()) {
            Some((index, _)) => {
                let rule = format!("has minute bars, and the target {target} needs daily bars");
                Err(DataError::kind(&self.files[*index].0, rule))
            }
            None => Ok(()),
        }
    }

    /// Refuses a series with daily bars in one file and minute bars in another, between which no label is defined.
    fn refuse_mixed(&self, plan: &Plan, symbol: Symbol, rows: &[Origin]) -> Result<(), DataError> {
        let file = |has_time: bool| {
            let of_kind = |row: &&Origin| {
                let file = plan.files.get(&(row.file as usize));
                file.is_some_and(|file| file.has_time == has_time)
            };
            rows.iter()
                .find(of_kind)
                .map(|row| &self.files[row.file as usize].0)
        };
        match (file(false), file(true)) {
            (Some(days), Some(minutes)) => {
                let rule = format!(
                    "has minute bars of {symbol}, but {} has daily bars",
                    days.display()
                );
                Err(DataError::kind(minutes, rule))
            }
            _ => Ok(()),
        }
    }

    /// Computes series on all threads and stores them in the order of symbols.
    fn series(
        &self,
        plan: &Plan,
        previous: Option<&Previous>,
        threads: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), DataError> {
        let read: BTreeSet<Symbol> = plan.runs.symbols().collect();
        let all: Vec<Symbol> = read.union(&plan.untouched).copied().collect();
        let mut old = None;
        if let Some(previous) = previous {
            let same = self.same_years(plan, previous, &all)?;
            let bars = previous.data.dir().join("bars");
            for entry in &previous.data.manifest().files {
                if let Some(year) = entry.year().filter(|year| same.contains(year)) {
                    sink.bars.keep(&bars, year, entry)?;
                }
            }
            let changed = |year| !same.contains(&year);
            old = Some(previous.data.series_of(Columns::All, changed)?);
        }
        let next = AtomicUsize::new(0);
        // `None` is a series with unchanged rows.
        type Computed = Result<Option<Box<PreparedSeries>>, DataError>;
        let (sender, receiver) = mpsc::sync_channel::<(usize, Computed)>(2 * threads);
        let work = |sender: mpsc::SyncSender<(usize, Computed)>| {
            let mut gatherer = match plan.runs.gatherer() {
                Ok(gatherer) => gatherer,
                Err(error) => {
                    let _ = sender.send((0, Err(error)));
                    return;
                }
            };
            loop {
                let claimed = next.fetch_add(1, Ordering::Relaxed);
                let Some(&symbol) = all.get(claimed) else {
                    return;
                };
                let computed = match plan.untouched.contains(&symbol) {
                    true => Ok(None),
                    false => gatherer.series(symbol).and_then(|origins| {
                        self.refuse_mixed(plan, symbol, &origins)?;
                        let sha256 = series::digest(&origins);
                        let last = origins.last().map(|row| row.bar.date);
                        let reference = self.reference_digest(symbol, last);
                        let before = previous.and_then(|p| p.symbols.get(&symbol));
                        // The report gives the place of a rejected row, which may have changed even if the row did not.
                        if before.is_some_and(|before| {
                            before.input_sha256 == sha256
                                && before.reference_sha256 == reference
                                && before.rejected == 0
                        }) {
                            return Ok(None);
                        }
                        series::prepare(&self.config, symbol, &origins, sha256, reference)
                            .map(|s| Some(Box::new(s)))
                    }),
                };
                // The receiver is closed after a failed write, so no further series is needed.
                if sender.send((claimed, computed)).is_err() {
                    return;
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let sender = sender.clone();
                scope.spawn(|| work(sender));
            }
            drop(sender);
            let receiver = receiver;
            let mut early: BTreeMap<usize, Computed> = BTreeMap::new();
            for (place, &symbol) in all.iter().enumerate() {
                let computed = loop {
                    if let Some(computed) = early.remove(&place) {
                        break computed;
                    }
                    match receiver.recv() {
                        Ok((at, computed)) => drop(early.insert(at, computed)),
                        Err(_) => {
                            return Err(DataError::kind(
                                &self.options.out,
                                format!("the series of {symbol} was not computed"),
                            ));
                        }
                    }
                };
                match computed? {
                    Some(series) => sink.add(*series)?,
                    None => sink.copy(symbol, previous, old.as_mut())?,
                }
            }
            Ok(())
        })
    }
}
