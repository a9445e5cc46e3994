//! The kill state of a running node: a setting, and a file by which an operator changes it without a restart.

use std::io::ErrorKind;
use std::path::PathBuf;

use heqis_quant::KillState;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error, StrDeserializer};

/// Looks up the kill state.
#[derive(Debug)]
pub(crate) struct KillSwitch {
    setting: KillState,
    file: Option<PathBuf>,
    /// The state as last seen, so that a change is logged once.
    last: KillState,
    stage: String,
}

impl KillSwitch {
    pub(crate) fn new(setting: KillState, file: Option<PathBuf>, stage: &str) -> Self {
        Self {
            setting,
            file,
            last: setting,
            stage: stage.to_owned(),
        }
    }

    /// The state now: what the file says, or the setting where there is none. A file that cannot be read or says
    /// something else halts: whoever wrote it wanted less trading, not more.
    pub(crate) fn state(&mut self) -> KillState {
        let (state, fault) = self.look();
        if state != self.last {
            self.last = state;
            let fault = fault.unwrap_or_default();
            tracing::warn!(stage = %self.stage, ?state, fault, "kill state changed");
        }
        state
    }

    fn look(&self) -> (KillState, Option<String>) {
        let Some(file) = &self.file else {
            return (self.setting, None);
        };
        match std::fs::read_to_string(file) {
            Ok(text) => {
                let name: StrDeserializer<'_, Error> = text.trim().into_deserializer();
                match KillState::deserialize(name) {
                    Ok(state) => (state, None),
                    Err(error) => (KillState::Halted, Some(error.to_string())),
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => (self.setting, None),
            Err(error) => (KillState::Halted, Some(error.to_string())),
        }
    }
}
