//! Events and the reference prices that follow from them.

use std::io::Read;

use serde::{Deserialize, Serialize};

use super::{PLACE, dividend};
use crate::records::{BadRow, Record, Records};
use crate::{Bar, Date, QuantError, Symbol};

/// Amounts and ratios are exact to a millionth, one digit more than any announcement has.
const MICRO: f64 = 1e6;
const MICRO_PER_ONE: i128 = 1_000_000;
/// Prices have at most so many decimals.
const FINEST_DECIMALS: u32 = 8;
const FINEST_PER_MICRO: i128 = 100;
/// No ratio of an event and no amount per share comes near; products stay far inside an `i128`.
const MAX_VALUE: f64 = 1e8;

/// Whether an event moves the reference price.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Dividend, gift, increase or rights issue.
    #[default]
    ExRight,
    /// The consideration of the share reform: shares changed hands, and the price found its level by itself on a day
    /// without limits.
    ReformNoExRight,
}

/// One ex-right event. Numbers are per share held before it: ten shares for ten are 1.0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExRight {
    /// The stock.
    pub symbol: Symbol,
    /// The first day on which a share is traded without the right.
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
    /// Returns [`QuantError::Value`] when a number is negative or too large, when the event gives nothing, or when
    /// rights have no price.
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

    /// Reads a table of events in one of two layouts:
    ///
    /// - `ts_code`, `ex_date`, `cash_div`, `gift`, `incr`, `rights`, `rights_price` and, if there is one, `kind` (`exright`
    ///   or `reform_no_exright`);
    /// - Tushare's `dividend`: `ts_code`, `ex_date`, `stk_div`, `cash_div_tax` and, where they are there, `stk_bo_rate`,
    ///   `stk_co_rate`, `cash_div`, `div_proc`, `end_date`, `ann_date`. Only what was carried out (`实施`) counts. Rows of one
    ///   stock, day and reporting period (`end_date`) with the same numbers are one event, announced several times; with
    ///   other numbers, the latest `ann_date` corrects the ones before, which come as [`BadRow`]s. All others add up.
    ///
    /// A row is a [`BadRow`], and costs no other, when a number is negative or too large, when it gives nothing (a carried
    /// out dividend of zero is passed over), when rights have no price, when the dividend before tax is unknown, or when
    /// bonus and conversion are not the total.
    ///
    /// # Errors
    /// Returns [`QuantError::Header`] or [`QuantError::Io`] when the table cannot be read at all.
    pub fn read_table(
        read: impl Read,
        source_name: impl Into<String>,
    ) -> Result<EventTable, QuantError> {
        let mut records = Records::new(read, source_name)?;
        if records.optional_column("stk_div")?.is_some() {
            return dividend::read(&mut records);
        }
        let columns = Columns {
            code: records.column("ts_code")?,
            date: records.column("ex_date")?,
            numbers: [
                records.column("cash_div")?,
                records.column("gift")?,
                records.column("incr")?,
                records.column("rights")?,
                records.column("rights_price")?,
            ],
            kind: records.optional_column("kind")?,
        };
        let mut events = Vec::new();
        let bad = records.each(columns.code, Some(columns.date), |record| {
            events.push(columns.event(record)?);
            Ok(())
        })?;
        Ok(EventTable {
            events,
            bad,
            lacks_rights: false,
        })
    }
}

/// A table of events, read.
#[derive(Debug, Default)]
pub struct EventTable {
    /// The events, in the order of the table.
    pub events: Vec<ExRight>,
    /// Rows that cannot be used: an event of their stock is missing.
    pub bad: Vec<BadRow>,
    /// Whether the layout has no rights issues, so that a stock without an event may still have had one.
    pub lacks_rights: bool,
}

/// The numbers of an event.
const FIELDS: [&str; 5] = ["cash_cny", "gift", "increase", "rights", "rights_price_cny"];

/// Returns the first of an event's numbers that breaks a rule, and the rule.
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

/// Where each value of an event stands.
struct Columns {
    code: usize,
    date: usize,
    numbers: [usize; 5],
    kind: Option<usize>,
}

impl Columns {
    fn event(&self, record: &Record) -> Result<ExRight, QuantError> {
        let mut numbers = [0.0; 5];
        for (number, column) in numbers.iter_mut().zip(self.numbers) {
            *number = record.number(column)?;
        }
        if let Some((number, rule)) = fault(&numbers) {
            return Err(record.refuse(self.numbers[number], rule));
        }
        let [cash_cny, gift, increase, rights, rights_price_cny] = numbers;
        let kind = match self.kind {
            None => EventKind::ExRight,
            Some(column) => match record.text(column)?.as_str() {
                "exright" => EventKind::ExRight,
                "reform_no_exright" => EventKind::ReformNoExRight,
                _ => return Err(record.refuse(column, "must be exright or reform_no_exright")),
            },
        };
        Ok(ExRight {
            symbol: record.symbol(self.code)?,
            ex_date: record.date(self.date)?,
            cash_cny,
            gift,
            increase,
            rights,
            rights_price_cny,
            kind,
        })
    }
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
/// of the share reform are passed over.
///
/// # Errors
/// Returns [`QuantError::Value`] when there are more than 8 decimals, when a number is negative, not finite or too large,
/// or when the result is not at least one unit: a dividend cannot be worth more than the share.
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

/// The events of one stock, so that a table of the whole market is searched once and not once a bar.
pub(crate) fn of_stock(symbol: Symbol, events: &[ExRight]) -> Vec<ExRight> {
    let own = events.iter().filter(|event| event.symbol == symbol);
    own.copied().collect()
}

/// The events that take effect after one bar up to the next.
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

/// Whether an event takes effect after one day up to another.
pub(super) fn is_due(event: &ExRight, after: Date, upto: Date) -> bool {
    after < event.ex_date && event.ex_date <= upto
}

/// The factor of the events after one bar up to the next.
pub(super) fn step(before: &Bar, bar: &Bar, events: &[ExRight]) -> Result<f64, QuantError> {
    if due(before, bar, events).all(|event| event.kind == EventKind::ReformNoExRight) {
        return Ok(1.0);
    }
    let close = cents(before.close);
    Ok(close as f64 / reference_cents(close, due(before, bar, events))? as f64)
}

/// Returns the reference price in cents of a bar after the bar before it: the vendor's where there is one, else by the
/// events in between.
///
/// # Errors
/// Returns what [`reference_cents`] returns.
pub(crate) fn reference_of(before: &Bar, bar: &Bar, events: &[ExRight]) -> Result<i64, QuantError> {
    match bar.pre_close {
        Some(given) => Ok(cents(given)),
        None => reference_cents(cents(before.close), due(before, bar, events)),
    }
}

/// Checks that bars are one series of daily prices, and returns its stock, first and last day.
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

/// A checked price in cents, to the nearest.
pub(crate) fn cents(price: f64) -> i64 {
    (price * 100.0).round() as i64
}
