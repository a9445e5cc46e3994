//! A killed node that restarts with its commit log: nothing is done twice, and every stage first gets the last records of
//! the log.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod links;

use std::sync::{Arc, Mutex};

use common::Number;
use heqis_actors::{
    AnyFrame, BridgeOptions, BuildContext, Delivery, EdgeOptions, Emitter, Frame, GraphBuilder,
    Metrics, Origin, PayloadType, RestartOptions, Stage, StageError, StageOptions,
};
use links::*;
use schemars::JsonSchema;
use serde::Deserialize;

/// The calls of a stage, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Built,
    Recovered(u64),
    Processed(u64),
}

/// What survives a kill: the committed records.
type Log = Arc<Mutex<Vec<(Origin, Number)>>>;

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
struct LedgerConfig {
    /// The log that this stage owns; other stages of the node have none.
    #[serde(skip)]
    log: Option<Log>,
    #[serde(skip)]
    calls: Arc<Mutex<Vec<Call>>>,
    /// Values on which the stage fails once.
    #[serde(skip)]
    fails: Arc<Mutex<Vec<u64>>>,
}

/// Writes frames to its log and emits them. When it is built, it reports the records of the log to the node.
struct Ledger(LedgerConfig);

impl Stage for Ledger {
    type Config = LedgerConfig;
    type In = Number;
    type Out = Number;
    const KIND: &'static str = "ledger";
    const ABOUT: &'static str = "Writes frames to a log.";
    const OUTPUT_OPTIONAL: bool = true;

    fn build(config: &LedgerConfig, cx: &BuildContext) -> Result<Self, StageError> {
        config.calls.lock().unwrap().push(Call::Built);
        for (origin, number) in config
            .log
            .iter()
            .flat_map(|log| log.lock().unwrap().clone())
        {
            cx.committed().record(origin, number);
        }
        Ok(Self(config.clone()))
    }

    fn recover(&mut self, record: &AnyFrame) {
        self.0
            .calls
            .lock()
            .unwrap()
            .push(Call::Recovered(record.payload::<Number>().unwrap().value));
    }

    fn process(
        &mut self,
        frame: &Frame<Number>,
        out: &mut Emitter<'_, Number>,
    ) -> Result<(), StageError> {
        let mut fails = self.0.fails.lock().unwrap();
        if let Some(at) = fails.iter().position(|value| *value == frame.value) {
            fails.remove(at);
            return Err(StageError::failed("instructed to fail"));
        }
        self.0
            .calls
            .lock()
            .unwrap()
            .push(Call::Processed(frame.value));
        if let Some(log) = &self.0.log {
            log.lock()
                .unwrap()
                .push((frame.head().origin, (**frame).clone()));
        }
        out.emit(frame.head(), (**frame).clone());
        Ok(())
    }
}

/// A node with a stage without a log in front of the one that owns it.
fn node(link: &Link, listener: &LedgerConfig, ledger: &LedgerConfig) -> GraphBuilder {
    let bridge = BridgeOptions::new(format!("tcp://{}", link.address).parse().unwrap())
        .credit(link.credit)
        .delivery(link.delivery)
        .max_frame(MAX_FRAME);
    let restart = RestartOptions::new().backoff_min(std::time::Duration::from_millis(1));
    GraphBuilder::new("link")
        .node("compute")
        .remote("count")
        .stage::<Ledger>(
            "collect",
            listener.clone(),
            StageOptions::new().restart(restart),
        )
        .stage::<Ledger>("ledger", ledger.clone(), StageOptions::new().arbiter("log"))
        .edge_in(
            ROUTE,
            ("count", "collect"),
            PayloadType::of::<Number>(),
            link.edge,
            bridge,
        )
        .edge("collect", "ledger", EdgeOptions::default())
}

fn processed(config: &LedgerConfig) -> Vec<u64> {
    let calls = config.calls.lock().unwrap();
    calls
        .iter()
        .filter_map(|call| {
            if let Call::Processed(value) = call {
                Some(*value)
            } else {
                None
            }
        })
        .collect()
}

/// The stages' parameters when a node with this log starts.
fn started(log: &Log) -> (LedgerConfig, LedgerConfig) {
    (
        LedgerConfig::default(),
        LedgerConfig {
            log: Some(log.clone()),
            ..LedgerConfig::default()
        },
    )
}

