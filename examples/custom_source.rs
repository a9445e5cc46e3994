//! A source of one's own in front of the pipeline's stages: bars from memory, cleaned and turned into features.
//!
//! ```sh
//! cargo run --example custom_source
//! ```
//!
//! A source returns its next item, `Next::Waiting` or `Next::At` while no item is available, and `Next::End` after the last. It
//! must not block: a source of a socket reads in a thread of its own and wakes its actor with `BuildContext::waker`. `Wave` is
//! replayable: two builds return the same items, so a restarted node continues after the last committed one.

use std::time::Duration;

use heqis::actors::{
    BuildContext, Emitter, Frame, GraphBuilder, Next, Nothing, Source, Stage, StageError,
};
use heqis::gateway::{Cleaner, Indicators};
use heqis::messages::{BarMessage, FeatureRow};
use heqis::quant::{Bar, Date, FeatureSet, Marks, Symbol};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WaveConfig {
    /// Number of trading days.
    days: u16,
}

/// Daily bars of one instrument on a wave.
struct Wave {
    symbol: Symbol,
    day: i32,
    days: i32,
}

impl Source for Wave {
    type Config = WaveConfig;
    type Out = BarMessage;
    const KIND: &'static str = "wave";
    const ABOUT: &'static str = "Daily bars of one instrument on a wave.";
    const REPLAYABLE: bool = true;

    fn build(config: &WaveConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self {
            symbol: Symbol::parse("600000.SH").map_err(StageError::config)?,
            day: 0,
            days: config.days.into(),
        })
    }

    fn next(&mut self) -> Result<Next<BarMessage>, StageError> {
        if self.day == self.days {
            return Ok(Next::End);
        }
        // Weekdays from Monday, 2022-01-10: the cleaner rejects bars of weekends.
        let day = 19_002 + self.day / 5 * 7 + self.day % 5;
        let date = Date::from_days(day).ok_or(StageError::config("no such day"))?;
        let price = |day: i32| ((10.0 + (f64::from(day) / 20.0).sin()) * 100.0).round() / 100.0;
        let (open, close) = (price(self.day), price(self.day + 1));
        self.day += 1;
        Ok(Next::Item(BarMessage(Bar {
            symbol: self.symbol,
            time_ns: date.close_time_ns(),
            date,
            open,
            high: open.max(close) + 0.05,
            low: open.min(close) - 0.05,
            close,
            pre_close: None,
            volume_shares: 1_000_000.0 + 1_000.0 * f64::from(self.day % 7),
            amount_cny: None,
            marks: Marks::NONE,
        })))
    }
}

/// The end of the graph.
struct Sink;

impl Stage for Sink {
    type Config = ();
    type In = FeatureRow;
    type Out = Nothing;
    const KIND: &'static str = "sink";
    const ABOUT: &'static str = "Drops rows of features.";

    fn build((): &(), _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(
        &mut self,
        _: &Frame<FeatureRow>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "the example shows its result")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    const DAYS: u16 = 400;
    let report = GraphBuilder::new("custom-source")
        .source::<Wave>("wave", WaveConfig { days: DAYS }, Default::default())
        .stage::<Cleaner>("cleaner", Default::default(), Default::default())
        .stage::<Indicators>("indicators", Default::default(), Default::default())
        .stage::<Sink>("sink", (), Default::default())
        .edge("wave", "cleaner", Default::default())
        .edge("cleaner", "indicators", Default::default())
        .edge("indicators", "sink", Default::default())
        .run(Duration::from_secs(5))?;
    // The first bars warm the indicators up.
    let expected = usize::from(DAYS) - FeatureSet::standard().warmup_bars();
    let rows = report.edges.last().map_or(0, |edge| edge.delivered);
    println!("{DAYS} bars, {rows} rows of features");
    assert!(report.is_clean() && rows == expected as u64);
    Ok(())
}
