//! Tests of stages and graphs, without sleeps.
//!
//! [`StageTest`] gives frames to one stage and returns what it emits, and restarts it from its own snapshot. [`GraphTest`] runs a
//! graph under a clock that the test sets, and kills it as `kill -9` kills a process.

use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use crate::context::BuildContext;
use crate::emitter::Collector;
use crate::graph::{GraphBuilder, GraphError, GraphHandle, MoveError};
use crate::stage::Stage;
use heqis_core::Frame;
use heqis_core::Inputs;
use heqis_core::{
    Clock, Ending, Key, NodeReport, Origin, Payload, Snapshot, StageError, block_on, duration_ns,
};

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
    pub fn frame<P: Payload>(&mut self, payload: P) -> Frame<P> {
        self.position += 1;
        let origin = Origin {
            stream: STREAM,
            position: self.position,
        };
        Frame::detached(origin, self.cx.clock().now_ns(), payload)
    }

    /// Gives one frame to the stage, of several input ports by the variant of its port; what it emits is returned with the
    /// next batch.
    ///
    /// # Errors
    /// Those of [`Stage::process`].
    pub fn process(&mut self, frame: &<S::In as Inputs>::Frame) -> Result<(), StageError> {
        self.stage.process(frame, &mut self.emitted.emitter())
    }

    /// Ends a batch.
    ///
    /// # Errors
    /// Those of [`Stage::flush`].
    pub fn flush(&mut self) -> Result<(), StageError> {
        self.stage.flush(&mut self.emitted.emitter())
    }

    /// Ends the input; what the stage emits last is taken as that of a batch.
    ///
    /// # Errors
    /// Those of [`Stage::drain`] and [`Stage::finish`].
    pub fn end_input(&mut self, ending: Ending) -> Result<(), StageError> {
        self.stage.drain(ending, &mut self.emitted.emitter())?;
        match ending {
            Ending::Complete => self.stage.finish(),
            Ending::Left => Ok(()),
        }
    }

    /// Takes what the stage has emitted by one of its output ports.
    pub fn emitted<P: Payload>(&mut self, port: &str) -> Vec<Frame<P>> {
        self.emitted.take_port::<S::Out, P>(port)
    }

    /// Takes the state of a key out of the stage.
    ///
    /// # Errors
    /// Those of [`Stage::take_key`].
    pub fn take_key(&mut self, key: Key) -> Result<Option<Vec<u8>>, StageError> {
        self.stage.take_key(key)
    }

    /// Puts the state of a key into the stage.
    ///
    /// # Errors
    /// Those of [`Stage::put_key`].
    pub fn put_key(&mut self, key: Key, state: &[u8]) -> Result<(), StageError> {
        self.stage.put_key(key, state, &mut self.emitted.emitter())
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

impl<S: Stage<Out: Payload>> StageTest<S> {
    /// Gives frames to the stage as one batch, and returns what it emits.
    ///
    /// # Errors
    /// Those of [`Stage::process`] and [`Stage::flush`].
    pub fn batch(
        &mut self,
        frames: &[<S::In as Inputs>::Frame],
    ) -> Result<Vec<Frame<S::Out>>, StageError> {
        for frame in frames {
            self.process(frame)?;
        }
        self.flush()?;
        Ok(self.emitted.take())
    }

    /// Ends the input and returns what the stage emits last.
    ///
    /// # Errors
    /// Those of [`Stage::drain`] and [`Stage::finish`].
    pub fn end(&mut self, ending: Ending) -> Result<Vec<Frame<S::Out>>, StageError> {
        self.end_input(ending)?;
        Ok(self.emitted.take())
    }
}

impl<S> StageTest<S>
where
    S: Stage<In: Payload + Inputs<Frame = Frame<S::In>>, Out: Payload>,
{
    /// Gives one payload to the stage, as a batch of its own, and returns what the stage emits.
    ///
    /// # Errors
    /// Those of [`Stage::process`] and [`Stage::flush`].
    pub fn take(&mut self, payload: S::In) -> Result<Vec<Frame<S::Out>>, StageError> {
        let frame = self.frame(payload);
        self.batch(std::slice::from_ref(&frame))
    }
}

/// How long a graph may take until it has settled.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running graph whose time stands still until the test moves it.
///
/// ```
/// use std::time::Duration;
///
/// use heqis_actors::testing::GraphTest;
/// use heqis_actors::{Frame, GraphBuilder, Payload, Window, WindowSpan, channel, channel_out};
///
/// #[derive(Payload)]
/// struct Count(usize);
///
/// let (counts, source) = channel(8);
/// let (sink, mut sizes) = channel_out::<Count>();
/// let size = |_: &WindowSpan, counts: &[Frame<Count>]| Count(counts.len());
/// let graph = GraphBuilder::new("sizes")
///     .input::<Count>("counts", source)
///     .window("size", Window::tumbling(Duration::from_secs(1)), size)
///     .output("sizes", sink)
///     .chain(&["counts", "size", "sizes"]);
///
/// let test = GraphTest::spawn(graph)?;
/// counts.send(Count(7)).expect("it runs");
/// test.advance(Duration::from_millis(999));
/// assert!(sizes.try_recv().is_err());
/// // A window waits 100 ms for late frames.
/// test.advance(Duration::from_millis(101));
/// assert_eq!(sizes.try_recv().expect("it has closed").0, 1);
/// # Ok::<(), heqis_actors::GraphError>(())
/// ```
///
/// A killed graph is started again from the same files. What it held is gone; what it had saved, and what other nodes keep
/// for it, is not:
///
/// ```
/// # use heqis_actors::testing::GraphTest;
/// # use heqis_actors::{Frame, GraphBuilder, Payload, Sender, StateOptions, channel};
/// # #[derive(Payload)]
/// # struct Count(usize);
/// # let folder = tempfile::tempdir().expect("a folder");
/// let graph = || {
///     let (counts, source) = channel(8);
///     let graph = GraphBuilder::new("counts")
///         .input::<Count>("counts", source)
///         .sink_fn("sink", |_: &Frame<Count>| ())
///         .chain(&["counts", "sink"])
///         .state(StateOptions::new(folder.path().join("counts.state")));
///     GraphTest::spawn(graph).map(|test| (counts, test))
/// };
/// let (counts, test) = graph()?;
/// counts.send(Count(1)).expect("it runs");
/// test.settle();
/// test.kill();
/// let (counts, test) = graph()?;
/// # Ok::<(), heqis_actors::GraphError>(())
/// ```
pub struct GraphTest {
    graph: GraphHandle,
    clock: Clock,
}

impl GraphTest {
    /// Starts the graph at time 0.
    ///
    /// # Errors
    /// Those of [`GraphBuilder::spawn`].
    pub fn spawn(graph: GraphBuilder) -> Result<Self, GraphError> {
        Self::at(&Clock::virtual_at(0), graph)
    }

    /// Starts the graph under `clock`, which several graphs may share.
    ///
    /// # Errors
    /// Those of [`GraphBuilder::spawn`].
    pub fn at(clock: &Clock, graph: GraphBuilder) -> Result<Self, GraphError> {
        Ok(Self {
            graph: graph.clock(clock.clone()).spawn()?,
            clock: clock.clone(),
        })
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Waits until the graph has done everything that it can do at this time. Frames that wait for the program, for another
    /// node or for a later time stay where they are. Bridged edges work in real time: what is on its way over one is not
    /// waited for.
    ///
    /// # Panics
    /// When the graph still works after 30 seconds.
    pub fn settle(&self) {
        let settled = block_on(self.graph.settled(PATIENCE));
        assert!(settled, "the graph still works after {PATIENCE:?}");
    }

    /// Moves the time forward by `span`: to each time that the graph waits for on the way, and lets it settle at each.
    ///
    /// # Panics
    /// As [`GraphTest::settle`].
    pub fn advance(&self, span: Duration) {
        self.settle();
        let end_ns = self.clock.now_ns().saturating_add(duration_ns(span));
        while let Some(wake_ns) = self.clock.next_wake_ns().filter(|ns| *ns <= end_ns) {
            self.clock.advance_to(wake_ns);
            self.settle();
        }
        self.clock.advance_to(end_ns);
        self.settle();
    }

    /// Saves the state of the node now, instead of at the next interval.
    ///
    /// # Errors
    /// [`MoveError::NotSaved`] for a graph without a [`state`](GraphBuilder::state), or whose file cannot be written.
    pub fn save(&self) -> Result<(), MoveError> {
        self.settle();
        block_on(self.graph.save_now())
    }

    /// Ends the graph as `kill -9` ends a process: from the call on nothing is saved, no frame is acknowledged to another
    /// node, and no stage is drained. Returns when its threads have ended. Channels of the program end as with any graph.
    pub fn kill(self) -> NodeReport {
        self.graph.kill()
    }
}

impl Deref for GraphTest {
    type Target = GraphHandle;

    fn deref(&self) -> &GraphHandle {
        &self.graph
    }
}
