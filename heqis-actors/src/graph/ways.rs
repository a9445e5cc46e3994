//! Ways into a graph and out of it, and stages of closures.

use std::path::PathBuf;
use std::sync::Arc;

use actix::prelude::*;
use actix_rt::ArbiterHandle;

use super::GraphError;
use super::builder::{GraphBuilder, StageEntry};
use super::wiring::Wiring;
use crate::actor::{OutputActor, OutputSetup};
use crate::channel::{ChannelSink, ChannelSource, OutputEnd, OutputLink};
use crate::closure::{Once, OwnFn, SharedFn, SourceFn, SourceFrom, SplitFn};
use crate::commit_log::CommitLog;
use crate::context::BuildContext;
use crate::doorbell::Doorbell;
use crate::emitter::Emitter;
use crate::join::JoinStage;
use crate::registry::{Prepared, fnv1a};
use crate::stage::{Next, Source, Stage};
use crate::window::WindowStage;
use heqis_core::Outputs;
use heqis_core::{
    BridgeOptions, ClosureResult, EdgeOptions, Join, Nothing, Payload, Snapshot, StageError,
    StageOptions, StageStats, Window, WindowSpan, stage_of,
};
use heqis_core::{Frame, PayloadType};

impl GraphBuilder {
    /// Adds a source of what a program sends, see [`channel`](crate::channel).
    #[must_use]
    pub fn input<P: Payload>(self, name: &str, channel: ChannelSource<P>) -> Self {
        self.in_code(name, Prepared::input::<P>(channel.into_end()))
    }

    /// Adds a sink whose frames a program receives, see [`channel_out`](crate::channel_out).
    #[must_use]
    pub fn output<P: Payload>(self, name: &str, channel: ChannelSink<P>) -> Self {
        self.in_code(name, Prepared::output::<P>(channel.into_end()))
    }

    /// Adds the source that `build` builds, on its arbiter.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use heqis_actors::{Clock, Frame, GraphBuilder, Next, Payload, Source, StageError};
    ///
    /// #[derive(Payload)]
    /// struct Time(i64);
    ///
    /// /// Makes the time of the clock two times.
    /// struct Times(Clock, u32);
    ///
    /// impl Source for Times {
    ///     type Config = ();
    ///     type Out = Time;
    ///
    ///     fn next(&mut self) -> Result<Next<Time>, StageError> {
    ///         self.1 += 1;
    ///         Ok(if self.1 > 2 { Next::End } else { Next::Item(Time(self.0.now_ns())) })
    ///     }
    /// }
    ///
    /// let graph = GraphBuilder::new("times")
    ///     .source_with("times", |cx| Ok(Times(cx.clock().clone(), 0)))
    ///     .sink_fn("check", |time: &Frame<Time>| assert!(time.0 > 0))
    ///     .chain(&["times", "check"]);
    /// assert!(graph.run(Duration::from_secs(1))?.is_clean());
    /// # Ok::<(), heqis_actors::GraphError>(())
    /// ```
    #[must_use]
    pub fn source_with<S: Source>(
        self,
        name: &str,
        build: impl FnOnce(&BuildContext) -> Result<S, StageError> + Send + 'static,
    ) -> Self {
        let build = Once::new(build);
        self.in_code(name, Prepared::source_with(move |cx| build.take()?(cx)))
    }

    /// Adds a source that asks `next` for each item. The closure must not block.
    #[must_use]
    pub fn source_fn<P: Payload>(
        self,
        name: &str,
        next: impl FnMut() -> Result<Next<P>, StageError> + Send + 'static,
    ) -> Self {
        self.source_with(name, move |_| Ok(SourceFn::new(next)))
    }

