//! A stage of one's own between the pipeline's stages and a sink.
//!
//! ```sh
//! cargo run --example custom_stage
//! ```
//!
//! `Crossings` passes a bar on when it moves the fast average of its instrument across the slow one; `Print` shows it.

use std::collections::HashMap;
use std::time::Duration;

use heqis::actors::{BuildContext, Emitter, Frame, GraphBuilder, Nothing, Stage, StageError};
use heqis::gateway::source::Simulated;
use heqis::messages::BarMessage;
use heqis::quant::Symbol;
use heqis::quant::indicators::{Indicator, Ma};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CrossingsConfig {
    /// Bars of the fast average; must be below `slow`.
    fast: usize,
    /// Bars of the slow average.
    slow: usize,
}

/// Both averages of an instrument, and whether the fast one was above.
type Averages = (Ma, Ma, Option<bool>);

struct Crossings {
    start: Averages,
    averages: HashMap<Symbol, Averages>,
}

impl Stage for Crossings {
    type Config = CrossingsConfig;
    type In = BarMessage;
    type Out = BarMessage;
    const KIND: &'static str = "crossings";
    const ABOUT: &'static str = "Passes bars on at which two moving averages cross.";

    fn build(config: &CrossingsConfig, _: &BuildContext) -> Result<Self, StageError> {
        if config.fast >= config.slow {
            return Err(StageError::config("fast must be below slow"));
        }
        let average = |bars| Ma::new(bars).map_err(StageError::config);
        let start = (average(config.fast)?, average(config.slow)?, None);
        let averages = HashMap::new();
        Ok(Self { start, averages })
    }

    fn process(
        &mut self,
        frame: &Frame<BarMessage>,
        out: &mut Emitter<'_, BarMessage>,
    ) -> Result<(), StageError> {
        let BarMessage(bar) = **frame;
        let (fast, slow, was_above) = self
            .averages
            .entry(bar.symbol)
            .or_insert_with(|| self.start.clone());
        if let (Some(fast), Some(slow)) = (fast.update(bar.close), slow.update(bar.close)) {
            let up = fast > slow;
            if was_above.replace(up).is_some_and(|before| before != up) {
                // Derived from the bar's frame: it keeps that frame's origin, birth time and stamps.
                out.emit(frame.head(), BarMessage(bar));
            }
        }
        Ok(())
    }
}

struct Print;

impl Stage for Print {
    type Config = ();
    type In = BarMessage;
    type Out = Nothing;
    const KIND: &'static str = "print";
    const ABOUT: &'static str = "Prints bars.";

    fn build((): &(), _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    #[expect(clippy::print_stdout, reason = "printing is the purpose of this stage")]
    fn process(
        &mut self,
        frame: &Frame<BarMessage>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        println!(
            "{} on {} at {:.2}",
            frame.0.symbol, frame.0.date, frame.0.close
        );
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let market = serde_json::from_value(json!({ "seed": 7, "symbols": 3, "days": 500 }))?;
    let report = GraphBuilder::new("custom-stage")
        .source::<Simulated>("market", market, Default::default())
        .stage::<Crossings>(
            "crossings",
            CrossingsConfig { fast: 5, slow: 60 },
            Default::default(),
        )
        .stage::<Print>("print", (), Default::default())
        .edge("market", "crossings", Default::default())
        .edge("crossings", "print", Default::default())
        .run(Duration::from_secs(5))?;
    let (bars, crossings) = (&report.edges[0], &report.edges[1]);
    assert!(report.is_clean(), "the books close");
    assert!(bars.delivered == 1_500 && crossings.delivered > 0);
    Ok(())
}
