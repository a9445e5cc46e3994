//! CSV text to bars, one row at a time.
//!
//! The header decides the layout. Column names are compared without case, spaces and underscores, in any order.
//!
//! | layout | known by | volume | amount |
//! |---|---|---|---|
//! | [`Layout::Tushare`] | `ts_code` or `trade_date` | `vol`, lots of 100 shares | `amount`, thousand CNY |
//! | [`Layout::Plain`] | `date` | `volume`, shares | `amount`, CNY |
//!
//! Both need a date, open, high, low, close and a volume; symbol (`ts_code`, `ticker`, `symbol`, `code`), `pre_close`
//! and `amount` are optional. Vendor-adjusted closes and all other columns are left out and listed by
//! [`BarReader::ignored_columns`], so that nothing is dropped without a trace.

use std::io::Read;

use csv::ByteRecord;

use crate::{Bar, Date, Marks, QuantError, Symbol};

/// The family of a table, which fixes the units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Volume in lots of 100 shares, amount in thousand CNY.
    Tushare,
    /// Volume in shares, amount in CNY: Yahoo and most plain tables.
    Plain,
}

/// Where each value stands in a row.
#[derive(Clone, Debug)]
struct Columns {
    symbol: Option<usize>,
    date: usize,
    open: usize,
    high: usize,
    low: usize,
    close: usize,
    pre_close: Option<usize>,
    volume: usize,
    amount: Option<usize>,
}

/// Reads bars from a CSV table, streaming.
///
/// The iterator gives one `Result` for each row; a bad row is an error that names file, line, column, rule and value,
/// and does not end the iteration. Only a failing reader ends it, after one [`QuantError::Io`].
pub struct BarReader<R> {
    rows: csv::Reader<R>,
    record: ByteRecord,
    names: Vec<String>,
    columns: Columns,
    layout: Layout,
    ignored: Vec<String>,
    default_symbol: Option<Symbol>,
    source_name: String,
    finished: bool,
}

impl<R: Read> BarReader<R> {
    /// Reads the header of a table.
    ///
    /// `default_symbol` names the instrument of a table without a symbol column; `source_name` is the name that errors
    /// carry, usually the file name. A table with a symbol column ignores `default_symbol`.
    ///
    /// # Errors
    /// Returns [`QuantError::Header`] when the header is missing, unknown, ambiguous or repeats a column, or when no
    /// symbol is known, and [`QuantError::Io`] when reading fails.
    pub fn new(
        read: R,
        default_symbol: Option<Symbol>,
        source_name: impl Into<String>,
    ) -> Result<Self, QuantError> {
        let source_name = source_name.into();
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
        let names: Vec<String> = record.iter().map(text).collect();
        let header = Header {
            source_name: &source_name,
            names: &names,
        };
        let (layout, columns) = header.columns()?;
        if columns.symbol.is_none() && default_symbol.is_none() {
            return Err(header.refuse(
                "has no symbol column (ts_code, ticker, symbol, code), so the symbol must be given",
            ));
        }
        let ignored = header.ignored(&columns);
        Ok(Self {
            rows,
            record,
            columns,
            layout,
            ignored,
            names,
            default_symbol,
            source_name,
            finished: false,
        })
    }

