//! The thread that owns a graph: it starts the graph, hands out its handle, and waits for its end.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use actix_rt::System;
use tokio::sync::{oneshot, watch};

use super::GraphError;
use super::builder::GraphBuilder;
use super::handle::{Arbiters, GraphHandle, StopHandle};
use super::wiring::Wiring;
use heqis_core::{TerminationSignals, use_runtime_timers};

type Ready = oneshot::Sender<Result<GraphHandle, GraphError>>;

/// Starts the graph on a thread of its own. What is received is the handle once every stage is built; if the receiver
/// was dropped meanwhile, the graph ends.
#[expect(
    clippy::disallowed_methods,
    reason = "the thread on which a graph's actor system runs; it ends with the graph"
)]
pub(super) fn launch(
    graph: GraphBuilder,
) -> Result<oneshot::Receiver<Result<GraphHandle, GraphError>>, GraphError> {
    // Watched from before the first frame: until then a signal would kill the process undrained.
    let signals = match graph.stop_on_signals {
        true => Some(TerminationSignals::watch()?),
        false => None,
    };
    let (ready, started) = oneshot::channel();
    std::thread::Builder::new()
        .name("graph".into())
        .spawn(move || supervise(graph, signals, ready))?;
    Ok(started)
}

fn supervise(graph: GraphBuilder, signals: Option<TerminationSignals>, ready: Ready) {
    let control = graph.control.clone();
    let (ended, end) = watch::channel(false);
    match system() {
        Ok(system) => system.block_on(own(graph, signals, ready, end)),
        Err(error) => drop(ready.send(Err(error.into()))),
    }
    // The system and its descriptors are gone by now.
    control.end();
    ended.send_replace(true);
}

/// An actor system on this thread. Unlike `System::new` it does not panic where the process has no descriptor left.
fn system() -> io::Result<actix_rt::SystemRunner> {
    use_runtime_timers();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(System::with_tokio_rt(|| runtime))
}

/// Starts the graph, hands out its handle, and waits for its end.
async fn own(
    graph: GraphBuilder,
    signals: Option<TerminationSignals>,
    ready: Ready,
    ended: watch::Receiver<bool>,
) {
    let (control, drain_timeout) = (graph.control.clone(), graph.drain_timeout);
    let stopped_by_signals = signals.map(|signals| {
        let handle = StopHandle(control.clone());
        actix_rt::spawn(stop_on(signals, handle))
    });
    match Wiring::new(graph).start().await {
        Ok(started) => {
            let arbiters: Arbiters = Arc::new(Mutex::new(started.arbiters()));
            let handle = GraphHandle {
                reporter: started.reporter.clone(),
                arbiters: arbiters.clone(),
                ended,
                requests: started.requests.clone(),
            };
            // Without a receiver the handle is dropped, which stops the graph.
            drop(ready.send(Ok(handle)));
            let report = started.wait(drain_timeout).await;
            arbiters
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
            Some(report)
        }
        Err(error) => {
            let _ = ready.send(Err(error));
            None
        }
    };
    if let Some(task) = stopped_by_signals {
        task.abort();
        let _ = task.await;
    }
}

/// The first signal drains the graph, the second ends the drain.
async fn stop_on(mut signals: TerminationSignals, graph: StopHandle) {
    signals.recv().await;
    graph.stop();
    signals.recv().await;
    tracing::warn!("a second signal: the drain ends now");
    graph.abandon();
    std::future::pending().await
}
