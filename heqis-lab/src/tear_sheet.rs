//! `heqis-lab tear-sheet`: whether the predictions of models rank stocks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use heqis_backtest::inputs::{RawBars, ReferenceData, markets};
use heqis_backtest::settings::Settings;
use heqis_backtest::strategy::Source;
use heqis_backtest::tear_sheet::panel::{EntryPrice, Panel};
use heqis_backtest::tear_sheet::{self, TearSheet};
use heqis_data::predictions::Predictions;
use heqis_quant::stats::LEAST_CROSS_SECTION;
use heqis_quant::{Cleaner, Date, SignalMode, Symbol};

use crate::backtest::read_clean;
use crate::batch_predictor::BatchPredictor;
use crate::error::LabError;
use crate::input_args::InputArgs;
use crate::output::CommandOutput;

/// The price of entry and exit.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Price {
    /// The open of the next day.
    Open,
    /// The close of the same day, which is past when the score is known.
    Close,
}

/// Write the tear sheet of predictions: RankIC, quantile returns, decay, turnover, by year and sector, after costs.
#[derive(Args, Clone, Debug)]
pub struct TearSheetArgs {
    /// What is read.
    #[command(flatten)]
    pub input: InputArgs,
    /// A strategy, as for `backtest`: DIRECTION_BUNDLE, FACTORS_BUNDLE,DIRECTION_BUNDLE or a table of predictions; may be
    /// given several times. The predicted return is the score.
    #[arg(long, value_name = "SOURCE", required = true)]
    pub strategy: Vec<String>,
    /// Directory to write the sheets into, each in a directory of its strategy's name.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The price at which positions are opened and closed.
    #[arg(long, value_enum, default_value = "open")]
    pub price: Price,
    /// Holding periods, trading days.
    #[arg(
        long,
        value_name = "DAYS",
        value_delimiter = ',',
        default_value = "1,2,5,10,20"
    )]
    pub horizons: Vec<usize>,
    /// Number of quantiles.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub quantiles: usize,
    /// Fewest stocks of a day [default: the number of quantiles, at least 5].
    #[arg(long, value_name = "N")]
    pub min_stocks: Option<usize>,
    /// Cost of buying a stock and selling it again, as a share of its value.
    #[arg(long, value_name = "SHARE", default_value_t = 0.002)]
    pub round_trip_cost: f64,
    /// Table with the sector of each stock: a column `symbol` or `ts_code`, and `sector` or `industry`.
    #[arg(long, value_name = "CSV")]
    pub sectors: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Writes the sheets and returns the lines to print.
///
/// # Errors
/// [`LabError`] when an input cannot be read, two strategies have the same name, no day has enough stocks, or a file cannot be
/// written.
pub fn run(args: &TearSheetArgs) -> Result<CommandOutput, LabError> {
    let sources: Vec<Source> = args
        .strategy
        .iter()
        .map(|text| Source::parse(text))
        .collect();
    crate::backtest::require_different_names(&sources)?;
    let span = args.input.span()?;
    let rules = markets(args.input.markets.as_deref())?;
    let tables = args.input.tables();
    let mut series = RawBars::read(&args.input.bars, tables, &args.input.import, Some(&rules))?;
    let clean = read_clean(args.input.clean.as_deref())?;
    let facts = ReferenceData::read(series.bars.keys().copied(), &series.tables, clean)?;
    let cleaner = Cleaner::new(facts.clean.clone())?.with_markets(Arc::new(rules.clone()));
    series.assess(&cleaner, &args.input.import)?;
    let sectors = args.sectors.as_deref().map(read_sectors).transpose()?;
    let sectors = sectors.unwrap_or_default();
    let tables = sources.iter().map(|source| match source {
        Source::Table(path) => Predictions::read(path).map(Some),
        Source::Bundles { .. } => Ok(None),
    });
    let settings = Settings {
        markets: Some(rules),
        ..Settings::default()
    };
    let mut predictor = BatchPredictor {
        sources: &sources,
        tables: tables.collect::<Result<Vec<_>, _>>()?,
        strategy: settings.strategy(SignalMode::Return),
        clean: &facts.clean,
        threads: args.input.threads(),
    };
    let by_source = predictor.predict(series.bars, |_, symbol, _, predicted| {
        let scores = predicted
            .predicted
            .iter()
            .filter(|of| span.contains(of.bar.date));
        let scores: Vec<(Date, f64)> = scores
            .map(|of| (of.bar.date, of.prediction.predicted_return))
            .filter(|(_, score)| score.is_finite())
            .collect();
        Ok((symbol, scores, predicted.bars))
    })?;
    let mut shown = Vec::new();
    for (source, stocks) in sources.iter().zip(by_source) {
        let (mut scores, mut bars) = (BTreeMap::new(), BTreeMap::new());
        for (symbol, of_stock, series) in stocks {
            scores.insert(symbol, of_stock);
            bars.insert(symbol, series);
        }
        let settings = tear_sheet::Settings {
            price: match args.price {
                Price::Open => EntryPrice::Open,
                Price::Close => EntryPrice::Close,
            },
            horizons: args.horizons.clone(),
            quantiles: args.quantiles,
            round_trip_cost: args.round_trip_cost,
        };
        let least = args
            .min_stocks
            .unwrap_or(args.quantiles.max(LEAST_CROSS_SECTION));
        let panel = Panel::new(&scores, &bars, settings.price, &settings.horizons, least)?;
        let sheet = TearSheet::of(&panel, settings, &sectors)?;
        let dir = args.out.join(source.name());
        sheet.save(&dir, &source.name())?;
        shown.extend(match args.json {
            true => vec![json(&sheet, &dir)?],
            false => lines(&sheet, &dir),
        });
    }
    Ok(shown.into())
}

