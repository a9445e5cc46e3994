//! The interface of stages and sources: configuration → build → one synchronous function.
//!
//! A stage never spawns, never names a neighbour and never sees a queue. The framework calls it on the arbiter that the
//! topology gives it, with one frame at a time, and passes on the frames that it emits.

use std::path::Path;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::context::BuildContext;
use crate::emitter::Emitter;
use heqis_core::AnyFrame;
use heqis_core::{Ending, Key, Payload, PortContract, Snapshot, StageError};
use heqis_core::{Inputs, Outputs};

/// Marker bound of configurations that a topology reads: a strict serde struct (`deny_unknown_fields`) whose JSON schema
/// documents it. A stage that is only added to a graph in code has a configuration of any type.
pub trait Config: DeserializeOwned + JsonSchema + Send + Sync + 'static {}
impl<T: DeserializeOwned + JsonSchema + Send + Sync + 'static> Config for T {}

/// Reason why a stage without [`Stage::build`] is not built from parameters.
const UNBUILT: &str = "it is not built from parameters: `stage_with` and `source_with` add it with a function that builds it";

/// A stage that takes frames and emits frames.
///
/// ```
/// use heqis_actors::{
///     BuildContext, Clock, Collector, Emitter, Frame, Origin, Payload, Stage, StageError,
/// };
///
/// #[derive(Debug, Payload)]
/// struct Value(f32);
///
/// /// Parameters of `scale`.
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct ScaleConfig {
///     factor: f32,
/// }
///
/// struct Scale(f32);
///
/// impl Stage for Scale {
///     type Config = ScaleConfig;
///     type In = Value;
///     type Out = Value;
///     const KIND: &'static str = "scale";
///     const ABOUT: &'static str = "multiplies values by a factor";
///
///     fn build(config: &ScaleConfig, _: &BuildContext) -> Result<Self, StageError> {
///         Ok(Self(config.factor))
///     }
///
///     fn process(&mut self, frame: &Frame<Value>, out: &mut Emitter<'_, Value>) -> Result<(), StageError> {
///         if !frame.0.is_finite() {
///             return Err(StageError::refused(format!("{} is not finite", frame.0)));
///         }
///         out.emit(frame.head(), Value(frame.0 * self.0));
///         Ok(())
///     }
/// }
///
/// let cx = BuildContext::detached("scale", ".", Clock::virtual_at(0));
/// let mut stage = Scale::build(&ScaleConfig { factor: 2.0 }, &cx)?;
/// let mut collector = Collector::new(Clock::virtual_at(0));
/// let origin = Origin { stream: 1, position: 1 };
/// stage.process(&Frame::detached(origin, 0, Value(21.0)), &mut collector.emitter())?;
/// assert_eq!(collector.take::<Value>()[0].0, 42.0);
///
/// let refused = stage.process(&Frame::detached(origin, 0, Value(f32::NAN)), &mut collector.emitter());
/// assert!(matches!(refused, Err(StageError::Refused(_))));
/// # Ok::<(), StageError>(())
/// ```
pub trait Stage: Sized + 'static {
    /// Typed parameters; a [`Config`] where a topology may name the stage, `()` where it has none.
    type Config: Send + Sync + 'static;
    /// Payload of incoming frames, or an enum of several input ports, see [`Inputs`].
    type In: Inputs;
    /// Payload of emitted frames, or an enum of several output ports, see [`Outputs`]; [`crate::Nothing`] for a sink.
    type Out: Outputs;
    /// Kind name in topologies, kebab-case; a stage without one is only added to a graph in code.
    const KIND: &'static str = "";
    /// One line for `heqis-runtime stages`.
    const ABOUT: &'static str = "";
    /// Whether `process` may block its thread for long; such a stage gets an arbiter of its own by default.
    const BLOCKING: bool = false;
    /// Whether the stage is a commit log, which fills [`BuildContext::committed`] with its records. A node has one commit
    /// log at most.
    const COMMIT_LOG: bool = false;
    /// Whether the stage may be the last one of a graph although it emits frames: without an edge they are dropped.
    const OUTPUT_OPTIONAL: bool = false;
    /// Whether each frame leaves by one of the output ports at most: the ways behind the ports may then meet again, because
    /// no item takes two of them.
    const ROUTES: bool = false;
    /// Whether the stage takes warm-up items ([`Source::warm_up`]), which only fill the state of stages. A stage that
    /// decides, records or delivers does not.
    const TAKES_WARM_UP: bool = true;
    /// Whether the stage holds frames, or their heads, from one batch to the next, as windows and joins do. The framework then
    /// keeps these frames itself, and a stage that is rebuilt after a failure processes them again, in their order and
    /// before any other, unless something derived from them is on its way.
    const HOLDS_FRAMES: bool = false;
    /// Whether the stage restores its state from the records of the commit log, through [`Stage::recover`]. It then does not
    /// get frames whose outcome the log holds, because its state includes them.
    const RECOVERS: bool = false;

    /// Checks what a schema cannot express (files, hashes, ranges) before anything starts. Returns every fault found.
    fn check(_config: &Self::Config, _base: &Path) -> Vec<String> {
        Vec::new()
    }

    /// Returns, for parameters that have passed [`Stage::check`], the properties that the stage requires of its input and
    /// provides in its output. An empty contract matches every stage with the same payload types.
    fn contract(_config: &Self::Config, _base: &Path) -> PortContract {
        PortContract::default()
    }

    /// Builds the stage on its arbiter; also called for each restart. A stage that is only added by
    /// [`GraphBuilder::stage_with`](crate::GraphBuilder::stage_with), with a function that builds it, needs none.
    ///
    /// # Errors
    /// [`StageError`] with the reason; the node does not report ready.
    fn build(_config: &Self::Config, _cx: &BuildContext) -> Result<Self, StageError> {
        Err(StageError::config(UNBUILT))
    }

    /// Restores the state that a record implies. Called before the first frame with the last committed record of each key
    /// from the node's commit log; the stage ignores records of other types than its own.
    fn recover(&mut self, _record: &AnyFrame) {}

    /// Called after [`Stage::recover`] and before the first frame, so that a stage can emit its undelivered records again.
    ///
    /// # Errors
    /// As for [`Stage::process`].
    fn resume(&mut self, _out: &mut Emitter<'_, Self::Out>) -> Result<(), StageError> {
        Ok(())
    }

    /// Returns the state of the stage (indicators, windows, recurrent states), so that a restarted node continues with the
    /// same bits. Called between two frames, while no frame is in flight on the node.
    fn snapshot(&self) -> Snapshot {
        Snapshot::Unsupported
    }

    /// Restores a state that [`Stage::snapshot`] returned in an earlier process, before the first frame.
    ///
    /// # Errors
    /// When `state` does not belong to a stage of these parameters; the node then starts without any state.
    fn restore(&mut self, _state: &[u8]) -> Result<(), StageError> {
        Err(StageError::config("the stage restores no state"))
    }

    /// Takes the state of one key out of the stage, so that another node continues with it. Called between two frames, while
    /// no frame is in flight on the node; afterwards the framework refuses frames of the key. `None` where the stage holds
    /// nothing of the key.
    ///
    /// # Errors
    /// [`StageError::Config`] when the stage does not keep its state by key; it is then as it was.
    fn take_key(&mut self, _key: Key) -> Result<Option<Vec<u8>>, StageError> {
        Err(StageError::config("the stage keeps no state by key"))
    }

    /// Adds the state of one key that [`Stage::take_key`] returned on another node. `out` is for its timer.
    ///
    /// # Errors
    /// [`StageError::Config`] when the stage has a state of the key already, or cannot take this one; it is then as it was.
    fn put_key(
        &mut self,
        _key: Key,
        _state: &[u8],
        _out: &mut Emitter<'_, Self::Out>,
    ) -> Result<(), StageError> {
        Err(StageError::config("the stage keeps no state by key"))
    }

    /// Processes one frame.
    ///
    /// # Errors
    /// - [`StageError::Refused`] drops this frame, cause `refused`, with an alarm. The stage keeps its state and continues:
    ///   the error of a frame that cannot be processed. An expected outcome is a counter and no error.
    /// - [`StageError::Failed`] makes the framework rebuild the stage, which loses its state, and try the frame once more.
    /// - [`StageError::Unavailable`] does the same as often as the restart budget allows.
    fn process(
        &mut self,
        frame: &<Self::In as Inputs>::Frame,
        out: &mut Emitter<'_, Self::Out>,
    ) -> Result<(), StageError>;

    /// Called after each batch: `batch.max` frames were processed, or `batch.max_delay` has passed since the first of them,
    /// or no further frame is waiting. A stage that collects frames in [`Stage::process`] processes them here.
    ///
    /// # Errors
    /// As for [`Stage::process`]; the frames of the batch are then processed again, once.
    fn flush(&mut self, _out: &mut Emitter<'_, Self::Out>) -> Result<(), StageError> {
        Ok(())
    }

    /// Called once the graph's clock has reached the time that the stage asked for with [`Emitter::wake_at`], after the frames
    /// that were waiting at that time. What it emits derives from frames that the stage holds. A timer does not outlive a
    /// rebuild of the stage, nor the last frame of its inputs.
    ///
    /// ```
    /// use heqis_actors::{Clock, Collector, Emitter, Frame, Origin, Payload, Stage, StageError};
    ///
    /// #[derive(Clone, Payload)]
    /// struct Price(f64);
    ///
    /// /// Emits the last price of each second.
    /// #[derive(Default)]
    /// struct LastOfSecond(Option<Frame<Price>>);
    ///
    /// impl Stage for LastOfSecond {
    ///     type Config = ();
    ///     type In = Price;
    ///     type Out = Price;
    ///
    ///     fn process(&mut self, frame: &Frame<Price>, out: &mut Emitter<'_, Price>) -> Result<(), StageError> {
    ///         if self.0.replace(frame.clone()).is_none() {
    ///             out.wake_at(frame.head().enter_ns() + 1_000_000_000);
    ///         }
    ///         Ok(())
    ///     }
    ///
    ///     fn on_timer(&mut self, _: i64, out: &mut Emitter<'_, Price>) -> Result<(), StageError> {
    ///         if let Some(last) = self.0.take() {
    ///             out.forward(&last);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut stage = LastOfSecond::default();
    /// let mut collector = Collector::new(Clock::virtual_at(0));
    /// for position in 1..=3 {
    ///     let frame = Frame::detached(Origin { stream: 1, position }, 0, Price(position as f64));
    ///     stage.process(&frame, &mut collector.emitter())?;
    /// }
    /// assert_eq!(collector.take_timer(), Some(1_000_000_000));
    /// stage.on_timer(1_000_000_000, &mut collector.emitter())?;
    /// assert_eq!(collector.take::<Price>()[0].0, 3.0);
    /// # Ok::<(), StageError>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Stage::process`]; a refusal counts as a failure, because there is no frame to drop.
    fn on_timer(
        &mut self,
        _now_ns: i64,
        _out: &mut Emitter<'_, Self::Out>,
    ) -> Result<(), StageError> {
        Ok(())
    }

    /// Called once when every input has ended, after the last flush. With [`Ending::Left`] the node leaves in mid-stream, and
    /// the state of the stage is restored at the next start; only [`Ending::Complete`] is the end of the data. It is also
    /// given where the node leaves and nothing brings back what the stage holds: the sources make their items once, as a
    /// channel does, and the node saves no state.
    ///
    /// # Errors
    /// The graph ends with a failure.
    fn drain(
        &mut self,
        _ending: Ending,
        _out: &mut Emitter<'_, Self::Out>,
    ) -> Result<(), StageError> {
        Ok(())
    }

    /// Called once after [`Stage::drain`] when every input was complete, everything emitted is done, and every node that
    /// sends to this one knows the last acknowledgement: no frame can arrive again.
    ///
    /// # Errors
    /// Reported as an alarm; the stage ends all the same.
    fn finish(&mut self) -> Result<(), StageError> {
        Ok(())
    }
}