#[test]
fn a_node_that_restarts_with_its_log_continues_where_the_log_ends() {
    let link = Link::new(free_address(), Delivery::AtLeastOnce);
    let log = Log::default();

    // The first run ends in mid-stream.
    let (listener, ledger) = started(&log);
    let (sender, receiver) = (
        link.sender(counting(1_000, 100_000), &Metrics::new("gateway")),
        node(&link, &listener, &ledger),
    );
    actix::System::new().block_on(async {
        let (sender, receiver) = (
            sender.start().await.unwrap(),
            receiver.start().await.unwrap(),
        );
        until("some frames", || processed(&ledger).len() >= 40);
        stop_in_turn(sender, receiver).await
    });
    let had = processed(&ledger);
    assert_eq!(had, (1..=had.len() as u64).collect::<Vec<_>>());
    assert!(had.len() < 1_000);

    // In the second run the source plays its stream from the beginning.
    let (listener, ledger) = started(&log);
    let (sender, receiver) = (
        link.sender(counting(1_000, 0), &Metrics::new("gateway")),
        node(&link, &listener, &ledger),
    );
    let (sent, received) = run_both(sender, receiver);
    let had = had.len() as u64;
    assert_eq!(processed(&listener), (had + 1..=1_000).collect::<Vec<_>>());
    assert_eq!(
        log.lock()
            .unwrap()
            .iter()
            .map(|(_, number)| number.value)
            .collect::<Vec<_>>(),
        (1..=1_000).collect::<Vec<_>>()
    );
    // What the log holds is not sent again.
    for (side, duplicate) in [(books(&sent), had), (books(&received), 0)] {
        assert_eq!(
            (side.sent, side.duplicate, side.delivered),
            (1_000 - had + duplicate, duplicate, 1_000 - had),
            "{side:?}"
        );
    }

    // Both stages got the last value of each of the five groups before any frame.
    for config in [&listener, &ledger] {
        let calls = config.calls.lock().unwrap();
        let mut last: Vec<_> = calls[1..6].to_vec();
        last.sort_by_key(|call| {
            if let Call::Recovered(value) = call {
                *value
            } else {
                0
            }
        });
        assert_eq!(calls[0], Call::Built);
        assert_eq!(
            last,
            (had - 4..=had).map(Call::Recovered).collect::<Vec<_>>()
        );
        assert_eq!(calls[6], Call::Processed(had + 1));
    }
}

#[test]
fn committed_frames_are_dropped_one_by_one_and_a_rebuilt_stage_recovers_again() {
    let link = Link::new(free_address(), Delivery::AtLeastOnce);
    let record = |position, group| {
        (
            Origin {
                stream: 0xBAD,
                position,
            },
            Number {
                value: position,
                group,
            },
        )
    };
    // Three of six positions are committed, with gaps; two of them are of one group.
    let log: Log = Arc::new(Mutex::new(vec![record(2, 1), record(4, 1), record(5, 2)]));
    let (listener, ledger) = started(&log);
    let base = 1_000_000_000;
    *listener.fails.lock().unwrap() = vec![base + 3];
    let report = actix::System::new().block_on(async {
        let receiver = node(&link, &listener, &ledger).start().await.unwrap();
        let mut peer = Peer::shaken(link.address);
        let hello = control(heqis_actors::wire::MessageKind::Hello, 1, &Hello::new(1));
        let end = control(
            heqis_actors::wire::MessageKind::End,
            1,
            &End { last_seq: 6 },
        );
        let goodbye = control(heqis_actors::wire::MessageKind::Goodbye, 1, &DONE);
        let frames: Vec<_> = (1..=6).map(|seq| data(1, seq)).collect();
        peer.send(&[&[hello], &frames[..], &[end]].concat());
        // Acknowledged as duplicates, not as lost, so that the sender's books close too.
        let acks = std::iter::repeat_with(|| {
            debincode::<Ack>(peer.expect(heqis_actors::wire::MessageKind::Ack).meta())
        });
        let last = acks.into_iter().find(|ack| ack.done == 6).unwrap();
        assert_eq!((last.outcomes[0], last.outcomes[1]), (3, 3));
        peer.send(&[goodbye]);
        receiver.wait().await
    });
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((books(&report).duplicate, books(&report).delivered), (3, 3));
    let recovered = [Call::Recovered(4), Call::Recovered(5)];
    let calls = listener.calls.lock().unwrap();
    let first_run = [&[Call::Built], &recovered[..], &[Call::Processed(base + 1)]].concat();
    let second_run = [
        &[Call::Built],
        &recovered[..],
        &[base + 3, base + 6].map(Call::Processed),
    ]
    .concat();
    assert_eq!(*calls, [first_run, second_run].concat());
}
