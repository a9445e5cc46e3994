//! Known ex-rights and the reference prices that follow from them.

use std::collections::BTreeMap;

use super::check::{Evidence, FactorMismatch, VendorFactor, check_factors};
use super::events::{ExRight, cents, is_due, reference_cents};
use super::{FactorSeries, Factors, PLACE};
use crate::bar::Bar;
use crate::date::Date;
use crate::error::QuantError;
use crate::records::{BadRow, ByStock, Records};
use crate::rules::Markets;
use crate::symbol::{Board, Symbol};

/// Ex-right events, a vendor's factors, or both, of any number of stocks.
///
/// Events take precedence, and factors are only compared with them. Without events the factors decide, and also on days
/// without an event in a table that has no rights issues.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExRights {
    events: Option<BTreeMap<Symbol, Vec<ExRight>>>,
    lacks_rights: bool,
    factors: Option<BTreeMap<Symbol, FactorSeries>>,
}

impl ExRights {
    /// Makes an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a table of events of all stocks: a stock without an event had none.
    #[must_use]
    pub fn with_events(mut self, events: impl IntoIterator<Item = ExRight>) -> Self {
        let mut by_symbol: BTreeMap<Symbol, Vec<ExRight>> = BTreeMap::new();
        for event in events {
            by_symbol.entry(event.symbol).or_default().push(event);
        }
        for own in by_symbol.values_mut() {
            own.sort_by_key(|event| event.ex_date);
        }
        self.events = Some(by_symbol);
        self
    }

    /// Marks the events as having no rights issues, like a table of dividends: a stock without an event may have had one.
    #[must_use]
    pub fn without_rights(mut self) -> Self {
        self.lacks_rights = true;
        self
    }

    /// Adds a vendor's factors by day in any order. Unusable factors are reported by [`ExRights::findings`] and give no
    /// reference price.
    ///
    /// A stock with two different factors on one day has none; the day is returned as a bad row.
    #[must_use]
    pub fn with_factors(
        mut self,
        mut factors: BTreeMap<Symbol, FactorSeries>,
    ) -> (Self, Vec<BadRow>) {
        let mut bad = Vec::new();
        factors.retain(|symbol, series| {
            let Err(day) = series.settle() else {
                return true;
            };
            let rule = "must not have two values for one day; none of the stock is used";
            bad.push(BadRow {
                symbol: Some(*symbol),
                date: Some(day),
                error: QuantError::value(PLACE, format!("adj_factor of {symbol}"), rule, day),
            });
            false
        });
        self.factors = Some(factors);
        (self, bad)
    }

    /// Returns the events of a stock by day, or `None` without a table of events.
    #[must_use]
    pub fn events_of(&self, symbol: Symbol) -> Option<&[ExRight]> {
        let events = self.events.as_ref()?;
        Some(events.get(&symbol).map_or(&[], Vec::as_slice))
    }

    /// Returns the factors of a stock, or `None` if the vendor has none for it or [`ExRights::has_factors`] is false.
    #[must_use]
    pub fn factors_of(&self, symbol: Symbol) -> Option<&FactorSeries> {
        let factors = self.factors.as_ref()?.get(&symbol)?;
        (!factors.is_empty()).then_some(factors)
    }

    /// Returns whether a vendor's factors were added.
    #[must_use]
    pub fn has_factors(&self) -> bool {
        self.factors.is_some()
    }

