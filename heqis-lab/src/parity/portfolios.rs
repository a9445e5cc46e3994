//! Portfolios: cross-sections and decisions of all instruments together, by the same four ways.

use std::collections::BTreeMap;
use std::path::Path;

use heqis_backtest::strategy::BundleModel;
use heqis_portfolio::section::{Pushed, SectionConfig};
use heqis_portfolio::{Portfolio, PortfolioConfig, Row, ScoreKind, Section, SectionCollector};
use heqis_quant::decision::journal::EntryId;
use heqis_quant::decision::{DecisionReason, TradingState};
use heqis_quant::pipeline::{BarOutcome, DecisionPipeline, PipelineConfig};
use heqis_quant::{Bar, BarRef, Decision, DecisionRule, Filters, SignalMode, Strategy, Symbol};
use serde::{Deserialize, Serialize};

use super::{ParityArgs, replay};
use crate::error::LabError;

/// Parameters of the stage `rank`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SectionPlan {
    /// Which output is the score.
    pub score: ScoreKind,
    /// The expected instruments.
    pub symbols: Option<Vec<Symbol>>,
    /// For how many cross-sections an instrument is still expected.
    pub remember: u32,
    /// The seconds of time after which a cross-section is closed.
    pub later_s: u64,
}

impl Default for SectionPlan {
    fn default() -> Self {
        let SectionConfig {
            symbols,
            remember,
            later_s,
        } = SectionConfig::default();
        Self {
            score: ScoreKind::default(),
            symbols,
            remember,
            later_s,
        }
    }
}

/// What is ranked and what is held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortfolioPlan {
    /// How cross-sections are collected.
    #[serde(default)]
    pub section: SectionPlan,
    /// What is held.
    pub rule: PortfolioConfig,
}

impl PortfolioPlan {
    fn collector<T>(&self) -> Result<SectionCollector<T>, LabError> {
        let section = &self.section;
        Ok(SectionCollector::new(SectionConfig {
            symbols: section.symbols.clone(),
            remember: section.remember,
            later_s: section.later_s,
        })?)
    }
}

/// Reads portfolios by name and checks each.
///
/// # Errors
///
/// [`LabError::Data`] when the file cannot be read, [`LabError::Rule`] when it is not a table of portfolios or holds none, and
/// [`LabError::Quant`] when one is invalid.
pub fn plans(path: &Path) -> Result<BTreeMap<String, PortfolioPlan>, LabError> {
    let text = std::fs::read_to_string(path).map_err(|source| LabError::file(path, source))?;
    let plans: BTreeMap<String, PortfolioPlan> =
        toml::from_str(&text).map_err(|error| LabError::rule(path.display(), error.to_string()))?;
    if plans.is_empty() {
        return Err(LabError::rule(path.display(), "holds no portfolio"));
    }
    for plan in plans.values() {
        plan.rule.validate()?;
        plan.collector::<()>()?;
    }
    Ok(plans)
}

/// Sorts bars by time and symbol, as `csv-replay` with `sort`.
pub fn sort(bars: &mut [Bar]) {
    bars.sort_by_key(|bar| (bar.time_ns, bar.symbol));
}

/// A decision as it is compared: its text, and what is missing.
#[must_use]
pub fn text(decision: &Decision, missing: &[Symbol]) -> String {
    let mut text = decision.text();
    for symbol in missing {
        text.push_str(" missing ");
        text.push_str(symbol.as_str());
    }
    text
}

