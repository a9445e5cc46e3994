//! The journal's active segment: opened, appended to, closed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use heqis_data::journal::check::{self, Scanned};
use heqis_data::journal::{JournalError, Names};
use heqis_quant::Date;
use heqis_quant::Decision;
use heqis_quant::decision::journal::{
    Difference, EntryId, Identity, JournalLine, JournalState, MadeFrom, SegmentHeader,
    SegmentIndex, StreamName,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::files::{finish_restore, open_locked};
use super::{aside, resume};

/// Nanoseconds of a day.
const DAY_NS: i64 = 86_400_000_000_000;

/// What a start does with a journal that is finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "ExistingJournal")]
pub enum Existing {
    /// Continues after its closing line; what it holds is committed.
    #[default]
    Resume,
    /// Keeps it as `<name>.run-0001` and begins a new one.
    New,
}

/// What a start does with an unfinished journal of another topology, rule, bundle or stream of bars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "JournalMismatch")]
pub enum Mismatch {
    /// Refuses it.
    #[default]
    Refuse,
    /// Keeps it as `<name>.run-0001` and begins a new one.
    New,
    /// Continues in it, with a warning.
    Append,
}

/// How a journal is cut into segments, and when another one is begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// A segment is finished before the decision that would take it over this size, bytes.
    pub(super) segment_bytes: u64,
    /// Whether it is finished too when the day by UTC changes.
    pub(super) daily: bool,
    pub(super) existing: Existing,
    pub(super) mismatch: Mismatch,
}

/// What a journal held when it was opened.
#[derive(Clone, Debug)]
pub(super) struct Resumed {
    /// How many decisions, over all segments.
    pub(super) decisions: u64,
    /// Committed positions: stream, first and last of a run.
    pub(super) runs: Vec<(u64, u64, u64)>,
    /// What the decisions are made from that complete no item.
    pub(super) open: Vec<MadeFrom>,
    /// The last decision of each instrument.
    pub(super) last: Vec<(EntryId, Decision)>,
    /// Whether its last line was a closing one.
    pub(super) complete: bool,
}

/// A journal that is being written.
#[derive(Debug)]
pub(super) struct JournalFile {
    pub(super) names: Names,
    pub(super) file: File,
    /// Device and inode of `file`.
    pub(super) id: (u64, u64),
    pub(super) header: SegmentHeader,
    /// Bytes of whole lines; a failed append is cut back to here.
    pub(super) whole_bytes: u64,
    crc: crc32fast::Hasher,
    days: Option<(Date, Date)>,
    /// Streams that the active segment names.
    named: BTreeSet<u64>,
    /// Streams whose names are known, whether or not they were written.
    streams: BTreeMap<u64, StreamName>,
    pub(super) state: JournalState,
    identity: Identity,
    options: Options,
    /// Whether the journal held decisions and no closing line behind them when it was opened.
    unfinished: bool,
    /// Day of the clock, since 1970, on which the segment was begun.
    day: i64,
    pub(super) restored: u64,
    /// Set when the file was set aside while it was written: nothing may be appended.
    ended: bool,
}

impl JournalFile {
    /// Opens the journal at `path` and cuts off a torn last line. `streams` are those known so far, `now_ns` is the node's
    /// clock. Reads the newest sound index and the active segment only.
    pub(super) fn open(
        path: &Path,
        options: Options,
        identity: Identity,
        streams: &[StreamName],
        now_ns: i64,
    ) -> Result<(Self, Resumed), JournalError> {
        let names = Names::of(path);
        std::fs::create_dir_all(names.dir())
            .map_err(JournalError::io(path, "make its directory"))?;
        finish_restore(path)?;
        let mut file = open_locked(path)?;
        aside::finish(&names, &file)?;
        let mut found = resume::read(&names, &file)?;
        let state = &found.state;
        let unfinished = state.decisions() > 0 && !state.is_closed();
        let mut differences = match unfinished {
            true => state.identity().differences(&identity),
            false => Vec::new(),
        };
        let replaced = streams.iter().filter_map(|name| replaced(state, name));
        differences.extend(replaced.filter(|_| unfinished));
        let decided = !differences.is_empty() && mismatch(path, options.mismatch, &differences)?;
        if decided || (state.is_closed() && options.existing == Existing::New) {
            let run = aside::set_aside(&names)?;
            tracing::info!(path = %path.display(), kept = %run.active().display(), "a new journal is begun");
            file = open_locked(path)?;
            found = resume::read(&names, &file)?;
        }
        Self::resume(names, file, found, identity, options, now_ns)
    }

