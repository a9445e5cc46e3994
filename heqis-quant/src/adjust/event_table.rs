//! Reading tables of ex-right events.

use std::io::Read;

use super::dividend;
use super::events::{EventKind, EventTable, ExRight, fault};
use crate::error::QuantError;
use crate::records::{Record, Records};

impl ExRight {
    /// Reads a table of events in one of two layouts:
    ///
    /// - `ts_code`, `ex_date`, `cash_div`, `gift`, `incr`, `rights`, `rights_price` and, optionally, `kind` (`exright` or
    ///   `reform_no_exright`);
    /// - Tushare's `dividend`: `ts_code`, `ex_date`, `stk_div`, `cash_div_tax` and, optionally, `stk_bo_rate`, `stk_co_rate`,
    ///   `cash_div`, `div_proc`, `end_date`, `ann_date`. Only executed dividends (`实施`) count. Rows of one stock, day and
    ///   reporting period (`end_date`) with the same numbers are one event that was announced several times. With other
    ///   numbers, the latest `ann_date` corrects the earlier rows, which become [`BadRow`](crate::BadRow)s. Other rows add
    ///   up.
    ///
    /// A row becomes a [`BadRow`](crate::BadRow) if a number is negative or too large, if it gives nothing (an executed
    /// dividend of zero is skipped), if rights have no price, if the dividend before tax is unknown, or if bonus and
    /// conversion are not the total.
    ///
    /// # Errors
    /// Returns [`QuantError::Header`] or [`QuantError::Io`] if the table cannot be read.
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

/// The columns of an event.
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
