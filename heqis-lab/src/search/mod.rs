//! Searching settings: thresholds, filters, account and models, on validation spans, each trial counted.
//!
//! - [`space`]: the file of what may vary, and the settings at a place of it. **Data enters here.**
//! - [`sampler`]: where the next trial lies.
//! - [`record`]: a line for each trial; an interrupted search continues.
//!
//! Folds, runs, scores and the deflated Sharpe ratio are those of `select`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Args;
use heqis_backtest::inputs::markets;
use heqis_backtest::metrics::{Basis, Curve};
use heqis_backtest::settings::Settings;
use heqis_base::files::write_atomically;
use heqis_data::digest::sha256;
use heqis_data::import_args::ImportArgs;
use heqis_data::prepare::reference::{self, Tables};
use heqis_quant::stats::variance;
use heqis_quant::{Bar, Date, ExRight, Markets, Symbol};
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::record::{Record, TrialRecord};
use self::sampler::{BATCH, Sampler, SamplerKind};
use self::space::{Point, Space};
use crate::batch_predictor::progress;
use crate::error::LabError;
use crate::output::CommandOutput;
use crate::pool::map;
use crate::select::candidate::Candidate;
use crate::select::choose::score;
use crate::select::deflated::{Moments, expected_best};
use crate::select::evaluator::{Evaluator, Run};
use crate::select::folds::{FoldPlan, Folds};
use crate::select::models;

pub mod record;
pub mod sampler;
pub mod space;

/// Name of the result.
const RESULT: &str = "search.json";
/// Name of the settings of the best trial.
const BEST: &str = "best_settings.toml";

/// Search settings of backtests on validation spans, and run the best once on the test span.
#[derive(Args, Clone, Debug)]
pub struct SearchArgs {
    /// Bars, one file an instrument; a trial trades all of them, each in an account of its own.
    #[arg(required = true, value_name = "BARS")]
    pub data: Vec<PathBuf>,
    /// A model, as for `select`: NAME=FILE, or NAME=DIRECTION_BUNDLE@DATE, or NAME=FACTORS_BUNDLE,DIRECTION_BUNDLE@DATE. Of
    /// several, the search chooses one too.
    #[arg(long = "candidate", value_name = "NAME=SOURCE", required = true)]
    pub candidates: Vec<String>,
    /// The settings to search, TOML: see docs/search.md.
    #[arg(long, value_name = "TOML")]
    pub space: PathBuf,
    /// Settings of a backtest that every trial has, TOML, before those of the space.
    #[arg(long, value_name = "TOML")]
    pub settings: Option<PathBuf>,
    /// Number of trials, those of an interrupted search included.
    #[arg(long, value_name = "N")]
    pub trials: usize,
    /// How trials are chosen.
    #[arg(long, value_enum, default_value = "tpe")]
    pub sampler: SamplerKind,
    /// Seed of the choice.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The first day of the first validation span.
    #[arg(long, value_name = "DATE")]
    pub validate_from: Date,
    /// The first day of the test span.
    #[arg(long, value_name = "DATE")]
    pub test_from: Date,
    /// Number of validation spans.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub folds: usize,
    /// Bars by which a label looks ahead; they are left out before every evaluated span.
    #[arg(long, value_name = "BARS", default_value_t = 1)]
    pub purge_bars: usize,
    /// Further trading days left out before every evaluated span.
    #[arg(long, value_name = "DAYS", default_value_t = 5)]
    pub embargo_days: usize,
    /// Number of earlier trials on this data: they count in the deflated Sharpe ratio.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub earlier_trials: usize,
    /// Lowest deflated Sharpe ratio at which the best trial is believed.
    #[arg(long, value_name = "PROBABILITY", default_value_t = crate::select::BELIEVED_FROM)]
    pub min_deflated_sharpe: f64,
    /// Ex-right events [default: those of a fetched directory next to the bars].
    #[arg(long, value_name = "CSV")]
    pub events: Option<PathBuf>,
    /// Own market file, or a directory of them.
    #[arg(long, value_name = "TOML_OR_DIR")]
    pub markets: Option<PathBuf>,
    /// Directory of trials.jsonl, search.json and best_settings.toml.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Number of working threads [default: one for each core]; it changes no trial.
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
    /// How tables of bars are read.
    #[command(flatten)]
    pub import: ImportArgs,
}

