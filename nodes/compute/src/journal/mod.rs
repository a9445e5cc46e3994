//! `journal`: takes [`Decision`]s and writes them to an append-only file that survives `kill -9`.
//!
//! A frame is acknowledged to the node that sent it only after it was dropped here, and it is dropped after the write.
//! So an acknowledged decision is in the file, and an unacknowledged one comes again and is recognised.
//!
//! A source item leads to at most one decision: its origin is what a decision is recognised by after a restart. What is
//! committed is known per node, so two journals on a node must not take the same items: after a kill each would take what
//! the other holds for its own.
//!
//! Counts `written`, and `duplicate` for decisions that the file already held.
//!
//! The lines are those of [`heqis_quant::decision::journal`].
//!
//! - `file`: opening, resuming, appending. `timings`: time stamps beside the journal.

mod file;
mod timings;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use heqis_actors::{
    BuildContext, Committed, Counter, Emitter, Frame, Nothing, Origin, Stage, StageError,
};
use heqis_messages::Decision;
use heqis_quant::decision::journal::{Line, Place, Record};
use schemars::JsonSchema;
use serde::Deserialize;

pub use file::{JournalError, read};

use file::JournalFile;

/// When written records are forced to the disk. A record is safe from a killed process as soon as it is written;
/// syncing is about power cuts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Sync")]
pub enum SyncPolicy {
    /// Left to the operating system.
    #[default]
    Never,
    /// After each batch of frames.
    Batch,
}

/// Parameters of a `journal` stage.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JournalConfig {
    /// The file; missing directories are made. A finished journal found there is kept as `<path>.prev`.
    pub path: PathBuf,
    /// When records are forced to the disk.
    #[serde(default)]
    pub sync: SyncPolicy,
    /// Whether to write the time stamps of each decision's stages to `<path>.timings.jsonl`. They are kept out of the
    /// journal itself, so that two runs over the same bars give the same bytes.
    #[serde(default)]
    pub timings: bool,
}

/// Writes decisions.
#[derive(Debug)]
pub struct Journal {
    file: JournalFile,
    timings: Option<std::fs::File>,
    sync: SyncPolicy,
    committed: Committed,
    stage_names: Arc<[String]>,
    /// Lines of the current batch.
    lines: String,
    timing_lines: String,
    batch: Vec<Frame<Decision>>,
    written: Counter,
    duplicate: Counter,
}

impl Stage for Journal {
    type Config = JournalConfig;
    type In = Decision;
    type Out = Nothing;
    const COMMIT_LOG: bool = true;
    const KIND: &'static str = "journal";
    const ABOUT: &'static str =
        "Writes decisions to a checksummed file that survives a killed process.";

    fn check(config: &JournalConfig, base: &Path) -> Vec<String> {
        file::fault(&base.join(&config.path)).into_iter().collect()
    }

    fn build(config: &JournalConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let path = cx.path(&config.path);
        let (file, records) = JournalFile::open(&path).map_err(StageError::config)?;
        let resumed = !records.is_empty();
        if resumed {
            tracing::info!(stage = cx.stage(), path = %path.display(), decisions = records.len(), "journal resumed");
        }
        for (place, record) in records {
            let origin = Origin {
                stream: place.stream,
                position: place.position,
            };
            cx.committed().record(origin, Decision::from(&record));
        }
        let timings = config
            .timings
            .then(|| file::open_timings(&path, resumed))
            .transpose();
        Ok(Self {
            file,
            timings: timings.map_err(StageError::config)?,
            sync: config.sync,
            committed: cx.committed().clone(),
            stage_names: cx.stage_names().clone(),
            lines: String::new(),
            timing_lines: String::new(),
            batch: Vec::new(),
            written: cx.counter("written"),
            duplicate: cx.counter("duplicate"),
        })
    }

    fn process(
        &mut self,
        frame: &Frame<Decision>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        let head = frame.head();
        if self.committed.contains(head.origin) {
            self.duplicate.inc();
            return Ok(());
        }
        self.batch.push(frame.clone());
        let number = self.file.decisions() + self.batch.len() as u64;
        let place = Place {
            n: number,
            stream: head.origin.stream,
            position: head.origin.position,
        };
        Line::Decision(place, Record::from(&**frame)).write(&mut self.lines);
        if self.timings.is_some() {
            timings::write_line(number, head, &self.stage_names, &mut self.timing_lines);
        }
        Ok(())
    }

    fn flush(&mut self, _: &mut Emitter<'_, Nothing>) -> Result<(), StageError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let decisions = self.batch.len() as u64;
        self.file
            .append(&self.lines, decisions)
            .map_err(StageError::unavailable)?;
        if self.sync == SyncPolicy::Batch {
            self.file.sync().map_err(StageError::unavailable)?;
        }
        if let Some(timings) = &mut self.timings {
            // Timings explain, they do not decide: a full disk there must not stop the journal.
            if let Err(error) = std::io::Write::write_all(timings, self.timing_lines.as_bytes()) {
                tracing::warn!(%error, "timings are not written");
            }
        }
        for frame in self.batch.drain(..) {
            self.committed.keep(frame.head().origin, (*frame).clone());
        }
        self.written.add(decisions);
        self.lines.clear();
        self.timing_lines.clear();
        Ok(())
    }

    /// Only the end of the data closes the journal: a node that leaves comes back to it.
    fn finish(&mut self) -> Result<(), StageError> {
        self.file.close().map_err(StageError::failed)
    }
}
