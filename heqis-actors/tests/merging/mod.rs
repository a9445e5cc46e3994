//! Stages that merge numbers, and a commit log of sums.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heqis_actors::{
    BuildContext, Emitter, Frame, Head, Inputs, Merge, Nothing, Origins, Outputs, Snapshot, Stage,
    StageError,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::common::Number;

/// Sums of windows of numbers, per group.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct WindowConfig {
    /// Frames of a window.
    pub size: usize,
    /// Frames by which a window moves on; at most `size`.
    pub step: usize,
    /// Whether the windows are a state that can be saved.
    pub saves: bool,
}

impl WindowConfig {
    pub fn tumbling(size: usize) -> Self {
        Self {
            size,
            step: size,
            saves: false,
        }
    }

    pub fn saved(self) -> Self {
        Self {
            saves: true,
            ..self
        }
    }
}

/// A number in a window, with its head where the state of the stage is not saved.
struct Held {
    value: u64,
    origins: Origins,
    head: Option<Head>,
}

/// Holds the frames of each window until it emits their sum: their heads, or their origins where its state is saved.
pub struct Window {
    config: WindowConfig,
    cx: BuildContext,
    held: BTreeMap<u64, Vec<Held>>,
}

impl Stage for Window {
    type Config = WindowConfig;
    type In = Number;
    type Out = Number;
    const KIND: &'static str = "window";
    const ABOUT: &'static str = "Sums windows.";

    fn build(config: &WindowConfig, cx: &BuildContext) -> Result<Self, StageError> {
        Ok(Self {
            config: config.clone(),
            cx: cx.clone(),
            held: BTreeMap::new(),
        })
    }

    fn snapshot(&self) -> Snapshot {
        let group = |(group, held): (&u64, &Vec<Held>)| {
            let held = held.iter().map(|one| (one.value, one.origins.clone()));
            (*group, held.collect::<Vec<_>>())
        };
        match self.config.saves {
            true => Snapshot::of(&self.held.iter().map(group).collect::<Vec<_>>()),
            false => Snapshot::Unsupported,
        }
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StageError> {
        let held = |(value, origins)| Held {
            value,
            origins,
            head: None,
        };
        for (group, all) in Snapshot::read::<Vec<(u64, Vec<(u64, Origins)>)>>(state)? {
            self.held.insert(group, all.into_iter().map(held).collect());
        }
        Ok(())
    }

    fn process(
        &mut self,
        frame: &Frame<Number>,
        out: &mut Emitter<'_, Number>,
    ) -> Result<(), StageError> {
        let held = self.held.entry(frame.group).or_default();
        held.push(Held {
            value: frame.value,
            origins: frame.head().origins(),
            head: (!self.cx.saves_state()).then(|| frame.head().clone()),
        });
        if held.len() == self.config.size {
            let (done, kept) = held.split_at(self.config.step);
            let mut merge = Merge::of(done.iter().filter_map(|one| one.head.as_ref()))
                .keeping(kept.iter().filter_map(|one| one.head.as_ref()));
            for one in done.iter().filter(|one| one.head.is_none()) {
                merge = merge.with(&one.origins);
            }
            for one in kept.iter().filter(|one| one.head.is_none()) {
                merge = merge.keeping_with(&one.origins);
            }
            let value = held.iter().map(|one| one.value).sum();
            let group = frame.group;
            out.emit_merged(merge, Number { value, group });
            held.drain(..self.config.step);
        }
        Ok(())
    }
}

/// Neither of these stages has parameters.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct Nil {}

/// Odd and even numbers, by ports of their own.
#[derive(Inputs, Outputs)]
pub enum Parity {
    Odd(Frame<Number>),
    Even(Frame<Number>),
}

/// Sums ten numbers of each of its ports.
#[derive(Default)]
pub struct TenOfEach([Vec<Frame<Number>>; 2]);

impl Stage for TenOfEach {
    type Config = Nil;
    type In = Parity;
    type Out = Number;
    const KIND: &'static str = "ten-of-each";

    fn build(_: &Nil, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self::default())
    }

    fn process(&mut self, input: &Parity, out: &mut Emitter<'_, Number>) -> Result<(), StageError> {
        let (held, frame) = match input {
            Parity::Odd(frame) => (&mut self.0[0], frame),
            Parity::Even(frame) => (&mut self.0[1], frame),
        };
        held.push(frame.clone());
        if held.len() == 10 {
            let value = held.iter().map(|number| number.value).sum();
            out.emit_from(held.iter().map(Frame::head), Number { value, group: 0 });
            held.clear();
        }
        Ok(())
    }
}

/// Puts all numbers into one group.
pub struct Ungroup;

impl Stage for Ungroup {
    type Config = Nil;
    type In = Number;
    type Out = Number;
    const KIND: &'static str = "ungroup";
    const ABOUT: &'static str = "Puts all numbers into one group.";

    fn build(_: &Nil, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }

    fn process(
        &mut self,
        frame: &Frame<Number>,
        out: &mut Emitter<'_, Number>,
    ) -> Result<(), StageError> {
        let value = frame.value;
        out.emit(frame.head(), Number { value, group: 0 });
        Ok(())
    }
}

/// The records of a commit log, which outlive the graph: origins, sum, group.
pub type Book = Arc<Mutex<Vec<(Origins, Number)>>>;

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct LogConfig {
    #[serde(skip)]
    pub book: Book,
    /// How long each record takes.
    #[serde(skip)]
    pub takes: Duration,
}

/// Records sums.
pub struct Log {
    config: LogConfig,
    cx: BuildContext,
}

impl Stage for Log {
    type Config = LogConfig;
    type In = Number;
    type Out = Nothing;
    const KIND: &'static str = "log";
    const ABOUT: &'static str = "Records sums.";
    const COMMIT_LOG: bool = true;

    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }

    fn build(config: &LogConfig, cx: &BuildContext) -> Result<Self, StageError> {
        for (origins, number) in config.book.lock().unwrap().iter() {
            cx.committed().record(origins.clone(), number.clone());
        }
        Ok(Self {
            config: config.clone(),
            cx: cx.clone(),
        })
    }

    fn process(
        &mut self,
        frame: &Frame<Number>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        if self.cx.committed().holds(frame.head()) {
            return Ok(());
        }
        std::thread::sleep(self.config.takes);
        let record = (frame.head().origins(), (**frame).clone());
        self.config.book.lock().unwrap().push(record);
        self.cx.committed().insert_head(frame.head());
        Ok(())
    }
}
