//! `cleaner`: takes [`BarMessage`]s and emits those that the rules of the market allow, with marks.
//!
//! Counts each reject by its reason; some of each reason are logged with their values. Nothing is clamped or
//! repaired.

use std::path::Path;

use heqis_actors::{
    BuildContext, Counter, Emitter, Frame, Key, LogLimit, Snapshot, Stage, StageError,
};
use heqis_messages::{BarMessage, symbol_of};
use heqis_quant::{CleanConfig, Reject};

/// Rejects impossible bars.
#[derive(Debug)]
pub struct Cleaner {
    rules: heqis_quant::Cleaner,
    stage: String,
    /// By reason, so that a flood of one kind hides none of another.
    rejects: [(Counter, LogLimit); Reject::REASONS.len()],
}

impl Stage for Cleaner {
    type Config = CleanConfig;
    type In = BarMessage;
    type Out = BarMessage;
    const KIND: &'static str = "cleaner";
    const ABOUT: &'static str = "Rejects impossible bars, each with a reason, and marks gaps.";

    fn check(config: &CleanConfig, _: &Path) -> Vec<String> {
        heqis_quant::Cleaner::new(config.clone())
            .err()
            .map(|error| error.to_string())
            .into_iter()
            .collect()
    }

    fn build(config: &CleanConfig, cx: &BuildContext) -> Result<Self, StageError> {
        Ok(Self {
            rules: heqis_quant::Cleaner::new(config.clone()).map_err(StageError::config)?,
            stage: cx.stage().to_owned(),
            rejects: Reject::REASONS
                .map(|reason| (cx.counter(reason), LogLimit::new(cx.clock().clone()))),
        })
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.rules.state())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StageError> {
        self.rules.restore(Snapshot::read(state)?);
        Ok(())
    }

    fn take_key(&mut self, key: Key) -> Result<Option<Vec<u8>>, StageError> {
        Snapshot::bytes(&self.rules.take(symbol_of(key)?)).map(Some)
    }

    fn put_key(
        &mut self,
        _: Key,
        state: &[u8],
        _: &mut Emitter<'_, BarMessage>,
    ) -> Result<(), StageError> {
        let put = self.rules.put(Snapshot::read(state)?);
        put.map_err(|_| StageError::config("the symbol has a state here"))
    }

    fn process(
        &mut self,
        frame: &Frame<BarMessage>,
        out: &mut Emitter<'_, BarMessage>,
    ) -> Result<(), StageError> {
        match self.rules.check(frame.0) {
            Ok(bar) => out.emit(frame.head(), BarMessage(bar)),
            Err(reject) => {
                let (counter, log) = &mut self.rejects[reject.index()];
                counter.inc();
                if let Some(left_out) = log.admit() {
                    tracing::warn!(stage = %self.stage, symbol = %frame.0.symbol, date = %frame.0.date, reason = reject.reason(), %reject, suppressed = left_out, "bar rejected");
                }
            }
        }
        Ok(())
    }
}
