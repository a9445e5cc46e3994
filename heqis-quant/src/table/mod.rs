//! CSV text to bars, one row at a time.
//!
//! The header decides the layout. Column names are compared without case, spaces and underscores, in any order.
//!
//! | layout | known by | volume | amount |
//! |---|---|---|---|
//! | [`Layout::Tushare`] | `ts_code` or `trade_date` | `vol`, lots of 100 shares | `amount`, thousand CNY |
//! | [`Layout::Tushare`], minutes | `ts_code` and `trade_time` | `vol`, shares | `amount`, CNY |
//! | [`Layout::AkShare`] | `开盘`, `收盘` or `成交量` | `成交量`, lots or shares, as the rows show | `成交额`, CNY |
//! | [`Layout::Baostock`] | `adjustflag`, `tradestatus` or `isST` | `volume`, shares | `amount`, CNY |
//! | [`Layout::Plain`] | `date` or `time` | `volume`, shares; `vol`, as the rows show | `amount`, CNY |
//!
//! All need a date or a time, open, high, low, close and a volume; symbol (`ts_code`, `ticker`, `symbol`, `code`,
//! `股票代码`), `pre_close` and `amount` are optional. Vendor-adjusted closes and all other columns are left out and
//! listed by [`BarReader::ignored_columns`], so that nothing is dropped without a trace; [`BarReader::vendor_number`]
//! still reads them.
//!
//! Where rows have to show the unit, the amount over the volume must lie between low and high in one unit and in no row
//! in the other: see [`BarReader::detect`]. Indices and B shares have no say, since their amounts are not in the unit of
//! their prices.
//!
//! A time column (`time`, `datetime`, `trade_time`, `时间`) makes minute bars: the time is the end of the bar at
//! UTC+08:00, as the vendors write it, and midnight stands for the whole day. Text is UTF-8, with or without a
//! byte-order mark, or GBK.

mod encoding;
mod header;
mod time;
mod units;

use std::collections::VecDeque;
use std::fmt;
use std::io::Read;

use csv::ByteRecord;
use serde::Serialize;

pub use encoding::Encoding;
pub use header::Layout;
pub use units::VolumeUnit;

use crate::{Bar, Board, Date, Exchange, Marks, QuantError, Symbol};
use header::{Columns, Header, Understood, key};
use time::Clock;
use units::{Ballot, Turnover, Vote};

/// How many rows are read ahead where rows have to show the unit: about a year of days.
const ROWS_AHEAD: usize = 256;

/// What a reader found out about its table, for reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detected {
    /// The family of the table.
    pub layout: Layout,
    /// The encoding of the header.
    pub encoding: Encoding,
    /// What the volume counts.
    pub volume_unit: VolumeUnit,
    /// How many CNY one unit of the amount is, or `None` when there is no amount.
    pub amount_unit_cny: Option<u32>,
    /// How many of the first rows confirm the volume unit by their amount; 0 when the header alone decided.
    pub confirming_rows: usize,
    /// How many of the first rows fit neither unit.
    pub unexplained_rows: usize,
    /// Whether rows have a time of day.
    pub has_time: bool,
}

impl fmt::Display for Detected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} layout in {}, {} bars, volume in {} ",
            self.layout.name(),
            self.encoding.name(),
            if self.has_time { "minute" } else { "daily" },
            self.volume_unit.name(),
        )?;
        match self.confirming_rows {
            0 => f.write_str("by the header")?,
            rows => write!(f, "by the amounts of {rows} rows")?,
        }
        match self.amount_unit_cny {
            None => f.write_str(", no amount"),
            Some(1) => f.write_str(", amount in CNY"),
            Some(unit) => write!(f, ", amount in {unit} CNY"),
        }
    }
}

/// Reads bars from a CSV table, streaming.
///
/// The iterator gives one `Result` for each row; a bad row is an error that names file, line, column, rule and value,
/// and does not end the iteration. Only a failing reader ends it, after one [`QuantError::Io`].
pub struct BarReader<R> {
    rows: csv::Reader<R>,
    /// Rows that were read to learn the volume unit and have yet to be handed out.
    ahead: VecDeque<ByteRecord>,
    record: ByteRecord,
    names: Vec<String>,
    columns: Columns,
    detected: Detected,
    amount_cny: f64,
    ignored: Vec<String>,
    default_symbol: Option<Symbol>,
    source_name: String,
    finished: bool,
}

