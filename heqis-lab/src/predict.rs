//! `predict`: predictions of bundles, or of a run's generators, for any bars, as a table.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use heqis_backtest::inputs::{RawBars, ReferenceData, markets};
use heqis_backtest::settings::Settings;
use heqis_backtest::strategy::{PredictedBar, Source};
use heqis_bundle::{DirectionLayout, FactorsLayout, check_pair, load, suggested_rule};
use heqis_data::predictions::Forecast;
use heqis_data::predictions::write::{PredictionRow, rule_path, write_kind, write_rule};
use heqis_infer::Bundle;
use heqis_quant::target::TargetKind;
use heqis_quant::{Cleaner, Date, Prediction, SignalMode};
use heqis_train::export::run::write_bundles;

use crate::backtest::read_clean;
use crate::batch_predictor::BatchPredictor;
use crate::error::LabError;
use crate::input_args::InputArgs;
use crate::output::CommandOutput;

/// Write a model's predictions for bars as a table, which backtest, select and audit read.
#[derive(Args, Clone, Debug)]
pub struct PredictArgs {
    /// What is read.
    #[command(flatten)]
    pub input: InputArgs,
    /// The model: DIRECTION_BUNDLE, FACTORS_BUNDLE,DIRECTION_BUNDLE or the directory of a finished training.
    #[arg(long, value_name = "SOURCE", visible_aliases = ["model", "run"])]
    pub strategy: String,
    /// Of a run: `best` by the loss on the validation span, `ensemble`, the name of a generator, or `all` of these, each
    /// in its own table.
    #[arg(long, value_name = "TARGET", default_value = "best")]
    pub target: String,
    /// The table to write: Parquet when its name ends in .parquet, compressed CSV when in .gz, else CSV. With
    /// `--target all` the target is added to the name.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The last day used to fit or choose the model [default: that of the run or the bundle's manifest].
    #[arg(long, value_name = "DATE")]
    pub fitted_to: Option<Date>,
}

/// A directory of temporary bundles, removed on drop.
struct TemporaryBundles(PathBuf);

