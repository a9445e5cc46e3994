//! Validation of every stored row.
//!
//! Validation uses the cleaner of `prepare`, so no rule is written twice: price limits, closed days, copies, order. Features
//! and labels are recomputed from the stored bars and must be equal to the bit. Where the tables of ex-rights and
//! suspensions still have the manifest's digests, findings and reference prices are recomputed from them as well.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use heqis_data::digest::sha256_of_file;
use heqis_data::prepare;
use heqis_data::prepare::labels::{CrossSections, DayLabels};
use heqis_data::prepare::reference::{ReferenceTables, Tables};
use heqis_data::prepare::series::compute_for;
use heqis_data::store::dataset::Columns;
use heqis_data::store::manifest::{Manifest, Settings, SymbolEntry};
use heqis_data::store::{DataSet, Rows};
use heqis_factors::feature_set;
use heqis_quant::rules::Markets;
use heqis_quant::{Bar, Cleaner, Date, FeatureSet, Marks, Symbol};
use serde::Serialize;
use serde_json::json;

use crate::error::LabError;
use crate::output::CommandOutput;

/// Findings shown without `--json`.
const SHOWN: usize = 20;

/// Arguments of `data check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// The data set's directory.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Table of bars, usually of an index, whose days are the trading days.
    #[arg(long, value_name = "CSV")]
    pub calendar: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A finding on one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The instrument.
    pub symbol: Symbol,
    /// The day; absent for the whole series.
    pub date: Option<Date>,
    /// The rule or the cleaner's mark.
    pub what: &'static str,
    /// The values.
    pub detail: String,
}

/// The findings of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Number of checked series.
    pub symbols: usize,
    /// Number of checked bars.
    pub bars: usize,
    /// Rows that break a rule.
    pub violations: Vec<Finding>,
    /// Bars after missing days: a suspension or a hole in the data. They break no rule.
    pub gaps: Vec<Finding>,
    /// Tables that were changed or removed, so that their effects were not recomputed.
    pub not_verified: Vec<String>,
}

/// Checks the data set; the output is not good when a row breaks a rule.
///
/// # Errors
///
/// [`LabError`] when the data set cannot be read.
pub fn run(args: &CheckArgs) -> Result<CommandOutput, LabError> {
    let data = DataSet::open(&args.dir)?;
    let (mut tables, not_verified) = recorded(data.manifest());
    let verifiable = not_verified.is_empty() && tables != Tables::default();
    if let Some(path) = &args.calendar {
        tables.calendar = Some(path.clone());
    }
    let settings = &data.manifest().settings;
    let known = ReferenceTables::read(&tables, settings.adjustment, &mut settings.clean.clone())?;
    let mut cleaner = Cleaner::new(settings.clean.clone())?;
    if let Some(calendar) = &known.calendar {
        cleaner = cleaner.with_calendar(calendar.clone());
    }
    let mut findings = check(&data, &cleaner)?;
    if verifiable && args.calendar.is_none() {
        check_known(&data, &known, &mut findings)?;
    }
    findings.not_verified = not_verified;
    let good = findings.violations.is_empty();
    let lines = match args.json {
        true => vec![json!({ "good": good, "findings": findings }).to_string()],
        false => lines(&findings),
    };
    Ok(CommandOutput { lines, good })
}

/// Returns the tables that a version was prepared with: the unchanged ones, and the names of the others.
fn recorded(manifest: &Manifest) -> (Tables, Vec<String>) {
    let (mut tables, mut changed) = (Tables::default(), Vec::new());
    for table in &manifest.tables {
        let path = PathBuf::from(&table.path);
        let same = sha256_of_file(&path).is_ok_and(|sha256| sha256 == table.sha256);
        // The effects of names and listings are kept in the settings.
        let place = match table.role.as_str() {
            "events" => &mut tables.events,
            "factors" => &mut tables.factors,
            "calendar" => &mut tables.calendar,
            "suspend_d" => &mut tables.suspend_d,
            "stk_limit" => &mut tables.stk_limit,
            _ => continue,
        };
        match same {
            true => *place = Some(path),
            false => changed.push(format!("{} {}", table.role, table.path)),
        }
    }
    (tables, changed)
}

