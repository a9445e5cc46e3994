//! Small vendor tables that are read as a whole: names, calendars, events. Tables of bars have their own reader, since they
//! may be streams.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use crate::date::Date;
use crate::encoding::Encoding;
use crate::error::QuantError;
use crate::symbol::Symbol;

/// A row of a vendor's table that cannot be used. It affects at most its own stock; the other rows are kept.
#[derive(Debug)]
pub struct BadRow {
    /// The stock, if the row has one.
    pub symbol: Option<Symbol>,
    /// The day, if the row has one.
    pub date: Option<Date>,
    /// File, line, column, rule and value.
    pub error: QuantError,
}

/// The contents of a table by stock, and its rows that cannot be used.
pub type ByStock<T> = (BTreeMap<Symbol, T>, Vec<BadRow>);

/// A table with its header.
pub(crate) struct Records {
    rows: csv::StringRecordsIntoIter<std::io::Cursor<String>>,
    heading: Arc<Heading>,
}

struct Heading {
    source_name: String,
    names: Vec<String>,
}

/// One row, with its place for errors.
#[derive(Clone)]
pub(crate) struct Record {
    cells: csv::StringRecord,
    line: u64,
    heading: Arc<Heading>,
}

impl Records {
    /// Reads a table and its header.
    pub(crate) fn new(
        mut read: impl Read,
        source_name: impl Into<String>,
    ) -> Result<Self, QuantError> {
        let source_name = source_name.into();
        let mut bytes = Vec::new();
        if let Err(source) = read.read_to_end(&mut bytes) {
            return Err(QuantError::Io {
                source_name,
                source,
            });
        }
        let decoded = Encoding::of(&bytes)
            .map(|encoding| encoding.decode(&bytes).unwrap_or_default().into_owned());
        let text = match decoded {
            Ok(text) => text,
            Err(rule) => {
                return Err(QuantError::Header {
                    source_name,
                    rule: rule.into(),
                    got: String::from_utf8_lossy(&bytes).chars().take(64).collect(),
                });
            }
        };
        let mut rows = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(std::io::Cursor::new(text))
            .into_records();
        let names: Vec<String> = match rows.next() {
            Some(Ok(row)) => row.iter().map(str::to_lowercase).collect(),
            _ => {
                return Err(QuantError::Header {
                    source_name,
                    rule: "must not be empty".into(),
                    got: String::new(),
                });
            }
        };
        Ok(Self {
            rows,
            heading: Arc::new(Heading { source_name, names }),
        })
    }

    /// Returns the index of a column.
    pub(crate) fn column(&self, name: &str) -> Result<usize, QuantError> {
        self.optional_column(name)?
            .ok_or_else(|| self.refuse_header(format!("lacks the column {name}")))
    }

    /// Returns the index of a column, if there is one.
    pub(crate) fn optional_column(&self, name: &str) -> Result<Option<usize>, QuantError> {
        let mut found = (0..self.heading.names.len()).filter(|i| self.heading.names[*i] == name);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(self.refuse_header(format!("repeats the column {name}"))),
            (first, None) => Ok(first),
        }
    }

    fn refuse_header(&self, rule: String) -> QuantError {
        QuantError::Header {
            source_name: self.heading.source_name.clone(),
            rule,
            got: self.heading.names.join(",").chars().take(200).collect(),
        }
    }

    /// Calls `take` with every row. A row that cannot be used becomes a [`BadRow`] with the stock of the column `code` and
    /// the day of the column `day`.
    ///
    /// # Errors
    /// Returns [`QuantError::Io`] if reading fails.
    pub(crate) fn each(
        &mut self,
        code: usize,
        day: Option<usize>,
        mut take: impl FnMut(&Record) -> Result<(), QuantError>,
    ) -> Result<Vec<BadRow>, QuantError> {
        let mut bad = Vec::new();
        while let Some(record) = self.advance()? {
            if let Err(error) = record.whole().and_then(|()| take(&record)) {
                bad.push(BadRow {
                    symbol: record.symbol(code).ok(),
                    date: day.and_then(|day| record.date(day).ok()),
                    error,
                });
            }
        }
        Ok(bad)
    }

    /// Returns the next row.
    pub(crate) fn next_record(&mut self) -> Result<Option<Record>, QuantError> {
        let record = self.advance()?;
        if let Some(record) = &record {
            record.whole()?;
        }
        Ok(record)
    }

    fn advance(&mut self) -> Result<Option<Record>, QuantError> {
        match self.rows.next() {
            None => Ok(None),
            Some(Ok(cells)) => Ok(Some(Record {
                line: cells.position().map_or(0, csv::Position::line),
                cells,
                heading: Arc::clone(&self.heading),
            })),
            Some(Err(error)) => Err(QuantError::Io {
                source_name: self.heading.source_name.clone(),
                source: error.into(),
            }),
        }
    }
}

