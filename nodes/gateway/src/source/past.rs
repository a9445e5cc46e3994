//! Bars of files from before a live source, which fill what stages hold: without them a first day begins with a warm-up.

use std::path::{Path, PathBuf};

use heqis_actors::{BuildContext, Next, Source as _, StageError};
use heqis_messages::BarMessage;

use super::csv_replay::{CsvReplay, CsvReplayConfig};

/// The bars, until they are given.
pub(super) struct Past(Option<CsvReplay>);

impl std::fmt::Debug for Past {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Past").field(&self.0.is_some()).finish()
    }
}

fn replay(paths: &[PathBuf]) -> Option<CsvReplayConfig> {
    (!paths.is_empty()).then(|| CsvReplayConfig::of(paths.to_vec()))
}

impl Past {
    /// What is wrong with the files, for a source's check.
    pub(super) fn faults(paths: &[PathBuf], base: &Path) -> Vec<String> {
        let faults = replay(paths).map(|config| CsvReplay::check(&config, base));
        let faults = faults.into_iter().flatten();
        faults.map(|fault| format!("warm_up: {fault}")).collect()
    }

    pub(super) fn open(paths: &[PathBuf], cx: &BuildContext) -> Result<Self, StageError> {
        let source = replay(paths).map(|config| CsvReplay::build(&config, cx));
        Ok(Self(source.transpose()?))
    }

    pub(super) fn next(&mut self) -> Result<Option<BarMessage>, StageError> {
        let Some(source) = &mut self.0 else {
            return Ok(None);
        };
        match source.next()? {
            Next::Item(bar) => Ok(Some(bar)),
            _ => {
                self.0 = None;
                Ok(None)
            }
        }
    }
}