/// Compares bars and findings with the tables of known events.
fn check_known(
    data: &DataSet,
    known: &ReferenceTables,
    findings: &mut Findings,
) -> Result<(), LabError> {
    let mut stored = prepare::findings::of_bars(data.dir())?;
    check_limits(data, known, findings)?;
    let mut rejected: BTreeMap<String, Vec<(Date, String)>> = BTreeMap::new();
    for line in prepare::report::read(data.dir())? {
        if let Ok(date) = Date::parse(&line.date) {
            let rows = rejected.entry(line.symbol).or_default();
            rows.push((date, line.reason));
        }
    }
    let markets = Markets::shipped()?;
    let mut reader = data.series(Columns::Bars)?;
    while let Some(rows) = reader.next()? {
        let bars = rows.bars();
        let Some(symbol) = bars.first().map(|bar| bar.symbol) else {
            continue;
        };
        for pair in bars.windows(2) {
            let (before, bar) = (&pair[0], &pair[1]);
            let close = (before.close * 100.0).round() as i64;
            let ex_rights = &known.ex_rights;
            let due = ex_rights.reference_cents(symbol, before.date, close, bar.date);
            let lacks = bar.pre_close.is_none() && !bar.marks.breaks_level();
            if let Some(reference) = due.filter(|cents| lacks && *cents != close) {
                findings.violations.push(Finding {
                    symbol,
                    date: Some(bar.date),
                    what: "reference",
                    detail: format!("is missing, and must be {reference} cents"),
                });
            }
        }
        let rejected = rejected.remove(symbol.as_str()).unwrap_or_default();
        let rejected: Vec<(Date, &str)> = rejected.iter().map(|(d, r)| (*d, r.as_str())).collect();
        let fresh = prepare::contradictions::of_series(known, &markets, bars, &rejected)?;
        let stored = stored.remove(symbol.as_str()).unwrap_or_default();
        if fresh != stored {
            findings.violations.push(Finding {
                symbol,
                date: None,
                what: "findings",
                detail: format!(
                    "{} are stored, and {} follow from the tables",
                    stored.len(),
                    fresh.len()
                ),
            });
        }
    }
    Ok(())
}

/// Compares the stored findings on published limits with the table.
fn check_limits(
    data: &DataSet,
    known: &ReferenceTables,
    findings: &mut Findings,
) -> Result<(), LabError> {
    let file = data.dir().join(prepare::findings::FILE);
    let is_limits = |found: &prepare::findings::Finding| found.evidence == "limits";
    let mut stored = prepare::lines::read_lines::<prepare::findings::Finding>(&file)?;
    stored.retain(is_limits);
    let fresh = known.findings.iter().filter(|found| is_limits(found));
    if !fresh.clone().eq(&stored)
        && let Some(symbol) = fresh
            .chain(&stored)
            .find_map(|f| Symbol::parse(&f.symbol).ok())
    {
        findings.violations.push(Finding {
            symbol,
            date: None,
            what: "findings",
            detail: format!(
                "{} on published limits are stored, and others follow from the table",
                stored.len()
            ),
        });
    }
    Ok(())
}

/// Validates every row by a cleaner without history.
///
/// # Errors
///
/// [`LabError`] when the data set cannot be read.
pub fn check(data: &DataSet, cleaner: &Cleaner) -> Result<Findings, LabError> {
    let settings = &data.manifest().settings;
    let features = feature_set(&settings.features)?;
    let mut missing: BTreeMap<Symbol, &SymbolEntry> = data
        .manifest()
        .symbols
        .iter()
        .map(|entry| (entry.symbol, entry))
        .collect();
    let mut findings = Findings::default();
    let day_labels = day_labels(data)?;
    let mut reader = data.series(Columns::All)?;
    while let Some(rows) = reader.next()? {
        let Some(symbol) = rows.bars().first().map(|bar| bar.symbol) else {
            continue;
        };
        findings.symbols += 1;
        findings.bars += rows.len();
        let stored = missing.remove(&symbol).map_or(0, |entry| entry.bars);
        if stored != rows.len() as u64 {
            findings.violations.push(Finding {
                symbol,
                date: None,
                what: "row_count",
                detail: format!("the manifest says {stored}, the files hold {}", rows.len()),
            });
        }
        validate(&rows, cleaner, &mut findings);
        recompute(
            &rows,
            settings,
            &features,
            day_labels.as_ref(),
            &mut findings,
        );
    }
    for entry in missing.values().filter(|entry| entry.bars > 0) {
        findings.violations.push(Finding {
            symbol: entry.symbol,
            date: None,
            what: "row_count",
            detail: format!("the manifest says {}, the files hold 0", entry.bars),
        });
    }
    Ok(findings)
}

