//! `heqis-lab backtest`: strategies × signal modes × stocks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use heqis_backtest::allocation::Allocation;
use heqis_backtest::alternatives::Alternatives;
use heqis_backtest::backtest_input::BacktestInput;
use heqis_backtest::caveats::{self, MissingDividends};
use heqis_backtest::inputs::{Benchmark, LeftOut, RawBars, ReferenceData, markets};
use heqis_backtest::metrics::Metrics;
use heqis_backtest::portfolio;
use heqis_backtest::report::files::RunFiles;
use heqis_backtest::rule::ChosenRule;
use heqis_backtest::run::{self, Origin, RunId};
use heqis_backtest::settings::Settings;
use heqis_backtest::strategy::{DecidedSeries, Source};
use heqis_data::predictions::{Coverage, Predictions, SymbolCoverage};
use heqis_portfolio::PortfolioConfig;
use heqis_quant::decision::SignalMode;
use heqis_quant::{CleanConfig, Cleaner, DecisionRule, Strategy, Symbol};
use serde::Serialize;

use crate::batch_predictor::{BatchPredictor, progress};
use crate::error::LabError;
use crate::input_args::InputArgs;
use crate::output::CommandOutput;
use crate::pool::map;

/// The model output that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// The predicted return.
    Return,
    /// The classes.
    Class,
    /// Return and classes, which must agree.
    Both,
}

impl From<Mode> for SignalMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Return => Self::Return,
            Mode::Class => Self::Class,
            Mode::Both => Self::Both,
        }
    }
}

/// Trade history by the decisions of models, under the rules of the market.
#[derive(Args, Clone, Debug)]
pub struct BacktestArgs {
    /// What is read.
    #[command(flatten)]
    pub input: InputArgs,
    /// A strategy: DIRECTION_BUNDLE, FACTORS_BUNDLE,DIRECTION_BUNDLE or a table of predictions (CSV, CSV.gz, Parquet); may be
    /// given several times.
    #[arg(long, value_name = "SOURCE", required = true)]
    pub strategy: Vec<String>,
    /// Signal modes.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "return")]
    pub mode: Vec<Mode>,
    /// TOML file with rule, filters, broker, allocation, commission and basis; without a rule, the bundle's applies.
    #[arg(long, value_name = "TOML")]
    pub settings: Option<PathBuf>,
    /// Directory to write the runs into.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Trade the ranks of all stocks in one account, by the key `portfolio` of the settings, instead of one account for each.
    #[arg(long)]
    pub portfolio: bool,
    /// Table of bars, usually of an index, to compare with.
    #[arg(long, value_name = "CSV")]
    pub benchmark: Option<PathBuf>,
    /// Write no HTML pages.
    #[arg(long)]
    pub no_pages: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// One run as a line of the summary.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The run.
    pub label: RunId,
    /// The directory of its files.
    pub dir: PathBuf,
    /// The rule for entries and exits; of a portfolio that of the settings, which it does not use.
    pub rule: DecisionRule,
    /// The rule of a portfolio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub portfolio: Option<PortfolioConfig>,
    /// Where its decisions come from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Its metrics.
    pub metrics: Metrics,
    /// The same account without a model.
    #[serde(flatten)]
    pub alternatives: Alternatives,
    /// Number of orders.
    pub orders: usize,
    /// Number of fills.
    pub fills: usize,
    /// Bars on a price level that no event bridges.
    pub unbridged: usize,
    /// Instruments of the command that are not traded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Stocks whose dividends are missing, or may be.
    pub missing_dividends: Vec<MissingDividends>,
    /// Other caveats of the metrics.
    pub warnings: Vec<String>,
}

/// # Errors
/// [`LabError::Rule`] when two strategies have the same name.
pub(crate) fn require_different_names(sources: &[Source]) -> Result<(), LabError> {
    let mut names: Vec<String> = sources.iter().map(Source::name).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let rule = "must have different names, since these are the directories of the runs";
        return Err(LabError::rule_got("strategies", rule, &pair[0]));
    }
    Ok(())
}

