//! The trading state of a running node: a setting, and a file by which an operator changes it without a restart.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use heqis_actors::{BuildContext, Note, read_small_file};
use heqis_quant::KillState;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error, StrDeserializer};

/// Longest trading-state file that is read, bytes.
const MAX_BYTES: u64 = 4096;

/// Reads the trading state.
#[derive(Debug)]
pub(crate) struct TradingStateSwitch {
    setting: KillState,
    file: Option<PathBuf>,
    /// The last state, so that a change is logged once.
    last: KillState,
    note: Note,
    stage: String,
}

impl TradingStateSwitch {
    pub(crate) fn new(setting: KillState, file: Option<PathBuf>, cx: &BuildContext) -> Self {
        let note = cx.note("kill");
        note.set(word(setting));
        Self {
            setting,
            file,
            last: setting,
            note,
            stage: cx.stage().to_owned(),
        }
    }

    /// Returns the current state: that of the file, or the setting where there is no file. A file that cannot be read, or holds
    /// anything else, halts: its writer meant less trading, not more.
    pub(crate) fn state(&mut self) -> KillState {
        let (state, fault) = trading_state(self.setting, self.file.as_deref());
        if state != self.last {
            self.last = state;
            self.note.set(word(state));
            let fault = fault.unwrap_or_default();
            tracing::warn!(stage = %self.stage, ?state, fault, "trading state changed");
        }
        state
    }
}

/// Returns the word for a state in files and reports.
fn word(state: KillState) -> &'static str {
    match state {
        KillState::Active => "active",
        KillState::Reducing => "reducing",
        KillState::Halted => "halted",
    }
}

/// Returns what is wrong with a trading-state file before the start. A missing file may be created later; its contents are
/// not checked.
pub(crate) fn fault(file: &Path) -> Option<String> {
    match read_small_file(file, MAX_BYTES) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Some(format!("trading_state_file {}: {error}", file.display()))
        }
        _ => None,
    }
}

/// Returns the state in a trading-state file, or the setting where there is no file; and the reason, when the file halts
/// because it cannot be read.
#[must_use]
pub fn trading_state(setting: KillState, file: Option<&Path>) -> (KillState, Option<String>) {
    let Some(file) = file else {
        return (setting, None);
    };
    // Read before each batch, so it must never block.
    match read_small_file(file, MAX_BYTES) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let name: StrDeserializer<'_, Error> = text.trim().into_deserializer();
            match KillState::deserialize(name) {
                Ok(state) => (state, None),
                Err(error) => (KillState::Halted, Some(error.to_string())),
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => (setting, None),
        Err(error) => (KillState::Halted, Some(error.to_string())),
    }
}
