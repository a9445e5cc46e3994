//! A small graph of numbers that the tests of this crate share.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heqis_actors::{
    AnyFrame, BuildContext, Emitter, Frame, Next, Nothing, Payload, Snapshot, Source, Stage,
    StageError,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// A number with a group for partitioning and an optional tensor.
#[derive(Clone, Debug, PartialEq, Payload)]
pub struct Number {
    pub value: u64,
    #[payload(key)]
    pub group: u64,
}

/// Counts from 1 to `count`, with `groups` groups in turn.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct CountConfig {
    pub count: u64,
    pub groups: u64,
    /// Pause between items, nanoseconds of the graph's clock.
    #[serde(default)]
    pub every_ns: i64,
}

pub struct Count {
    config: CountConfig,
    next: u64,
    due_ns: Option<i64>,
    clock: heqis_actors::Clock,
}

impl Source for Count {
    type Config = CountConfig;
    type Out = Number;
    const KIND: &'static str = "count";
    const ABOUT: &'static str = "Counts.";
    const REPLAYABLE: bool = true;

    fn build(config: &CountConfig, cx: &BuildContext) -> Result<Self, StageError> {
        Ok(Self {
            config: config.clone(),
            next: 1,
            due_ns: None,
            clock: cx.clock().clone(),
        })
    }

    fn next(&mut self) -> Result<Next<Number>, StageError> {
        if self.next > self.config.count {
            return Ok(Next::End);
        }
        if self.config.every_ns > 0 {
            let due_ns = *self.due_ns.get_or_insert(self.clock.now_ns());
            if self.clock.now_ns() < due_ns {
                return Ok(Next::At(due_ns));
            }
            self.due_ns = Some(due_ns + self.config.every_ns);
        }
        let value = self.next;
        self.next += 1;
        Ok(Next::Item(Number {
            value,
            group: value % self.config.groups.max(1),
        }))
    }
}

/// What a [`Collect`] sink has received, in order.
pub type Seen = Arc<Mutex<Vec<u64>>>;

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct CollectConfig {
    #[serde(skip)]
    pub seen: Seen,
    /// How long each frame takes: busy on the real clock, advanced by the stage on a virtual one.
    #[serde(skip)]
    pub takes: Duration,
    /// Values on which the stage fails, each time.
    #[serde(default)]
    pub poison: Vec<u64>,
    /// Values on which the stage panics once.
    #[serde(skip)]
    pub panics: Seen,
    /// Number of first calls that fail because something is unavailable.
    #[serde(skip)]
    pub outages: Arc<AtomicUsize>,
    #[serde(skip)]
    pub ages_ns: Arc<Mutex<Vec<i64>>>,
}

pub struct Collect {
    config: CollectConfig,
    clock: heqis_actors::Clock,
}

impl Stage for Collect {
    type Config = CollectConfig;
    type In = Number;
    type Out = Nothing;
    const KIND: &'static str = "collect";
    const ABOUT: &'static str = "Remembers what it sees.";

    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }

    fn build(config: &CollectConfig, cx: &BuildContext) -> Result<Self, StageError> {
        Ok(Self {
            config: config.clone(),
            clock: cx.clock().clone(),
        })
    }

    fn process(
        &mut self,
        frame: &Frame<Number>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        let outages = &self.config.outages;
        if frame.value > 100
            && outages
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_ok()
        {
            return Err(StageError::unavailable("the disk is full"));
        }
        if self.config.poison.contains(&frame.value) {
            return Err(StageError::failed(format!("poison {}", frame.value)));
        }
        let mut panics = self.config.panics.lock().unwrap();
        if let Some(at) = panics.iter().position(|value| *value == frame.value) {
            panics.remove(at);
            drop(panics);
            panic!("instructed to panic on {}", frame.value);
        }
        drop(panics);
        let start_ns = self.clock.now_ns();
        self.clock
            .advance_to(start_ns + self.config.takes.as_nanos() as i64);
        while self.clock.is_real()
            && self.clock.now_ns() - start_ns < self.config.takes.as_nanos() as i64
        {
            std::hint::spin_loop();
        }
        self.config
            .ages_ns
            .lock()
            .unwrap()
            .push(start_ns - frame.head().born_ns);
        self.config.seen.lock().unwrap().push(frame.value);
        Ok(())
    }
}

/// Doubles numbers, in batches: everything is emitted in `flush`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct DoubleConfig {
    #[serde(skip)]
    pub batches: Arc<Mutex<Vec<usize>>>,
}

pub struct Double {
    config: DoubleConfig,
    batch: Vec<Frame<Number>>,
}

impl Stage for Double {
    type Config = DoubleConfig;
    type In = Number;
    type Out = Number;
    const KIND: &'static str = "double";
    const ABOUT: &'static str = "Doubles.";

    fn build(config: &DoubleConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self {
            config: config.clone(),
            batch: Vec::new(),
        })
    }

    fn recover(&mut self, _record: &AnyFrame) {}

    fn process(
        &mut self,
        frame: &Frame<Number>,
        _: &mut Emitter<'_, Number>,
    ) -> Result<(), StageError> {
        self.batch.push(frame.clone());
        Ok(())
    }

    fn flush(&mut self, out: &mut Emitter<'_, Number>) -> Result<(), StageError> {
        self.config.batches.lock().unwrap().push(self.batch.len());
        for frame in self.batch.drain(..) {
            out.emit(
                frame.head(),
                Number {
                    value: frame.value * 2,
                    group: frame.group,
                },
            );
        }
        Ok(())
    }
}

/// Emits every number twice: itself, and a million more.
pub struct Twice;

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct TwiceConfig {}

impl Stage for Twice {
    type Config = TwiceConfig;
    type In = Number;
    type Out = Number;
    const KIND: &'static str = "twice";
    const ABOUT: &'static str = "Emits two frames for one.";

    fn build(_: &TwiceConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(
        &mut self,
        frame: &Frame<Number>,
        out: &mut Emitter<'_, Number>,
    ) -> Result<(), StageError> {
        for value in [frame.value, frame.value + 1_000_000] {
            out.emit(
                frame.head(),
                Number {
                    value,
                    group: frame.group,
                },
            );
        }
        Ok(())
    }
}
