//! Runs one kind in a graph: what feeds it before it, something that records its frames after it.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heqis_actors::{
    AnyFrame, BuildContext, EdgeOptions, Emitter, Ending, Frame, GraphBuilder, Inputs, NodeReport,
    Nothing, Payload, PortContract, Prepared, Snapshot, Stage, StageError, StageKind, StageOptions,
    StageReport, StateOptions, Tap, Tensor,
};
use heqis_messages::{
    BarMessage, CrossSection, DecisionMessage, FeatureRow, Features, PredictionMessage,
};
use heqis_quant::Bar;
use heqis_runtime::registry::registry;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cases::{self, SourceCase, StageCase};
use crate::live::{Live, Progress};

/// The repository, where data and models are.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where the items of a source come from.
pub(crate) enum Feed {
    /// From its parameters.
    None,
    /// From outside.
    Live(Live),
}

/// A frame as it left the kind under test.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recorded {
    pub(crate) stream: u64,
    pub(crate) position: u64,
    /// Distinguishes frames that are made from the same items.
    pub(crate) tag: u64,
    pub(crate) meta: Vec<u8>,
    pub(crate) tensor: Option<Tensor>,
}

impl Recorded {
    fn of<P: Payload>(frame: &AnyFrame) -> Self {
        let payload = frame.payload::<P>().unwrap();
        let mut meta = Vec::new();
        payload.encode(&mut meta).unwrap();
        let origin = frame.head().origin;
        Self {
            stream: origin.stream,
            position: origin.position,
            tag: frame.head().origins().tag(),
            meta,
            tensor: payload.tensor().cloned(),
        }
    }
}

/// An edge that holds few frames, so that a graph that is stopped is in mid-stream.
fn short() -> EdgeOptions {
    EdgeOptions::new().capacity(8)
}

/// A graph with one kind under test, before it runs.
pub(crate) struct Run {
    /// Kind, and what replaces the registry's of that name; in the order of the graph.
    stages: Vec<(&'static str, Prepared)>,
    /// The kind under test.
    tested: &'static str,
    /// Payload that leaves it.
    output: Option<&'static str>,
    directory: PathBuf,
    artefacts: &'static [&'static str],
    saves: bool,
    stop_after: Option<u64>,
    params: Value,
    live: Option<(Live, Value)>,
}

/// What a run gave.
pub(crate) struct Ended {
    pub(crate) report: NodeReport,
    pub(crate) frames: Vec<Recorded>,
    pub(crate) artefacts: Vec<Vec<u8>>,
}

fn prepared(kind: &StageKind, params: Value) -> Prepared {
    kind.prepare(params, &root())
        .unwrap_or_else(|faults| panic!("{}: {faults:?}", kind.name))
}

impl Run {
    pub(crate) fn of_stage(case: &StageCase, directory: &Path) -> Self {
        let (registry, cases) = (registry(), cases::stages());
        let mut stages = Vec::new();
        let mut kind = case.kind;
        let source = loop {
            let Some(entry) = cases.iter().find(|entry| entry.kind == kind) else {
                break kind;
            };
            let params = (entry.params)(directory);
            stages.push((kind, prepared(registry.kind(kind).unwrap(), params)));
            kind = entry.after;
        };
        let sources = cases::sources();
        let entry = sources.iter().find(|entry| entry.kind == source).unwrap();
        stages.push((
            source,
            prepared(registry.kind(source).unwrap(), (entry.params)()),
        ));
        stages.reverse();
        if let Some(into) = case.into {
            let entry = cases.iter().find(|entry| entry.kind == into).unwrap();
            let params = (entry.params)(directory);
            stages.push((into, prepared(registry.kind(into).unwrap(), params)));
        }
        Self {
            stages,
            tested: case.kind,
            // A ring buffer passes on what it takes.
            output: match case.is_ring() {
                true => registry.kind(case.after).unwrap().output(),
                false => registry.kind(case.kind).unwrap().output(),
            },
            directory: directory.to_owned(),
            artefacts: case.artefacts,
            saves: false,
            stop_after: None,
            params: (case.params)(directory),
            live: None,
        }
    }

    pub(crate) fn of_source(case: &SourceCase, directory: &Path) -> Self {
        let (kind, mut params) = (registry().kind(case.kind).unwrap().clone(), (case.params)());
        let mut run = Self {
            stages: Vec::new(),
            tested: case.kind,
            output: kind.output(),
            directory: directory.to_owned(),
            artefacts: &[],
            saves: false,
            stop_after: None,
            params: params.clone(),
            live: None,
        };
        match &case.feed {
            Feed::None => run.stages.push((case.kind, prepared(&kind, params))),
            Feed::Live(live) => {
                params.as_object_mut().unwrap();
                run.live = Some((*live, params));
            }
        }
        run
    }

