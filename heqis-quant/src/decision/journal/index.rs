//! The index of a finished segment, stored next to it, so that a writer continues without reading the segment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EntryId, Identity, JournalState, MadeFrom, StreamName, checked, object, seal};
use crate::date::Date;
use crate::decision::Decision;
use crate::error::QuantError;

/// Version of the format of an index.
const VERSION: u32 = 1;

/// The index of a finished segment: its size, checksum and days, and the state of the journal at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentIndex {
    /// Number of the segment, from 1.
    pub segment: u64,
    /// Decisions in the segments before it.
    pub before: u64,
    /// Bytes of the segment's file.
    pub bytes: u64,
    /// CRC-32 (IEEE) of the segment's file.
    pub crc32: u32,
    /// First and last trading day of its decisions; `None` where it has no decision.
    pub days: Option<(Date, Date)>,
    /// The state at its end.
    pub state: JournalState,
}

/// The text, which is one JSON object with a checksum as in the journal's lines.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    heqis_journal_index: u32,
    segment: u64,
    /// Number of the first decision; one more than `last` where the segment has no decision.
    first: u64,
    last: u64,
    bytes: u64,
    crc32: String,
    first_day: Option<Date>,
    last_day: Option<Date>,
    closed: bool,
    identity: Identity,
    streams: Vec<StreamName>,
    /// First and last positions of runs, by stream in hexadecimal digits.
    runs: BTreeMap<String, Vec<(u64, u64)>>,
    /// Decisions that complete no item; omitted if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    open: Vec<MadeFrom>,
    last_decisions: Vec<(EntryId, Decision)>,
}

impl SegmentIndex {
    /// Returns the number of the last decision of the segment, or of the last one before it where it has none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.state.decisions
    }

    /// Returns the text, one line with its line end.
    #[must_use]
    pub fn text(&self) -> String {
        let mut runs: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
        for (stream, first, last) in self.state.runs() {
            runs.entry(format!("{stream:016x}"))
                .or_default()
                .push((first, last));
        }
        let mut text = object(&Text {
            heqis_journal_index: VERSION,
            segment: self.segment,
            first: self.before.saturating_add(1),
            last: self.last(),
            bytes: self.bytes,
            crc32: format!("{:08x}", self.crc32),
            first_day: self.days.map(|(first, _)| first),
            last_day: self.days.map(|(_, last)| last),
            closed: self.state.closed,
            identity: self.state.identity.clone(),
            streams: self.state.sources.values().cloned().collect(),
            runs,
            open: self.state.open(),
            last_decisions: self.state.last(),
        });
        seal(&mut text, 0);
        text
    }

    /// Reads an index and checks it. Errors name `source_name`.
    ///
    /// # Errors
    /// Returns [`QuantError::Journal`] naming the rule that the text breaks.
    pub fn parse(text: &[u8], source_name: &str) -> Result<Self, QuantError> {
        Self::read(text).map_err(|rule| QuantError::Journal {
            source_name: source_name.to_owned(),
            line: 1,
            rule,
        })
    }

    fn read(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "is not UTF-8".to_owned())?;
        let line = text
            .strip_suffix('\n')
            .ok_or_else(|| "is cut off".to_owned())?;
        let body = checked(line)?;
        let text: Text =
            serde_json::from_str(&format!("{body}}}")).map_err(|error| error.to_string())?;
        if text.heqis_journal_index != VERSION {
            let version = text.heqis_journal_index;
            return Err(format!("version {version} of an index is not {VERSION}"));
        }
        let before = text
            .first
            .checked_sub(1)
            .filter(|&before| before <= text.last && text.segment > 0)
            .ok_or_else(|| "numbers are from 1 and ascend".to_owned())?;
        let mut state = JournalState {
            decisions: text.last,
            closed: text.closed,
            identity: text.identity,
            open: text.open.into(),
            ..JournalState::default()
        };
        for (stream, found) in text.runs {
            let stream = u64::from_str_radix(&stream, 16)
                .map_err(|_| format!("stream '{stream}' is not hexadecimal"))?;
            let apart = found.windows(2).all(|pair| {
                pair[0]
                    .1
                    .checked_add(1)
                    .is_some_and(|next| next < pair[1].0)
            });
            if !apart || found.iter().any(|(first, last)| first > last) {
                return Err(format!("the runs of stream {stream:016x} are in disorder"));
            }
            state.runs.insert(stream, found.into_iter().collect());
        }
        for name in text.streams {
            state.sources.insert(name.source.clone(), name);
        }
        for (id, decision) in text.last_decisions {
            state.last.insert(decision.symbol, (id, decision));
        }
        Ok(Self {
            segment: text.segment,
            before,
            bytes: text.bytes,
            crc32: u32::from_str_radix(&text.crc32, 16)
                .map_err(|_| format!("checksum '{}' is not hexadecimal", text.crc32))?,
            days: text.first_day.zip(text.last_day),
            state,
        })
    }
}
