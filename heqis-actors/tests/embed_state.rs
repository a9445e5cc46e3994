//! Saved states of graphs built in code: what is not saved or not restored is said, and nothing counts twice.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heqis_actors::{
    ChannelSource, Emitter, Event, FaultKind, Frame, GraphBuilder, GraphError, NodeReport, Payload,
    Snapshot, Stage, StageError, StageOptions, StateOptions, Window, WindowSpan, channel,
};

const DRAIN: Duration = Duration::from_secs(20);

#[derive(Clone, Payload)]
struct Item(#[payload(key)] u64, u64);

#[derive(Clone, Payload)]
#[payload(local)]
struct Kept(u64);

/// Counts the items of each key, and emits the count.
struct Counts(BTreeMap<u64, u64>, bool);

impl Stage for Counts {
    type Config = ();
    type In = Item;
    type Out = Item;

    fn process(
        &mut self,
        item: &Frame<Item>,
        out: &mut Emitter<'_, Item>,
    ) -> Result<(), StageError> {
        let count = self.0.entry(item.0).or_default();
        *count += 1;
        out.emit(item.head(), Item(item.0, *count));
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        assert!(!self.1, "no snapshot");
        Snapshot::of(&self.0)
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StageError> {
        self.0 = Snapshot::read(state)?;
        Ok(())
    }
}

type Seen = Arc<Mutex<BTreeMap<u64, u64>>>;

/// Counts by key, with the last counts in `seen`.
fn counts(graph: GraphBuilder, path: &Path, seen: &Seen, workers: usize) -> GraphBuilder {
    let seen = seen.clone();
    graph
        .stage_with("counts", |_| Ok(Counts(BTreeMap::new(), false)))
        .options("counts", StageOptions::new().workers(workers))
        .sink_fn("out", move |item: &Frame<Item>| {
            seen.lock().unwrap().insert(item.0, item.1);
        })
        .chain(&["in", "counts", "out"])
        .state(StateOptions::new(path))
}

fn live(source: ChannelSource<Item>) -> GraphBuilder {
    GraphBuilder::new("counts").input("in", source)
}

/// Runs a graph until its stop, and returns the report and why states were lost.
fn stopped(graph: GraphBuilder) -> (NodeReport, String) {
    let events = graph.events();
    let graph = graph.spawn().unwrap();
    // A source that was stopped before its first item has nothing to save.
    let flows = || graph.report().edges[1].sent > 0;
    for _ in (0..2_000).take_while(|_| !flows()) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let report = graph.stop_blocking(DRAIN);
    let lost = events.into_iter().filter_map(|event| match event {
        Event::StateLost { reason, .. } => Some(reason),
        _ => None,
    });
    (report, lost.collect::<Vec<_>>().join("; "))
}

/// Counts ten items of ten keys that a program sends.
fn ten(path: &Path, workers: usize) -> (Vec<u64>, String) {
    let (sender, source) = channel(16);
    (0..10).for_each(|key| sender.send(Item(key, 0)).unwrap());
    let seen = Seen::default();
    let (report, lost) = stopped(counts(live(source), path, &seen, workers));
    assert!(report.is_clean(), "{report:?}");
    let seen = seen.lock().unwrap().values().copied().collect();
    (seen, lost)
}

#[test]
fn a_state_of_another_number_of_workers_is_not_restored_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    assert_eq!(ten(&path, 2), (vec![1; 10], String::new()));
    assert_eq!(ten(&path, 2), (vec![2; 10], String::new()));
    let (seen, lost) = ten(&path, 1);
    assert_eq!(seen, [1; 10]);
    assert!(lost.contains("'counts' had 2 workers, now 1"), "{lost}");
    assert_eq!(ten(&path, 1), (vec![2; 10], String::new()));
}

#[test]
fn items_that_are_made_again_do_not_count_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let seen = Seen::default();
    let graph = || {
        let items = (0..10)
            .map(|key| Item(key, 0))
            .chain(std::iter::repeat(Item(10, 0)));
        counts(
            GraphBuilder::new("counts").source_iter("in", items),
            &path,
            &seen,
            1,
        )
    };
    let warnings: Vec<_> = graph().check().iter().map(|fault| fault.kind).collect();
    assert_eq!(warnings, [FaultKind::StreamWithoutIdentity]);
    for run in ["first", "second"] {
        let (report, lost) = stopped(graph());
        assert!(!report.resumable && report.left, "{report:?}");
        let expected = if run == "first" {
            ""
        } else {
            "source 'in' makes its items again"
        };
        assert!(
            lost.contains(expected) && lost.is_empty() == expected.is_empty(),
            "{lost}"
        );
        assert!(
            seen.lock()
                .unwrap()
                .range(..10)
                .all(|(_, count)| *count == 1)
        );
    }
    let (report, lost) = stopped(graph().stream("in", "items"));
    assert!(report.resumable, "{report:?}");
    assert!(lost.contains("other items"), "{lost}");
}

#[test]
fn a_stage_that_cannot_be_saved_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let items = || {
        GraphBuilder::new("g")
            .source_iter("in", std::iter::repeat(Kept(0)))
            .stream("in", 1)
    };
    let graph = |graph: GraphBuilder| {
        graph
            .sink_fn("out", |_: &Frame<Kept>| ())
            .chain(&["in", "x", "out"])
            .state(StateOptions::new(folder.path().join("state")))
    };
    for (graph, warned) in [
        (
            graph(
                items().stage_fn("x", |kept: &Frame<Kept>, out: &mut Emitter<'_, Kept>| {
                    out.emit(kept.head(), Kept(kept.0));
                    Ok(())
                }),
            ),
            true,
        ),
        (
            graph(items().window(
                "x",
                Window::tumbling(2),
                |_: &WindowSpan, _: &[Frame<Kept>]| Kept(0),
            )),
            true,
        ),
        (
            graph(items().map("x", |kept: &Frame<Kept>| Kept(kept.0))),
            false,
        ),
    ] {
        let kinds: Vec<_> = graph.check().iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds, [FaultKind::StateNotSaved][..usize::from(warned)]);
        let (report, lost) = stopped(graph);
        let failure = report.failure.unwrap_or_default();
        assert_eq!(
            failure.contains("not saved: stage 'x'"),
            warned,
            "{failure}"
        );
        assert_eq!(lost.contains("not saved: stage 'x'"), warned, "{lost}");
    }
}

#[test]
fn a_state_that_cannot_be_written_or_taken_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "a file").unwrap();
    let graph = |source, path: &Path, panics| {
        live(source)
            .stage_with("counts", move |_| Ok(Counts(BTreeMap::new(), panics)))
            .sink_fn("out", |_: &Frame<Item>| ())
            .chain(&["in", "counts", "out"])
            .state(StateOptions::new(path))
    };
    for path in [Path::new(""), folder.path(), &file.join("in-a-file")] {
        let error = graph(channel(1).1, path, false).spawn().unwrap_err();
        assert!(matches!(error, GraphError::State { .. }), "{error}");
    }
    let (sender, source) = channel::<Item>(1);
    let path = folder.path().join("state");
    let one = counts(live(source), &path, &Seen::default(), 1)
        .spawn()
        .unwrap();
    let error = graph(channel(1).1, &path, false)
        .spawn()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("another graph saves its state there"),
        "{error}"
    );
    drop(sender);
    assert!(one.wait_blocking().is_clean());
    let (sender, source) = channel(1);
    sender.send(Item(0, 0)).unwrap();
    let (report, lost) = stopped(graph(source, &path, true));
    assert!(
        report.failure.unwrap().contains("state") && lost.contains("'counts'"),
        "{lost}"
    );
}
