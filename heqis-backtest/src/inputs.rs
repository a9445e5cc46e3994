//! The inputs of a backtest: bars, reference data, market files and a benchmark.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heqis_data::TableOptions;
use heqis_data::import_args::{ImportArgs, read_files};
use heqis_data::prepare::findings::Finding;
use heqis_data::prepare::inputs::resolve;
use heqis_data::prepare::reference::{ReferenceTables, Tables};
use heqis_data::store::DataSet;
use heqis_data::store::dataset::Columns;
use heqis_data::store::manifest::Adjust;
use heqis_data::{Import, ImportReport};
use heqis_quant::{Bar, Calendar, CleanConfig, Cleaner, Date, ExRight, Markets, Symbol};
use serde::Serialize;

use crate::error::BacktestError;
use crate::instrument::InstrumentInfo;

/// Raw bars by stock, in the order of days, with the import report.
#[derive(Clone, Debug, Default)]
pub struct RawBars {
    /// The bars of each stock.
    pub bars: BTreeMap<Symbol, Vec<Bar>>,
    /// The import report; complete after [`RawBars::assess`].
    pub report: ImportReport,
    /// Other tables: those given, and those in the directory of fetched bars.
    pub tables: Tables,
}

impl RawBars {
    /// Reads tables, directories of them, patterns, and data sets made by `prepare`. `markets` default to the shipped ones.
    ///
    /// # Errors
    /// [`BacktestError::Data`] and [`BacktestError::Quant`] when one cannot be read.
    pub fn read(
        inputs: &[PathBuf],
        mut tables: Tables,
        args: &ImportArgs,
        markets: Option<&Markets>,
    ) -> Result<Self, BacktestError> {
        let options = TableOptions {
            markets: markets.cloned().map(Arc::new),
            ..args.options()
        };
        let mut import = Import::default();
        for input in inputs {
            if input.join("manifest.json").is_file() {
                let mut series = DataSet::open(input)?.series(Columns::Bars)?;
                while let Some(rows) = series.next()? {
                    for bar in rows.bars() {
                        import.series.entry(bar.symbol).or_default().push(*bar);
                    }
                }
                continue;
            }
            let (files, more) = resolve(std::slice::from_ref(input), &tables)?;
            read_files(&files, &options, &mut import)?;
            tables = more;
        }
        import.settle(&options)?;
        Ok(Self {
            bars: import.series,
            report: import.report,
            tables,
        })
    }

    /// Runs a cleaner over all bars for the report, and checks that not too many are lost.
    ///
    /// # Errors
    /// [`BacktestError::Data`] when more bars are lost than `args` allow.
    pub fn assess(&mut self, cleaner: &Cleaner, args: &ImportArgs) -> Result<(), BacktestError> {
        for report in &mut self.report.series {
            let mut cleaner = cleaner.clone();
            for bar in self.bars.get(&report.symbol).into_iter().flatten() {
                report.judged(bar, &cleaner.check(*bar));
            }
        }
        Ok(args.accept(&self.report)?)
    }
}

/// An instrument that is not traded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The instrument.
    pub symbol: Symbol,
    /// The reason.
    pub reason: String,
}

impl RawBars {
    /// Removes and returns the instruments that cannot be traded: those of no market file, and those that a market file marks
    /// as untradable, such as indices.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] when nothing is left, with the first reason.
    pub fn leave_out(&mut self, markets: &Markets) -> Result<Vec<LeftOut>, BacktestError> {
        let out: Vec<LeftOut> = self
            .bars
            .keys()
            .filter_map(|symbol| {
                Some(LeftOut {
                    symbol: *symbol,
                    reason: markets.untradable(*symbol)?,
                })
            })
            .collect();
        for left in &out {
            self.bars.remove(&left.symbol);
        }
        match out.first() {
            Some(LeftOut { symbol, reason }) if self.bars.is_empty() => {
                let rule = "must hold an instrument that can be traded";
                Err(BacktestError::rule_got(
                    "bars",
                    rule,
                    format!("{symbol}: {reason}"),
                ))
            }
            _ => Ok(out),
        }
    }
}

/// Reads the shipped market files, and those of `path`: one file, or all `*.toml` of a directory.
///
/// # Errors
/// [`BacktestError::Data`] when a file cannot be read, [`BacktestError::Rule`] for a directory without market files, and
/// [`BacktestError::Quant`] for an invalid file.
pub fn markets(path: Option<&Path>) -> Result<Markets, BacktestError> {
    let mut markets = Markets::shipped()?;
    let Some(path) = path else {
        return Ok(markets);
    };
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let read = std::fs::read_dir(path).map_err(|source| BacktestError::file(path, source))?;
        files = read
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(|source| BacktestError::file(path, source))?;
        files.retain(|file| file.extension().is_some_and(|end| end == "toml"));
        files.sort();
        if files.is_empty() {
            let place = path.display().to_string();
            return Err(BacktestError::rule_got(
                place,
                "must hold *.toml files",
                "none",
            ));
        }
    }
    for file in files {
        let text =
            std::fs::read_to_string(&file).map_err(|source| BacktestError::file(&file, source))?;
        markets = markets.with(&text, &file.display().to_string())?;
    }
    Ok(markets)
}