impl<R: Read> BarReader<R> {
    /// Reads the header of a table, and takes its word for the units where it has one.
    ///
    /// `default_symbol` names the instrument of a table without a symbol column; `source_name` is the name that errors
    /// carry, usually the file name. A table with a symbol column ignores `default_symbol`.
    ///
    /// Rows are read ahead only when the header leaves the volume unit open, so a table may come from a live source.
    ///
    /// # Errors
    /// Returns [`QuantError::Header`] when the header is missing, unknown, ambiguous, in an unknown encoding or repeats
    /// a column, or when no symbol is known, [`QuantError::Row`] when rows have to show the volume unit and do not,
    /// and [`QuantError::Io`] when reading fails.
    pub fn new(
        read: R,
        default_symbol: Option<Symbol>,
        source_name: impl Into<String>,
    ) -> Result<Self, QuantError> {
        let (mut reader, unit) = Self::open(read, default_symbol, source_name.into())?;
        if unit.is_none() {
            reader.learn_unit(None)?;
        }
        Ok(reader)
    }

    /// Reads the header of a file and its first 256 rows, and lets the amounts confirm or decide the volume unit.
    ///
    /// The unit of a plain table is what its amounts show, whatever its column is called; a Tushare or baostock table
    /// whose amounts contradict the vendor's own units is refused. Without any amount the header decides. Later rows
    /// that are in the other unit are errors. Arguments are those of [`BarReader::new`].
    ///
    /// # Errors
    /// Returns what [`BarReader::new`] returns, and [`QuantError::Row`] when the amounts fit neither unit, or both in
    /// one file, as they do with adjusted prices or joined files.
    pub fn detect(
        read: R,
        default_symbol: Option<Symbol>,
        source_name: impl Into<String>,
    ) -> Result<Self, QuantError> {
        let (mut reader, unit) = Self::open(read, default_symbol, source_name.into())?;
        reader.learn_unit(unit)?;
        Ok(reader)
    }

    /// Understands the header, and returns the reader with the volume unit that the header names.
    fn open(
        read: R,
        default_symbol: Option<Symbol>,
        source_name: String,
    ) -> Result<(Self, Option<VolumeUnit>), QuantError> {
        // An unclosed quote would swallow every later row, so quotes are stripped cell by cell instead.
        let mut rows = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .quoting(false)
            .from_reader(read);
        let mut record = ByteRecord::new();
        let read_header = rows.read_byte_record(&mut record);
        match read_header {
            Ok(true) => {}
            Ok(false) => {
                return Err(QuantError::Header {
                    source_name,
                    rule: "must not be empty".into(),
                    got: String::new(),
                });
            }
            Err(error) => return Err(io(&source_name, error)),
        }
        let encoding = Encoding::of(record.as_slice()).map_err(|rule| QuantError::Header {
            source_name: source_name.clone(),
            rule: rule.into(),
            got: String::from_utf8_lossy(record.as_slice())
                .chars()
                .take(64)
                .collect(),
        })?;
        let names: Vec<String> = record.iter().map(|cell| text(cell, encoding)).collect();
        let header = Header {
            source_name: &source_name,
            names: &names,
        };
        let Understood {
            layout,
            columns,
            volume_unit,
            amount_cny,
        } = header.understand()?;
        if columns.symbol.is_none() && default_symbol.is_none() {
            return Err(header.refuse(
                "has no symbol column (ts_code, ticker, symbol, code), so the symbol must be given",
            ));
        }
        let detected = Detected {
            layout,
            encoding,
            volume_unit: volume_unit.unwrap_or(VolumeUnit::Shares),
            amount_unit_cny: columns.amount.map(|_| amount_cny as u32),
            confirming_rows: 0,
            unexplained_rows: 0,
            has_time: columns.time.is_some(),
        };
        let reader = Self {
            rows,
            ahead: VecDeque::new(),
            record: ByteRecord::new(),
            ignored: header.ignored(&columns),
            columns,
            detected,
            amount_cny,
            names,
            default_symbol,
            source_name,
            finished: false,
        };
        Ok((reader, volume_unit))
    }

