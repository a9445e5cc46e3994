//! How far the stages of this node may trade: as their files say, and by writing these.

use std::path::PathBuf;

use heqis_base::files::write_atomically;
use heqis_compute::{Signal, kill_state};
use heqis_dashboard::jobs::Rejected;
use heqis_quant::KillState;

use heqis_actors::Stage as _;

use crate::topology::Plan;

/// A stage of this node that has a kill file.
#[derive(Debug)]
pub(super) struct Switch {
    pub(super) stage: String,
    setting: KillState,
    file: PathBuf,
}

/// The switches of the node with index `node`.
pub(super) fn switches(plan: &Plan, node: usize) -> Vec<Switch> {
    let own = plan.stages.iter();
    own.filter(|stage| stage.node == node && stage.kind.name == Signal::KIND)
        .filter_map(|stage| {
            let setting = stage
                .params
                .get("trading_state")
                .cloned()
                .unwrap_or_default();
            Some(Switch {
                stage: stage.name.clone(),
                setting: serde_json::from_value(setting).unwrap_or_default(),
                file: plan
                    .base
                    .join(stage.params.get("trading_state_file")?.as_str()?),
            })
        })
        .collect()
}

impl Switch {
    /// The state that the stage sees before its next batch.
    pub(super) fn state(&self) -> KillState {
        kill_state(self.setting, Some(&self.file)).0
    }

    /// Writes the state, whole or not at all: a stage that read half a word would halt.
    pub(super) fn set(&self, state: KillState) -> Result<(), Rejected> {
        let text = format!("{}\n", super::graph::word(state));
        write_atomically(&self.file, text.as_bytes())
            .map_err(|error| Rejected::Failed(format!("{}: {error}", self.file.display())))
    }
}