    /// Returns the reference price in cents on `date` after a close of `close_cents` on the day `since`, or `None` if
    /// no ex-right between them is known or no price can be computed.
    ///
    /// From factors it is close · factor(since) / factor(date), rounded to a cent, since a vendor's factor is the
    /// quotient of a close and a reference price that the exchange rounded to a cent.
    #[must_use]
    pub fn reference_cents(
        &self,
        symbol: Symbol,
        since: Date,
        close_cents: i64,
        date: Date,
    ) -> Option<i64> {
        if let Some(events) = self.events_of(symbol) {
            let mut due = events.iter().filter(|event| is_due(event, since, date));
            if due.clone().next().is_some() {
                // An impossible price is reported by `findings`.
                return reference_cents(close_cents, &mut due).ok();
            }
            if !self.lacks_rights {
                return None;
            }
        }
        let factors = self.factors_of(symbol)?;
        let at = |day: Date| {
            let factor = factors.get(day)?;
            (factor.is_finite() && factor > 0.0).then_some(factor)
        };
        let (before, now) = (at(since)?, at(date)?);
        let reference = (close_cents as f64 * (before / now)).round();
        (before != now && (1.0..=1e15).contains(&reference)).then_some(reference as i64)
    }

    /// Compares the known ex-rights of one stock with its daily bars: see [`check_factors`]. The checked factors are those of
    /// the vendor or, without them, those of the events. A bar without a factor of its day is [`Evidence::Sign`] with a
    /// factor of 0; if the vendor has no factor for a stock, only the first bar is. Indices and funds need no factors.
    /// Without events and factors there is no finding.
    ///
    /// # Errors
    /// Returns what [`check_factors`] and [`Factors::from_events`] return.
    pub fn findings(
        &self,
        bars: &[Bar],
        markets: &Markets,
    ) -> Result<Vec<FactorMismatch>, QuantError> {
        let Some(symbol) = bars.first().map(|bar| bar.symbol) else {
            return Ok(Vec::new());
        };
        let events = self.events_of(symbol);
        // A reference price that equals the one computed here is no independent evidence.
        let mut judged = bars.to_vec();
        for (i, pair) in bars.windows(2).enumerate() {
            let (since, close) = (pair[0].date, cents(pair[0].close));
            let ours = self.reference_cents(symbol, since, close, pair[1].date);
            if ours.is_some() && ours == pair[1].pre_close.map(cents) {
                judged[i + 1].pre_close = None;
            }
        }
        let factors = self.factors_of(symbol);
        let mut found = Vec::new();
        if self.has_factors() && factors.is_none() && symbol.board() != Board::Other {
            found.push(FactorMismatch {
                date: bars[0].date,
                evidence: Evidence::Sign,
                expected: 0.0,
                got: 0.0,
            });
        }
        let claims: Vec<VendorFactor> = match (factors, events) {
            (Some(factors), _) => {
                let at =
                    |bar: &Bar| VendorFactor::published(factors.get(bar.date).unwrap_or_default());
                bars.iter().map(at).collect()
            }
            (None, Some(events)) => {
                let factors = Factors::from_events(bars, events)?;
                let at =
                    |bar: &Bar| VendorFactor::published(factors.at(bar.date).unwrap_or_default());
                bars.iter().map(at).collect()
            }
            (None, None) => return Ok(found),
        };
        found.extend(check_factors(&judged, &claims, events, markets)?);
        Ok(found)
    }
}

/// Reads a vendor's factors from a table with the columns `ts_code`, `trade_date` and `adj_factor`; other columns are
/// ignored. Any finite number is accepted, since vendors write −1 or 0 for an unknown factor, which [`check_factors`]
/// reports. A row that cannot be read becomes a bad row.
///
/// # Errors
/// Returns [`QuantError::Header`] or [`QuantError::Io`] when the table cannot be read at all.
pub fn read_factors(
    read: impl std::io::Read,
    source_name: impl Into<String>,
) -> Result<ByStock<FactorSeries>, QuantError> {
    let mut records = Records::new(read, source_name)?;
    let code = records.column("ts_code")?;
    let day = records.column("trade_date")?;
    let factor = records.column("adj_factor")?;
    let mut found: BTreeMap<Symbol, FactorSeries> = BTreeMap::new();
    let bad = records.each(code, Some(day), |record| {
        let (date, factor) = (record.date(day)?, record.number(factor)?);
        let series = found.entry(record.symbol(code)?).or_default();
        series.push(date, factor);
        Ok(())
    })?;
    Ok((found, bad))
}
