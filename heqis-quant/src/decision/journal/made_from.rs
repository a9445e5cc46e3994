//! The source items of a decision that is made from several frames.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most runs of a decision: with them its line stays well below [`MAX_LINE`](super::MAX_LINE).
pub const MAX_RUNS: usize = 8192;

/// An inclusive run of positions of one stream; `00000000000000ab:11-20` in the text.
///
/// ```
/// use heqis_quant::decision::journal::ItemRun;
///
/// let run: ItemRun = "00000000000000ab:11-20".parse()?;
/// assert_eq!(run, ItemRun { stream: 0xab, first: 11, last: 20 });
/// assert_eq!(run.to_string(), "00000000000000ab:11-20");
/// assert!("ab:20-11".parse::<ItemRun>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemRun {
    /// Stream of the source.
    pub stream: u64,
    /// First position.
    pub first: u64,
    /// Last position, not below `first`.
    pub last: u64,
}

impl fmt::Display for ItemRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stream,
            first,
            last,
        } = self;
        write!(f, "{stream:016x}:{first}-{last}")
    }
}

impl FromStr for ItemRun {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':');
        let parts = parts.and_then(|(stream, run)| Some((stream, run.split_once('-')?)));
        let run = parts.and_then(|(stream, (first, last))| {
            Some(Self {
                stream: u64::from_str_radix(stream, 16).ok()?,
                first: first.parse().ok()?,
                last: last.parse().ok()?,
            })
        });
        run.filter(|run| run.first <= run.last)
            .ok_or_else(|| format!("'{text}' is not stream:first-last"))
    }
}

impl Serialize for ItemRun {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ItemRun {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The source items of a decision that is made from several frames, as runs that ascend and do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeFrom {
    /// Items that no later decision is made from: they count as committed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<ItemRun>,
    /// Items that later decisions are made from too, as in overlapping windows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<ItemRun>,
    /// Distinguishes decisions that are made from the same items and complete none of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tag: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(tag: &u64) -> bool {
    *tag == 0
}

impl MadeFrom {
    /// Returns the last position of the stream with the highest number, as stream and position; `None` without an item.
    #[must_use]
    pub fn newest(&self) -> Option<(u64, u64)> {
        let runs = self.done.iter().chain(&self.kept);
        runs.map(|run| (run.stream, run.last)).max()
    }

    /// Returns the number of runs.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.done.len() + self.kept.len()
    }

    /// Returns the rule that the runs break, where they are those of the entry of item `newest`.
    pub(super) fn fault(&self, newest: (u64, u64)) -> Option<String> {
        let apart = |pair: &[ItemRun]| {
            let next = pair[0].last.checked_add(1);
            pair[0].stream < pair[1].stream
                || (pair[0].stream == pair[1].stream
                    && next.is_some_and(|next| next < pair[1].first))
        };
        let ascend = |runs: &[ItemRun]| runs.windows(2).all(apart);
        if !ascend(&self.done) || !ascend(&self.kept) {
            return Some("the runs of source items are in disorder".into());
        }
        match self.newest() {
            Some(found) if found == newest => None,
            Some(_) => Some("stream and position are not those of the newest source item".into()),
            None => Some("is made from no source item".into()),
        }
    }
}
