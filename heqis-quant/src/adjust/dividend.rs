//! Tushare's table of dividends: one row for each announcement and stage, numbers per share, no rights issues.

use super::events::{EventKind, EventTable, ExRight, fault};
use crate::date::Date;
use crate::error::QuantError;
use crate::records::{BadRow, Record, Records};
use crate::symbol::Symbol;

/// The stage of an executed dividend.
const EXECUTED: &str = "实施";
/// The allowed difference of two rounded ratios and their total: the vendor writes four digits.
const RATIO_ROUNDING: f64 = 1.6e-4;

/// The columns of a dividend.
struct Columns {
    code: usize,
    ex_date: usize,
    total: usize,
    bonus: Option<usize>,
    conversion: Option<usize>,
    cash_before_tax: usize,
    cash_after_tax: Option<usize>,
    stage: Option<usize>,
    period: Option<usize>,
    announced: Option<usize>,
}

/// An executed dividend.
struct Executed {
    event: ExRight,
    period: Option<String>,
    announced: Option<Date>,
    record: Record,
}

/// Reads the rows of a table in this layout: see [`ExRight::read_table`].
pub(super) fn read(records: &mut Records) -> Result<EventTable, QuantError> {
    let columns = Columns {
        code: records.column("ts_code")?,
        ex_date: records.column("ex_date")?,
        total: records.column("stk_div")?,
        bonus: records.optional_column("stk_bo_rate")?,
        conversion: records.optional_column("stk_co_rate")?,
        cash_before_tax: records.column("cash_div_tax")?,
        cash_after_tax: records.optional_column("cash_div")?,
        stage: records.optional_column("div_proc")?,
        period: records.optional_column("end_date")?,
        announced: records.optional_column("ann_date")?,
    };
    let mut rows: Vec<Executed> = Vec::new();
    let mut bad = records.each(columns.code, Some(columns.ex_date), |record| {
        rows.extend(columns.executed(record)?);
        Ok(())
    })?;
    // Stable, so that rows of one announcement keep their order.
    rows.sort_by_key(|row| (row.event.symbol, row.event.ex_date));
    let mut kept: Vec<Executed> = Vec::new();
    for row in rows {
        let of_one = |other: &&mut Executed| other.key() == row.key() && other.period == row.period;
        let Some(other) = kept.iter_mut().rev().find(of_one) else {
            kept.push(row);
            continue;
        };
        match (other.announced, row.announced) {
            _ if other.event == row.event => {}
            (Some(first), Some(second)) if first != second => {
                let (old, new) = match first < second {
                    true => (std::mem::replace(other, row), second),
                    false => (row, first),
                };
                let rule = format!("is corrected by the announcement of {new}, and does not count");
                bad.push(BadRow {
                    symbol: Some(old.event.symbol),
                    date: Some(old.event.ex_date),
                    error: old.record.refuse(columns.cash_before_tax, rule),
                });
            }
            // Two parts of one dividend.
            _ => kept.push(row),
        }
    }
    bad.sort_by_key(|row| match &row.error {
        QuantError::Row { line, .. } => *line,
        _ => 0,
    });
    Ok(EventTable {
        events: kept.into_iter().map(|row| row.event).collect(),
        bad,
        lacks_rights: true,
    })
}

impl Executed {
    fn key(&self) -> (Symbol, Date) {
        (self.event.symbol, self.event.ex_date)
    }
}

impl Columns {
    /// Returns the dividend of a row, or `None` if it is only planned or gives nothing.
    fn executed(&self, record: &Record) -> Result<Option<Executed>, QuantError> {
        let text = |column: Option<usize>| record.optional_text(column?);
        if text(self.stage).is_some_and(|stage| !stage.starts_with(EXECUTED))
            || self.stage.is_some() && text(self.stage).is_none()
        {
            return Ok(None);
        }
        let number = |column: Option<usize>| match column {
            Some(column) => record.optional_number(column),
            None => Ok(None),
        };
        let (bonus, conversion) = (number(self.bonus)?, number(self.conversion)?);
        let parts = bonus.unwrap_or(0.0) + conversion.unwrap_or(0.0);
        let total = number(Some(self.total))?.unwrap_or(parts);
        let split = bonus.is_some() || conversion.is_some();
        if split && parts != 0.0 && (total - parts).abs() > RATIO_ROUNDING {
            let rule = format!("must be bonus and conversion together, which are {parts}");
            return Err(record.refuse(self.total, rule));
        }
        let cash = match number(Some(self.cash_before_tax))? {
            Some(cash) => cash,
            None if number(self.cash_after_tax)?.unwrap_or(0.0) == 0.0 => 0.0,
            None => {
                let rule = "must be known: the dividend before tax cannot be computed from the one after tax";
                return Err(record.refuse(self.cash_before_tax, rule));
            }
        };
        if cash == 0.0 && total == 0.0 {
            return Ok(None);
        }
        let gift = bonus.unwrap_or(0.0).min(total);
        let numbers = [cash, gift, total - gift, 0.0, 0.0];
        if let Some((number, rule)) = fault(&numbers) {
            let column = if number == 0 {
                self.cash_before_tax
            } else {
                self.total
            };
            return Err(record.refuse(column, rule));
        }
        Ok(Some(Executed {
            event: ExRight {
                symbol: record.symbol(self.code)?,
                ex_date: record.date(self.ex_date)?,
                cash_cny: cash,
                gift,
                increase: total - gift,
                rights: 0.0,
                rights_price_cny: 0.0,
                kind: EventKind::ExRight,
            },
            period: text(self.period),
            announced: match self.announced {
                Some(column) => record.optional_date(column)?,
                None => None,
            },
            record: record.clone(),
        }))
    }
}