    /// Reads rows ahead and lets their amounts tell the volume unit.
    fn learn_unit(&mut self, named: Option<VolumeUnit>) -> Result<(), QuantError> {
        let mut ballot = Ballot::default();
        // The first row for each answer, to be shown when they do not agree.
        let mut first: [Option<ByteRecord>; 3] = [const { None }; 3];
        while self.ahead.len() < ROWS_AHEAD && self.read_row()? {
            let vote = self.turnover().map_or(Vote::Silent, Turnover::vote);
            ballot.count(vote);
            let place = match vote {
                Vote::Unit(VolumeUnit::Shares) => Some(0),
                Vote::Unit(VolumeUnit::Lots) => Some(1),
                Vote::Neither => Some(2),
                Vote::Silent => None,
            };
            if let Some(place) = place {
                first[place].get_or_insert_with(|| self.record.clone());
            }
            self.ahead.push_back(self.record.clone());
        }
        let fixed = matches!(self.detected.layout, Layout::Tushare | Layout::Baostock);
        let unit = match (ballot.rows(), ballot.unit(), named) {
            (0, _, Some(named)) => named,
            (0, _, None) if self.ahead.is_empty() => VolumeUnit::Shares,
            (_, Some(unit), Some(named)) if fixed && unit != named => {
                self.record = first.into_iter().flatten().next().unwrap_or_default();
                return Err(self.refuse_unit(format!(
                    "must count {} as {} does, and the amounts show {}",
                    named.name(),
                    self.detected.layout.name(),
                    unit.name()
                )));
            }
            (_, Some(unit), _) => unit,
            (0, None, None) => {
                // Every row was silent; the first one stands for all.
                self.record = self.ahead.front().cloned().unwrap_or_default();
                return Err(self.refuse_unit(
                    "must show lots or shares by its amount, and no row of a stock has both",
                ));
            }
            _ => {
                // The row that does not belong: of the rarer unit when both occur, else of neither.
                let [shares, lots, neither] = first;
                let odd = if ballot.shares <= ballot.lots {
                    shares.filter(|_| ballot.lots > 0)
                } else {
                    lots
                };
                self.record = odd.or(neither).unwrap_or_default();
                return Err(self.refuse_unit(format!(
                    "must be lots or shares throughout, and of {} rows with an amount {} fit shares, {} fit lots \
                     and {} fit neither (adjusted prices?)",
                    ballot.rows(),
                    ballot.shares,
                    ballot.lots,
                    ballot.neither
                )));
            }
        };
        self.record.clear();
        self.detected.volume_unit = unit;
        self.detected.confirming_rows = ballot.shares.max(ballot.lots);
        self.detected.unexplained_rows = ballot.neither;
        Ok(())
    }

