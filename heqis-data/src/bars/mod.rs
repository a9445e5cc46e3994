//! Reading tables of bars from text, one row at a time.
//!
//! The header gives the layout. Column names are compared without case, spaces, underscores and brackets, in any order;
//! brackets may name a unit, as in `成交量(手)`. Up to five lines before the header are skipped.
//!
//! | layout | recognized by | volume | amount |
//! |---|---|---|---|
//! | [`Layout::Tushare`] | `ts_code` or `trade_date` | `vol`, lots of 100 shares | `amount`, thousand CNY |
//! | [`Layout::Tushare`], minutes | `ts_code` and `trade_time` | `vol`, shares | `amount`, CNY |
//! | [`Layout::AkShare`] | `开盘`, `收盘` or `成交量` | `成交量`, lots or shares, as the rows show | `成交额`, CNY |
//! | [`Layout::Baostock`] | `adjustflag`, `tradestatus` or `isST` | `volume`, shares | `amount`, CNY |
//! | [`Layout::Plain`] | `date` or `time` | `volume`, shares, `vol`, as the rows show | `amount`, CNY |
//!
//! All need a day or a time, open, high, low, close and a volume; symbol, `pre_close` and `amount` are optional. Columns
//! that affect a rule are read (`isST`, `tradestatus`, `paused`, `adjustflag`, `preclose`) or give a warning. The others are
//! listed by [`BarReader::ignored_columns`] and can be read by [`BarReader::vendor_number`]. Two columns of one meaning must
//! be equal.
//!
//! **Decided for the whole table**, from the rows that are read ahead: the units, by amount over volume, which must be
//! between low and high; the order of day and month in days with the year last; and the meaning of midnight. A table in
//! which every time is midnight has daily bars; in any other table midnight is a time. Times without an offset are local
//! times of the instrument's exchange, or of China if the exchange is unknown; times with an offset and numbers since 1970
//! are exact. Text is UTF-8 or GBK.
//!
//! ```
//! use heqis_data::BarReader;
//! use heqis_quant::{QuantError, Symbol};
//!
//! let table = "日期,开盘,收盘,最高,最低,成交量,成交额\n\
//!              2024-01-02,6.63,6.62,6.68,6.61,170000,112600000\n";
//! let mut reader = BarReader::new(table.as_bytes(), Some(Symbol::parse("600000.SH")?), "600000.SH.csv")?;
//! assert_eq!(
//!     reader.detected().to_string(),
//!     "AkShare layout in UTF-8, daily bars, volume in lots of 100 shares by the amounts of 1 rows, amount in CNY"
//! );
//! let bar = reader.next().transpose()?;
//! assert_eq!(bar.map(|bar| bar.volume_shares), Some(17_000_000.0));
//! # Ok::<(), QuantError>(())
//! ```

mod detected;
mod header;
mod lines;
mod options;
mod row;
mod stamp;
mod survey;
mod time;
mod units;

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use detected::Detected;
pub use header::{Layout, is_bar_column};
pub use options::{Prices, TableOptions};
pub use stamp::{Stamp, moment_of};
pub use survey::TableFormat;
pub use units::{VolumeUnit, counts_lots};

use heqis_quant::encoding::Encoding;
use heqis_quant::rules::Markets;
use heqis_quant::{Bar, QuantError, Symbol};

use header::{Header, ParsedHeader, key};
use lines::{Lines, Row};
use row::text;
use survey::Survey;
use time::Zone;

/// The rows that are read ahead without a survey: about a year of days.
const ROWS_AHEAD: usize = 256;
/// The most lines before the header.
const MAX_PREAMBLE: usize = 5;

/// The meaning of the time of day in all rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TimeOfDay {
    /// No row has a time of day.
    Missing,
    /// Every time is midnight as written, and means the day as written.
    WrittenMidnight,
    /// Every time is midnight at the exchange, written in another zone, and means the day that begins there.
    ExchangeMidnight,
    /// A time is the end of a bar.
    Exact,
}

