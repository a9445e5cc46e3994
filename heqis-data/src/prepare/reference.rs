//! Reference data of stocks: ex-rights, names, listings, suspensions and trading days.
//!
//! A directory written by `fetch` contains these tables; single ones are given on the command line. The reference data of
//! a series has a digest, so that an update computes only the series whose reference data changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heqis_quant::adjust::{EventTable, FactorSeries};
use heqis_quant::instrument::{SpecialDays, read_name_changes, read_suspended_days};
use heqis_quant::rules::{Markets, check_published};
use heqis_quant::{
    BadRow, Calendar, CleanConfig, Date, ExRight, ExRights, Instrument, QuantError, StPeriod,
    Symbol, adjust,
};
use sha2::{Digest, Sha256};

use super::findings::{self, Finding};
use crate::bars::TableOptions;
use crate::digest::{hex, sha256_of_file};
use crate::error::DataError;
use crate::store::manifest::{Adjust, TableEntry};

/// Paths of the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Ex-right events, or a vendor's dividends.
    pub events: Option<PathBuf>,
    /// A vendor's `adj_factor`.
    pub factors: Option<PathBuf>,
    /// A `trade_cal`, or a table of bars whose days are the trading days.
    pub calendar: Option<PathBuf>,
    /// The list of stocks with their days of listing.
    pub stock_basic: Option<PathBuf>,
    /// Former names, which show special treatment.
    pub namechange: Option<PathBuf>,
    /// Recorded suspensions.
    pub suspend_d: Option<PathBuf>,
    /// Published price limits.
    pub stk_limit: Option<PathBuf>,
}

impl Tables {
    /// Returns the tables of bars and the reference tables of a directory written by `fetch`, or `None` for any other
    /// directory.
    #[must_use]
    pub fn fetched(dir: &Path) -> Option<(Vec<PathBuf>, Self)> {
        let table =
            |name: &str| Some(dir.join(format!("{name}.csv"))).filter(|path| path.is_file());
        let calendar = table("trade_cal")?;
        let bars: Vec<PathBuf> = ["daily", "index_daily", "fund_daily"]
            .into_iter()
            .filter_map(table)
            .collect();
        (!bars.is_empty()).then(|| {
            let others = Self {
                events: table("dividend"),
                factors: table("adj_factor"),
                calendar: Some(calendar),
                stock_basic: table("stock_basic"),
                namechange: table("namechange"),
                suspend_d: table("suspend_d"),
                stk_limit: table("stk_limit"),
            };
            (bars, others)
        })
    }

    /// Returns the reference tables in the directory of a table of bars, if `fetch` wrote it.
    #[must_use]
    pub fn next_to(bars: &Path) -> Option<Self> {
        let dir = bars.parent().filter(|dir| !dir.as_os_str().is_empty());
        Some(Self::fetched(dir.unwrap_or(Path::new(".")))?.1)
    }

    /// Returns these tables, and the tables of `other` where one is missing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            events: self.events.or(other.events),
            factors: self.factors.or(other.factors),
            calendar: self.calendar.or(other.calendar),
            stock_basic: self.stock_basic.or(other.stock_basic),
            namechange: self.namechange.or(other.namechange),
            suspend_d: self.suspend_d.or(other.suspend_d),
            stk_limit: self.stk_limit.or(other.stk_limit),
        }
    }

    fn all(&self) -> [(&'static str, Option<&PathBuf>); 7] {
        [
            ("events", self.events.as_ref()),
            ("factors", self.factors.as_ref()),
            ("calendar", self.calendar.as_ref()),
            ("stock_basic", self.stock_basic.as_ref()),
            ("namechange", self.namechange.as_ref()),
            ("suspend_d", self.suspend_d.as_ref()),
            ("stk_limit", self.stk_limit.as_ref()),
        ]
    }
}

/// The content of the tables.
#[derive(Clone, Debug)]
pub struct ReferenceTables {
    /// The tables with their digests, for the manifest.
    pub tables: Vec<TableEntry>,
    /// Ex-right events and factors.
    pub ex_rights: Arc<ExRights>,
    /// The trading days.
    pub calendar: Option<Calendar>,
    /// Days without limits: see [`CleanConfig::free_days`].
    pub free_days: BTreeMap<Symbol, BTreeSet<Date>>,
    /// Days of delisting.
    pub delisted: BTreeMap<Symbol, Date>,
    /// Suspended days by stock, or `None` without a table of them.
    pub suspended: Option<BTreeMap<Symbol, BTreeSet<Date>>>,
    /// Unusable and contradictory rows of the tables.
    pub findings: Vec<Finding>,
}

