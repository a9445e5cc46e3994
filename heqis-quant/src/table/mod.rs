//! Tables of bars to bars, one row at a time.
//!
//! The header decides the layout. Column names are compared without case, spaces, underscores and what stands in brackets,
//! in any order; brackets may name a unit, as in `成交量(手)`. Lines before the header are passed over, as far as five.
//!
//! | layout | known by | volume | amount |
//! |---|---|---|---|
//! | [`Layout::Tushare`] | `ts_code` or `trade_date` | `vol`, lots of 100 shares | `amount`, thousand CNY |
//! | [`Layout::Tushare`], minutes | `ts_code` and `trade_time` | `vol`, shares | `amount`, CNY |
//! | [`Layout::AkShare`] | `开盘`, `收盘` or `成交量` | `成交量`, lots or shares, as the rows show | `成交额`, CNY |
//! | [`Layout::Baostock`] | `adjustflag`, `tradestatus` or `isST` | `volume`, shares | `amount`, CNY |
//! | [`Layout::Plain`] | `date` or `time` | `volume`, shares, `vol`, as the rows show | `amount`, CNY |
//!
//! All need a day or a time, open, high, low, close and a volume; symbol, `pre_close` and `amount` are optional. Columns
//! that change a rule are read (`isST`, `tradestatus`, `paused`, `adjustflag`, `preclose`) or warned of; the others are
//! listed by [`BarReader::ignored_columns`], and [`BarReader::vendor_number`] still reads them. Two columns of one meaning
//! must be equal.
//!
//! **Decided for the table as a whole**, from the rows that are read ahead: the units, by amount over volume, which must lie
//! between low and high; whether the day or the month comes first where the year stands last; and what midnight means. A
//! table whose every time is midnight is one of days; in any other one midnight is a time like all others. Times without
//! an offset are those of the instrument's exchange, or of China where nothing is known of it; times with one, and
//! numbers since 1970, are exact. Text is UTF-8 or GBK.

mod encoding;
mod header;
mod rows;
mod survey;
mod time;
mod units;

use std::collections::VecDeque;
use std::fmt;
use std::io::Read;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use encoding::Encoding;
pub use header::{Layout, is_bar_column};
pub use survey::Decided;
pub use units::{VolumeUnit, counts_lots};

use crate::rules::{Listing, Markets};
use crate::{Bar, Date, DayOrder, Exchange, Marks, QuantError, Symbol};
use header::{Header, Understood, key};
use rows::{Lines, Row};
use survey::Survey;
use time::{Written, Zone};
use units::{Turnover, Vote};

/// How many rows are read ahead where nothing else was decided: about a year of days.
const ROWS_AHEAD: usize = 256;
/// How many lines may stand before the header.
const MAX_PREAMBLE: usize = 5;

/// What prices are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prices {
    /// As traded.
    Traded,
    /// Adjusted by the vendor for ex-rights, forward or backward: moves are right, levels are not.
    Adjusted,
}

impl Prices {
    /// Returns what a title or a file's name says of prices, such as `日线 前复权` or `600000.SH.qfq`, or `None` when it
    /// says nothing.
    #[must_use]
    pub fn of_title(title: &str) -> Option<Self> {
        let title = title.to_lowercase();
        let is_word = |word: &&str| {
            title
                .split(|c: char| !c.is_alphanumeric())
                .any(|w| w == *word)
        };
        if title.contains("不复权") {
            Some(Self::Traded)
        } else if title.contains("前复权")
            || title.contains("后复权")
            || ["qfq", "hfq"].iter().any(is_word)
        {
            Some(Self::Adjusted)
        } else {
            None
        }
    }
}

/// What a reader is told beside its table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TableOptions {
    /// The instrument of a table without a symbol column.
    pub symbol: Option<Symbol>,
    /// The IANA zone of times without an offset, instead of that of the instrument's exchange.
    pub zone: Option<String>,
    /// What the volume counts, instead of what the amounts show.
    pub volume_unit: Option<VolumeUnit>,
    /// Whether the day or the month comes first where the year stands last.
    pub day_order: Option<DayOrder>,
    /// What prices are, instead of what the table shows.
    pub prices: Option<Prices>,
    /// The markets that know instruments and their time zones, instead of those of this crate.
    #[serde(skip)]
    pub markets: Option<Arc<Markets>>,
}