/// The answer of a source that is asked for the next item.
#[derive(Debug)]
#[non_exhaustive]
pub enum Next<P> {
    /// The next item.
    Item(P),
    /// Ask again when the clock has reached this time, nanoseconds.
    At(i64),
    /// Ask again after the [`Waker`](crate::Waker) from [`BuildContext::waker`] was used.
    Waiting,
    /// The source has no further items.
    End,
}

/// A stage that makes frames from data outside the graph. It is asked only when there is room downstream.
///
/// ```
/// use heqis_actors::{BuildContext, Clock, Next, Payload, Source, StageError};
///
/// #[derive(Payload)]
/// struct Count(u64);
///
/// /// Parameters of `count-to`.
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct CountToConfig {
///     last: u64,
/// }
///
/// struct CountTo {
///     next: u64,
///     last: u64,
/// }
///
/// impl Source for CountTo {
///     type Config = CountToConfig;
///     type Out = Count;
///     const KIND: &'static str = "count-to";
///     const ABOUT: &'static str = "counts to a number";
///     const REPLAYABLE: bool = true;
///
///     fn build(config: &CountToConfig, _: &BuildContext) -> Result<Self, StageError> {
///         Ok(Self { next: 1, last: config.last })
///     }
///
///     fn next(&mut self) -> Result<Next<Count>, StageError> {
///         if self.next > self.last {
///             return Ok(Next::End);
///         }
///         self.next += 1;
///         Ok(Next::Item(Count(self.next - 1)))
///     }
/// }
///
/// let cx = BuildContext::detached("count", ".", Clock::virtual_at(0));
/// let mut source = CountTo::build(&CountToConfig { last: 1 }, &cx)?;
/// assert!(matches!(source.next()?, Next::Item(Count(1))));
/// assert!(matches!(source.next()?, Next::End));
/// # Ok::<(), StageError>(())
/// ```
pub trait Source: Sized + 'static {
    /// Typed parameters; a [`Config`] where a topology may name the stage, `()` where it has none.
    type Config: Send + Sync + 'static;
    /// Payload of the frames it makes.
    type Out: Payload;
    /// Kind name in topologies, kebab-case; a stage without one is only added to a graph in code.
    const KIND: &'static str = "";
    /// One line for `heqis-runtime stages`.
    const ABOUT: &'static str = "";
    /// Whether two builds from one config give the same items in the same order. A replayable source resumes after
    /// the last acknowledged frame when its process restarts.
    const REPLAYABLE: bool = false;
    /// Whether a replayable source whose items have no identity is meant so, since only the program knows whether a second
    /// run gives the same items, as for a closure. Of other sources the check of a graph warns.
    const IDENTITY_OPTIONAL: bool = false;

    /// As [`Stage::check`].
    fn check(_config: &Self::Config, _base: &Path) -> Vec<String> {
        Vec::new()
    }

    /// Identity of a replayable source's items: two configurations with the same identity give the same items, at any pace
    /// and from any path. `None` uses the parameters themselves.
    ///
    /// # Errors
    /// [`StageError`] when a file of the source cannot be read; the node does not report ready.
    fn identity(_config: &Self::Config, _base: &Path) -> Result<Option<u64>, StageError> {
        Ok(None)
    }

    /// As [`Stage::build`]; called once.
    ///
    /// # Errors
    /// [`StageError`] with the reason; the node does not report ready.
    fn build(_config: &Self::Config, _cx: &BuildContext) -> Result<Self, StageError> {
        Err(StageError::config(UNBUILT))
    }

    /// Returns the next warm-up item, oldest first, and `None` after the last one: items from before this source, such as
    /// those of a data set, that fill the state of stages. They do not leave the node, they have no position, and they are
    /// asked for before any other item, unless the node has restored a saved state.
    ///
    /// # Errors
    /// As for [`Source::next`].
    fn warm_up(&mut self) -> Result<Option<Self::Out>, StageError> {
        Ok(None)
    }

    /// Returns the next item. Must not block.
    ///
    /// # Errors
    /// [`StageError::Failed`] ends the source with an alarm: a source that was rebuilt could repeat items.
    fn next(&mut self) -> Result<Next<Self::Out>, StageError>;

    /// Returns what a later build of the same items needs to continue after the last item without those before it, such as
    /// an offset in a file; it is saved with the state of the node and given to [`Source::seek`]. `None` where a position is
    /// enough, or the source cannot seek. Called between two items, and once more after [`Source::stop`].
    fn cursor(&self) -> Option<Vec<u8>> {
        None
    }

    /// Moves a source that was just built on to `position`, so that [`Source::next`] returns that item first; the first item
    /// has the position 1. Called at most once, after a restart, when no stage needs an earlier item: the restored state
    /// includes the effect of all of them. `cursor` is what [`Source::cursor`] returned before that item, if it was saved.
    /// Returns `false` where the source cannot, and it is then asked for the earlier items, which are dropped.
    ///
    /// # Errors
    /// As for [`Source::next`].
    fn seek(&mut self, _position: u64, _cursor: Option<&[u8]>) -> Result<bool, StageError> {
        Ok(false)
    }

    /// Called once when the source is not asked again: it has ended or failed, or the graph has begun to drain. A source
    /// closes its connection here, or stops its threads; frames that it made may still be on their way.
    fn stop(&mut self) {}
}
