//! Decisions that are made from several frames: the journal of a node behind windows commits every source item once, also
//! where both nodes are killed again and again.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use heqis_actors::testing::StageTest;
use heqis_actors::{
    BridgeOptions, BuildContext, Clock, Collector, Delivery, EdgeOptions, Frame, GraphBuilder,
    Merge, Next, Origins, PayloadType, Source, Stage, StageError, StageOptions, Window, WindowSpan,
};
use heqis_compute::Journal;
use heqis_compute::journal::read;
use heqis_data::journal::check::verify;
use heqis_data::journal::export;
use heqis_messages::DecisionMessage;
use heqis_quant::decision::journal::{EntryId, ItemRun};
use serde::{Deserialize, Serialize};
use serde_json::json;
use support::{build, config, context, count, decisions, framed};

const FILE: &str = "decisions.jsonl";

/// A decision made from the frames at `done`, and from those at `kept` as well.
fn merged(done: &[u64], kept: &[u64], tag: u64) -> Frame<DecisionMessage> {
    let payload = DecisionMessage::clone(&decisions(1)[0]);
    let framed = |at: &[u64]| -> Vec<_> {
        let frames = at.iter().map(|&at| framed(at, payload.clone()));
        frames.collect()
    };
    let (done, kept) = (framed(done), framed(kept));
    let merge = Merge::of(done.iter().map(Frame::head)).keeping(kept.iter().map(Frame::head));
    let mut collector = Collector::new(Clock::virtual_at(0));
    let merge = merge.tag(tag);
    collector.emitter().emit_merged(merge, payload.clone());
    collector.take().remove(0)
}

fn open(dir: &Path) -> (StageTest<Journal>, BuildContext) {
    let cx = context(dir);
    (build(&cx, json!({ "path": FILE })), cx)
}

/// The numbers of what a restarted journal emits again.
fn replayed(journal: &mut StageTest<Journal>) -> Vec<(u64, Origins)> {
    let mut collector = Collector::new(Clock::virtual_at(0));
    journal.stage.resume(&mut collector.emitter()).unwrap();
    let emitted: Vec<Frame<DecisionMessage>> = collector.take();
    let numbered = emitted
        .iter()
        .map(|frame| (frame.number, frame.head().origins()));
    numbered.collect()
}

#[test]
fn a_restarted_journal_knows_every_item_of_a_merged_decision() {
    let dir = tempfile::tempdir().unwrap();
    let frames = [
        framed(1, DecisionMessage::clone(&decisions(1)[0])),
        merged(&[2, 3, 4], &[], 0),
        merged(&[], &[5, 6], 1),
        merged(&[5], &[6, 7], 0),
        merged(&[], &[8, 9], 2),
    ];
    let (mut journal, _) = open(dir.path());
    journal.batch(&frames).unwrap();
    drop(journal);
    // Nothing is known to be delivered.
    std::fs::remove_file(dir.path().join("decisions.jsonl.delivered")).unwrap();
    std::fs::write(
        dir.path().join("decisions.jsonl.delivered"),
        "{\"delivered\":1}\n",
    )
    .unwrap();

    let (mut journal, cx) = open(dir.path());
    assert_eq!(cx.committed().runs(), [(support::STREAM, 1, 5)]);
    let again = (2..).zip(&frames[1..]);
    let again: Vec<_> = again
        .map(|(n, frame)| (n, frame.head().origins()))
        .collect();
    assert_eq!(replayed(&mut journal), again);
    journal.batch(&frames).unwrap();
    assert_eq!(count(&cx, "duplicate"), 5);
    // Made from the same items as one of those, and another one.
    journal
        .batch(&[merged(&[], &[8, 9], 3), merged(&[6, 7], &[], 0)])
        .unwrap();
    journal.stage.finish().unwrap();
    assert_eq!(count(&cx, "written"), 2);

    let path = dir.path().join(FILE);
    let contents = read(&path).unwrap();
    assert_eq!((contents.closed, contents.decisions.len()), (true, 7));
    assert_eq!(verify(&path).unwrap().faults, Vec::<String>::new());
    let mut exported = Vec::new();
    export::journal(&path, export::Days::default(), &mut exported).unwrap();
    assert!(exported == std::fs::read(&path).unwrap());
}