    /// Returns the layout that the header showed.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns the columns that are not read, as the header spells them.
    #[must_use]
    pub fn ignored_columns(&self) -> &[String] {
        &self.ignored
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
        let symbol = match (c.symbol, self.default_symbol) {
            (Some(column), _) => {
                let cell = self.cell(column);
                Symbol::parse(&cell).map_err(|error| self.refuse(column, rule_of(&error)))?
            }
            (None, Some(symbol)) => symbol,
            (None, None) => return Err(self.refuse(c.date, "has no symbol")),
        };
        let cell = self.cell(c.date);
        let date = Date::parse(&cell).map_err(|error| self.refuse(c.date, rule_of(&error)))?;
        let (per_volume, per_amount) = match self.layout {
            Layout::Tushare => (100.0, 1000.0),
            Layout::Plain => (1.0, 1.0),
        };
        Ok(Bar {
            symbol,
            time_ns: date.close_time_ns(),
            date,
            open: self.number(c.open)?,
            high: self.number(c.high)?,
            low: self.number(c.low)?,
            close: self.number(c.close)?,
            pre_close: self.optional(c.pre_close)?,
            volume_shares: self.scaled(c.volume, self.number(c.volume)?, per_volume)?,
            amount_cny: match (c.amount, self.optional(c.amount)?) {
                (Some(column), Some(amount)) => Some(self.scaled(column, amount, per_amount)?),
                _ => None,
            },
            marks: Marks::NONE,
        })
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
        self.record.get(column).map(text).unwrap_or_default()
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
}

impl<R: Read> Iterator for BarReader<R> {
    type Item = Result<Bar, QuantError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        match self.rows.read_byte_record(&mut self.record) {
            Ok(true) => Some(self.bar()),
            Ok(false) => {
                self.finished = true;
                None
            }
            Err(error) => {
                self.finished = true;
                Some(Err(io(&self.source_name, error)))
            }
        }
    }
}

/// A header while it is being understood.
struct Header<'a> {
    source_name: &'a str,
    names: &'a [String],
}

impl Header<'_> {
    fn columns(&self) -> Result<(Layout, Columns), QuantError> {
        let keys: Vec<String> = self.names.iter().map(|name| key(name)).collect();
        for (i, name) in keys.iter().enumerate() {
            if !name.is_empty() && keys[..i].contains(name) {
                return Err(self.refuse(format!("repeats the column {:?}", self.names[i])));
            }
        }
        let one = |known: &[&str]| -> Result<Option<usize>, QuantError> {
            let mut found = (0..keys.len()).filter(|i| known.contains(&keys[*i].as_str()));
            match (found.next(), found.next()) {
                (Some(a), Some(b)) => Err(self.refuse(format!(
                    "has two columns for one value, {:?} and {:?}",
                    self.names[a], self.names[b]
                ))),
                (first, _) => Ok(first),
            }
        };
        let date = one(&["date", "tradedate"])?;
        let prices = [
            one(&["open"])?,
            one(&["high"])?,
            one(&["low"])?,
            one(&["close"])?,
        ];
        if date.is_none() && prices.iter().all(Option::is_none) {
            return Err(self.refuse(
                "is unknown; a table of bars starts with its column names, \
                 such as ts_code,trade_date,… or Date,Open,High,Low,Close,Volume",
            ));
        }
        let need = |found: Option<usize>, name: &str| {
            found.ok_or_else(|| self.refuse(format!("lacks the column {name}")))
        };
        let tushare = keys.iter().any(|k| k == "tscode" || k == "tradedate");
        let (lots, shares) = (one(&["vol"])?, one(&["volume"])?);
        let (layout, volume) = match (tushare, lots, shares) {
            (_, Some(_), Some(_)) => {
                return Err(self.refuse("has both vol and volume, so the unit is ambiguous"));
            }
            (true, Some(column), None) => (Layout::Tushare, column),
            (false, None, Some(column)) => (Layout::Plain, column),
            (true, None, _) => {
                return Err(self.refuse("is a Tushare table and lacks the column vol (lots)"));
            }
            (false, Some(_), None) => {
                return Err(self.refuse(
                    "has vol without ts_code or trade_date, so lots or shares is ambiguous; \
                     name the column volume if it counts shares",
                ));
            }
            (false, None, None) => return Err(self.refuse("lacks the column volume (shares)")),
        };
        let columns = Columns {
            symbol: one(&["tscode", "ticker", "symbol", "code"])?,
            date: need(date, "date")?,
            open: need(prices[0], "open")?,
            high: need(prices[1], "high")?,
            low: need(prices[2], "low")?,
            close: need(prices[3], "close")?,
            pre_close: one(&["preclose"])?,
            volume,
            amount: one(&["amount"])?,
        };
        Ok((layout, columns))
    }

    fn ignored(&self, c: &Columns) -> Vec<String> {
        let used = [
            c.symbol,
            Some(c.date),
            Some(c.open),
            Some(c.high),
            Some(c.low),
            Some(c.close),
            c.pre_close,
            Some(c.volume),
            c.amount,
        ];
        (0..self.names.len())
            .filter(|i| !used.contains(&Some(*i)))
            .map(|i| self.names[i].clone())
            .collect()
    }

    fn refuse(&self, rule: impl Into<String>) -> QuantError {
        QuantError::Header {
            source_name: self.source_name.to_owned(),
            rule: rule.into(),
            got: self.names.join(",").chars().take(200).collect(),
        }
    }
}

