//! Is a strategy honest? Checks that know nothing of how it works, only what it does.
//!
//! - [`subject`]: what an audit needs of a strategy: fit, decide, trade.
//! - [`checks`]: one function a check.
//! - [`linear`]: the linear baseline as a subject; [`bundles`]: model bundles.
//!
//! Bars and a subject enter, an [`Audit`] leaves. What is *not* here: whether a strategy is any good.

use std::path::PathBuf;

use clap::Args;
use heqis_quant::adjust::EventTable;
use heqis_quant::{BadRow, Bar, Date, SignalMode};
use serde::Serialize;

use self::bundles::Bundles;
use self::checks::Finding;
use self::linear::Linear;
use self::subject::Subject;
use crate::backtest::run::Settings;
use crate::backtest::strategy::Source;
use crate::data::Answer;
use crate::error::LabError;
use crate::prepare::known::{self, Tables};

pub mod bundles;
pub mod checks;
pub mod linear;
pub mod subject;

/// Look for look-ahead and other self-deception in a strategy on a series of daily bars; the exit code is 1 when something
/// is found.
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// Daily bars of one instrument, named after it, such as 002032.SZ.csv.
    #[arg(value_name = "CSV")]
    pub data: PathBuf,
    /// Whose strategy: DIRECTION_BUNDLE or FACTORS_BUNDLE,DIRECTION_BUNDLE [default: a linear model fitted on the spot].
    #[arg(long, value_name = "SOURCE")]
    pub strategy: Option<String>,
    /// The first day of the test span.
    #[arg(long, value_name = "DATE")]
    pub test_from: Date,
    /// Ex-right events, or a vendor's dividends [default: those of a fetched directory beside the bars].
    #[arg(long, value_name = "CSV")]
    pub events: Option<PathBuf>,
    /// How hard is looked.
    #[command(flatten)]
    pub options: Options,
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

/// How hard is looked.
#[derive(Args, Clone, Copy, Debug)]
pub struct Options {
    /// Days on which the history is cut off.
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub cuts: usize,
    /// Shuffled markets.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub rounds: usize,
    /// Standard errors by which predictions on a shuffled market may correlate with what came.
    #[arg(long, value_name = "N", default_value_t = 4.0)]
    pub most_errors: f64,
    /// Bars after which the start of the history must be forgotten.
    #[arg(long, value_name = "BARS", default_value_t = 500)]
    pub warmup_bars: usize,
    /// How far the last prediction may move with the start, as a part of the spread of all predictions.
    #[arg(long, value_name = "SHARE", default_value_t = 1e-6)]
    pub drift: f64,
    /// Seed of days and shuffles.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cuts: 32,
            rounds: 3,
            most_errors: 4.0,
            warmup_bars: 500,
            drift: 1e-6,
            seed: 0,
        }
    }
}

/// All findings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// One a check, in the order in which they were made.
    pub findings: Vec<Finding>,
}

impl Audit {
    /// Returns whether no check found anything.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.good)
    }
}

/// Makes all checks.
///
/// # Errors
///
/// What the subject returns.
pub fn audit(
    subject: &dyn Subject,
    bars: &[Bar],
    test_from: Date,
    options: &Options,
) -> Result<Audit, LabError> {
    let fitted = subject.fit(bars, test_from)?;
    let fitted = fitted.as_ref();
    let trades = fitted.trade(bars, &fitted.decide(bars)?)?;
    let Options {
        cuts,
        rounds,
        most_errors,
        warmup_bars,
        drift,
        seed,
    } = *options;
    Ok(Audit {
        findings: vec![
            checks::fit_sees_no_test(subject, bars, test_from)?,
            checks::scaler_span(fitted, test_from),
            checks::future_cut_off(fitted, bars, cuts, seed)?,
            checks::start_drift(fitted, bars, warmup_bars, drift)?,
            checks::shuffled(subject, bars, test_from, rounds, most_errors, seed)?,
            checks::fills(bars, &trades),
            checks::costs(&trades),
        ],
    })
}

/// Runs the command.
///
/// # Errors
///
/// [`LabError`] when the bars cannot be read or do not suffice.
pub fn run(args: &AuditArgs) -> Result<Answer, LabError> {
    let bars = crate::select::bars(&args.data)?;
    let table = match args
        .events
        .clone()
        .or_else(|| Tables::beside(&args.data)?.events)
    {
        Some(path) => known::events(&path)?,
        None => EventTable::default(),
    };
    let linear = Linear {
        events: table.events.clone(),
        ..Linear::default()
    };
    let bundles = args.strategy.as_deref().map(|text| Bundles {
        source: Source::parse(text),
        strategy: Settings::default().strategy(SignalMode::Return),
        broker: linear.broker,
        events: table.events.clone(),
    });
    let subject: &dyn Subject = match &bundles {
        Some(bundles) => bundles,
        None => &linear,
    };
    let audit = audit(subject, &bars, args.test_from, &args.options)?;
    let mut lines = match args.json {
        true => vec![serde_json::json!(audit).to_string()],
        false => audit
            .findings
            .iter()
            .map(|finding| {
                let mark = if finding.good { "pass" } else { "FAIL" };
                format!("{mark}  {:16}  {}", finding.check, finding.told)
            })
            .collect(),
    };
    let own = |row: &&BadRow| {
        row.symbol
            .is_none_or(|own| bars.first().is_some_and(|bar| bar.symbol == own))
    };
    for row in table.bad.iter().filter(own).filter(|_| !args.json) {
        lines.push(format!("warning: an event is left out: {}", row.error));
    }
    Ok(Answer {
        lines,
        good: audit.is_good(),
    })
}
