//! Days of a series that break the price limits, each with its most likely reason.

use serde::Serialize;

use crate::adjust::{EventKind, ExRight, cents, due, of_stock, reference_of, series};
use crate::bar::Bar;
use crate::calendar::Calendar;
use crate::date::Date;
use crate::error::QuantError;
use crate::rules::{Limits, Listing, Markets};

/// Half a cent and a bit less than the third decimal.
const TICK_SLACK: f64 = 1e-4;

/// The most likely reason for which a day breaks its limits. The order is that of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BreachReason {
    /// A share reform took effect between the bar before and this one: the day had no limits.
    ShareReform,
    /// The first day after trading days without a bar, with prices that rounding does not explain: such a day had no limits,
    /// or the reference price is older than the bar before.
    Resumption,
    /// A price has three decimals, as some vendors write them, and rounding to a cent brings it inside.
    FinePrice,
    /// A reference price one cent away contains the bar: the vendor's last close or its rounding is a cent off.
    ReferenceByOneCent,
    /// An ex-right took effect, and its computed reference price does not contain the bar.
    ExRight,
    /// No known reason.
    Unexplained,
}

/// One day that breaks its limits. The bar is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Breach {
    /// The day.
    pub date: Date,
    /// The most likely reason.
    pub reason: BreachReason,
    /// The reference price in cents that the limits were computed from.
    pub reference_cents: i64,
    /// The limits in cents.
    pub down_cents: i64,
    /// See `down_cents`.
    pub up_cents: i64,
    /// The lowest price of the bar.
    pub low: f64,
    /// The highest price of the bar.
    pub high: f64,
}

