//! Comparison of the price limits that a vendor publishes with the rules.

use std::collections::BTreeMap;
use std::io::Read;

use super::limits::Limits;
use super::markets::Markets;
use crate::date::Date;
use crate::error::QuantError;
use crate::records::Records;
use crate::symbol::Symbol;

/// The result for the limits that a vendor published for one stock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Published {
    /// The compared days.
    pub days: usize,
    /// The days whose limits differ from those of the rules around the vendor's own reference price.
    pub wrong: usize,
    /// The first such day, with the limit of the rules and that of the vendor, in price units of the market (cents for
    /// stocks).
    pub first: Option<(Date, i64, i64)>,
}

/// Reads a table with the columns `ts_code`, `trade_date`, `pre_close`, `up_limit` and `down_limit` row by row, and
/// compares each row with the rules of its market. Rows without one of the prices and days without limits are skipped. `st`
/// returns whether a stock is under special treatment on a day, or `None` for a day to skip, such as the days without limits
/// after an IPO.
///
/// # Errors
/// Returns [`QuantError::Header`], [`QuantError::Row`] or [`QuantError::Io`] when the table cannot be read.
pub fn check_published(
    read: impl Read,
    source_name: impl Into<String>,
    markets: &Markets,
    mut st: impl FnMut(Symbol, Date) -> Option<bool>,
) -> Result<BTreeMap<Symbol, Published>, QuantError> {
    let mut records = Records::new(read, source_name)?;
    let code = records.column("ts_code")?;
    let day = records.column("trade_date")?;
    let prices = [
        records.column("pre_close")?,
        records.column("up_limit")?,
        records.column("down_limit")?,
    ];
    let mut found: BTreeMap<Symbol, Published> = BTreeMap::new();
    while let Some(record) = records.next_record()? {
        let (symbol, date) = (record.symbol(code)?, record.date(day)?);
        if prices
            .iter()
            .any(|column| record.optional_text(*column).is_none())
        {
            continue;
        }
        let Some(listing) = markets.of(symbol) else {
            continue;
        };
        let mut units = [0; 3];
        for (units, column) in units.iter_mut().zip(prices) {
            *units = listing.market.price_units(record.number(column)?);
        }
        let [pre_close, vendor_up, vendor_down] = units;
        // A vendor writes 0 for an unknown price.
        if pre_close < 1 {
            continue;
        }
        let Some(st) = st(symbol, date) else {
            continue;
        };
        let Limits::Band { up, down } = listing.limits(date, st, pre_close)? else {
            continue;
        };
        let of_symbol = found.entry(symbol).or_insert(Published {
            days: 0,
            wrong: 0,
            first: None,
        });
        of_symbol.days += 1;
        let pairs = [(up, vendor_up), (down, vendor_down)];
        if let Some((expected, got)) = pairs.into_iter().find(|(expected, got)| expected != got) {
            of_symbol.wrong += 1;
            // Rows are in any order.
            if of_symbol.first.is_none_or(|(first, ..)| date < first) {
                of_symbol.first = Some((date, expected, got));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the vendor's own page, and rows of a stock under special treatment with ordinary limits.
    #[test]
    fn rows_of_the_vendor_agree_and_the_first_wrong_limit_is_reported() -> Result<(), QuantError> {
        let table = "ts_code,trade_date,pre_close,up_limit,down_limit\n\
                     000001.SZ,20190625,13.69,15.06,12.32\n\
                     000019.SZ,20190625,7.35,8.09,6.62\n\
                     000010.SZ,20190625,3.34,3.51,3.17\n\
                     000010.SZ,20190626,3.34,3.67,3.01\n\
                     000010.SZ,20190624,3.34,3.67,3.17\n\
                     000018.SZ,20190625,,1.44,1.30\n\
                     000300.SH,20190625,3800.00,4180.00,3420.00\n\
                     300999.SZ,20201015,25.70,0,0\n";
        let date = |text| Date::parse(text);
        let listed = date("20201015")?;
        let found = check_published(
            table.as_bytes(),
            "stk_limit.csv",
            &Markets::shipped()?,
            |symbol, date| {
                let special = symbol.as_str() == "000010.SZ";
                (date != listed).then_some(special)
            },
        )?;
        let of = |text: &str| Symbol::parse(text).map(|symbol| found.get(&symbol).copied());
        let good = |days| Published {
            days,
            wrong: 0,
            first: None,
        };
        assert_eq!(of("000001.SZ")?, Some(good(1)));
        assert_eq!(of("000019.SZ")?, Some(good(1)));
        assert_eq!(
            of("000010.SZ")?,
            Some(Published {
                days: 3,
                wrong: 2,
                first: Some((date("20190624")?, 351, 367)),
            })
        );
        // Without a reference, without a rule, without limits.
        for skipped in ["000018.SZ", "000300.SH", "300999.SZ"] {
            assert_eq!(of(skipped)?, None, "{skipped}");
        }
        Ok(())
    }
}
