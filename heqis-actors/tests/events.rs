//! Lifecycle and alarm events reach any actor that subscribes to them at the broker.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use actix_broker::{BrokerSubscribe, SystemBroker};
use common::{Collect, CollectConfig, Count, CountConfig};
use heqis_actors::{EdgeOptions, Event, GraphBuilder, RestartOptions, StageOptions};

struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Actor for Recorder {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.subscribe_async::<SystemBroker, Event>(ctx);
    }
}

impl Handler<Event> for Recorder {
    type Result = ();

    fn handle(&mut self, event: Event, _: &mut Self::Context) {
        self.0.lock().unwrap().push(event);
    }
}

#[test]
fn a_subscriber_sees_a_graph_become_ready_fail_restart_and_end() {
    let received = Arc::new(Mutex::new(Vec::new()));
    let collect = CollectConfig::default();
    collect.panics.lock().unwrap().push(50);
    let restart = RestartOptions {
        backoff_min: Duration::from_millis(1),
        ..RestartOptions::default()
    };
    let graph = GraphBuilder::new("events")
        .source::<Count>(
            "count",
            CountConfig {
                count: 100,
                groups: 1,
                every_ns: 0,
            },
            StageOptions::default(),
        )
        .stage::<Collect>(
            "collect",
            collect,
            StageOptions {
                restart,
                ..StageOptions::default()
            },
        )
        .edge("count", "collect", EdgeOptions::default());
    System::new().block_on({
        let received = received.clone();
        async move {
            Recorder(received.clone()).start();
            // The subscription is a message to the broker; it is there once the actor has started.
            actix_rt::task::yield_now().await;
            let running = graph.start().await.unwrap();
            let report = running.wait(Duration::from_secs(20)).await;
            assert!(report.is_clean(), "{report:?}");
            let all_ended = |received: &[Event]| {
                received
                    .iter()
                    .filter(|event| matches!(event, Event::StageEnded { .. }))
                    .count()
                    == 2
            };
            while !all_ended(&received.lock().unwrap()) {
                actix_rt::task::yield_now().await;
            }
        }
    });
    let received = received.lock().unwrap();
    let position = |wanted: &dyn Fn(&Event) -> bool| received.iter().position(wanted).unwrap();
    let ready = position(&|event| *event == Event::Ready);
    let failed = position(
        &|event| matches!(event, Event::StageFailed { stage, reason } if stage == "collect" && reason.contains("instructed to panic on 50")),
    );
    let restarted =
        position(&|event| matches!(event, Event::StageRestarted { stage } if stage == "collect"));
    let ended =
        position(&|event| matches!(event, Event::StageEnded { stage } if stage == "collect"));
    assert!(
        ready < failed && failed < restarted && restarted < ended,
        "{received:?}"
    );
}