impl ReferenceTables {
    /// Reads the tables, and adds listing days and special treatment to the settings of the cleaner; existing settings
    /// have precedence. Factors and events are read only if `adjust` needs them.
    ///
    /// # Errors
    ///
    /// [`DataError`] when a table cannot be read or its header is refused. Unusable rows, and names or listings that
    /// contradict each other, are [`ReferenceTables::findings`].
    pub fn read(
        tables: &Tables,
        adjust: Adjust,
        clean: &mut CleanConfig,
    ) -> Result<Self, DataError> {
        let mut tables = tables.clone();
        if adjust == Adjust::None {
            (tables.events, tables.factors) = (None, None);
        }
        let mut findings = Vec::new();
        let mut ex_rights = ExRights::new();
        if let Some(path) = &tables.events {
            let table = events(path)?;
            findings.extend(of_rows(findings::EVENT, &table.bad));
            ex_rights = ex_rights.with_events(table.events);
            if table.lacks_rights {
                ex_rights = ex_rights.without_rights();
            }
        }
        if let Some(path) = &tables.factors {
            let (factors, bad) = read_with(path, adjust::read_factors)?;
            findings.extend(of_rows("factors", &bad));
            let (with_factors, bad) = ex_rights.with_factors(factors);
            findings.extend(of_rows("factors", &bad));
            ex_rights = with_factors;
        }
        let delisted = instruments(&tables, clean, &mut findings)?;
        let suspended = match &tables.suspend_d {
            Some(path) => {
                let (days, bad) = read_with(path, read_suspended_days)?;
                findings.extend(of_rows("suspend_d", &bad));
                Some(days)
            }
            None => None,
        };
        let calendar = match &tables.calendar {
            Some(path) => Some(calendar(path)?),
            None => None,
        };
        if let Some(path) = &tables.stk_limit {
            findings.extend(limits(path, clean, calendar.as_ref())?);
        }
        let entries = tables.all().into_iter().filter_map(|(role, path)| {
            let path = path?;
            Some(sha256_of_file(path).map(|sha256| TableEntry {
                role: role.to_owned(),
                path: path.display().to_string(),
                sha256,
            }))
        });
        Ok(Self {
            tables: entries.collect::<Result<_, _>>()?,
            ex_rights: Arc::new(ex_rights),
            calendar,
            free_days: clean.free_days.clone(),
            delisted,
            suspended,
            findings,
        })
    }

    /// Returns the digest of all reference data on which the rows of a series up to the day `last` can depend. Without
    /// a day, for a series without rows, it is empty.
    #[must_use]
    pub fn digest(&self, clean: &CleanConfig, symbol: Symbol, last: Option<Date>) -> String {
        let Some(last) = last else {
            return String::new();
        };
        let mut digest = Sha256::new();
        let mut put = |bytes: &[u8]| digest.update(bytes);
        for event in self.ex_rights.events_of(symbol).into_iter().flatten() {
            if event.ex_date <= last {
                put(format!("{event:?}").as_bytes());
            }
        }
        let factors = self.ex_rights.factors_of(symbol);
        for (date, factor) in factors.into_iter().flat_map(FactorSeries::iter) {
            if date <= last {
                put(&date.days().to_le_bytes());
                put(&factor.to_le_bytes());
            }
        }
        put(format!("{:?}", clean.list_dates.get(&symbol)).as_bytes());
        for period in clean.st_periods.get(&symbol).into_iter().flatten() {
            if period.from <= last {
                put(format!("{} {:?}", period.from, period.to.filter(|to| *to < last)).as_bytes());
            }
        }
        for day in clean.free_days.get(&symbol).into_iter().flatten() {
            if *day <= last {
                put(&day.days().to_le_bytes());
            }
        }
        if let Some(suspended) = &self.suspended {
            let days = suspended.get(&symbol).into_iter().flatten();
            for day in days.filter(|day| **day <= last) {
                put(&day.days().to_le_bytes());
            }
        }
        if let Some(calendar) = &self.calendar {
            let days = calendar.days();
            let until = days.partition_point(|day| *day <= last);
            for day in &days[..until] {
                put(&day.days().to_le_bytes());
            }
            // Whether the calendar includes the day of the last row.
            put(&[u8::from(days.last().is_some_and(|end| *end >= last))]);
        }
        hex(&digest.finalize())
    }
}

/// Reads a table of events. Every command reads events with this function.
///
/// # Errors
///
/// [`DataError`] when the table cannot be read; unusable rows are returned in the table.
pub fn events(path: &Path) -> Result<EventTable, DataError> {
    read_with(path, ExRight::read_table)
}

fn of_rows(evidence: &str, bad: &[BadRow]) -> Vec<Finding> {
    bad.iter()
        .map(|row| Finding::of_row(evidence, row))
        .collect()
}