/// An instrument with its folds and the forecasts of each candidate.
struct Instrument {
    symbol: Symbol,
    bars: Vec<Bar>,
    folds: Folds,
    candidates: BTreeMap<String, Candidate>,
}

/// What all trials share.
struct Search {
    instruments: Vec<Instrument>,
    names: Vec<String>,
    events: Vec<ExRight>,
    markets: Markets,
}

/// A trial's runs on the validation spans.
struct Trial {
    score: f64,
    /// Returns of all folds joined, by day the mean of the accounts.
    returns: Vec<f64>,
    basis: Basis,
}

impl Search {
    fn evaluator(&self, settings: &Settings) -> Evaluator {
        Evaluator {
            settings: Settings {
                markets: Some(self.markets.clone()),
                ..settings.clone()
            },
            events: self.events.clone(),
        }
    }

    /// Runs each instrument's account on a span. Returns the mean of their returns by day, and the market's basis.
    fn run(
        &self,
        point: &Point,
        span: impl Fn(&Folds) -> Range<usize>,
    ) -> Result<(Vec<f64>, Basis), LabError> {
        let evaluator = self.evaluator(&point.settings);
        let mut days: BTreeMap<Date, (f64, usize)> = BTreeMap::new();
        let mut basis = point.settings.basis;
        for one in &self.instruments {
            let forecasts = &one.candidates[&point.candidate].forecasts[&one.symbol];
            let span = span(&one.folds);
            let Run { returns, metrics } =
                evaluator.run(&one.bars, span.clone(), forecasts, point.mode)?;
            basis = metrics.basis;
            let mut dates: Vec<Date> = one.bars[span].iter().map(|bar| bar.date).collect();
            dates.dedup();
            for (date, value) in dates.into_iter().zip(returns) {
                let day = days.entry(date).or_default();
                *day = (day.0 + value, day.1 + 1);
            }
        }
        let mean = |(sum, accounts): (f64, usize)| sum / accounts as f64;
        Ok((days.into_values().map(mean).collect(), basis))
    }

    fn trial(&self, point: &Point) -> Result<Trial, LabError> {
        let count = self
            .instruments
            .first()
            .map_or(0, |one| one.folds.folds.len());
        let (mut sharpes, mut joined) = (Vec::new(), Vec::new());
        let mut basis = point.settings.basis;
        for fold in 0..count {
            let (returns, of_market) =
                self.run(point, |folds| folds.folds[fold].validation.clone())?;
            basis = of_market;
            // An account without trades has no return and no risk.
            sharpes.push(Curve::of(&returns, &basis).sharpe.unwrap_or(0.0));
            joined.extend(returns);
        }
        Ok(Trial {
            score: score(&sharpes),
            returns: joined,
            basis,
        })
    }

    fn shape(trial: &Trial) -> Option<Moments> {
        Moments::of(&trial.returns, trial.basis.daily_rate())
    }
}

