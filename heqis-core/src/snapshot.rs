//! The state of a node's stages, saved together at one moment, so that a restarted node continues with the same bits.
//!
//! ```text
//! magic "HQSS"   version u32   crc32 u32 of what follows   postcard layout of SavedState [ of Bridged ]
//! ```
//!
//! Version 2 is written where the node is fed by bridged edges; without them it is 1, which has no second part. Version 3 has
//! both, and the keys that were moved.
//!
//! A file is restored as a whole or not at all. It is replaced atomically, so that a killed process leaves the old one or
//! the new one.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use heqis_base::files::write_atomically;
use serde::{Deserialize, Serialize};

use crate::error::StageError;
use crate::moved_key::Moves;
use crate::origins::Origins;
use crate::seal::{invalid, seal, unseal};
use crate::setters;

const MAGIC: [u8; 4] = *b"HQSS";
const VERSION: u32 = 3;
/// Largest file that is read.
const MAX_BYTES: u64 = 4 << 30;

/// Where and how often a node saves the state of its stages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateOptions {
    /// The file.
    pub path: PathBuf,
    /// Time between two snapshots; one more is taken when the node leaves.
    pub every: Duration,
}

setters!(StateOptions: every: Duration);

impl StateOptions {
    /// Time between two snapshots where none is set.
    pub const DEFAULT_EVERY: Duration = Duration::from_secs(30);

    /// Snapshots in the file `path` at the default intervals.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            every: Self::DEFAULT_EVERY,
        }
    }
}

/// The state of a stage.
///
/// ```
/// use heqis_actors::Snapshot;
///
/// let Snapshot::State(bytes) = Snapshot::of(&vec![1.0_f64, 2.5]) else {
///     unreachable!("a vector serialises")
/// };
/// assert_eq!(Snapshot::read::<Vec<f64>>(&bytes).unwrap(), [1.0, 2.5]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Snapshot {
    /// The stage has state that cannot be saved: a node with such a stage takes no snapshots.
    Unsupported,
    /// The stage has no state on which a later frame depends.
    Stateless,
    /// Bytes for `Stage::restore` of the same version and parameters.
    State(Vec<u8>),
}

impl Snapshot {
    /// The snapshot that holds `state`; [`Snapshot::Unsupported`] when it does not serialise, which is a fault of its type.
    pub fn of(state: &impl serde::Serialize) -> Self {
        match Self::bytes(state) {
            Ok(bytes) => Self::State(bytes),
            Err(error) => {
                tracing::error!(%error, "the state of a stage does not serialise");
                Self::Unsupported
            }
        }
    }

    /// The bytes of `state`, as [`Snapshot::of`] holds them: for `Stage::take_key`.
    ///
    /// # Errors
    /// [`StageError::Config`] when it does not serialise, which is a fault of its type.
    pub fn bytes(state: &impl serde::Serialize) -> Result<Vec<u8>, StageError> {
        postcard::to_stdvec(state).map_err(|error| StageError::config(format!("state: {error}")))
    }

    /// Reads a state written by [`Snapshot::of`] or [`Snapshot::bytes`].
    ///
    /// # Errors
    /// [`StageError::Config`] when the bytes are not a `T`.
    pub fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, StageError> {
        postcard::from_bytes(bytes).map_err(|error| StageError::config(format!("state: {error}")))
    }
}

/// The state of an actor.
#[derive(Clone, Debug)]
pub enum ActorState {
    /// It processes frames, so that no moment of the node can be saved.
    Busy,
    /// A source has emitted everything up to this position of its stream.
    Position {
        /// Its name.
        source: String,
        /// Its stream.
        stream: u64,
        /// The position.
        position: u64,
        /// What it needs to continue from there without the items before, if it keeps that.
        cursor: Option<Vec<u8>>,
    },
    /// A copy of a stage.
    State {
        /// Its name.
        stage: String,
        /// Which of the copies.
        worker: u32,
        /// Hash of the parameters.
        fingerprint: u64,
        /// Its state.
        snapshot: Snapshot,
    },
    /// The receiving half of a bridged edge: which frames the states include.
    Received {
        /// Name of the edge.
        edge: String,
        /// The frames.
        frames: SavedFrames,
    },
    /// The sending half of a bridged edge: frames that the next node is not done with, as on the wire.
    Sent {
        /// Name of the edge.
        edge: String,
        /// The bytes of each frame.
        frames: Vec<Vec<u8>>,
    },
}

