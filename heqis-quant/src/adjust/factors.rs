//! Factors of one stock, and prices on one level.

use serde::Serialize;

use super::PLACE;
use super::events::{self, ExRight, step};
use crate::bar::Bar;
use crate::date::Date;
use crate::error::QuantError;
use crate::symbol::Symbol;

/// The cumulative ex-right factor of one stock by day: 1 at its start, and larger after every event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Factors {
    symbol: Symbol,
    /// The first day of each value, in order; never empty.
    steps: Vec<(Date, f64)>,
    /// The last day that the factors cover.
    last: Date,
}

/// The price level to which prices are adjusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Adjustment {
    /// Not at all.
    None,
    /// To the level of a day, `qfq`: the prices of that day are as traded. The day is explicit, since prices adjusted to
    /// "the latest day" change with every download.
    Forward {
        /// The day.
        as_of: Date,
    },
    /// To the level of the first day, `hfq`: later events do not change earlier prices.
    Backward,
}

/// The prices of a bar on another level. It has no volume and no reference price, so it cannot be traded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AdjustedBar {
    /// The stock.
    pub symbol: Symbol,
    /// The end of the bar in UTC nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// The trading day.
    pub date: Date,
    /// First price in adjusted CNY.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// The multiplier of the prices as traded.
    pub multiplier: f64,
}

impl Factors {
    /// Computes the factors from events. An event on a day without a bar takes effect on the next bar, and refers to
    /// the last close before it.
    ///
    /// `bars` are of one stock in order, with prices as traded. Events of other stocks and outside the bars are ignored,
    /// including those before the first bar: the first factor is 1.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when there is no bar, bars are not of one stock in order, or a reference price
    /// cannot be computed: see [`reference_cents`](super::reference_cents).
    pub fn from_events(bars: &[Bar], events: &[ExRight]) -> Result<Self, QuantError> {
        let (symbol, first, last) = events::series(bars)?;
        let events = events::of_stock(symbol, events);
        let mut steps = vec![(first, 1.0)];
        let mut total = 1.0;
        for pair in bars.windows(2) {
            let step = step(&pair[0], &pair[1], &events)?;
            if step != 1.0 {
                total *= step;
                steps.push((pair[1].date, total));
            }
        }
        Ok(Self {
            symbol,
            steps,
            last,
        })
    }

    /// Takes a vendor's `adj_factor` series as it is. The caller must check it by [`check_factors`](super::check_factors):
    /// this constructor only checks that it can be used.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] if bars are not of one stock in order, if a day has two factors or a factor that is not
    /// positive and finite, or if a bar has no factor of its day: the vendor publishes late, and the factor of the day
    /// before would hide an ex-right.
    pub fn from_series(bars: &[Bar], series: &[(Date, f64)]) -> Result<Self, QuantError> {
        let (symbol, _, last) = events::series(bars)?;
        let mut sorted = series.to_vec();
        sorted.sort_by_key(|(date, _)| *date);
        let refuse = |rule: &str, date: Date| {
            let field = format!("adj_factor of {symbol}");
            Err(QuantError::value(PLACE, field, rule, date))
        };
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return refuse("must not have two values for one day", pair[1].0);
        }
        let mut steps: Vec<(Date, f64)> = Vec::new();
        for bar in bars {
            let Ok(found) = sorted.binary_search_by_key(&bar.date, |(date, _)| *date) else {
                return refuse("must have a value for every day with a bar", bar.date);
            };
            let factor = sorted[found].1;
            if !(factor.is_finite() && factor > 0.0) {
                return refuse("must be positive and finite", bar.date);
            }
            if steps.last().is_none_or(|(_, last)| *last != factor) {
                steps.push((bar.date, factor));
            }
        }
        Ok(Self {
            symbol,
            steps,
            last,
        })
    }

    /// Computes the factors that the bars contain: every step is the last close over the
    /// [reference close](Bar::reference_close) of the next bar, like in features and labels. Bars may be minutes; a step then
    /// begins with its day.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when there is no bar, bars are not of one stock in the order of time, or a step is
    /// not positive and finite.
    pub fn from_references(bars: &[Bar]) -> Result<Self, QuantError> {
        let refuse = |rule: &str, value: String| Err(QuantError::value(PLACE, "bars", rule, value));
        let (Some(first), Some(last)) = (bars.first(), bars.last()) else {
            return refuse("must hold at least one bar", "0".into());
        };
        let mut steps = vec![(first.date, 1.0)];
        let mut total = 1.0;
        for pair in bars.windows(2) {
            let (before, bar) = (&pair[0], &pair[1]);
            if bar.symbol != first.symbol || bar.time_ns <= before.time_ns {
                let rule = "must be of one stock in the order of time";
                return refuse(rule, format!("{} on {}", bar.symbol, bar.date));
            }
            let reference = bar.reference_close(before.date, before.close);
            if reference != before.close {
                total *= before.close / reference;
                if !(total.is_finite() && total > 0.0) {
                    return refuse("must have positive finite prices", bar.date.to_string());
                }
                steps.push((bar.date, total));
            }
        }
        Ok(Self {
            symbol: first.symbol,
            steps,
            last: last.date,
        })
    }

    /// Returns the stock.
    #[must_use]
    pub fn symbol(&self) -> Symbol {
        self.symbol
    }

    /// Returns the first day of each value, in order.
    #[must_use]
    pub fn steps(&self) -> &[(Date, f64)] {
        &self.steps
    }

    /// Returns the factor of a day, or `None` before the first and after the last day with a bar.
    #[must_use]
    pub fn at(&self, date: Date) -> Option<f64> {
        let begun = self.steps.partition_point(|(from, _)| *from <= date);
        let (_, factor) = self.steps.get(begun.checked_sub(1)?)?;
        (date <= self.last).then_some(*factor)
    }

    /// Returns the multiplier for a price of a day.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] if the day, or the day of the requested level, has no factor.
    pub fn multiplier(&self, date: Date, adjustment: Adjustment) -> Result<f64, QuantError> {
        let at = |date: Date| {
            self.at(date).ok_or_else(|| {
                let field = format!("factors of {}", self.symbol);
                let rule = format!("must cover the day; they end on {}", self.last);
                QuantError::value(PLACE, field, rule, date)
            })
        };
        match adjustment {
            Adjustment::None => Ok(1.0),
            Adjustment::Forward { as_of } => Ok(at(date)? / at(as_of)?),
            Adjustment::Backward => at(date),
        }
    }

    /// Returns the bars on one price level.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a bar is of another stock or has no factor.
    pub fn adjust(
        &self,
        bars: &[Bar],
        adjustment: Adjustment,
    ) -> Result<Vec<AdjustedBar>, QuantError> {
        bars.iter()
            .map(|bar| {
                if bar.symbol != self.symbol {
                    let rule = format!("must be of {}", self.symbol);
                    return Err(QuantError::value(PLACE, "bars", rule, bar.symbol));
                }
                let multiplier = self.multiplier(bar.date, adjustment)?;
                Ok(AdjustedBar {
                    symbol: bar.symbol,
                    time_ns: bar.time_ns,
                    date: bar.date,
                    open: bar.open * multiplier,
                    high: bar.high * multiplier,
                    low: bar.low * multiplier,
                    close: bar.close * multiplier,
                    multiplier,
                })
            })
            .collect()
    }
}
