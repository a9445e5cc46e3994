//! The trading states of the stages of this node: read from their files, and set by writing them.

use std::path::PathBuf;

use heqis_base::files::write_atomically;
use heqis_compute::{Signal, trading_state};
use heqis_dashboard::jobs::Rejected;
use heqis_quant::TradingState;

use heqis_actors::Stage as _;

use crate::topology::Plan;

/// A stage of this node with a trading-state file.
#[derive(Debug)]
pub(super) struct TradingStateSwitch {
    pub(super) stage: String,
    setting: TradingState,
    file: PathBuf,
}

/// Returns the switches of the node with index `node`.
pub(super) fn switches(plan: &Plan, node: usize) -> Vec<TradingStateSwitch> {
    let own = plan.stages.iter();
    own.filter(|stage| stage.node == node && stage.kind.name == Signal::KIND)
        .filter_map(|stage| {
            let setting = stage
                .params
                .get("trading_state")
                .cloned()
                .unwrap_or_default();
            Some(TradingStateSwitch {
                stage: stage.name.clone(),
                setting: serde_json::from_value(setting).unwrap_or_default(),
                file: plan
                    .base
                    .join(stage.params.get("trading_state_file")?.as_str()?),
            })
        })
        .collect()
}

impl TradingStateSwitch {
    /// Returns the state that the stage reads before its next batch.
    pub(super) fn state(&self) -> TradingState {
        trading_state(self.setting, Some(&self.file)).0
    }

    /// Writes the state atomically: a stage that read half a word would halt.
    pub(super) fn set(&self, state: TradingState) -> Result<(), Rejected> {
        let text = format!("{state}\n");
        write_atomically(&self.file, text.as_bytes())
            .map_err(|error| Rejected::Failed(format!("{}: {error}", self.file.display())))
    }
}
