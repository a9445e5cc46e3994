//! Choosing among models without overfitting the choice: many trials on validation spans, one run on the test span.
//!
//! - [`folds`]: walk-forward spans with purge and embargo.
//! - [`candidate`]: forecasts of models, from tables or bundles, and their ensemble; [`baselines`]: what any model must beat.
//! - [`trained`]: generators trained for every fold.
//! - [`evaluator`]: one trial on one span, as a backtest: the boards' decision step and the broker.
//! - [`choose`]: score and choice; [`deflated`]: what is left of a Sharpe ratio that is the best of many.
//! - [`report`]: `best_metrics.csv` and `selection.json`.
//!
//! Input: bars, and tables of forecasts or the settings of a training. Output: a choice. A forecast states the last day
//! that its model was fitted on; one fitted on later days than allowed is rejected.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use clap::Args;
use heqis_backtest::BrokerConfig;
use heqis_backtest::inputs::markets;
use heqis_backtest::settings::Settings;
use heqis_backtest::strategy::Source;
use heqis_data::import_args::ImportArgs;
use heqis_data::predictions::{Coverage, Predictions};
use heqis_data::prepare::reference::{self, Tables};
use heqis_quant::adjust::EventTable;
use heqis_quant::{BadRow, Bar, Date, DecisionRule, SignalMode, Span, Symbol};
use serde_json::json;

use self::candidate::Candidate;
use self::choose::{Trial, best, deflate};
use self::evaluator::Evaluator;
use self::folds::{FoldPlan, Folds};
use self::report::{Selected, earlier_looks};
use self::trained::Trained;
use crate::error::LabError;
use crate::output::CommandOutput;

pub mod baselines;
pub mod candidate;
pub mod choose;
pub mod deflated;
pub mod evaluator;
pub mod folds;
pub mod report;
pub mod trained;

/// The deflated Sharpe ratio from which a winner is believed: one of twenty worthless winners passes it.
pub(crate) const BELIEVED_FROM: f64 = 0.95;

/// Days that an order to buy stays valid. The decision step assumes that every decision is executed, so an order that met
/// a suspension or an open at the limit needs a second chance; otherwise the account would stay flat for the rest of the span.
const BUY_DAYS: u32 = 5;

/// Choose among models on validation spans, and run the choice once on the test span.
#[derive(Args, Clone, Debug)]
pub struct SelectArgs {
    /// Bars, one file an instrument; without a symbol column it is named after it, such as 002032.SZ.csv.
    #[arg(required = true, value_name = "BARS")]
    pub data: Vec<PathBuf>,
    /// A model: NAME=FILE, a table of predictions (CSV, CSV.gz, Parquet), or NAME=DIRECTION_BUNDLE@DATE or NAME=FACTORS_BUNDLE,DIRECTION_BUNDLE@DATE with the last day that the bundles were fitted
    /// on or chosen by. May be given several times; the mean of two or more is a candidate as well.
    #[arg(long = "candidate", value_name = "NAME=SOURCE")]
    pub candidates: Vec<String>,
    /// Settings of a training (TOML): its generators are trained for every fold and for the test span, on earlier days, and
    /// are candidates. Runs and bundles stay under DIR/folds; an interrupted run is resumed.
    #[arg(long, value_name = "TOML")]
    pub train: Option<PathBuf>,
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
    /// Former name of --purge-bars, accepted for one version.
    #[arg(long, value_name = "BARS", hide = true, conflicts_with = "purge_bars")]
    pub purge_days: Option<usize>,
    /// Further trading days left out before every evaluated span.
    #[arg(long, value_name = "DAYS", default_value_t = 5)]
    pub embargo_days: usize,
    /// Buy at a predicted return of at least this much.
    #[arg(
        long,
        value_name = "RETURN",
        default_value_t = 0.001,
        allow_negative_numbers = true
    )]
    pub enter: f64,
    /// Sell at a predicted return of at most this much.
    #[arg(long, value_name = "RETURN", default_value_t = -0.001, allow_negative_numbers = true)]
    pub exit: f64,
    /// Buy only at a probability of up of at least this much.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub min_confidence: f64,
    /// Lowest deflated Sharpe ratio at which a winner is believed; below it, cash is recommended.
    #[arg(long = "min-deflated-sharpe", value_name = "PROBABILITY", default_value_t = BELIEVED_FROM)]
    pub believe_from: f64,
    /// Number of earlier trials on this data, manual or automatic: they count in the deflated Sharpe ratio.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub earlier_trials: usize,
    /// Ex-right events, or a vendor's dividends [default: those of a fetched directory next to the bars]; where the cleaner
    /// suspects an unlisted one, new shares are assumed.
    #[arg(long, value_name = "CSV")]
    pub events: Option<PathBuf>,
    /// Own market file, or a directory of them: see docs/markets.md.
    #[arg(long, value_name = "TOML_OR_DIR")]
    pub markets: Option<PathBuf>,
    /// Directory of best_metrics.csv and selection.json.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// How tables of bars are read.
    #[command(flatten)]
    pub import: ImportArgs,
}

