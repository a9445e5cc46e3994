//! The facts about a stock other than its bars: its listing, its names, and its suspensions.
//!
//! Special treatment (ST) appears only in the name, so the history of names is the history of ST. The same holds for the
//! delisting period and for the first day of a resumed listing, which has no price limit: see [`SpecialDays`]. A suspended
//! stock has no bar, so its suspensions follow from the calendar: see [`suspensions`].
//!
//! Vendors' tables have errors. A row that cannot be used becomes a [`BadRow`](crate::BadRow) and affects only its own
//! stock. [`Instrument::unclear`] lists what valid rows leave open.
//!
//! ```
//! use heqis_quant::instrument::read_name_changes;
//! use heqis_quant::{Date, Instrument, QuantError, Symbol};
//!
//! let symbol = Symbol::parse("000004.SZ")?;
//! let table = "ts_code,name,start_date,end_date\n\
//!              000004.SZ,*ST国农,20090429,20110627\n\
//!              000004.SZ,国农科技,20110628,\n";
//! let (mut names, bad_rows) = read_name_changes(table.as_bytes(), "namechange.csv")?;
//! assert!(bad_rows.is_empty());
//! let listed = Date::parse("1991-01-14")?;
//! let stock = Instrument::new(symbol, "国农科技", Some(listed), None)?
//!     .with_names(names.remove(&symbol).unwrap_or_default());
//! assert_eq!(stock.is_st(Date::parse("2010-01-04")?), Some(true));
//! assert_eq!(stock.is_st(Date::parse("2012-01-04")?), Some(false));
//! assert_eq!(stock.is_st(Date::parse("2000-01-04")?), None);
//! # Ok::<(), QuantError>(())
//! ```

mod names;
mod special;
mod suspension;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Read;

pub use names::{NamePeriod, is_delisting_name, is_st_name, read_name_changes};
pub use special::{SpecialDays, StMismatch, st_periods_of_flags};
pub use suspension::{
    Suspension, SuspensionCheck, check_suspensions, read_suspended_days, suspensions,
};

use crate::date::Date;
use crate::error::QuantError;
use crate::records::{ByStock, Records};
use crate::symbol::{Board, Exchange, Symbol};

const PLACE: &str = "instrument";

/// One stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrument {
    symbol: Symbol,
    name: String,
    listed: Option<Date>,
    delisted: Option<Date>,
    industry: Option<String>,
    initials: Option<String>,
    names: Vec<NamePeriod>,
    unclear: Vec<String>,
}

impl Instrument {
    /// Makes an instrument without a history of names.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when it is delisted before it is listed.
    pub fn new(
        symbol: Symbol,
        name: impl Into<String>,
        listed: Option<Date>,
        delisted: Option<Date>,
    ) -> Result<Self, QuantError> {
        if let (Some(listed), Some(delisted)) = (listed, delisted)
            && delisted < listed
        {
            return Err(QuantError::value(
                PLACE,
                format!("delisting of {symbol}"),
                format!("must not lie before the listing on {listed}"),
                delisted,
            ));
        }
        Ok(Self {
            symbol,
            name: name.into(),
            listed,
            delisted,
            industry: None,
            initials: None,
            names: Vec::new(),
            unclear: Vec::new(),
        })
    }

    /// Adds the history of names, in any order. A repeated name is one period, with or without an end. A period without an
    /// end lasts until another name begins, since the vendor does not always close them. Where two names overlap, the one
    /// that began later is in use. A period that ends before it begins is ignored. [`Instrument::unclear`] lists what
    /// remains open.
    #[must_use]
    pub fn with_names(mut self, names: impl IntoIterator<Item = NamePeriod>) -> Self {
        (self.names, self.unclear) = names::settle(names.into_iter().collect());
        self
    }

    /// Returns what the rows of names leave open: pairs of names that begin on one day, of which one is under special
    /// treatment.
    #[must_use]
    pub fn unclear(&self) -> &[String] {
        &self.unclear
    }

    /// Returns the symbol.
    #[must_use]
    pub fn symbol(&self) -> Symbol {
        self.symbol
    }

    /// Returns the last known name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the board, which decides the trading rules.
    #[must_use]
    pub fn board(&self) -> Board {
        self.symbol.board()
    }

    /// Returns the exchange.
    #[must_use]
    pub fn exchange(&self) -> Exchange {
        self.symbol.exchange()
    }

    /// Returns the industry, if known.
    #[must_use]
    pub fn industry(&self) -> Option<&str> {
        self.industry.as_deref()
    }

    /// Returns the initial letters of the name in pinyin, such as `pfyh`, if known.
    #[must_use]
    pub fn initials(&self) -> Option<&str> {
        self.initials.as_deref()
    }

    /// Returns the first trading day, if known.
    #[must_use]
    pub fn listed(&self) -> Option<Date> {
        self.listed
    }

    /// Returns the day of delisting, or `None` if the stock is listed or its delisting is unknown.
    #[must_use]
    pub fn delisted(&self) -> Option<Date> {
        self.delisted
    }

