//! `signal`: takes [`PredictionMessage`]s, emits [`Decision`]s.
//!
//! Counts decisions by side (`buy`, `hold`, `sell`), and holds, refusals and risk exits by reason.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use heqis_actors::{
    AnyFrame, BuildContext, Counter, Emitter, Frame, PortContract, Property, Snapshot, Stage,
    StageError,
};
use heqis_messages::{Decision, GAUGES, PredictionMessage};
use heqis_quant::decision::VerdictReason;
use heqis_quant::{
    DecisionRule, Filters, KillState, Memory, Side, SignalMode, Strategy, Symbol, View,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kill::{self, KillSwitch};

/// Parameters of a `signal` stage.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalConfig {
    /// Which head of the model speaks; by default the predicted return.
    #[serde(default)]
    pub mode: SignalMode,
    /// When to enter and when to leave.
    pub rule: DecisionRule,
    /// What stands between the signal and the decision; by default nothing. All filters but the one on the predicted
    /// return need the `market` parameter of the `indicators` stage, with the gauges of these filters.
    #[serde(default)]
    pub filters: Filters,
    /// How far trading is allowed at all.
    #[serde(default)]
    #[schemars(extend("x-formerly" = "kill"))]
    pub trading_state: KillState,
    /// A file that overrides `trading_state` while it is there: one word, `active`, `reducing` or `halted`. It is looked at before
    /// each batch of frames; what cannot be read halts, and so does anything but a regular file of up to 4 KiB.
    #[serde(default)]
    #[schemars(extend("x-formerly" = "kill_file"))]
    pub trading_state_file: Option<PathBuf>,
}

impl SignalConfig {
    fn strategy(&self) -> Strategy {
        Strategy {
            mode: self.mode,
            rule: self.rule,
            filters: self.filters,
        }
    }
}

/// Applies a strategy, with a memory per symbol.
#[derive(Debug)]
pub struct Signal {
    strategy: Strategy,
    /// Identity of the gauges that a view must carry; `None` when no view is needed.
    gauges_id: Option<u32>,
    memories: HashMap<Symbol, Memory>,
    switch: KillSwitch,
    /// The kill state of the current batch.
    kill: Option<KillState>,
    sides: [Counter; 3],
    reasons: Vec<(VerdictReason, Counter)>,
}

impl Signal {
    /// What the filters see. A frame whose view is not there, or not theirs, is refused: it comes from a gateway with other
    /// parameters.
    fn view(&self, message: &PredictionMessage) -> Result<View, StageError> {
        let Some(expected) = self.gauges_id else {
            return Ok(View::of_close(message.bar.date, message.bar.close));
        };
        let needs = || {
            format!(
                "the filters need `market` of the indicators stage with the gauges {:?}",
                self.strategy.gauges().names()
            )
        };
        match message.view {
            Some(view) if view.gauges_id == expected => Ok(view),
            Some(view) => Err(StageError::refused(format!(
                "{}, it sends others ({:#010x})",
                needs(),
                view.gauges_id
            ))),
            None => Err(StageError::refused(format!("{}, it sends none", needs()))),
        }
    }
}

impl Stage for Signal {
    type Config = SignalConfig;
    type In = PredictionMessage;
    type Out = Decision;
    const KIND: &'static str = "signal";
    const ABOUT: &'static str =
        "Turns predictions into buy, hold and sell, past filters and a kill state.";

    const RECOVERS: bool = true;
    const TAKES_WARM_UP: bool = false;

    fn check(config: &SignalConfig, base: &Path) -> Vec<String> {
        let strategy = config.strategy().validate();
        let strategy = strategy.err().map(|error| error.to_string());
        let file = config.trading_state_file.as_ref();
        let file = file.and_then(|file| kill::fault(&base.join(file)));
        strategy.into_iter().chain(file).collect()
    }

    /// Takes the gauges of its filters, when one of them sees the market.
    fn contract(config: &SignalConfig, _: &Path) -> PortContract {
        let strategy = config.strategy();
        let gauges = format!("{:?}", strategy.gauges().names());
        let requires = strategy
            .needs_market()
            .then_some((GAUGES, Property::Text(gauges)));
        PortContract {
            requires: requires.into_iter().collect(),
            ..PortContract::default()
        }
    }

    fn build(config: &SignalConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let strategy = config.strategy();
        strategy.validate().map_err(StageError::config)?;
        let file = config.trading_state_file.as_ref().map(|file| cx.path(file));
        Ok(Self {
            gauges_id: strategy.needs_market().then(|| strategy.gauges().id()),
            strategy,
            memories: HashMap::new(),
            switch: KillSwitch::new(config.trading_state, file, cx),
            kill: None,
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

    /// What filters and positions are, the commit log says.
    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }

    fn process(
        &mut self,
        frame: &Frame<PredictionMessage>,
        out: &mut Emitter<'_, Decision>,
    ) -> Result<(), StageError> {
        let view = self.view(frame)?;
        let kill = match self.kill {
            Some(kill) => kill,
            None => *self.kill.insert(self.switch.state()),
        };
        let memory = self.memories.entry(frame.bar.symbol).or_default();
        let verdict = self.strategy.decide(memory, &view, &frame.prediction, kill);
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
                number: 0,
            },
        );
        Ok(())
    }

    /// The next batch looks at the kill state again.
    fn flush(&mut self, _: &mut Emitter<'_, Decision>) -> Result<(), StageError> {
        self.kill = None;
        Ok(())
    }
}