/// Validates the bars of a series by the cleaner and collects its gaps.
fn validate(rows: &Rows, cleaner: &Cleaner, findings: &mut Findings) {
    let mut fresh_cleaner = cleaner.clone();
    let mut before: Option<&Bar> = None;
    for bar in rows.bars() {
        if bar.marks.contains(Marks::LEVEL_RESET) {
            // The rejected bar that announced the new level is not stored, so the cleaner starts over.
            fresh_cleaner = cleaner.clone();
        }
        if let Err(reject) = fresh_cleaner.check(*bar) {
            findings.violations.push(Finding {
                symbol: bar.symbol,
                date: Some(bar.date),
                what: reject.reason(),
                detail: reject.to_string(),
            });
        }
        let absent = [
            (Marks::GAP, "gap"),
            (Marks::HOLE, "hole"),
            (Marks::RESUMED, "resumed"),
        ];
        // A hole is reported as such, and not as a gap as well.
        let hole = bar.marks.contains(Marks::HOLE);
        for (_, what) in absent
            .into_iter()
            .filter(|(mark, what)| bar.marks.contains(*mark) && !(hole && *what == "gap"))
        {
            findings.gaps.push(Finding {
                symbol: bar.symbol,
                date: Some(bar.date),
                what,
                detail: before.map_or(String::new(), |before| {
                    let weekdays = before.date.weekdays_until(bar.date);
                    let level = match bar.pre_close.filter(|_| what == "hole") {
                        Some(given) => format!(
                            ", whose close {} stands in for the reference {given}",
                            before.close
                        ),
                        None => String::new(),
                    };
                    format!(
                        "{weekdays} weekdays without a bar after {}{level}",
                        before.date
                    )
                }),
            });
        }
        before = Some(bar);
    }
}

/// Recomputes the labels of a target that compares the instruments of a day; `None` for any other.
fn day_labels(data: &DataSet) -> Result<Option<DayLabels>, LabError> {
    let settings = &data.manifest().settings;
    if !settings.target.is_cross_sectional() {
        return Ok(None);
    }
    let markets = Markets::shipped()?;
    let mut days = CrossSections::new(settings.target, settings.flat_band, &markets);
    let features = feature_set(&settings.features)?;
    let mut reader = data.series(Columns::Bars)?;
    while let Some(rows) = reader.next()? {
        // Bars out of order have no returns; they are reported with their features.
        if let Ok(rows) = compute_for(rows.bars(), &features, settings.flat_band, &settings.target)
        {
            days.add(&rows);
        }
    }
    Ok(Some(days.labels()))
}

/// Recomputes features and labels and compares bits.
fn recompute(
    rows: &Rows,
    settings: &Settings,
    features: &FeatureSet,
    day_labels: Option<&DayLabels>,
    findings: &mut Findings,
) {
    let bars = rows.bars();
    let mut differ = |row: usize, what: &'static str, detail: String| {
        findings.violations.push(Finding {
            symbol: bars[row].symbol,
            date: Some(bars[row].date),
            what,
            detail,
        });
    };
    let fresh = match compute_for(bars, features, settings.flat_band, &settings.target) {
        Ok(fresh) => fresh,
        // Bars out of order or without a price have no features; the cleaner has reported them.
        Err(error) => return differ(0, "features", error.to_string()),
    };
    let fresh = day_labels.map_or(fresh.clone(), |labels| labels.apply(&fresh));
    for row in 0..rows.len() {
        let bits = |rows: &Rows| {
            let values = rows.features(row).unwrap_or_default();
            values.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        };
        if bits(&fresh) != bits(rows) {
            differ(row, "features", "differ from those of the bars".into());
        }
        if fresh.next()[row] != rows.next()[row] {
            differ(row, "label", "differs from that of the later bars".into());
        }
    }
}

fn lines(findings: &Findings) -> Vec<String> {
    let mut lines = Vec::new();
    for (title, list) in [("gap", &findings.gaps), ("violation", &findings.violations)] {
        for finding in list.iter().take(SHOWN) {
            let day = finding
                .date
                .map(|date| format!(" {date}"))
                .unwrap_or_default();
            lines.push(format!(
                "{title}: {}{day} {}: {}",
                finding.symbol, finding.what, finding.detail
            ));
        }
        if list.len() > SHOWN {
            lines.push(format!(
                "{title}: {} more; use --json to list all",
                list.len() - SHOWN
            ));
        }
    }
    for table in &findings.not_verified {
        lines.push(format!("not verified: {table} was changed or removed"));
    }
    lines.push(format!(
        "{} symbols, {} bars: {} violations, {} gaps",
        findings.symbols,
        findings.bars,
        findings.violations.len(),
        findings.gaps.len()
    ));
    lines
}