    /// Returns whether the stock was listed on a day, the day of delisting excluded. An unknown listing day counts as long
    /// ago.
    #[must_use]
    pub fn is_listed(&self, date: Date) -> bool {
        self.listed.is_none_or(|listed| listed <= date)
            && self.delisted.is_none_or(|delisted| date < delisted)
    }

    /// Returns all names in order.
    #[must_use]
    pub fn names(&self) -> &[NamePeriod] {
        &self.names
    }

    /// Returns the name on a day, or `None` if the history does not cover it.
    #[must_use]
    pub fn name_on(&self, date: Date) -> Option<&str> {
        self.names
            .iter()
            .find(|period| period.from <= date && period.to.is_none_or(|to| date <= to))
            .map(|period| period.name.as_str())
    }

    /// Returns whether the stock was under special treatment on a day, or `None` if its name on that day is unknown: a guess
    /// would halve or double the price limit without notice.
    #[must_use]
    pub fn is_st(&self, date: Date) -> Option<bool> {
        self.name_on(date).map(is_st_name)
    }

    /// Returns the periods of special treatment. Consecutive names under ST make one period, which has no end while the
    /// stock is under ST.
    #[must_use]
    pub fn st_periods(&self) -> Vec<(Date, Option<Date>)> {
        let mut periods: Vec<(Date, Option<Date>)> = Vec::new();
        for period in self.names.iter().filter(|period| is_st_name(&period.name)) {
            match periods.last_mut() {
                Some((_, end)) if end.is_some_and(|end| end.days() + 1 == period.from.days()) => {
                    *end = period.to;
                }
                _ => periods.push((period.from, period.to)),
            }
        }
        periods
    }

    /// Reads Tushare's `stock_basic` table: `ts_code`, `name`, `list_date` and, optionally, `delist_date`, `industry`
    /// and `cnspell`.
    ///
    /// Two rows of one stock, such as `L` and `D`, are one stock: each date is taken from the row that has it, and the name
    /// from the later row. Dates on which the rows disagree, and a delisting before the listing, count as unknown. Such
    /// rows, rows without a day of listing and rows that cannot be read are returned as [`BadRow`](crate::BadRow)s.
    ///
    /// # Errors
    /// Returns [`QuantError::Header`] or [`QuantError::Io`] when the table cannot be read at all.
    pub fn from_stock_basic(
        read: impl Read,
        source_name: impl Into<String>,
    ) -> Result<ByStock<Self>, QuantError> {
        let mut records = Records::new(read, source_name)?;
        let code = records.column("ts_code")?;
        let name = records.column("name")?;
        let list = records.column("list_date")?;
        let delist = records.optional_column("delist_date")?;
        let industry = records.optional_column("industry")?;
        let initials = records.optional_column("cnspell")?;
        let mut found: BTreeMap<Symbol, Self> = BTreeMap::new();
        let bad = records.each(code, None, |record| {
            let symbol = record.symbol(code)?;
            let listed = record.optional_date(list)?;
            let delisted = match delist {
                Some(column) => record.optional_date(column)?,
                None => None,
            };
            let agreed = |old: Option<Date>, new: Option<Date>| match (old, new) {
                (Some(old), Some(new)) if old != new => Err((old, new)),
                _ => Ok(old.or(new)),
            };
            let old = found.get(&symbol);
            let days = (
                agreed(old.and_then(Self::listed), listed),
                agreed(old.and_then(Self::delisted), delisted),
            );
            let (known, fault) = match days {
                (Ok(Some(listed)), Ok(Some(delisted))) if delisted < listed => (
                    (None, None),
                    Some((delist, format!("must not lie before the listing on {listed}"))),
                ),
                (Ok(None), Ok(delisted)) => (
                    (None, delisted),
                    Some((Some(list), "must be known: how long the first days had no limit is not".to_owned())),
                ),
                (Ok(listed), Ok(Some(day))) if old.is_some_and(|old| old.delisted != delisted) => (
                    (listed, Some(day)),
                    Some((delist, format!("is {day} in one of two rows and empty in the other; counted as delisted"))),
                ),
                (Ok(listed), Ok(delisted)) => ((listed, delisted), None),
                (Err((old, new)), delisted) => (
                    (None, delisted.unwrap_or(None)),
                    Some((Some(list), format!("must be one day, and is {old} and {new} in two rows"))),
                ),
                (listed, Err((old, new))) => (
                    (listed.unwrap_or(None), None),
                    Some((delist, format!("must be one day, and is {old} and {new} in two rows"))),
                ),
            };
            let text = |column: Option<usize>| record.optional_text(column?);
            let kept = |of: fn(&Self) -> &Option<String>| old.and_then(|old| of(old).clone());
            let called = record.optional_text(name).or_else(|| Some(old?.name.clone()));
            let called = called.unwrap_or_else(|| symbol.to_string());
            let stock = Self {
                industry: text(industry).or_else(|| kept(|stock| &stock.industry)),
                initials: text(initials).or_else(|| kept(|stock| &stock.initials)),
                ..Self::new(symbol, called, known.0, known.1)?
            };
            found.insert(symbol, stock);
            match fault {
                Some((column, rule)) => Err(record.refuse(column.unwrap_or(list), rule)),
                None => Ok(()),
            }
        })?;
        Ok((found, bad))
    }
}
