//! `feedback`: takes the [`DecisionMessage`]s that return to the gateway.
//!
//! Counts them by side (`buy`, `hold`, `sell`) and logs buys and sells. With a file (`path`) it records each
//! decision once: after a kill of either node a decision may be sent again, and is recognised by its number. Counts `repeat`
//! for recorded decisions that are sent again, and `gap` for decisions whose number does not follow the one before.

mod file;

use std::path::{Path, PathBuf};

use heqis_actors::{BuildContext, Counter, Emitter, Frame, Nothing, Snapshot, Stage, StageError};
use heqis_messages::DecisionMessage;
use heqis_quant::Side;
use schemars::JsonSchema;
use serde::Deserialize;

use file::DecisionFile;

/// Parameters of a `feedback` stage.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedbackConfig {
    /// Whether buys and sells are written to the log, at level info.
    #[serde(default)]
    pub log: bool,
    /// A file to which each decision is appended once, a line `number,stream,position,symbol,date,side`. It belongs to one
    /// journal: a new journal, which numbers from 1, needs a new file.
    #[serde(default)]
    pub path: Option<PathBuf>,
}

/// Takes decisions that return.
#[derive(Debug)]
pub struct Feedback {
    log: bool,
    file: Option<DecisionFile>,
    sides: [Counter; 3],
    repeat: Counter,
    gap: Counter,
}

impl Stage for Feedback {
    type Config = FeedbackConfig;
    type In = DecisionMessage;
    type Out = Nothing;
    const KIND: &'static str = "feedback";
    const TAKES_WARM_UP: bool = false;
    const ABOUT: &'static str = "Takes the decisions that return to the gateway.";

    fn check(config: &FeedbackConfig, base: &Path) -> Vec<String> {
        let path = config.path.as_ref().map(|path| base.join(path));
        path.and_then(|path| file::fault(&path))
            .into_iter()
            .collect()
    }

    fn build(config: &FeedbackConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let path = config.path.as_ref().map(|path| cx.path(path));
        Ok(Self {
            log: config.log,
            file: path.as_deref().map(DecisionFile::open).transpose()?,
            sides: ["buy", "hold", "sell"].map(|side| cx.counter(side)),
            repeat: cx.counter("repeat"),
            gap: cx.counter("gap"),
        })
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }

    fn process(
        &mut self,
        frame: &Frame<DecisionMessage>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        if let Some(file) = &mut self.file {
            // A decision without a number comes from no journal, so a repetition cannot be recognised.
            if (1..=file.last()).contains(&frame.number) {
                self.repeat.inc();
                return Ok(());
            }
            if frame.number > file.last() + 1 {
                self.gap.inc();
            }
            file.append(frame.head().origin, frame)?;
        }
        let decision = &frame.decision;
        self.sides[match decision.side {
            Side::Buy => 0,
            Side::Hold => 1,
            Side::Sell => 2,
        }]
        .inc();
        if self.log && decision.side != Side::Hold {
            // The birth time comes from another machine and may be anything.
            let age_ns = frame.head().enter_ns().saturating_sub(frame.head().born_ns);
            let age_us = age_ns / 1_000;
            tracing::info!(symbol = %decision.symbol, date = %decision.date, close = decision.close, side = %decision.side, confidence = format_args!("{:.3}", decision.confidence), reason = %decision.reason, age_us, "signal");
        }
        Ok(())
    }
}