/// Runs the command and returns a summary of each symbol.
///
/// # Errors
///
/// [`LabError`] for settings, bars and forecasts that break a rule, and files that cannot be read or written.
pub fn run(args: &SelectArgs) -> Result<CommandOutput, LabError> {
    if !(0.0..=1.0).contains(&args.believe_from) {
        let rule = format!("must lie from 0 to 1, got {}", args.believe_from);
        return Err(LabError::rule("--believe-from", rule));
    }
    let purge_bars = args.purge_days.unwrap_or(args.purge_bars);
    if args.purge_days.is_some() {
        eprintln!(
            "warning: --purge-days is now --purge-bars; the old name will be removed in the next version"
        );
    }
    let gap_bars = purge_bars.saturating_add(args.embargo_days);
    let trained = args.train.as_ref();
    let trained = trained
        .map(|path| Trained::read(path, args.out.join("folds"), gap_bars))
        .transpose()?;
    let horizon_bars = trained.as_ref().map_or(1, Trained::horizon_bars);
    if purge_bars < horizon_bars {
        let rule =
            format!("must be at least {horizon_bars}, the horizon of the labels that --train fits");
        return Err(LabError::rule_got("--purge-bars", rule, purge_bars));
    }
    let models = models(&args.candidates, trained.as_ref())?;
    let table = match args
        .events
        .clone()
        .or_else(|| Tables::next_to(args.data.first()?)?.events)
    {
        Some(path) => reference::events(&path)?,
        None => EventTable::default(),
    };
    let rules = markets(args.markets.as_deref())?;
    let evaluator = Evaluator {
        settings: Settings {
            markets: Some(rules.clone()),
            rule: DecisionRule {
                enter: args.enter,
                exit: args.exit,
                min_confidence: args.min_confidence,
                min_exit_confidence: 0.0,
            },
            broker: BrokerConfig {
                buy_days: BUY_DAYS,
                ..BrokerConfig::default()
            },
            ..Settings::default()
        },
        events: table.events,
    };
    for model in &models {
        if let NamedModel::Table { table, .. } = model {
            table.require(SignalMode::Return, &evaluator.settings.rule)?;
        }
    }
    let plan = FoldPlan {
        validate_from: args.validate_from,
        test_from: args.test_from,
        folds: args.folds,
        purge_bars,
        embargo_days: args.embargo_days,
    };
    let mut series = Vec::new();
    let mut left_out = Vec::new();
    for path in &args.data {
        let (symbol, bars, _) = args.import.one_series_in(path, Some(&rules))?;
        match rules.untradable(symbol) {
            None => series.push((path, bars)),
            Some(reason) => left_out.push(format!("{symbol} is left out: {reason}")),
        }
    }
    if let (true, Some(first)) = (series.is_empty(), left_out.first()) {
        return Err(LabError::rule("bars", first.clone()));
    }
    let (paths, series): (Vec<&PathBuf>, Vec<Vec<Bar>>) = series.into_iter().unzip();
    let coverages = coverages(&models, &series, args.validate_from)?;
    let mut selected: Vec<Selected> = Vec::new();
    for (path, bars) in paths.into_iter().zip(series) {
        let mut tables = models
            .iter()
            .map(|model| model.candidate(&bars))
            .collect::<Result<Vec<_>, _>>()?;
        if let (Some(trained), Some(first)) = (&trained, bars.first()) {
            let days: Vec<Date> = bars.iter().map(|bar| bar.date).collect();
            tables.extend(trained.candidates(first.symbol, &bars, &plan.cut(&days)?)?);
        }
        let one = select(&bars, &plan, &tables, &evaluator, args.earlier_trials)?;
        if selected.iter().any(|other| other.symbol == one.symbol) {
            let rule = format!("{} is given twice", one.symbol);
            return Err(LabError::rule(path.display().to_string(), rule));
        }
        let looks = earlier_looks(&args.out, one.symbol, one.test_span)?;
        selected.push(Selected {
            test_looks: looks + 1,
            believe_from: args.believe_from,
            ..one
        });
    }
    let mut settings = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "validate_from": args.validate_from,
        "test_from": args.test_from,
        "folds": args.folds,
        "purge_bars": purge_bars,
        "embargo_days": args.embargo_days,
        "earlier_trials": args.earlier_trials,
        "believe_from": args.believe_from,
        "candidates": args.candidates,
        "predictions": coverages,
        "train": trained.as_ref().map(Trained::config),
        "judge": evaluator.settings,
        "score": "mean of the folds' annual Sharpe ratios less its standard error",
    });
    if !left_out.is_empty() {
        settings["left_out"] = json!(left_out);
    }
    report::write(&args.out, &selected, &settings)?;
    let mut lines: Vec<String> = selected.iter().map(summary).collect();
    let is_selected = |row: &&BadRow| {
        let one = |symbol| selected.iter().any(|one| one.symbol == symbol);
        row.symbol.is_none_or(one)
    };
    for row in table.bad.iter().filter(is_selected) {
        lines.push(format!("warning: an event is left out: {}", row.error));
    }
    lines.append(&mut left_out);
    lines.push(format!("wrote {}", args.out.join(report::TABLE).display()));
    Ok(lines.into())
}

