//! The state of one key on its way from one node to another.

use std::io;

use serde::{Deserialize, Serialize};

use crate::key::Key;
use crate::origins::{MERGED_PART, Merged, Origin, OriginRun, Runs};
use crate::seal::{invalid, seal, unseal};

const MAGIC: [u8; 4] = *b"HQMK";
const VERSION: u32 = 1;

/// The state of one key, taken out of the stages of a node together with the source items that it includes. A node puts it
/// into its stages of the same names and parameters.
///
/// Bytes of it ([`MovedKey::to_bytes`]) may be kept in a file or sent to another process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MovedKey {
    key: Key,
    states: Vec<KeyState>,
    included: Included,
}

/// The state of a key in one stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyState {
    /// Name of the stage.
    pub stage: String,
    /// Hash of its parameters.
    pub fingerprint: u64,
    /// The state; `None` where the stage holds nothing of the key.
    pub state: Option<Vec<u8>>,
}

/// The source items whose effect a state includes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Parts", into = "Parts")]
pub struct Included {
    plain: Runs,
    merged: Runs,
}

#[derive(Serialize, Deserialize)]
struct Parts {
    plain: Vec<OriginRun>,
    merged: Vec<OriginRun>,
}

impl From<Parts> for Included {
    fn from(parts: Parts) -> Self {
        Self {
            plain: parts.plain.into_iter().collect(),
            merged: parts.merged.into_iter().collect(),
        }
    }
}

impl From<Included> for Parts {
    fn from(included: Included) -> Self {
        Self {
            plain: included.plain.iter().collect(),
            merged: included.merged.iter().collect(),
        }
    }
}

impl Included {
    /// Adds positions of a stream. `part` is that of [`SavedFrames`](crate::SavedFrames).
    pub fn insert(&mut self, part: u32, run: OriginRun) {
        let runs = match part & MERGED_PART {
            0 => &mut self.plain,
            _ => &mut self.merged,
        };
        runs.insert(run);
    }

    /// Adds what `other` includes.
    pub fn add(&mut self, other: &Self) {
        other.plain.iter().for_each(|run| self.plain.insert(run));
        other.merged.iter().for_each(|run| self.merged.insert(run));
    }

    /// Whether the state includes the frame with these origins.
    #[must_use]
    pub fn holds(&self, origin: Origin, merged: Option<&Merged>) -> bool {
        match merged {
            None => self.plain.contains(origin),
            Some(merged) => {
                let mut done = merged.done().peekable();
                done.peek().is_some() && done.all(|run| self.merged.contains_run(run))
            }
        }
    }
}

impl MovedKey {
    /// The states of `key` in several stages.
    #[must_use]
    pub fn new(key: Key, states: Vec<KeyState>, included: Included) -> Self {
        Self {
            key,
            states,
            included,
        }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> Key {
        self.key
    }

    /// The states, in the order in which they were taken.
    #[must_use]
    pub fn states(&self) -> &[KeyState] {
        &self.states
    }

    /// The source items that the states include.
    #[must_use]
    pub fn included(&self) -> &Included {
        &self.included
    }

    /// Whether it was taken out of exactly these stages.
    #[must_use]
    pub fn is_of(&self, stages: &[String]) -> bool {
        self.states.iter().map(|state| &state.stage).eq(stages)
    }

    /// Its bytes, with a checksum.
    ///
    /// # Errors
    /// When it does not serialise, which is a fault of this crate.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let body = postcard::to_stdvec(self).map_err(invalid)?;
        Ok(seal(MAGIC, VERSION, &body))
    }

    /// Reads what [`MovedKey::to_bytes`] gave.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        let (_, body) = unseal(MAGIC, VERSION, bytes, "the state of a key")?;
        postcard::from_bytes(body).map_err(invalid)
    }
}

/// The keys that have left a node, and those that have arrived there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moves {
    /// With their states, so that a taker that was killed can take them once more.
    pub gone: Vec<MovedKey>,
    /// With the states of stages that save none, because a commit log restores them.
    pub arrived: Vec<MovedKey>,
}

impl Moves {
    /// The key has left.
    pub fn take(&mut self, moved: MovedKey) {
        self.forget(moved.key);
        self.gone.push(moved);
    }

    /// The key has arrived.
    pub fn put(&mut self, moved: MovedKey) {
        self.forget(moved.key);
        self.arrived.push(moved);
    }

    fn forget(&mut self, key: Key) {
        self.gone.retain(|moved| moved.key != key);
        self.arrived.retain(|moved| moved.key != key);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_moved_key_is_read_as_it_was_written_and_a_changed_byte_is_detected() {
        let mut included = Included::default();
        let run = OriginRun {
            stream: 7,
            first: 1,
            last: 90,
        };
        included.insert(0, run);
        let state = KeyState {
            stage: "a".into(),
            fingerprint: 3,
            state: Some(vec![1, 2]),
        };
        let moved = MovedKey::new(9, vec![state], included);
        let bytes = moved.to_bytes().unwrap();
        assert_eq!(MovedKey::from_bytes(&bytes).unwrap(), moved);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(MovedKey::from_bytes(&changed).is_err(), "byte {at}");
        }
        let holds = |position| {
            let origin = Origin {
                stream: 7,
                position,
            };
            moved.included().holds(origin, None)
        };
        assert_eq!([90, 91].map(holds), [true, false]);
    }
}
