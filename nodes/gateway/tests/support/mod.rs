//! What the tests of this crate share.
#![allow(clippy::unwrap_used, missing_docs, dead_code, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use heqis_actors::testing::StageTest;
use heqis_actors::{BuildContext, Clock, Config, Frame, Next, Nothing, Payload, Source, Stage};
use heqis_data::BarReader;
use heqis_messages::BarMessage;
use heqis_quant::{Bar, Date, Marks, Symbol};
use serde_json::Value;

/// The repository, where data and models are.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn context(base: impl Into<PathBuf>) -> BuildContext {
    BuildContext::detached("tested", base, Clock::virtual_at(0))
}

/// Parameters as a topology gives them.
pub fn config<C: serde::de::DeserializeOwned>(params: Value) -> C {
    serde_json::from_value(params).unwrap()
}

pub fn count(cx: &BuildContext, event: &str) -> u64 {
    cx.counter(event).get()
}

/// All bars of a source that neither waits nor fails.
pub fn bars_of<S: Source<Out = BarMessage>>(source: &mut S) -> Vec<Bar> {
    let mut bars = Vec::new();
    loop {
        match source.next().unwrap() {
            Next::Item(BarMessage(bar)) => bars.push(bar),
            Next::End => return bars,
            other => panic!("{other:?} after {} bars", bars.len()),
        }
    }
}

/// Bars of a committed A-share file.
pub fn committed_bars(name: &str) -> Vec<Bar> {
    let file = std::fs::File::open(root().join("data/ashare").join(name)).unwrap();
    let symbol = Symbol::parse(name.strip_suffix(".csv").unwrap()).unwrap();
    BarReader::new(file, Some(symbol), name)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

pub fn bar(symbol: &str, date: &str, close: f64) -> Bar {
    let date = Date::parse(date).unwrap();
    Bar {
        symbol: Symbol::parse(symbol).unwrap(),
        time_ns: date.close_time_ns(),
        date,
        open: close,
        high: close,
        low: close,
        close,
        pre_close: None,
        volume_shares: 100.0,
        amount_cny: None,
        marks: Marks::NONE,
    }
}

/// A stage, outside any graph.
pub fn build<S: Stage<Config: Config>>(cx: &BuildContext, params: Value) -> StageTest<S> {
    StageTest::with_context(config(params), cx.clone()).unwrap()
}

/// A sink emits nothing; this says so to the type checker.
pub fn nothing(frames: Vec<Frame<Nothing>>) {
    assert!(
        frames.is_empty(),
        "{} emits {}",
        frames.len(),
        Nothing::NAME
    );
}

/// Asks until there is an answer. The limit is only there to end a test that has failed.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "still waiting until {what}"
        );
        std::thread::yield_now();
    }
}
