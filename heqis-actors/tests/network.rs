//! A bridged edge over a network with faults: its two halves are processes in network namespaces of their own, and what
//! connects them is a forwarder that drops, delays, reorders, repeats, changes and stalls IP packets, by a seed.
//!
//! Each test is one kind of fault. Ordinarily they are small; `./chaos network` runs them with a million frames. They need
//! root, `/dev/net/tun` and iproute2, and count as ignored where one of these is missing.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod common;
mod links;
mod netns;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::process::{Child, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::CollectConfig;
use heqis_actors::{Delivery, Metrics};
use heqis_test_harness::{Group, run, tests};
use links::*;
use netns::{FAR, Forwarder, Line, Pair, Plan, Tally, Ways, missing};
use serde::{Deserialize, Serialize};

/// Frames of all kinds together, and the seed, where they are not as usual.
const FRAMES_VARIABLE: &str = "HEQIS_CHAOS_FRAMES";
const SEED_VARIABLE: &str = "HEQIS_CHAOS_SEED";
/// What a process of this program is to do, when it is one half of the edge.
const HALF_VARIABLE: &str = "HEQIS_NETWORK_HALF";
/// Stands before what a half reports.
const MARK: &str = "half of the edge: ";
/// Frames of a kind in an ordinary run, and of one stream at most. Long enough that every fault is met in mid-stream.
const SMALL: u64 = 2_000;
const STREAM: u64 = 4_000;
/// A stream that is little more than its beginning and its end.
const SHORT: u64 = 40;
/// Frames that the sender may be ahead.
const CREDIT: usize = 64;
const BOTH: Ways = [true, true];
const MS: Duration = Duration::from_millis(1);

/// A kind of fault.
struct FaultKind {
    /// The same for both directions.
    line: Line,
    /// Directions that partitions cut; without one there are no partitions.
    cut: Ways,
    /// Most frames of one stream.
    stream: u64,
    /// Frames in an ordinary run, and in a large one per mille of all.
    small: u64,
    share: u64,
    /// What must have happened.
    met: &'static [&'static str],
    /// Whether bytes reach the bridge changed, so that it may find peers to reject.
    changes: bool,
}

impl FaultKind {
    fn new(line: Line, met: &'static [&'static str]) -> Self {
        Self {
            line,
            cut: [false; 2],
            stream: STREAM,
            small: SMALL,
            share: 98,
            met,
            changes: false,
        }
    }

    /// Streams that end soon after they began.
    fn short(self, small: u64, share: u64) -> Self {
        Self {
            stream: SHORT,
            small,
            share,
            met: &[],
            ..self
        }
    }

    fn partition(cut: Ways) -> Self {
        Self {
            cut,
            ..Self::new(Line::default(), &["partitions", "partitioned"])
        }
    }

    /// The faults of one stream.
    fn plan(&self, dice: &mut Dice) -> Plan {
        let mut partitions = Vec::new();
        if self.cut != [false; 2] && self.stream == SHORT {
            // Anywhere in the stream, or after it.
            let lasts = Duration::from_millis(dice.within(100..6_500));
            partitions.push((dice.within(1..40), lasts));
        } else if self.cut != [false; 2] {
            // One that TCP sits out and one in which the link is found dead, in any order.
            let mut lasts = [dice.within(200..1_500), dice.within(5_500..7_000)];
            lasts.swap(0, dice.draw(2) as usize);
            for ms in lasts {
                partitions.push((dice.within(10..60), Duration::from_millis(ms)));
            }
        }
        Plan {
            lines: [self.line; 2],
            partitions,
            ways: self.cut,
        }
    }
}

macro_rules! kinds {
    ($($name:ident: $kind:expr;)*) => {
        $(fn $name() {
            suffer(stringify!($name), &$kind);
        })*

        fn main() -> ExitCode {
            // A half of an edge runs where the test that started it found nothing missing.
            let missing = std::env::var_os(HALF_VARIABLE).is_none().then(missing).flatten();
            run([
                Group::needs(missing, tests![$($name),*]),
                Group::always(tests![lost_doubled_and_reordered_frames_are_detected]),
            ])
        }
    };
}

