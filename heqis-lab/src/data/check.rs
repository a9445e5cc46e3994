//! Every stored row, judged again.
//!
//! The judge is the cleaner that let the bars in, so no rule is written twice: price limits, closed days, copies, order.
//! Features and labels are computed again from the stored bars and must be the same to the bit. Where the tables of
//! ex-rights and suspensions are still what the manifest says, findings and reference prices must follow from them again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use heqis_data::digest::sha256_of_file;
use heqis_data::prepare;
use heqis_data::prepare::reference::{ReferenceTables, Tables};
use heqis_data::prepare::series::compute;
use heqis_data::store::dataset::Columns;
use heqis_data::store::manifest::{Manifest, SymbolEntry};
use heqis_data::store::{DataSet, Rows};
use heqis_quant::rules::Markets;
use heqis_quant::{Bar, Cleaner, Date, FeatureSet, Marks, Symbol};
use serde::Serialize;
use serde_json::json;

use crate::answer::Answer;
use crate::error::LabError;

/// How many findings are shown without `--json`.
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
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

/// Something about one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The instrument.
    pub symbol: Symbol,
    /// The day; absent when the whole series is meant.
    pub date: Option<Date>,
    /// The rule, or the note of the cleaner.
    pub what: &'static str,
    /// The numbers.
    pub detail: String,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Series looked at.
    pub symbols: usize,
    /// Bars looked at.
    pub bars: usize,
    /// Rows that break a rule.
    pub violations: Vec<Finding>,
    /// Bars behind missing days: a suspension, or a hole in the data. They break no rule.
    pub gaps: Vec<Finding>,
    /// Tables that changed or are gone, so that what follows from them was not computed again.
    pub not_verified: Vec<String>,
}

/// Checks the data set; the answer is not good when a row breaks a rule.
///
/// # Errors
///
/// [`LabError`] when the data set cannot be read.
pub fn run(args: &CheckArgs) -> Result<Answer, LabError> {
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
    Ok(Answer { lines, good })
}

/// Returns the tables that a version was prepared with, as far as they are what they were, and the others.
fn recorded(manifest: &Manifest) -> (Tables, Vec<String>) {
    let (mut tables, mut changed) = (Tables::default(), Vec::new());
    for table in &manifest.tables {
        let path = PathBuf::from(&table.path);
        let same = sha256_of_file(&path).is_ok_and(|sha256| sha256 == table.sha256);
        // What names and listings said is kept in the settings.
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

/// Holds bars and findings against what is known once more.
fn check_known(
    data: &DataSet,
    known: &ReferenceTables,
    findings: &mut Findings,
) -> Result<(), LabError> {
    let mut told = prepare::findings::of_bars(data.dir())?;
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
        let told = told.remove(symbol.as_str()).unwrap_or_default();
        if fresh != told {
            findings.violations.push(Finding {
                symbol,
                date: None,
                what: "findings",
                detail: format!(
                    "{} are told, and {} are to be found",
                    told.len(),
                    fresh.len()
                ),
            });
        }
    }
    Ok(())
}

/// Holds what was told of published limits against the table once more.
fn check_limits(
    data: &DataSet,
    known: &ReferenceTables,
    findings: &mut Findings,
) -> Result<(), LabError> {
    let file = data.dir().join(prepare::findings::FILE);
    let is_limits = |found: &prepare::findings::Finding| found.evidence == "limits";
    let mut told = prepare::lines::read_lines::<prepare::findings::Finding>(&file)?;
    told.retain(is_limits);
    let fresh = known.findings.iter().filter(|found| is_limits(found));
    if !fresh.clone().eq(&told)
        && let Some(symbol) = fresh
            .chain(&told)
            .find_map(|f| Symbol::parse(&f.symbol).ok())
    {
        findings.violations.push(Finding {
            symbol,
            date: None,
            what: "findings",
            detail: format!(
                "{} tell of published limits, and others are found",
                told.len()
            ),
        });
    }
    Ok(())
}

/// Judges every row with a cleaner that has seen no bar.
///
/// # Errors
///
/// [`LabError`] when the data set cannot be read.
pub fn check(data: &DataSet, cleaner: &Cleaner) -> Result<Findings, LabError> {
    let settings = &data.manifest().settings;
    let features = FeatureSet::parse(&settings.features)?;
    let mut missing: BTreeMap<Symbol, &SymbolEntry> = data
        .manifest()
        .symbols
        .iter()
        .map(|entry| (entry.symbol, entry))
        .collect();
    let mut findings = Findings::default();
    let mut reader = data.series(Columns::All)?;
    while let Some(rows) = reader.next()? {
        let Some(symbol) = rows.bars().first().map(|bar| bar.symbol) else {
            continue;
        };
        findings.symbols += 1;
        findings.bars += rows.len();
        let told = missing.remove(&symbol).map_or(0, |entry| entry.bars);
        if told != rows.len() as u64 {
            findings.violations.push(Finding {
                symbol,
                date: None,
                what: "row_count",
                detail: format!("the manifest says {told}, the files hold {}", rows.len()),
            });
        }
        judge(&rows, cleaner, &mut findings);
        recompute(&rows, &features, settings.flat_band, &mut findings);
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

/// Lets the cleaner judge the bars of a series, and notes its gaps.
fn judge(rows: &Rows, cleaner: &Cleaner, findings: &mut Findings) {
    let mut judge = cleaner.clone();
    let mut before: Option<&Bar> = None;
    for bar in rows.bars() {
        if bar.marks.contains(Marks::LEVEL_RESET) {
            // The bar that announced the new level was turned down and is not here to testify.
            judge = cleaner.clone();
        }
        if let Err(reject) = judge.check(*bar) {
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
        // A hole is told as such, and not as a gap once more.
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

/// Computes features and labels again and compares bits.
fn recompute(rows: &Rows, features: &FeatureSet, flat_band: f64, findings: &mut Findings) {
    let bars = rows.bars();
    let mut differ = |row: usize, what: &'static str, detail: String| {
        findings.violations.push(Finding {
            symbol: bars[row].symbol,
            date: Some(bars[row].date),
            what,
            detail,
        });
    };
    let fresh = match compute(bars, features, flat_band) {
        Ok(fresh) => fresh,
        // Bars out of order or without a price have no features; the cleaner has named them.
        Err(error) => return differ(0, "features", error.to_string()),
    };
    for row in 0..rows.len() {
        let bits = |rows: &Rows| {
            let values = rows.features(row).unwrap_or_default();
            values.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        };
        if bits(&fresh) != bits(rows) {
            differ(row, "features", "are not those of the bars".into());
        }
        if fresh.next()[row] != rows.next()[row] {
            differ(row, "label", "is not that of the next bar".into());
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
                "{title}: {} more; --json tells all",
                list.len() - SHOWN
            ));
        }
    }
    for table in &findings.not_verified {
        lines.push(format!("not verified: {table} changed or is gone"));
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
