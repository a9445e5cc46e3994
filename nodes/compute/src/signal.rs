//! `signal`: takes [`PredictionMessage`]s, emits [`Decision`]s.
//!
//! Counts decisions by side (`buy`, `hold`, `sell`) and holds by reason.

use std::collections::HashMap;
use std::path::Path;

use heqis_actors::{AnyFrame, BuildContext, Counter, Emitter, Frame, Stage, StageError};
use heqis_messages::{Decision, PredictionMessage};
use heqis_quant::decision::VerdictReason;
use heqis_quant::{DecisionRule, Hysteresis, Side, Symbol};
use schemars::JsonSchema;
use serde::Deserialize;

/// Parameters of a `signal` stage.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalConfig {
    /// When to enter and when to leave.
    pub rule: DecisionRule,
}

/// Applies the decision rule, with a memory per symbol.
#[derive(Debug)]
pub struct Signal {
    rule: DecisionRule,
    states: HashMap<Symbol, Hysteresis>,
    sides: [Counter; 3],
    reasons: Vec<(VerdictReason, Counter)>,
}

impl Stage for Signal {
    type Config = SignalConfig;
    type In = PredictionMessage;
    type Out = Decision;
    const KIND: &'static str = "signal";
    const ABOUT: &'static str = "Turns predictions into buy, hold and sell, with hysteresis.";

    fn check(config: &SignalConfig, _: &Path) -> Vec<String> {
        config
            .rule
            .validate()
            .err()
            .map(|error| error.to_string())
            .into_iter()
            .collect()
    }

    fn build(config: &SignalConfig, cx: &BuildContext) -> Result<Self, StageError> {
        config.rule.validate().map_err(StageError::config)?;
        Ok(Self {
            rule: config.rule,
            states: HashMap::new(),
            sides: ["buy", "hold", "sell"].map(|side| cx.counter(side)),
            reasons: VerdictReason::ALL
                .into_iter()
                .filter(|reason| !matches!(reason, VerdictReason::Entered | VerdictReason::Exited))
                .map(|reason| (reason, cx.counter(reason.name())))
                .collect(),
        })
    }

    /// Takes up the stance that the last journalled decision of a symbol left.
    fn recover(&mut self, record: &AnyFrame) {
        if let Some(decision) = record.payload::<Decision>() {
            self.states
                .insert(decision.bar.symbol, decision.verdict.stance.into());
        }
    }

    fn process(
        &mut self,
        frame: &Frame<PredictionMessage>,
        out: &mut Emitter<'_, Decision>,
    ) -> Result<(), StageError> {
        let state = self.states.entry(frame.bar.symbol).or_default();
        let verdict = self.rule.decide(state, &frame.prediction);
        self.sides[match verdict.side {
            Side::Buy => 0,
            Side::Hold => 1,
            Side::Sell => 2,
        }]
        .inc();
        if let Some((_, counter)) = self
            .reasons
            .iter()
            .find(|(reason, _)| *reason == verdict.reason)
        {
            counter.inc();
        }
        out.emit(
            frame.head(),
            Decision {
                bar: frame.bar,
                verdict,
                prediction: frame.prediction,
            },
        );
        Ok(())
    }
}
