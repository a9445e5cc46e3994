//! The trading state of a running node: a parameter, and a file by which an operator changes it without a restart.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use heqis_actors::{BuildContext, Note, read_small_file};
use heqis_quant::TradingState;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error, StrDeserializer};

/// Longest trading state file that is read, bytes.
const MAX_BYTES: u64 = 4096;

/// Reads the trading state and reports its changes.
#[derive(Debug)]
pub(crate) struct TradingStateSwitch {
    setting: TradingState,
    file: Option<PathBuf>,
    /// The last state that was read, so that a change is logged once.
    last: TradingState,
    note: Note,
    stage: String,
}

impl TradingStateSwitch {
    pub(crate) fn new(setting: TradingState, file: Option<PathBuf>, cx: &BuildContext) -> Self {
        let note = cx.note("kill");
        note.set(setting.name());
        Self {
            setting,
            file,
            last: setting,
            note,
            stage: cx.stage().to_owned(),
        }
    }

    /// Returns the state now, see [`trading_state`].
    pub(crate) fn state(&mut self) -> TradingState {
        let (state, fault) = trading_state(self.setting, self.file.as_deref());
        if state != self.last {
            self.last = state;
            self.note.set(state.name());
            let fault = fault.unwrap_or_default();
            tracing::warn!(stage = %self.stage, %state, fault, "trading state changed");
        }
        state
    }
}

/// Returns the fault of a trading state file before the start. A missing file may be written later, and a file without a
/// state halts at run time.
pub(crate) fn fault(file: &Path) -> Option<String> {
    match read_small_file(file, MAX_BYTES) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Some(format!("trading_state_file {}: {error}", file.display()))
        }
        _ => None,
    }
}

/// Returns the state in the file, or the setting where there is no file. A file that cannot be read or holds no state
/// halts, and the fault is returned as well: the file was written to restrict trading.
#[must_use]
pub fn trading_state(setting: TradingState, file: Option<&Path>) -> (TradingState, Option<String>) {
    let Some(file) = file else {
        return (setting, None);
    };
    // It is read before each batch, so no kind of file may block the stage.
    match read_small_file(file, MAX_BYTES) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let name: StrDeserializer<'_, Error> = text.trim().into_deserializer();
            match TradingState::deserialize(name) {
                Ok(state) => (state, None),
                Err(error) => (TradingState::Halted, Some(error.to_string())),
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => (setting, None),
        Err(error) => (TradingState::Halted, Some(error.to_string())),
    }
}