/// A place between two rows of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RowPlace {
    /// Bytes before it.
    offset: u64,
    /// Lines before it.
    line: u64,
    /// Whether the line before it ended with a carriage return.
    returned: bool,
    last: Option<(Symbol, i64)>,
}

/// Reads bars from a table as a stream.
///
/// The iterator gives one `Result` for each row. A bad row is an error with file, line, column, rule and value, and does
/// not end the iteration. Only a read error does, after one [`QuantError::Io`].
pub struct BarReader<R> {
    lines: Lines<R>,
    /// Rows that were read ahead and are not yet returned.
    ahead: VecDeque<Row>,
    row: Row,
    names: Vec<String>,
    header: ParsedHeader,
    options: TableOptions,
    format: TableFormat,
    encoding: Encoding,
    ignored: Vec<String>,
    zone: Option<Zone>,
    markets: Arc<Markets>,
    source_name: String,
    finished: bool,
    /// The error that ended reading ahead.
    failed: Option<QuantError>,
    /// Series and time of the row before.
    last: Option<(Symbol, i64)>,
    /// The kind of prices according to a line before the header.
    title_prices: Option<Prices>,
    detected: Detected,
}

impl<R: Read> BarReader<R> {
    /// Reads the header of a table and its first 256 rows, which decide on the format of the whole table.
    ///
    /// `default_symbol` is the instrument of a table without a symbol column; `source_name` is the name in errors, usually
    /// the file name. In a table with a symbol column, `default_symbol` only completes bare codes.
    ///
    /// # Errors
    /// Returns [`QuantError::Header`] if the header is missing, unknown, ambiguous or in an unknown encoding, or the symbol is
    /// unknown; [`QuantError::Row`] if the rows leave units or the order of day and month open, or contradict the header;
    /// and [`QuantError::Io`] if reading fails.
    pub fn new(
        read: R,
        default_symbol: Option<Symbol>,
        source_name: impl Into<String>,
    ) -> Result<Self, QuantError> {
        let options = TableOptions {
            symbol: default_symbol,
            ..TableOptions::default()
        };
        Self::with_options(read, options, source_name)
    }

    /// Like [`BarReader::new`], with more options.
    ///
    /// # Errors
    /// Those of [`BarReader::new`], and [`QuantError::Value`] if the time zone is unknown.
    pub fn with_options(
        read: R,
        options: TableOptions,
        source_name: impl Into<String>,
    ) -> Result<Self, QuantError> {
        let mut reader = Self::open(read, options, source_name.into(), MAX_PREAMBLE)?;
        reader.look_ahead(ROWS_AHEAD, false)?;
        Ok(reader)
    }

    /// Reads an endless table: the first line is the header, and the first row, which is awaited, decides on the format.
    ///
    /// # Errors
    /// Those of [`BarReader::with_options`].
    pub fn live(
        read: R,
        options: TableOptions,
        source_name: impl Into<String>,
    ) -> Result<Self, QuantError> {
        let mut reader = Self::open(read, options, source_name.into(), 0)?;
        reader.look_ahead(1, true)?;
        Ok(reader)
    }

    /// Reads all rows of a table and returns its format, for [`BarReader::with_format`].
    ///
    /// # Errors
    /// Those of [`BarReader::with_options`].
    pub fn survey(
        read: R,
        options: TableOptions,
        source_name: impl Into<String>,
    ) -> Result<TableFormat, QuantError> {
        let mut reader = Self::open(read, options, source_name.into(), MAX_PREAMBLE)?;
        let mut survey = Survey::new(reader.header.possible.len());
        while reader.read_row()? {
            survey.observe(&reader)?;
        }
        survey.decide(&mut reader, false)
    }

    /// Reads a table whose format is known from [`BarReader::survey`].
    ///
    /// # Errors
    /// Those of [`BarReader::with_options`].
    pub fn with_format(
        read: R,
        options: TableOptions,
        format: TableFormat,
        source_name: impl Into<String>,
    ) -> Result<Self, QuantError> {
        let mut reader = Self::open(read, options, source_name.into(), MAX_PREAMBLE)?;
        reader.apply(format);
        Ok(reader)
    }