/// Returns a cell as text, without quotes and spaces. Bytes that are not UTF-8 become `�`. A byte-order mark before the
/// header is gone by then: the CSV reader drops it.
fn text(cell: &[u8]) -> String {
    let cell = String::from_utf8_lossy(cell);
    let cell = cell.trim();
    let bare = cell.strip_prefix('"').and_then(|c| c.strip_suffix('"'));
    bare.unwrap_or(cell).trim().to_owned()
}

fn key(name: &str) -> String {
    name.chars()
        .filter(|c| !c.is_whitespace() && *c != '_')
        .flat_map(char::to_lowercase)
        .collect()
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn stock() -> Option<Symbol> {
        Some(Symbol::parse("002032.SZ").unwrap())
    }

    fn bars(text: &str) -> Vec<Result<Bar, QuantError>> {
        BarReader::new(text.as_bytes(), stock(), "t.csv")
            .unwrap()
            .collect()
    }

    fn header_error(text: &str) -> String {
        match BarReader::new(text.as_bytes(), stock(), "t.csv") {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{text:?} was accepted"),
        }
    }

    #[test]
    fn a_tushare_table_counts_lots_and_thousands() {
        let text = "ts_code,trade_date,open,high,low,close,pre_close,change,pct_chg,vol,amount\n\
                    600000.SH,19991111,27.58,28.38,27.53,27.71,27.75,-0.04,-0.1441,294034,821582\n";
        let reader = BarReader::new(text.as_bytes(), None, "t.csv").unwrap();
        assert_eq!(reader.layout(), Layout::Tushare);
        assert_eq!(reader.ignored_columns(), ["change", "pct_chg"]);
        let bar = reader.map(Result::unwrap).next().unwrap();
        assert_eq!(bar.symbol.as_str(), "600000.SH");
        assert_eq!(bar.volume_shares, 29_403_400.0);
        assert_eq!(bar.amount_cny, Some(821_582_000.0));
        assert_eq!(bar.pre_close, Some(27.75));
    }

    #[test]
    fn plain_tables_are_read_whatever_the_order_the_case_the_quotes_and_the_mark() {
        for text in [
            "Date,Open,High,Low,Close,Adj Close,Volume\n1999-11-10,2,4,1,3,0.5,700\n",
            "\u{feff}date,volume,close,high,low,open,adjClose\r\n19991110.0,700.0,3,4,1,2,-1\r\n",
            "\"DATE\",\"VOLUME\",\"CLOSE\",\"HIGH\",\"LOW\",\"OPEN\"\n\n\"11/10/1999\",\"700\",\"3\",\"4\",\"1\",\"2\"",
        ] {
            let bar = *bars(text)[0].as_ref().unwrap();
            assert_eq!(bar.date.to_string(), "1999-11-10");
            assert_eq!(
                (bar.open, bar.high, bar.low, bar.close),
                (2.0, 4.0, 1.0, 3.0)
            );
            assert_eq!((bar.volume_shares, bar.amount_cny), (700.0, None));
        }
    }

    #[test]
    fn a_bad_row_names_its_place_and_the_next_row_is_still_read() {
        let text = "date,open,high,low,close,volume\n\
                    19991110,2,4,1,3,700\n\
                    19991111,2,4,1,NaN,700\n\
                    19991112,2,4,1,3\n\
                    1999111x,2,4,1,3,700\n\
                    19991116,2,\"4,1,3,700\n\
                    19991117,2,4,1,3,700\n";
        let results = bars(text);
        let messages: Vec<String> = results
            .iter()
            .filter_map(|r| r.as_ref().err())
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            messages,
            [
                "t.csv line 3, column close: must be a finite decimal number, got \"NaN\"",
                "t.csv line 4, column *: must have 6 cells like the header, got \"5 cells\"",
                "t.csv line 5, column date: must be written YYYYMMDD, YYYY-MM-DD, YYYY/M/D or M/D/YYYY, got \"1999111x\"",
                "t.csv line 6, column high: must be a finite decimal number, got \"\\\"4\"",
            ]
        );
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 2);
    }

    #[test]
    fn a_header_that_cannot_be_trusted_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", "must not be empty"),
            ("a,b,c\n1,2,3", "is unknown"),
            ("19991110,1,2,3,4,5\n", "is unknown"),
            ("date,open,high,low,volume\n", "lacks the column close"),
            ("date,open,high,low,close\n", "lacks the column volume"),
            ("date,open,high,low,close,vol\n", "ambiguous"),
            ("date,open,high,low,close,vol,volume\n", "ambiguous"),
            (
                "ts_code,trade_date,open,high,low,close,volume\n",
                "lacks the column vol",
            ),
            (
                "date,open,high,low,close,Close,volume\n",
                "repeats the column \"Close\"",
            ),
            (
                "date,trade_date,open,high,low,close,vol\n",
                "two columns for one value",
            ),
        ] {
            let message = header_error(text);
            assert!(
                message.starts_with("t.csv header: ") && message.contains(reason),
                "{message}"
            );
        }
        let nameless = BarReader::new(
            "date,open,high,low,close,volume\n".as_bytes(),
            None,
            "t.csv",
        );
        assert!(
            nameless
                .err()
                .unwrap()
                .to_string()
                .contains("symbol must be given")
        );
    }

    #[test]
    fn a_failing_reader_ends_the_rows_with_one_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("the cable is out"))
            }
        }
        let text = "date,open,high,low,close,volume\n19991110,2,4,1,3,700\n".as_bytes();
        let results: Vec<_> = BarReader::new(text.chain(Broken), stock(), "t.csv")
            .unwrap()
            .collect();
        assert!(results[0].is_ok());
        assert!(
            results[1]
                .as_ref()
                .unwrap_err()
                .to_string()
                .contains("the cable is out")
        );
        assert_eq!(results.len(), 2);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(reader) = BarReader::new(&bytes[..], stock(), "t.csv") {
                reader.for_each(drop);
            }
        }

        #[test]
        fn random_rows_under_a_good_header_give_one_result_each(
            rows in proptest::collection::vec("[-0-9eE.,\"/ a]{1,40}", 0..20)
        ) {
            let text = format!("date,open,high,low,close,volume,amount\n{}", rows.join("\n"));
            prop_assert_eq!(bars(&text).len(), rows.len());
        }

        #[test]
        fn a_written_bar_is_read_back_to_the_bit(
            prices in proptest::collection::vec(0.01f64..10_000.0, 4), volume in 0u64..u64::MAX >> 12, days in 0i32..20_000
        ) {
            let date = Date::from_days(days).unwrap();
            let text = format!("Date,Open,High,Low,Close,Volume\n{date},{},{},{},{},{volume}", prices[0], prices[1], prices[2], prices[3]);
            let bar = *bars(&text)[0].as_ref().unwrap();
            prop_assert_eq!(vec![bar.open, bar.high, bar.low, bar.close], prices);
            prop_assert_eq!(bar.volume_shares, volume as f64);
            prop_assert_eq!(bar.time_ns, date.close_time_ns());
        }
    }
}
