//! `journal`: takes [`DecisionMessage`]s and writes them to an append-only file that survives `kill -9`.
//!
//! A frame is acknowledged to the node that sent it only after it was dropped here, and it is dropped after the write.
//! So an acknowledged decision is in the file, and an unacknowledged one is sent again and recognised.
//!
//! A source item leads to at most one decision, which is recognised by its origin after a restart; a decision that is made
//! from several frames is recognised by all of its source items. What is committed is
//! known per node, so two journals on a node must not take the same items: after a kill each would treat the other's
//! decisions as its own.
//!
//! It emits each decision after it was written, with its number. An edge on which the decisions of the same stage leave the
//! node carries these: what another node gets is recorded here. What was recorded and not delivered when the process ended
//! is emitted again by the next one (`delivered`).
//!
//! Counts `written`, and `duplicate` for decisions that the file already held.
//!
//! The lines are those of [`heqis_quant::decision::journal`].
//!
//! - `file`: opens, appends, closes. `files`: opens, locks and renames files. `resume`: reads what a journal holds.
//!   `seal`: finishes a segment. `aside`: sets a journal aside for a new one. `watch`: checks that the path names the file. `timings`: time
//!   stamps next to the journal.

mod aside;
mod delivered;
mod file;
mod files;
mod resume;
mod seal;
#[cfg(test)]
mod tests;
mod timings;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use heqis_actors::{
    BuildContext, Clock, Committed, Counter, Deliveries, Emitter, Ending, Frame, Head, Origin,
    OriginRun, Origins, Snapshot, Stage, StageError,
};
use heqis_data::journal::Names;
use heqis_messages::DecisionMessage;
use heqis_quant::Decision;
use heqis_quant::decision::journal::{EntryId, Identity, ItemRun, MAX_RUNS, MadeFrom, StreamName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use file::{Existing, Mismatch};
pub use heqis_data::journal::{JournalError, read};

use delivered::Delivered;
use file::{JournalFile, Options};

/// Bytes of a segment, when the topology does not say.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Least and most bytes of a segment.
const SEGMENT_RANGE: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 30;

/// When written records are forced to the disk. A record is safe from a killed process as soon as it is written;
/// syncing is about power cuts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// The file; missing directories are created. Finished segments and their indexes are next to it.
    pub path: PathBuf,
    /// Bytes after which a segment is finished and the next one begins, 64 KiB to 1 GiB.
    #[serde(default = "segment_bytes")]
    #[schemars(range(min = 65_536, max = 1_073_741_824))]
    pub segment_bytes: u64,
    /// Whether a segment is finished too when the day by UTC changes, by the node's clock.
    #[serde(default)]
    pub daily: bool,
    /// Reaction of a start to a finished journal.
    #[serde(default)]
    pub existing: Existing,
    /// Reaction of a start to an unfinished journal of another topology, rule, bundle or stream of bars.
    #[serde(default)]
    pub mismatch: Mismatch,
    /// When records are forced to the disk.
    #[serde(default)]
    pub sync: SyncPolicy,
    /// Whether to write the time stamps of each decision's stages to `<path>.timings.jsonl`. They are kept out of the
    /// journal itself, so that two runs over the same bars give the same bytes.
    #[serde(default)]
    pub timings: bool,
}

fn segment_bytes() -> u64 {
    SEGMENT_BYTES
}

/// The identity of the decisions of this start.
fn identity(cx: &BuildContext) -> Identity {
    let made_by = cx.identity();
    Identity {
        topology: made_by.topology.clone(),
        rule: made_by.rule.clone(),
        bundles: made_by.bundles.clone(),
    }
}

/// The streams of the sources of this node and of the nodes before it.
fn streams(committed: &Committed) -> Vec<StreamName> {
    let named = committed.streams().into_iter().map(|name| StreamName {
        stream: name.stream,
        source: name.source,
        replayable: name.replayable,
    });
    named.collect()
}

/// The source items of a frame that is made from several; `None` for a single item, which is the head's origin.
fn made_from(head: &Head) -> Result<Option<Box<MadeFrom>>, StageError> {
    if !head.is_merged() {
        return Ok(None);
    }
    let origins = head.origins();
    let runs = |runs: Vec<OriginRun>| {
        let run = |run: OriginRun| ItemRun {
            stream: run.stream,
            first: run.first,
            last: run.last,
        };
        runs.into_iter().map(run).collect()
    };
    let items = MadeFrom {
        done: runs(origins.done()),
        kept: runs(origins.kept()),
        tag: origins.tag(),
    };
    match items.runs() {
        // It would not be recognised after a restart.
        0 => Err(StageError::refused(
            "a decision made from no source item has no place in a journal",
        )),
        1..=MAX_RUNS => Ok(Some(Box::new(items))),
        runs => Err(StageError::refused(format!(
            "a decision of a journal has at most {MAX_RUNS} runs of source items, got {runs}"
        ))),
    }
}

