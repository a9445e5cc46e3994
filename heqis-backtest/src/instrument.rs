//! The reference data of one instrument.

use std::collections::BTreeSet;

use heqis_quant::adjust::EventKind;
use heqis_quant::{Bar, Date, ExRight, Marks};

/// The reference data of one instrument: what the rules need to know apart from its bars.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstrumentInfo {
    /// The first trading day. Without it no day counts as one of the days without limits after an IPO.
    pub listed: Option<Date>,
    /// The first day on which the stock is no longer listed.
    pub delisted: Option<Date>,
    /// First and last day of each period of special treatment; the last day is `None` while the period lasts.
    pub special: Vec<(Date, Option<Date>)>,
    /// Dates, each of which frees the first traded day on or after it from price limits: see
    /// [`heqis_quant::CleanConfig::free_days`].
    pub free_days: BTreeSet<Date>,
    /// Ex-right events, of this stock or of any.
    pub events: Vec<ExRight>,
}

impl InstrumentInfo {
    /// Returns whether the stock was under special treatment on a day.
    #[must_use]
    pub(crate) fn is_special(&self, date: Date) -> bool {
        let within =
            |(from, to): &(Date, Option<Date>)| *from <= date && to.is_none_or(|to| date <= to);
        self.special.iter().any(within)
    }
}

/// Returns the ex-right events that the cleaner suspects in the bars of one stock and that are not `known`.
///
/// Each assumes as many new shares as make the overnight return 0, which features and labels assume as well. Without these
/// events a holder would lose the value of the shares that were given.
#[must_use]
pub fn assumed(bars: &[Bar], known: &[ExRight]) -> Vec<ExRight> {
    let is_known = |pair: &[Bar]| {
        known.iter().any(|event| {
            event.symbol == pair[1].symbol
                && pair[0].date < event.ex_date
                && event.ex_date <= pair[1].date
        })
    };
    bars.windows(2)
        .filter(|pair| pair[1].marks.contains(Marks::EX_RIGHT_SUSPECTED) && !is_known(pair))
        .map(|pair| {
            let reference = pair[1].reference_close(pair[0].date, pair[0].close);
            ExRight {
                symbol: pair[1].symbol,
                ex_date: pair[1].date,
                cash_cny: 0.0,
                gift: 0.0,
                increase: (pair[0].close / reference - 1.0).max(0.0),
                rights: 0.0,
                rights_price_cny: 0.0,
                kind: EventKind::ExRight,
            }
        })
        .filter(|event| event.increase > 0.0)
        .collect()
}
