//! What the stages of a node hold, saved together at one moment, so that a node that comes back continues with the same
//! bits.
//!
//! ```text
//! magic "HQSS"   version u32   crc32 u32 of what follows   postcard layout of SavedState
//! ```
//!
//! A file is taken up as a whole or not at all. It is written beside its name and renamed, so that a kill leaves the old
//! one or the new one.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use heqis_base::files::write_atomically_with;
use serde::{Deserialize, Serialize};

use crate::error::StageError;

const MAGIC: [u8; 4] = *b"HQSS";
const VERSION: u32 = 1;
/// Largest file that is read.
const MAX_BYTES: u64 = 4 << 30;

/// Where and how often a node saves what its stages hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateOptions {
    /// The file.
    pub path: PathBuf,
    /// Time between two snapshots; one more is taken when the node leaves.
    pub every: Duration,
}

/// What a stage holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// The stage holds something and cannot say what: a node with such a stage takes no snapshots.
    Unsupported,
    /// Nothing that a later frame would miss.
    Stateless,
    /// Bytes that [`Stage::restore`] of the same version and parameters takes up.
    State(Vec<u8>),
}

impl Snapshot {
    /// The snapshot that holds `state`; [`Snapshot::Unsupported`] when it does not serialise, which is a fault of its type.
    pub fn of(state: &impl serde::Serialize) -> Self {
        match postcard::to_stdvec(state) {
            Ok(bytes) => Self::State(bytes),
            Err(error) => {
                tracing::error!(%error, "the state of a stage does not serialise");
                Self::Unsupported
            }
        }
    }

    /// Reads what [`Snapshot::of`] has written.
    ///
    /// # Errors
    /// [`StageError::Config`] when the bytes are not a `T`.
    pub fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, StageError> {
        postcard::from_bytes(bytes).map_err(|error| StageError::config(format!("state: {error}")))
    }
}

/// What an actor holds.
#[derive(Clone, Debug)]
pub(crate) enum ActorState {
    Busy,
    /// A source has given everything up to this position of its stream.
    Position {
        source: String,
        stream: u64,
        position: u64,
    },
    State {
        stage: String,
        worker: u32,
        fingerprint: u64,
        snapshot: Snapshot,
    },
}