    /// Reads a table of the same bytes again, with the same options and format.
    pub(crate) fn again<A: Read>(&self, read: A) -> Result<BarReader<A>, QuantError> {
        let options = self.options.clone();
        BarReader::with_format(read, options, self.format.clone(), &*self.source_name)
    }

    /// Reads on to a place that [`BarReader::place`] returned for the same bytes.
    pub(crate) fn skip_to(&mut self, place: &RowPlace) -> Result<(), QuantError> {
        let lines = (place.offset, place.line, place.returned);
        self.lines
            .skip_to(lines)
            .map_err(|error| io(&self.source_name, error))?;
        self.last = place.last;
        Ok(())
    }

    /// Parses the header.
    fn open(
        read: R,
        options: TableOptions,
        source_name: String,
        preamble: usize,
    ) -> Result<Self, QuantError> {
        let mut lines = Lines::new(read);
        let mut row = Row::default();
        let mut first: Option<QuantError> = None;
        let mut title_prices = None;
        for _ in 0..=preamble {
            if !lines
                .next(&mut row)
                .map_err(|error| io(&source_name, error))?
            {
                break;
            }
            let encoding = Encoding::of(row.bytes()).map_err(|rule| QuantError::Header {
                source_name: source_name.clone(),
                rule: rule.into(),
                got: String::from_utf8_lossy(row.bytes())
                    .chars()
                    .take(64)
                    .collect(),
            });
            let encoding = match encoding {
                Ok(encoding) => encoding,
                Err(error) => return Err(first.unwrap_or(error)),
            };
            lines.guess_separator(&mut row);
            let names: Vec<String> = (0..row.len())
                .map(|at| text(row.cell(at), encoding))
                .collect();
            let first_line = Header {
                source_name: &source_name,
                names: &names,
            };
            if !first_line.is_known() {
                title_prices =
                    title_prices.or_else(|| names.iter().find_map(|title| Prices::of_title(title)));
                first = first.or(first_line.parse().err());
                continue;
            }
            let header = first_line.parse()?;
            if header.columns.symbol.is_none() && options.symbol.is_none() {
                return Err(first_line.refuse(
                    "has no symbol column (ts_code, ticker, symbol, code), so the symbol must be given, or the file be named \
                     after it",
                ));
            }
            let zone = options.zone.as_deref().map(named_zone).transpose()?;
            let markets = match &options.markets {
                Some(markets) => Arc::clone(markets),
                None => Arc::new(Markets::shipped()?),
            };
            let ignored = first_line.ignored(&header.columns);
            let scale = header.named.unwrap_or(header.possible[0]);
            let format = TableFormat {
                scale,
                confirming_rows: 0,
                unexplained_rows: 0,
                day_order: options.day_order,
                clock: TimeOfDay::Exact,
                adjust_flag: None,
                amounts_show_adjusted: false,
                descends: false,
                rows: 0,
            };
            let mut reader = Self {
                detected: Detected {
                    layout: header.layout,
                    encoding,
                    volume_unit: scale.volume,
                    amount_unit_cny: None,
                    confirming_rows: 0,
                    unexplained_rows: 0,
                    has_time: false,
                    adjusted: false,
                    warnings: Vec::new(),
                },
                lines,
                ahead: VecDeque::new(),
                row,
                names,
                header,
                options,
                format: format.clone(),
                encoding,
                ignored,
                zone,
                markets,
                source_name,
                finished: false,
                failed: None,
                last: None,
                title_prices,
            };
            reader.apply(format);
            return Ok(reader);
        }
        Err(first.unwrap_or(QuantError::Header {
            source_name,
            rule: "must not be empty".into(),
            got: String::new(),
        }))
    }

