//! Sums of windows over two processes, one of which is killed again and again: no sum is lost, doubled or shifted. This process
//! counts; a child sums ten numbers at a time and records each sum. `cargo run --example windows_survive_kill`

use std::{error::Error, path::Path, process::Command, time::Duration};

use heqis::actors::{Window, WindowSpan, channel, read_commit_log, sp::Endpoint};
use heqis::prelude::*;

#[derive(Payload)]
struct Number(u64);

fn sum(_: &WindowSpan, numbers: &[Frame<Number>]) -> Number {
    Number(numbers.iter().map(|number| number.0).sum())
}

fn main() -> Result<(), Box<dyn Error>> {
    let bridge = |folder: &Path| {
        let path = folder.join("socket");
        BridgeOptions::new(Endpoint::Ipc { path })
    };
    let line = |sum: &Frame<Number>| sum.0.to_string();
    if let Some(folder) = std::env::args().nth(1) {
        let folder = Path::new(&folder);
        let report = GraphBuilder::new("sums")
            .node("back")
            .remote("numbers")
            .window("sums", Window::tumbling(10), sum)
            .commit_log("log", folder.join("log"), line)
            .bridge::<Number>("numbers", "sums", bridge(folder))
            .chain(&["sums", "log"])
            .run(Duration::from_secs(10))?;
        std::process::exit(i32::from(!report.is_clean()));
    }
    let folder = tempfile::tempdir()?;
    let (numbers, source) = channel(64);
    let front = GraphBuilder::new("sums")
        .node("front")
        .input("numbers", source)
        .remote("sums")
        .remote("log")
        .bridge::<Number>("numbers", "sums", bridge(folder.path()))
        .spawn()?;
    let mut back = Command::new(std::env::current_exe()?);
    let mut child = back.arg(folder.path()).spawn()?;
    for number in 1..=20_000 {
        numbers.send(Number(number))?;
        if number % 3_000 == 0 {
            // With frames in every queue between the two, and in an open window.
            child.kill()?;
            child.wait()?;
            child = back.spawn()?;
        }
    }
    drop(numbers);
    assert!(child.wait()?.success() && front.wait_blocking().is_clean());
    let sums = read_commit_log(folder.path().join("log"))?;
    assert!((0..2_000).map(|at| (100 * at + 55).to_string()).eq(sums));
    Ok(())
}