fn json(sheet: &TearSheet, dir: &Path) -> Result<String, LabError> {
    let shown = serde_json::json!({ "dir": dir, "tear_sheet": sheet });
    serde_json::to_string(&shown)
        .map_err(|error| LabError::rule_got("--json", "must be written", error))
}

fn lines(sheet: &TearSheet, dir: &Path) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {} scores of {} stocks from {} to {}",
        dir.display(),
        sheet.scores,
        sheet.stocks,
        sheet.from,
        sheet.to
    )];
    let number = |value: Option<f64>, digits: usize| {
        value.map_or("-".into(), |value| format!("{value:.digits$}"))
    };
    let percent = |value: Option<f64>| number(value.map(|value| value * 100.0), 3);
    for of in &sheet.horizons {
        lines.push(format!(
            "  {:>3} days: RankIC {} (t {}), top - bottom {} %, top excess {} %, after costs {} %, turnover {} %",
            of.horizon,
            number(Some(of.rank_ic.mean), 4),
            number(of.rank_ic.t_overlap, 2),
            percent(Some(of.spread.mean)),
            percent(of.quantiles.last().and_then(|top| top.mean_excess)),
            percent(of.top_after_costs),
            percent(of.quantiles.last().and_then(|top| top.turnover)),
        ));
    }
    lines
}

/// Reads the sector of each stock; stocks without one are left out.
fn read_sectors(path: &Path) -> Result<BTreeMap<Symbol, String>, LabError> {
    let place = path.display();
    let refuse = |rule: &str, got: &dyn std::fmt::Display| LabError::rule_got(&place, rule, got);
    let mut reader = csv::Reader::from_path(path)
        .map_err(|error| refuse("must be a table that can be read", &error))?;
    let header = reader.headers();
    let header = header
        .map_err(|error| refuse("must have a header", &error))?
        .clone();
    let column = |names: [&str; 2]| {
        let found = header
            .iter()
            .position(|name| names.contains(&name.trim_start_matches('\u{feff}')));
        let got: Vec<&str> = header.iter().collect();
        let rule = format!("must have a column {} or {}", names[0], names[1]);
        found.ok_or_else(|| refuse(&rule, &got.join(",")))
    };
    let (symbol, sector) = (
        column(["symbol", "ts_code"])?,
        column(["sector", "industry"])?,
    );
    let mut sectors = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| refuse("must have rows like its header", &error))?;
        let (symbol, sector) = (record[symbol].trim(), record[sector].trim());
        if sector.is_empty() {
            continue;
        }
        let line = record.position().map_or(0, csv::Position::line);
        let symbol = Symbol::parse(symbol)
            .map_err(|error| refuse(&format!("line {line} must name a stock"), &error))?;
        if let Some(other) = sectors.insert(symbol, sector.to_owned())
            && other != sector
        {
            let rule = format!("line {line} must not give {symbol} another sector than {other}");
            return Err(refuse(&rule, &sector));
        }
    }
    Ok(sectors)
}