kinds! {
    partition_both_ways: FaultKind::partition(BOTH);
    partition_to_the_receiver: FaultKind::partition([true, false]);
    partition_to_the_sender: FaultKind::partition([false, true]);
    loss: FaultKind::new(Line { loss: 30, ..Line::default() }, &["lost"]);
    jitter: FaultKind::new(Line { delay: MS, jitter: 8 * MS, ..Line::default() }, &["delayed"]);
    reorder: FaultKind::new(
        Line { delay: MS / 2, reorder: 200, hold: 5 * MS, ..Line::default() },
        &["reordered"],
    );
    duplication: FaultKind::new(Line { duplication: 200, ..Line::default() }, &["duplicated"]);
    corruption_that_tcp_finds: FaultKind::new(Line { corruption: 30, ..Line::default() }, &["corrupted"]);
    corruption_that_tcp_does_not_find: FaultKind {
        changes: true,
        ..FaultKind::new(Line { forgery: 20, ..Line::default() }, &["forged"])
    };
    partition_at_either_end: FaultKind::partition(BOTH).short(2 * SHORT, 1);
    corruption_at_either_end: FaultKind {
        changes: true,
        ..FaultKind::new(
            Line {
                forgery: 80,
                loss: 30,
                ..Line::default()
            },
            &[],
        )
        .short(8 * SHORT, 2)
    };
    narrow: FaultKind {
        share: 17,
        ..FaultKind::new(Line { rate: Some((256_000, 8 << 10)), ..Line::default() }, &["overflowed"])
    };
    all_at_once: FaultKind {
        changes: true,
        cut: BOTH,
        ..FaultKind::new(
            Line {
                loss: 10,
                duplication: 20,
                corruption: 10,
                forgery: 5,
                delay: MS / 2,
                jitter: 2 * MS,
                reorder: 50,
                hold: 5 * MS,
                rate: None,
            },
            &["partitioned", "lost", "duplicated", "corrupted", "reordered", "delayed"],
        )
    };
}

/// Instructions of a half.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Task {
    sends: bool,
    frames: u64,
    credit: usize,
    limit: Duration,
}

/// Results of a half.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Found {
    clean: bool,
    sent: u64,
    delivered: u64,
    /// Numbers that did not arrive, arrived more than once, or came before a smaller one.
    lost: u64,
    twice: u64,
    disordered: u64,
    connects: u64,
    resent: u64,
    /// Peers that were rejected, by cause.
    rejected: BTreeMap<String, u64>,
    report: String,
}

/// Plays one half of the edge, in a process of its own.
fn half(task: &Task) {
    let link = Link {
        credit: task.credit,
        ..Link::new(SocketAddr::from((FAR, 7000)), Delivery::AtLeastOnce)
    };
    let metrics = Metrics::new(if task.sends { "gateway" } else { "compute" });
    let collect = CollectConfig::default();
    let seen = collect.seen.clone();
    let graph = if task.sends {
        link.sender(counting(task.frames, 0), &metrics)
    } else {
        link.receiver(collect, &metrics)
    };
    let report = actix::System::new().block_on(async {
        let running = graph.start().await.unwrap();
        let ended = tokio::time::timeout(task.limit, running.wait()).await;
        ended.unwrap_or_else(|_| panic!("does not end:\n{}", metrics.render()))
    });
    let (books, link) = (books(&report), metrics.link(EDGE));
    let mut found = Found {
        clean: report.is_clean(),
        sent: books.sent,
        delivered: books.delivered,
        connects: link.connects.get(),
        resent: link.resent.get(),
        rejected: rejected(&metrics.render()),
        report: format!("{report:?}"),
        ..Found::default()
    };
    if !task.sends {
        judge(&seen.lock().unwrap(), task.frames, &mut found);
    }
    println!("{MARK}{}", serde_json::to_string(&found).unwrap());
}