    /// Returns the layout that the header showed.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.detected.layout
    }

    /// Returns what the reader found out about its table.
    #[must_use]
    pub fn detected(&self) -> &Detected {
        &self.detected
    }

    /// Returns the columns that are not read, as the header spells them.
    #[must_use]
    pub fn ignored_columns(&self) -> &[String] {
        &self.ignored
    }

    /// Returns a number from any column of the row that was last handed out, such as `adjClose`, `adj_factor`, `isST`
    /// or `up_limit`, unchanged and in the vendor's unit, or `None` when the cell is empty or no row was handed out yet.
    /// Column names are compared as in the header.
    ///
    /// # Errors
    /// Returns [`QuantError::Header`] when there is no such column, and [`QuantError::Row`] when the cell is no number.
    pub fn vendor_number(&self, column: &str) -> Result<Option<f64>, QuantError> {
        let wanted = key(column);
        let found = self.names.iter().position(|name| key(name) == wanted);
        match found {
            Some(column) => self.optional(Some(column)),
            None => Err(QuantError::Header {
                source_name: self.source_name.clone(),
                rule: format!("lacks the column {column}"),
                got: self.names.join(",").chars().take(200).collect(),
            }),
        }
    }

    fn bar(&self) -> Result<Bar, QuantError> {
        if self.record.len() != self.names.len() {
            return Err(QuantError::Row {
                source_name: self.source_name.clone(),
                line: self.line(),
                column: "*".into(),
                rule: format!("must have {} cells like the header", self.names.len()),
                value: format!("{} cells", self.record.len()),
            });
        }
        let c = &self.columns;
        let symbol = self.symbol()?;
        let (date, time_ns) = self.time()?;
        if let Some(column) = c.adjust_flag {
            self.check_unadjusted(column)?;
        }
        let per_volume = self.detected.volume_unit.shares();
        let bar = Bar {
            symbol,
            time_ns,
            date,
            open: self.number(c.open)?,
            high: self.number(c.high)?,
            low: self.number(c.low)?,
            close: self.number(c.close)?,
            pre_close: self.optional(c.pre_close)?,
            volume_shares: self.scaled(c.volume, self.volume()?, per_volume)?,
            amount_cny: match (c.amount, self.optional(c.amount)?) {
                (Some(column), Some(amount)) => {
                    Some(self.scaled(column, amount, self.amount_cny)?)
                }
                _ => None,
            },
            marks: Marks::NONE,
        };
        if self.detected.confirming_rows > 0
            && let Some(Vote::Unit(unit)) = self.turnover().map(Turnover::vote)
            && unit != self.detected.volume_unit
        {
            return Err(self.refuse_unit(format!(
                "must be {} like the rows before",
                self.detected.volume_unit.name()
            )));
        }
        Ok(bar)
    }

    fn symbol(&self) -> Result<Symbol, QuantError> {
        let Some(column) = self.columns.symbol else {
            // The constructors make sure that there is one.
            return self
                .default_symbol
                .ok_or_else(|| self.refuse(0, "has no symbol"));
        };
        let cell = self.cell(column);
        let parsed = match self.detected.layout {
            Layout::AkShare => stock(&cell),
            _ => Symbol::parse(&cell),
        };
        parsed.map_err(|error| self.refuse(column, rule_of(&error)))
    }

    fn time(&self) -> Result<(Date, i64), QuantError> {
        let day = match self.columns.date {
            Some(column) => {
                let cell = self.cell(column);
                let date =
                    Date::parse(&cell).map_err(|error| self.refuse(column, rule_of(&error)))?;
                Some(date)
            }
            None => None,
        };
        let Some(column) = self.columns.time else {
            let date = day.ok_or_else(|| self.refuse(0, "has no date"))?;
            return Ok((date, date.close_time_ns()));
        };
        let clock =
            Clock::parse(&self.cell(column)).ok_or_else(|| self.refuse(column, time::RULE))?;
        let date = match (day, clock.date) {
            (Some(day), Some(other)) if day != other => {
                return Err(self.refuse(column, format!("must lie on {day} like the date")));
            }
            (Some(date), _) | (None, Some(date)) => date,
            (None, None) => {
                return Err(self.refuse(column, "must have a date, since there is no date column"));
            }
        };
        Ok((date, clock.time_ns(date)))
    }

    fn check_unadjusted(&self, column: usize) -> Result<(), QuantError> {
        if self.cell(column) == "3" {
            Ok(())
        } else {
            Err(self.refuse(
                column,
                "must be 3, prices as traded: adjusted ones fit no limit, no lot and no later download",
            ))
        }
    }

    /// Returns the volume in the unit of the table. baostock leaves it empty on days without a trade, and says so.
    fn volume(&self) -> Result<f64, QuantError> {
        let silent = |column: usize| self.cell(column) == "0";
        let empty = self.cell(self.columns.volume).is_empty();
        if empty && self.columns.trade_status.is_some_and(silent) {
            return Ok(0.0);
        }
        self.number(self.columns.volume)
    }

    /// Returns what the row says about the volume unit, or `None` when it has no amount or is no stock's.
    fn turnover(&self) -> Option<Turnover> {
        let c = &self.columns;
        let symbol = self.symbol().ok()?;
        if symbol.board() == Board::Other && symbol.exchange() != Exchange::Other {
            return None;
        }
        Some(Turnover {
            low: self.number(c.low).ok()?,
            high: self.number(c.high).ok()?,
            volume: self.number(c.volume).ok()?,
            amount_cny: self.optional(c.amount).ok()?? * self.amount_cny,
        })
    }

    fn refuse_unit(&self, rule: impl Into<String>) -> QuantError {
        let rule = rule.into();
        match (self.refuse(self.columns.volume, rule), self.turnover()) {
            (
                QuantError::Row {
                    source_name,
                    line,
                    column,
                    rule,
                    value,
                },
                Some(turnover),
            ) => QuantError::Row {
                source_name,
                line,
                column,
                rule,
                value: format!(
                    "{value}, at {:.4} CNY each in a bar from {} to {}",
                    turnover.mean_price(),
                    turnover.low,
                    turnover.high
                ),
            },
            (error, _) => error,
        }
    }

    fn number(&self, column: usize) -> Result<f64, QuantError> {
        let cell = self.cell(column);
        match cell.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(self.refuse(column, "must be a finite decimal number")),
        }
    }

    fn optional(&self, column: Option<usize>) -> Result<Option<f64>, QuantError> {
        match column {
            Some(column) if !self.cell(column).is_empty() => self.number(column).map(Some),
            _ => Ok(None),
        }
    }

    fn scaled(&self, column: usize, number: f64, factor: f64) -> Result<f64, QuantError> {
        let scaled = number * factor;
        if scaled.is_finite() {
            Ok(scaled)
        } else {
            Err(self.refuse(column, "is too large for its unit"))
        }
    }

    fn cell(&self, column: usize) -> String {
        let cell = self.record.get(column);
        cell.map(|cell| text(cell, self.detected.encoding))
            .unwrap_or_default()
    }

    fn line(&self) -> u64 {
        self.record.position().map_or(0, csv::Position::line)
    }

    fn refuse(&self, column: usize, rule: impl Into<String>) -> QuantError {
        QuantError::Row {
            source_name: self.source_name.clone(),
            line: self.line(),
            column: self.names.get(column).cloned().unwrap_or_default(),
            rule: rule.into(),
            value: self.cell(column).chars().take(64).collect(),
        }
    }

    /// Reads the next row into `record`, and returns whether there was one.
    fn read_row(&mut self) -> Result<bool, QuantError> {
        if self.finished {
            return Ok(false);
        }
        let more = self.rows.read_byte_record(&mut self.record);
        self.finished = !matches!(more, Ok(true));
        more.map_err(|error| io(&self.source_name, error))
    }
}

