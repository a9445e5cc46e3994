//! `signal`: takes [`PredictionMessage`]s, emits [`DecisionMessage`]s.
//!
//! Counts decisions by side (`buy`, `hold`, `sell`), and holds, refusals and risk exits by reason.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use heqis_actors::{
    AnyFrame, BuildContext, Counter, Emitter, Frame, Key, PortContract, Property, Snapshot, Stage,
    StageError,
};
use heqis_messages::{
    DecisionMessage, FILTER_INDICATORS, PredictionMessage, put_series, symbol_of,
};
use heqis_quant::decision::{DecisionReason, RiskState};
use heqis_quant::{
    DecisionRule, DecisionState, Filters, MarketSnapshot, Side, SignalMode, Strategy, Symbol,
    TradingState,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::trading_state::{self, TradingStateSwitch};

/// Parameters of a `signal` stage.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = current_names)]
pub struct SignalConfig {
    /// Which output of the model gives the signal; by default the predicted return.
    #[serde(default)]
    pub mode: SignalMode,
    /// When to buy and when to sell.
    pub rule: DecisionRule,
    /// What can refuse the signal; by default nothing. All filters but the one on the predicted return need the `market`
    /// parameter of the `indicators` stage, with the indicators of these filters.
    #[serde(default)]
    pub filters: Filters,
    /// Which orders are allowed at all: `active`, `reducing` (no purchases) or `halted` (neither purchases nor sales).
    #[serde(default)]
    #[schemars(extend("x-formerly" = "kill"))]
    pub trading_state: TradingState,
    /// A file that overrides `trading_state` while it exists: one word, `active`, `reducing` or `halted`. It is read before
    /// each batch of frames. A file that cannot be read, or is not a regular file of up to 4 KiB, halts.
    #[serde(default)]
    #[schemars(extend("x-formerly" = "kill_file"))]
    pub trading_state_file: Option<PathBuf>,
}

/// Writes the default of the filters with their current names; filters are serialised with the former ones.
fn current_names(schema: &mut schemars::Schema) {
    let default = schema.pointer_mut("/properties/filters/default");
    let Some(default) = default.and_then(serde_json::Value::as_object_mut) else {
        return;
    };
    for (former, current) in Filters::RENAMED {
        if let Some(value) = default.remove(former) {
            default.insert(current.to_owned(), value);
        }
    }
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

/// Applies a strategy, with a state per symbol.
#[derive(Debug)]
pub struct Signal {
    strategy: Strategy,
    /// Identity of the filter indicators that a snapshot must have; `None` when no snapshot is needed.
    filter_indicators_id: Option<u32>,
    states: HashMap<Symbol, DecisionState>,
    switch: TradingStateSwitch,
    /// The trading state of the current batch.
    trading: Option<TradingState>,
    sides: [Counter; 3],
    reasons: Vec<(DecisionReason, Counter)>,
}

impl Signal {
    /// Returns the filters' inputs. A frame without a snapshot, or with other indicators, is refused: it comes from a gateway
    /// with other parameters.
    fn snapshot(&self, message: &PredictionMessage) -> Result<MarketSnapshot, StageError> {
        let Some(expected) = self.filter_indicators_id else {
            return Ok(MarketSnapshot::of_close(
                message.bar.date,
                message.bar.close,
            ));
        };
        let needs = || {
            format!(
                "the filters need `market` of the indicators stage with the filter indicators {:?}",
                self.strategy.filter_indicators().names()
            )
        };
        match message.snapshot {
            Some(snapshot) if snapshot.filter_indicators_id == expected => Ok(snapshot),
            Some(snapshot) => Err(StageError::refused(format!(
                "{}, it sends others ({:#010x})",
                needs(),
                snapshot.filter_indicators_id
            ))),
            None => Err(StageError::refused(format!("{}, it sends none", needs()))),
        }
    }
}

impl Stage for Signal {
    type Config = SignalConfig;
    type In = PredictionMessage;
    type Out = DecisionMessage;
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

    /// Requires predictions of returns, which its thresholds are compared with, and the indicators of its filters when one of
    /// them needs the market.
    fn contract(config: &SignalConfig, _: &Path) -> PortContract {
        let strategy = config.strategy();
        let names = format!("{:?}", strategy.filter_indicators().names());
        let contract = PortContract::default()
            .require(heqis_messages::TARGET, Property::Text("return".to_owned()));
        match strategy.needs_market() {
            true => contract.require(FILTER_INDICATORS, Property::Text(names)),
            false => contract,
        }
    }

    fn build(config: &SignalConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let strategy = config.strategy();
        strategy.validate().map_err(StageError::config)?;
        let file = config.trading_state_file.as_ref().map(|file| cx.path(file));
        Ok(Self {
            filter_indicators_id: strategy
                .needs_market()
                .then(|| strategy.filter_indicators().id()),
            strategy,
            states: HashMap::new(),
            switch: TradingStateSwitch::new(config.trading_state, file, cx),
            trading: None,
            sides: ["buy", "hold", "sell"].map(|side| cx.counter(side)),
            reasons: DecisionReason::ALL
                .into_iter()
                .filter(|reason| {
                    !matches!(reason, DecisionReason::Entered | DecisionReason::Exited)
                        && !reason.is_of_portfolio()
                })
                .map(|reason| (reason, cx.counter(reason.name())))
                .collect(),
        })
    }

    /// Restores a symbol's state from its last decision in the journal.
    fn recover(&mut self, record: &AnyFrame) {
        if let Some(message) = record.payload::<DecisionMessage>() {
            let state = DecisionState::after(&message.decision);
            self.states.insert(message.decision.symbol, state);
        }
    }

    /// The commit log restores positions and filters.
    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }

    fn take_key(&mut self, key: Key) -> Result<Option<Vec<u8>>, StageError> {
        let symbol = symbol_of(key)?;
        let state = self.states.get(&symbol).map(|state| {
            let DecisionState {
                position,
                risk,
                last_date,
            } = state;
            // By field, since the serialised forms leave out what is empty.
            let risk = (risk.entry_price, risk.cool_down_days, risk.ban_days);
            Snapshot::bytes(&(position, risk, last_date))
        });
        let state = state.transpose()?;
        self.states.remove(&symbol);
        Ok(state)
    }

    fn put_key(
        &mut self,
        key: Key,
        state: &[u8],
        _: &mut Emitter<'_, DecisionMessage>,
    ) -> Result<(), StageError> {
        let (position, (entry_price, cool_down_days, ban_days), last_date) = Snapshot::read(state)?;
        let risk = RiskState {
            entry_price,
            cool_down_days,
            ban_days,
        };
        let state = DecisionState {
            position,
            risk,
            last_date,
        };
        put_series(&mut self.states, symbol_of(key)?, state)
    }

    fn process(
        &mut self,
        frame: &Frame<PredictionMessage>,
        out: &mut Emitter<'_, DecisionMessage>,
    ) -> Result<(), StageError> {
        let snapshot = self.snapshot(frame)?;
        let trading = match self.trading {
            Some(trading) => trading,
            None => *self.trading.insert(self.switch.state()),
        };
        let state = self.states.entry(frame.bar.symbol).or_default();
        let decision =
            self.strategy
                .decide(state, &frame.bar, &snapshot, &frame.prediction, trading);
        self.sides[match decision.side {
            Side::Buy => 0,
            Side::Hold => 1,
            Side::Sell => 2,
        }]
        .inc();
        if let Some((_, counter)) = self
            .reasons
            .iter()
            .find(|(reason, _)| *reason == decision.reason)
        {
            counter.inc();
        }
        out.emit(frame.head(), DecisionMessage::from(decision));
        Ok(())
    }

    /// The next batch reads the trading state again.
    fn flush(&mut self, _: &mut Emitter<'_, DecisionMessage>) -> Result<(), StageError> {
        self.trading = None;
        Ok(())
    }
}