/// What the time of day of a row means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Clock {
    /// No row has one.
    Day,
    /// Each is midnight as written, and means the day as written.
    WrittenMidnight,
    /// Each is midnight at the exchange, written in another zone, and means the day that begins there.
    ExchangeMidnight,
    /// The end of a bar.
    Exact,
}

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
    /// How many of the rows looked at confirm the units by their amount; 0 when the header alone decided.
    pub confirming_rows: usize,
    /// How many of the rows looked at fit no units.
    pub unexplained_rows: usize,
    /// Whether rows are bars of a part of a day.
    pub has_time: bool,
    /// Whether the table says, by a flag or by its amounts, that its prices are adjusted.
    pub adjusted: bool,
    /// What a user should know: columns that could change a rule and are not read, units that nothing confirms.
    pub warnings: Vec<String>,
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
            None => f.write_str(", no amount")?,
            Some(1) => f.write_str(", amount in CNY")?,
            Some(unit) => write!(f, ", amount in {unit} CNY")?,
        }
        if self.adjusted {
            f.write_str(", adjusted prices")?;
        }
        Ok(())
    }
}

/// Reads bars from a table, streaming.
///
/// The iterator gives one `Result` for each row; a bad row is an error that names file, line, column, rule and value,
/// and does not end the iteration. Only a failing reader ends it, after one [`QuantError::Io`].
pub struct BarReader<R> {
    lines: Lines<R>,
    /// Rows that were read to decide on the table and have yet to be handed out.
    ahead: VecDeque<Row>,
    row: Row,
    names: Vec<String>,
    understood: Understood,
    options: TableOptions,
    decided: Decided,
    encoding: Encoding,
    ignored: Vec<String>,
    zone: Option<Zone>,
    markets: Arc<Markets>,
    source_name: String,
    finished: bool,
    /// Why reading ended while rows were read ahead.
    failed: Option<QuantError>,
    /// The series and the time of the row before.
    last: Option<(Symbol, i64)>,
    /// What a line before the header says of prices.
    titled: Option<Prices>,
    detected: Detected,
}

impl<R: Read> BarReader<R> {
    /// Reads the header of a table and its first 256 rows, which decide on the table as a whole.
    ///
    /// `default_symbol` names the instrument of a table without a symbol column; `source_name` is the name that errors
    /// carry, usually the file name. A table with a symbol column ignores `default_symbol`.
    ///
    /// # Errors
    /// Returns [`QuantError::Header`] when the header is missing, unknown, ambiguous, in an unknown encoding, or no symbol
    /// is known; [`QuantError::Row`] when rows have to show units or the order of day and month and do not, or contradict
    /// the header; and [`QuantError::Io`] when reading fails.
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

    /// As [`BarReader::new`], with more said about the table.
    ///
    /// # Errors
    /// As [`BarReader::new`], and [`QuantError::Value`] when the zone is unknown.
    pub fn with_options(
        read: R,
        options: TableOptions,
        source_name: impl Into<String>,
    ) -> Result<Self, QuantError> {
        let mut reader = Self::open(read, options, source_name.into(), MAX_PREAMBLE)?;
        reader.look_ahead(ROWS_AHEAD, false)?;
        Ok(reader)
    }

    /// Reads a table that comes without end: the first line is the header, and the first row decides and is waited for.
    ///
    /// # Errors
    /// As [`BarReader::with_options`].
    pub fn live(
        read: R,
        options: TableOptions,
        source_name: impl Into<String>,
    ) -> Result<Self, QuantError> {
        let mut reader = Self::open(read, options, source_name.into(), 0)?;
        reader.look_ahead(1, true)?;
        Ok(reader)
    }

    /// Reads all rows of a table and returns what they decide, for [`BarReader::decided`].
    ///
    /// # Errors
    /// As [`BarReader::with_options`].
    pub fn survey(
        read: R,
        options: TableOptions,
        source_name: impl Into<String>,
    ) -> Result<Decided, QuantError> {
        let mut reader = Self::open(read, options, source_name.into(), MAX_PREAMBLE)?;
        let mut survey = Survey::new(reader.understood.possible.len());
        while reader.read_row()? {
            survey.observe(&reader)?;
        }
        survey.decide(&mut reader, false)
    }

    /// Reads a table that was surveyed before.
    ///
    /// # Errors
    /// As [`BarReader::with_options`].
    pub fn decided(
        read: R,
        options: TableOptions,
        decided: Decided,
        source_name: impl Into<String>,
    ) -> Result<Self, QuantError> {
        let mut reader = Self::open(read, options, source_name.into(), MAX_PREAMBLE)?;
        reader.settle(decided);
        Ok(reader)
    }

