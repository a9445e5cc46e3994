//! Conversion of one row to a bar.

use heqis_quant::encoding::Encoding;
use heqis_quant::rules::Listing;
use heqis_quant::{Bar, Date, DayOrder, Exchange, Marks, QuantError, Symbol};

use super::header::Layout;
use super::stamp::zone_of;
use super::time::{Written, Zone};
use super::units::{Turnover, UnitMatch};
use super::{BarReader, TimeOfDay};

impl<R> BarReader<R> {
    pub(super) fn bar(&mut self) -> Result<Bar, QuantError> {
        self.check_cells()?;
        self.check_duplicates()?;
        let c = &self.header.columns;
        let symbol = self.symbol()?;
        let (date, time_ns) = self.time(symbol)?;
        let mut marks = Marks::NONE;
        if let Some(column) = c.adjust_flag {
            self.check_flag(column)?;
        }
        if self.detected.adjusted {
            marks.insert(Marks::ADJUSTED);
        }
        if let Some(column) = c.special
            && self.flag(column)?
        {
            marks.insert(Marks::SPECIAL);
        }
        let scale = self.format.scale;
        let amount_column = c.amount;
        let bar = Bar {
            symbol,
            time_ns,
            date,
            open: self.number(c.open)?,
            high: self.number(c.high)?,
            low: self.number(c.low)?,
            close: self.number(c.close)?,
            pre_close: self.optional(c.pre_close)?,
            volume_shares: self.scaled(c.volume, self.volume()?, scale.volume.shares())?,
            amount_cny: match (amount_column, self.optional(amount_column)?) {
                (Some(column), Some(amount)) => {
                    Some(self.scaled(column, amount, scale.amount_cny)?)
                }
                _ => None,
            },
            marks,
        };
        if self.format.confirming_rows > 0
            && let Some(UnitMatch::Scale(at)) =
                self.turnover().map(|t| t.unit_match(&self.header.possible))
            && self.header.possible[at] != scale
        {
            return Err(self.refuse_unit(format!(
                "must be {} like the rows before",
                scale.volume.name()
            )));
        }
        self.last = Some((symbol, time_ns));
        Ok(bar)
    }

    /// Checks that the row has as many cells as the header. Further empty ones are surplus commas.
    pub(super) fn check_cells(&self) -> Result<(), QuantError> {
        if let Some(rule) = self.row.broken {
            let value = String::from_utf8_lossy(self.row.bytes())
                .chars()
                .take(64)
                .collect();
            return Err(self.refuse_row(rule.to_owned(), value));
        }
        let (got, expected) = (self.row.len(), self.names.len());
        let spare = (expected..got).all(|at| self.row.cell(at).trim_ascii().is_empty());
        let unnamed = (got..expected).all(|at| self.names[at].is_empty());
        if spare && unnamed {
            return Ok(());
        }
        let rule = format!("must have {expected} cells like the header");
        Err(self.refuse_row(rule, format!("{got} cells")))
    }

    /// Checks that columns of one meaning are equal.
    pub(super) fn check_duplicates(&self) -> Result<(), QuantError> {
        for (first, other) in &self.header.columns.duplicates {
            let (a, b) = (self.cell(*first), self.cell(*other));
            let numbers = (a.parse::<f64>(), b.parse::<f64>());
            let same_day = || {
                let days = (Date::parse(&a), Date::parse(&b));
                matches!(days, (Ok(a), Ok(b)) if a == b)
            };
            let same = a == b || matches!(numbers, (Ok(a), Ok(b)) if a == b) || same_day();
            if !same {
                let (first, other) = (&self.names[*first], &self.names[*other]);
                return Err(QuantError::Header {
                    source_name: self.source_name.clone(),
                    rule: format!(
                        "has two columns for one value, {first:?} and {other:?}, that differ in line {}: {a:?} and {b:?}",
                        self.row.line
                    ),
                    got: self.names.join(",").chars().take(200).collect(),
                });
            }
        }
        Ok(())
    }

    pub(super) fn symbol(&self) -> Result<Symbol, QuantError> {
        let Some(column) = self.header.columns.symbol else {
            // The constructors ensure that there is one.
            return self
                .options
                .symbol
                .ok_or_else(|| self.refuse(0, "has no symbol"));
        };
        let cell = self.cell(column);
        // A bare code is that of the given instrument.
        let given = self.options.symbol.filter(|given| {
            let digits = given.as_str().split_once('.').map(|(digits, _)| digits);
            digits == Some(cell.trim())
        });
        if let Some(given) = given {
            return Ok(given);
        }
        let parsed = match self.header.layout {
            Layout::AkShare => Symbol::parse_stock(&cell),
            _ => Symbol::parse(&cell),
        };
        parsed.map_err(|error| match error {
            QuantError::Symbol { rule, .. } => self.refuse(column, rule),
            other => self.refuse(column, other.to_string()),
        })
    }

