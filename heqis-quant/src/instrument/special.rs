//! Days of one stock on which the rules of its board change: special treatment and days without limits.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::names::is_first_day_name;
use super::{Instrument, PLACE};
use crate::clean::StPeriod;
use crate::date::Date;
use crate::error::QuantError;

const ASHARE: &str = include_str!("../../rules/special_days.csv");

/// The dates since which the first day of a delisting period and of a resumed listing have no price limit, from
/// `rules/special_days.csv` of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialDays {
    delisting_period: Date,
    resumed_listing: Date,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    kind: String,
    from: Date,
    source: String,
}

impl SpecialDays {
    /// Returns the shipped A-share table.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] if the table lacks a kind or a source. A test keeps the shipped table valid.
    pub fn ashare() -> Result<Self, QuantError> {
        let rows = csv::Reader::from_reader(ASHARE.as_bytes())
            .into_deserialize()
            .collect::<Result<Vec<Row>, _>>();
        let rows = rows.map_err(|error| {
            QuantError::value(
                PLACE,
                "special days",
                "must be kind, from and source",
                error,
            )
        })?;
        let since = |kind: &str| {
            let sourced = |row: &&Row| row.kind == kind && !row.source.is_empty();
            rows.iter()
                .find(sourced)
                .map(|row| row.from)
                .ok_or_else(|| {
                    QuantError::value(
                        PLACE,
                        "special days",
                        "must have the kind with a source",
                        kind,
                    )
                })
        };
        Ok(Self {
            delisting_period: since("delisting_period")?,
            resumed_listing: since("resumed_listing")?,
        })
    }

    /// Returns the days on or after which the next traded day of a stock has no price limit, according to its names: the
    /// first day of a delisting period and of a resumed listing, which the vendor gives as a reason or the exchange as an
    /// `N` before the name. The days without limits after the first listing are part of the limit rules.
    #[must_use]
    pub fn free_days(&self, stock: &Instrument) -> BTreeSet<Date> {
        let mut free = BTreeSet::new();
        let mut delisting = false;
        for period in stock.names() {
            let was = std::mem::replace(&mut delisting, period.is_delisting());
            let resumed = period.is_resumed();
            let listed = stock.listed() == Some(period.from);
            if (delisting && !was && self.delisting_period <= period.from)
                || ((resumed || is_first_day_name(&period.name) && !listed)
                    && self.resumed_listing <= period.from)
            {
                free.insert(period.from);
            }
        }
        free
    }
}

/// Consecutive bars of a stock whose flags disagree with other sources on special treatment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StMismatch {
    /// The first day with a bar.
    pub from: Date,
    /// The last day with a bar.
    pub to: Date,
    /// The number of bars.
    pub bars: usize,
    /// The flag of the bars; names or configuration say the opposite.
    pub flagged: bool,
}

/// Returns the periods of special treatment of one stock from the flags of its bars, such as baostock's `isST`, and their
/// disagreements with periods from other sources, such as names.
///
/// `flags` has one entry for each day with a bar, in order. **Flags take precedence** from their first to their last day: the
/// vendor publishes them day by day with the prices that they limit, while names are announced, corrected and dated by hand.
/// A flag holds until the next one, since the days between have no bar. Before the first and after the last flag the `known`
/// periods hold. `known` is `None` without another source.
#[must_use]
pub fn st_periods_of_flags(
    flags: &[(Date, bool)],
    known: Option<&[StPeriod]>,
) -> (Vec<StPeriod>, Vec<StMismatch>) {
    let all = known.unwrap_or_default();
    let (Some((first, _)), Some((last, _))) = (flags.first(), flags.last()) else {
        return (all.to_vec(), Vec::new());
    };
    let day = |date: Date, by: i32| Date::from_days(date.days() + by);
    let mut periods: Vec<StPeriod> = Vec::new();
    for period in all.iter().filter(|period| period.from < *first) {
        let before = day(*first, -1);
        periods.push(StPeriod {
            from: period.from,
            to: period.to.min(before).or(before),
        });
    }
    let mut disagreements: Vec<StMismatch> = Vec::new();
    let mut agreed = true;
    for (at, (date, flagged)) in flags.iter().enumerate() {
        if *flagged {
            let to = flags
                .get(at + 1)
                .map_or(Some(*last), |(next, _)| day(*next, -1));
            periods.push(StPeriod { from: *date, to });
        }
        if known.is_none() || all.iter().any(|period| period.holds(*date)) == *flagged {
            agreed = true;
            continue;
        }
        match disagreements.last_mut() {
            Some(run) if !agreed && run.flagged == *flagged => {
                run.to = *date;
                run.bars += 1;
            }
            _ => disagreements.push(StMismatch {
                from: *date,
                to: *date,
                bars: 1,
                flagged: *flagged,
            }),
        }
        agreed = false;
    }
    for period in all
        .iter()
        .filter(|period| period.to.is_none_or(|to| *last < to))
    {
        let after = day(*last, 1).unwrap_or(*last);
        periods.push(StPeriod {
            from: period.from.max(after),
            to: period.to,
        });
    }
    periods.sort_by_key(|period| period.from);
    let mut joined: Vec<StPeriod> = Vec::new();
    for period in periods {
        match joined.last_mut() {
            Some(open) if open.to.is_none_or(|to| period.from.days() <= to.days() + 1) => {
                open.to = open.to.zip(period.to).map(|(a, b)| a.max(b));
            }
            _ => joined.push(period),
        }
    }
    (joined, disagreements)
}