    /// Reads rows ahead and decides on the format.
    fn look_ahead(&mut self, rows: usize, live: bool) -> Result<(), QuantError> {
        let mut survey = Survey::new(self.header.possible.len());
        while self.ahead.len() < rows {
            match self.read_row() {
                Ok(true) => {
                    survey.observe(self)?;
                    self.ahead.push_back(self.row.clone());
                }
                Ok(false) => break,
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        // On an error, the current row is the one that causes it.
        let format = survey.decide(self, live)?;
        self.apply(format);
        Ok(())
    }

    /// Reads the next row, and returns whether there was one.
    fn read_row(&mut self) -> Result<bool, QuantError> {
        if self.finished {
            return Ok(false);
        }
        let more = self.lines.next(&mut self.row);
        self.finished = !matches!(more, Ok(true));
        more.map_err(|error| io(&self.source_name, error))
    }
}

impl<R> BarReader<R> {
    fn apply(&mut self, format: TableFormat) {
        let flagged = format
            .adjust_flag
            .as_deref()
            .is_some_and(|flag| flag != "3");
        let adjusted = match self.options.prices {
            Some(prices) => prices == Prices::Adjusted,
            None => {
                flagged
                    || format.amounts_show_adjusted
                    || self.title_prices == Some(Prices::Adjusted)
            }
        };
        let mut warnings = self.header.warnings.clone();
        if adjusted && format.amounts_show_adjusted && self.options.prices.is_none() && !flagged {
            warnings.push(
                "the amounts show adjusted prices: the mean price lies outside low and high in any unit".to_owned(),
            );
        }
        self.detected = Detected {
            layout: self.header.layout,
            encoding: self.encoding,
            volume_unit: format.scale.volume,
            amount_unit_cny: self
                .header
                .columns
                .amount
                .map(|_| format.scale.amount_cny as u32),
            confirming_rows: format.confirming_rows,
            unexplained_rows: format.unexplained_rows,
            has_time: format.clock == TimeOfDay::Exact && format.rows > 0,
            adjusted,
            warnings,
        };
        self.format = format;
    }
}

impl<R> BarReader<R> {
    /// The place after the last row of a table that is not read ahead.
    pub(crate) fn place(&self) -> RowPlace {
        let (offset, line, returned) = self.lines.place();
        RowPlace {
            offset,
            line,
            returned,
            last: self.last,
        }
    }

    /// Returns the layout of the header.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.detected.layout
    }

    /// Returns the detected properties of the table.
    #[must_use]
    pub fn detected(&self) -> &Detected {
        &self.detected
    }

    /// Returns the columns that are not read, as spelled in the header.
    #[must_use]
    pub fn ignored_columns(&self) -> &[String] {
        &self.ignored
    }

    /// Returns the instrument of the last row, valid or not, if it can be read.
    #[must_use]
    pub(crate) fn row_symbol(&self) -> Option<Symbol> {
        self.symbol().ok().filter(|_| self.row.broken.is_none())
    }

    /// Returns whether the newest row is first.
    #[must_use]
    pub fn descends(&self) -> bool {
        self.format.descends
    }

    /// Returns a number from any column of the last returned row, such as `adjClose`, `adj_factor`, `isST` or `up_limit`,
    /// unchanged and in the vendor's unit, or `None` if the cell is empty or no row was returned yet. Column names are
    /// compared like those of the header.
    ///
    /// # Errors
    /// Returns [`QuantError::Header`] if there is no such column, and [`QuantError::Row`] if the cell is no number.
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
}

impl<R: Read> Iterator for BarReader<R> {
    type Item = Result<Bar, QuantError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(row) = self.ahead.pop_front() {
            self.row = row;
            return Some(self.bar());
        }
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        match self.read_row() {
            Ok(true) => Some(self.bar()),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

fn named_zone(name: &str) -> Result<Zone, QuantError> {
    let zone = jiff::tz::TimeZone::get(name).map_err(|_| {
        let rule = "must be an IANA time zone, such as Asia/Shanghai or UTC";
        QuantError::value("table", "zone", rule, name)
    })?;
    Ok(Zone::Named(zone))
}

fn io(source_name: &str, source: std::io::Error) -> QuantError {
    QuantError::Io {
        source_name: source_name.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
