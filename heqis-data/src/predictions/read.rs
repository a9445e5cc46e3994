//! Files → [`Predictions`].
//!
//! The content of a file determines its format, not its name: CSV (RFC 4180), gzip-compressed CSV, or Parquet. The header
//! is line 1.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use heqis_quant::rules::Markets;
use heqis_quant::target::TargetKind;
use heqis_quant::{Prediction, QuantError, Symbol};

use super::packed::Bounded;
use super::{Predictions, Row};
use crate::bar_file::text_of;
use crate::bars::Stamp;
use crate::error::DataError;

/// Columns with their accepted names, the first of which is written, and whether they are required.
const COLUMNS: [(&[&str], bool); 9] = [
    (&["symbol", "ts_code", "ticker", "code"], true),
    (&["date", "trade_date", "datetime", "timestamp"], true),
    (&["time"], false),
    (&["predicted_return"], true),
    (&["p_down", "down"], false),
    (&["p_flat", "flat"], false),
    (&["p_up", "up"], false),
    (&["fitted_to"], false),
    (&["target"], false),
];
const SYMBOL: usize = 0;
const DATE: usize = 1;
const TIME: usize = 2;
const RETURN: usize = 3;
const DOWN: usize = 4;
const FITTED_TO: usize = 7;
const TARGET: usize = 8;

impl Predictions {
    /// Reads a table: CSV, gzip-compressed CSV, or Parquet.
    ///
    /// Columns may be in any order; unknown ones are not read, and listed in [`Coverage`](super::Coverage).
    ///
    /// # Errors
    /// [`DataError::File`] when the file cannot be opened or read, [`DataError::Rule`] when it is a pipe or device or its
    /// header is not that of predictions, and [`DataError::Table`] with line, column, rule and value when a row breaks a
    /// rule: an invalid symbol, day or time, a non-finite number, probabilities that do not sum to 1, a duplicate row.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        Self::from_csv(path, text_of(path)?)
    }

    /// Reads CSV text; messages name it `path`.
    ///
    /// # Errors
    /// As [`Predictions::read`].
    pub fn from_csv(path: &Path, read: impl Read) -> Result<Self, DataError> {
        let failed = |error: csv::Error| DataError::file(path, std::io::Error::other(error));
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(Bounded::new(read));
        let mut record = csv::ByteRecord::new();
        let mut table: Option<TableReader> = None;
        while reader.read_byte_record(&mut record).map_err(failed)? {
            let Some(table) = &mut table else {
                let mut cells: Vec<String> = record
                    .iter()
                    .map(|cell| String::from_utf8_lossy(cell).into_owned())
                    .collect();
                if let Some(first) = cells.first_mut() {
                    *first = first.trim_start_matches('\u{feff}').trim().to_owned();
                }
                table = Some(TableReader::new(path, cells)?);
                continue;
            };
            let line = record.position().map_or(0, csv::Position::line);
            let width = table.names.len();
            // Rows with additional commas at the end are common and harmless.
            if record.len() < width || record.iter().skip(width).any(|cell| !cell.is_empty()) {
                let rule = format!("must have {width} cells like the header");
                let got = format!("{} cells", record.len());
                return Err(table.refuse(line, "*", rule, &got).into());
            }
            table.push(line, |column| std::str::from_utf8(record.get(column)?).ok())?;
        }
        match table {
            Some(table) => table.finish(),
            None => Err(TableReader::no_header(path, "nothing")),
        }
    }
}

/// Parses the rows of a table.
struct TableReader {
    source: String,
    names: Vec<String>,
    /// The index of each known column.
    columns: [Option<usize>; COLUMNS.len()],
    rows: BTreeMap<Symbol, Vec<Row>>,
    /// The symbol of the previous row, since rows of one stock are mostly adjacent.
    last: Option<(String, Symbol)>,
    /// The time zones of instruments.
    markets: Markets,
    /// The first row with a written time other than midnight, and the first without a time.
    timed: Option<u64>,
    untimed: Option<u64>,
    /// Whether every row is at midnight in the zone of its exchange.
    all_begin_days: bool,
    /// The units of the first row.
    kind: Option<TargetKind>,
    without_probabilities: Option<u32>,
}