    fn resume(
        names: Names,
        file: File,
        found: resume::Found,
        identity: Identity,
        options: Options,
        now_ns: i64,
    ) -> Result<(Self, Resumed), JournalError> {
        let path = names.active().to_owned();
        let meta = file.metadata().map_err(JournalError::io(&path, "open"))?;
        let resume::Found {
            segment,
            state,
            active,
        } = found;
        let resumed = Resumed {
            decisions: state.decisions(),
            runs: state.runs(),
            open: state.open(),
            last: state.last(),
            complete: state.is_closed(),
        };
        let now = now_ns.div_euclid(DAY_NS);
        let written = meta.mtime().div_euclid(DAY_NS / 1_000_000_000);
        let Scanned {
            header,
            days,
            bytes,
            torn_bytes,
            crc,
            named,
        } = active;
        if torn_bytes > 0 {
            tracing::warn!(path = %path.display(), bytes = torn_bytes, "a torn line is cut off the journal");
        }
        let bare = header.as_ref().is_none_or(|header| {
            let mut text = String::new();
            JournalLine::Header(header.clone()).write(&mut text);
            // Nothing stands in the segment yet: its header may say who writes now.
            text.len() as u64 == bytes && header.identity != identity && header.format > 1
        });
        let before = state.decisions();
        let header =
            header.unwrap_or_else(|| SegmentHeader::new(identity.clone(), segment, before));
        let mut journal = Self {
            names,
            file,
            id: (meta.dev(), meta.ino()),
            header,
            whole_bytes: bytes,
            crc,
            days,
            named,
            streams: BTreeMap::new(),
            unfinished: before > 0 && !state.is_closed(),
            state,
            identity,
            options,
            day: written.min(now),
            restored: 0,
            ended: false,
        };
        if bare {
            journal.begin(segment)?;
            journal.day = now;
        } else {
            journal.cut_back()?;
        }
        Ok((journal, resumed))
    }

    /// Writes the header of segment `segment` into the file, which may hold nothing but a header.
    fn begin(&mut self, segment: u64) -> Result<(), JournalError> {
        let before = self.state.decisions();
        self.header = SegmentHeader::new(self.identity.clone(), segment, before);
        (self.whole_bytes, self.days) = (0, None);
        self.crc = crc32fast::Hasher::new();
        self.named.clear();
        self.cut_back()?;
        let header = JournalLine::Header(self.header.clone());
        let mut text = String::new();
        header.write(&mut text);
        self.write(&text, &[header])
    }

    /// Decisions so far, over all segments.
    pub(super) fn decisions(&self) -> u64 {
        self.state.decisions()
    }

    /// Returns how often the file was written again because its path named another one.
    pub(super) fn restored(&self) -> u64 {
        self.restored
    }

    /// Whether the name of `stream` is known.
    pub(super) fn knows(&self, stream: u64) -> bool {
        self.streams.contains_key(&stream)
    }

    /// Says which source a stream belongs to; it is written before the stream's first decision in each segment.
    pub(super) fn name_stream(&mut self, name: StreamName) -> Result<(), JournalError> {
        if self.unfinished
            && let Some(difference) = replaced(&self.state, &name)
            && mismatch(self.names.active(), self.options.mismatch, &[difference])?
        {
            self.ended = true;
            let run = aside::set_aside(&self.names)?;
            return Err(JournalError::Files {
                path: self.names.active().to_owned(),
                rule: format!(
                    "the stream of source {} is another one; the journal is kept as {}, start again to begin a new one",
                    name.source,
                    run.active().display()
                ),
            });
        }
        self.streams.insert(name.stream, name);
        Ok(())
    }

    /// Appends decisions, which are numbered on from [`JournalFile::decisions`], and finishes the segment where it is due.
    /// A failed write leaves no torn line; decisions before it may have been written.
    pub(super) fn append(
        &mut self,
        decisions: &[(EntryId, Decision)],
        now_ns: i64,
    ) -> Result<(), JournalError> {
        self.watch()?;
        let day = now_ns.div_euclid(DAY_NS);
        let (mut text, mut lines) = (String::new(), Vec::new());
        let mut one = String::new();
        for (id, record) in decisions {
            let mut added = self.entry(id, record, &lines, &mut one);
            let newer = self.header.format == 1 && id.made_from.is_some();
            if newer || self.is_due(day, text.len(), one.len()) {
                self.write(&text, &lines)?;
                text.clear();
                lines.clear();
                self.seal(day)?;
                added = self.entry(id, record, &lines, &mut one);
            }
            text.push_str(&one);
            lines.extend(added);
        }
        self.write(&text, &lines)
    }

    /// The lines of a decision, written to `text`: those that name its streams, as far as neither the segment nor `lines`
    /// names them, and its own.
    fn entry(
        &self,
        id: &EntryId,
        record: &Decision,
        lines: &[JournalLine],
        text: &mut String,
    ) -> Vec<JournalLine> {
        let streams = id.streams().into_iter();
        let mut added: Vec<_> = streams
            .filter_map(|stream| self.unwritten(stream, lines))
            .collect();
        added.push(JournalLine::Decision(id.clone(), *record));
        text.clear();
        added.iter().for_each(|line| line.write(text));
        added
    }