impl<R: Read> Iterator for BarReader<R> {
    type Item = Result<Bar, QuantError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(record) = self.ahead.pop_front() {
            self.record = record;
            return Some(self.bar());
        }
        match self.read_row() {
            Ok(true) => Some(self.bar()),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

/// Returns the stock of a bare code, for tables that hold nothing but A shares and B shares.
fn stock(code: &str) -> Result<Symbol, QuantError> {
    let suffix = match code.get(..2) {
        _ if code.len() != 6 => None,
        Some("60" | "68" | "90") => Some("SH"),
        Some("00" | "20" | "30") => Some("SZ"),
        Some("43" | "82" | "83" | "87" | "88" | "92") => Some("BJ"),
        _ => None,
    };
    match suffix {
        Some(suffix) => Symbol::parse(&format!("{code}.{suffix}")),
        None if code.len() > 6 => Symbol::parse(code),
        None => Err(QuantError::Symbol {
            got: code.chars().take(64).collect(),
            rule: "must be a stock code of six digits; spreadsheets drop leading zeros",
        }),
    }
}

/// Returns a cell as text, without quotes and spaces. Bytes that are not in the encoding become `�`. A byte-order mark
/// before the header is gone by then: the CSV reader drops it.
fn text(cell: &[u8], encoding: Encoding) -> String {
    let decoded = encoding
        .decode(cell)
        .unwrap_or_else(|| String::from_utf8_lossy(cell));
    let cell = decoded.trim();
    let bare = cell.strip_prefix('"').and_then(|c| c.strip_suffix('"'));
    bare.unwrap_or(cell).trim().to_owned()
}

fn io(source_name: &str, error: csv::Error) -> QuantError {
    QuantError::Io {
        source_name: source_name.to_owned(),
        source: error.into(),
    }
}

fn rule_of(error: &QuantError) -> &'static str {
    match error {
        QuantError::Symbol { rule, .. } | QuantError::Date { rule, .. } => rule,
        _ => "is wrong",
    }
}

#[cfg(test)]
mod tests;
