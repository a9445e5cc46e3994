//! What every stage kind and every source must keep, asserted once and run over all of the registry.
//!
//! - **Order**: frames leave in the order of the items that they derive from, each item at most once.
//! - **Counters and books**: every frame that a stage takes is emitted or counted; every book closes with nothing in flight.
//! - **Repeatability**: two runs over the same items give the same frames, byte for byte.
//! - **Restart after failure**: a stage that fails once is rebuilt; no frame is lost or repeated.
//! - **Drain**: a graph that is stopped in mid-stream finishes what is under way.
//! - **Snapshot and restore**: a run that is stopped and continued from its saved state gives the frames of one run.
//!
//! A kind of the registry that has no entry in [`cases::stages`] or [`cases::sources`] fails the test, and so does a stage
//! without `snapshot`.
#![allow(clippy::unwrap_used, missing_docs)]

mod cases;
mod harness;
mod live;

use std::collections::BTreeSet;

use cases::{SourceCase, StageCase};
use harness::{Feed, Run};
use heqis_runtime::registry::registry;

/// Frames after which a run is stopped in mid-stream.
const STOP_AFTER: u64 = 120;

#[test]
fn every_kind_of_the_registry_has_an_entry() {
    let registry = registry();
    let kinds: BTreeSet<&str> = registry.kinds().map(|kind| kind.name).collect();
    let stages: Vec<&str> = cases::stages().iter().map(|case| case.kind).collect();
    let sources: Vec<&str> = cases::sources().iter().map(|case| case.kind).collect();
    let is_source = |kind: &str| registry.kind(kind).unwrap().is_source();
    let entries: BTreeSet<&str> = stages.iter().chain(&sources).copied().collect();
    let missing: Vec<String> = kinds
        .difference(&entries)
        .map(|kind| match is_source(kind) {
            true => format!("`{kind}` in `sources`"),
            false => format!("`{kind}` in `stages`"),
        })
        .collect();
    let surplus: Vec<&str> = entries.difference(&kinds).copied().collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "heqis-runtime/tests/compliance/cases.rs: entries that are missing: [{}]; entries without a kind in the registry: \
         {surplus:?}",
        missing.join(", ")
    );
    assert!(
        sources.iter().all(|kind| is_source(kind)) && !stages.iter().any(|kind| is_source(kind)),
        "heqis-runtime/tests/compliance/cases.rs: a source is in `stages`, or a stage in `sources`"
    );
    // Without its feed, a live source would wait a minute for bars.
    each_source(|_| {});
}

fn each_stage(check: impl Fn(&StageCase)) {
    for case in cases::stages() {
        check(&case);
    }
}

fn each_source(check: impl Fn(&SourceCase)) {
    for case in cases::sources() {
        assert_eq!(
            case.is_replayable(),
            matches!(case.feed, Feed::None),
            "{}: a live source has `Feed::Live` in heqis-runtime/tests/compliance/cases.rs with a feed of live.rs, and a \
             replayable one `Feed::None`",
            case.kind
        );
        check(&case);
    }
}

#[test]
fn stages_keep_order_and_account_for_every_frame() {
    each_stage(|case| {
        let directory = tempfile::tempdir().unwrap();
        let run = Run::of_stage(case, directory.path()).finish();
        run.check_books();
        run.check_order();
        let stage = run.stage(case.kind);
        assert!(stage.frames > STOP_AFTER, "{}: too few frames", case.kind);
        assert_eq!(run.taken_by(case.kind), stage.frames, "{}", case.kind);
        let counted: u64 = stage.events.iter().map(|(_, count)| count).sum();
        let emitted = run.frames.len() as u64;
        assert!(
            case.is_ring() || emitted + counted >= stage.frames,
            "{}: of {} frames {emitted} were emitted and {counted} counted",
            case.kind,
            stage.frames
        );
        assert!(
            emitted > STOP_AFTER || case.is_sink(),
            "{}: {emitted} frames are too few to compare",
            case.kind
        );
    });
}

#[test]
fn stages_repeat_themselves_byte_for_byte() {
    each_stage(|case| {
        let runs = [(); 2].map(|()| {
            let directory = tempfile::tempdir().unwrap();
            Run::of_stage(case, directory.path()).finish()
        });
        assert!(runs[0].frames == runs[1].frames, "{}", case.kind);
        assert!(runs[0].artefacts == runs[1].artefacts, "{}", case.kind);
    });
}