#[test]
fn a_decision_without_any_item_or_with_too_many_runs_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    let apart: Vec<u64> = (1..=8193).map(|n| 2 * n).collect();
    for (frame, expected) in [
        (merged(&[], &[], 0), "made from no source item"),
        (merged(&apart, &[], 0), "at most 8192 runs"),
    ] {
        match journal.process(&frame) {
            Err(StageError::Refused(rule)) => assert!(rule.contains(expected), "{rule}"),
            other => panic!("{other:?}"),
        }
    }
    // What is at the limit can be read back.
    journal.batch(&[merged(&apart[1..], &[], 0)]).unwrap();
    drop(journal);
    assert_eq!(read(&dir.path().join(FILE)).unwrap().decisions.len(), 1);
    open(dir.path());
}

/// What makes this program a node of a run.
const NODE: &str = "HEQIS_MERGED_JOURNAL_NODE";
/// Time between two items, nanoseconds.
const EVERY_NS: i64 = 400_000;
const ITEMS: u64 = 5000;

/// Parameters of [`Items`].
#[derive(Clone, Debug)]
struct ItemsConfig(&'static str);

/// Decisions one after another, at once where the items were processed before.
struct Items {
    message: DecisionMessage,
    made: u64,
    due_ns: i64,
    cx: BuildContext,
}

impl Source for Items {
    type Config = ItemsConfig;
    type Out = DecisionMessage;
    const REPLAYABLE: bool = true;

    fn identity(config: &ItemsConfig, _: &Path) -> Result<Option<u64>, StageError> {
        Ok(Some(config.0.len() as u64))
    }

    fn build(_: &ItemsConfig, cx: &BuildContext) -> Result<Self, StageError> {
        Ok(Self {
            message: DecisionMessage::clone(&decisions(1)[0]),
            made: 0,
            due_ns: 0,
            cx: cx.clone(),
        })
    }

    fn next(&mut self) -> Result<Next<DecisionMessage>, StageError> {
        if self.made == ITEMS {
            return Ok(Next::End);
        }
        let now_ns = self.cx.clock().now_ns();
        if !self.cx.is_replaying() {
            if now_ns < self.due_ns {
                return Ok(Next::At(self.due_ns));
            }
            self.due_ns = now_ns + EVERY_NS;
        }
        self.made += 1;
        self.message.decision.close = self.made as f64;
        Ok(Next::Item(self.message.clone()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Scene {
    /// Windows of ten that move by five, of one source.
    Overlapping,
    /// Windows of ten of two sources, in the order of their arrival.
    TwoSources,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Node {
    feeds: bool,
    scene: Scene,
    folder: PathBuf,
}

impl Node {
    fn graph(&self) -> GraphBuilder {
        let sources: &[&str] = match self.scene {
            Scene::Overlapping => &["left"],
            Scene::TwoSources => &["left", "right"],
        };
        let window = match self.scene {
            Scene::Overlapping => Window::sliding(10, 5),
            Scene::TwoSources => Window::tumbling(10),
        };
        let sum = |_: &WindowSpan, frames: &[Frame<DecisionMessage>]| {
            let mut message = DecisionMessage::clone(&frames[0]);
            message.decision.close = frames.iter().map(|one| one.decision.close).sum();
            message
        };
        let edge = EdgeOptions::new().capacity(64usize);
        let mut graph =
            GraphBuilder::new("merged").node(if self.feeds { "feed" } else { "decide" });
        for source in sources.iter().copied() {
            graph = match self.feeds {
                true => graph.source::<Items>(source, ItemsConfig(source), StageOptions::default()),
                false => graph.remote(source),
            };
        }
        graph = match self.feeds {
            true => graph.remote("sums").remote("journal"),
            false => {
                let path = self.folder.join(FILE);
                // Segments of the least size, so that indexes count too.
                let parameters = config(json!({ "path": path, "segment_bytes": 65_536 }));
                graph
                    .window("sums", window, sum)
                    .stage::<Journal>("journal", parameters, StageOptions::default())
                    .edge("sums", "journal", edge)
            }
        };
        for (route, from) in (0..).zip(sources.iter().copied()) {
            let endpoint = format!("ipc://{}", self.folder.join(from).display());
            let bridge = BridgeOptions::new(endpoint.parse().unwrap())
                .credit(16usize)
                .delivery(Delivery::AtLeastOnce);
            let payload = PayloadType::of::<DecisionMessage>();
            let ends = (from, "sums");
            graph = match self.feeds {
                true => graph.edge_out(route, ends, payload, edge, bridge),
                false => graph.edge_in(route, ends, payload, edge, bridge),
            };
        }
        graph
    }

    fn start(&self) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["node", "--exact", "--ignored", "--nocapture"])
            .env(NODE, serde_json::to_string(self).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }
}

#[test]
#[ignore = "the other tests of this file run it as a process of its own"]
fn node() {
    let node: Node = serde_json::from_str(&std::env::var(NODE).unwrap()).unwrap();
    let report = node.graph().run(Duration::from_secs(5)).unwrap();
    assert!(report.books_close(), "{report:?}");
    std::process::exit(i32::from(report.left));
}

/// Processes that end with the test.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Kills both nodes in turn and returns the decisions of the journal.
fn run(scene: Scene, folder: &Path) -> Vec<(EntryId, f64)> {
    let nodes = [true, false].map(|feeds| Node {
        feeds,
        scene,
        folder: folder.to_owned(),
    });
    let running = &mut Running(nodes.iter().map(Node::start).collect());
    for pause_ms in [90, 140, 60, 110, 130] {
        for which in [1, 0, 1] {
            std::thread::sleep(Duration::from_millis(pause_ms));
            running.0[which].kill().unwrap();
            running.0[which].wait().unwrap();
            running.0[which] = nodes[which].start();
        }
    }
    let begun = Instant::now();
    let mut alone = Instant::now();
    let ended = |child: &mut Child| child.try_wait().unwrap().is_some_and(|end| end.success());
    loop {
        match [0, 1].map(|which| ended(&mut running.0[which])) {
            [true, true] => break,
            [false, false] => alone = Instant::now(),
            // A node that was killed in its last moments needs the other one once more.
            [first, _] if alone.elapsed() > Duration::from_secs(3) => {
                let which = usize::from(!first);
                running.0[which] = nodes[which].start();
                alone = Instant::now();
            }
            _ => {}
        }
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "{scene:?} does not end"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let path = folder.join(FILE);
    assert_eq!(verify(&path).unwrap().faults, Vec::<String>::new());
    let contents = read(&path).unwrap();
    assert!(contents.closed);
    let decisions = contents.decisions.into_iter();
    decisions
        .map(|(id, decision)| (id, decision.close))
        .collect()
}

/// How often each source item is completed.
fn completed(decisions: &[(EntryId, f64)]) -> BTreeMap<(u64, u64), usize> {
    let mut times = BTreeMap::new();
    for run in decisions
        .iter()
        .flat_map(|(id, _)| &id.made_from.as_ref().unwrap().done)
    {
        for position in run.first..=run.last {
            *times.entry((run.stream, position)).or_default() += 1;
        }
    }
    times
}

#[test]
fn overlapping_windows_in_front_of_a_journal_are_those_of_an_undisturbed_run() {
    let folder = tempfile::tempdir().unwrap();
    let decisions = run(Scene::Overlapping, folder.path());
    let sums: Vec<f64> = decisions.iter().map(|(_, sum)| *sum).collect();
    let items: Vec<u64> = (1..=ITEMS).collect();
    let windows = items.windows(10).step_by(5);
    let mut expected: Vec<f64> = windows
        .map(|window| window.iter().sum::<u64>() as f64)
        .collect();
    // At the end the last five items are a window without further ones.
    expected.extend(
        (decisions.len() > expected.len())
            .then(|| items[items.len() - 5..].iter().sum::<u64>() as f64),
    );
    assert_eq!(sums, expected);
    let first = decisions[0].0.made_from.as_ref().unwrap();
    let stream = decisions[0].0.stream;
    let run = |first, last| ItemRun {
        stream,
        first,
        last,
    };
    assert_eq!(
        (&first.done[..], &first.kept[..]),
        (&[run(1, 5)][..], &[run(6, 10)][..])
    );
    let completed = completed(&decisions);
    assert!(completed.values().all(|&times| times == 1), "{completed:?}");
}

#[test]
fn windows_of_two_sources_in_front_of_a_journal_complete_every_item_once() {
    let folder = tempfile::tempdir().unwrap();
    let decisions = run(Scene::TwoSources, folder.path());
    let completed = completed(&decisions);
    assert_eq!(completed.len() as u64, 2 * ITEMS);
    assert!(completed.values().all(|&times| times == 1), "{completed:?}");
    let sum: f64 = decisions.iter().map(|(_, sum)| sum).sum();
    assert_eq!(sum, (ITEMS * (ITEMS + 1)) as f64);
    assert_eq!(decisions.len() as u64, 2 * ITEMS / 10);
}
