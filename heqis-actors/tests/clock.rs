//! A graph on a virtual clock: the test sets the time, and a schedule played twice gives the same stamps.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod links;

use std::sync::{Arc, Mutex};

use common::{Count, Double, DoubleConfig, Number};
use heqis_actors::{
    BuildContext, Clock, EdgeOptions, Emitter, Frame, GraphBuilder, Nothing, Stage, StageError,
    StageOptions, Stamp,
};
use links::{DRAIN, counting, until};
use schemars::JsonSchema;
use serde::Deserialize;

const START_NS: i64 = 1_700_000_000_000_000_000;
const DAY_NS: i64 = 86_400 * 1_000_000_000;

/// Value, birth and stamps of a frame.
type Seen = (u64, i64, Vec<Stamp>);

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
struct WitnessConfig {
    #[serde(skip)]
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// Keeps the heads of its frames.
struct Witness(WitnessConfig);

impl Stage for Witness {
    type Config = WitnessConfig;
    type In = Number;
    type Out = Nothing;
    const KIND: &'static str = "witness";
    const ABOUT: &'static str = "Remembers heads.";

    fn build(config: &WitnessConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self(config.clone()))
    }

    fn process(
        &mut self,
        frame: &Frame<Number>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        let head = frame.head();
        self.0
            .seen
            .lock()
            .unwrap()
            .push((frame.value, head.born_ns, head.stamps.to_vec()));
        Ok(())
    }
}

/// Plays `steps`: how far the clock advances in each, and how many frames are then due in total.
fn play(every_ns: i64, steps: &[(i64, usize)]) -> Vec<Seen> {
    let (clock, config) = (Clock::virtual_at(START_NS), WitnessConfig::default());
    let seen = config.seen.clone();
    let own = |name: &str| StageOptions::new().arbiter(name);
    let graph = GraphBuilder::new("replay")
        .clock(clock.clone())
        .source::<Count>("count", counting(u64::MAX, every_ns), own("a"))
        .stage::<Double>("double", DoubleConfig::default(), own("b"))
        .stage::<Witness>("witness", config, own("c"))
        .edge("count", "double", EdgeOptions::new().capacity(4))
        .edge("double", "witness", EdgeOptions::default());
    let report = actix::System::new().block_on(async {
        let running = graph.start().await.unwrap();
        for &(to_ns, due) in steps {
            clock.advance_to(START_NS + to_ns);
            until("what is due", || seen.lock().unwrap().len() >= due);
        }
        running.stop(DRAIN).await
    });
    assert!(report.is_clean(), "{report:?}");
    let seen = seen.lock().unwrap().clone();
    // A frame outside the schedule would have reached the witness while the graph drained.
    assert_eq!(
        seen.len(),
        steps.last().unwrap().1,
        "nothing happens that is not due"
    );
    seen
}

fn at(value: u64, ns: i64) -> Seen {
    let stamp = |stage| Stamp {
        stage,
        enter_ns: ns,
        leave_ns: ns,
    };
    (2 * value, ns, vec![stamp(0), stamp(1)])
}

#[test]
fn a_source_makes_its_items_when_the_clock_reaches_them_and_not_before() {
    // A frame a day. The clock stops just before the second, reaches it, then continues to one and a half days.
    let seen = play(
        DAY_NS,
        &[
            (0, 1),
            (DAY_NS - 1, 1),
            (DAY_NS, 2),
            (DAY_NS * 3 / 2, 2),
            (DAY_NS * 2, 3),
        ],
    );
    assert_eq!(
        seen,
        [
            at(1, START_NS),
            at(2, START_NS + DAY_NS),
            at(3, START_NS + 2 * DAY_NS)
        ]
    );
}

#[test]
fn a_jump_over_several_items_makes_them_all_at_the_time_of_the_jump() {
    let seen = play(DAY_NS, &[(0, 1), (DAY_NS * 10, 11)]);
    assert_eq!(
        seen[1..],
        (2..=11)
            .map(|value| at(value, START_NS + DAY_NS * 10))
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_schedule_played_twice_gives_identical_stamps() {
    let steps: Vec<(i64, usize)> = (0..200)
        .map(|step| (step * 7_919, step as usize * 7_919 / 1_000 + 1))
        .collect();
    let first = play(1_000, &steps);
    assert_eq!(first, play(1_000, &steps));
    assert_eq!(first.len(), 199 * 7_919 / 1_000 + 1);
}
