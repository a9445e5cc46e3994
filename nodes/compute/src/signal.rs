//! `signal`: takes [`PredictionMessage`]s, emits [`Decision`]s.
//!
//! Counts decisions by side (`buy`, `hold`, `sell`) and holds by reason.

use std::collections::HashMap;
use std::path::Path;

use heqis_actors::{AnyFrame, BuildContext, Counter, Emitter, Frame, Stage, StageError};
use heqis_messages::{Decision, PredictionMessage};
use heqis_quant::decision::VerdictReason;
use heqis_quant::{
    DecisionRule, Filters, KillState, Memory, Side, SignalMode, Strategy, Symbol, View,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Parameters of a `signal` stage.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalConfig {
    /// When to enter and when to leave.
    pub rule: DecisionRule,
}

impl SignalConfig {
    fn strategy(&self) -> Strategy {
        Strategy {
            mode: SignalMode::Return,
            rule: self.rule,
            filters: Filters::default(),
        }
    }
}

/// Applies a strategy, with a memory per symbol.
#[derive(Debug)]
pub struct Signal {
    strategy: Strategy,
    memories: HashMap<Symbol, Memory>,
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
            .strategy()
            .validate()
            .err()
            .map(|error| error.to_string())
            .into_iter()
            .collect()
    }

    fn build(config: &SignalConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let strategy = config.strategy();
        strategy.validate().map_err(StageError::config)?;
        Ok(Self {
            strategy,
            memories: HashMap::new(),
            sides: ["buy", "hold", "sell"].map(|side| cx.counter(side)),
            reasons: VerdictReason::ALL
                .into_iter()
                .filter(|reason| !matches!(reason, VerdictReason::Entered | VerdictReason::Exited))
                .map(|reason| (reason, cx.counter(reason.name())))
                .collect(),
        })
    }

    /// Takes up the memory that the last journalled decision of a symbol left.
    fn recover(&mut self, record: &AnyFrame) {
        if let Some(decision) = record.payload::<Decision>() {
            let memory = Memory::after(&decision.verdict, decision.bar.date);
            self.memories.insert(decision.bar.symbol, memory);
        }
    }

    fn process(
        &mut self,
        frame: &Frame<PredictionMessage>,
        out: &mut Emitter<'_, Decision>,
    ) -> Result<(), StageError> {
        let memory = self.memories.entry(frame.bar.symbol).or_default();
        let view = View::of_close(frame.bar.date, frame.bar.close);
        let verdict = self
            .strategy
            .decide(memory, &view, &frame.prediction, KillState::Active);
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
