//! What is known of ex-rights beside the bars, and the reference price that follows from it.

use std::collections::BTreeMap;

use super::check::{Disagreement, Evidence, VendorFactor, check_factors};
use super::events::{ExRight, cents, is_due, reference_cents};
use super::{FactorSeries, Factors, PLACE};
use crate::records::{BadRow, ByStock, Records};
use crate::rules::Markets;
use crate::{Bar, Board, Date, QuantError, Symbol};

/// Ex-right events, a vendor's factors, or both, of any number of stocks.
///
/// Where there are events, they decide, and factors are only held against them; without events the factors decide. Of a
/// table without rights issues, the days without an event are left to the factors too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExRights {
    events: Option<BTreeMap<Symbol, Vec<ExRight>>>,
    lacks_rights: bool,
    factors: Option<BTreeMap<Symbol, FactorSeries>>,
}

impl ExRights {
    /// Knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a table of events. It stands for all stocks: one without an event had none.
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

    /// Says that the events have no rights issues among them, as those of a table of dividends: a stock without an event
    /// may have had one.
    #[must_use]
    pub fn without_rights(mut self) -> Self {
        self.lacks_rights = true;
        self
    }

    /// Adds a vendor's factors, day by day in any order, unusable ones too: they are found by
    /// [`ExRights::findings`] and give no reference price.
    ///
    /// A stock with two different factors on one day has none, and the day is told beside it.
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

    /// Returns the events of a stock by day, or `None` when no table of events is known.
    #[must_use]
    pub fn events_of(&self, symbol: Symbol) -> Option<&[ExRight]> {
        let events = self.events.as_ref()?;
        Some(events.get(&symbol).map_or(&[], Vec::as_slice))
    }

    /// Returns the factors of a stock, or `None` when the vendor has none for it; [`ExRights::has_factors`] tells whether
    /// factors are known at all.
    #[must_use]
    pub fn factors_of(&self, symbol: Symbol) -> Option<&FactorSeries> {
        let factors = self.factors.as_ref()?.get(&symbol)?;
        (!factors.is_empty()).then_some(factors)
    }

    /// Returns whether a vendor's factors are known.
    #[must_use]
    pub fn has_factors(&self) -> bool {
        self.factors.is_some()
    }

    /// Returns the reference price in cents on `date` after a close of `close_cents` on the day `since`, or `None` when
    /// no ex-right between them is known, or no price can be computed from what is known.
    ///
    /// From factors it is close · factor(since) / factor(date), to the nearest cent, since a vendor's factor is the
    /// quotient of a close and a reference that the exchange rounded to a cent.
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
                // A price that cannot be is told by `findings`; here it is no knowledge.
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

    /// Holds what is known of one stock against its daily bars: see [`check_factors`]. The claim that is judged is the
    /// vendor's factors; without them, the factors that follow from the events. Bars without a factor of their day are
    /// [`Evidence::Sign`] with a factor of 0, and only the first bar is when the vendor has none at all for a stock;
    /// indices and funds need none. An event that leaves no price is an error, and without any knowledge there is nothing
    /// to find.
    ///
    /// # Errors
    /// Returns what [`check_factors`] and [`Factors::from_events`] return.
    pub fn findings(
        &self,
        bars: &[Bar],
        markets: &Markets,
    ) -> Result<Vec<Disagreement>, QuantError> {
        let Some(symbol) = bars.first().map(|bar| bar.symbol) else {
            return Ok(Vec::new());
        };
        let events = self.events_of(symbol);
        // A reference that only repeats what is known here is no second witness.
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
            found.push(Disagreement {
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
/// passed over. Any finite number is taken, since vendors write −1 or 0 for what they do not know, and
/// [`check_factors`] has to see it. A row that cannot be read costs no other.
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
