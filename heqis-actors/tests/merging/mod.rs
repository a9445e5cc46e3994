//! Stages that merge numbers, and a commit log of sums.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heqis_actors::{BuildContext, Emitter, Frame, Merge, Nothing, Origins, Stage, StageError};
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
}

impl WindowConfig {
    pub fn tumbling(size: usize) -> Self {
        Self { size, step: size }
    }
}

/// Holds the frames of each window until it emits their sum.
pub struct Window {
    config: WindowConfig,
    held: BTreeMap<u64, Vec<Frame<Number>>>,
}

impl Stage for Window {
    type Config = WindowConfig;
    type In = Number;
    type Out = Number;
    const KIND: &'static str = "window";
    const ABOUT: &'static str = "Sums windows.";

    fn build(config: &WindowConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self {
            config: config.clone(),
            held: BTreeMap::new(),
        })
    }

    fn process(
        &mut self,
        frame: &Frame<Number>,
        out: &mut Emitter<'_, Number>,
    ) -> Result<(), StageError> {
        let held = self.held.entry(frame.group).or_default();
        held.push(frame.clone());
        if held.len() == self.config.size {
            let (done, kept) = held.split_at(self.config.step);
            let merge =
                Merge::of(done.iter().map(Frame::head)).keeping(kept.iter().map(Frame::head));
            let value = held.iter().map(|frame| frame.value).sum();
            out.emit_merged(
                merge,
                Number {
                    value,
                    group: frame.group,
                },
            );
            held.drain(..self.config.step);
        }
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
