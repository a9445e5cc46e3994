//! Taps of the page: bars after the cleaner, the features that a model takes, and decisions.

use std::path::PathBuf;
use std::sync::Arc;

use heqis_actors::Stage as _;
use heqis_actors::{AnyFrame, GraphBuilder, Payload as _, Tap};
use heqis_compute::Journal as JournalStage;
use heqis_dashboard::{Decision, Decisions, LiveBars, StageTime, Training};
use heqis_gateway::IndicatorsConfig;
use heqis_messages::{BarMessage, DecisionMessage, FeatureRow};
use heqis_quant::FeatureSet;

use crate::topology::{Plan, Stage};

/// Adds the taps to the stages of the node with index `node`: each to the first stage, in the order of the file, that takes
/// the payload.
pub(super) fn add(
    mut builder: GraphBuilder,
    plan: &Plan,
    node: usize,
    bars: &Arc<LiveBars>,
    decisions: &Arc<Decisions>,
) -> GraphBuilder {
    // A stage that makes another payload of bars takes them after the cleaner, where there is one.
    let cleaned = first(plan, node, BarMessage::NAME, |stage| {
        stage.output != Some(BarMessage::NAME)
    });
    if let Some(stage) = cleaned {
        let bars = bars.clone();
        builder = builder.tap(
            &stage.name,
            Tap::new(move |frame| {
                if let Some(BarMessage(bar)) = frame.payload() {
                    bars.push(bar);
                }
            }),
        );
    }
    if let Some(stage) = first(plan, node, FeatureRow::NAME, |_| true) {
        let bars = bars.clone();
        builder = builder.tap(
            &stage.name,
            Tap::new(move |frame| {
                if let Some(row) = frame.payload::<FeatureRow>() {
                    bars.set_features(row.bar.symbol, row.bar.time_ns, &row.values);
                }
            }),
        );
    }
    if let Some(stage) = first(plan, node, DecisionMessage::NAME, |_| true) {
        let decisions = decisions.clone();
        let names: Vec<Arc<str>> = plan
            .stages
            .iter()
            .map(|stage| stage.name.as_str().into())
            .collect();
        builder = builder.tap(
            &stage.name,
            Tap::new(move |frame| {
                if let Some(message) = frame.payload() {
                    decisions.push(decision(frame, message, &names));
                }
            }),
        );
    }
    builder
}

fn first<'a>(
    plan: &'a Plan,
    node: usize,
    payload: &str,
    fits: impl Fn(&Stage) -> bool,
) -> Option<&'a Stage> {
    plan.stages
        .iter()
        .find(|stage| stage.node == node && stage.kind.takes(payload) && fits(stage))
}

/// Converts a decision, with the stamps of the stages that it passed.
fn decision(frame: &AnyFrame, message: &DecisionMessage, names: &[Arc<str>]) -> Decision {
    let head = frame.head();
    // The birth time may come from another machine and be anything.
    let since_birth_us = |ns: i64| ns.saturating_sub(head.born_ns) as f64 / 1e3;
    Decision {
        origin: (head.origin.stream, head.origin.position),
        symbol: message.decision.symbol,
        date: message.decision.date,
        time_ns: message.decision.time_ns,
        close: message.decision.close,
        side: message.decision.side,
        confidence: message.decision.confidence,
        reason: message.decision.reason,
        position: message.decision.position,
        predicted_return: message.decision.predicted_return,
        probabilities: message.decision.probabilities,
        timings: head
            .stamps
            .iter()
            .filter_map(|stamp| {
                Some(StageTime {
                    stage: names.get(usize::from(stamp.stage))?.clone(),
                    enter_us: since_birth_us(stamp.enter_ns),
                    leave_us: since_birth_us(stamp.leave_ns),
                })
            })
            .collect(),
    }
}

/// Returns the names of the features in the node's frames: those of the stage that makes them, or the standard set.
pub(super) fn feature_names(plan: &Plan, node: usize) -> Vec<String> {
    let mut stages = plan.stages.iter();
    let made = stages
        .find(|stage| stage.node == node && stage.output == Some(FeatureRow::NAME))
        .and_then(|stage| {
            let param = |name| stage.params.get(name).cloned();
            let config = IndicatorsConfig {
                features: param("features").and_then(|names| serde_json::from_value(names).ok()),
                feature_file: param("feature_file")
                    .and_then(|path| serde_json::from_value(path).ok()),
                ..IndicatorsConfig::default()
            };
            Some(config.set(&plan.base).ok()?.names().to_vec())
        });
    made.unwrap_or_else(|| FeatureSet::standard().names().to_vec())
}

/// Returns the scaler of the first model of the node, or of any node whose files are on this machine.
pub(super) fn training(plan: &Plan, node: usize) -> Option<Arc<Training>> {
    let fed = plan
        .stages
        .iter()
        .filter(|stage| stage.kind.takes(FeatureRow::NAME));
    let own = fed.clone().filter(|stage| stage.node == node);
    let bundles = own
        .chain(fed)
        .filter_map(|stage| stage.params.get("bundle")?.as_str());
    let mut read = bundles.filter_map(|bundle| {
        // A bundle that cannot be read is reported by the stage that needs it.
        Training::read(&plan.base.join(bundle).join("scaler_params.json")).ok()
    });
    read.next().map(Arc::new)
}

/// Returns the journals on the machine of the node with index `node`, and whether the stage begins a new one where one is
/// finished.
pub(super) fn journals(plan: &Plan, node: usize) -> Vec<(PathBuf, bool)> {
    let here = &plan.nodes[node].address;
    plan.stages
        .iter()
        .filter(|stage| {
            stage.kind.name == JournalStage::KIND && plan.nodes[stage.node].address == *here
        })
        .filter_map(|stage| {
            let param = |name| stage.params.get(name).and_then(|value| value.as_str());
            let begins_new = param("existing") == Some("new");
            Some((plan.base.join(param("path")?), begins_new))
        })
        .collect()
}
