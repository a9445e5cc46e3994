//! Tests of stages without a graph.
//!
//! [`StageTest`] gives frames to one stage and returns what it emits, and restarts it from its own snapshot. Graphs are tested as
//! they run: under a virtual [`Clock`], with a [`Collector`] of what a stage emits, or with channels at both ends.

use std::path::Path;

use crate::context::BuildContext;
use crate::emitter::Collector;
use crate::frame::Frame;
use crate::stage::Stage;
use heqis_core::{Clock, Ending, Origin, Snapshot, StageError};

/// Stream of the frames that [`StageTest`] makes.
pub const STREAM: u64 = 1;

/// One stage outside any graph, with what it emits.
///
/// ```
/// use heqis_actors::testing::StageTest;
/// use heqis_actors::{BuildContext, Emitter, Frame, Payload, PayloadError, Snapshot, Stage, StageError, Tensor};
///
/// #[derive(Debug, PartialEq)]
/// struct Count(u64);
///
/// impl Payload for Count {
///     const NAME: &'static str = "count";
///
///     fn encode(&self, meta: &mut Vec<u8>) -> Result<(), PayloadError> {
///         heqis_actors::encode_meta(Self::NAME, &self.0, meta)
///     }
///
///     fn decode(meta: &[u8], _: Tensor) -> Result<Self, PayloadError> {
///         heqis_actors::decode_meta(Self::NAME, meta).map(Self)
///     }
/// }
///
/// /// Adds counts up.
/// struct Total(u64);
///
/// impl Stage for Total {
///     type Config = ();
///     type In = Count;
///     type Out = Count;
///     const KIND: &'static str = "total";
///     const ABOUT: &'static str = "adds counts up";
///
///     fn build(_: &(), _: &BuildContext) -> Result<Self, StageError> {
///         Ok(Self(0))
///     }
///
///     fn process(&mut self, frame: &Frame<Count>, out: &mut Emitter<'_, Count>) -> Result<(), StageError> {
///         self.0 += frame.0;
///         out.emit(frame.head(), Count(self.0));
///         Ok(())
///     }
///
///     fn snapshot(&self) -> Snapshot {
///         Snapshot::of(&self.0)
///     }
///
///     fn restore(&mut self, state: &[u8]) -> Result<(), StageError> {
///         self.0 = Snapshot::read(state)?;
///         Ok(())
///     }
/// }
///
/// let mut total = StageTest::<Total>::new(())?;
/// assert_eq!(*total.take(Count(20))?[0], Count(20));
/// let mut total = total.restart()?;
/// assert_eq!(*total.take(Count(1))?[0], Count(21));
/// # Ok::<(), StageError>(())
/// ```
pub struct StageTest<S: Stage> {
    /// The stage, for looking at its fields.
    pub stage: S,
    config: S::Config,
    cx: BuildContext,
    emitted: Collector,
    position: u64,
}

impl<S: Stage> StageTest<S> {
    /// Checks `config` and builds the stage, with a virtual clock at 0 and relative paths from the working directory.
    ///
    /// # Errors
    /// [`StageError::Config`] with every fault of [`Stage::check`], and the errors of [`Stage::build`].
    pub fn new(config: S::Config) -> Result<Self, StageError> {
        let cx = BuildContext::detached(S::KIND, ".", Clock::virtual_at(0));
        Self::with_context(config, cx)
    }

    /// As [`StageTest::new`], in a context of one's own: its clock, counters and commit log can be read afterwards.
    ///
    /// # Errors
    /// As [`StageTest::new`].
    pub fn with_context(config: S::Config, cx: BuildContext) -> Result<Self, StageError> {
        let faults = S::check(&config, &cx.path(Path::new("")));
        if !faults.is_empty() {
            return Err(StageError::config(faults.join("; ")));
        }
        Ok(Self {
            stage: S::build(&config, &cx)?,
            config,
            emitted: Collector::new(cx.clock().clone()),
            cx,
            position: 0,
        })
    }

    /// What the stage was built with.
    #[must_use]
    pub fn context(&self) -> &BuildContext {
        &self.cx
    }

    /// Makes the next frame of [`STREAM`], born now, without giving it to the stage.
    pub fn frame(&mut self, payload: S::In) -> Frame<S::In> {
        self.position += 1;
        let origin = Origin {
            stream: STREAM,
            position: self.position,
        };
        Frame::detached(origin, self.cx.clock().now_ns(), payload)
    }

    /// Gives one payload to the stage, as a batch of its own, and returns what the stage emits.
    ///
    /// # Errors
    /// Those of [`Stage::process`] and [`Stage::flush`].
    pub fn take(&mut self, payload: S::In) -> Result<Vec<Frame<S::Out>>, StageError> {
        let frame = self.frame(payload);
        self.batch(std::slice::from_ref(&frame))
    }

    /// Gives frames to the stage as one batch, and returns what it emits.
    ///
    /// # Errors
    /// Those of [`Stage::process`] and [`Stage::flush`].
    pub fn batch(&mut self, frames: &[Frame<S::In>]) -> Result<Vec<Frame<S::Out>>, StageError> {
        for frame in frames {
            self.process(frame)?;
        }
        self.flush()?;
        Ok(self.emitted.take())
    }

    /// Gives one frame to the stage; what it emits is returned with the next batch.
    ///
    /// # Errors
    /// Those of [`Stage::process`].
    pub fn process(&mut self, frame: &Frame<S::In>) -> Result<(), StageError> {
        self.stage.process(frame, &mut self.emitted.emitter())
    }

    /// Ends a batch.
    ///
    /// # Errors
    /// Those of [`Stage::flush`].
    pub fn flush(&mut self) -> Result<(), StageError> {
        self.stage.flush(&mut self.emitted.emitter())
    }

    /// Ends the input and returns what the stage emits last.
    ///
    /// # Errors
    /// Those of [`Stage::drain`] and [`Stage::finish`].
    pub fn end(&mut self, ending: Ending) -> Result<Vec<Frame<S::Out>>, StageError> {
        self.stage.drain(ending, &mut self.emitted.emitter())?;
        if ending == Ending::Complete {
            self.stage.finish()?;
        }
        Ok(self.emitted.take())
    }

    /// Builds the stage again as after a restart of its process: with the state of its snapshot, if it has one. Frames that it
    /// has emitted are lost.
    ///
    /// # Errors
    /// [`StageError::Config`] when the stage cannot be saved, and the errors of [`Stage::build`] and [`Stage::restore`].
    pub fn restart(self) -> Result<Self, StageError> {
        let Self {
            stage,
            config,
            cx,
            position,
            ..
        } = self;
        let snapshot = stage.snapshot();
        // The old process is gone before the new one starts: files and locks are free.
        drop(stage);
        let mut next = Self::with_context(config, cx)?;
        next.position = position;
        match snapshot {
            Snapshot::State(bytes) => next.stage.restore(&bytes)?,
            Snapshot::Stateless => {}
            _ => {
                let rule = format!("stage kind '{}' has no snapshot", S::KIND);
                return Err(StageError::config(rule));
            }
        }
        Ok(next)
    }
}
