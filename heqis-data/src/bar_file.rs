//! Opening files of bars. The content decides on the kind of a file; the name only gives the instrument of a table without
//! a symbol column.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use heqis_quant::rules::Markets;
use heqis_quant::{Bar, Exchange, Marks, QuantError, Symbol};

use serde::{Deserialize, Serialize};

use crate::bars::{BarReader, Detected, Prices, RowPlace, TableOptions};
use crate::error::DataError;
use crate::prices::PriceSurvey;

/// The bytes of a table as text.
type Text = Box<dyn Read + Send>;

/// The bars of one file, in the order of its rows. The next bar in time after an unreadable row of the same series is
/// marked [`Marks::HOLE`].
///
/// ```
/// use heqis_data::{TableOptions, open};
/// use heqis_quant::Marks;
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("AAPL.csv");
/// let text = "Date,Open,High,Low,Close,Volume\n\
///             2024-01-02,187,188,183,185,82000000\n\
///             2024-01-03,184,N/A,183,184,58000000\n\
///             2024-01-04,182,183,180,181,71000000\n";
/// std::fs::write(&path, text)?;
/// let rows: Vec<_> = open(&path, &TableOptions::default())?.collect();
/// let error = rows[1].as_ref().unwrap_err().to_string();
/// assert!(error.ends_with("AAPL.csv line 3, column High: must be a finite decimal number, got \"N/A\""), "{error}");
/// assert!(rows[2].as_ref().is_ok_and(|bar| bar.marks.contains(Marks::HOLE)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BarFile {
    reader: BarReader<Text>,
    /// A bar that is not yet returned, since the row after it may mark it.
    pending: Option<Bar>,
    /// The row after the pending bar.
    after_pending: Option<Result<Bar, QuantError>>,
    /// Series whose next bar follows a hole.
    with_hole: BTreeSet<Symbol>,
    /// The series of the last bar.
    last: Option<Symbol>,
    /// Series of adjusted prices, each with the reason.
    adjusted: BTreeMap<Symbol, String>,
}

/// Opens a file of bars: surveys all of its rows, then reads them again.
///
/// # Errors
/// [`DataError::File`] if it cannot be read, [`DataError::Rule`] if it is no regular file or of an unsupported kind, and
/// [`DataError::Table`] if header and rows are invalid or ambiguous.
pub fn open(path: &Path, options: &TableOptions) -> Result<BarFile, DataError> {
    let shown = path.display().to_string();
    let mut options = options.clone();
    let named = match (
        options.symbol,
        named_after(path, options.markets.as_deref()),
    ) {
        (Some(given), Ok(named)) if named != given && named.exchange() != Exchange::Other => {
            let rule = format!("is named after {named}, and the given symbol is {given}");
            return Err(DataError::kind(path, rule));
        }
        (Some(given), _) => Ok(given),
        (None, named) => named,
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    options.prices = options.prices.or_else(|| Prices::of_title(&stem));
    options.symbol = named.as_ref().ok().copied();
    let format = BarReader::survey(text_of(path)?, options.clone(), &shown)
        .map_err(|error| with_name(error, options.symbol.is_none(), &named))?;
    let reader = BarReader::with_format(text_of(path)?, options, format, shown)?;
    Ok(BarFile::of(reader))
}

/// A place between two bars of a file, for [`BarFile::skip_to`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePlace {
    rows: RowPlace,
    with_hole: BTreeSet<Symbol>,
    last: Option<Symbol>,
}

/// Like [`open`], and reads the file once more to find series of adjusted prices, whose bars are marked.
///
/// # Errors
/// Those of [`open`].
pub fn open_series(path: &Path, options: &TableOptions) -> Result<BarFile, DataError> {
    let mut file = open(path, options)?;
    if options.prices.is_none() && !file.detected().adjusted && !file.detected().has_time {
        let shipped = Arc::new(Markets::shipped()?);
        let markets = options.markets.as_ref().unwrap_or(&shipped);
        let mut surveys: BTreeMap<Symbol, PriceSurvey> = BTreeMap::new();
        let again = BarFile::of(file.reader.again(text_of(path)?)?);
        for bar in again.flatten() {
            surveys
                .entry(bar.symbol)
                .or_default()
                .observe(&bar, markets);
        }
        file.adjusted = surveys
            .into_iter()
            .filter_map(|(symbol, survey)| Some((symbol, survey.adjusted()?)))
            .collect();
    }
    Ok(file)
}

/// Adds to the error of a table without a symbol why the file name gives none.
fn with_name(error: QuantError, nameless: bool, named: &Result<Symbol, QuantError>) -> QuantError {
    match (error, named) {
        (
            QuantError::Header {
                source_name,
                rule,
                got,
            },
            Err(why),
        ) if nameless && rule.contains("no symbol column") => QuantError::Header {
            source_name,
            rule: format!("{rule}; the file name gives none: {why}"),
            got,
        },
        (error, _) => error,
    }
}

/// Returns the instrument in the name of a file. Without `markets`, the shipped ones are used.
///
/// # Errors
/// [`QuantError::Symbol`] if the name has no known instrument.
pub fn named_after(path: &Path, markets: Option<&Markets>) -> Result<Symbol, QuantError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut stem = name.as_ref();
    for ending in [".gz", ".csv", ".txt", ".tsv", ".parquet"] {
        let cut = stem.len().saturating_sub(ending.len());
        if stem
            .get(cut..)
            .is_some_and(|end| end.eq_ignore_ascii_case(ending))
            && cut > 0
        {
            stem = &stem[..cut];
        }
    }
    let symbol = Symbol::of_file_stem(stem)?;
    let known = match markets {
        Some(markets) => markets.of(symbol).is_some(),
        None => Markets::shipped()?.of(symbol).is_some(),
    };
    // A word in lower-case letters is an ordinary file name, even if it could be a ticker.
    let is_word = symbol.as_str().bytes().any(|b| b.is_ascii_lowercase());
    if symbol.exchange() != Exchange::Other || (known && !is_word) {
        return Ok(symbol);
    }
    Err(QuantError::Symbol {
        got: stem.to_owned(),
        rule: "must be the code of an instrument, such as 600000.SH, AAPL or BTCUSDT".into(),
    })
}