/// Runs the command and returns a summary.
///
/// # Errors
/// [`LabError`] for a space, settings, bars and forecasts that break a rule, a record of another search, and files that cannot
/// be read or written.
pub fn run(args: &SearchArgs) -> Result<CommandOutput, LabError> {
    if args.trials == 0 || !(0.0..=1.0).contains(&args.min_deflated_sharpe) {
        let rule = "must be at least one trial, and a probability from 0 to 1";
        let got = format!("{} and {}", args.trials, args.min_deflated_sharpe);
        return Err(LabError::rule_got(
            "--trials and --min-deflated-sharpe",
            rule,
            got,
        ));
    }
    let base = match &args.settings {
        None => toml::Table::new(),
        Some(path) => {
            Settings::read(path)?;
            let text =
                std::fs::read_to_string(path).map_err(|error| LabError::file(path, error))?;
            let refuse = |error| LabError::rule_got(path.display(), "must be settings", error);
            toml::from_str(&text).map_err(refuse)?
        }
    };
    let named = models(&args.candidates, None)?;
    let names: Vec<String> = named.iter().map(|model| model.name().to_owned()).collect();
    let space = Space::read(&args.space, &names, base)?;
    let table = (args.events.clone())
        .or_else(|| Tables::next_to(args.data.first()?)?.events)
        .map(|path| reference::events(&path))
        .transpose()?;
    let mut search = Search {
        instruments: Vec::new(),
        names,
        events: table.map(|table| table.events).unwrap_or_default(),
        markets: markets(args.markets.as_deref())?,
    };
    let plan = FoldPlan {
        validate_from: args.validate_from,
        test_from: args.test_from,
        folds: args.folds,
        purge_bars: args.purge_bars,
        embargo_days: args.embargo_days,
    };
    for path in &args.data {
        let (symbol, bars, _) = args.import.one_series_in(path, Some(&search.markets))?;
        if search
            .instruments
            .iter()
            .any(|other| other.symbol == symbol)
        {
            let rule = format!("{symbol} is given twice");
            return Err(LabError::rule(path.display().to_string(), rule));
        }
        let days: Vec<Date> = bars.iter().map(|bar| bar.date).collect();
        let folds = plan.cut(&days)?;
        let mut candidates = BTreeMap::new();
        for model in &named {
            let candidate = model.candidate(&bars)?;
            candidate.check(symbol, &bars, &folds)?;
            candidates.insert(model.name().to_owned(), candidate);
        }
        search.instruments.push(Instrument {
            symbol,
            bars,
            folds,
            candidates,
        });
    }
    let identity = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "bars": search.instruments.iter().map(|one| (one.symbol, sha256(format!("{:?}", one.bars).as_bytes()))).collect::<BTreeMap<_, _>>(),
        "forecasts": search.instruments.iter().map(|one| (one.symbol, digest_of(&one.candidates))).collect::<BTreeMap<_, _>>(),
        "candidates": search.names,
        "space": space.identity(),
        "folds": [args.folds, args.purge_bars, args.embargo_days],
        "validate_from": args.validate_from,
        "test_from": args.test_from,
        "sampler": args.sampler,
        "seed": args.seed,
    });
    let mut record = Record::open(&args.out, identity)?;
    let resumed = record.trials.len();
    search_on(args, &search, &space, &mut record)?;
    finish(args, &search, &space, &record, resumed)
}