/// Returns the days on which a bar leaves its price limits, each with the most likely reason. The first bar, which has no
/// reference price, and instruments that are not priced in cents are not checked.
///
/// `bars` are of one stock in order; `st` returns whether the stock was under special treatment on a day; `events` of any
/// stocks give the reference price if the vendor gives none; a `calendar` shows suspensions.
///
/// # Errors
/// Returns [`QuantError::Value`] when bars are not of one stock in order or a price is not positive, or when a reference
/// price cannot be computed.
pub fn breaches(
    bars: &[Bar],
    markets: &Markets,
    st: impl Fn(Date) -> bool,
    events: &[ExRight],
    calendar: Option<&Calendar>,
) -> Result<Vec<Breach>, QuantError> {
    let (symbol, ..) = series(bars)?;
    let events = of_stock(symbol, events);
    let mut found = Vec::new();
    let Some(listing) = markets.of(symbol).filter(Listing::is_in_cents) else {
        return Ok(found);
    };
    for pair in bars.windows(2) {
        let (before, bar) = (&pair[0], &pair[1]);
        let reference_cents = reference_of(before, bar, &events)?;
        let st = st(bar.date);
        let Limits::Band {
            up: up_cents,
            down: down_cents,
        } = listing.limits(bar.date, st, reference_cents)?
        else {
            continue;
        };
        let above = bar.high - up_cents as f64 / 100.0 > TICK_SLACK;
        let below = down_cents as f64 / 100.0 - bar.low > TICK_SLACK;
        if !above && !below {
            continue;
        }
        let has = |kind: EventKind| due(before, bar, &events).any(|event| event.kind == kind);
        // The distance of the nearest reference price that contains the bar, or `None` if no single one does.
        let off_by = listing
            .references(bar.date, st, cents(bar.low), cents(bar.high))
            .map(|(least, most)| reference_cents.clamp(least, most).abs_diff(reference_cents));
        let missing = calendar.and_then(|calendar| calendar.between(before.date, bar.date));
        let reason = if has(EventKind::ReformNoExRight) {
            BreachReason::ShareReform
        } else if off_by == Some(0) {
            BreachReason::FinePrice
        } else if off_by == Some(1) {
            BreachReason::ReferenceByOneCent
        } else if missing.is_some_and(|days| days > 0) {
            BreachReason::Resumption
        } else if has(EventKind::ExRight) {
            BreachReason::ExRight
        } else {
            BreachReason::Unexplained
        };
        found.push(Breach {
            date: bar.date,
            reason,
            reference_cents,
            down_cents,
            up_cents,
            low: bar.low,
            high: bar.high,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bar::Marks;
    use crate::symbol::Symbol;

    fn day(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    fn bar(symbol: &str, date: &str, low: f64, high: f64, pre_close: Option<f64>) -> Bar {
        let date = day(date);
        Bar {
            symbol: Symbol::parse(symbol).unwrap(),
            time_ns: date.close_time_ns(),
            date,
            open: low,
            high,
            low,
            close: high,
            pre_close,
            volume_shares: 100.0,
            amount_cny: None,
            marks: Marks::NONE,
        }
    }

    fn event(symbol: &str, date: &str, gift: f64, kind: EventKind) -> ExRight {
        ExRight {
            symbol: Symbol::parse(symbol).unwrap(),
            ex_date: day(date),
            cash_cny: 0.0,
            gift,
            increase: 0.0,
            rights: 0.0,
            rights_price_cny: 0.0,
            kind,
        }
    }

    /// Real days: the last close as reference, and the range of the day.
    #[test]
    fn real_days_beyond_the_limits_have_their_reason() {
        let events = [
            event("000004.SZ", "20070528", 0.04, EventKind::ReformNoExRight),
            event("000005.SZ", "20060731", 0.65, EventKind::ExRight),
        ];
        let calendar =
            Calendar::new(["20060605", "20060606", "20060728", "20060731"].map(day)).unwrap();
        for (symbol, before, date, reference, low, high, reason) in [
            (
                "000004.SZ",
                "20070525",
                "20070528",
                12.52,
                10.4,
                13.01,
                Some(BreachReason::ShareReform),
            ),
            (
                "000005.SZ",
                "20060605",
                "20060731",
                2.44,
                2.03,
                2.4,
                Some(BreachReason::Resumption),
            ),
            (
                "000002.SZ",
                "20070601",
                "20070604",
                18.2,
                16.379,
                18.5,
                Some(BreachReason::FinePrice),
            ),
            (
                "000001.SZ",
                "19990630",
                "19990701",
                27.55,
                24.79,
                27.3,
                Some(BreachReason::ReferenceByOneCent),
            ),
            (
                "000001.SZ",
                "19990525",
                "19990526",
                13.87,
                13.7,
                15.32,
                Some(BreachReason::Unexplained),
            ),
            (
                "600000.SH",
                "20100609",
                "20100610",
                14.12,
                13.85,
                14.3,
                None,
            ),
        ] {
            let bars = [
                bar(symbol, before, reference, reference, None),
                bar(symbol, date, low, high, Some(reference)),
            ];
            let limits = Markets::shipped().unwrap();
            let found = breaches(&bars, &limits, |_| false, &events, Some(&calendar)).unwrap();
            let reasons: Vec<_> = found.iter().map(|breach| breach.reason).collect();
            assert_eq!(
                reasons,
                reason.into_iter().collect::<Vec<_>>(),
                "{symbol} {date}"
            );
        }
    }

    #[test]
    fn special_treatment_halves_the_limit_and_an_event_moves_the_reference() {
        let limits = Markets::shipped().unwrap();
        let bars = [
            bar("600000.SH", "20100609", 10.0, 10.0, None),
            bar("600000.SH", "20100610", 9.4, 10.0, None),
        ];
        let found = |st: bool, events: &[ExRight]| {
            breaches(&bars, &limits, |_| st, events, None)
                .unwrap()
                .len()
        };
        assert_eq!((found(false, &[]), found(true, &[])), (0, 1));
        let gift = [event("600000.SH", "20100610", 0.5, EventKind::ExRight)];
        assert_eq!(found(false, &gift), 1);
        let breach = breaches(&bars, &limits, |_| false, &gift, None).unwrap()[0];
        assert_eq!(
            (breach.reference_cents, breach.up_cents, breach.reason),
            (667, 734, BreachReason::ExRight)
        );
        assert!(breaches(&[], &limits, |_| false, &[], None).is_err());
    }
}
