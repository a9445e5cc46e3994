//! What an author of a stage writes: config → build → one synchronous process function.
//!
//! A stage never spawns, never names a neighbour and never sees a queue. The framework calls it on the arbiter that
//! the topology gave it, with one frame at a time, and carries what it emits.

use std::path::Path;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::context::BuildContext;
use crate::contract::PortContract;
use crate::emitter::Emitter;
use crate::error::StageError;
use crate::frame::{AnyFrame, Frame};
use crate::outcome::Ending;
use crate::payload::Payload;
use crate::snapshot::Snapshot;

/// Marker bound of configurations: a strict serde struct (`deny_unknown_fields`) whose JSON schema documents it.
pub trait Config: DeserializeOwned + JsonSchema + Send + Sync + 'static {}
impl<T: DeserializeOwned + JsonSchema + Send + Sync + 'static> Config for T {}

/// A stage that takes frames and emits frames.
pub trait Stage: Sized + 'static {
    /// Typed parameters from the topology.
    type Config: Config;
    /// Payload of incoming frames.
    type In: Payload;
    /// Payload of emitted frames; [`crate::Nothing`] for a sink.
    type Out: Payload;
    /// MessageKind name in topologies, kebab-case.
    const KIND: &'static str;
    /// One line for `heqis-runtime stages`.
    const ABOUT: &'static str;
    /// Whether `process` may block its thread for long; such a stage gets an arbiter of its own unless told otherwise.
    const BLOCKING: bool = false;
    /// Whether the stage is a commit log: it tells [`BuildContext::committed`] what it holds. What is committed is
    /// known per node, so a node has one commit log at most.
    const COMMIT_LOG: bool = false;

    /// Whether the stage may stand at the end of a graph although it makes frames: what it emits without an edge is dropped.
    const OUTPUT_OPTIONAL: bool = false;
    /// Whether the stage is shown items of the past ([`Source::past`]), which only fill what stages hold. A stage that decides,
    /// records or delivers is not.
    const TAKES_WARM_UP: bool = true;
    /// Whether the stage takes its state from the records of the commit log, through [`Stage::recover`]. It is then not
    /// shown frames whose outcome the log holds: its state has them already.
    const RECOVERS: bool = false;

    /// Checks what a schema cannot say (files, hashes, ranges) before anything starts. Returns every fault found.
    fn check(_config: &Self::Config, _base: &Path) -> Vec<String> {
        Vec::new()
    }

    /// Tells, of parameters that have passed [`Stage::check`], what the frames must be that the stage takes and what
    /// those are that it makes. A stage that says nothing fits to everything of its payload types.
    fn contract(_config: &Self::Config, _base: &Path) -> PortContract {
        PortContract::default()
    }

    /// Builds the stage on its arbiter; also called for each restart.
    ///
    /// # Errors
    /// [`StageError`] with the reason; the node does not report ready.
    fn build(config: &Self::Config, cx: &BuildContext) -> Result<Self, StageError>;

    /// Tells the stage, before its first frame, the last committed record of each key from the node's commit log,
    /// so that it can take up the state that the record implies. Other types than its own are ignored.
    fn recover(&mut self, _record: &AnyFrame) {}

    /// Called after [`Stage::recover`] and before the first frame, so that a stage can emit again what it had recorded and
    /// not delivered.
    ///
    /// # Errors
    /// As for [`Stage::process`].
    fn resume(&mut self, _out: &mut Emitter<'_, Self::Out>) -> Result<(), StageError> {
        Ok(())
    }

    /// What the stage holds of the frames that it has processed (indicators, windows, recurrent states), so that a node
    /// that comes back continues with the same bits. Called between two frames, when nothing is under way on the node.
    fn snapshot(&self) -> Snapshot {
        Snapshot::Unsupported
    }

    /// Takes up what [`Stage::snapshot`] returned in an earlier process, before the first frame.
    ///
    /// # Errors
    /// When `state` is not that of a stage of these parameters; the node then starts without any state.
    fn restore(&mut self, _state: &[u8]) -> Result<(), StageError> {
        Err(StageError::config("the stage takes up no state"))
    }

    /// Processes one frame.
    ///
    /// # Errors
    /// [`StageError::Failed`] makes the framework rebuild the stage and try the frame once more;
    /// [`StageError::Unavailable`] as often as the restart budget allows.
    fn process(
        &mut self,
        frame: &Frame<Self::In>,
        out: &mut Emitter<'_, Self::Out>,
    ) -> Result<(), StageError>;

    /// Called after each batch: `batch.max` frames were processed, or `batch.max_delay` has passed since the first of
    /// them, or nothing more is waiting. A stage that collects in [`Stage::process`] works here.
    ///
    /// # Errors
    /// As for [`Stage::process`]; the frames of the batch are then processed again, once.
    fn flush(&mut self, _out: &mut Emitter<'_, Self::Out>) -> Result<(), StageError> {
        Ok(())
    }

    /// Called once when every input has ended, after the last flush. With [`Ending::Left`] the node leaves in mid-stream
    /// and what the stage holds is taken up again at the next start; only [`Ending::Complete`] is the end of the data.
    ///
    /// # Errors
    /// Reported as an alarm; the stage ends all the same.
    fn drain(
        &mut self,
        _ending: Ending,
        _out: &mut Emitter<'_, Self::Out>,
    ) -> Result<(), StageError> {
        Ok(())
    }

    /// Called once after [`Stage::drain`] when every input was complete, everything emitted is done and every node that
    /// sends to this one has heard the last acknowledgement: nothing can come again.
    ///
    /// # Errors
    /// Reported as an alarm; the stage ends all the same.
    fn finish(&mut self) -> Result<(), StageError> {
        Ok(())
    }
}

