//! Names and the days on which they were in use, the only source of special treatment, delisting periods and resumed
//! listings.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use crate::date::Date;
use crate::error::QuantError;
use crate::records::{ByStock, Records};
use crate::symbol::Symbol;

/// Days from the epoch to 1900-01-01.
const LONG_AGO: i32 = -25_567;

/// A name and the days on which it was in use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamePeriod {
    /// The first day.
    pub from: Date,
    /// The last day, or `None` when the name is still in use.
    pub to: Option<Date>,
    /// The name as displayed by the exchange.
    pub name: String,
    /// The reason of the change, as the vendor writes it.
    pub reason: Option<String>,
}

impl NamePeriod {
    fn covers(&self, date: Date) -> bool {
        self.from <= date && self.to.is_none_or(|to| date <= to)
    }

    /// Whether the name belongs to a delisting period, by itself or by the vendor's reason.
    pub(super) fn is_delisting(&self) -> bool {
        is_delisting_name(&self.name) || self.is_for("退市整理")
    }

    /// Whether the name began with a resumed listing, by the vendor's reason.
    pub(super) fn is_resumed(&self) -> bool {
        self.is_for("恢复上市") || self.is_for("重新上市")
    }

    fn is_for(&self, reason: &str) -> bool {
        self.reason.as_ref().is_some_and(|own| own.contains(reason))
    }

    /// Whether the next period, of a row that begins on the day `begun`, continues this one.
    fn continues_in(&self, next: &Self, begun: Date) -> bool {
        let resumes = next.is_resumed() && next.from == begun;
        let follows = self.to.is_some_and(|to| to.days() + 1 == next.from.days());
        let same = plain(&self.name) == plain(&next.name);
        same && follows && !resumes && self.is_delisting() == next.is_delisting()
    }

    fn text(&self) -> String {
        let to = self
            .to
            .map_or("an open end".to_owned(), |to| to.to_string());
        format!("{} from {} to {to}", self.name, self.from)
    }
}

/// Reads Tushare's `namechange` table: `ts_code`, `name`, `start_date`, `end_date` and, optionally,
/// `change_reason`, for [`Instrument::with_names`](super::Instrument::with_names). A name without a first day was in use
/// from the beginning. A row that cannot be used, such as one that begins after its end, becomes a bad row.
///
/// # Errors
/// Returns [`QuantError::Header`] or [`QuantError::Io`] when the table cannot be read at all.
pub fn read_name_changes(
    read: impl Read,
    source_name: impl Into<String>,
) -> Result<ByStock<Vec<NamePeriod>>, QuantError> {
    let mut records = Records::new(read, source_name)?;
    let code = records.column("ts_code")?;
    let name = records.column("name")?;
    let start = records.column("start_date")?;
    let end = records.column("end_date")?;
    let reason = records.optional_column("change_reason")?;
    let mut found: BTreeMap<Symbol, Vec<NamePeriod>> = BTreeMap::new();
    let bad = records.each(code, Some(start), |record| {
        let from = record.optional_date(start)?;
        let Some(from) = from.or_else(|| Date::from_days(LONG_AGO)) else {
            return Err(record.refuse(start, "must be a date"));
        };
        let period = NamePeriod {
            from,
            to: record.optional_date(end)?,
            name: record.text(name)?,
            reason: reason.and_then(|column| record.optional_text(column)),
        };
        if let Some(to) = period.to.filter(|to| *to < period.from) {
            return Err(record.refuse(start, format!("must not lie after the end {to}")));
        }
        found.entry(record.symbol(code)?).or_default().push(period);
        Ok(())
    })?;
    Ok((found, bad))
}