    /// The line that names `stream`, where neither the segment nor `lines` names it. Format 1 has no such line.
    fn unwritten(&self, stream: u64, lines: &[JournalLine]) -> Option<JournalLine> {
        let named =
            |line: &JournalLine| matches!(line, JournalLine::Stream(name) if name.stream == stream);
        if self.header.format == 1 || self.named.contains(&stream) || lines.iter().any(named) {
            return None;
        }
        Some(JournalLine::Stream(
            self.streams.get(&stream).cloned().unwrap_or(StreamName {
                stream,
                source: String::new(),
                replayable: false,
            }),
        ))
    }

    /// Whether the segment is finished before a decision of `more` bytes, behind `pending` bytes.
    fn is_due(&self, day: i64, pending: usize, more: usize) -> bool {
        let held = self.whole_bytes + pending as u64;
        let another = !self.header.identity.differences(&self.identity).is_empty();
        let decided = self.days.is_some() || pending > 0;
        another
            || (decided && held + more as u64 > self.options.segment_bytes)
            || (decided && self.options.daily && day != self.day)
    }

    /// Writes whole lines with one write. A failed write leaves no torn line.
    pub(super) fn write(&mut self, text: &str, lines: &[JournalLine]) -> Result<(), JournalError> {
        if let Err(error) = self.file.write_all(text.as_bytes()) {
            self.cut_back()?;
            return Err(JournalError::io(self.names.active(), "append")(error));
        }
        self.whole_bytes += text.len() as u64;
        self.crc.update(text.as_bytes());
        for line in lines {
            self.state.take(line);
            match line {
                JournalLine::Decision(_, record) => {
                    self.days = Some(check::spanned(self.days, record.date));
                }
                JournalLine::Stream(name) => {
                    self.named.insert(name.stream);
                }
                JournalLine::Header(_) | JournalLine::Closing { .. } => {}
            }
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), JournalError> {
        let failed = JournalError::io(self.names.active(), "sync");
        self.file.sync_data().map_err(failed)
    }

    /// Writes the closing line, unless it is there: the run ended on purpose.
    pub(super) fn close(&mut self) -> Result<(), JournalError> {
        if !self.state.is_closed() {
            self.watch()?;
            let closing = JournalLine::Closing {
                decisions: self.decisions(),
            };
            let mut text = String::new();
            closing.write(&mut text);
            self.write(&text, &[closing])?;
        }
        self.sync()
    }

    /// The decisions from number `n` on, read from the files; segments before it are not read.
    pub(super) fn records_from(
        &self,
        n: u64,
    ) -> Result<impl Iterator<Item = Result<(EntryId, Decision), JournalError>> + use<>, JournalError>
    {
        heqis_data::journal::records_from(self.names.active(), n)
    }

    /// The index of the active segment as it is.
    pub(super) fn index(&self) -> SegmentIndex {
        SegmentIndex {
            segment: self.header.segment,
            before: self.header.before,
            bytes: self.whole_bytes,
            crc32: self.crc.clone().finalize(),
            days: self.days,
            state: self.state.clone(),
        }
    }

    /// Continues in `file`, the next segment.
    pub(super) fn continue_in(&mut self, file: File, day: i64) -> Result<(), JournalError> {
        let failed = JournalError::io(self.names.active(), "open");
        let meta = file.metadata().map_err(failed)?;
        (self.file, self.id) = (file, (meta.dev(), meta.ino()));
        self.day = day;
        self.begin(self.header.segment + 1)
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    fn cut_back(&mut self) -> Result<(), JournalError> {
        let failed = JournalError::io(self.names.active(), "cut off a torn line");
        self.file.set_len(self.whole_bytes).map_err(failed)
    }
}

/// How `name` differs from the stream of the same source that the journal named last.
fn replaced(state: &JournalState, name: &StreamName) -> Option<Difference> {
    let known = state.source(&name.source)?;
    (known.replayable && name.replayable && known.stream != name.stream).then(|| Difference {
        item: format!("the stream of source {}", name.source),
        journal: format!("{:016x}", known.stream),
        start: format!("{:016x}", name.stream),
    })
}

/// Whether another journal is begun because of `differences`; an error where they are refused.
fn mismatch(path: &Path, choice: Mismatch, found: &[Difference]) -> Result<bool, JournalError> {
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    let differences = texts.join(", ");
    match choice {
        Mismatch::Refuse => {
            return Err(JournalError::Mismatch {
                path: path.to_owned(),
                differences,
            });
        }
        Mismatch::New => {
            tracing::warn!(path = %path.display(), differences, "the unfinished journal is set aside");
        }
        Mismatch::Append => {
            tracing::warn!(path = %path.display(), differences, "the unfinished journal is continued");
        }
    }
    Ok(choice == Mismatch::New)
}
