//! `heqis-lab prepare`: its command line and output.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use heqis_data::import_args::{ImportArgs, print_report};
use heqis_data::prepare::reference::Tables;
use heqis_data::prepare::{Options, PrepareOutcome, prepare};
use heqis_data::store::manifest::{Adjust, TrainTo};
use heqis_factors::{feature_set, of_text};
use heqis_quant::scaler::{OutOfRange, ScalerKind};
use heqis_quant::target::{Target, TargetKind, TargetPrice};
use heqis_quant::{CleanConfig, Date, FeatureSet, Symbol};
use serde_json::json;

use crate::error::LabError;
use crate::output::CommandOutput;

/// Clean tables of bars, compute features and labels, fit the scaler, and store the result as a data set.
#[derive(Args, Clone, Debug)]
pub struct PrepareArgs {
    /// Tables of bars (CSV, CSV.gz or Parquet), directories of them, or patterns with * and ? in the file name.
    #[arg(value_name = "INPUT", required = true)]
    pub inputs: Vec<PathBuf>,
    /// The data set's directory.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Features in the order of a row, such as return_1,k,j, or a shipped set of factors, such as alpha158 [default: the set of the shipped models].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub features: Vec<String>,
    /// File with the features as expressions, one a line: name = expression.
    #[arg(long, value_name = "FILE", conflicts_with = "features")]
    pub feature_file: Option<PathBuf>,
    /// Number of rows in the window of a model, kept with the scaler.
    #[arg(long, value_name = "BARS", default_value_t = heqis_train::corpus::WINDOW_BARS)]
    pub window: usize,
    /// Largest absolute return that counts as flat.
    #[arg(long, value_name = "RETURN", default_value_t = heqis_train::corpus::FLAT_BAND)]
    pub flat_band: f64,
    /// What the labels are.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Last day of the training span.
    #[arg(long, value_name = "DATE", conflicts_with = "train_fraction")]
    pub train_to: Option<Date>,
    /// Proportion of the stored days in the training span, above 0 and at most 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.6)]
    pub train_fraction: f64,
    /// JSON file for the cleaner: st_symbols, st_periods, list_dates, free_days, ex_right_max_drop, holiday_weekdays.
    #[arg(long, value_name = "JSON")]
    pub clean: Option<PathBuf>,
    /// Table of the trading days: trade_cal.csv, or bars, usually of an index.
    #[arg(long, value_name = "CSV")]
    pub calendar: Option<PathBuf>,
    /// Adjust features and labels for known ex-rights; forward and backward select the level of prices to show.
    #[arg(long, value_enum, default_value_t = Adjust::None)]
    pub adjust: Adjust,
    /// Table of ex-right events or of a vendor's dividends, for --adjust.
    #[arg(long, value_name = "CSV")]
    pub events: Option<PathBuf>,
    /// Table with ts_code, trade_date and adj_factor, for --adjust.
    #[arg(long, value_name = "CSV")]
    pub factors: Option<PathBuf>,
    /// Kind of the scaler.
    #[arg(long, value_enum, default_value_t = Scaling::MinMax)]
    pub scaler: Scaling,
    /// Treatment of values outside the range of the training span.
    #[arg(long, value_enum, default_value_t = Outside::Clip)]
    pub out_of_range: Outside,
    /// Number of working threads [default: one for each core].
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
    /// Compute every series, even unchanged ones.
    #[arg(long)]
    pub full: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// How tables of bars are read.
    #[command(flatten)]
    pub import: ImportArgs,
}

/// What the labels are: [`Target`] on the command line.
#[derive(Args, Clone, Copy, Debug)]
pub struct TargetArgs {
    /// Prices of the target: from close to close, or from the next open to a later open, which can be earned.
    #[arg(long, value_enum, value_name = "PRICE", default_value_t = Price::Close)]
    pub target_price: Price,
    /// Bars from the first price of the target to the second.
    #[arg(long, value_name = "DAYS", default_value_t = 1)]
    pub target_days: u32,
    /// Units of the target: the return, or how it compares with the other instruments of the day.
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Kind::Return)]
    pub target_kind: Kind,
    /// Series whose return is subtracted for --target-kind excess [default: the mean of the day].
    #[arg(long, value_name = "SYMBOL")]
    pub target_benchmark: Option<Symbol>,
}

/// [`TargetPrice`] on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Price {
    /// From the open of the next bar to a later open.
    Open,
    /// From the close of the bar to a later close.
    Close,
}

/// [`TargetKind`] on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The return.
    Return,
    /// The return minus the mean of the day, or minus that of a benchmark.
    Excess,
    /// The rank within the day, from −0.5 to 0.5.
    Rank,
    /// The return minus the mean of the day, divided by its deviation.
    Z,
}

impl TargetArgs {
    /// Returns the target.
    #[must_use]
    pub fn target(&self) -> Target {
        Target {
            price: match self.target_price {
                Price::Open => TargetPrice::Open,
                Price::Close => TargetPrice::Close,
            },
            horizon_days: self.target_days,
            kind: match self.target_kind {
                Kind::Return => TargetKind::Return,
                Kind::Excess => TargetKind::Excess,
                Kind::Rank => TargetKind::Rank,
                Kind::Z => TargetKind::Z,
            },
            benchmark: self.target_benchmark,
        }
    }
}