/// The reference data of a run: what is known about stocks apart from their bars.
#[derive(Clone, Debug)]
pub struct ReferenceData {
    /// The rules of all markets; only symbols, clocks and units are used here.
    pub markets: Markets,
    /// The configuration of the cleaner, ex-rights included: the same for decisions and for fills.
    pub clean: CleanConfig,
    /// The reference data of each stock.
    pub stocks: BTreeMap<Symbol, InstrumentInfo>,
    /// The trading days, if a table of them was given.
    pub calendar: Option<Calendar>,
    /// Whether ex-right events were given, even an empty table.
    pub events_given: bool,
    /// Whether a table of names was given.
    pub names_given: bool,
    /// Entries of the tables that cannot be used, of any stock.
    pub findings: Vec<Finding>,
}

impl ReferenceData {
    /// Reads the tables for some stocks. Adjustment factors of a vendor are not used: they do not separate the cash of an
    /// ex-right.
    ///
    /// # Errors
    /// [`BacktestError::Data`] and [`BacktestError::Quant`] when a table cannot be read at all. Rows that cannot be used are
    /// [`ReferenceData::findings`]; the runs that trade their stock report them.
    pub fn read(
        symbols: impl Iterator<Item = Symbol>,
        tables: &Tables,
        mut clean: CleanConfig,
    ) -> Result<Self, BacktestError> {
        let tables = Tables {
            factors: None,
            suspend_d: None,
            stk_limit: None,
            ..tables.clone()
        };
        let known = ReferenceTables::read(&tables, Adjust::Backward, &mut clean)?;
        let mut stocks = BTreeMap::new();
        for symbol in symbols {
            if let Some(events) = known.ex_rights.events_of(symbol) {
                let new = |event: &&ExRight| !clean.ex_rights.contains(event);
                let new: Vec<ExRight> = events.iter().filter(new).copied().collect();
                clean.ex_rights.extend(new);
            }
            let mut special = Vec::new();
            if clean.st_symbols.contains(&symbol) {
                special.push((Date::new(1990, 1, 1)?, None));
            }
            let periods = clean.st_periods.get(&symbol).into_iter().flatten();
            special.extend(periods.map(|period| (period.from, period.to)));
            let events = clean.ex_rights.iter();
            let info = InstrumentInfo {
                listed: clean.list_dates.get(&symbol).copied(),
                delisted: known.delisted.get(&symbol).copied(),
                special,
                free_days: clean.free_days.get(&symbol).cloned().unwrap_or_default(),
                events: events.filter(|e| e.symbol == symbol).copied().collect(),
            };
            stocks.insert(symbol, info);
        }
        Ok(Self {
            markets: Markets::shipped()?,
            events_given: tables.events.is_some() || !clean.ex_rights.is_empty(),
            names_given: tables.namechange.is_some(),
            clean,
            stocks,
            calendar: known.calendar,
            findings: known.findings,
        })
    }
}

/// The closes of a benchmark by day.
#[derive(Clone, Debug)]
pub struct Benchmark {
    name: String,
    closes: BTreeMap<Date, f64>,
}

impl Benchmark {
    /// Reads a table of bars of one index or stock.
    ///
    /// # Errors
    /// [`BacktestError::Data`] and [`BacktestError::Quant`] when the table cannot be read, [`BacktestError::Rule`] when it does
    /// not hold exactly one series.
    pub fn read(path: &Path) -> Result<Self, BacktestError> {
        let mut import = Import::default();
        import.read(path, &TableOptions::default())?;
        import.report.refuse_unreadable()?;
        if import.series.len() != 1 {
            let place = format!("benchmark {}", path.display());
            let rule = "must hold one series";
            return Err(BacktestError::rule_got(place, rule, import.series.len()));
        }
        let closes = import.series.into_values().flatten();
        Ok(Self {
            name: path.display().to_string(),
            closes: closes.map(|bar| (bar.date, bar.close)).collect(),
        })
    }

    /// Returns the return of each day against the last close before it: 0 for a day without a close and for the first day of
    /// the table.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] when the table begins after the first day.
    pub fn returns(&self, days: &[Date]) -> Result<Vec<f64>, BacktestError> {
        let Some(first) = days.first() else {
            return Ok(Vec::new());
        };
        let before = self
            .closes
            .range(..*first)
            .next_back()
            .map(|(_, close)| *close);
        let mut last = match (before, self.closes.get(first)) {
            (Some(close), _) => close,
            (None, Some(close)) => *close,
            (None, None) => {
                let rule = "must have a close on or before the first day";
                return Err(BacktestError::rule_got(&self.name, rule, first));
            }
        };
        Ok(days
            .iter()
            .map(|day| {
                let close = self.closes.get(day).copied().unwrap_or(last);
                let day_return = close / last - 1.0;
                last = close;
                day_return
            })
            .collect())
    }
}