impl ActorState {
    /// The source, stage or edge that this is the state of.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Busy => None,
            Self::Position { source, .. } => Some(source),
            Self::State { stage, .. } => Some(stage),
            Self::Received { edge, .. } | Self::Sent { edge, .. } => Some(edge),
        }
    }
}

/// Positions of streams by part, each as first and last, and origins of frames that complete no item.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedFrames {
    /// Stream, part, first and last position.
    pub ranges: Vec<(u64, u32, u64, u64)>,
    /// Part and origins.
    pub open: Vec<(u32, Origins)>,
}

/// The state of a node at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedState {
    topology: String,
    node: String,
    sources: Vec<SavedSource>,
    stages: Vec<SavedStage>,
    /// Absent in version 1 of the file.
    #[serde(skip)]
    bridged: Bridged,
    /// Absent in versions 1 and 2.
    #[serde(skip)]
    moves: Moves,
}

/// What the halves of bridged edges held, by edge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Bridged {
    received: Vec<(String, SavedFrames)>,
    sent: Vec<(String, Vec<Vec<u8>>)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedSource {
    source: String,
    stream: u64,
    /// The last item whose effect is in the states, and delivered to the next nodes.
    position: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedStage {
    stage: String,
    worker: u32,
    /// Hash of the stage's parameters; of a source its stream.
    fingerprint: u64,
    /// `None` for a stateless stage. The cursor of a source is kept as a state under its name.
    state: Option<Vec<u8>>,
}

impl SavedState {
    /// Combines the states of the actors.
    ///
    /// # Errors
    /// The name of a stage whose state cannot be saved; `None` when an actor is busy.
    pub fn of(
        topology: &str,
        node: &str,
        states: impl IntoIterator<Item = ActorState>,
    ) -> Result<Self, Option<String>> {
        let mut saved = Self {
            topology: topology.to_owned(),
            node: node.to_owned(),
            ..Self::default()
        };
        for states in states {
            match states {
                ActorState::Busy => return Err(None),
                ActorState::Position {
                    source,
                    stream,
                    position,
                    cursor,
                } => {
                    saved.stages.extend(cursor.map(|cursor| SavedStage {
                        stage: source.clone(),
                        worker: 0,
                        fingerprint: stream,
                        state: Some(cursor),
                    }));
                    saved.sources.push(SavedSource {
                        source,
                        stream,
                        position,
                    });
                }
                ActorState::Received { edge, frames } => {
                    saved.bridged.received.push((edge, frames));
                }
                ActorState::Sent { edge, frames } => saved.bridged.sent.push((edge, frames)),
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

    /// Reads the file at `path`; `None` when it does not exist.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => file.take(MAX_BYTES).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (version, body) = unseal(MAGIC, VERSION, &bytes, "a file of saved states")?;
        let (mut saved, mut rest): (Self, _) = postcard::take_from_bytes(body).map_err(invalid)?;
        if version >= 2 {
            (saved.bridged, rest) = postcard::take_from_bytes(rest).map_err(invalid)?;
        }
        if version >= 3 {
            (saved.moves, rest) = postcard::take_from_bytes(rest).map_err(invalid)?;
        }
        if !rest.is_empty() {
            return Err(invalid(format!("{} bytes are left over", rest.len())));
        }
        Ok(Some(saved))
    }

    /// Writes the file at `path`, in place of an older one.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut body = postcard::to_stdvec(self).map_err(io::Error::other)?;
        let mut version = 1;
        let moves = self.moves != Moves::default();
        if moves || self.bridged != Bridged::default() {
            version = 2;
            body.extend(postcard::to_stdvec(&self.bridged).map_err(io::Error::other)?);
        }
        if moves {
            version = VERSION;
            body.extend(postcard::to_stdvec(&self.moves).map_err(io::Error::other)?);
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        write_atomically(path, &seal(MAGIC, version, &body))
    }

    /// Adds the keys that were moved.
    #[must_use]
    pub fn with_moves(mut self, moves: Moves) -> Self {
        self.moves = moves;
        self
    }

    /// The keys that were moved.
    #[must_use]
    pub fn moves(&self) -> &Moves {
        &self.moves
    }

    /// Whether it is of this node of this topology.
    #[must_use]
    pub fn is_of(&self, topology: &str, node: &str) -> bool {
        self.topology == topology && self.node == node
    }

    /// Why this state does not belong to this graph; `None` when it does. `sources` are those of the node: name, stream, and
    /// whether the stream is the same in each run. `stages` are those with a state, with their workers.
    pub fn refusal(
        &self,
        (topology, node): (&str, &str),
        sources: &[(String, u64, bool)],
        stages: &[(String, usize)],
    ) -> Option<String> {
        if !self.is_of(topology, node) {
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
        stages.iter().find_map(|(stage, workers)| {
            let saved = self.stages.iter().filter(|saved| saved.stage == *stage);
            match saved.count() {
                0 => Some(format!("it has no state of stage '{stage}'")),
                count if count != *workers => Some(format!(
                    "stage '{stage}' had {count} workers, now {workers}: its keys are divided otherwise"
                )),
                _ => None,
            }
        })
    }

    /// The state of one copy of a stage; `None` where it is stateless or was not saved.
    pub fn of_stage(
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

    /// The frames that arrived over an edge and whose effect is in the states.
    pub fn received(&self, edge: &str) -> Option<&SavedFrames> {
        let mut received = self.bridged.received.iter();
        received
            .find(|(name, _)| name == edge)
            .map(|(_, frames)| frames)
    }

    /// The frames of an edge that the next node was not done with.
    pub fn sent(&self, edge: &str) -> &[Vec<u8>] {
        let mut sent = self.bridged.sent.iter();
        sent.find(|(name, _)| name == edge)
            .map_or(&[], |(_, frames)| frames)
    }

    /// The cursor of a source after [`position`](Self::position), if it was kept with this stream.
    pub fn cursor(&self, source: &str, stream: u64) -> Option<&[u8]> {
        self.of_stage(source, 0, stream).ok().flatten()
    }

    /// The last position of a source whose effect is in the states.
    pub fn position(&self, source: &str) -> Option<u64> {
        let saved = self.sources.iter().find(|saved| saved.source == source)?;
        Some(saved.position)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn states(position: u64) -> Vec<ActorState> {
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
                cursor: Some(vec![4, 5]),
            },
            state("a", Snapshot::State(vec![1, 2, 3])),
            state("b", Snapshot::Stateless),
        ]
    }

    #[test]
    fn a_state_is_read_as_it_was_written_and_a_changed_byte_is_detected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/gateway.state");
        assert_eq!(SavedState::read(&path).unwrap(), None);
        for position in [5, 6] {
            let saved = SavedState::of("t", "n", states(position)).unwrap();
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
    fn a_state_of_another_graph_is_refused_with_the_difference() {
        let saved = SavedState::of("t", "n", states(5)).unwrap();
        let source = |stream, same| vec![("market".to_owned(), stream, same)];
        let stages = |names: &[&str]| -> Vec<(String, usize)> {
            names.iter().map(|name| ((*name).to_owned(), 1)).collect()
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
        let two = saved.refusal(("t", "n"), &[], &[("a".into(), 2)]).unwrap();
        assert!(two.contains("had 1 workers, now 2"), "{two}");
        assert_eq!(saved.of_stage("a", 0, 9).unwrap(), Some(&[1, 2, 3][..]));
        assert_eq!(saved.of_stage("b", 0, 9).unwrap(), None);
        assert!(saved.of_stage("a", 0, 8).is_err() && saved.of_stage("a", 1, 9).is_err());
        assert_eq!(saved.position("market"), Some(5));
        assert_eq!(saved.cursor("market", 7), Some(&[4, 5][..]));
        assert_eq!(
            (saved.cursor("market", 8), saved.cursor("other", 7)),
            (None, None)
        );
    }
}