/// [`ScalerKind`] on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scaling {
    /// Map the range of the training span to 0 to 1.
    MinMax,
    /// Subtract the mean and divide by the standard deviation.
    ZScore,
}

/// [`OutOfRange`] on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Outside {
    /// Replace the value by the nearest bound.
    Clip,
    /// Keep the value.
    Pass,
}

impl PrepareArgs {
    fn feature_set(&self) -> Result<FeatureSet, LabError> {
        if let Some(path) = &self.feature_file {
            let text =
                std::fs::read_to_string(path).map_err(|source| LabError::file(path, source))?;
            return of_text(&text)
                .map_err(|error| LabError::rule(path.display(), error.to_string()));
        }
        Ok(match self.features.is_empty() {
            true => FeatureSet::standard(),
            false => feature_set(&self.features)?,
        })
    }

    /// Checks the arguments and reads the files that they name.
    ///
    /// # Errors
    ///
    /// [`LabError`] when a feature is unknown, a number is out of range, or the cleaner's file is invalid.
    pub fn options(&self) -> Result<Options, LabError> {
        let refuse = |rule: String| Err(LabError::rule(self.out.display(), rule));
        let share = self.train_fraction;
        if !(share > 0.0 && share <= 1.0) {
            return refuse(format!(
                "--train-fraction must be greater than 0 and at most 1, got {share}"
            ));
        }
        if self.window == 0 {
            return refuse("--window must be at least 1, got 0".into());
        }
        let named = self.events.is_some() || self.factors.is_some();
        if named && self.adjust == Adjust::None {
            return refuse("--events and --factors need --adjust forward or backward".into());
        }
        let clean = match &self.clean {
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).map_err(|source| LabError::file(path, source))?;
                serde_json::from_str(&text).map_err(|source| LabError::json(path, source))?
            }
            None => CleanConfig::default(),
        };
        Ok(Options {
            inputs: self.inputs.clone(),
            out: self.out.clone(),
            features: self.feature_set()?,
            window_bars: self.window,
            flat_band: self.flat_band,
            target: self.target.target(),
            train_to: match self.train_to {
                Some(date) => TrainTo::Date(date),
                None => TrainTo::Fraction(share),
            },
            clean,
            adjust: self.adjust,
            scaler: match self.scaler {
                Scaling::MinMax => ScalerKind::MinMax,
                Scaling::ZScore => ScalerKind::ZScore,
            },
            out_of_range: match self.out_of_range {
                Outside::Clip => OutOfRange::Clip,
                Outside::Pass => OutOfRange::Pass,
            },
            tables: Tables {
                events: self.events.clone(),
                factors: self.factors.clone(),
                calendar: self.calendar.clone(),
                ..Tables::default()
            },
            threads: match self.threads {
                Some(threads) => threads.get(),
                None => std::thread::available_parallelism().map_or(1, usize::from),
            },
            full: self.full,
            reading: self.import.options(),
            max_bad_share: self.import.max_bad_share,
        })
    }
}

/// Prepares the data set and returns the lines to print.
///
/// # Errors
///
/// As [`prepare`].
pub fn run(args: &PrepareArgs) -> Result<CommandOutput, LabError> {
    let outcome = prepare(&args.options()?)?;
    print_report(&outcome.report);
    for warning in &outcome.manifest.warnings {
        eprintln!("warning: {warning}");
    }
    let lines = match args.json {
        true => vec![json(&args.out, &outcome).to_string()],
        false => lines(&args.out, &outcome),
    };
    Ok(lines.into())
}

fn json(out: &std::path::Path, outcome: &PrepareOutcome) -> serde_json::Value {
    let manifest = &outcome.manifest;
    json!({
        "out": out.display().to_string(),
        "version": manifest.version,
        "symbols": manifest.symbols.len(),
        "computed": outcome.computed,
        "reused": outcome.reused,
        "span": manifest.span,
        "scaler_span": manifest.scaler_span,
        "rows": manifest.rows,
        "rejects": manifest.rejects,
        "marks": manifest.marks,
        "target": manifest.settings.target,
        "unlabelled": manifest.unlabelled,
        "adjustment": manifest.settings.adjustment,
        "findings": manifest.findings,
        "import": outcome.report,
        "warnings": manifest.warnings,
    })
}

fn lines(out: &std::path::Path, outcome: &PrepareOutcome) -> Vec<String> {
    let manifest = &outcome.manifest;
    let rows = &manifest.rows;
    let mut lines = vec![
        format!(
            "{}: {} symbols, {} to {} ({} computed, {} unchanged)",
            out.display(),
            manifest.symbols.len(),
            manifest.span.from,
            manifest.span.to,
            outcome.computed,
            outcome.reused
        ),
        format!(
            "rows: {} read, {} rejected, {} stored, {} with features, {} labelled",
            rows.read, rows.rejected, rows.bars, rows.with_features, rows.labelled
        ),
        format!(
            "scaler: {} rows, {} to {}",
            rows.scaler, manifest.scaler_span.from, manifest.scaler_span.to
        ),
    ];
    if !manifest.settings.target.is_default() {
        lines.push(format!("target: {}", manifest.settings.target));
    }
    for (title, counts) in [
        ("rejected", &manifest.rejects),
        ("marked", &manifest.marks),
        ("without a label", &manifest.unlabelled),
        ("found", &manifest.findings),
    ] {
        for (name, count) in counts {
            lines.push(format!("{title}: {count} {name}"));
        }
    }
    lines
}
