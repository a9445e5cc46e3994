//! `portfolio`: takes [`CrossSection`]s, emits a [`DecisionMessage`] for each of their rows.
//!
//! Counts decisions by side (`buy`, `hold`, `sell`) and by reason.

use std::path::{Path, PathBuf};

use heqis_actors::{
    AnyFrame, BuildContext, Counter, Emitter, Frame, Merge, PortContract, Property, Snapshot,
    Stage, StageError,
};
use heqis_messages::{CrossSection, DecisionMessage, TARGET};
use heqis_portfolio::{Portfolio, PortfolioConfig};
use heqis_quant::decision::DecisionReason;
use heqis_quant::{Side, TradingState};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::trading_state::{self, TradingStateSwitch};

/// Parameters of a `portfolio` stage.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortfolioStageConfig {
    /// What is held, how much of it, and when it is traded.
    pub rule: PortfolioConfig,
    /// Which orders are allowed at all: `active`, `reducing` (no purchases) or `halted` (neither purchases nor sales).
    #[serde(default)]
    pub trading_state: TradingState,
    /// A file that overrides `trading_state` while it exists: one word, `active`, `reducing` or `halted`. It is read before each
    /// cross-section. A file that cannot be read, or is not a regular file of up to 4 KiB, halts.
    #[serde(default)]
    pub trading_state_file: Option<PathBuf>,
}

/// Decides on cross-sections.
pub struct PortfolioStage {
    portfolio: Portfolio,
    switch: TradingStateSwitch,
    sides: [Counter; 3],
    reasons: Vec<(DecisionReason, Counter)>,
}

impl Stage for PortfolioStage {
    type Config = PortfolioStageConfig;
    type In = CrossSection;
    type Out = DecisionMessage;
    const KIND: &'static str = "portfolio";
    const ABOUT: &'static str =
        "Turns the ranks of one timestamp into weights and decisions of a portfolio.";

    const RECOVERS: bool = true;
    const TAKES_WARM_UP: bool = false;

    fn check(config: &PortfolioStageConfig, base: &Path) -> Vec<String> {
        let rule = config.rule.validate().err().map(|error| error.to_string());
        let file = config.trading_state_file.as_ref();
        let file = file.and_then(|file| trading_state::fault(&base.join(file)));
        rule.into_iter().chain(file).collect()
    }

    /// Requires returns where scores are compared with a cost; for ranks, `cost` has `per_rank`.
    fn contract(config: &PortfolioStageConfig, _: &Path) -> PortContract {
        match config.rule.cost {
            Some(cost) if cost.per_rank.is_none() => {
                PortContract::default().require(TARGET, Property::Text("return".to_owned()))
            }
            _ => PortContract::default(),
        }
    }

    fn build(config: &PortfolioStageConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let file = config.trading_state_file.as_ref().map(|file| cx.path(file));
        Ok(Self {
            portfolio: Portfolio::new(config.rule.clone()).map_err(StageError::config)?,
            switch: TradingStateSwitch::new(config.trading_state, file, cx),
            sides: ["buy", "hold", "sell"].map(|side| cx.counter(side)),
            reasons: DecisionReason::ALL
                .into_iter()
                .filter(|reason| reason.is_of_portfolio())
                .map(|reason| (reason, cx.counter(reason.name())))
                .collect(),
        })
    }

    /// Restores what the journal says of an instrument and of the account.
    fn recover(&mut self, record: &AnyFrame) {
        if let Some(message) = record.payload::<DecisionMessage>() {
            self.portfolio.recover(&message.decision);
        }
    }

    /// The commit log restores what is held and ordered.
    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }

    fn process(
        &mut self,
        frame: &Frame<CrossSection>,
        out: &mut Emitter<'_, DecisionMessage>,
    ) -> Result<(), StageError> {
        let section = &frame.0;
        let decisions = self.portfolio.step(section, self.switch.state(), None);
        let count = decisions.len();
        for (tag, decision) in (1..).zip(decisions) {
            self.sides[match decision.side {
                Side::Buy => 0,
                Side::Hold => 1,
                Side::Sell => 2,
            }]
            .inc();
            let of_reason = self.reasons.iter().find(|(one, _)| *one == decision.reason);
            if let Some((_, counter)) = of_reason {
                counter.inc();
            }
            let mut message = DecisionMessage::from(decision);
            // The last decision completes the source items; the ones before are told apart by their number.
            if tag == count as u64 {
                message.missing.clone_from(&section.missing);
                out.emit(frame.head(), message);
            } else {
                let merge = Merge::default().keeping([frame.head()]).tag(tag);
                out.emit_merged(merge, message);
            }
        }
        Ok(())
    }
}