/// What a source has to say when asked for the next item.
#[derive(Debug)]
pub enum Next<P> {
    /// The next item.
    Item(P),
    /// Ask again when the clock has reached this time, nanoseconds.
    At(i64),
    /// Ask again after the [`Waker`] from [`BuildContext::waker`] was used.
    Waiting,
    /// No further item will come.
    End,
}

/// A stage that makes frames out of the outside world. It is asked only when there is room downstream.
pub trait Source: Sized + 'static {
    /// Typed parameters from the topology.
    type Config: Config;
    /// Payload of the frames it makes.
    type Out: Payload;
    /// MessageKind name in topologies, kebab-case.
    const KIND: &'static str;
    /// One line for `heqis-runtime stages`.
    const ABOUT: &'static str;
    /// Whether two builds from one config give the same items in the same order. A replayable source resumes after
    /// the last acknowledged frame when its process restarts.
    const REPLAYABLE: bool;

    /// As [`Stage::check`].
    fn check(_config: &Self::Config, _base: &Path) -> Vec<String> {
        Vec::new()
    }

    /// What the items of a replayable source are made of: two configurations with the same identity give the same items,
    /// however fast and from wherever. `None` takes the parameters as they are written.
    ///
    /// # Errors
    /// [`StageError`] when what is read cannot be read; the node does not report ready.
    fn identity(_config: &Self::Config, _base: &Path) -> Result<Option<u64>, StageError> {
        Ok(None)
    }

    /// As [`Stage::build`].
    ///
    /// # Errors
    /// [`StageError`] with the reason; the node does not report ready.
    fn build(config: &Self::Config, cx: &BuildContext) -> Result<Self, StageError>;

    /// Gives the next item of the past, oldest first, and `None` after the last: items from before this source, such as those
    /// of a data set, that fill what stages hold. Nothing of them leaves the node, they have no position, and they are
    /// asked for before any other item, unless the node has taken up a saved state.
    ///
    /// # Errors
    /// As for [`Source::next`].
    fn warm_up(&mut self) -> Result<Option<Self::Out>, StageError> {
        Ok(None)
    }

    /// Gives the next item. Must not block.
    ///
    /// # Errors
    /// [`StageError::Failed`] ends the source with an alarm: a source that was rebuilt could repeat items.
    fn next(&mut self) -> Result<Next<Self::Out>, StageError>;
}
