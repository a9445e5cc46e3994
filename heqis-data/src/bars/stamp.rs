//! Day and time of a single bar in the spellings of tables.

use heqis_quant::rules::Markets;
use heqis_quant::{Date, Exchange, Symbol};

use super::time::{Written, Zone};

/// The day and time of one bar, before it is known whether the rows of its source are days or times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The day as written.
    pub written: Date,
    /// Whether there is a time of day.
    pub has_clock: bool,
    /// Whether the time of day, as written, is midnight or missing.
    pub is_midnight: bool,
    /// The day that begins at the moment, when it is a midnight at the exchange.
    pub begins: Option<Date>,
    /// The day of the moment at the exchange.
    pub date: Date,
    /// The moment in UTC nanoseconds since 1970.
    pub time_ns: i64,
}

impl Stamp {
    /// Parses a day, a time with its day, or both. `markets` has the time zones of instruments.
    ///
    /// # Errors
    /// Returns the rule that the texts break.
    pub fn parse(
        symbol: Symbol,
        day: Option<&str>,
        time: Option<&str>,
        markets: &Markets,
    ) -> Result<Self, String> {
        let parse = |text: &str, has_day_column: bool| {
            Written::parse(text, None, has_day_column)
                .map_err(|rule| format!("{rule}, got {text:?}"))
        };
        let written = match (day, time) {
            (None, None) => return Err("must have a date or a time".into()),
            (Some(text), None) | (None, Some(text)) => parse(text, false)?,
            (Some(day), Some(time)) => parse(day, false)?.with_time(parse(time, true)?)?,
        };
        let zone = zone_of(symbol, markets);
        let moment = written.moment(&zone, None)?;
        Ok(Self {
            written: written.day.unwrap_or(moment.date),
            has_clock: written.clock_ns.is_some(),
            is_midnight: written.is_midnight(),
            begins: written.clock_ns.and_then(|_| written.midnight_at(&zone)),
            date: moment.date,
            time_ns: moment.time_ns,
        })
    }
}

/// Parses the day and time of one bar in the spellings of tables: a day, a time with its day, or both. Without a time of
/// day, or at the midnight that some programs write with a day, it is the time of a daily bar. Returns the day and the time
/// in UTC nanoseconds since 1970.
///
/// # Errors
/// Returns the rule that the texts break.
pub fn moment_of(
    symbol: Symbol,
    day: Option<&str>,
    time: Option<&str>,
) -> Result<(Date, i64), String> {
    let markets = Markets::shipped().map_err(|error| error.to_string())?;
    let stamp = Stamp::parse(symbol, day, time, &markets)?;
    Ok(match time.is_none() && stamp.is_midnight {
        true => (stamp.written, stamp.written.close_time_ns()),
        false => (stamp.date, stamp.time_ns),
    })
}

/// Returns the time zone of an instrument's exchange.
pub(super) fn zone_of(symbol: Symbol, markets: &Markets) -> Zone {
    match markets.of(symbol) {
        _ if symbol.exchange() != Exchange::Other => Zone::Fixed(8 * 3600),
        Some(listing) => Zone::Named(listing.market.timezone.clone()),
        None => Zone::Unknown,
    }
}