#[test]
fn a_stage_that_fails_once_is_rebuilt_and_no_frame_is_lost_or_repeated() {
    each_stage(|case| {
        let Some(fails) = case.fails_once else {
            assert!(case.is_ring(), "{} has no failing double", case.kind);
            return;
        };
        let directory = tempfile::tempdir().unwrap();
        let run = Run::of_stage(case, directory.path())
            .replaced(fails())
            .finish();
        assert_eq!(run.stage(case.kind).restarts, 1, "{}", case.kind);
        run.check_books();
        run.check_order();
        let directory = tempfile::tempdir().unwrap();
        let whole = Run::of_stage(case, directory.path()).finish();
        match case.holds_frames {
            true => assert_eq!(run.frames.len(), whole.frames.len(), "{}", case.kind),
            false => assert_eq!(
                run.taken_by(case.kind),
                whole.taken_by(case.kind),
                "{}",
                case.kind
            ),
        }
    });
}

#[test]
fn a_stage_that_is_stopped_drains_and_continues_from_its_saved_state() {
    each_stage(|case| {
        let directory = tempfile::tempdir().unwrap();
        let whole = Run::of_stage(case, directory.path()).finish();
        let directory = tempfile::tempdir().unwrap();
        let first = Run::of_stage(case, directory.path())
            .saving()
            .stopping_after(STOP_AFTER)
            .finish();
        first.check_books();
        first.check_order();
        assert!(
            first.report.left,
            "{} was not stopped in mid-stream",
            case.kind
        );
        assert!(
            whole.frames.starts_with(&first.frames),
            "{}: what was emitted before the stop differs",
            case.kind
        );
        assert!(
            directory.path().join("state").exists(),
            "{}: the node saved no state; a stage with state needs `snapshot` and `restore`, one without state returns \
             `Snapshot::Stateless` from `snapshot`",
            case.kind
        );
        let second = Run::of_stage(case, directory.path()).saving().finish();
        second.check_books();
        let mut both = first.frames;
        for frame in second.frames {
            // A commit log emits again what it had recorded and not seen delivered.
            let is_repeated = case.is_commit_log() && both.contains(&frame);
            if !is_repeated {
                both.push(frame);
            }
        }
        assert_eq!(
            both.len(),
            whole.frames.len(),
            "{}: left: frames before and after a stop, right: frames of one run; `snapshot` or `restore` lacks state",
            case.kind
        );
        assert!(
            both == whole.frames,
            "{}: frames after the stop differ; `snapshot` or `restore` lacks state",
            case.kind
        );
        assert!(
            second.artefacts == whole.artefacts,
            "{}: files after the stop differ",
            case.kind
        );
    });
}

#[test]
fn sources_keep_order_and_close_their_books() {
    each_source(|case| {
        let directory = tempfile::tempdir().unwrap();
        let run = Run::of_source(case, directory.path()).finish();
        run.check_books();
        run.check_order();
        let positions: Vec<u64> = run.frames.iter().map(|frame| frame.position).collect();
        let expected: Vec<u64> = (1..=positions.len() as u64).collect();
        assert_eq!(positions, expected, "{}: positions have gaps", case.kind);
        assert!(
            positions.len() as u64 > STOP_AFTER,
            "{}: {} frames are too few, the parameters of its entry or its feed give too few bars",
            case.kind,
            positions.len()
        );
        if let Feed::Live(live) = &case.feed {
            let mut closes = run.bars().map(|bar| bar.close).collect::<Vec<_>>();
            // The first bar is repeated until the source takes it.
            closes.dedup();
            assert_eq!(closes, live.closes(), "{}", case.kind);
        }
    });
}

#[test]
fn a_source_that_is_stopped_drains_and_a_replayable_one_continues() {
    each_source(|case| {
        let directory = tempfile::tempdir().unwrap();
        let first = Run::of_source(case, directory.path())
            .saving()
            .stopping_after(STOP_AFTER)
            .finish();
        first.check_books();
        first.check_order();
        assert!(
            first.report.left,
            "{} was not stopped in mid-stream",
            case.kind
        );
        if !case.is_replayable() {
            return;
        }
        let second = Run::of_source(case, directory.path()).saving().finish();
        let directory = tempfile::tempdir().unwrap();
        let whole = Run::of_source(case, directory.path()).finish();
        assert!(
            [first.frames, second.frames].concat() == whole.frames,
            "{}",
            case.kind
        );
    });
}
