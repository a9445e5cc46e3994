//! The command line of `heqis-runtime` with a stage kind of one's own, which topology files may then name.
//!
//! ```sh
//! cargo run --example custom_kinds -- --topology examples/custom_kinds.toml
//! cargo run --example custom_kinds -- stages big-moves
//! ```

use heqis::messages::BarMessage;
use heqis::prelude::*;

/// Parameters of `big-moves`.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct BigMovesConfig {
    /// Smallest difference of close and open that is counted, as a share of the open.
    least: f64,
}

struct BigMoves {
    least: f64,
    found: heqis::actors::Counter,
}

impl Stage for BigMoves {
    type Config = BigMovesConfig;
    type In = BarMessage;
    type Out = Nothing;
    const KIND: &'static str = "big-moves";
    const ABOUT: &'static str = "Counts bars whose close is far from their open.";

    fn build(config: &BigMovesConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let (least, found) = (config.least, cx.counter("big_moves"));
        Ok(Self { least, found })
    }

    fn process(
        &mut self,
        bar: &Frame<BarMessage>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        if (bar.0.close / bar.0.open - 1.0).abs() >= self.least {
            self.found.add(1);
        }
        Ok(())
    }
}

fn main() -> std::process::ExitCode {
    heqis::main_with(heqis::registry().with_stage::<BigMoves>())
}
