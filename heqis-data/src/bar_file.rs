//! A path → bars. The content decides what kind of file it is; the name only says which instrument a table without a
//! symbol column holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use heqis_quant::rules::Markets;
use heqis_quant::{Bar, Exchange, Marks, QuantError, Symbol};

use crate::bars::{BarReader, Detected, Prices, TableOptions};
use crate::error::DataError;
use crate::prices::PriceSurvey;

/// The bytes of a table as text.
type Text = Box<dyn Read + Send>;

/// The bars of one file, in the order of its rows. The bar that comes after a row that cannot be read, in time and in the
/// same series, is marked [`Marks::HOLE`].
pub struct BarFile {
    reader: BarReader<Text>,
    /// The bar at hand, when the row behind it may still say that one is missing before it.
    held: Option<Bar>,
    /// What was read behind the bar at hand.
    behind: Option<Result<Bar, QuantError>>,
    /// Series whose next bar stands behind a hole.
    lost: BTreeSet<Symbol>,
    /// The series of the last bar.
    last: Option<Symbol>,
    /// Series of adjusted prices, and why they are taken for such.
    adjusted: BTreeMap<Symbol, String>,
}

/// Opens a file of bars: surveys all of its rows, and reads them again from the first.
///
/// # Errors
/// [`DataError::File`] when it cannot be read, [`DataError::Rule`] when it is no regular file or of a kind that is not
/// read, and [`DataError::Table`] when its header or its rows leave open what they mean.
pub fn open(path: &Path, options: &TableOptions) -> Result<BarFile, DataError> {
    let shown = path.display().to_string();
    let mut options = options.clone();
    let named = match (
        options.symbol,
        named_after(path, options.markets.as_deref()),
    ) {
        (Some(given), Ok(named)) if named != given && named.exchange() != Exchange::Other => {
            let rule = format!("is named after {named}, and the symbol that is given is {given}");
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
    Ok(BarFile {
        reader,
        held: None,
        behind: None,
        lost: BTreeSet::new(),
        last: None,
        adjusted: BTreeMap::new(),
    })
}

/// As [`open`], and finds out by a further look whose prices are adjusted, so that their bars are marked.
///
/// # Errors
/// As [`open`].
pub fn open_series(path: &Path, options: &TableOptions) -> Result<BarFile, DataError> {
    let mut file = open(path, options)?;
    if options.prices.is_none() && !file.detected().adjusted && !file.detected().has_time {
        let shipped = Arc::new(Markets::shipped()?);
        let markets = options.markets.as_ref().unwrap_or(&shipped);
        let mut surveys: BTreeMap<Symbol, PriceSurvey> = BTreeMap::new();
        for bar in open(path, options)?.flatten() {
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

/// Adds why the file's name does not help to the error of a table without a symbol.
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
            rule: format!("{rule}; the file's name does not tell it: {why}"),
            got,
        },
        (error, _) => error,
    }
}

/// Returns the instrument that a file is named after.
///
/// `markets` are those of this project where none are given.
///
/// # Errors
/// [`QuantError::Symbol`] when the name holds none that is known.
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
    // A word in small letters is a name that somebody gave to a file, even where it could be a ticker.
    let is_word = symbol.as_str().bytes().any(|b| b.is_ascii_lowercase());
    if symbol.exchange() != Exchange::Other || (known && !is_word) {
        return Ok(symbol);
    }
    Err(QuantError::Symbol {
        got: stem.to_owned(),
        rule: "must be the code of an instrument, such as 600000.SH, AAPL or BTCUSDT".into(),
    })
}

/// Opens a file as text, whatever it is packed in.
///
/// # Errors
/// [`DataError::File`] and [`DataError::Rule`].
pub fn text_of(path: &Path) -> Result<Text, DataError> {
    let fault = |source| DataError::file(path, source);
    // Asked before it is opened: opening a pipe waits for whoever writes.
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
        [0x28, 0xb5, 0x2f, 0xfd] => {
            Err(DataError::kind(path, "is packed by zstd; unpack it first"))
        }
        _ => Ok(Box::new(file)),
    }
}

impl BarFile {
    /// Returns what the survey found out about the table.
    #[must_use]
    pub fn detected(&self) -> &Detected {
        self.reader.detected()
    }

    /// Returns the series whose prices are taken for adjusted ones, with the reason: see [`open_series`].
    #[must_use]
    pub fn adjusted(&self) -> &BTreeMap<Symbol, String> {
        &self.adjusted
    }

    /// Returns the columns that are not read, as the header spells them.
    #[must_use]
    pub fn ignored_columns(&self) -> &[String] {
        self.reader.ignored_columns()
    }
}

impl BarFile {
    /// Reads a row, and remembers the series of one that is lost: its own, or that of its neighbour where even that cannot
    /// be read.
    fn read(&mut self) -> Option<Result<Bar, QuantError>> {
        let mut row = self.reader.next()?;
        match &mut row {
            Ok(bar) => {
                if self.lost.remove(&bar.symbol) {
                    bar.marks.insert(Marks::HOLE);
                }
                if self.adjusted.contains_key(&bar.symbol) {
                    bar.marks.insert(Marks::ADJUSTED);
                }
                self.last = Some(bar.symbol);
            }
            Err(_) => {
                let series = self.reader.row_symbol().or(self.last);
                let held = self.held.as_mut().filter(|bar| Some(bar.symbol) == series);
                match (self.reader.descends(), held) {
                    // Newest first: the bar after it in time is the one before it in the file.
                    (true, Some(bar)) => bar.marks.insert(Marks::HOLE),
                    (true, None) => {}
                    (false, _) => self.lost.extend(series),
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
        let row = match self.behind.take() {
            Some(row) => row,
            None => self.read()?,
        };
        let Ok(bar) = row else {
            return Some(row);
        };
        self.held = Some(bar);
        self.behind = self.read();
        self.held.take().map(Ok)
    }
}