/// Compares the numbers that arrived with 1 to `frames`.
fn judge(seen: &[u64], frames: u64, found: &mut Found) {
    let mut times = vec![0u64; frames as usize + 1];
    for number in seen {
        match times.get_mut(*number as usize) {
            Some(times) if *number > 0 => *times += 1,
            // A number that was never sent.
            _ => found.disordered += 1,
        }
    }
    found.lost = times[1..].iter().filter(|times| **times == 0).count() as u64;
    found.twice = times.iter().filter(|times| **times > 1).count() as u64;
    found.disordered += seen.windows(2).filter(|pair| pair[0] >= pair[1]).count() as u64;
}

/// The rejected peers in a text of metrics, by cause.
fn rejected(text: &str) -> BTreeMap<String, u64> {
    let lines = text
        .lines()
        .filter(|line| line.starts_with("heqis_link_rejected_peers_total{"));
    lines
        .filter_map(|line| {
            let cause = line.split_once("cause=\"")?.1.split_once('"')?.0;
            Some((cause.to_owned(), line.rsplit_once(' ')?.1.parse().ok()?))
        })
        .collect()
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {value}")),
    )
}

/// Sends frames, in streams one after the other, through the faults of `kind`.
fn suffer(test: &str, kind: &FaultKind) {
    if let Ok(task) = std::env::var(HALF_VARIABLE) {
        return half(&serde_json::from_str(&task).unwrap());
    }
    let seed = variable(SEED_VARIABLE).unwrap_or(1);
    let all = variable(FRAMES_VARIABLE);
    let frames = all.map_or(kind.small, |all| (all * kind.share / 1000).max(1));
    let streams = frames.div_ceil(kind.stream);
    let again = match all {
        Some(all) => format!("./chaos network --seed {seed} --frames {all}"),
        None => "cargo test -p heqis-actors --test network".into(),
    };
    // Kinds draw apart from each other.
    let mix = |sum: u64, byte: u8| sum.wrapping_mul(31).wrapping_add(byte.into());
    let mut dice = Dice(test.bytes().fold(seed, mix));
    let mut total = Total::default();
    for stream in 0..streams {
        let count = frames / streams + u64::from(stream < frames % streams);
        let context = format!("{test}, seed {seed}, stream {stream}, again with `{again}`");
        let start = Instant::now();
        let (faults, sender, receiver) = one_stream(test, kind, count, &mut dice, &context);
        for found in [&sender, &receiver] {
            assert!(found.clean, "{context}: {found:?}");
            let books = (found.sent, found.delivered);
            assert_eq!(books, (count, count), "{context}: {found:?}");
            let wrong = (found.lost, found.twice, found.disordered);
            assert_eq!(wrong, (0, 0, 0), "{context}: {found:?}");
            // A partition may fall between a connection and its hello, and such a peer is rejected for its silence.
            let rejects = found.rejected.values().sum::<u64>();
            let explained = kind.changes || rejects <= faults.of("partitions");
            assert!(explained, "{context}: {:?}", found.rejected);
        }
        total.add(&faults, &sender, &receiver, start.elapsed());
    }
    // A run that was made small need not meet every fault.
    for what in kind.met.iter().filter(|_| frames >= SMALL) {
        let met = total.faults.of(what) > 0;
        assert!(met, "{test}, seed {seed}: no {what}: {:?}", total.faults);
    }
    if total.faults.of("forged") > 20 {
        let found = total.rejected.contains_key("crc");
        assert!(found, "{test}, seed {seed}: {:?}", total.rejected);
    }
    println!("network: {test}: {total}");
}

/// Results of all streams of a test.
#[derive(Default)]
struct Total {
    streams: u64,
    frames: u64,
    lost: u64,
    twice: u64,
    connects: u64,
    resent: u64,
    rejected: BTreeMap<String, u64>,
    faults: Tally,
    took: Duration,
    slowest: Duration,
}

