//! A bar as a JSON object.

use heqis_data::bars::{counts_lots, moment_of};
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

/// Reads a bar from one JSON object, as `tcp-lines` and `serial` take it.
///
/// # Errors
/// When the text is not such an object, its day, time or symbol is not valid, its time lies more than a day from its day, or
/// its volume counts lots.
pub fn json_bar(line: &[u8]) -> Result<Bar, serde_json::Error> {
    let bar: JsonBar = serde_json::from_slice(line)?;
    // Serde takes an array for an object whose fields stand in our order; a sender's order is its own.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(serde_json::Error::custom("must be one JSON object"));
    }
    let (date, written_ns) = moment_of(bar.symbol, bar.date.as_deref(), bar.time.as_deref())
        .map_err(serde_json::Error::custom)?;
    let time_ns = bar.time_ns.unwrap_or(written_ns);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_without_names_are_no_bar() {
        let object = r#"{"symbol":"600000.SH","date":"2024-01-02","open":6.6,"high":6.7,"low":6.5,"close":6.6,"volume":1}"#;
        assert!(json_bar(object.as_bytes()).is_ok());
        let array = br#" ["600000.SH","2024-01-02",null,6.6,6.7,6.5,6.6,1,null,null,null]"#;
        let message = json_bar(array).unwrap_err().to_string();
        assert_eq!(message, "must be one JSON object");
    }
}
