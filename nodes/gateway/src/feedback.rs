//! `feedback`: takes [`Decision`]s that came back to the gateway.
//!
//! Counts them by side (`buy`, `hold`, `sell`) and logs those that want to trade.

use heqis_actors::{BuildContext, Counter, Emitter, Frame, Nothing, Snapshot, Stage, StageError};
use heqis_messages::Decision;
use heqis_quant::Side;
use schemars::JsonSchema;
use serde::Deserialize;

/// Parameters of a `feedback` stage.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedbackConfig {
    /// Whether buys and sells are written to the log, at level info.
    #[serde(default)]
    pub log: bool,
}

/// Takes decisions that came back.
#[derive(Debug)]
pub struct Feedback {
    log: bool,
    sides: [Counter; 3],
}

impl Stage for Feedback {
    type Config = FeedbackConfig;
    type In = Decision;
    type Out = Nothing;
    const KIND: &'static str = "feedback";
    const TAKES_PAST: bool = false;
    const ABOUT: &'static str = "Takes the decisions that come back to the gateway.";

    fn build(config: &FeedbackConfig, cx: &BuildContext) -> Result<Self, StageError> {
        Ok(Self {
            log: config.log,
            sides: ["buy", "hold", "sell"].map(|side| cx.counter(side)),
        })
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::Nothing
    }

    fn process(
        &mut self,
        frame: &Frame<Decision>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        let verdict = &frame.verdict;
        self.sides[match verdict.side {
            Side::Buy => 0,
            Side::Hold => 1,
            Side::Sell => 2,
        }]
        .inc();
        if self.log && verdict.side != Side::Hold {
            // The birth time comes from another machine and may be anything.
            let age_ns = frame.head().enter_ns().saturating_sub(frame.head().born_ns);
            let age_us = age_ns / 1_000;
            tracing::info!(symbol = %frame.bar.symbol, date = %frame.bar.date, close = frame.bar.close, side = %verdict.side, confidence = format_args!("{:.3}", verdict.confidence), reason = %verdict.reason, age_us, "signal");
        }
        Ok(())
    }
}
