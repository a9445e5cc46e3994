//! The kill state of a running node: a setting, and a file by which an operator changes it without a restart.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use heqis_actors::{BuildContext, Note, read_small_file};
use heqis_quant::KillState;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error, StrDeserializer};

/// Longest kill file that is read, bytes.
const MAX_BYTES: u64 = 4096;

/// Looks up the kill state.
#[derive(Debug)]
pub(crate) struct KillSwitch {
    setting: KillState,
    file: Option<PathBuf>,
    /// The state as last seen, so that a change is told once.
    last: KillState,
    note: Note,
    stage: String,
}

impl KillSwitch {
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

    /// The state now: what the file says, or the setting where there is none. A file that cannot be read or says
    /// something else halts: whoever wrote it wanted less trading, not more.
    pub(crate) fn state(&mut self) -> KillState {
        let (state, fault) = kill_state(self.setting, self.file.as_deref());
        if state != self.last {
            self.last = state;
            self.note.set(word(state));
            let fault = fault.unwrap_or_default();
            tracing::warn!(stage = %self.stage, ?state, fault, "kill state changed");
        }
        state
    }
}

/// The word that stands for a state in files and reports.
fn word(state: KillState) -> &'static str {
    match state {
        KillState::Active => "active",
        KillState::Reducing => "reducing",
        KillState::Halted => "halted",
    }
}

/// What is wrong with a kill file before the start. One that is not there may come, and one that holds no state is for its
/// writer to mend.
pub(crate) fn fault(file: &Path) -> Option<String> {
    match read_small_file(file, MAX_BYTES) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Some(format!("trading_state_file {}: {error}", file.display()))
        }
        _ => None,
    }
}

/// What a kill file says, or the setting where there is none; and why, when that is to halt because the file cannot be
/// understood.
#[must_use]
pub fn kill_state(setting: KillState, file: Option<&Path>) -> (KillState, Option<String>) {
    let Some(file) = file else {
        return (setting, None);
    };
    // Looked at before each batch: whatever lies there must not make it wait.
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
