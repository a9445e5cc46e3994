//! A graph without any topology file: a source, a stage of one's own, a sink, three edges' worth of books.
//!
//! ```sh
//! cargo run --example custom_stage
//! ```
//!
//! A seeded walk makes prices; `Crossings` emits a frame whenever the fast mean crosses the slow one; `Print` shows it.

use std::time::Duration;

use heqis::actors::{
    BuildContext, EdgeOptions, Emitter, Frame, GraphBuilder, Next, Nothing, Payload, PayloadError,
    Policy, Source, Stage, StageError, StageOptions, Tensor,
};
use heqis::quant::indicators::{Indicator, Ma};
use schemars::JsonSchema;
use serde::Deserialize;

/// One price of the walk. A payload says what it is called and how it crosses a wire; this one never does.
struct Price(f64);

impl Payload for Price {
    const NAME: &'static str = "price";

    fn encode(&self, meta: &mut Vec<u8>) -> Result<(), PayloadError> {
        meta.extend(self.0.to_le_bytes());
        Ok(())
    }

    fn decode(meta: &[u8], _tensor: Tensor) -> Result<Self, PayloadError> {
        heqis::actors::decode_meta(Self::NAME, meta).map(Self)
    }
}

/// Which way the means crossed.
struct Crossing {
    up: bool,
    price: f64,
}

impl Payload for Crossing {
    const NAME: &'static str = "crossing";

    fn encode(&self, meta: &mut Vec<u8>) -> Result<(), PayloadError> {
        heqis::actors::encode_meta(Self::NAME, &(self.up, self.price), meta)
    }

    fn decode(meta: &[u8], _tensor: Tensor) -> Result<Self, PayloadError> {
        let (up, price) = heqis::actors::decode_meta(Self::NAME, meta)?;
        Ok(Self { up, price })
    }
}

/// Where the walk starts and how it goes on.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WalkConfig {
    seed: u64,
    prices: u32,
}

/// A walk of prices; the seed fixes it, so it can be replayed.
struct Walk {
    state: u64,
    left: u32,
    price: f64,
}

impl Source for Walk {
    type Config = WalkConfig;
    type Out = Price;
    const KIND: &'static str = "walk";
    const ABOUT: &'static str = "A seeded walk of prices.";
    const REPLAYABLE: bool = true;

    fn build(config: &WalkConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self {
            state: config.seed,
            left: config.prices,
            price: 10.0,
        })
    }

    fn next(&mut self) -> Result<Next<Price>, StageError> {
        if self.left == 0 {
            return Ok(Next::End);
        }
        self.left -= 1;
        // Knuth's MMIX generator; its high bits are good enough for a walk.
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.price *= 1.0 + ((self.state >> 40) as f64 / (1u64 << 24) as f64 - 0.5) * 0.04;
        Ok(Next::Item(Price(self.price)))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CrossingsConfig {
    fast: usize,
    slow: usize,
}

/// Emits a frame whenever the fast mean crosses the slow one.
struct Crossings {
    fast: Ma,
    slow: Ma,
    above: Option<bool>,
}

impl Stage for Crossings {
    type Config = CrossingsConfig;
    type In = Price;
    type Out = Crossing;
    const KIND: &'static str = "crossings";
    const ABOUT: &'static str = "Tells when a fast mean crosses a slow one.";

    fn build(config: &CrossingsConfig, _: &BuildContext) -> Result<Self, StageError> {
        if config.fast >= config.slow {
            return Err(StageError::config(format!(
                "fast {} is not below slow {}",
                config.fast, config.slow
            )));
        }
        let mean = |bars| Ma::new(bars).map_err(StageError::config);
        Ok(Self {
            fast: mean(config.fast)?,
            slow: mean(config.slow)?,
            above: None,
        })
    }

    fn process(
        &mut self,
        frame: &Frame<Price>,
        out: &mut Emitter<'_, Crossing>,
    ) -> Result<(), StageError> {
        let (fast, slow) = (self.fast.update(frame.0), self.slow.update(frame.0));
        if let (Some(fast), Some(slow)) = (fast, slow) {
            let above = fast > slow;
            if self
                .above
                .replace(above)
                .is_some_and(|before| before != above)
            {
                out.emit(
                    frame.head(),
                    Crossing {
                        up: above,
                        price: frame.0,
                    },
                );
            }
        }
        Ok(())
    }
}

#[derive(Deserialize, JsonSchema)]
struct PrintConfig {}

struct Print;

impl Stage for Print {
    type Config = PrintConfig;
    type In = Crossing;
    type Out = Nothing;
    const KIND: &'static str = "print";
    const ABOUT: &'static str = "Prints crossings.";

    fn build(_: &PrintConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    #[expect(clippy::print_stdout, reason = "printing is what this stage is for")]
    fn process(
        &mut self,
        frame: &Frame<Crossing>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        let head = frame.head();
        println!(
            "price {:>4}: {} at {:.2}",
            head.origin.position,
            if frame.up { "up  " } else { "down" },
            frame.price
        );
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "the example ends by showing its books")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let slow_consumer = StageOptions {
        arbiter: Some("print".into()),
        ..StageOptions::default()
    };
    let report = GraphBuilder::new("custom-stage")
        .source::<Walk>(
            "walk",
            WalkConfig {
                seed: 7,
                prices: 2_000,
            },
            StageOptions::default(),
        )
        .stage::<Crossings>(
            "crossings",
            CrossingsConfig { fast: 5, slow: 60 },
            StageOptions::default(),
        )
        .stage::<Print>("print", PrintConfig {}, slow_consumer)
        .edge("walk", "crossings", EdgeOptions::default())
        .edge(
            "crossings",
            "print",
            EdgeOptions {
                policy: Policy::Block,
                capacity: 16,
                ..EdgeOptions::default()
            },
        )
        .run(Duration::from_secs(5))?;
    for edge in &report.edges {
        println!(
            "{}: sent {}, delivered {}, dropped {}",
            edge.edge,
            edge.sent,
            edge.delivered,
            edge.dropped_total()
        );
    }
    if report.is_clean() {
        Ok(())
    } else {
        Err("the books do not close".into())
    }
}
