//! One line of a journal: its bytes and their meaning.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{FORMAT, MadeFrom, checked, object, seal};
use crate::decision::Decision;
use crate::symbol::Symbol;

/// The number of a decision in its journal, and the source item that it derives from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryId {
    /// Number in the journal, from 1.
    pub n: u64,
    /// Stream of the source; 16 hexadecimal digits in the text.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub stream: u64,
    /// Position in the stream.
    pub position: u64,
    /// All source items of a decision that is made from several frames; stream and position are then those of the
    /// [newest](MadeFrom::newest).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_from: Option<Box<MadeFrom>>,
    /// The instruments that did not come in time, with the last decision on a cross-section; left out of the text where there is
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Symbol>,
}

impl EntryId {
    /// Returns the id of decision `n`, which derives from one source item.
    #[must_use]
    pub fn of(n: u64, stream: u64, position: u64) -> Self {
        Self {
            n,
            stream,
            position,
            made_from: None,
            missing: Vec::new(),
        }
    }

    /// Returns the streams of its source items, each once, ascending.
    #[must_use]
    pub fn streams(&self) -> Vec<u64> {
        let Some(made_from) = &self.made_from else {
            return vec![self.stream];
        };
        let runs = made_from.done.iter().chain(&made_from.kept);
        let mut streams: Vec<u64> = runs.map(|run| run.stream).collect();
        streams.sort_unstable();
        streams.dedup();
        streams
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn to_hex<S: Serializer>(stream: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{stream:016x}"))
}

fn from_hex<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    u64::from_str_radix(&text, 16)
        .map_err(|_| serde::de::Error::custom(format!("stream '{text}' is not hexadecimal")))
}

/// The topology, rule and bundles that made a journal's decisions. An unknown item is empty and left out of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Name of the topology.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub topology: String,
    /// Hash of the decision rule, 16 hexadecimal digits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// The first 16 hexadecimal digits of each model bundle's SHA-256.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bundles: Vec<String>,
}

/// One item in which a journal and a new run differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Name of the item.
    pub item: String,
    /// Its value in the journal.
    pub journal: String,
    /// Its value in the new run.
    pub start: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            item,
            journal,
            start,
        } = self;
        write!(f, "{item} is {journal} in the journal and {start} now")
    }
}

impl Identity {
    /// Returns whether any item is known.
    #[must_use]
    pub fn is_known(&self) -> bool {
        *self != Self::default()
    }

    /// Returns the items in which a journal of this identity differs from a run of identity `start`. An item that is
    /// unknown in one of them is no difference.
    #[must_use]
    pub fn differences(&self, start: &Self) -> Vec<Difference> {
        let bundles = |identity: &Self| identity.bundles.join(",");
        [
            ("topology", self.topology.clone(), start.topology.clone()),
            ("rule", self.rule.clone(), start.rule.clone()),
            ("bundles", bundles(self), bundles(start)),
        ]
        .into_iter()
        .filter(|(_, ours, theirs)| !ours.is_empty() && !theirs.is_empty() && ours != theirs)
        .map(|(item, journal, start)| Difference {
            item: item.to_owned(),
            journal,
            start,
        })
        .collect()
    }
}

/// The first line of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Version of the format, 1 or [`FORMAT`].
    pub format: u32,
    /// The topology, rule and bundles of the decisions; unknown in format 1.
    pub identity: Identity,
    /// Number of the segment, from 1.
    pub segment: u64,
    /// Decisions in the segments before it.
    pub before: u64,
}

impl SegmentHeader {
    /// Returns the header of segment `segment` after `before` decisions, in the format that is written now.
    #[must_use]
    pub fn new(identity: Identity, segment: u64, before: u64) -> Self {
        Self {
            format: FORMAT,
            identity,
            segment,
            before,
        }
    }

    /// Returns the header of a journal of format 1, which is one segment.
    #[must_use]
    pub fn first_format() -> Self {
        Self {
            format: 1,
            ..Self::new(Identity::default(), 1, 0)
        }
    }
}

/// The source of one of a journal's streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamName {
    /// The stream; 16 hexadecimal digits in the text.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub stream: u64,
    /// Name of the source in the topology; empty where it is unknown.
    pub source: String,
    /// Whether the source repeats the same stream, item by item, when it starts again.
    pub replayable: bool,
}