/// Decides in this process, from bar to decision.
///
/// # Errors
///
/// [`LabError`] when a bundle cannot be loaded or computed.
pub fn in_process(
    bars: &[Bar],
    args: &ParityArgs,
    plan: &PortfolioPlan,
) -> Result<Vec<(Decision, Vec<Symbol>)>, LabError> {
    let (model, scaler) = BundleModel::load(Some(&args.factors), &args.direction)?;
    let mut pipeline = DecisionPipeline::new(PipelineConfig::new(scaler, any_strategy()), model)?;
    let mut collector = plan.collector()?;
    let mut portfolio = Portfolio::new(plan.rule.clone())?;
    let mut decided = Vec::new();
    for bar in bars {
        let BarOutcome::Decided {
            bar,
            snapshot,
            decision,
        } = pipeline.step(*bar)?
        else {
            continue;
        };
        let prediction = decision.prediction();
        let row = Row {
            bar: (&bar).into(),
            snapshot,
            prediction,
            score: plan.section.score.of(&prediction),
        };
        if let Pushed::Late(section) = collector.push(bar.time_ns, bar.symbol, row, 0) {
            decided.extend(step(&mut portfolio, &section));
        }
        while let Some(section) = collector.next() {
            decided.extend(step(&mut portfolio, &section));
        }
    }
    while let Some(section) = collector.close() {
        decided.extend(step(&mut portfolio, &section));
    }
    Ok(decided)
}

/// The pipeline decides too; only its predictions are used.
fn any_strategy() -> Strategy {
    Strategy {
        mode: SignalMode::Return,
        rule: DecisionRule {
            enter: 0.0,
            exit: -1.0,
            min_confidence: 0.0,
            min_exit_confidence: 0.0,
        },
        // With it the pipeline computes what `rank` needs.
        filters: Filters {
            limit_up_hold: true,
            ..Filters::default()
        },
    }
}

/// The decisions on a cross-section; the last one names what is missing.
fn step(portfolio: &mut Portfolio, section: &Section) -> Vec<(Decision, Vec<Symbol>)> {
    let decisions = portfolio.step(section, TradingState::Active, None);
    let mut named: Vec<_> = decisions.into_iter().map(|one| (one, Vec::new())).collect();
    if let Some((_, missing)) = named.last_mut() {
        missing.clone_from(&section.missing);
    }
    named
}

/// Decides on the predictions of a journal, without any model and without collecting: the journal says what a cross-section had.
///
/// # Errors
///
/// [`LabError::Rule`] when the journal holds a decision that is not made from ranks, or on a bar that is not among `bars`.
pub fn journal(
    bars: &[Bar],
    plan: &PortfolioPlan,
    journal: &[(EntryId, Decision)],
) -> Result<Vec<String>, LabError> {
    let snapshots = replay::snapshots(bars, &any_strategy())?;
    let refuse = |decision: &Decision, rule: &str| {
        LabError::rule("journal", format!("{}: {rule}", decision.text()))
    };
    let mut portfolio = Portfolio::new(plan.rule.clone())?;
    let mut lines = Vec::with_capacity(journal.len());
    let mut section: Option<Section> = None;
    for (id, decision) in journal {
        let ranked = decision
            .ranked
            .ok_or_else(|| refuse(decision, "is not made from ranks"))?;
        let snapshot = snapshots
            .get(&(decision.symbol, decision.time_ns))
            .ok_or_else(|| refuse(decision, "no such bar"))?;
        let open = section.get_or_insert_with(|| Section {
            number: ranked.section,
            time_ns: decision.time_ns,
            rows: Vec::new(),
            missing: Vec::new(),
            is_late: decision.reason == DecisionReason::Late,
        });
        let prediction = decision.prediction();
        open.rows.push(Row {
            bar: BarRef {
                symbol: decision.symbol,
                date: decision.date,
                time_ns: decision.time_ns,
                close: snapshot.close,
            },
            snapshot: *snapshot,
            prediction,
            score: plan.section.score.of(&prediction),
        });
        // The last decision keeps no source item.
        let is_last = id
            .made_from
            .as_ref()
            .is_none_or(|items| items.kept.is_empty());
        if is_last && let Some(mut whole) = section.take() {
            whole.missing.clone_from(&id.missing);
            let decided = step(&mut portfolio, &whole);
            lines.extend(decided.iter().map(|(one, missing)| text(one, missing)));
        }
    }
    Ok(lines)
}