impl TableReader {
    fn no_header(path: &Path, got: &str) -> DataError {
        let known: Vec<&str> = COLUMNS.iter().map(|(names, _)| names[0]).collect();
        let rule = format!(
            "must have a header with symbol, date and predicted_return, of {}",
            known.join(", ")
        );
        DataError::rule_got(path.display().to_string(), rule, got)
    }

    fn new(path: &Path, names: Vec<String>) -> Result<Self, DataError> {
        let mut columns = [None; COLUMNS.len()];
        for (at, name) in names.iter().enumerate() {
            let key = name.to_lowercase();
            let known = COLUMNS
                .iter()
                .position(|(spellings, _)| spellings.contains(&key.as_str()));
            let Some(known) = known else { continue };
            if let Some(other) = columns[known].replace(at) {
                let other: &str = &names[other];
                let rule = format!("must have one column of {}", COLUMNS[known].0[0]);
                let got = format!("{other} and {name}");
                return Err(DataError::rule_got(path.display().to_string(), rule, got));
            }
        }
        let lacks = |known: usize| COLUMNS[known].1 && columns[known].is_none();
        let classes = columns[DOWN..=DOWN + 2].iter().flatten().count();
        if (0..COLUMNS.len()).any(lacks) || ![0, 3].contains(&classes) {
            let rule = match classes {
                0 | 3 => return Err(Self::no_header(path, &names.join(","))),
                _ => "must have all of p_down, p_flat and p_up, or none",
            };
            let place = path.display().to_string();
            return Err(DataError::rule_got(place, rule, names.join(",")));
        }
        Ok(Self {
            source: path.display().to_string(),
            names,
            columns,
            rows: BTreeMap::new(),
            last: None,
            markets: Markets::shipped()?,
            timed: None,
            untimed: None,
            all_begin_days: true,
            kind: None,
            without_probabilities: None,
        })
    }

    fn refuse(&self, line: u64, column: &str, rule: impl Into<String>, got: &str) -> QuantError {
        QuantError::Row {
            source_name: self.source.clone(),
            line,
            column: column.to_owned(),
            rule: rule.into(),
            value: got.chars().take(64).collect(),
        }
    }