/// Runs all combinations and returns one line for each run, in the order of strategies, modes and stocks. The files do not
/// depend on the number of threads.
///
/// # Errors
/// [`LabError`] when an input cannot be read, two strategies have the same name, or a run fails.
pub fn backtest(args: &BacktestArgs) -> Result<Vec<Line>, LabError> {
    let mut settings = match &args.settings {
        Some(path) => Settings::read(path)?,
        None => Settings::default(),
    };
    settings.markets = Some(markets(args.input.markets.as_deref())?);
    if args.portfolio {
        if settings.portfolio.is_none() && settings.allocation != Allocation::default() {
            eprintln!(
                "warning: `allocation` describes a portfolio by former keys, which are read for one more version: set \
                 `portfolio = {{ hold = {}, … }}`",
                settings.allocation.max_positions
            );
        }
        settings.portfolio = Some(portfolio::rule_of(&settings));
        settings.validate()?;
    }
    let clean = read_clean(args.input.clean.as_deref())?;
    let sources: Vec<Source> = args
        .strategy
        .iter()
        .map(|text| Source::parse(text))
        .collect();
    require_different_names(&sources)?;
    let span = args.input.span()?;
    let threads = args.input.threads();

    let tables = args.input.tables();
    let rules = settings.rules()?;
    let mut series = RawBars::read(&args.input.bars, tables, &args.input.import, Some(&rules))?;
    let left_out = series.leave_out(&rules)?;
    let symbols: Vec<Symbol> = series.bars.keys().copied().collect();
    let mut reference = ReferenceData::read(symbols.iter().copied(), &series.tables, clean)?;
    reference.markets = rules;
    let cleaner = Cleaner::new(reference.clean.clone())?;
    series.assess(
        &cleaner.with_markets(Arc::new(reference.markets.clone())),
        &args.input.import,
    )?;
    let benchmark = args.benchmark.as_deref().map(Benchmark::read).transpose()?;

    let tables = sources
        .iter()
        .map(|source| match source {
            Source::Table(path) => Predictions::read(path).map(Some),
            Source::Bundles { .. } => Ok(None),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let plans = plans(args, &settings, &sources, &tables)?;
    let mut predictor = BatchPredictor {
        sources: &sources,
        tables,
        strategy: predicting(&settings, args.portfolio),
        clean: &reference.clean,
        threads,
    };
    let by_source = predictor.predict(series.bars, |at, symbol, table, predicted| {
        let met = table.map(|table| table.symbol_coverage(symbol, &predicted.bars, span));
        Ok((
            met.transpose()?,
            predicted.decide(symbol, span, &plans[at].0),
        ))
    })?;
    let mut jobs = Vec::new();
    let mut origins = Vec::new();
    for (at, stocks) in by_source.into_iter().enumerate() {
        let (met, decided): (Vec<Option<SymbolCoverage>>, Vec<DecidedSeries>) =
            stocks.into_iter().unzip();
        let met: Vec<SymbolCoverage> = met.into_iter().flatten().collect();
        let table = predictor.tables[at].as_ref();
        let predictions = table
            .map(|table| table.total_coverage(&met, span))
            .transpose()?;
        for warning in predictions.iter().flat_map(Coverage::warnings) {
            eprintln!("warning: {warning}");
        }
        origins.push(Origin {
            rule_from: plans[at].1.clone(),
            predictions,
        });
        let groups: Vec<(String, Vec<DecidedSeries>)> = match args.portfolio {
            true => vec![("portfolio".into(), decided)],
            false => decided
                .into_iter()
                .map(|one| (one.symbol.to_string(), vec![one]))
                .collect(),
        };
        jobs.extend(groups.into_iter().map(|group| (at, group)));
    }
    let bar = progress(jobs.len(), "runs");
    // All modes of one strategy and group share one input.
    let job = |_: &mut (), (at, (symbol, decided)): (usize, (String, Vec<DecidedSeries>))| {
        let (settings, origin) = (&plans[at].0, &origins[at]);
        let concerned = decided.iter().map(|one| one.symbol).collect();
        let mut input = BacktestInput::new(decided, &reference, span, benchmark.as_ref())?;
        input.left_out.clone_from(&left_out);
        input.import = series.report.of(&concerned);
        let alternatives = Alternatives::of(&input, settings)?;
        let one = |mode: &Mode| -> Result<Line, LabError> {
            let id = RunId {
                strategy: sources[at].name(),
                mode: (*mode).into(),
                symbol: symbol.clone(),
            };
            let result = match args.portfolio {
                true => run::run_portfolio(&input, settings, id.mode)?,
                false => run::run(&input, settings, id.mode)?,
            };
            let dir = args
                .out
                .join(&id.strategy)
                .join(id.mode.name())
                .join(&id.symbol);
            let with_page = !args.no_pages;
            let files = RunFiles {
                id: &id,
                input: &input,
                settings,
                origin,
                alternatives: &alternatives,
                result: &result,
            };
            files.save(&dir, with_page)?;
            Ok(Line {
                label: id,
                dir,
                rule: settings.rule,
                portfolio: settings.portfolio.clone().filter(|_| args.portfolio),
                origin: origin.clone(),
                orders: result.ledger.orders.len(),
                fills: result.ledger.fills.len(),
                metrics: result.metrics,
                alternatives: alternatives.clone(),
                unbridged: input.unbridged,
                left_out: left_out.clone(),
                missing_dividends: result.caveats.missing_dividends,
                warnings: result.caveats.warnings,
            })
        };
        let lines = args.mode.iter().enumerate();
        lines
            .map(|(order, mode)| Ok(((at, order), one(mode)?)))
            .collect::<Result<Vec<_>, _>>()
    };
    let lines = map(jobs, threads, || (), job, || bar.inc(1))?;
    bar.finish_and_clear();
    let mut lines: Vec<((usize, usize), Line)> = lines.into_iter().flatten().collect();
    // In the order of strategies, modes and stocks.
    lines.sort_by_key(|(order, _)| *order);
    let lines: Vec<Line> = lines.into_iter().map(|(_, line)| line).collect();
    summary(&args.out, &lines)?;
    Ok(lines)
}

/// The strategy whose pipeline predicts. A portfolio reads limits and references, which it computes only for a filter.
fn predicting(settings: &Settings, is_portfolio: bool) -> Strategy {
    let mut strategy = settings.strategy(SignalMode::Return);
    strategy.filters.limit_up_hold |= is_portfolio;
    strategy
}

/// Reads the cleaner's settings, or returns the defaults.
///
/// # Errors
/// [`LabError::Data`] when the file cannot be read.
pub(crate) fn read_clean(path: Option<&Path>) -> Result<CleanConfig, LabError> {
    let Some(path) = path else {
        return Ok(CleanConfig::default());
    };
    let text = std::fs::read_to_string(path).map_err(|source| LabError::file(path, source))?;
    serde_json::from_str(&text).map_err(|source| LabError::json(path, source))
}

/// Returns the settings of each source with its rule, and the rule's origin.
fn plans(
    args: &BacktestArgs,
    settings: &Settings,
    sources: &[Source],
    tables: &[Option<Predictions>],
) -> Result<Vec<(Settings, String)>, LabError> {
    let plan = |(source, table): (&Source, &Option<Predictions>)| {
        let table = table.as_ref();
        if args.portfolio {
            // Ranks need neither thresholds nor returns.
            let mut modes = args.mode.iter().map(|mode| SignalMode::from(*mode));
            if modes.any(SignalMode::reads_classes)
                && table.is_some_and(|one| !one.has_probabilities())
            {
                let rule = "must have probabilities, which the mode class reads";
                return Err(LabError::rule(source.name(), rule));
            }
            return Ok((settings.clone(), "no rule: a portfolio ranks".to_owned()));
        }
        let chosen = ChosenRule::of(source, table, settings, args.settings.as_deref())?;
        for mode in &args.mode {
            table.map_or(Ok(()), |table| table.require((*mode).into(), &chosen.rule))?;
        }
        let settings = Settings {
            rule: chosen.rule,
            ..settings.clone()
        };
        settings.validate()?;
        Ok((settings, chosen.from))
    };
    sources.iter().zip(tables).map(plan).collect()
}

/// Returns names and values of the summary's columns.
fn columns(metrics: &Metrics) -> [(&'static str, Option<f64>); 17] {
    let benchmark = metrics.benchmark.as_ref();
    [
        ("total_return", Some(metrics.curve.total_return)),
        ("annual_return", metrics.curve.annual_return),
        ("volatility", metrics.curve.volatility),
        ("sharpe", metrics.curve.sharpe),
        ("sortino", metrics.curve.sortino),
        ("calmar", metrics.curve.calmar),
        ("max_drawdown", Some(metrics.curve.max_drawdown)),
        ("alpha", benchmark.and_then(|benchmark| benchmark.alpha)),
        ("beta", benchmark.and_then(|benchmark| benchmark.beta)),
        (
            "relative_return",
            benchmark.and_then(|benchmark| benchmark.relative_return),
        ),
        (
            "tracking_error",
            benchmark.and_then(|benchmark| benchmark.tracking_error),
        ),
        (
            "information_ratio",
            benchmark.and_then(|benchmark| benchmark.information_ratio),
        ),
        ("win_rate", metrics.trades.win_rate),
        ("profit_factor", metrics.trades.profit_factor),
        ("turnover", metrics.turnover),
        ("exposure", metrics.exposure),
        ("cost_share", metrics.cost_share),
    ]
}

/// Writes `summary.csv` and `summary.json` over all runs.
fn summary(out: &Path, lines: &[Line]) -> Result<(), LabError> {
    let mut csv = String::from("strategy,mode,symbol");
    if let Some(line) = lines.first() {
        for (name, _) in columns(&line.metrics) {
            csv += ",";
            csv += name;
        }
    }
    csv += ",orders,fills";
    for name in ["hold", "cash"] {
        for metric in ["total_return", "annual_return", "sharpe", "max_drawdown"] {
            let _ = write!(csv, ",{name}_{metric}");
        }
    }
    csv += "\n";
    for line in lines {
        let RunId {
            strategy,
            mode,
            symbol,
        } = &line.label;
        // Writing to a String cannot fail.
        let _ = write!(csv, "{strategy},{},{symbol}", mode.name());
        for (_, value) in columns(&line.metrics) {
            csv += ",";
            if let Some(value) = value {
                let _ = write!(csv, "{value}");
            }
        }
        let _ = write!(csv, ",{},{}", line.orders, line.fills);
        for (_, metrics) in line.alternatives.named() {
            let curve = &metrics.curve;
            let (total, drawdown) = (Some(curve.total_return), Some(curve.max_drawdown));
            for value in [total, curve.annual_return, curve.sharpe, drawdown] {
                let _ = write!(csv, ",{}", value.map_or(String::new(), |v| v.to_string()));
            }
        }
        csv += "\n";
    }
    let path = out.join("summary.csv");
    std::fs::write(&path, csv).map_err(|source| LabError::file(&path, source))?;
    let path = out.join("summary.json");
    let mut json =
        serde_json::to_string_pretty(lines).map_err(|source| LabError::json(&path, source))?;
    json.push('\n');
    std::fs::write(&path, json).map_err(|source| LabError::file(&path, source))
}

/// Runs the command and returns the lines to print.
///
/// # Errors
/// As [`backtest`].
pub fn run(args: &BacktestArgs) -> Result<CommandOutput, LabError> {
    let lines = backtest(args)?;
    if args.json {
        let path = &args.out;
        let json = serde_json::to_string(&lines).map_err(|source| LabError::json(path, source))?;
        return Ok(vec![json].into());
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "strategy", "mode", "symbol", "days", "a year", "Sharpe", "drawdown", "trips", "wins",
        "fees",
    ]);
    let percent =
        |value: Option<f64>| value.map_or("-".into(), |value| format!("{:.2} %", value * 100.0));
    let mut row = |strategy: &str, mode: &str, symbol: &str, metrics: &Metrics| {
        table.add_row([
            strategy.to_owned(),
            mode.to_owned(),
            symbol.to_owned(),
            metrics.days.to_string(),
            percent(metrics.curve.annual_return),
            metrics
                .curve
                .sharpe
                .map_or("-".into(), |s| format!("{s:.3}")),
            percent(Some(metrics.curve.max_drawdown)),
            metrics.trades.count.to_string(),
            percent(metrics.trades.win_rate),
            format!("{:.2}", metrics.fees_cents as f64 / 100.0),
        ]);
    };
    // An instrument appears in several lines, with the same alternatives and bars in each.
    let mut instruments: BTreeMap<&str, &Line> = BTreeMap::new();
    for line in &lines {
        let RunId {
            strategy, symbol, ..
        } = &line.label;
        row(strategy, line.label.mode.name(), symbol, &line.metrics);
        let known = instruments.entry(symbol).or_insert(line);
        if line.unbridged > known.unbridged {
            *known = line;
        }
    }
    for (symbol, line) in &instruments {
        for (strategy, metrics) in line.alternatives.named() {
            row(strategy, "-", symbol, metrics);
        }
    }
    let mut shown: Vec<String> = table.to_string().lines().map(str::to_owned).collect();
    let mut rules: Vec<String> = lines
        .iter()
        .map(|line| {
            let (name, rule) = (&line.label.strategy, line.rule);
            if let Some(portfolio) = &line.portfolio {
                let portfolio = serde_json::to_string(portfolio).unwrap_or_default();
                return format!("portfolio of {name}: {portfolio}");
            }
            format!(
                "rule of {name}: enter {}, exit {}, min_confidence {}, min_exit_confidence {} ({})",
                rule.enter,
                rule.exit,
                rule.min_confidence,
                rule.min_exit_confidence,
                line.origin.rule_from
            )
        })
        .collect();
    rules.dedup();
    shown.append(&mut rules);
    for line in &lines {
        let Some(benchmark) = line.metrics.benchmark else {
            continue;
        };
        let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.3}"));
        shown.push(format!(
            "{} {} against the benchmark: {} in all, tracking error {}, information ratio {}, beta {}; turnover {} a year, \
             costs {} of what was traded",
            line.label.strategy,
            line.label.symbol,
            percent(benchmark.relative_return),
            percent(benchmark.tracking_error),
            number(benchmark.information_ratio),
            number(benchmark.beta),
            number(line.metrics.turnover),
            percent(line.metrics.cost_share),
        ));
    }
    let unbridged: usize = instruments.values().map(|line| line.unbridged).sum();
    if unbridged > 0 {
        shown.push(format!(
            "{}: a jump in price without an event in --events; a position held across it books the jump as profit or loss",
            match unbridged {
                1 => "1 bar".to_owned(),
                count => format!("{count} bars"),
            }
        ));
    }
    if let Some(line) = lines.first() {
        for LeftOut { symbol, reason } in &line.left_out {
            shown.push(format!("{symbol} is left out: {reason}"));
        }
    }
    let missing = caveats::missing(lines.iter().flat_map(|line| &line.missing_dividends));
    shown.extend(missing.map(|missing| format!("warning: {missing}")));
    // One warning of a table may concern many runs.
    let mut warned = BTreeSet::new();
    for line in &lines {
        for warning in line
            .warnings
            .iter()
            .filter(|warning| warned.insert(*warning))
        {
            shown.push(format!("warning: {}: {warning}", line.label.symbol));
        }
    }
    shown.push(format!("wrote {}", args.out.join("summary.csv").display()));
    Ok(shown.into())
}