fn origins_of(items: &MadeFrom) -> Origins {
    let runs = |runs: &[ItemRun]| -> Vec<OriginRun> {
        let run = |run: &ItemRun| OriginRun {
            stream: run.stream,
            first: run.first,
            last: run.last,
        };
        runs.iter().map(run).collect()
    };
    Origins::from_parts(runs(&items.done), runs(&items.kept), items.tag)
}

/// The source items of an entry.
fn origins(id: &EntryId) -> Origins {
    let one = Origin {
        stream: id.stream,
        position: id.position,
    };
    let items = id.made_from.as_deref();
    items.map_or_else(|| one.into(), origins_of)
}

/// Converts a failure: damage by another program is not retried, a refusal of the system is.
fn stage_error(error: JournalError) -> StageError {
    match error {
        JournalError::Io { .. } | JournalError::Replaced { .. } | JournalError::Locked { .. } => {
            StageError::unavailable(error)
        }
        _ => StageError::config(error),
    }
}

/// Writes decisions.
#[derive(Debug)]
pub struct Journal {
    file: JournalFile,
    clock: Clock,
    timings: Option<std::fs::File>,
    sync: SyncPolicy,
    committed: Committed,
    deliveries: Deliveries,
    delivered: Delivered,
    stage_names: Arc<[String]>,
    /// Decisions of the current batch.
    records: Vec<(EntryId, Decision)>,
    timing_lines: String,
    batch: Vec<Frame<DecisionMessage>>,
    written: Counter,
    duplicate: Counter,
    restored: Counter,
}

impl Stage for Journal {
    type Config = JournalConfig;
    type In = DecisionMessage;
    type Out = DecisionMessage;
    const COMMIT_LOG: bool = true;
    const OUTPUT_OPTIONAL: bool = true;
    const TAKES_WARM_UP: bool = false;
    const KIND: &'static str = "journal";
    const ABOUT: &'static str =
        "Writes decisions to a checksummed file that survives a killed process.";

    fn check(config: &JournalConfig, base: &Path) -> Vec<String> {
        let mut faults: Vec<String> = files::fault(&base.join(&config.path)).into_iter().collect();
        if !SEGMENT_RANGE.contains(&config.segment_bytes) {
            let (least, most) = SEGMENT_RANGE.into_inner();
            let got = config.segment_bytes;
            faults.push(format!(
                "segment_bytes must be {least} to {most}, got {got}"
            ));
        }
        faults
    }

    fn build(config: &JournalConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let path = cx.path(&config.path);
        let options = Options {
            segment_bytes: config.segment_bytes,
            daily: config.daily,
            existing: config.existing,
            mismatch: config.mismatch,
        };
        let known = streams(cx.committed());
        let now_ns = cx.clock().now_ns();
        let (file, resumed) =
            JournalFile::open(&path, options, identity(cx), &known, now_ns).map_err(stage_error)?;
        let written = cx.counter("written");
        if resumed.decisions < written.get() {
            return Err(StageError::unavailable(format!(
                "journal {}: holds {} decisions, and this process has written {}: it is another file",
                path.display(),
                resumed.decisions,
                written.get()
            )));
        }
        let has_decisions = resumed.decisions > 0;
        if has_decisions {
            tracing::info!(
                stage = cx.stage(),
                path = %path.display(),
                decisions = resumed.decisions,
                stream = if resumed.complete { "complete" } else { "open" },
                "journal resumed"
            );
            if resumed.complete {
                tracing::info!(
                    stage = cx.stage(),
                    "what the journal holds is not decided again; existing = \"new\" begins another one"
                );
            }
        }
        for (stream, first, last) in resumed.runs {
            cx.committed().insert_run(stream, first, last);
        }
        for items in &resumed.open {
            cx.committed().insert_origins(&origins_of(items));
        }
        for (id, decision) in resumed.last {
            cx.committed()
                .keep(origins(&id), DecisionMessage::from(decision));
        }
        let delivered = Delivered::open(&path, resumed.decisions)?;
        let timings = config
            .timings
            .then(|| timings::open(&Names::of(&path), has_decisions))
            .transpose();
        Ok(Self {
            file,
            clock: cx.clock().clone(),
            timings: timings.map_err(StageError::config)?,
            sync: config.sync,
            committed: cx.committed().clone(),
            deliveries: cx.committed().deliveries_after(delivered.known()),
            delivered,
            stage_names: cx.stage_names().clone(),
            records: Vec::new(),
            timing_lines: String::new(),
            batch: Vec::new(),
            written,
            duplicate: cx.counter("duplicate"),
            restored: cx.counter("restored"),
        })
    }