/// Chooses for one symbol.
///
/// # Errors
///
/// As [`run`].
pub fn select(
    bars: &[Bar],
    plan: &FoldPlan,
    tables: &[Candidate],
    evaluator: &Evaluator,
    earlier_trials: usize,
) -> Result<Selected, LabError> {
    let Some(symbol) = bars.first().map(|bar| bar.symbol) else {
        return Err(LabError::rule("bars", "must hold a bar"));
    };
    let days: Vec<Date> = bars.iter().map(|bar| bar.date).collect();
    let folds = plan.cut(&days)?;
    let candidates = candidates(symbol, bars, &folds, tables)?;
    let mut trials = Vec::new();
    let mut trial_forecasts = Vec::new();
    let mut basis = evaluator.settings.basis;
    for candidate in &candidates {
        candidate.check(symbol, bars, &folds)?;
        let forecasts = &candidate.forecasts[&symbol];
        for mode in candidate.modes() {
            let runs = folds
                .folds
                .iter()
                .map(|fold| evaluator.run(bars, fold.validation.clone(), forecasts, *mode))
                .collect::<Result<Vec<_>, _>>()?;
            // The market's basis, unless the settings specify one.
            basis = runs.first().map_or(basis, |run| run.metrics.basis);
            trials.push(Trial::of(&candidate.name, *mode, runs, &basis));
            trial_forecasts.push(forecasts);
        }
    }
    let Some(chosen) = best(&trials) else {
        return Err(LabError::rule("candidates", "must be at least one"));
    };
    // The choice is final here: the test span is run for the chosen trial only.
    let (test, mode) = (folds.test.clone(), trials[chosen].mode);
    let test = evaluator.run(bars, test, trial_forecasts[chosen], mode)?;
    let span = |range: &Range<usize>| Span {
        from: days[range.start],
        to: days[range.end - 1],
    };
    let spans = folds.folds.iter();
    Ok(Selected {
        symbol,
        folds: spans
            .map(|fold| (span(&fold.train), span(&fold.validation)))
            .collect(),
        last_train: span(&folds.last_train),
        test_span: span(&folds.test),
        believe_from: BELIEVED_FROM,
        deflation: deflate(&trials, chosen, earlier_trials, &basis),
        trials,
        chosen,
        test,
        test_looks: 1,
        assumed: evaluator
            .assumed(&bars[folds.folds[0].validation.start..])
            .len(),
    })
}

/// Returns all candidates for a symbol, the simplest first: built-in ones, tables, the ensemble.
fn candidates(
    symbol: Symbol,
    bars: &[Bar],
    folds: &Folds,
    tables: &[Candidate],
) -> Result<Vec<Candidate>, LabError> {
    let built_in = [
        baselines::cash(bars),
        baselines::hold(bars),
        baselines::last(bars)?,
        baselines::linear(bars, folds)?,
        baselines::boosted(bars, folds)?,
    ];
    let mut all: Vec<Candidate> = baselines::NAMES
        .into_iter()
        .zip(built_in)
        .map(|(name, forecasts)| Candidate {
            name: name.to_owned(),
            forecasts: BTreeMap::from([(symbol, forecasts)]),
        })
        .collect();
    all.extend_from_slice(tables);
    if tables.len() > 1 {
        all.push(Candidate::ensemble("ensemble", tables));
    }
    Ok(all)
}

