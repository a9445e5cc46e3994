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

use crate::trading_state::{self, TradingStateSwitch};

/// Parameters of a `signal` stage.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalConfig {
    /// The output of the model that decides; by default the predicted return.
    #[serde(default)]
    pub mode: SignalMode,
    /// Thresholds for entry and exit.
    pub rule: DecisionRule,
    /// Filters between the signal and the decision; by default none. All filters but the one on the predicted
    /// return need the `market` parameter of the `indicators` stage, with the indicators of these filters.
    #[serde(default)]
    pub filters: Filters,
    /// Which trades are allowed.
    #[serde(default)]
    #[schemars(extend("x-formerly" = "kill"))]
    pub trading_state: KillState,
    /// A file that overrides `trading_state` while it is there: one word, `active`, `reducing` or `halted`. It is read before
    /// each batch of frames. A file that cannot be read halts, and so does anything but a regular file of up to 4 KiB.
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
    /// Identity of the filter indicators that a view must carry; `None` when no view is needed.
    gauges_id: Option<u32>,
    memories: HashMap<Symbol, Memory>,
    switch: TradingStateSwitch,
    /// The trading state of the current batch.
    trading_state: Option<KillState>,
    sides: [Counter; 3],
    reasons: Vec<(VerdictReason, Counter)>,
}

impl Signal {
    /// Returns what the filters read. A frame without a view, or with other indicators, is refused: its gateway has other
    /// parameters.
    fn view(&self, message: &PredictionMessage) -> Result<View, StageError> {
        let Some(expected) = self.gauges_id else {
            return Ok(View::of_close(message.bar.date, message.bar.close));
        };
        let needs = || {
            format!(
                "the filters need `market` of the indicators stage with the indicators {:?}",
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
        "Turns predictions into buy, hold and sell, with filters and a trading state.";

    const RECOVERS: bool = true;
    const TAKES_WARM_UP: bool = false;

    fn check(config: &SignalConfig, base: &Path) -> Vec<String> {
        let strategy = config.strategy().validate();
        let strategy = strategy.err().map(|error| error.to_string());
        let file = config.trading_state_file.as_ref();
        let file = file.and_then(|file| trading_state::fault(&base.join(file)));
        strategy.into_iter().chain(file).collect()
    }

    /// Requires the indicators of its filters, when one of them reads the market.
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
            switch: TradingStateSwitch::new(config.trading_state, file, cx),
            trading_state: None,
            sides: ["buy", "hold", "sell"].map(|side| cx.counter(side)),
            reasons: VerdictReason::ALL
                .into_iter()
                .filter(|reason| !matches!(reason, VerdictReason::Entered | VerdictReason::Exited))
                .map(|reason| (reason, cx.counter(reason.name())))
                .collect(),
        })
    }

    /// Restores the state of a symbol from its last journalled decision.
    fn recover(&mut self, record: &AnyFrame) {
        if let Some(decision) = record.payload::<Decision>() {
            let memory = Memory::after(&decision.verdict, decision.bar.date);
            self.memories.insert(decision.bar.symbol, memory);
        }
    }

    /// The commit log holds the state of filters and positions.
    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }

    fn process(
        &mut self,
        frame: &Frame<PredictionMessage>,
        out: &mut Emitter<'_, Decision>,
    ) -> Result<(), StageError> {
        let view = self.view(frame)?;
        let trading_state = match self.trading_state {
            Some(state) => state,
            None => *self.trading_state.insert(self.switch.state()),
        };
        let memory = self.memories.entry(frame.bar.symbol).or_default();
        let verdict = self
            .strategy
            .decide(memory, &view, &frame.prediction, trading_state);
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

    /// The next batch reads the trading state again.
    fn flush(&mut self, _: &mut Emitter<'_, Decision>) -> Result<(), StageError> {
        self.trading_state = None;
        Ok(())
    }
}