    /// Adds a source of the items of an iterator, which must not block.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use heqis_actors::{Frame, GraphBuilder, Payload};
    ///
    /// #[derive(Payload)]
    /// struct Word(String);
    ///
    /// let graph = GraphBuilder::new("hello")
    ///     .source_iter("words", ["hello", "", "graph"].map(|word| Word(word.into())))
    ///     .filter("written", |word: &Frame<Word>| !word.0.is_empty())
    ///     .sink_fn("print", |word: &Frame<Word>| println!("{}", word.0))
    ///     .chain(&["words", "written", "print"]);
    /// let report = graph.run(Duration::from_secs(1))?;
    /// assert_eq!((report.edges[0].delivered, report.edges[1].delivered), (3, 2));
    /// # Ok::<(), heqis_actors::GraphError>(())
    /// ```
    #[must_use]
    pub fn source_iter<I>(self, name: &str, items: I) -> Self
    where
        I: IntoIterator<Item: Payload, IntoIter: Send + 'static>,
    {
        let mut items = items.into_iter();
        self.source_fn(name, move || Ok(items.next().map_or(Next::End, Next::Item)))
    }

    /// Adds a source of the items of the iterator that `start` makes, and which begins with the item of the position that it
    /// is given; the first one is 1. After a restart with a saved state that is the first item that the state lacks, so that
    /// no earlier one is made again. Neither may block.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use heqis_actors::{Frame, GraphBuilder, Payload};
    ///
    /// #[derive(Payload)]
    /// struct Count(u64);
    ///
    /// let graph = GraphBuilder::new("counts")
    ///     .source_from("count", |first| Ok((first..=3).map(Count)))
    ///     .sink_fn("print", |count: &Frame<Count>| println!("{}", count.0))
    ///     .chain(&["count", "print"]);
    /// assert_eq!(graph.run(Duration::from_secs(1))?.edges[0].delivered, 3);
    /// # Ok::<(), heqis_actors::GraphError>(())
    /// ```
    #[must_use]
    pub fn source_from<I>(
        self,
        name: &str,
        start: impl FnOnce(u64) -> Result<I, StageError> + Send + 'static,
    ) -> Self
    where
        I: Iterator<Item: Payload> + 'static,
    {
        self.source_with(name, move |_| Ok(SourceFrom::new(start)))
    }

    /// Adds the stage that `build` builds, on its arbiter: for each worker, and for each restart.
    ///
    /// ```
    /// use heqis_actors::{Counter, Emitter, Frame, GraphBuilder, Nothing, Stage, StageError};
    ///
    /// struct Count(Counter);
    ///
    /// impl Stage for Count {
    ///     type Config = ();
    ///     type In = Nothing;
    ///     type Out = Nothing;
    ///
    ///     fn process(&mut self, _: &Frame<Nothing>, _: &mut Emitter<'_, Nothing>) -> Result<(), StageError> {
    ///         self.0.inc();
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let graph = GraphBuilder::new("counts").stage_with("count", |cx| Ok(Count(cx.counter("taken"))));
    /// ```
    #[must_use]
    pub fn stage_with<S: Stage>(
        self,
        name: &str,
        build: impl Fn(&BuildContext) -> Result<S, StageError> + Send + Sync + 'static,
    ) -> Self {
        self.in_code(name, Prepared::stage_with(build))
    }