/// A model of the command line.
#[derive(Debug)]
pub(crate) enum NamedModel {
    /// A table with its forecasts of all symbols.
    Table { name: String, table: Predictions },
    /// Bundles that compute forecasts on demand.
    Bundles {
        name: String,
        source: Source,
        fitted_to: Date,
    },
}

impl NamedModel {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Table { name, .. } | Self::Bundles { name, .. } => name,
        }
    }

    /// Returns its forecasts for bars of one symbol.
    pub(crate) fn candidate(&self, bars: &[Bar]) -> Result<Candidate, LabError> {
        match self {
            Self::Table { name, table } => Ok(Candidate::of_table(name, table, bars)),
            Self::Bundles {
                name,
                source,
                fitted_to,
            } => Candidate::of_bundles(name, source, *fitted_to, bars),
        }
    }
}

/// Compares every table with the bars from the first validation day on, and prints warnings of rows and bars that do not
/// match.
fn coverages(
    models: &[NamedModel],
    series: &[Vec<Bar>],
    from: Date,
) -> Result<Vec<Coverage>, LabError> {
    let bars: Vec<(Symbol, &[Bar])> = series
        .iter()
        .filter_map(|bars| Some((bars.first()?.symbol, &bars[..])))
        .collect();
    let last = bars
        .iter()
        .filter_map(|(_, bars)| bars.last())
        .map(|bar| bar.date)
        .max();
    let span = Span::new(from, last.unwrap_or(from).max(from))?;
    let mut all = Vec::new();
    for model in models {
        if let NamedModel::Table { table, .. } = model {
            let coverage = table.coverage(&bars, span)?;
            for warning in coverage.warnings() {
                eprintln!("warning: {warning}");
            }
            all.push(coverage);
        }
    }
    Ok(all)
}

/// Reads `NAME=SOURCE` pairs. A name is unique among all candidates, trained ones included.
pub(crate) fn models(
    pairs: &[String],
    trained: Option<&Trained>,
) -> Result<Vec<NamedModel>, LabError> {
    let mut taken: Vec<&str> = baselines::NAMES.into_iter().chain(["ensemble"]).collect();
    for name in trained.into_iter().flat_map(Trained::names) {
        if taken.contains(&name) {
            return Err(LabError::rule(
                "--train",
                format!("the name {name} is taken"),
            ));
        }
        taken.push(name);
    }
    let mut models = Vec::new();
    for pair in pairs {
        let refuse = |rule: String| Err(LabError::rule("--candidate", rule));
        let Some((name, source)) = pair.split_once('=') else {
            return refuse(format!("must be NAME=SOURCE, got {pair}"));
        };
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if name.is_empty() || !name.chars().all(is_plain) {
            return refuse(format!(
                "a name may hold only ASCII letters, digits and - _ . , got {name}"
            ));
        }
        if taken.contains(&name) {
            return refuse(format!("the name {name} is taken"));
        }
        taken.push(name);
        if let Source::Table(path) = Source::parse(source) {
            models.push(NamedModel::Table {
                name: name.to_owned(),
                table: Predictions::read(&path)?,
            });
            continue;
        }
        let Some((bundles, date)) = source.rsplit_once('@') else {
            return refuse(format!(
                "bundles need the last day that they were fitted on, as {source}@DATE"
            ));
        };
        models.push(NamedModel::Bundles {
            name: name.to_owned(),
            source: Source::parse(bundles),
            fitted_to: Date::parse(date)?,
        });
    }
    Ok(models)
}

fn summary(one: &Selected) -> String {
    let winner = &one.trials[one.chosen];
    if winner.candidate == "cash" {
        let looks = one.test_looks;
        return format!(
            "{}: none of {} trials beats cash; run {looks} on the test span",
            one.symbol, one.deflation.trials
        );
    }
    let shown = |value: Option<f64>| value.map_or("none".to_owned(), |value| format!("{value:.3}"));
    let verdict = match one.is_believed() {
        true => String::new(),
        false => format!("; {}, cash is recommended", one.verdict()),
    };
    format!(
        "{}: {} by {} of {} trials, score {:.3}, deflated Sharpe ratio {}; test {} to {}: Sharpe ratio {}, return {:.1} %, \
         maximum drawdown {:.1} %, run {} on the test span; {} ex-rights assumed{verdict}",
        one.symbol,
        winner.candidate,
        winner.mode.name(),
        one.deflation.trials,
        winner.score,
        shown(one.deflation.deflated),
        one.test_span.from,
        one.test_span.to,
        shown(one.test.metrics.curve.sharpe),
        one.test.metrics.curve.total_return * 100.0,
        one.test.metrics.curve.max_drawdown * 100.0,
        one.test_looks,
        one.assumed
    )
}
