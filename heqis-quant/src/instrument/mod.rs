//! What is known of a stock beside its bars: when it was listed, what it was called, and when it did not trade.
//!
//! Special treatment (ST) is written nowhere but in the name, so the history of names is the history of ST. A suspended
//! stock has no bar, so the calendar shows its suspensions: see [`suspensions`].

mod suspension;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Read;

pub use suspension::{
    Suspension, SuspensionCheck, check_suspensions, read_suspended_days, suspensions,
};

use crate::records::Records;
use crate::{Board, Date, Exchange, QuantError, Symbol};

const PLACE: &str = "instrument";

/// A name and the days on which it was in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePeriod {
    /// The name, as the exchange displays it.
    pub name: String,
    /// The first day.
    pub from: Date,
    /// The last day, or `None` when the name is still in use.
    pub to: Option<Date>,
}

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
        })
    }

    /// Adds the history of names, in any order; a period given twice counts once. A period without an end lasts until
    /// the next one begins, since the vendor does not always close them.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a period ends before it begins, or two names were in use on one day.
    pub fn with_names(
        mut self,
        names: impl IntoIterator<Item = NamePeriod>,
    ) -> Result<Self, QuantError> {
        let refuse = |rule: String, period: &NamePeriod| {
            let field = format!("name {} of {}", period.name, self.symbol);
            Err(QuantError::value(PLACE, field, rule, period.from))
        };
        let mut names: Vec<NamePeriod> = names.into_iter().collect();
        names.sort_by(|a, b| (a.from, a.to, &a.name).cmp(&(b.from, b.to, &b.name)));
        names.dedup();
        for i in 0..names.len() {
            let next = names.get(i + 1).map(|next| (next.from, next.name.clone()));
            let period = &mut names[i];
            if let Some(to) = period.to.filter(|to| *to < period.from) {
                return refuse(format!("must not begin after its end on {to}"), period);
            }
            match (period.to, next) {
                (None, Some((next, _))) if next > period.from => {
                    period.to = Date::from_days(next.days() - 1);
                }
                (to, Some((next, name))) if to.is_none_or(|to| next <= to) => {
                    return refuse(
                        format!("must end before the name {name} begins on {next}"),
                        period,
                    );
                }
                _ => {}
            }
        }
        self.names = names;
        Ok(self)
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

    /// Returns what the company does, in a word, where known.
    #[must_use]
    pub fn industry(&self) -> Option<&str> {
        self.industry.as_deref()
    }

    /// Returns the first letters of the name's syllables as it is spoken, such as `pfyh`, where known.
    #[must_use]
    pub fn initials(&self) -> Option<&str> {
        self.initials.as_deref()
    }

    /// Returns the first trading day, where known.
    #[must_use]
    pub fn listed(&self) -> Option<Date> {
        self.listed
    }

    /// Returns the day of delisting, or `None` for a stock that is still listed or of which nothing is known.
    #[must_use]
    pub fn delisted(&self) -> Option<Date> {
        self.delisted
    }

    /// Returns whether the stock was listed on a day, the day of delisting not included; an unknown listing day counts
    /// as long ago.
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

    /// Returns the name on a day, or `None` when the history has none for it.
    #[must_use]
    pub fn name_on(&self, date: Date) -> Option<&str> {
        self.names
            .iter()
            .find(|period| period.from <= date && period.to.is_none_or(|to| date <= to))
            .map(|period| period.name.as_str())
    }

    /// Returns whether the stock was under special treatment on a day, or `None` when its name on that day is unknown:
    /// a guess would silently halve or double the price limit.
    #[must_use]
    pub fn is_st(&self, date: Date) -> Option<bool> {
        self.name_on(date).map(is_st_name)
    }

    /// Returns the periods of special treatment; names that follow one another within ST make one period. The last
    /// one has no end while the stock is under ST.
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

    /// Reads Tushare's `stock_basic` table: `ts_code`, `name`, `list_date` and, where they are there, `delist_date`,
    /// `industry` and `cnspell`.
    ///
    /// # Errors
    /// Returns [`QuantError::Header`], [`QuantError::Row`] or [`QuantError::Io`] when the table cannot be read or lists
    /// a stock twice, and what [`Instrument::new`] returns.
    pub fn from_stock_basic(
        read: impl Read,
        source_name: impl Into<String>,
    ) -> Result<BTreeMap<Symbol, Self>, QuantError> {
        let mut records = Records::new(read, source_name)?;
        let code = records.column("ts_code")?;
        let name = records.column("name")?;
        let list = records.column("list_date")?;
        let delist = records.optional_column("delist_date")?;
        let industry = records.optional_column("industry")?;
        let initials = records.optional_column("cnspell")?;
        let mut found = BTreeMap::new();
        while let Some(record) = records.next_record()? {
            let symbol = record.symbol(code)?;
            let delisted = match delist {
                Some(column) => record.optional_date(column)?,
                None => None,
            };
            let mut instrument = Self::new(
                symbol,
                record.text(name)?,
                record.optional_date(list)?,
                delisted,
            )?;
            let text = |column: Option<usize>| record.optional_text(column?);
            instrument.industry = text(industry);
            instrument.initials = text(initials);
            if found.insert(symbol, instrument).is_some() {
                return Err(record.refuse(code, "must not be listed twice"));
            }
        }
        Ok(found)
    }
}

/// Returns whether a name as displayed by the exchange says special treatment: `ST`, `*ST`, and during the share reform
/// `SST`, `S*ST` and `G` before them, also on an ex-right day, when `XD`, `XR` or `DR` stands before it.
#[must_use]
pub fn is_st_name(name: &str) -> bool {
    let name = name.trim();
    let name = ["XD", "XR", "DR"]
        .into_iter()
        .find_map(|mark| name.strip_prefix(mark))
        .unwrap_or(name);
    ["ST", "*ST", "SST", "S*ST", "GST", "G*ST"]
        .into_iter()
        .any(|mark| name.starts_with(mark))
}

/// Days from the epoch to 1900-01-01.
const LONG_AGO: i32 = -25_567;

/// Reads Tushare's `namechange` table: `ts_code`, `name`, `start_date`, `end_date`, for [`Instrument::with_names`]. A name
/// without a first day was in use from the beginning.
///
/// # Errors
/// Returns [`QuantError::Header`], [`QuantError::Row`] or [`QuantError::Io`] when the table cannot be read.
pub fn read_name_changes(
    read: impl Read,
    source_name: impl Into<String>,
) -> Result<BTreeMap<Symbol, Vec<NamePeriod>>, QuantError> {
    let mut records = Records::new(read, source_name)?;
    let code = records.column("ts_code")?;
    let name = records.column("name")?;
    let start = records.column("start_date")?;
    let end = records.column("end_date")?;
    let mut found: BTreeMap<Symbol, Vec<NamePeriod>> = BTreeMap::new();
    while let Some(record) = records.next_record()? {
        let from = record.optional_date(start)?;
        let Some(from) = from.or_else(|| Date::from_days(LONG_AGO)) else {
            return Err(record.refuse(start, "must be a date"));
        };
        let period = NamePeriod {
            name: record.text(name)?,
            from,
            to: record.optional_date(end)?,
        };
        if let Some(to) = period.to.filter(|to| *to < period.from) {
            return Err(record.refuse(start, format!("must not lie after the end {to}")));
        }
        found.entry(record.symbol(code)?).or_default().push(period);
    }
    Ok(found)
}