/// Opens a file as text: CSV as it is or compressed, Parquet as CSV.
///
/// # Errors
/// [`DataError::File`] and [`DataError::Rule`].
pub(crate) fn text_of(path: &Path) -> Result<Text, DataError> {
    let fault = |source| DataError::file(path, source);
    // Checked before it is opened: opening a pipe waits for its writer.
    let kind = std::fs::metadata(path).map_err(fault)?;
    if kind.is_dir() {
        return Err(DataError::kind(path, "must be a file, and is a directory"));
    }
    if !kind.is_file() {
        return Err(DataError::kind(
            path,
            "must be a regular file, since it is read twice; a pipe or device is not",
        ));
    }
    let mut file = File::open(path).map_err(fault)?;
    let mut magic = [0; 4];
    let mut got = 0;
    while got < magic.len() {
        match file.read(&mut magic[got..]).map_err(fault)? {
            0 => break,
            more => got += more,
        }
    }
    file.seek(SeekFrom::Start(0)).map_err(fault)?;
    match &magic {
        [0x1f, 0x8b, ..] => Ok(Box::new(flate2::read::MultiGzDecoder::new(file))),
        #[cfg(feature = "parquet")]
        b"PAR1" => Ok(Box::new(crate::parquet::ParquetText::open(path, file)?)),
        #[cfg(not(feature = "parquet"))]
        b"PAR1" => Err(DataError::kind(
            path,
            "is Parquet, which this program was built without; write it as CSV, or build with the Cargo feature parquet",
        )),
        b"PK\x03\x04" => Err(DataError::kind(
            path,
            "is a ZIP archive or a spreadsheet (.xlsx); save it as CSV",
        )),
        [0x28, 0xb5, 0x2f, 0xfd] => Err(DataError::kind(
            path,
            "is compressed with zstd; decompress it first",
        )),
        _ => Ok(Box::new(file)),
    }
}

impl BarFile {
    fn of(reader: BarReader<Text>) -> Self {
        Self {
            reader,
            pending: None,
            after_pending: None,
            with_hole: BTreeSet::new(),
            last: None,
            adjusted: BTreeMap::new(),
        }
    }

    /// Returns the place after the last row that was returned; `None` in a table whose newest row is first, which is read
    /// ahead.
    #[must_use]
    pub fn place(&self) -> Option<FilePlace> {
        (!self.reader.descends()).then(|| FilePlace {
            rows: self.reader.place(),
            with_hole: self.with_hole.clone(),
            last: self.last,
        })
    }

    /// Continues at a place of the same file, opened with the same options: what follows is what followed there. The rows
    /// before it are read as bytes only.
    ///
    /// # Errors
    /// [`QuantError::Io`] if the file cannot be read, or is shorter.
    pub fn skip_to(&mut self, place: &FilePlace) -> Result<(), QuantError> {
        self.reader.skip_to(&place.rows)?;
        self.with_hole.clone_from(&place.with_hole);
        self.last = place.last;
        Ok(())
    }

    /// Returns the detected properties of the table.
    #[must_use]
    pub fn detected(&self) -> &Detected {
        self.reader.detected()
    }

    /// Returns the series of adjusted prices, each with the reason: see [`open_series`].
    #[must_use]
    pub fn adjusted(&self) -> &BTreeMap<Symbol, String> {
        &self.adjusted
    }

    /// Returns the columns that are not read, as spelled in the header.
    #[must_use]
    pub fn ignored_columns(&self) -> &[String] {
        self.reader.ignored_columns()
    }
}

impl BarFile {
    /// Reads a row. The series of an unreadable row, or that of the row before if the symbol is unreadable too, gets a hole.
    fn read(&mut self) -> Option<Result<Bar, QuantError>> {
        let mut row = self.reader.next()?;
        match &mut row {
            Ok(bar) => {
                if self.with_hole.remove(&bar.symbol) {
                    bar.marks.insert(Marks::HOLE);
                }
                if self.adjusted.contains_key(&bar.symbol) {
                    bar.marks.insert(Marks::ADJUSTED);
                }
                self.last = Some(bar.symbol);
            }
            Err(_) => {
                let series = self.reader.row_symbol().or(self.last);
                let pending = self
                    .pending
                    .as_mut()
                    .filter(|bar| Some(bar.symbol) == series);
                match (self.reader.descends(), pending) {
                    // Newest first: the next bar in time is the row before.
                    (true, Some(bar)) => bar.marks.insert(Marks::HOLE),
                    (true, None) => {}
                    (false, _) => self.with_hole.extend(series),
                }
            }
        }
        Some(row)
    }
}

impl Iterator for BarFile {
    type Item = Result<Bar, QuantError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.reader.descends() {
            return self.read();
        }
        let row = match self.after_pending.take() {
            Some(row) => row,
            None => self.read()?,
        };
        let Ok(bar) = row else {
            return Some(row);
        };
        self.pending = Some(bar);
        self.after_pending = self.read();
        self.pending.take().map(Ok)
    }
}