    /// Returns the time zone of times without an offset.
    pub(super) fn zone(&self) -> Zone {
        if let Some(zone) = &self.zone {
            return zone.clone();
        }
        self.symbol()
            .map_or(Zone::Unknown, |symbol| zone_of(symbol, &self.markets))
    }

    /// Returns the day and time of the row as written.
    pub(super) fn written(&self, order: Option<DayOrder>) -> Result<Written, QuantError> {
        let c = &self.header.columns;
        let parse = |column: usize, has_day_column: bool| {
            Written::parse(&self.cell(column), order, has_day_column)
                .map_err(|rule| self.refuse(column, rule))
        };
        match (c.date, c.time) {
            (Some(date), None) => parse(date, false),
            (None, Some(time)) => parse(time, false),
            (Some(date), Some(time)) => {
                let day = parse(date, false)?;
                match self.cell(time).is_empty() {
                    true => Ok(day),
                    false => day
                        .with_time(parse(time, true)?)
                        .map_err(|rule| self.refuse(time, rule)),
                }
            }
            (None, None) => Err(self.refuse(0, "has no date")),
        }
    }

    pub(super) fn time(&self, symbol: Symbol) -> Result<(Date, i64), QuantError> {
        let c = &self.header.columns;
        let column = c.time.or(c.date).unwrap_or(0);
        let written = self.written(self.format.day_order)?;
        let lacks = "must have a date, since there is no date column";
        let day = written.day.ok_or_else(|| self.refuse(column, lacks))?;
        let daily = |date: Date| (date, date.close_time_ns());
        match self.format.clock {
            TimeOfDay::Missing | TimeOfDay::WrittenMidnight if written.is_midnight() => {
                Ok(daily(day))
            }
            TimeOfDay::ExchangeMidnight => written
                .midnight_at(&self.zone())
                .map(daily)
                .ok_or_else(|| self.refuse(column, "must be midnight like the rows before")),
            TimeOfDay::Exact
                if written.clock_ns.is_none() && c.date.is_some() && c.time.is_some() =>
            {
                Err(self.refuse(column, "must have a time like the other rows"))
            }
            // Spreadsheets write midnight among other times as a bare day.
            TimeOfDay::Exact => {
                let before = self.last.filter(|(last, _)| *last == symbol);
                let moment = written
                    .moment(&self.zone(), before.map(|(_, time_ns)| time_ns))
                    .map_err(|rule| self.refuse(column, rule))?;
                Ok((moment.date, moment.time_ns))
            }
            TimeOfDay::Missing | TimeOfDay::WrittenMidnight => {
                Err(self.refuse(column, "must be a day without a time like the rows before"))
            }
        }
    }

    /// Checks that all rows are adjusted in one way.
    pub(super) fn check_flag(&self, column: usize) -> Result<(), QuantError> {
        let first = self.format.adjust_flag.as_deref().unwrap_or("3");
        let cell = self.cell(column);
        match cell.as_str() {
            flag if flag == first && ["1", "2", "3"].contains(&flag) => Ok(()),
            _ => Err(self.refuse(
                column,
                format!("must be {first} like the rows before: 3 as traded, 2 forward and 1 backward adjusted"),
            )),
        }
    }

    pub(super) fn flag(&self, column: usize) -> Result<bool, QuantError> {
        match self.cell(column).to_lowercase().as_str() {
            "1" | "1.0" | "true" | "yes" | "y" | "是" => Ok(true),
            "" | "0" | "0.0" | "false" | "no" | "n" | "否" => Ok(false),
            _ => Err(self.refuse(column, "must be 1 or 0")),
        }
    }

    /// Returns the volume in the unit of the table. On a day without a trade, according to the table, it is 0, since vendors
    /// leave the cell empty or repeat an old value.
    pub(super) fn volume(&self) -> Result<f64, QuantError> {
        let c = &self.header.columns;
        let untraded = match (c.trade_status, c.paused) {
            (Some(column), _) if !self.cell(column).is_empty() => !self.flag(column)?,
            (_, Some(column)) => self.flag(column)?,
            _ => false,
        };
        match untraded {
            true => Ok(0.0),
            false => self.number(c.volume),
        }
    }

