//! A bar as a JSON object.

use heqis_quant::table::{counts_lots, moment_of};
use heqis_quant::{Bar, Date, Marks, Symbol};
use serde::Deserialize;
use serde::de::Error as _;

/// A bar as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonBar {
    symbol: Symbol,
    #[serde(default)]
    date: Option<String>,
    /// The end of the bar, as a table of minutes writes it.
    #[serde(default)]
    time: Option<String>,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    volume: f64,
    #[serde(default)]
    pre_close: Option<f64>,
    #[serde(default)]
    amount: Option<f64>,
    #[serde(default)]
    time_ns: Option<i64>,
}

/// How far a bar's time may lie from its day.
const GRACE_DAYS: u32 = 1;

/// Reads a bar.
pub(super) fn json_bar(line: &[u8]) -> Result<Bar, serde_json::Error> {
    let bar: JsonBar = serde_json::from_slice(line)?;
    let (date, told_ns) = moment_of(bar.symbol, bar.date.as_deref(), bar.time.as_deref())
        .map_err(serde_json::Error::custom)?;
    let time_ns = bar.time_ns.unwrap_or(told_ns);
    // A day of grace for time zones. One bar from far in the future would make all later ones look late, and the usual
    // reason is a time in other units.
    let is_near =
        Date::of_time_ns(time_ns).is_ok_and(|day| day.days().abs_diff(date.days()) <= GRACE_DAYS);
    if !is_near {
        return Err(serde_json::Error::custom(format!(
            "time_ns is {time_ns}, it must lie within a day of {date}"
        )));
    }
    let bar = Bar {
        symbol: bar.symbol,
        time_ns,
        date,
        open: bar.open,
        high: bar.high,
        low: bar.low,
        close: bar.close,
        pre_close: bar.pre_close,
        volume_shares: bar.volume,
        amount_cny: bar.amount,
        marks: Marks::NONE,
    };
    if counts_lots(&bar) {
        return Err(serde_json::Error::custom(format!(
            "volume is {}, it must count shares, and the amount shows lots of 100",
            bar.volume_shares
        )));
    }
    Ok(bar)
}