/// Reads listings, special treatment and days without limits, and returns the days of delisting.
fn instruments(
    tables: &Tables,
    clean: &mut CleanConfig,
    findings: &mut Vec<Finding>,
) -> Result<BTreeMap<Symbol, Date>, DataError> {
    let mut stocks = BTreeMap::new();
    if let Some(path) = &tables.stock_basic {
        let (listed, bad) = read_with(path, Instrument::from_stock_basic)?;
        findings.extend(of_rows("listing", &bad));
        stocks = listed;
    }
    for (symbol, stock) in &stocks {
        if let Some(listed) = stock.listed() {
            clean.list_dates.entry(*symbol).or_insert(listed);
        }
    }
    let delisted = stocks
        .values()
        .filter_map(|stock| Some((stock.symbol(), stock.delisted()?)));
    let delisted = delisted.collect();
    let Some(path) = &tables.namechange else {
        return Ok(delisted);
    };
    let special = SpecialDays::ashare()?;
    let (names, bad) = read_with(path, read_name_changes)?;
    findings.extend(of_rows("names", &bad));
    for (symbol, names) in names {
        let stock = match stocks.remove(&symbol) {
            Some(stock) => stock,
            None => Instrument::new(symbol, symbol.as_str(), None, None)?,
        };
        let stock = stock.with_names(names);
        let unclear = stock.unclear().iter();
        findings.extend(unclear.map(|rule| Finding::of_table("names", Some(symbol), rule)));
        let periods = stock.st_periods().into_iter();
        let periods: Vec<StPeriod> = periods.map(|(from, to)| StPeriod { from, to }).collect();
        if !periods.is_empty() {
            clean.st_periods.entry(symbol).or_insert(periods);
        }
        let free = special.free_days(&stock);
        if !free.is_empty() {
            clean.free_days.entry(symbol).or_insert(free);
        }
    }
    Ok(delisted)
}

/// Compares published price limits with the rules, stock by stock. Without a calendar, the number of trading days since an
/// IPO is unknown, so the first month is not compared.
fn limits(
    path: &Path,
    clean: &CleanConfig,
    calendar: Option<&Calendar>,
) -> Result<Vec<Finding>, DataError> {
    let markets = Markets::shipped()?;
    let days = calendar.map_or(&[][..], Calendar::days);
    let before = |date: Date| days.partition_point(|day| *day < date);
    let free = |symbol: Symbol, date: Date, st: bool| {
        let special = clean
            .free_days
            .get(&symbol)
            .and_then(|days| days.range(..=date).next_back());
        if special.is_some_and(|day| before(*day) == before(date)) {
            return true;
        }
        let Some(listed) = clean.list_dates.get(&symbol) else {
            return false;
        };
        let rule = markets
            .of(symbol)
            .and_then(|listing| listing.limit(date, st));
        let free_days = rule.map_or(0, |rule| rule.ipo_free_days as usize);
        match days.first().is_some_and(|first| first <= listed) {
            true => before(date) - before(*listed).min(before(date)) < free_days,
            false => date.days() - listed.days() < 31,
        }
    };
    let found = read_with(path, |file, name| {
        check_published(file, name, &markets, |symbol, date| {
            let st = clean.is_st(symbol, date);
            (!free(symbol, date, st)).then_some(st)
        })
    })?;
    let findings = found.into_iter().filter_map(|(symbol, published)| {
        let (date, expected, got) = published.first?;
        let per_price = markets.of(symbol)?.market.units_per_price() as f64;
        Some(Finding {
            expected: Some(expected as f64 / per_price),
            got: Some(got as f64 / per_price),
            detail: format!("{} of {} days", published.wrong, published.days),
            ..Finding::of_day("limits", symbol, date)
        })
    });
    Ok(findings.collect())
}

/// Opens a table and reads it with `read`.
fn read_with<T>(
    path: &Path,
    read: impl FnOnce(File, String) -> Result<T, QuantError>,
) -> Result<T, DataError> {
    let file = File::open(path).map_err(|source| DataError::file(path, source))?;
    Ok(read(file, path.display().to_string())?)
}

/// Reads the trading days: a `trade_cal`, or the days of a table of bars.
///
/// # Errors
///
/// [`DataError`] when the table cannot be read.
pub fn calendar(path: &Path) -> Result<Calendar, DataError> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    if stem == "trade_cal" {
        return read_with(path, Calendar::from_trade_cal);
    }
    let days = crate::bar_file::open(path, &TableOptions::default())?
        .map(|bar| bar.map(|bar| bar.date))
        .collect::<Result<Vec<Date>, _>>()?;
    Ok(Calendar::new(days)?)
}