    /// Puts another kind in the place of the one under test.
    pub(crate) fn replaced(mut self, kind: StageKind) -> Self {
        let params = self.params.clone();
        for (name, stage) in &mut self.stages {
            if *name == self.tested {
                *stage = prepared(&kind, params.clone());
            }
        }
        self
    }

    /// Saves the state of the graph in the directory, and continues from it.
    pub(crate) fn saving(mut self) -> Self {
        self.saves = true;
        self
    }

    /// Stops the graph when the kind under test, or its source, has had this many frames.
    pub(crate) fn stopping_after(mut self, frames: u64) -> Self {
        self.stop_after = Some(frames);
        self
    }

    /// Runs the graph to its end.
    pub(crate) fn finish(mut self) -> Ended {
        let _ = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_test_writer()
            .try_init();
        let progress = Progress::default();
        let mut stop_after = self.stop_after;
        let feed = self.live.take().map(|(live, mut params)| {
            // A live source has no end.
            stop_after.get_or_insert(live.bars());
            let feed = live.start(&mut params, progress.clone());
            let kind = registry().kind(self.tested).unwrap().clone();
            self.stages.push((self.tested, prepared(&kind, params)));
            feed
        });
        let records = Arc::new(Mutex::new(Vec::new()));
        let mut graph = GraphBuilder::new("compliance").base(root());
        if self.saves {
            graph = graph.state(
                StateOptions::new(self.directory.join("state")).every(Duration::from_secs(3600)),
            );
        }
        let names: Vec<&str> = self.stages.iter().map(|(name, _)| *name).collect();
        for (name, stage) in &self.stages {
            graph = graph.prepared(name, stage.clone(), StageOptions::default());
        }
        for pair in names.windows(2) {
            graph = graph.edge(&first_port(pair[0]), pair[1], short());
        }
        let at = names.iter().position(|name| *name == self.tested).unwrap();
        let follower = match (self.output, names.get(at + 1)) {
            (None, _) => None,
            (Some(_), Some(follower)) => Some((*follower).to_owned()),
            (Some(payload), None) => {
                graph = graph
                    .prepared("recorder", discard(payload), StageOptions::default())
                    .edge(&first_port(self.tested), "recorder", short());
                Some("recorder".to_owned())
            }
        };
        // Sources and ring buffers have no tap; their frames are counted where they are recorded.
        let counts_output = at == 0 || self.tested == "ring-buffer";
        let count = {
            let (seen, handle) = (progress.seen.clone(), graph.stop_handle());
            move || {
                if Some(seen.fetch_add(1, Ordering::AcqRel) + 1) == stop_after {
                    handle.stop();
                    // The order is carried out by another thread; the source must not end before it arrives.
                    std::thread::sleep(Duration::from_millis(400));
                }
            }
        };
        if let Some(follower) = &follower {
            let (records, payload) = (records.clone(), self.output.unwrap());
            let count = counts_output.then(|| count.clone());
            graph = graph.tap(
                follower,
                Tap::new(move |frame| {
                    records.lock().unwrap().push(recorded(payload, frame));
                    if let Some(count) = &count {
                        count();
                    }
                }),
            );
        }
        if !counts_output {
            graph = graph.tap(self.tested, Tap::new(move |_| count()));
        }
        let report = graph.run(Duration::from_secs(60)).unwrap();
        progress.over.store(true, Ordering::Release);
        if let Some(feed) = feed {
            feed.join().unwrap();
        }
        let read = |name: &&str| std::fs::read(self.directory.join(name)).unwrap();
        let frames = std::mem::take(&mut *records.lock().unwrap());
        Ended {
            report,
            frames,
            artefacts: self.artefacts.iter().map(read).collect(),
        }
    }
}

/// Where the frames of a kind leave: of several ports by the first.
fn first_port(kind: &str) -> String {
    match registry().kind(kind).unwrap().outputs {
        [port, ..] if !port.name.is_empty() => format!("{kind}.{}", port.name),
        _ => kind.to_owned(),
    }
}

impl Ended {
    /// Every book closes, and nothing is lost for good.
    pub(crate) fn check_books(&self) {
        assert!(self.report.failure.is_none(), "{:?}", self.report.failure);
        for edge in &self.report.edges {
            assert!(edge.closes() && edge.in_flight == 0, "{edge:?}");
            assert_eq!(edge.duplicate, 0, "{edge:?}");
            let is_lost = self.report.resumable && self.report.lost_on(edge) > 0;
            assert!(!is_lost, "{edge:?}");
        }
    }

    /// Each item leads to one frame at most, in the order of the items; of several frames of the same items only the last one
    /// has no tag.
    pub(crate) fn check_order(&self) {
        let mut last = BTreeMap::new();
        for frame in &self.frames {
            let tag = if frame.tag == 0 { u64::MAX } else { frame.tag };
            let before = last.insert(frame.stream, (frame.position, tag));
            assert!(
                before.is_none_or(|before| before < (frame.position, tag)),
                "position {} after {before:?}",
                frame.position
            );
        }
    }

