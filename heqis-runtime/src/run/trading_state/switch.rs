//! The trading-state files of the stages of a node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use heqis_actors::{Stage as _, read_small_file};
use heqis_base::files::write_atomically;
use heqis_compute::{Signal, trading_state};
use heqis_quant::TradingState;

use crate::topology::Plan;

/// Longest list of requests that is read, bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// A stage of this node with a trading-state file.
#[derive(Debug)]
pub(crate) struct TradingStateSwitch {
    pub(crate) stage: String,
    setting: TradingState,
    file: PathBuf,
    /// The last request of each other node that was done, so that it is done once.
    requests: PathBuf,
}

/// Returns the switches of the node with index `node`.
pub(crate) fn switches(plan: &Plan, node: usize) -> Vec<TradingStateSwitch> {
    let own = plan.stages.iter();
    own.filter(|stage| stage.node == node && stage.kind.name == Signal::KIND)
        .filter_map(|stage| {
            let setting = stage
                .params
                .get("trading_state")
                .cloned()
                .unwrap_or_default();
            let file = stage.params.get("trading_state_file")?.as_str()?;
            Some(TradingStateSwitch::new(
                &stage.name,
                serde_json::from_value(setting).unwrap_or_default(),
                plan.base.join(file),
            ))
        })
        .collect()
}

/// Whether `new` allows no order that `old` does not allow.
pub(super) fn restricts(new: TradingState, old: TradingState) -> bool {
    new as u8 >= old as u8
}

/// The state with this name.
pub(super) fn parse(name: &str) -> Option<TradingState> {
    serde_json::from_value(name.into()).ok()
}

impl TradingStateSwitch {
    pub(super) fn new(stage: &str, setting: TradingState, file: PathBuf) -> Self {
        let mut requests = file.clone().into_os_string();
        requests.push(".requests");
        Self {
            stage: stage.to_owned(),
            setting,
            file,
            requests: requests.into(),
        }
    }

    /// Returns the state that the stage reads before its next batch.
    pub(crate) fn state(&self) -> TradingState {
        trading_state(self.setting, Some(&self.file)).0
    }

    /// Writes the state atomically: a stage that read half a word would halt.
    ///
    /// # Errors
    /// The path, and why it cannot be written.
    pub(crate) fn set(&self, state: TradingState) -> Result<(), String> {
        write(&self.file, &format!("{state}\n"))
    }

    /// As [`TradingStateSwitch::set`], for the request `id` of `node`, which is done only once. After a kill between the two
    /// files it is done again: nothing else has changed the state meanwhile.
    pub(super) fn set_for(&self, state: TradingState, node: &str, id: u64) -> Result<(), String> {
        self.set(state)?;
        let mut requests = self.done();
        requests.insert(node.to_owned(), id);
        write(&self.requests, &serde_json::json!(requests).to_string())
    }

    /// The last request of `node` that was done.
    pub(super) fn last_request(&self, node: &str) -> Option<u64> {
        self.done().get(node).copied()
    }

    /// A file that is missing or broken names none: the request is then done again.
    fn done(&self) -> BTreeMap<String, u64> {
        let bytes = read_small_file(&self.requests, MAX_BYTES);
        let done = bytes
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        done.unwrap_or_default()
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let written = write_atomically(path, text.as_bytes());
    written.map_err(|error| format!("{}: {error}", path.display()))
}
