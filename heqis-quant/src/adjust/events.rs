//! Ex-right events and the reference prices that follow from them.

use serde::{Deserialize, Serialize};

use super::PLACE;
use crate::bar::Bar;
use crate::date::Date;
use crate::error::QuantError;
use crate::records::BadRow;
use crate::symbol::Symbol;

/// Amounts and ratios are exact to a millionth, one digit more than any announcement has.
const MICRO: f64 = 1e6;
const MICRO_PER_ONE: i128 = 1_000_000;
/// The most decimals of a price.
const FINEST_DECIMALS: u32 = 8;
const FINEST_PER_MICRO: i128 = 100;
/// Far above any ratio of an event and any amount per share; products stay far within an `i128`.
const MAX_VALUE: f64 = 1e8;

/// Whether an event moves the reference price.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// Dividend, gift, increase or rights issue.
    #[default]
    ExRight,
    /// The consideration of the share reform: shares changed owners, and the price moved freely on a day without limits.
    ReformNoExRight,
}

/// One ex-right event. Numbers are per share held before it: ten shares for ten are 1.0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExRight {
    /// The stock.
    pub symbol: Symbol,
    /// The first trading day without the right.
    pub ex_date: Date,
    /// The cash dividend before tax, in CNY.
    #[serde(default)]
    pub cash_cny: f64,
    /// Bonus shares out of profit.
    #[serde(default)]
    pub gift: f64,
    /// Shares out of reserves.
    #[serde(default)]
    pub increase: f64,
    /// Shares that may be bought at `rights_price_cny`.
    #[serde(default)]
    pub rights: f64,
    /// The price of one such share, in CNY.
    #[serde(default)]
    pub rights_price_cny: f64,
    /// Whether the reference price moves.
    #[serde(default)]
    pub kind: EventKind,
}

impl ExRight {
    /// Checks the numbers of an event.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] if a number is negative or too large, if the event gives nothing, or if rights have no
    /// price.
    pub fn check(&self) -> Result<(), QuantError> {
        let Some((number, rule)) = fault(&self.numbers()) else {
            return Ok(());
        };
        let field = format!("{} of {} on {}", FIELDS[number], self.symbol, self.ex_date);
        Err(QuantError::value(
            PLACE,
            field,
            rule,
            self.numbers()[number],
        ))
    }

    /// The numbers in the order of [`FIELDS`].
    fn numbers(&self) -> [f64; 5] {
        [
            self.cash_cny,
            self.gift,
            self.increase,
            self.rights,
            self.rights_price_cny,
        ]
    }
}

/// A table of events, read.
#[derive(Debug, Default)]
pub struct EventTable {
    /// The events, in the order of the table.
    pub events: Vec<ExRight>,
    /// Rows that cannot be used, so that an event of their stock is missing.
    pub bad: Vec<BadRow>,
    /// Whether the layout has no rights issues, so that a stock without an event may have had one.
    pub lacks_rights: bool,
}

/// The numbers of an event.
const FIELDS: [&str; 5] = ["cash_cny", "gift", "increase", "rights", "rights_price_cny"];

/// Returns the index of the first number of an event that breaks a rule, and the rule.
pub(super) fn fault(numbers: &[f64; 5]) -> Option<(usize, String)> {
    let good = |number: &f64| (0.0..=MAX_VALUE).contains(number);
    if let Some(wrong) = numbers.iter().position(|number| !good(number)) {
        return Some((wrong, format!("must be in 0..={MAX_VALUE}")));
    }
    let [cash, gift, increase, rights, rights_price] = *numbers;
    if rights > 0.0 && rights_price == 0.0 {
        return Some((4, "must be positive, since there are rights".into()));
    }
    let nothing = cash + gift + increase + rights == 0.0;
    nothing.then(|| (0, "must give something: cash, shares or rights".into()))
}

/// Returns the reference price in cents that follows a close in cents, after all `events` of one day together: see
/// [`reference_units`].
///
/// # Errors
/// Returns what [`reference_units`] returns.
pub fn reference_cents<'a>(
    close_cents: i64,
    events: impl IntoIterator<Item = &'a ExRight>,
) -> Result<i64, QuantError> {
    reference_units(close_cents, 2, events)
}