    pub(crate) fn stage(&self, name: &str) -> &StageReport {
        let mut stages = self.report.stages.iter();
        stages.find(|stage| stage.stage == name).unwrap()
    }

    /// Frames that the edge into a stage delivered.
    pub(crate) fn taken_by(&self, name: &str) -> u64 {
        let suffix = format!("->{name}");
        let edges = self.report.edges.iter();
        let into = edges.filter(|edge| edge.edge.ends_with(&suffix));
        into.map(|edge| edge.delivered).sum()
    }

    /// The bars that were recorded.
    pub(crate) fn bars(&self) -> impl Iterator<Item = Bar> {
        self.frames.iter().map(|frame| {
            BarMessage::decode(&frame.meta, Tensor::default())
                .unwrap()
                .0
        })
    }
}

macro_rules! payloads {
    ($($payload:ty),*) => {
        /// A stage that drops frames of a payload.
        fn discard(payload: &str) -> Prepared {
            match payload {
                $(<$payload>::NAME => prepared(&StageKind::stage::<Discard<$payload>>(), json!({})),)*
                other => panic!("add the payload `{other}` to the list in {}", file!()),
            }
        }

        fn recorded(payload: &str, frame: &AnyFrame) -> Recorded {
            match payload {
                $(<$payload>::NAME => Recorded::of::<$payload>(frame),)*
                other => panic!("add the payload `{other}` to the list in {}", file!()),
            }
        }
    };
}

payloads!(
    BarMessage,
    FeatureRow,
    Features,
    PredictionMessage,
    CrossSection,
    DecisionMessage
);

/// Parameters of [`Discard`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParams {}

/// Drops what it takes.
struct Discard<P>(PhantomData<fn(P)>);

impl<P: Payload> Stage for Discard<P> {
    type Config = NoParams;
    type In = P;
    type Out = Nothing;
    const KIND: &'static str = "discard";
    const ABOUT: &'static str = "Drops what it takes.";

    fn build(_: &NoParams, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self(PhantomData))
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }

    fn process(&mut self, _: &Frame<P>, _: &mut Emitter<'_, Nothing>) -> Result<(), StageError> {
        Ok(())
    }
}

/// The frame at which [`FailsOnce`] fails.
const FAILS_AT: u64 = 100;

/// A stage as it is, but for one failure of its first build.
pub(crate) struct FailsOnce<S> {
    stage: S,
    /// Frames of the first build; `None` for later ones.
    taken: Option<u64>,
}

impl<S: Stage> Stage for FailsOnce<S> {
    type Config = S::Config;
    type In = S::In;
    type Out = S::Out;
    const KIND: &'static str = S::KIND;
    const ABOUT: &'static str = S::ABOUT;
    const BLOCKING: bool = S::BLOCKING;
    const COMMIT_LOG: bool = S::COMMIT_LOG;
    const OUTPUT_OPTIONAL: bool = S::OUTPUT_OPTIONAL;
    const TAKES_WARM_UP: bool = S::TAKES_WARM_UP;
    const RECOVERS: bool = S::RECOVERS;
    const ROUTES: bool = S::ROUTES;
    const HOLDS_FRAMES: bool = S::HOLDS_FRAMES;

    fn check(config: &S::Config, base: &Path) -> Vec<String> {
        S::check(config, base)
    }

    fn contract(config: &S::Config, base: &Path) -> PortContract {
        S::contract(config, base)
    }

    fn build(config: &S::Config, cx: &BuildContext) -> Result<Self, StageError> {
        let builds = cx.counter("builds");
        builds.inc();
        Ok(Self {
            stage: S::build(config, cx)?,
            taken: (builds.get() == 1).then_some(0),
        })
    }

    fn recover(&mut self, record: &AnyFrame) {
        self.stage.recover(record);
    }

    fn resume(&mut self, out: &mut Emitter<'_, S::Out>) -> Result<(), StageError> {
        self.stage.resume(out)
    }

    fn snapshot(&self) -> Snapshot {
        self.stage.snapshot()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StageError> {
        self.stage.restore(state)
    }

    fn process(
        &mut self,
        frame: &<S::In as Inputs>::Frame,
        out: &mut Emitter<'_, S::Out>,
    ) -> Result<(), StageError> {
        if let Some(taken) = &mut self.taken {
            *taken += 1;
            if *taken == FAILS_AT {
                return Err(StageError::failed("a failure on purpose"));
            }
        }
        self.stage.process(frame, out)
    }

    fn flush(&mut self, out: &mut Emitter<'_, S::Out>) -> Result<(), StageError> {
        self.stage.flush(out)
    }

    fn drain(&mut self, ending: Ending, out: &mut Emitter<'_, S::Out>) -> Result<(), StageError> {
        self.stage.drain(ending, out)
    }

    fn finish(&mut self) -> Result<(), StageError> {
        self.stage.finish()
    }
}