    /// Adds a stage that calls `process` for each frame. What the closure has captured is the state of the stage: it has
    /// one worker, is not rebuilt after a failure, and cannot be saved with the node's [`state`](GraphBuilder::state).
    /// [`GraphBuilder::stage_with`] adds a stage that can.
    ///
    /// ```
    /// use heqis_actors::{Emitter, Frame, GraphBuilder, Nothing};
    ///
    /// let mut taken = 0;
    /// let graph = GraphBuilder::new("counts").stage_fn(
    ///     "count",
    ///     move |_: &Frame<Nothing>, _: &mut Emitter<'_, Nothing>| {
    ///         taken += 1;
    ///         Ok(())
    ///     },
    /// );
    /// ```
    #[must_use]
    pub fn stage_fn<I: Payload, O: Payload>(
        self,
        name: &str,
        process: impl FnMut(&Frame<I>, &mut Emitter<'_, O>) -> Result<(), StageError> + Send + 'static,
    ) -> Self {
        self.own_fn(name, process, Snapshot::Unsupported)
    }

    fn own_fn<I: Payload, O: Payload>(
        self,
        name: &str,
        process: impl FnMut(&Frame<I>, &mut Emitter<'_, O>) -> Result<(), StageError> + Send + 'static,
        snapshot: Snapshot,
    ) -> Self {
        let process = Once::new(process);
        let unsaved = snapshot == Snapshot::Unsupported;
        let build = move |_: &BuildContext| Ok(OwnFn::new(process.take()?, snapshot.clone()));
        let mut prepared = Prepared::stage_once(build);
        prepared.kind.leave_unsaved(unsaved);
        self.in_code(name, prepared)
    }

    /// Adds a sink that calls `take` for each frame; the closure returns `()` or `Result<(), StageError>`. As for
    /// [`GraphBuilder::stage_fn`], the stage has one worker and is not rebuilt. What the closure has captured is no part of the
    /// node's saved [`state`](GraphBuilder::state): after a restart it is what the program makes it.
    #[must_use]
    pub fn sink_fn<I: Payload, R: ClosureResult<Out = Nothing>>(
        self,
        name: &str,
        mut take: impl FnMut(&Frame<I>) -> R + Send + 'static,
    ) -> Self {
        let process = move |frame: &Frame<I>, _: &mut Emitter<'_, Nothing>| {
            take(frame).into_payload().map(|_| ())
        };
        self.own_fn(name, process, Snapshot::Stateless)
    }

    /// Adds a stage that emits what `map` returns for each frame: a payload, an `Option`, or either as a `Result`. Workers
    /// and restarts share the closure.
    #[must_use]
    pub fn map<I: Payload, R: ClosureResult>(
        self,
        name: &str,
        map: impl Fn(&Frame<I>) -> R + Send + Sync + 'static,
    ) -> Self {
        self.shared(
            name,
            move |frame: &Frame<I>, out: &mut Emitter<'_, R::Out>| {
                if let Some(payload) = map(frame).into_payload()? {
                    out.emit(frame.head(), payload);
                }
                Ok(())
            },
        )
    }

    /// Adds a stage that passes on the frames for which `keep` returns true. The payload is not copied.
    #[must_use]
    pub fn filter<P: Payload>(
        self,
        name: &str,
        keep: impl Fn(&Frame<P>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.shared(name, move |frame: &Frame<P>, out: &mut Emitter<'_, P>| {
            if keep(frame) {
                out.forward(frame);
            }
            Ok(())
        })
    }

    /// Adds a stage that calls `inspect` for each frame and passes it on. The payload is not copied.
    #[must_use]
    pub fn inspect<P: Payload>(
        self,
        name: &str,
        inspect: impl Fn(&Frame<P>) + Send + Sync + 'static,
    ) -> Self {
        self.filter(name, move |frame: &Frame<P>| {
            inspect(frame);
            true
        })
    }