/// One line of a journal.
///
/// Exhaustive: a reader of journals must decide what to do with each kind of line.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "nearly all lines are decisions")]
pub enum JournalLine {
    /// The first line of a segment.
    Header(SegmentHeader),
    /// Names a stream, before its first decision in the segment.
    Stream(StreamName),
    /// A decision with its id.
    Decision(EntryId, Decision),
    /// The journal was finished on purpose; decisions after it are of a later run.
    Closing {
        /// Decisions before it, over all segments.
        decisions: u64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderText {
    heqis_journal: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    topology: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    rule: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    bundles: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    segment: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClosingText {
    decisions: u64,
}

impl From<&SegmentHeader> for HeaderText {
    fn from(header: &SegmentHeader) -> Self {
        let identity = match header.format {
            1 => Identity::default(),
            _ => header.identity.clone(),
        };
        Self {
            heqis_journal: header.format,
            topology: identity.topology,
            rule: identity.rule,
            bundles: identity.bundles,
            segment: (header.format > 1).then_some(header.segment),
            before: (header.format > 1).then_some(header.before),
        }
    }
}

impl HeaderText {
    fn header(self) -> Result<SegmentHeader, String> {
        let identity = Identity {
            topology: self.topology,
            rule: self.rule,
            bundles: self.bundles,
        };
        match (self.heqis_journal, self.segment, self.before) {
            (1, None, None) if !identity.is_known() => Ok(SegmentHeader::first_format()),
            (1, ..) => Err("format 1 has no field but its number".to_owned()),
            (FORMAT, Some(segment @ 1..), Some(before)) => {
                Ok(SegmentHeader::new(identity, segment, before))
            }
            (FORMAT, ..) => Err("segment, from 1, and before are missing".to_owned()),
            (other, ..) => Err(format!("format {other} is neither 1 nor {FORMAT}")),
        }
    }
}

/// The first field of a decision, at which its id ends.
const FIRST_FIELD: &str = ",\"symbol\":";

impl JournalLine {
    /// Returns whether the journal is closed after this line; a header leaves that as it was and gives `None`.
    pub(super) fn closes(&self) -> Option<bool> {
        match self {
            Self::Header(_) => None,
            Self::Stream(_) | Self::Decision(..) => Some(false),
            Self::Closing { .. } => Some(true),
        }
    }

    /// Appends the line with its checksum and line end.
    pub fn write(&self, out: &mut String) {
        let start = out.len();
        match self {
            Self::Header(header) => out.push_str(&object(&HeaderText::from(header))),
            Self::Stream(name) => out.push_str(&object(name)),
            Self::Decision(id, decision) => {
                out.push_str(&object(id));
                out.pop();
                out.push(',');
                out.push_str(&object(decision)[1..]);
            }
            Self::Closing { decisions } => out.push_str(&object(&ClosingText {
                decisions: *decisions,
            })),
        }
        seal(out, start);
    }

    /// Reads a line without its line end.
    ///
    /// # Errors
    /// Returns the rule that the line breaks.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let body = checked(line)?;
        let fault = |error: serde_json::Error| error.to_string();
        if body.starts_with("{\"heqis_journal\"") {
            let header: HeaderText = serde_json::from_str(&format!("{body}}}")).map_err(fault)?;
            return header.header().map(Self::Header);
        }
        if body.starts_with("{\"stream\"") {
            return serde_json::from_str(&format!("{body}}}"))
                .map(Self::Stream)
                .map_err(fault);
        }
        if body.starts_with("{\"decisions\"") {
            let closing: ClosingText = serde_json::from_str(&format!("{body}}}")).map_err(fault)?;
            return Ok(Self::Closing {
                decisions: closing.decisions,
            });
        }
        let (id, decision) = body
            .find(FIRST_FIELD)
            .map(|at| (&body[..at], &body[at + 1..]))
            .ok_or_else(|| "holds no decision".to_owned())?;
        let id: EntryId = serde_json::from_str(&format!("{id}}}")).map_err(fault)?;
        let newest = (id.stream, id.position);
        match id.made_from.as_ref().and_then(|all| all.fault(newest)) {
            Some(rule) => Err(rule),
            None => Ok(Self::Decision(
                id,
                serde_json::from_str(&format!("{{{decision}}}")).map_err(fault)?,
            )),
        }
    }
}
