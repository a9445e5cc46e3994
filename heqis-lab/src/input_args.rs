//! The options of commands that read bars and decide on them.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use heqis_data::import_args::ImportArgs;
use heqis_data::prepare::reference::Tables;
use heqis_quant::{Date, Span};

use crate::error::LabError;

/// What `backtest` and `predict` read.
#[derive(Args, Clone, Debug, Default)]
pub struct InputArgs {
    /// Tables of bars, daily or shorter, directories of them, patterns, or data sets of `prepare`.
    #[arg(value_name = "BARS", required = true)]
    pub bars: Vec<PathBuf>,
    /// First day of the output; bars before it only warm models up.
    #[arg(long, value_name = "DATE")]
    pub from: Option<Date>,
    /// Last day of the output.
    #[arg(long, value_name = "DATE")]
    pub to: Option<Date>,
    /// Table of bars, usually of an index, whose days are the trading days.
    #[arg(long, value_name = "CSV")]
    pub calendar: Option<PathBuf>,
    /// Ex-right events, or a vendor's dividends [default: the dividends of a fetched directory].
    #[arg(long, value_name = "CSV")]
    pub events: Option<PathBuf>,
    /// Changes of names, for special treatment.
    #[arg(long, value_name = "CSV")]
    pub names: Option<PathBuf>,
    /// Listing and delisting of stocks.
    #[arg(long, value_name = "CSV")]
    pub stocks: Option<PathBuf>,
    /// Own market file, or a directory of them: see docs/markets.md.
    #[arg(long, value_name = "TOML_OR_DIR")]
    pub markets: Option<PathBuf>,
    /// JSON file for the cleaner: st_symbols, list_dates, ex_right_max_drop, holiday_weekdays.
    #[arg(long, value_name = "JSON")]
    pub clean: Option<PathBuf>,
    /// Number of working threads [default: one for each core].
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// How tables of bars are read.
    #[command(flatten)]
    pub import: ImportArgs,
}

impl InputArgs {
    /// Returns the days of the output.
    pub(crate) fn span(&self) -> Result<Span, LabError> {
        span(self.from, self.to)
    }

    /// Returns the tables of reference data.
    pub(crate) fn tables(&self) -> Tables {
        Tables {
            events: self.events.clone(),
            calendar: self.calendar.clone(),
            stock_basic: self.stocks.clone(),
            namechange: self.names.clone(),
            ..Tables::default()
        }
    }

    /// Returns the number of threads, one for each core where it is not given.
    pub(crate) fn threads(&self) -> usize {
        match self.threads {
            Some(threads) => threads.get(),
            None => std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Returns the days from `from` to `to`, all days where they are not given.
pub(crate) fn span(from: Option<Date>, to: Option<Date>) -> Result<Span, LabError> {
    let from = from.map_or_else(|| Date::new(1990, 1, 1), Ok)?;
    let to = to.map_or_else(|| Date::new(2199, 12, 31), Ok)?;
    Ok(Span::new(from, to)?)
}