/// Runs the trials that the record lacks.
fn search_on(
    args: &SearchArgs,
    search: &Search,
    space: &Space,
    record: &mut Record,
) -> Result<(), LabError> {
    let mut sampler = Sampler::new(args.sampler, args.seed, space)?;
    let threads = args.threads.map_or_else(
        || std::thread::available_parallelism().map_or(1, usize::from),
        usize::from,
    );
    let bar = progress(args.trials.saturating_sub(record.trials.len()), "trials");
    let mut known: Vec<(Vec<f64>, f64)> = Vec::new();
    while record.trials.len() < args.trials {
        let next = record.trials.len();
        known.extend(
            (record.trials[known.len()..].iter()).map(|trial| (trial.place.clone(), trial.score)),
        );
        let end = args.trials.min(next - next % BATCH + BATCH);
        let places = (next..end).map(|number| Ok((number, sampler.place(number, &known)?)));
        let places = places.collect::<Result<Vec<_>, LabError>>()?;
        let task = |_: &mut (), (number, place): (usize, Vec<f64>)| {
            let point = space.point(&place, &search.names)?;
            let trial = search.trial(&point)?;
            Ok(TrialRecord {
                trial: number,
                place,
                values: shown(&point),
                score: trial.score,
                daily_sharpe: Search::shape(&trial).map_or(0.0, |shape| shape.sharpe),
            })
        };
        record.add(map(places, threads, || (), task, || bar.inc(1))?)?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// Judges the best trial and runs it on the test span.
fn finish(
    args: &SearchArgs,
    search: &Search,
    space: &Space,
    record: &Record,
    resumed: usize,
) -> Result<CommandOutput, LabError> {
    // The first of equal ones, so that it does not depend on the number of later trials.
    let best =
        (record.trials.iter()).reduce(|best, one| if one.score > best.score { one } else { best });
    let Some(best) = best else {
        return Err(LabError::rule("--trials", "must be at least one"));
    };
    let point = space.point(&best.place, &search.names)?;
    let trial = search.trial(&point)?;
    let sharpes: Vec<f64> = record
        .trials
        .iter()
        .map(|trial| trial.daily_sharpe)
        .collect();
    let (count, spread) = (
        sharpes.len() + args.earlier_trials,
        variance(&sharpes, 1).unwrap_or(0.0),
    );
    let deflated = Search::shape(&trial).and_then(|shape| shape.deflated(count, spread));
    let years = trial.basis.days_per_year.sqrt();
    let is_believed = deflated.is_some_and(|ratio| ratio >= args.min_deflated_sharpe);
    let (returns, basis) = search.run(&point, |folds| folds.test.clone())?;
    let test = Curve::of(&returns, &basis);
    let path = args.out.join(RESULT);
    let looks = earlier_looks(&path)? + 1;
    let result = json!({
        "trials": record.trials.len(),
        "earlier_trials": args.earlier_trials,
        "sampler": args.sampler,
        "seed": args.seed,
        "score": "mean of the folds' annual Sharpe ratios less its standard error",
        "best": best,
        "candidate": point.candidate,
        "mode": point.mode,
        "settings": point.settings,
        "validation": Curve::of(&trial.returns, &trial.basis),
        "expected_best_sharpe": expected_best(count, spread).map(|best| best * years),
        "deflated_sharpe": deflated,
        "min_deflated_sharpe": args.min_deflated_sharpe,
        "believed": is_believed,
        "test": test,
        "test_looks": looks,
    });
    let json =
        serde_json::to_string_pretty(&result).map_err(|error| LabError::json(&path, error))?;
    write(&path, &(json + "\n"))?;
    write(&args.out.join(BEST), &space.settings_at(&best.place)?)?;
    let number = |value: Option<f64>| value.map_or("none".into(), |value| format!("{value:.3}"));
    let values = best
        .values
        .iter()
        .map(|(key, value)| format!("{key} = {value}"));
    let verdict = match is_believed {
        true => "believed",
        false => "not believed: cash is recommended",
    };
    Ok(vec![
        format!("{} trials, {resumed} of them from the record before", record.trials.len()),
        format!(
            "best: trial {}, score {:.3}: {}",
            best.trial,
            best.score,
            values.collect::<Vec<_>>().join(", ")
        ),
        format!(
            "deflated Sharpe ratio {} over {count} trials, {verdict}; test: Sharpe ratio {}, return {:.1} %, run {looks} on this span",
            number(deflated),
            number(test.sharpe),
            test.total_return * 100.0
        ),
        format!("wrote {} and {}", path.display(), args.out.join(BEST).display()),
    ]
    .into())
}

/// The values of a trial, for its record.
fn shown(point: &Point) -> BTreeMap<String, serde_json::Value> {
    let values = point.values.iter();
    values
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect()
}

fn digest_of(candidates: &BTreeMap<String, Candidate>) -> BTreeMap<&str, String> {
    let digest = |candidate: &Candidate| {
        let mut text = String::new();
        for (time_ns, forecast) in candidate.forecasts.values().flatten() {
            text += &format!("{time_ns} {forecast:?}\n");
        }
        sha256(text.as_bytes())
    };
    let named = candidates.iter();
    named
        .map(|(name, candidate)| (name.as_str(), digest(candidate)))
        .collect()
}

/// How often this search has run its best trial on the test span.
fn earlier_looks(path: &Path) -> Result<usize, LabError> {
    #[derive(Deserialize, Serialize)]
    struct Earlier {
        test_looks: usize,
    }
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let earlier: Earlier =
                serde_json::from_str(&text).map_err(|error| LabError::json(path, error))?;
            Ok(earlier.test_looks)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(LabError::file(path, error)),
    }
}

fn write(path: &Path, text: &str) -> Result<(), LabError> {
    write_atomically(path, text.as_bytes()).map_err(|error| LabError::file(path, error))
}