/// Returns the reference price that follows a close, both in units of 10^-`decimals` of the currency, after all `events`
/// of one day together.
///
/// The arithmetic is exact in millionths of a CNY and of a share, and rounds half up to a unit once, at the end. Events
/// of the share reform have no effect.
///
/// # Errors
/// Returns [`QuantError::Value`] if there are more than 8 decimals, if a number is negative, not finite or too large, or if
/// the result is below one unit: a dividend cannot exceed the price of the share.
pub fn reference_units<'a>(
    close: i64,
    decimals: u32,
    events: impl IntoIterator<Item = &'a ExRight>,
) -> Result<i64, QuantError> {
    if decimals > FINEST_DECIMALS {
        let rule = format!("must be at most {FINEST_DECIMALS}");
        return Err(QuantError::value(PLACE, "decimals", rule, decimals));
    }
    let per_unit = 10i128.pow(FINEST_DECIMALS - decimals);
    if close <= 0 || close as f64 > MAX_VALUE * 10f64.powi(decimals as i32) {
        let rule = "must be positive and at most 100 million CNY";
        return Err(QuantError::value(PLACE, "close", rule, close));
    }
    // In the finest decimals of a CNY, and in millionths of a share.
    let mut value = i128::from(close) * per_unit * MICRO_PER_ONE;
    let mut shares = MICRO_PER_ONE;
    let mut last = None;
    for event in events {
        if event.kind == EventKind::ReformNoExRight {
            continue;
        }
        let micro = |field: &str, number: f64| {
            if (0.0..=MAX_VALUE).contains(&number) {
                Ok((number * MICRO).round() as i128)
            } else {
                let field = format!("{field} of {} on {}", event.symbol, event.ex_date);
                let rule = format!("must be in 0..={MAX_VALUE}");
                Err(QuantError::value(PLACE, field, rule, number))
            }
        };
        let rights = micro("rights", event.rights)?;
        value -= micro("cash_cny", event.cash_cny)? * FINEST_PER_MICRO * MICRO_PER_ONE;
        value += rights * micro("rights_price_cny", event.rights_price_cny)? * FINEST_PER_MICRO;
        shares += micro("gift", event.gift)? + micro("increase", event.increase)? + rights;
        last = Some(event);
    }
    // value / shares is in the finest decimals; half up to a unit is floor(2x + 1) / 2.
    let units = (2 * value + shares * per_unit).div_euclid(2 * shares * per_unit);
    match (i64::try_from(units), last) {
        (Ok(units), _) if units >= 1 => Ok(units),
        (_, Some(event)) => {
            let cents = if decimals == 2 { "cent" } else { "unit" };
            Err(QuantError::value(
                PLACE,
                format!("reference of {} on {}", event.symbol, event.ex_date),
                format!("must be at least one {cents} after a close of {close} {cents}s"),
                units,
            ))
        }
        (_, None) => Ok(close),
    }
}

/// Returns the events of one stock, so that a table of the whole market is searched once and not for every bar.
pub(crate) fn of_stock(symbol: Symbol, events: &[ExRight]) -> Vec<ExRight> {
    let own = events.iter().filter(|event| event.symbol == symbol);
    own.copied().collect()
}

/// Returns the events that take effect after one bar up to the next.
pub(crate) fn due<'a>(
    before: &Bar,
    bar: &Bar,
    events: &'a [ExRight],
) -> impl Iterator<Item = &'a ExRight> {
    let (symbol, after, upto) = (bar.symbol, before.date, bar.date);
    events
        .iter()
        .filter(move |event| event.symbol == symbol && is_due(event, after, upto))
}

/// Returns whether an event takes effect after one day up to another.
pub(super) fn is_due(event: &ExRight, after: Date, upto: Date) -> bool {
    after < event.ex_date && event.ex_date <= upto
}

/// Returns the factor of the events after one bar up to the next.
pub(super) fn step(before: &Bar, bar: &Bar, events: &[ExRight]) -> Result<f64, QuantError> {
    if due(before, bar, events).all(|event| event.kind == EventKind::ReformNoExRight) {
        return Ok(1.0);
    }
    let close = cents(before.close);
    Ok(close as f64 / reference_cents(close, due(before, bar, events))? as f64)
}

/// Returns the reference price in cents of a bar after the bar before it: the vendor's, if any, else that of the events in
/// between.
///
/// # Errors
/// Returns what [`reference_cents`] returns.
pub(crate) fn reference_of(before: &Bar, bar: &Bar, events: &[ExRight]) -> Result<i64, QuantError> {
    match bar.pre_close {
        Some(given) => Ok(cents(given)),
        None => reference_cents(cents(before.close), due(before, bar, events)),
    }
}

/// Returns stock, first and last day of bars, and checks that they are one series of daily prices.
pub(crate) fn series(bars: &[Bar]) -> Result<(Symbol, Date, Date), QuantError> {
    let (Some(first), Some(last)) = (bars.first(), bars.last()) else {
        return Err(QuantError::value(
            PLACE,
            "bars",
            "must hold at least one bar",
            0,
        ));
    };
    for pair in bars.windows(2) {
        if pair[1].symbol != first.symbol || pair[1].date <= pair[0].date {
            return Err(QuantError::value(
                PLACE,
                "bars",
                format!(
                    "must follow {} on {} day by day",
                    first.symbol, pair[0].date
                ),
                format!("{} on {}", pair[1].symbol, pair[1].date),
            ));
        }
    }
    let good = |price: f64| price > 0.0 && price <= MAX_VALUE;
    if let Some(bar) = bars.iter().find(|bar| {
        let prices = [bar.open, bar.high, bar.low, bar.close];
        !prices.into_iter().chain(bar.pre_close).all(good)
    }) {
        let rule = format!("must be positive and at most {MAX_VALUE}");
        let field = format!("prices of {} on {}", bar.symbol, bar.date);
        return Err(QuantError::value(PLACE, field, rule, bar.close));
    }
    Ok((first.symbol, first.date, last.date))
}

/// Returns a checked price in cents, rounded to the nearest.
pub(crate) fn cents(price: f64) -> i64 {
    (price * 100.0).round() as i64
}
