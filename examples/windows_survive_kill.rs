//! Sums of windows over two processes, one of which is killed again and again: no sum is lost, doubled or shifted.
//!
//! ```sh
//! cargo run --example windows_survive_kill
//! ```
//!
//! This process counts; a child sums ten numbers at a time and records each sum in a file, its commit log.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use heqis::actors::{ChannelSource, Window, WindowSpan, channel};
use heqis::prelude::*;

#[derive(Payload)]
struct Number(u64);

/// Writes each sum with the items that it is made from: what is recorded is not done twice.
struct SumLog(File, heqis::actors::Committed);

impl Stage for SumLog {
    type Config = std::path::PathBuf;
    type In = Number;
    type Out = Nothing;
    const KIND: &'static str = "sum-log";
    const COMMIT_LOG: bool = true;

    fn build(path: &std::path::PathBuf, cx: &BuildContext) -> Result<Self, StageError> {
        for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
            let cells: Vec<u64> = line.split(' ').flat_map(str::parse).collect();
            cx.committed().insert_run(cells[0], cells[1], cells[2]);
        }
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(StageError::config)?;
        Ok(Self(file, cx.committed().clone()))
    }

    fn process(
        &mut self,
        sum: &Frame<Number>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        let run = sum.head().origins().done()[0];
        let line = format!("{} {} {} {}\n", run.stream, run.first, run.last, sum.0);
        self.0
            .write_all(line.as_bytes())
            .map_err(StageError::failed)?;
        self.1.insert_head(sum.head());
        Ok(())
    }
}

/// The graph of a node; both nodes declare all stages. The node with the numbers has them from a channel.
fn graph(
    numbers: Option<ChannelSource<Number>>,
    folder: &Path,
) -> Result<GraphBuilder, Box<dyn std::error::Error>> {
    let endpoint = format!("ipc://{}", folder.join("socket").display()).parse()?;
    let (ends, number) = (("numbers", "sums"), PayloadType::of::<Number>());
    let bridge = BridgeOptions::new(endpoint);
    let node = numbers.as_ref().map_or("back", |_| "front");
    let graph = GraphBuilder::new("sums").node(node);
    let sum = |_: &WindowSpan, numbers: &[Frame<Number>]| Number(numbers.iter().map(|n| n.0).sum());
    Ok(match numbers {
        Some(source) => graph
            .input("numbers", source)
            .remote("sums")
            .remote("log")
            .edge_out(0, ends, number, EdgeOptions::default(), bridge),
        None => graph
            .remote("numbers")
            .window("sums", Window::tumbling(10), sum)
            .stage::<SumLog>("log", folder.join("sums"), StageOptions::default())
            .edge_in(0, ends, number, EdgeOptions::default(), bridge)
            .edge("sums", "log", EdgeOptions::default()),
    })
}

#[expect(clippy::print_stdout, reason = "the example shows its result")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limit = Duration::from_secs(10);
    if let Some(folder) = std::env::args().nth(1) {
        let report = graph(None, Path::new(&folder))?.run(limit)?;
        return report
            .is_clean()
            .then_some(())
            .ok_or("frames were lost".into());
    }
    let folder = tempfile::tempdir()?;
    let back = || {
        Command::new(std::env::current_exe()?)
            .arg(folder.path())
            .spawn()
    };
    let (numbers, source) = channel(64);
    let front = graph(Some(source), folder.path())?.spawn()?;
    let mut next = 1..=20_000;
    for _ in 0..5 {
        let mut child = back()?;
        for number in next.by_ref().take(3_000) {
            numbers.send(Number(number))?;
        }
        // With frames in every queue between the two, and in an open window.
        child.kill()?;
        child.wait()?;
    }
    let mut last = back()?;
    for number in next {
        numbers.send(Number(number))?;
    }
    drop(numbers);
    assert!(last.wait()?.success() && front.wait_blocking().is_clean());
    let sums = std::fs::read_to_string(folder.path().join("sums"))?;
    let sums = sums
        .lines()
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok());
    let sums: Vec<u64> = sums.collect();
    assert_eq!((sums.len(), sums[0], sums[1_999]), (2_000, 55, 199_955));
    println!(
        "{} sums, each of ten numbers, over six processes",
        sums.len()
    );
    Ok(())
}