    /// Returns whether amount over volume shows the units of the row: the price is money and the lot is 100, unlike points of
    /// an index and lots of bonds.
    pub(super) fn is_traded(&self) -> bool {
        let Ok(symbol) = self.symbol() else {
            return false;
        };
        let in_hundreds = |listing: Listing<'_>| {
            let least = listing.class.orders.first().map_or(0, |order| order.min);
            listing.class.untradable.is_none() && least >= 100
        };
        symbol.exchange() == Exchange::Other || self.markets.of(symbol).is_some_and(in_hundreds)
    }

    /// Returns the numbers that show the units, or `None` if the row has no amount or is not of a stock.
    pub(super) fn turnover(&self) -> Option<Turnover> {
        let c = &self.header.columns;
        Some(Turnover {
            amount: self.optional(c.amount).ok()??,
            low: self.number(c.low).ok()?,
            high: self.number(c.high).ok()?,
            volume: self.number(c.volume).ok()?,
        })
        .filter(|_| self.is_traded())
    }

    pub(super) fn refuse_unit(&self, rule: impl Into<String>) -> QuantError {
        let c = &self.header.columns;
        let value = match self.turnover() {
            Some(turnover) => format!(
                "{}, at {:.4} each in a bar from {} to {}",
                self.cell(c.volume),
                turnover.mean_price(),
                turnover.low,
                turnover.high
            ),
            None => self.cell(c.volume),
        };
        match self.refuse(c.volume, rule) {
            QuantError::Row {
                source_name,
                line,
                column,
                rule,
                ..
            } => QuantError::Row {
                source_name,
                line,
                column,
                rule,
                value,
            },
            other => other,
        }
    }

    pub(super) fn number(&self, column: usize) -> Result<f64, QuantError> {
        let cell = self.row.cell(column).trim_ascii();
        let text = std::str::from_utf8(cell).unwrap_or_default();
        let parsed = text.parse::<f64>().ok().or_else(|| {
            let comma_separates = self.lines.separator() == b';';
            let plain = grouped(text).filter(|_| !comma_separates)?;
            plain.parse().ok()
        });
        match parsed {
            Some(number) if number.is_finite() => Ok(number),
            _ => Err(self.refuse(column, "must be a finite decimal number")),
        }
    }

    pub(super) fn optional(&self, column: Option<usize>) -> Result<Option<f64>, QuantError> {
        match column {
            Some(column) if !self.row.cell(column).trim_ascii().is_empty() => {
                self.number(column).map(Some)
            }
            _ => Ok(None),
        }
    }

    pub(super) fn scaled(
        &self,
        column: usize,
        number: f64,
        factor: f64,
    ) -> Result<f64, QuantError> {
        let scaled = number * factor;
        if scaled.is_finite() {
            Ok(scaled)
        } else {
            Err(self.refuse(column, "is too large for its unit"))
        }
    }

    pub(super) fn cell(&self, column: usize) -> String {
        text(self.row.cell(column), self.encoding)
    }

    pub(super) fn refuse(&self, column: usize, rule: impl Into<String>) -> QuantError {
        QuantError::Row {
            source_name: self.source_name.clone(),
            line: self.row.line,
            column: self.names.get(column).cloned().unwrap_or_default(),
            rule: rule.into(),
            value: self.cell(column).chars().take(64).collect(),
        }
    }

    /// Returns an error of the whole row.
    pub(super) fn refuse_row(&self, rule: String, value: String) -> QuantError {
        QuantError::Row {
            source_name: self.source_name.clone(),
            line: self.row.line,
            column: "*".into(),
            rule,
            value,
        }
    }
}

/// Returns a number without its thousands separators, or `None` if a comma is no separator.
fn grouped(text: &str) -> Option<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let unsigned = whole.strip_prefix('-').unwrap_or(whole);
    let mut groups = unsigned.split(',');
    let first = groups.next()?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let plain = (1..=3).contains(&first.len())
        && digits(first)
        && digits(fraction)
        && groups.clone().count() > 0
        && groups.all(|group| group.len() == 3 && digits(group));
    plain.then(|| text.replace(',', ""))
}

/// Returns a cell as trimmed text. Bytes that are invalid in the encoding become `�`.
pub(super) fn text(cell: &[u8], encoding: Encoding) -> String {
    let decoded = encoding
        .decode(cell)
        .unwrap_or_else(|| String::from_utf8_lossy(cell));
    decoded.trim().to_owned()
}