impl Total {
    fn add(&mut self, faults: &Tally, sender: &Found, receiver: &Found, took: Duration) {
        self.streams += 1;
        self.frames += receiver.delivered;
        self.lost += receiver.lost;
        self.twice += receiver.twice;
        self.connects += sender.connects;
        self.resent += sender.resent;
        for (cause, count) in sender.rejected.iter().chain(&receiver.rejected) {
            *self.rejected.entry(cause.clone()).or_default() += count;
        }
        self.faults.add(faults);
        self.took += took;
        self.slowest = self.slowest.max(took);
    }
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} frames in {} streams, {} lost, {} twice, {} connections, {} sent again, {:.1} s, the slowest {:.1} s",
            self.frames,
            self.streams,
            self.lost,
            self.twice,
            self.connects,
            self.resent,
            self.took.as_secs_f64(),
            self.slowest.as_secs_f64(),
        )?;
        for (name, counts) in [("packets", &self.faults.0), ("rejected", &self.rejected)] {
            for (index, (what, count)) in counts.iter().enumerate() {
                let before = if index == 0 {
                    format!("; {name}:")
                } else {
                    ",".into()
                };
                write!(f, "{before} {what} {count}")?;
            }
        }
        Ok(())
    }
}

/// One stream from its beginning to its end: what the forwarder did, and what the two halves found.
fn one_stream(
    test: &str,
    kind: &FaultKind,
    frames: u64,
    dice: &mut Dice,
    context: &str,
) -> (Tally, Found, Found) {
    let plan = kind.plan(dice);
    let narrow = kind.line.rate.map_or(0, |(rate, _)| frames * 4_000 / rate);
    let limit = Duration::from_secs(120 + frames / 100 + narrow);
    let pair = Arc::new(Pair::new());
    let start = |sends: bool| {
        let task = Task {
            sends,
            frames,
            credit: CREDIT,
            limit,
        };
        let mut command = pair.command(!sends, &std::env::current_exe().unwrap());
        command
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(HALF_VARIABLE, serde_json::to_string(&task).unwrap())
            .stdout(Stdio::piped());
        Half(command.spawn().unwrap())
    };
    let mut halves = [start(true), start(false)];
    let forwarder = Forwarder::start(pair.clone(), plan, dice.draw(u64::MAX));
    let deadline = Instant::now() + limit + Duration::from_secs(10);
    loop {
        let ended = halves.each_mut().map(|half| half.0.try_wait().unwrap());
        if ended.iter().all(Option::is_some) {
            break;
        }
        // One that has failed will not be met by the other.
        let failed = ended.iter().flatten().any(|status| !status.success());
        if failed || Instant::now() > deadline {
            let tally = forwarder.stop();
            panic!("{context}: sender and receiver: {ended:?}, packets: {tally:?}");
        }
        std::thread::sleep(5 * MS);
    }
    let tally = forwarder.stop();
    let [sender, receiver] = halves.map(|mut half| {
        let mut text = String::new();
        half.0
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        let report = text
            .split_once(MARK)
            .and_then(|(_, rest)| rest.lines().next());
        let report = report.unwrap_or_else(|| panic!("{context}: no report: {text}"));
        serde_json::from_str::<Found>(report).unwrap()
    });
    (tally, sender, receiver)
}

/// A process that does not outlive the test.
struct Half(Child);

impl Drop for Half {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lost_doubled_and_reordered_frames_are_detected() {
    let judged = |seen: &[u64]| {
        let mut found = Found::default();
        judge(seen, 4, &mut found);
        (found.lost, found.twice, found.disordered)
    };
    assert_eq!(judged(&[1, 2, 3, 4]), (0, 0, 0));
    assert_eq!(judged(&[1, 2, 4]), (1, 0, 0));
    assert_eq!(judged(&[1, 2, 2, 3, 4]), (0, 1, 1));
    assert_eq!(judged(&[1, 3, 2, 4]), (0, 0, 1));
    assert_eq!(judged(&[1, 2, 3, 4, 9]), (0, 0, 1));
}