    /// Understands the header.
    fn open(
        read: R,
        options: TableOptions,
        source_name: String,
        preamble: usize,
    ) -> Result<Self, QuantError> {
        let mut lines = Lines::new(read);
        let mut row = Row::default();
        let mut first: Option<QuantError> = None;
        let mut titled = None;
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
            let header = Header {
                source_name: &source_name,
                names: &names,
            };
            if !header.is_known() {
                titled = titled.or_else(|| names.iter().find_map(|title| Prices::of_title(title)));
                first = first.or(header.understand().err());
                continue;
            }
            let understood = header.understand()?;
            if understood.columns.symbol.is_none() && options.symbol.is_none() {
                return Err(header.refuse(
                    "has no symbol column (ts_code, ticker, symbol, code), so the symbol must be given, or the file be named \
                     after it",
                ));
            }
            let zone = options.zone.as_deref().map(named_zone).transpose()?;
            let markets = match &options.markets {
                Some(markets) => Arc::clone(markets),
                None => Arc::new(Markets::shipped()?),
            };
            let ignored = header.ignored(&understood.columns);
            let scale = understood.named.unwrap_or(understood.possible[0]);
            let decided = Decided {
                scale,
                confirming_rows: 0,
                unexplained_rows: 0,
                day_order: options.day_order,
                clock: Clock::Exact,
                adjust_flag: None,
                amounts_show_adjusted: false,
                descends: false,
                rows: 0,
            };
            let mut reader = Self {
                detected: Detected {
                    layout: understood.layout,
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
                understood,
                options,
                decided: decided.clone(),
                encoding,
                ignored,
                zone,
                markets,
                source_name,
                finished: false,
                failed: None,
                last: None,
                titled,
            };
            reader.settle(decided);
            return Ok(reader);
        }
        Err(first.unwrap_or(QuantError::Header {
            source_name,
            rule: "must not be empty".into(),
            got: String::new(),
        }))
    }

    /// Reads rows ahead and lets them decide.
    fn look_ahead(&mut self, rows: usize, live: bool) -> Result<(), QuantError> {
        let mut survey = Survey::new(self.understood.possible.len());
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
        // A decision that fails shows the row that is to blame.
        let decided = survey.decide(self, live)?;
        self.settle(decided);
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
    fn settle(&mut self, decided: Decided) {
        let flagged = decided
            .adjust_flag
            .as_deref()
            .is_some_and(|flag| flag != "3");
        let adjusted = match self.options.prices {
            Some(prices) => prices == Prices::Adjusted,
            None => {
                flagged || decided.amounts_show_adjusted || self.titled == Some(Prices::Adjusted)
            }
        };
        let mut warnings = self.understood.warnings.clone();
        if adjusted && decided.amounts_show_adjusted && self.options.prices.is_none() && !flagged {
            warnings.push(
                "the amounts show adjusted prices: the mean price lies outside low and high in any unit".to_owned(),
            );
        }
        self.detected = Detected {
            layout: self.understood.layout,
            encoding: self.encoding,
            volume_unit: decided.scale.volume,
            amount_unit_cny: self
                .understood
                .columns
                .amount
                .map(|_| decided.scale.amount_cny as u32),
            confirming_rows: decided.confirming_rows,
            unexplained_rows: decided.unexplained_rows,
            has_time: decided.clock == Clock::Exact && decided.rows > 0,
            adjusted,
            warnings,
        };
        self.decided = decided;
    }
}

impl<R> BarReader<R> {
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

    /// Returns the instrument of the row that was last read, good or bad, where it can be read.
    #[must_use]
    pub fn row_symbol(&self) -> Option<Symbol> {
        self.symbol().ok().filter(|_| self.row.broken.is_none())
    }

