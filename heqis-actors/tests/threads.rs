//! Threads of arbiters: cores and priorities, and what happens where they are denied.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use actix_rt::System;
use common::{Collect, CollectConfig, Count, CountConfig};
use heqis_actors::{EdgeOptions, GraphBuilder, GraphError, GraphHandle, Scheduling, StageOptions};

/// A core that no machine here has.
const NO_CORE: usize = 1000;

fn graph(options: StageOptions, scheduling: Scheduling) -> GraphBuilder {
    let count = CountConfig {
        count: 10,
        groups: 1,
        // The graph has threads of its own, and lasts until they have been looked at.
        every_ns: 30_000_000,
    };
    GraphBuilder::new("threads")
        .source::<Count>("count", count, StageOptions::default())
        .stage::<Collect>("collect", CollectConfig::default(), options)
        .edge("count", "collect", EdgeOptions::default())
        .scheduling(scheduling)
}

fn on(arbiter: &str, cores: Vec<usize>, priority: Option<u8>) -> StageOptions {
    StageOptions::new()
        .arbiter(arbiter)
        .cores(cores)
        .priority(priority)
}

/// Starts a graph, inspects it, and lets it end.
fn started<T>(graph: GraphBuilder, look: impl FnOnce(&GraphHandle) -> T) -> Result<T, GraphError> {
    System::new().block_on(async move {
        let running = graph.start().await?;
        let seen = look(&running);
        assert!(running.wait().await.is_clean());
        Ok(seen)
    })
}

/// Fields of `/proc/self/task/*/stat` of the thread called `name`, those after its name; the first is its state.
fn thread(name: &str) -> Vec<String> {
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        // A thread may end between the two reads.
        let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else {
            continue;
        };
        let (head, tail) = stat.rsplit_once(") ").unwrap();
        if head.split_once('(').unwrap().1 == name {
            return tail.split(' ').map(str::to_owned).collect();
        }
    }
    panic!("no thread '{name}'");
}

#[test]
fn a_thread_gets_its_core_before_anything_is_built_on_it() {
    let graph = graph(on("pinned", vec![0], None), Scheduling::Strict);
    let processors = started(graph, |_| {
        // Field 39 of stat(5), the processor last run on.
        thread("pinned")[36].clone()
    });
    assert_eq!(processors.unwrap(), "0");
}

#[test]
fn a_missing_core_is_a_warning_or_an_error() {
    let lenient = graph(on("off", vec![0, NO_CORE], None), Scheduling::Warn);
    started(lenient, |_| ()).unwrap();
    let strict = graph(on("off", vec![0, NO_CORE], None), Scheduling::Strict);
    match started(strict, |_| ()) {
        Err(GraphError::Scheduling(denied)) => {
            assert_eq!(denied.len(), 1);
            assert!(
                denied[0].contains("arbiter 'off' is not pinned"),
                "{denied:?}"
            );
            assert!(denied[0].contains("no core 1000"), "{denied:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_real_time_priority_is_given_or_the_strict_graph_does_not_start() {
    let wanted = graph(on("urgent", Vec::new(), Some(7)), Scheduling::Strict);
    match started(wanted, |_| {
        let fields = thread("urgent");
        // Fields 40 and 41 of stat(5): real-time priority and policy, of which 1 is SCHED_FIFO.
        (fields[37].clone(), fields[38].clone())
    }) {
        Ok(seen) => assert_eq!(seen, ("7".to_owned(), "1".to_owned())),
        // Without the right to it.
        Err(GraphError::Scheduling(denied)) => {
            assert!(denied[0].contains("real-time priority 7"), "{denied:?}");
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn threads_that_answer_are_alive_and_so_are_those_that_have_ended() {
    System::new().block_on(async {
        let running = graph(on("own", Vec::new(), None), Scheduling::Warn)
            .start()
            .await
            .unwrap();
        let mut probe = running.liveness();
        let patience = std::time::Duration::from_millis(50);
        for _ in 0..20 {
            assert_eq!(probe.check(patience), [""; 0]);
            actix_rt::time::sleep(patience / 5).await;
        }
        assert!(running.reporter().links().is_empty());
        running.wait().await;
        for _ in 0..20 {
            assert_eq!(probe.check(patience), [""; 0]);
            actix_rt::time::sleep(patience / 5).await;
        }
    });
}