    /// Adds a stage that emits what `close` makes of each window of frames. Workers and restarts share the closure.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use heqis_actors::{Frame, GraphBuilder, Payload, Window, WindowSpan, channel_out};
    ///
    /// #[derive(Payload)]
    /// struct Price(f64);
    ///
    /// fn mean(_: &WindowSpan, prices: &[Frame<Price>]) -> Price {
    ///     Price(prices.iter().map(|price| price.0).sum::<f64>() / prices.len() as f64)
    /// }
    ///
    /// let (sink, means) = channel_out::<Price>();
    /// let graph = GraphBuilder::new("means")
    ///     .source_iter("prices", [1.0, 3.0, 10.0, 20.0, 7.0].map(Price))
    ///     .window("mean", Window::tumbling(2), mean)
    ///     .output("means", sink)
    ///     .chain(&["prices", "mean", "means"])
    ///     .spawn()?;
    /// // The last window of a complete stream need not be full.
    /// assert_eq!(means.into_iter().map(|mean| mean.0).collect::<Vec<_>>(), [2.0, 15.0, 7.0]);
    /// assert!(graph.wait_blocking().is_clean());
    /// // Of each second, per key: it closes by itself, also when no further price arrives.
    /// let each_second = Window::tumbling(Duration::from_secs(1)).per_key();
    /// # drop(each_second);
    /// # Ok::<(), heqis_actors::GraphError>(())
    /// ```
    #[must_use]
    pub fn window<I: Payload, R: ClosureResult + 'static>(
        self,
        name: &str,
        window: Window,
        close: impl Fn(&WindowSpan, &[Frame<I>]) -> R + Send + Sync + 'static,
    ) -> Self {
        let (close, built) = (Arc::new(close), window.clone());
        let build = move |cx: &BuildContext| WindowStage::new(&built, close.clone(), cx);
        let mut prepared = Prepared::window(window, build);
        prepared.kind.leave_unsaved(!I::WIRE);
        self.in_code(name, prepared)
    }

    /// Adds a stage that emits what `split` returns for each frame by the port that the variant names. Workers and restarts
    /// share the closure. Each frame leaves by one port, so that the ways behind them may meet again, as in [`GraphBuilder::join`].
    #[must_use]
    pub fn split<I: Payload, O: Outputs>(
        self,
        name: &str,
        split: impl Fn(&Frame<I>) -> O + Send + Sync + 'static,
    ) -> Self {
        let split = Arc::new(split);
        self.stage_with(name, move |_| Ok(SplitFn::new(split.clone())))
    }

    /// Adds a stage with the ports `left` and `right` that emits what `join` makes of each pair of frames with the same key.
    /// Workers and restarts share the closure.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use heqis_actors::{Frame, GraphBuilder, Join, Outputs, Payload};
    ///
    /// #[derive(Payload)]
    /// struct Price(#[payload(key)] u32, f64);
    ///
    /// #[derive(Outputs)]
    /// enum By {
    ///     Low(Frame<Price>),
    ///     High(Frame<Price>),
    /// }
    ///
    /// let graph = GraphBuilder::new("spreads")
    ///     .source_iter("prices", [Price(7, 1.0), Price(7, 20.0), Price(8, 3.0), Price(8, 30.0)])
    ///     .split("by-height", |price: &Frame<Price>| match price.1 {
    ///         ..10.0 => By::Low(price.clone()),
    ///         _ => By::High(price.clone()),
    ///     })
    ///     .join("spread", Join::default(), |low: &Frame<Price>, high: &Frame<Price>| Price(low.0, high.1 - low.1))
    ///     .sink_fn("check", |spread: &Frame<Price>| assert!(spread.1 > 18.0))
    ///     .chain(&["prices", "by-height"])
    ///     .chain(&["by-height.low", "spread.left"])
    ///     .chain(&["by-height.high", "spread.right"])
    ///     .chain(&["spread", "check"]);
    /// let report = graph.run(Duration::from_secs(1))?;
    /// assert!(report.is_clean() && report.edges[3].delivered == 2);
    /// # Ok::<(), heqis_actors::GraphError>(())
    /// ```
    #[must_use]
    pub fn join<L: Payload, R: Payload, O: ClosureResult + 'static>(
        self,
        name: &str,
        options: Join,
        join: impl Fn(&Frame<L>, &Frame<R>) -> O + Send + Sync + 'static,
    ) -> Self {
        let join = Arc::new(join);
        self.stage_with(name, move |cx| {
            Ok(JoinStage::new(options, join.clone(), cx))
        })
    }

    /// Adds a sink that records a line for each frame in the file `path`, the commit log of the node: a frame is acknowledged
    /// after its line is written, and what is recorded is not processed again after a restart. A node has one commit log at
    /// most. [`read_commit_log`](crate::read_commit_log) reads the lines.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use heqis_actors::{Frame, GraphBuilder, Payload, read_commit_log};
    ///
    /// #[derive(Payload)]
    /// struct Number(u64);
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("numbers");
    /// for count in [2, 3] {
    ///     let report = GraphBuilder::new("numbers")
    ///         .source_iter("numbers", (1..=count).map(Number))
    ///         .stream("numbers", "1 and on")
    ///         .commit_log("log", &path, |number: &Frame<Number>| number.0.to_string())
    ///         .chain(&["numbers", "log"])
    ///         .run(Duration::from_secs(5))?;
    ///     assert!(report.is_clean());
    /// }
    /// // The second run has recorded what the first one had not.
    /// assert_eq!(read_commit_log(&path)?, ["1", "2", "3"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn commit_log<I: Payload>(
        self,
        name: &str,
        path: impl Into<PathBuf>,
        line: impl Fn(&Frame<I>) -> String + Send + Sync + 'static,
    ) -> Self {
        let (path, line) = (path.into(), Arc::new(line));
        self.stage_with(name, move |cx| CommitLog::open(&path, line.clone(), cx))
    }

    /// Replaces the options of the stages called `name` that were added so far, of which there must be one.
    #[must_use]
    pub fn options(mut self, name: &str, options: StageOptions) -> Self {
        if !self.stages.iter().any(|entry| entry.name == name) {
            self.unknown_options.push(name.to_owned());
        }
        for entry in &mut self.stages {
            if let (true, Some((_, of_stage))) = (entry.name == name, &mut entry.local) {
                of_stage.clone_from(&options);
            }
        }
        self
    }

    /// Connects the stages in this order, by edges with default options. The first may name an output port, and the last an
    /// input port, as in [`GraphBuilder::edge`]: `chain(&["split.up", "filter", "join.prices"])`.
    #[must_use]
    pub fn chain(self, stages: &[&str]) -> Self {
        stages.windows(2).fold(self, |graph, pair| {
            graph.edge(pair[0], pair[1], EdgeOptions::default())
        })
    }

    /// Adds this node's half of an edge between two nodes: the sending one if this node runs `from`, which was added before, and
    /// else the receiving one. Both nodes call it alike; the edge has default options, and a route derived from its ends.
    /// [`GraphBuilder::edge_out`] and [`GraphBuilder::edge_in`] take others.
    #[must_use]
    pub fn bridge<P: Payload>(self, from: &str, to: &str, bridge: BridgeOptions) -> Self {
        let is_own = |entry: &StageEntry| entry.name == stage_of(from) && entry.local.is_some();
        let route = fnv1a(format!("{from}->{to}").as_bytes()) as u32;
        let (ends, payload) = ((from, to), PayloadType::of::<P>());
        let options = EdgeOptions::default();
        match self.stages.iter().any(is_own) {
            true => self.edge_out(route, ends, payload, options, bridge),
            false => self.edge_in(route, ends, payload, options, bridge),
        }
    }

    fn shared<I: Payload, O: Payload>(
        self,
        name: &str,
        call: impl Fn(&Frame<I>, &mut Emitter<'_, O>) -> Result<(), StageError> + Send + Sync + 'static,
    ) -> Self {
        let call = Arc::new(call);
        self.stage_with(name, move |_| Ok(SharedFn::new(call.clone())))
    }

    fn in_code(self, name: &str, prepared: Prepared) -> Self {
        self.prepared(name, prepared, StageOptions::default())
    }
}