    /// Returns whether the rows stand in the order of time with the newest first.
    #[must_use]
    pub fn descends(&self) -> bool {
        self.decided.descends
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

    fn bar(&mut self) -> Result<Bar, QuantError> {
        self.check_cells()?;
        self.check_twins()?;
        let c = &self.understood.columns;
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
        let scale = self.decided.scale;
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
        if self.decided.confirming_rows > 0
            && let Some(Vote::Scale(at)) =
                self.turnover().map(|t| t.vote(&self.understood.possible))
            && self.understood.possible[at] != scale
        {
            return Err(self.refuse_unit(format!(
                "must be {} like the rows before",
                scale.volume.name()
            )));
        }
        self.last = Some((symbol, time_ns));
        Ok(bar)
    }

    /// Checks that the row has the cells of the header. Empty ones at the end are the work of a comma too many.
    fn check_cells(&self) -> Result<(), QuantError> {
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

    /// Checks that columns of one meaning agree.
    fn check_twins(&self) -> Result<(), QuantError> {
        for (first, other) in &self.understood.columns.twins {
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

    fn symbol(&self) -> Result<Symbol, QuantError> {
        let Some(column) = self.understood.columns.symbol else {
            // The constructors make sure that there is one.
            return self
                .options
                .symbol
                .ok_or_else(|| self.refuse(0, "has no symbol"));
        };
        let cell = self.cell(column);
        // A bare code is that of the instrument that the table is known to hold.
        let given = self.options.symbol.filter(|given| {
            let digits = given.as_str().split_once('.').map(|(digits, _)| digits);
            digits == Some(cell.trim())
        });
        if let Some(given) = given {
            return Ok(given);
        }
        let parsed = match self.understood.layout {
            Layout::AkShare => Symbol::parse_stock(&cell),
            _ => Symbol::parse(&cell),
        };
        parsed.map_err(|error| match error {
            QuantError::Symbol { rule, .. } => self.refuse(column, rule),
            other => self.refuse(column, other.to_string()),
        })
    }

    /// Returns the zone of times without an offset.
    fn zone(&self) -> Zone {
        if let Some(zone) = &self.zone {
            return zone.clone();
        }
        self.symbol()
            .map_or(Zone::Unknown, |symbol| zone_of(symbol, &self.markets))
    }

    /// Returns the day and time of the row as written.
    fn written(&self, order: Option<DayOrder>) -> Result<Written, QuantError> {
        let c = &self.understood.columns;
        let parse = |column: usize, beside_day: bool| {
            Written::parse(&self.cell(column), order, beside_day)
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
                        .beside(parse(time, true)?)
                        .map_err(|rule| self.refuse(time, rule)),
                }
            }
            (None, None) => Err(self.refuse(0, "has no date")),
        }
    }

    fn time(&self, symbol: Symbol) -> Result<(Date, i64), QuantError> {
        let c = &self.understood.columns;
        let column = c.time.or(c.date).unwrap_or(0);
        let written = self.written(self.decided.day_order)?;
        let lacks = "must have a date, since there is no date column";
        let day = written.day.ok_or_else(|| self.refuse(column, lacks))?;
        let daily = |date: Date| (date, date.close_time_ns());
        match self.decided.clock {
            Clock::Day | Clock::WrittenMidnight if written.is_midnight() => Ok(daily(day)),
            Clock::ExchangeMidnight => written
                .midnight_at(&self.zone())
                .map(daily)
                .ok_or_else(|| self.refuse(column, "must be midnight like the rows before")),
            Clock::Exact if written.clock_ns.is_none() && c.date.is_some() && c.time.is_some() => {
                Err(self.refuse(column, "must have a time like the other rows"))
            }
            // A bare day is its midnight, which is how spreadsheets write one among other times.
            Clock::Exact => {
                let before = self.last.filter(|(last, _)| *last == symbol);
                let moment = written
                    .moment(&self.zone(), before.map(|(_, time_ns)| time_ns))
                    .map_err(|rule| self.refuse(column, rule))?;
                Ok((moment.date, moment.time_ns))
            }
            Clock::Day | Clock::WrittenMidnight => {
                Err(self.refuse(column, "must be a day without a time like the rows before"))
            }
        }
    }

    /// Checks that all rows are adjusted in one way.
    fn check_flag(&self, column: usize) -> Result<(), QuantError> {
        let first = self.decided.adjust_flag.as_deref().unwrap_or("3");
        let cell = self.cell(column);
        match cell.as_str() {
            flag if flag == first && ["1", "2", "3"].contains(&flag) => Ok(()),
            _ => Err(self.refuse(
                column,
                format!("must be {first} like the rows before: 3 as traded, 2 forward and 1 backward adjusted"),
            )),
        }
    }

    fn flag(&self, column: usize) -> Result<bool, QuantError> {
        match self.cell(column).to_lowercase().as_str() {
            "1" | "1.0" | "true" | "yes" | "y" | "是" => Ok(true),
            "" | "0" | "0.0" | "false" | "no" | "n" | "否" => Ok(false),
            _ => Err(self.refuse(column, "must be 1 or 0")),
        }
    }

    /// Returns the volume in the unit of the table; 0 on a day that the table calls one without a trade, since some vendors
    /// leave the cell empty then and others repeat an old value.
    fn volume(&self) -> Result<f64, QuantError> {
        let c = &self.understood.columns;
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

    /// Returns whether the row is of something whose price is money and whose lot is 100: points of an index are not, and
    /// bonds have other lots.
    fn is_traded(&self) -> bool {
        let Ok(symbol) = self.symbol() else {
            return false;
        };
        let in_hundreds = |listing: Listing<'_>| {
            let least = listing.class.orders.first().map_or(0, |order| order.min);
            listing.class.untradable.is_none() && least >= 100
        };
        symbol.exchange() == Exchange::Other || self.markets.of(symbol).is_some_and(in_hundreds)
    }

    /// Returns what the row says about the units, or `None` when it has no amount or is no stock's.
    fn turnover(&self) -> Option<Turnover> {
        let c = &self.understood.columns;
        Some(Turnover {
            amount: self.optional(c.amount).ok()??,
            low: self.number(c.low).ok()?,
            high: self.number(c.high).ok()?,
            volume: self.number(c.volume).ok()?,
        })
        .filter(|_| self.is_traded())
    }

    fn refuse_unit(&self, rule: impl Into<String>) -> QuantError {
        let c = &self.understood.columns;
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

    fn number(&self, column: usize) -> Result<f64, QuantError> {
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

    fn optional(&self, column: Option<usize>) -> Result<Option<f64>, QuantError> {
        match column {
            Some(column) if !self.row.cell(column).trim_ascii().is_empty() => {
                self.number(column).map(Some)
            }
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
        text(self.row.cell(column), self.encoding)
    }

    fn refuse(&self, column: usize, rule: impl Into<String>) -> QuantError {
        QuantError::Row {
            source_name: self.source_name.clone(),
            line: self.row.line,
            column: self.names.get(column).cloned().unwrap_or_default(),
            rule: rule.into(),
            value: self.cell(column).chars().take(64).collect(),
        }
    }

    /// Refuses a row as a whole.
    fn refuse_row(&self, rule: String, value: String) -> QuantError {
        QuantError::Row {
            source_name: self.source_name.clone(),
            line: self.row.line,
            column: "*".into(),
            rule,
            value,
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

/// The day and time of one bar, spelled as in a table, before it is known whether the rows beside it are days or moments.
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
    /// Reads a day, a time that has its day, or both. `markets` know where the clock of an instrument stands.
    ///
    /// # Errors
    /// Returns the rule that the texts break.
    pub fn parse(
        symbol: Symbol,
        day: Option<&str>,
        time: Option<&str>,
        markets: &Markets,
    ) -> Result<Self, String> {
        let parse = |text: &str, beside_day: bool| {
            Written::parse(text, None, beside_day).map_err(|rule| format!("{rule}, got {text:?}"))
        };
        let written = match (day, time) {
            (None, None) => return Err("date or time must be there".into()),
            (Some(text), None) | (None, Some(text)) => parse(text, false)?,
            (Some(day), Some(time)) => parse(day, false)?.beside(parse(time, true)?)?,
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

/// Reads the day and time of one bar, spelled as in a table: a day, a time that has its day, or both. Without a time of
/// day, and at the midnight that a day is written with, it is that of a daily bar. Returns the day and UTC nanoseconds.
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

/// Returns the zone of an instrument's exchange.
fn zone_of(symbol: Symbol, markets: &Markets) -> Zone {
    match markets.of(symbol) {
        _ if symbol.exchange() != Exchange::Other => Zone::Fixed(8 * 3600),
        Some(listing) => Zone::Named(listing.market.timezone.clone()),
        None => Zone::Unknown,
    }
}

/// Returns a number without the commas that group its thousands, or `None` when they do not.
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

fn named_zone(name: &str) -> Result<Zone, QuantError> {
    let zone = jiff::tz::TimeZone::get(name).map_err(|_| {
        let rule = "must be an IANA time zone, such as Asia/Shanghai or UTC";
        QuantError::value("table", "zone", rule, name)
    })?;
    Ok(Zone::Named(zone))
}

/// Returns a cell as text, without spaces. Bytes that are not in the encoding become `�`.
fn text(cell: &[u8], encoding: Encoding) -> String {
    let decoded = encoding
        .decode(cell)
        .unwrap_or_else(|| String::from_utf8_lossy(cell));
    decoded.trim().to_owned()
}

fn io(source_name: &str, source: std::io::Error) -> QuantError {
    QuantError::Io {
        source_name: source_name.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