impl Drop for TemporaryBundles {
    fn drop(&mut self) {
        // A directory that cannot be removed is recognisable by its name.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes the tables and returns the lines to print.
///
/// # Errors
///
/// [`LabError`] when an input cannot be read, a run is unfinished, no bar gets a prediction, or a table cannot be written.
pub fn run(args: &PredictArgs) -> Result<CommandOutput, LabError> {
    let span = args.input.span()?;
    let tables = args.input.tables();
    let rules = markets(args.input.markets.as_deref())?;
    let mut series = RawBars::read(&args.input.bars, tables, &args.input.import, Some(&rules))?;
    let symbols = series.bars.keys().copied();
    let clean = read_clean(args.input.clean.as_deref())?;
    let facts = ReferenceData::read(symbols, &series.tables, clean)?;
    let cleaner = Cleaner::new(facts.clean.clone())?.with_markets(Arc::new(rules.clone()));
    series.assess(&cleaner, &args.input.import)?;
    let settings = Settings {
        markets: Some(rules),
        ..Settings::default()
    };
    let mut draft = None;
    let run = Path::new(&args.strategy);
    let models: Vec<(PathBuf, Source)> = match run.join(heqis_train::train::run::FILE).is_file() {
        true => {
            let work = draft.insert(TemporaryBundles(args.out.with_extension("bundles.draft")));
            let bundles = write_bundles(run, &args.target, &work.0)?;
            let models = bundles.directions.into_iter().map(|(target, direction)| {
                let out = match args.target == "all" {
                    true => named(&args.out, &target),
                    false => args.out.clone(),
                };
                let factors = Some(bundles.factors.clone());
                (out, Source::Bundles { factors, direction })
            });
            models.collect()
        }
        false => vec![(args.out.clone(), Source::parse(&args.strategy))],
    };
    let threads = args.input.threads();
    let sources: Vec<Source> = models.iter().map(|(_, source)| source.clone()).collect();
    let bundles = sources.iter().map(|source| match source {
        Source::Bundles { factors, direction } => {
            let factors = factors.as_ref().map(load::<FactorsLayout>).transpose()?;
            let direction = load::<DirectionLayout>(direction)?;
            check_pair(factors.as_ref(), &direction)?;
            Ok::<_, LabError>((direction.bundle, direction.layout.scaler.target().kind))
        }
        Source::Table(path) => {
            let rule = "must be a model, not a table of predictions";
            Err(LabError::rule_got("--strategy", rule, path.display()))
        }
    });
    let bundles = bundles.collect::<Result<Vec<_>, _>>()?;
    let (bundles, kinds): (Vec<Bundle>, Vec<TargetKind>) = bundles.into_iter().unzip();
    let fitted_to = bundles
        .iter()
        .map(|bundle| fitted_to(bundle, args.fitted_to))
        .collect::<Result<Vec<_>, _>>()?;
    let mut predictor = BatchPredictor {
        sources: &sources,
        tables: vec![None; sources.len()],
        strategy: settings.strategy(SignalMode::Return),
        clean: &facts.clean,
        threads,
    };
    // For each stock the lines, and the number of bars in the span.
    let by_source = predictor.predict(series.bars, |at, symbol, _, series| {
        // A table holds finite numbers only, so a non-finite prediction is left out.
        let is_finite = |predicted: &&PredictedBar| {
            let Prediction {
                predicted_return,
                probabilities,
            } = predicted.prediction;
            predicted_return.is_finite() && probabilities.iter().all(|p| p.is_finite())
        };
        let lines = series.predicted.iter().filter(is_finite);
        let lines = lines.map(|predicted| PredictionRow {
            symbol,
            date: predicted.bar.date,
            time_ns: predicted.bar.time_ns,
            forecast: Forecast {
                predicted_return: predicted.prediction.predicted_return,
                probabilities: Some(predicted.prediction.probabilities),
                fitted_to: Some(fitted_to[at]),
            },
        });
        let lines: Vec<PredictionRow> = lines.filter(|line| span.contains(line.date)).collect();
        let bars = series.bars.iter().filter(|bar| span.contains(bar.date));
        Ok((lines, bars.count()))
    })?;
    let mut shown = Vec::new();
    let models = models.iter().zip(&bundles).zip(&kinds).zip(&fitted_to);
    for (((((out, _), bundle), kind), fitted_to), stocks) in models.zip(by_source) {
        let (lines, bars): (Vec<Vec<PredictionRow>>, Vec<usize>) = stocks.into_iter().unzip();
        let (lines, bars) = (lines.concat(), bars.into_iter().sum::<usize>());
        let days = lines.iter().map(|line| line.date);
        let (Some(from), Some(to)) = (days.clone().min(), days.max()) else {
            let rule = format!(
                "must hold a bar from {} to {} with {} bars before it, the model's look-back",
                span.from,
                span.to,
                bundle.manifest().window_bars
            );
            return Err(LabError::rule_got("bars", rule, format!("{bars} bars")));
        };
        write_kind(out, &lines, *kind)?;
        let rule = suggested_rule(bundle)?;
        write_rule(out, rule.as_ref())?;
        shown.push(format!(
            "wrote {}: {} predictions from {from} to {to}, fitted to {fitted_to}; {} bars of the span have no prediction",
            out.display(),
            lines.len(),
            bars - lines.len()
        ));
        if rule.is_some() {
            shown.push(format!("wrote {}", rule_path(out).display()));
        }
    }
    Ok(shown.into())
}

/// Appends a target to the name of a table: `p.csv.gz` becomes `p-g1.csv.gz`.
fn named(out: &Path, target: &str) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let (stem, ending) = match name.split_once('.') {
        Some((stem, ending)) => (stem, format!(".{ending}")),
        None => (&*name, String::new()),
    };
    out.with_file_name(format!("{stem}-{target}{ending}"))
}

/// Returns the last day used to fit or choose a direction model: that of the command, else of the manifest.
///
/// # Errors
/// [`LabError::Bundle`] when a day of the manifest is invalid, [`LabError::Rule`] when weights or scaler were fitted on later
/// days than the command states.
fn fitted_to(bundle: &Bundle, given: Option<Date>) -> Result<Date, LabError> {
    let manifest = bundle.manifest();
    let trained = Date::parse(&manifest.training_span.to)?;
    if let Some(given) = given {
        if given < trained {
            let place = format!("--fitted-to for {}", bundle.dir().display());
            let rule = format!("must not lie before {trained}, the end of the training span");
            return Err(LabError::rule_got(place, rule, given));
        }
        return Ok(given);
    }
    let Some(date) = heqis_bundle::fitted_to(bundle)? else {
        eprintln!(
            "warning: {}: the manifest does not state which days the model was chosen by, so fitted_to is the end of the \
             training span, {trained}; --fitted-to sets it",
            bundle.dir().display()
        );
        return Ok(trained);
    };
    Ok(date.max(trained))
}