/// What a node held at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedState {
    topology: String,
    node: String,
    sources: Vec<SavedSource>,
    stages: Vec<SavedStage>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedSource {
    source: String,
    stream: u64,
    /// The last item whose effect is in the states, and delivered to the nodes after this one.
    position: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedStage {
    stage: String,
    worker: u32,
    /// Hash of the stage's parameters.
    fingerprint: u64,
    /// `None` where the stage holds nothing.
    state: Option<Vec<u8>>,
}

impl SavedState {
    /// Puts together what the actors hold.
    ///
    /// # Errors
    /// The name of a stage that cannot say what it holds; `None` when an actor is busy.
    pub(crate) fn of(
        topology: &str,
        node: &str,
        held: impl IntoIterator<Item = ActorState>,
    ) -> Result<Self, Option<String>> {
        let mut saved = Self {
            topology: topology.to_owned(),
            node: node.to_owned(),
            ..Self::default()
        };
        for held in held {
            match held {
                ActorState::Busy => return Err(None),
                ActorState::Position {
                    source,
                    stream,
                    position,
                } => saved.sources.push(SavedSource {
                    source,
                    stream,
                    position,
                }),
                ActorState::State {
                    stage,
                    worker,
                    fingerprint,
                    snapshot,
                } => {
                    let state = match snapshot {
                        Snapshot::Unsupported => return Err(Some(stage)),
                        Snapshot::Stateless => None,
                        Snapshot::State(bytes) => Some(bytes),
                    };
                    saved.stages.push(SavedStage {
                        stage,
                        worker,
                        fingerprint,
                        state,
                    });
                }
            }
        }
        Ok(saved)
    }

    /// Reads the file at `path`; `None` when there is none.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => file.take(MAX_BYTES).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let refuse = |rule: String| io::Error::new(io::ErrorKind::InvalidData, rule);
        let word = |at: usize| {
            let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_le_bytes(bytes))
        };
        let (Some(version), Some(crc), true) = (word(4), word(8), bytes.starts_with(&MAGIC)) else {
            return Err(refuse("is not a file of saved states".into()));
        };
        if version != VERSION {
            return Err(refuse(format!("version {version} is not {VERSION}")));
        }
        let body = &bytes[12..];
        if crc32fast::hash(body) != crc {
            return Err(refuse("its checksum does not fit".into()));
        }
        let saved = postcard::from_bytes(body).map_err(|error| refuse(error.to_string()))?;
        Ok(Some(saved))
    }

    /// Writes the file at `path`, in place of an older one.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let body = postcard::to_stdvec(self).map_err(io::Error::other)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        write_atomically_with(path, |file| {
            file.write_all(&MAGIC)?;
            file.write_all(&VERSION.to_le_bytes())?;
            file.write_all(&crc32fast::hash(&body).to_le_bytes())?;
            file.write_all(&body)
        })
    }

    /// Why this state is not one of this graph; `None` when it is. `sources` are those of the node: name, stream, and
    /// whether the stream is the same in each run.
    pub(crate) fn refusal(
        &self,
        (topology, node): (&str, &str),
        sources: &[(String, u64, bool)],
        stages: &[String],
    ) -> Option<String> {
        if (self.topology.as_str(), self.node.as_str()) != (topology, node) {
            return Some(format!(
                "it is of node '{}' of '{}', this is node '{node}' of '{topology}'",
                self.node, self.topology
            ));
        }
        for (source, stream, same) in sources {
            match self.sources.iter().find(|saved| saved.source == *source) {
                None => return Some(format!("it has no position of source '{source}'")),
                Some(saved) if *same && saved.stream != *stream => {
                    return Some(format!(
                        "source '{source}' has other items: stream {stream:016x}, the state is of {:016x}",
                        saved.stream
                    ));
                }
                Some(_) => {}
            }
        }
        let missing = stages
            .iter()
            .find(|stage| !self.stages.iter().any(|saved| saved.stage == **stage));
        missing.map(|stage| format!("it has no state of stage '{stage}'"))
    }

    /// The state of one copy of a stage; `None` where it held nothing or was not saved.
    pub(crate) fn of_stage(
        &self,
        stage: &str,
        worker: u32,
        fingerprint: u64,
    ) -> Result<Option<&[u8]>, StageError> {
        let mut of_stage = self.stages.iter().filter(|saved| saved.stage == stage);
        match of_stage.clone().find(|saved| saved.worker == worker) {
            Some(saved) if saved.fingerprint != fingerprint => Err(StageError::config(format!(
                "the parameters of stage '{stage}' are not those of the state"
            ))),
            Some(saved) => Ok(saved.state.as_deref()),
            None if of_stage.next().is_none() => Ok(None),
            None => Err(StageError::config(format!(
                "stage '{stage}' had another number of workers"
            ))),
        }
    }

    /// The last position of a source whose effect is in the states.
    pub(crate) fn position(&self, source: &str) -> Option<u64> {
        let saved = self.sources.iter().find(|saved| saved.source == source)?;
        Some(saved.position)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn held(position: u64) -> Vec<ActorState> {
        let state = |stage: &str, snapshot| ActorState::State {
            stage: stage.into(),
            worker: 0,
            fingerprint: 9,
            snapshot,
        };
        vec![
            ActorState::Position {
                source: "market".into(),
                stream: 7,
                position,
            },
            state("a", Snapshot::State(vec![1, 2, 3])),
            state("b", Snapshot::Stateless),
        ]
    }

    #[test]
    fn a_state_is_read_as_it_was_written_and_a_changed_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/gateway.state");
        assert_eq!(SavedState::read(&path).unwrap(), None);
        for position in [5, 6] {
            let saved = SavedState::of("t", "n", held(position)).unwrap();
            saved.write(&path).unwrap();
            assert_eq!(SavedState::read(&path).unwrap(), Some(saved));
        }
        let sound = fs::read(&path).unwrap();
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(SavedState::read(&path).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_state_of_something_else_is_refused_with_what_differs() {
        let saved = SavedState::of("t", "n", held(5)).unwrap();
        let source = |stream, same| vec![("market".to_owned(), stream, same)];
        let stages = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let refusal = |who, sources: &[_], names: &[&str]| {
            saved
                .refusal(who, sources, &stages(names))
                .unwrap_or_default()
        };
        assert_eq!(refusal(("t", "n"), &source(7, true), &["a", "b"]), "");
        assert_eq!(refusal(("t", "n"), &source(8, false), &["a"]), "");
        assert!(refusal(("t", "m"), &[], &[]).contains("this is node 'm'"));
        assert!(refusal(("t", "n"), &source(8, true), &[]).contains("has other items"));
        assert!(refusal(("t", "n"), &[], &["c"]).contains("no state of stage 'c'"));
        assert_eq!(saved.of_stage("a", 0, 9).unwrap(), Some(&[1, 2, 3][..]));
        assert_eq!(saved.of_stage("b", 0, 9).unwrap(), None);
        assert!(saved.of_stage("a", 0, 8).is_err() && saved.of_stage("a", 1, 9).is_err());
        assert_eq!(saved.position("market"), Some(5));
    }
}