impl Wiring {
    /// Starts the actor of an output, and gives its edges to the receiver.
    pub(super) fn start_output(
        &mut self,
        name: &str,
        slot: &Arc<OutputEnd>,
        bell: Arc<Doorbell>,
        arbiter: &ArbiterHandle,
        stats: &StageStats,
    ) -> Result<(), GraphError> {
        let own = Arc::<Doorbell>::default();
        let edges = self.inlets.get(name, 0);
        for edge in &edges {
            edge.observe_end(own.clone());
        }
        let link = Arc::new(OutputLink {
            edges,
            clock: self.graph.clock.clone(),
            stats: stats.clone(),
            bell,
            actor: own.clone(),
            held: self.control.held_outside(),
        });
        if !slot.attach(link.clone()) {
            return Err(one_worker(name));
        }
        let life = self.control.enlist(name, own.clone());
        let setup = OutputSetup {
            slot: slot.clone(),
            link,
            control: self.control.clone(),
            life,
            bell: own,
        };
        let addr = OutputActor::start_in_arbiter(arbiter, |_| OutputActor::new(setup));
        self.add_started(name.to_owned(), addr);
        Ok(())
    }
}

/// The fault of an end of a channel that is started twice.
pub(super) fn one_worker(name: &str) -> GraphError {
    let reason = StageError::config("the end of a channel has one worker");
    GraphError::Build(vec![(name.to_owned(), reason)])
}