    fn process(
        &mut self,
        frame: &Frame<DecisionMessage>,
        _: &mut Emitter<'_, DecisionMessage>,
    ) -> Result<(), StageError> {
        let head = frame.head();
        if self.committed.holds(head) {
            self.duplicate.inc();
            return Ok(());
        }
        let number = self.file.decisions() + self.batch.len() as u64 + 1;
        let id = EntryId {
            made_from: made_from(head)?,
            missing: frame.missing.clone(),
            ..EntryId::of(number, head.origin.stream, head.origin.position)
        };
        self.batch.push(frame.clone());
        self.records.push((id, frame.decision));
        if self.timings.is_some() {
            timings::write_line(number, head, &self.stage_names, &mut self.timing_lines);
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut Emitter<'_, DecisionMessage>) -> Result<(), StageError> {
        let now_ns = self.clock.now_ns();
        if self.batch.is_empty() {
            self.delivered.keep(&self.deliveries, now_ns, false);
            return Ok(());
        }
        let decisions = self.batch.len() as u64;
        self.append().map_err(stage_error)?;
        if let Some(timings) = &mut self.timings {
            // Timings are diagnostics: a full disk there must not stop the journal.
            if let Err(error) = std::io::Write::write_all(timings, self.timing_lines.as_bytes()) {
                tracing::warn!(%error, "timings are not written");
            }
        }
        for (frame, (id, _)) in self.batch.drain(..).zip(&self.records) {
            let message = DecisionMessage {
                number: id.n,
                ..(*frame).clone()
            };
            self.committed.insert_head(frame.head());
            self.committed.keep(frame.head().origins(), message.clone());
            out.emit_recorded(frame.head(), message, id.n, &self.deliveries);
        }
        self.delivered.keep(&self.deliveries, now_ns, false);
        self.written.add(decisions);
        self.records.clear();
        self.timing_lines.clear();
        Ok(())
    }

    /// Emits what was recorded and not delivered when the last process ended.
    fn resume(&mut self, out: &mut Emitter<'_, DecisionMessage>) -> Result<(), StageError> {
        let from = self.deliveries.emitted() + 1;
        if from > self.file.decisions() {
            return Ok(());
        }
        tracing::info!(
            from,
            to = self.file.decisions(),
            "recorded decisions are delivered again"
        );
        for record in self.file.records_from(from).map_err(stage_error)? {
            let (id, decision) = record.map_err(stage_error)?;
            let message = DecisionMessage {
                number: id.n,
                missing: id.missing.clone(),
                ..DecisionMessage::from(decision)
            };
            out.emit_replayed(origins(&id), message, id.n, &self.deliveries);
        }
        Ok(())
    }

    /// The file holds the state.
    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }

    fn drain(&mut self, _: Ending, _: &mut Emitter<'_, DecisionMessage>) -> Result<(), StageError> {
        let now_ns = self.clock.now_ns();
        self.delivered.keep(&self.deliveries, now_ns, true);
        Ok(())
    }

    /// Only the end of the data closes the journal: a node that leaves continues it later.
    fn finish(&mut self) -> Result<(), StageError> {
        let now_ns = self.clock.now_ns();
        self.delivered.keep(&self.deliveries, now_ns, true);
        self.file.close().map_err(stage_error)
    }
}

impl Journal {
    /// Writes the decisions of the batch.
    fn append(&mut self) -> Result<(), JournalError> {
        let file = &mut self.file;
        let is_new = |(id, _): &(EntryId, Decision)| {
            let mut streams = id.streams().into_iter();
            streams.any(|stream| !file.knows(stream))
        };
        if self.records.iter().any(is_new) {
            for name in streams(&self.committed) {
                if !file.knows(name.stream) {
                    file.name_stream(name)?;
                }
            }
        }
        let restored = file.restored();
        let appended = file.append(&self.records, self.clock.now_ns());
        self.restored.add(file.restored() - restored);
        appended?;
        match self.sync {
            SyncPolicy::Batch => file.sync(),
            SyncPolicy::Never => Ok(()),
        }
    }
}