impl Record {
    /// Checks that the row has as many cells as the header; further empty ones are trailing commas.
    fn whole(&self) -> Result<(), QuantError> {
        let (got, expected) = (self.cells.len(), self.heading.names.len());
        if got == expected
            || (got > expected && self.cells.iter().skip(expected).all(str::is_empty))
        {
            return Ok(());
        }
        Err(QuantError::Row {
            source_name: self.heading.source_name.clone(),
            line: self.line,
            column: "*".into(),
            rule: format!("must have {expected} cells like the header"),
            value: format!("{got} cells"),
        })
    }

    fn cell(&self, column: usize) -> &str {
        self.cells.get(column).unwrap_or_default()
    }

    /// Returns a text, which must not be empty.
    pub(crate) fn text(&self, column: usize) -> Result<String, QuantError> {
        match self.cell(column) {
            "" => Err(self.refuse(column, "must not be empty")),
            text => Ok(text.to_owned()),
        }
    }

    /// Returns a text, or `None` if the cell is empty or has a missing-value word of data frames.
    pub(crate) fn optional_text(&self, column: usize) -> Option<String> {
        match self.cell(column) {
            "" | "None" | "NaN" | "nan" | "NaT" | "null" => None,
            text => Some(text.to_owned()),
        }
    }

    pub(crate) fn date(&self, column: usize) -> Result<Date, QuantError> {
        Date::parse(self.cell(column)).map_err(|error| self.refuse_as(column, &error))
    }

    pub(crate) fn optional_date(&self, column: usize) -> Result<Option<Date>, QuantError> {
        match self.optional_text(column) {
            None => Ok(None),
            Some(_) => self.date(column).map(Some),
        }
    }

    pub(crate) fn symbol(&self, column: usize) -> Result<Symbol, QuantError> {
        Symbol::parse(self.cell(column)).map_err(|error| self.refuse_as(column, &error))
    }

    /// Returns a finite number.
    pub(crate) fn number(&self, column: usize) -> Result<f64, QuantError> {
        match self.cell(column).parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(self.refuse(column, "must be a finite decimal number")),
        }
    }

    /// Returns a finite number, or `None` if the cell has no value.
    pub(crate) fn optional_number(&self, column: usize) -> Result<Option<f64>, QuantError> {
        match self.optional_text(column) {
            None => Ok(None),
            Some(_) => self.number(column).map(Some),
        }
    }

    /// Returns an error with file, line, column, rule and value.
    pub(crate) fn refuse(&self, column: usize, rule: impl Into<String>) -> QuantError {
        QuantError::Row {
            source_name: self.heading.source_name.clone(),
            line: self.line,
            column: self.heading.names.get(column).cloned().unwrap_or_default(),
            rule: rule.into(),
            value: self.cell(column).chars().take(64).collect(),
        }
    }

    fn refuse_as(&self, column: usize, error: &QuantError) -> QuantError {
        match error {
            QuantError::Symbol { rule, .. } => self.refuse(column, rule.clone()),
            QuantError::Date { rule, .. } => self.refuse(column, *rule),
            other => self.refuse(column, other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_in_both_encodings() {
        let text = "ts_code,name\n000004.SZ,国华网安\n";
        let (gbk, _, _) = encoding_rs::GBK.encode(text);
        let marked = format!("\u{feff}{text}");
        for bytes in [text.as_bytes(), &gbk, marked.as_bytes()] {
            let mut records = Records::new(bytes, "t.csv").unwrap();
            let name = records.column("name").unwrap();
            assert_eq!(records.column("ts_code").unwrap(), 0);
            let record = records.next_record().unwrap().unwrap();
            assert_eq!(record.text(name).unwrap(), "国华网安");
            assert!(records.next_record().unwrap().is_none());
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(mut records) = Records::new(&bytes[..], "t.csv") {
                while let Ok(Some(record)) = records.next_record() {
                    let _ = (record.date(0), record.symbol(0), record.number(0), record.text(9));
                }
            }
        }
    }
}
