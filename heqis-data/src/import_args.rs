//! Shared by every command that reads bars: the options, the reading, and the report on standard error.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use heqis_quant::{Bar, CleanConfig, Cleaner, DayOrder, Markets, Symbol};

use crate::bars::{Prices, TableOptions, VolumeUnit};
use crate::error::DataError;
use crate::import::Import;
use crate::report::{ImportReport, MAX_BAD_SHARE};

/// How tables of bars are read.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Reading bars")]
pub struct ImportArgs {
    /// Instrument of tables without a symbol column, instead of the one that a file is named after.
    #[arg(long, value_name = "CODE")]
    pub symbol: Option<Symbol>,
    /// Kind of the prices, instead of the detected one: traded or adjusted.
    #[arg(long, value_name = "KIND", value_parser = prices)]
    pub prices: Option<Prices>,
    /// Unit of the volumes, instead of the detected one: shares or lots.
    #[arg(long, value_name = "UNIT", value_parser = volume_unit)]
    pub volume_unit: Option<VolumeUnit>,
    /// Time zone of times without an offset, such as UTC, instead of that of the instrument's exchange.
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Order of day and month in dates that end with the year: day-first or month-first.
    #[arg(long, value_name = "ORDER", value_parser = day_order)]
    pub day_order: Option<DayOrder>,
    /// Largest share of unreadable or rejected rows; above it nothing is written.
    #[arg(long, value_name = "SHARE", default_value_t = MAX_BAD_SHARE, value_parser = share)]
    pub max_bad_share: f64,
}

impl Default for ImportArgs {
    fn default() -> Self {
        Self {
            symbol: None,
            prices: None,
            volume_unit: None,
            timezone: None,
            day_order: None,
            max_bad_share: MAX_BAD_SHARE,
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: Option<f64> = text.parse().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "must be in 0..=1".into())
}

fn prices(text: &str) -> Result<Prices, String> {
    match text {
        "traded" => Ok(Prices::Traded),
        "adjusted" => Ok(Prices::Adjusted),
        _ => Err("must be traded or adjusted".into()),
    }
}

fn volume_unit(text: &str) -> Result<VolumeUnit, String> {
    match text {
        "shares" => Ok(VolumeUnit::Shares),
        "lots" => Ok(VolumeUnit::Lots),
        _ => Err("must be shares or lots".into()),
    }
}

fn day_order(text: &str) -> Result<DayOrder, String> {
    match text {
        "day-first" => Ok(DayOrder::DayFirst),
        "month-first" => Ok(DayOrder::MonthFirst),
        _ => Err("must be day-first or month-first".into()),
    }
}

impl ImportArgs {
    /// Returns the options of the table reader.
    #[must_use]
    pub fn options(&self) -> TableOptions {
        TableOptions {
            symbol: self.symbol,
            zone: self.timezone.clone(),
            volume_unit: self.volume_unit,
            day_order: self.day_order,
            prices: self.prices,
            ..TableOptions::default()
        }
    }

    /// Prints the report to standard error, and returns an error if too many rows are lost.
    ///
    /// # Errors
    ///
    /// [`DataError::TooMuchLost`] above `max_bad_share`.
    pub fn accept(&self, report: &ImportReport) -> Result<(), DataError> {
        print_report(report);
        report.refuse_above(self.max_bad_share)
    }

    /// Reads the single series of a file, and returns the bars that pass a cleaner without reference data.
    ///
    /// # Errors
    ///
    /// [`DataError`] when the file cannot be read or too many rows are lost, [`DataError::Rule`] when it has several
    /// instruments.
    pub fn one_series(&self, path: &Path) -> Result<(Symbol, Vec<Bar>, ImportReport), DataError> {
        self.one_series_in(path, None)
    }

    /// As [`ImportArgs::one_series`], with the given market rules.
    ///
    /// # Errors
    ///
    /// As [`ImportArgs::one_series`].
    pub fn one_series_in(
        &self,
        path: &Path,
        markets: Option<&Markets>,
    ) -> Result<(Symbol, Vec<Bar>, ImportReport), DataError> {
        let options = TableOptions {
            markets: markets.cloned().map(Arc::new),
            ..self.options()
        };
        let mut import = Import::default();
        import.read(path, &options)?;
        import.settle(&options)?;
        let mut series = import.clean(&Cleaner::new(CleanConfig::default())?);
        self.accept(&import.report)?;
        let mut symbols = series.keys().copied();
        let (first, second) = (symbols.next(), symbols.next());
        match (first, second) {
            (Some(symbol), None) => {
                let bars = series.remove(&symbol).unwrap_or_default();
                Ok((symbol, bars, import.report))
            }
            (first, second) => {
                let names: Vec<String> =
                    first.iter().chain(&second).map(Symbol::to_string).collect();
                let rule = format!(
                    "must have the bars of a single instrument, got {}",
                    names.join(", ")
                );
                Err(DataError::kind(path, rule))
            }
        }
    }
}

/// A file of bars, and whether its own path was given, as opposed to a directory or pattern that contains it.
pub type InputFile = (PathBuf, bool);

/// Reads files into `import`. A file given by its own path must be a table of bars; any other file of a directory or
/// pattern is left out, and the report names it.
///
/// # Errors
///
/// [`DataError`] when a file given by its own path cannot be read.
pub fn read_files(
    files: &[InputFile],
    options: &TableOptions,
    import: &mut Import,
) -> Result<(), DataError> {
    for (path, named) in files {
        match import.read(path, options) {
            Err(error) if !named => import.leave_out(path, &error),
            other => other?,
        }
    }
    Ok(())
}

/// Writes the report to standard error.
pub fn print_report(report: &ImportReport) {
    for line in report.lines() {
        eprintln!("{line}");
    }
}
