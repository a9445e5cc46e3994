//! `parity`: decisions on the same bars by four ways, which must be equal to the byte.
//!
//! | way | computation |
//! |---|---|
//! | in-process | [`DecisionPipeline`](heqis_quant::pipeline::DecisionPipeline) in this process, as in a backtest |
//! | single-host | `heqis-runtime`, all stages in one process |
//! | two-nodes | `heqis-runtime`, gateway and compute node as processes, over NNG |
//! | journal-replay | the decision step on the predictions of the two nodes' journal |
//!
//! - [`replay`]: bars in the order of the boards, and the first and last way. [`runtime`]: the other two. [`journal`]: their
//!   decisions. [`portfolios`]: the same for ranks.
//!
//! What is *not* here: a broker. Boards report no fills yet, so all ways assume that every order is executed at the close of
//! its decision.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use heqis_data::renamed::{RenamedKey, warnings, without_former};
use heqis_quant::decision::journal::EntryId;
use heqis_quant::{Bar, Decision, Filters, Strategy, Symbol};

use crate::error::LabError;
use crate::output::CommandOutput;

pub mod journal;
pub mod portfolios;
pub mod replay;
pub mod runtime;

/// Decide on the same bars in the lab, in one process, on two nodes and from a journal; the exit code is 1 when a decision
/// differs in any byte.
#[derive(Args, Clone, Debug)]
pub struct ParityArgs {
    /// Strategies by name, each with mode, rule and filters.
    #[arg(long, value_name = "TOML", default_value = "examples/strategies.toml")]
    pub strategies: PathBuf,
    /// Portfolios by name, each with section and rule, which are compared instead of strategies.
    #[arg(long, value_name = "TOML")]
    pub portfolios: Option<PathBuf>,
    /// Only these strategies or portfolios; all by default.
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Daily bars, one file for each instrument, or with a symbol column.
    #[arg(
        long,
        value_name = "CSV",
        num_args = 1..,
        default_values = [
            "data/ashare/000300.SH.csv",
            "data/ashare/002032.SZ.csv",
            "data/ashare/600000.SH.csv",
            "data/us/bokeh_5stocks_unadj_adjclose_2000_2013.csv",
        ]
    )]
    pub data: Vec<PathBuf>,
    /// Bundle of the feature model.
    #[arg(long, value_name = "DIR", default_value = "models/baseline-factors")]
    pub factors: PathBuf,
    /// Bundle of the direction model.
    #[arg(long, value_name = "DIR", default_value = "models/baseline-direction")]
    pub direction: PathBuf,
    /// The `heqis-runtime` binary; by default the one next to this program.
    #[arg(long, value_name = "FILE")]
    pub runtime: Option<PathBuf>,
    /// Directory for topologies and journals.
    #[arg(long, value_name = "DIR", default_value = "out/parity")]
    pub work: PathBuf,
}

/// Names of the ways in the order of their decisions.
pub const WAYS: [&str; 4] = ["in-process", "single-host", "two-nodes", "journal-replay"];

/// The first difference of a way from the first way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The way that differs.
    pub way: &'static str,
    /// Number of the decision, from 1.
    pub decision: usize,
    /// The decision of the first way; `None` when it has no such decision.
    pub expected: Option<String>,
    /// The decision of the other way.
    pub got: Option<String>,
}

/// Compares a way with the first one, byte by byte.
#[must_use]
pub fn compare(way: &'static str, expected: &[String], got: &[String]) -> Option<Difference> {
    (0..expected.len().max(got.len()))
        .find(|&at| expected.get(at) != got.get(at))
        .map(|at| Difference {
            way,
            decision: at + 1,
            expected: expected.get(at).cloned(),
            got: got.get(at).cloned(),
        })
}

/// Renamed keys of a file of strategies.
const RENAMED: [RenamedKey<'static>; 2] = [
    ("*.filters", Filters::RENAMED[0].0, Filters::RENAMED[0].1),
    ("*.filters", Filters::RENAMED[1].0, Filters::RENAMED[1].1),
];

/// Reads strategies by name and checks each.
///
/// # Errors
///
/// [`LabError::Data`] when the file cannot be read, [`LabError::Rule`] when it is not a table of strategies or
/// holds none, and [`LabError::Quant`] when one is invalid.
pub fn strategies(path: &Path) -> Result<BTreeMap<String, Strategy>, LabError> {
    let text = std::fs::read_to_string(path).map_err(|source| LabError::file(path, source))?;
    let refuse = |error: toml::de::Error| {
        LabError::rule(path.display(), without_former(&error.to_string(), &RENAMED))
    };
    let table: toml::Table = toml::from_str(&text).map_err(refuse)?;
    let renamed = warnings(&table, &RENAMED);
    for warning in renamed.map_err(|both| LabError::rule(path.display(), both))? {
        eprintln!("warning: {}: {warning}", path.display());
    }
    let strategies: BTreeMap<String, Strategy> = toml::from_str(&text).map_err(refuse)?;
    if strategies.is_empty() {
        return Err(LabError::rule(path.display(), "holds no strategy"));
    }
    for strategy in strategies.values() {
        strategy.validate()?;
    }
    Ok(strategies)
}

/// Runs all ways for all strategies and reports the comparison.
///
/// # Errors
///
/// [`LabError`] when an input cannot be read, or the runtime cannot be started or fails.
pub fn run(args: &ParityArgs) -> Result<CommandOutput, LabError> {
    let bars = replay::bars(&args.data)?;
    match &args.portfolios {
        None => run_strategies(args, &bars),
        Some(path) => run_portfolios(args, path, bars),
    }
}