    /// Adds a row; `cell` gives the text of a column, or `None` where it is no text.
    fn push<'c>(
        &mut self,
        line: u64,
        cell: impl Fn(usize) -> Option<&'c str>,
    ) -> Result<(), QuantError> {
        let text = |known: usize| -> Result<&'c str, QuantError> {
            match self.columns[known] {
                None => Ok(""),
                Some(column) => cell(column).ok_or_else(|| {
                    self.refuse(
                        line,
                        &self.names[column],
                        "must be text in UTF-8",
                        "other bytes",
                    )
                }),
            }
        };
        let refuse = |known: usize, rule: &str, got: &str| {
            let name = self.columns[known].map_or(COLUMNS[known].0[0], |at| &self.names[at]);
            self.refuse(line, name, rule, got)
        };
        let number = |known: usize| -> Result<f64, QuantError> {
            let text = text(known)?;
            let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
            value.ok_or_else(|| refuse(known, "must be a finite number", text))
        };

        let name = text(SYMBOL)?;
        let symbol = match &self.last {
            Some((last, symbol)) if last == name => *symbol,
            _ => Symbol::parse(name).map_err(|error| refuse(SYMBOL, &rule_of(&error), name))?,
        };
        let (day, time) = (text(DATE)?, text(TIME)?);
        let time_column = Some(time).filter(|time| !time.is_empty());
        let stamp = Stamp::parse(symbol, Some(day), time_column, &self.markets);
        let stamp = stamp.map_err(|rule| refuse(DATE, &rule, &format!("{day} {time}")))?;
        let predicted_return = number(RETURN)?;
        let [down, flat, up] = [DOWN, DOWN + 1, DOWN + 2].map(text);
        let probabilities = match [down?, flat?, up?] {
            ["", "", ""] => [f64::NAN; 3],
            _ => {
                let [down, flat, up] = [DOWN, DOWN + 1, DOWN + 2].map(number);
                let probabilities = [down?, flat?, up?];
                let prediction = Prediction {
                    predicted_return,
                    probabilities,
                };
                if !prediction.is_valid() {
                    let rule = "must be probabilities of 0 to 1 that sum to 1 within 0.001";
                    let got = probabilities.map(|p| p.to_string()).join(", ");
                    return Err(refuse(DOWN, rule, &got));
                }
                probabilities
            }
        };
        let fitted_to = match text(FITTED_TO)? {
            "" => None,
            text => {
                let day = Stamp::parse(symbol, Some(text), None, &self.markets);
                Some(day.map_err(|rule| refuse(FITTED_TO, &rule, text))?.written)
            }
        };

        let kind = text(TARGET)?;
        let parsed = TargetKind::ALL
            .into_iter()
            .find(|known| known.name() == kind);
        let parsed = parsed.or(kind.is_empty().then_some(TargetKind::Return));
        let Some(parsed) = parsed.filter(|kind| self.kind.is_none_or(|first| first == *kind))
        else {
            let rule = "must be one of return, excess, rank and z, the same in every row";
            return Err(refuse(TARGET, rule, kind));
        };
        self.kind = Some(parsed);

        let line32 = u32::try_from(line).unwrap_or(u32::MAX);
        if probabilities[0].is_nan() {
            self.without_probabilities.get_or_insert(line32);
        }
        if !stamp.is_midnight {
            self.timed.get_or_insert(line);
        }
        if !stamp.has_clock {
            self.untimed.get_or_insert(line);
        }
        self.all_begin_days &= stamp.begins.is_some();
        if self.last.as_ref().is_none_or(|(last, _)| last != name) {
            self.last = Some((name.to_owned(), symbol));
        }
        self.rows.entry(symbol).or_default().push(Row {
            time_ns: stamp.time_ns,
            // The day of the row in a table of days.
            date: match stamp.is_midnight {
                true => stamp.written,
                false => stamp.begins.unwrap_or(stamp.date),
            },
            predicted_return,
            probabilities,
            fitted_to,
            line: line32,
        });
        Ok(())
    }

    /// Decides between days and times, and sorts the rows.
    fn finish(mut self) -> Result<Predictions, DataError> {
        // Data frames write days as midnight, as written or in the zone of the exchange. If all rows are such, they are days.
        let by_day = self.timed.is_none() || self.all_begin_days;
        if let (Some(timed), Some(untimed)) = (self.timed, self.untimed) {
            let rule = format!("must have a time of day like line {timed}");
            return Err(self.refuse(untimed, "date", rule, "a day alone").into());
        }
        if self.rows.is_empty() {
            let rule = "must have a row after its header";
            return Err(DataError::rule_got(&self.source, rule, "none"));
        }
        for (symbol, rows) in &mut self.rows {
            if by_day {
                for row in rows.iter_mut() {
                    row.time_ns = row.date.close_time_ns();
                }
            }
            rows.sort_by_key(|row| (row.time_ns, row.line));
            let twice = rows
                .windows(2)
                .find(|pair| pair[0].time_ns == pair[1].time_ns);
            if let Some(pair) = twice {
                return Err(QuantError::Row {
                    source_name: self.source,
                    line: pair[1].line.into(),
                    column: "symbol, date".to_owned(),
                    rule: format!("must not be a duplicate of line {}", pair[0].line),
                    value: format!("{symbol} {}", pair[1].date),
                }
                .into());
            }
            rows.shrink_to_fit();
        }
        let read = |at: usize| self.columns.contains(&Some(at));
        let ignored = self.names.iter().enumerate().filter(|(at, _)| !read(*at));
        Ok(Predictions {
            ignored_columns: ignored
                .map(|(at, name)| match name.is_empty() {
                    true => format!("column {} without a name", at + 1),
                    false => name.clone(),
                })
                .collect(),
            source: self.source,
            rows: self.rows,
            by_day,
            kind: self.kind.unwrap_or_default(),
            without_probabilities: self.without_probabilities,
        })
    }
}

/// Returns the rule of an error without its value, which the error of the row gives.
fn rule_of(error: &QuantError) -> String {
    match error {
        QuantError::Symbol { rule, .. } => rule.to_string(),
        other => other.to_string(),
    }
}