/// Merges the rows of a stock into one history with one name per day, and lists what remains unclear.
///
/// - A repeated name, with or without an end, is one period. Names are compared without spaces and wide letters.
/// - A row without an end lasts until another name begins.
/// - Where two names overlap, the one that began later is in use.
/// - Of two names that began on one day, one under special treatment is in use, and the day is unclear if the other is not:
///   narrower limits reject trades rather than invent them.
pub(super) fn settle(mut rows: Vec<NamePeriod>) -> (Vec<NamePeriod>, Vec<String>) {
    rows.retain(|row| row.to.is_none_or(|to| row.from <= to));
    rows.sort();
    rows.dedup();
    let plain: Vec<String> = rows.iter().map(|row| plain(&row.name)).collect();
    for i in 0..rows.len() {
        if rows[i].to.is_none() {
            let others = (0..rows.len()).filter(|j| plain[*j] != plain[i]);
            let next = others
                .map(|j| rows[j].from)
                .filter(|from| *from > rows[i].from);
            rows[i].to = next.min().and_then(|next| Date::from_days(next.days() - 1));
        }
    }
    let mut edges: BTreeSet<Date> = rows.iter().map(|row| row.from).collect();
    let ends = rows.iter().filter_map(|row| row.to);
    edges.extend(ends.filter_map(|to| Date::from_days(to.days() + 1)));
    let edges: Vec<Date> = edges.into_iter().collect();
    let (mut history, mut unclear) = (Vec::<NamePeriod>::new(), BTreeSet::new());
    for (at, from) in edges.iter().enumerate() {
        let covering = || rows.iter().filter(|row| row.covers(*from));
        let Some(begun) = covering().map(|row| row.from).max() else {
            continue;
        };
        let latest = || covering().filter(|row| row.from == begun);
        let Some(first) = latest().next() else {
            continue;
        };
        let under = latest().find(|row| is_st_name(&row.name));
        if let (Some(under), Some(not)) = (under, latest().find(|row| !is_st_name(&row.name))) {
            unclear.insert(format!(
                "two names begin on one day, {} and {}; counted as under special treatment",
                under.text(),
                not.text()
            ));
        }
        let name = under.unwrap_or(first);
        // Of repeated rows, any may have the reason.
        let same = |row: &&NamePeriod| self::plain(&row.name) == self::plain(&name.name);
        let to = edges
            .get(at + 1)
            .and_then(|next| Date::from_days(next.days() - 1));
        let period = NamePeriod {
            from: *from,
            to,
            name: name.name.clone(),
            reason: latest().filter(same).find_map(|row| row.reason.clone()),
        };
        match history.last_mut() {
            Some(last) if last.continues_in(&period, begun) => last.to = to,
            _ => history.push(period),
        }
    }
    (history, unclear.into_iter().collect())
}

/// Returns a name in plain upper-case letters: vendors write wide letters, several kinds of stars, and spaces.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|letter| !letter.is_whitespace())
        .map(|letter| match letter {
            '\u{fe61}' | '\u{2217}' | '\u{2731}' => '*',
            // Wide forms have a fixed distance from their ASCII letters.
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(letter as u32 - 0xfee0).unwrap_or(letter),
            other => other,
        })
        .flat_map(char::to_uppercase)
        .collect()
}

/// Returns a plain name without the temporary marks of the exchange: `XD`, `XR` and `DR` on ex-right days, `N` on the first
/// day and `C` on the days after it.
fn unmarked(name: &str) -> String {
    let mut name = plain(name);
    for mark in ["XD", "XR", "DR", "N", "C"] {
        if let Some(rest) = name.strip_prefix(mark) {
            name = rest.to_owned();
        }
    }
    name
}

/// Returns whether a name as displayed by the exchange is one under special treatment: it begins with `ST` or `*ST`, or
/// during the share reform with `SST`, `S*ST`, `GST` or `G*ST`. Wide letters, spaces and a leading `XD`, `XR`, `DR`, `N` or
/// `C` do not matter.
#[must_use]
pub fn is_st_name(name: &str) -> bool {
    let name = unmarked(name);
    ["ST", "*ST", "SST", "S*ST", "GST", "G*ST"]
        .into_iter()
        .any(|mark| name.starts_with(mark))
}

/// Returns whether a name as displayed by the exchange is one of a delisting period: it begins with `退市` or `*退`, or ends
/// with `退`.
#[must_use]
pub fn is_delisting_name(name: &str) -> bool {
    let name = unmarked(name);
    name.starts_with("退市") || name.starts_with("*退") || name.ends_with('退')
}

/// Returns whether a name is that of a first day: `N` before a Chinese name or before special treatment.
pub(super) fn is_first_day_name(name: &str) -> bool {
    let name = plain(name);
    let rest = name.strip_prefix('N');
    rest.is_some_and(|rest| rest.starts_with(|c: char| !c.is_ascii()) || is_st_name(rest))
}