/// Keeps the names of `--only`.
fn choose<T>(
    mut all: BTreeMap<String, T>,
    args: &ParityArgs,
    path: &Path,
    what: &str,
) -> Result<BTreeMap<String, T>, LabError> {
    if let Some(name) = args.only.iter().find(|name| !all.contains_key(*name)) {
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        let rule = format!("holds no {what} '{name}', but {}", names.join(", "));
        return Err(LabError::rule(path.display(), rule));
    }
    all.retain(|name, _| args.only.is_empty() || args.only.contains(name));
    Ok(all)
}

fn run_strategies(args: &ParityArgs, bars: &[Bar]) -> Result<CommandOutput, LabError> {
    let path = &args.strategies;
    let chosen = choose(strategies(path)?, args, path, "strategy")?;
    let runtime = runtime::Runtime::new(args)?;
    let mut sum = Sum::default();
    for (name, strategy) in &chosen {
        let decided = replay::in_process(bars, args, strategy)?;
        let expected: Vec<String> = decided.iter().map(Decision::text).collect();
        let rule = runtime::Rule::Signal(strategy);
        let texts = |path: PathBuf| journal::read(&path);
        let single = texts(runtime.single_host(name, rule)?)?;
        let two = texts(runtime.two_nodes(name, rule)?)?;
        let again = replay::journal(bars, strategy, &two)?;
        sum.add(name, &decided, &expected, [&single, &two, &again]);
    }
    Ok(sum.output(chosen.len(), "strategies", bars))
}

fn run_portfolios(
    args: &ParityArgs,
    path: &Path,
    mut bars: Vec<Bar>,
) -> Result<CommandOutput, LabError> {
    portfolios::sort(&mut bars);
    let chosen = choose(portfolios::plans(path)?, args, path, "portfolio")?;
    let runtime = runtime::Runtime::new(args)?;
    let mut sum = Sum::default();
    for (name, plan) in &chosen {
        let named = portfolios::in_process(&bars, args, plan)?;
        let expected: Vec<String> = named
            .iter()
            .map(|(decision, missing)| portfolios::text(decision, missing))
            .collect();
        let rule = runtime::Rule::Portfolio(plan);
        let texts = |path: PathBuf| -> Result<_, LabError> {
            let entries = journal::entries(&path)?;
            let text = |(id, decision): &(_, _)| portfolios::text(decision, missing_of(id));
            Ok((entries.iter().map(text).collect::<Vec<_>>(), entries))
        };
        let (single, _) = texts(runtime.single_host(name, rule)?)?;
        let (two, entries) = texts(runtime.two_nodes(name, rule)?)?;
        let again = portfolios::journal(&bars, plan, &entries)?;
        let decided: Vec<Decision> = named.into_iter().map(|(decision, _)| decision).collect();
        sum.add(name, &decided, &expected, [&single, &two, &again]);
    }
    Ok(sum.output(chosen.len(), "portfolios", &bars))
}

fn missing_of(id: &EntryId) -> &[Symbol] {
    &id.missing
}

/// What is compared so far.
struct Sum {
    lines: Vec<String>,
    compared: usize,
    good: bool,
}

impl Default for Sum {
    fn default() -> Self {
        Self {
            lines: Vec::new(),
            compared: 0,
            good: true,
        }
    }
}

impl Sum {
    fn add(
        &mut self,
        name: &str,
        decided: &[Decision],
        expected: &[String],
        ways: [&Vec<String>; 3],
    ) {
        let mut differences = Vec::new();
        for (way, got) in WAYS[1..].iter().zip(ways) {
            self.compared += got.len().max(expected.len());
            differences.extend(compare(way, expected, got));
        }
        self.good &= differences.is_empty() && !expected.is_empty();
        self.lines.push(report(name, decided, &differences));
    }

    fn output(mut self, count: usize, what: &str, bars: &[Bar]) -> CommandOutput {
        let symbols: BTreeSet<Symbol> = bars.iter().map(|bar| bar.symbol).collect();
        self.lines.push(format!(
            "{count} {what}, {} instruments, {} decisions compared: {}",
            symbols.len(),
            self.compared,
            if self.good {
                "all equal to the byte"
            } else {
                "not equal"
            }
        ));
        CommandOutput {
            lines: self.lines,
            good: self.good,
        }
    }
}

/// Returns the report on one strategy.
fn report(name: &str, decided: &[Decision], differences: &[Difference]) -> String {
    let mut counts = BTreeMap::new();
    for line in decided {
        *counts.entry(line.reason.name()).or_insert(0u64) += 1;
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(reason, n)| format!("{reason} {n}"))
        .collect();
    let mut text = format!(
        "{name}: {} decisions ({})",
        decided.len(),
        counts.join(", ")
    );
    if differences.is_empty() {
        text.push_str(&format!("\n  {}", WAYS.join(" = ")));
    }
    for difference in differences {
        let show = |line: &Option<String>| line.clone().unwrap_or_else(|| "nothing".into());
        text.push_str(&format!(
            "\n  {} differs first at decision {}:\n    {}: {}\n    {}: {}",
            difference.way,
            difference.decision,
            WAYS[0],
            show(&difference.expected),
            difference.way,
            show(&difference.got)
        ));
    }
    text
}
