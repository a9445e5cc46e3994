//! The course of one run: events as the schedule says, a supervisor that starts again what ended, and a look at the nodes all
//! the while.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heqis_data::journal::Names;
use serde_json::Value;

use crate::feed::Feed;
use crate::node::{Exit, Node, State};
use crate::schedule::{Deed, Event, Moment, Schedule, Way};
use crate::stand::{Stand, get};
use crate::world::{self, Disk, World};

/// How long a run may take in all; a run that takes longer stands still.
const PATIENCE: Duration = Duration::from_secs(60);
/// After which a node whose peer is down has to say that it waits.
const NOTICE: Duration = Duration::from_millis(2_200);
/// How long after the disk has room again a node may still end because it had none.
const RECOVERY: Duration = Duration::from_secs(2);
/// Bytes at a journal's end in which its last whole line is.
const TAIL_BYTES: u64 = 2_048;

/// What an undisturbed run has.
#[derive(Clone, Default)]
pub struct Expected {
    /// Decisions in all.
    pub total: u64,
    /// The bar behind that of each decision, in the order of the feed.
    pub next_bar: Arc<Vec<usize>>,
}

/// One run.
pub struct Course<'a> {
    pub stand: Stand,
    pub schedule: &'a Schedule,
    world: &'a World,
    expected: &'a Expected,
    pub nodes: [Node; 2],
    pub exits: Vec<Exit>,
    pub problems: Vec<String>,
    pub names: Names,
    pub feed: Option<Feed>,
    disk: Option<Disk>,
    /// While the disk is full: until when.
    full: Option<Instant>,
    full_spans: Vec<(Instant, Instant)>,
    decided: u64,
    /// Every file that was seen as the journal's active segment, by inode.
    pub files: BTreeMap<u64, PathBuf>,
    next_probe: Instant,
    pub begun: Instant,
}

impl<'a> Course<'a> {
    pub fn new(schedule: &'a Schedule, world: &'a World, expected: &'a Expected) -> Self {
        let on_disk = schedule.troubles_disk();
        let stand = world::stand(schedule.way, schedule.sealed, on_disk);
        let disk = on_disk.then(|| {
            let place = stand.folder.path().join("disk");
            std::fs::create_dir(&place).unwrap();
            Disk::mount(&place).unwrap()
        });
        let feed = (schedule.way == Way::Live).then(|| {
            let (port, next) = (stand.ports[4], expected.next_bar.clone());
            Feed::start(port, world.bars.clone(), next, expected.total)
        });
        let course = Self {
            names: Names::of(&world::journal(&stand, on_disk)),
            stand,
            schedule,
            world,
            expected,
            nodes: ["gateway", "compute"].map(Node::new),
            exits: Vec::new(),
            problems: Vec::new(),
            feed,
            disk,
            full: None,
            full_spans: Vec::new(),
            decided: 0,
            files: BTreeMap::new(),
            next_probe: Instant::now(),
            begun: Instant::now(),
        };
        for node in 0..2 {
            course.step_clock(node, 0);
        }
        course
    }

    /// Runs to the end. An error is a run that stood still.
    pub fn run(&mut self) -> Result<(), String> {
        let schedule = self.schedule;
        self.tick();
        for &event in &schedule.events {
            let failed = |error| format!("{event}: {error}");
            self.wait_for(event).map_err(failed)?;
            self.act(event);
        }
        self.wait("both nodes have ended", Self::is_complete)
    }

    /// Keeps the folder, for the analysis of a failure.
    pub fn keep(mut self) -> PathBuf {
        for node in &mut self.nodes {
            node.end();
        }
        let folder = self.stand.folder.path().to_owned();
        if self.disk.is_some() {
            // The disk is gone with this run.
            let _ = std::process::Command::new("cp")
                .arg("-r")
                .args([folder.join("disk"), folder.join("copy")])
                .status();
        }
        self.stand.folder.disable_cleanup(true);
        folder
    }

    fn is_complete(&mut self) -> bool {
        self.full.is_none() && self.nodes.iter().all(Node::is_complete)
    }

    /// Waits for an event's moment; a moment that never comes because the stream is complete is over.
    fn wait_for(&mut self, event: Event) -> Result<(), String> {
        for &node in event.target.nodes() {
            self.nodes[node].away = Duration::from_millis(event.away_ms);
        }
        let total = self.expected.total;
        let decisions = |share: u64| (total * share / 1_000).max(1);
        let until = match event.moment {
            Moment::Start { us } => return self.pause(us),
            Moment::Stream { share } | Moment::Drain { share, .. } => decisions(share),
            Moment::Close { left, .. } => total - left.min(total),
            Moment::AfterEnd { us } => {
                self.wait("both nodes have ended", Self::is_complete)?;
                let now = Instant::now();
                for node in &mut self.nodes {
                    node.state = State::Away {
                        since: now,
                        until: now,
                    };
                }
                self.tick();
                return self.pause(us);
            }
        };
        self.wait("decisions are written", |course| {
            course.decided >= until || course.is_complete()
        })?;
        match event.moment {
            Moment::Close { us, .. } => self.pause(us),
            Moment::Drain { us, .. } => {
                for &node in event.target.nodes() {
                    self.nodes[node].signal("TERM");
                }
                self.pause(us)
            }
            _ => Ok(()),
        }
    }

    fn act(&mut self, event: Event) {
        match event.deed {
            Deed::DiskFull(ms) => {
                if let (Some(disk), None) = (&self.disk, self.full) {
                    disk.fill();
                    let now = Instant::now();
                    let until = now + Duration::from_millis(ms);
                    self.full = Some(until);
                    self.full_spans.push((now, until + RECOVERY));
                }
                return;
            }
            Deed::MoveJournal => {
                let path = self.names.active();
                let _ = std::fs::rename(path, path.with_extension("moved"));
                return;
            }
            Deed::RemoveJournal => {
                let _ = std::fs::remove_file(self.names.active());
                return;
            }
            _ => {}
        }
        for (number, &node) in event.target.nodes().iter().enumerate() {
            if number > 0 {
                std::thread::sleep(Duration::from_micros(event.apart_us));
            }
            let it = &mut self.nodes[node];
            match event.deed {
                Deed::Kill => it.signal("KILL"),
                Deed::Suspend(ms) => it.suspend(Duration::from_millis(ms)),
                Deed::Upgrade => {
                    it.program = 1 - it.program;
                    it.signal("TERM");
                }
                Deed::StepClock(seconds) => self.step_clock(node, seconds),
                _ => it.signal("TERM"),
            }
        }
    }

    fn clock_file(&self, node: usize) -> PathBuf {
        let name = format!("{}.clock", self.nodes[node].name);
        self.stand.folder.path().join(name)
    }

    fn step_clock(&self, node: usize, seconds: i64) {
        let path = self.clock_file(node);
        let draft = path.with_extension("new");
        std::fs::write(&draft, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(&draft, &path).unwrap();
    }

    fn pause(&mut self, us: u64) -> Result<(), String> {
        let until = Instant::now() + Duration::from_micros(us);
        self.wait("some time has passed", |_| Instant::now() >= until)
    }

    /// Lets the run continue until `done`.
    fn wait(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) -> Result<(), String> {
        loop {
            self.tick();
            if done(self) {
                return Ok(());
            }
            if self.begun.elapsed() > PATIENCE {
                return Err(format!("waited in vain until {what}; {}", self.standing()));
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// Where a run stands that stands still.
    fn standing(&self) -> String {
        let nodes = self
            .nodes
            .iter()
            .zip(&self.stand.ports)
            .map(|(node, port)| {
                let state = match node.is_running() {
                    true => get(*port, "/readyz").map_or_else(
                        || "gives no answer".to_owned(),
                        |(status, text)| format!("{status} {}", text.trim_end()),
                    ),
                    false => format!("{:?}", node.state),
                };
                format!("{} (start {}): {state}", node.name, node.starts)
            });
        let nodes: Vec<String> = nodes.collect();
        let total = self.expected.total;
        format!(
            "{} of {total} decisions; {}",
            self.decided,
            nodes.join("; ")
        )
    }

    /// One look at everything.
    fn tick(&mut self) {
        let now = Instant::now();
        if self.full.is_some_and(|until| until <= now) {
            self.full = None;
            self.disk.as_ref().unwrap().free();
        }
        self.look_at_journal();
        for number in 0..2 {
            if let Some(exit) = self.nodes[number].look(&self.stand) {
                self.judge(&exit);
                self.exits.push(exit);
            }
            let is_due = match self.nodes[number].state {
                State::Away { until, .. } => until <= now,
                _ => self.nodes[number].is_missed_by(&self.nodes[1 - number]),
            };
            if is_due {
                self.start(number);
                // A node alone waits for the other one, and a complete node does not come back by itself.
                if self.nodes[1 - number].is_complete() {
                    self.start(1 - number);
                }
            }
        }
        if now >= self.next_probe {
            self.next_probe = now + Duration::from_millis(150);
            self.probe();
        }
    }

    fn start(&mut self, number: usize) {
        let clock = self
            .schedule
            .steps_clock()
            .then(|| self.world.clock_environment(&self.clock_file(number)));
        let node = &mut self.nodes[number];
        let program = &self.world.programs[node.program];
        node.start(&self.stand, program, clock.as_deref());
    }

    /// Reads how many decisions are written, from the last whole line of the active segment.
    fn look_at_journal(&mut self) {
        let path = self.names.active();
        let Ok(mut file) = std::fs::File::open(path) else {
            return;
        };
        let Ok(meta) = file.metadata() else { return };
        self.files.entry(meta.ino()).or_insert_with(|| path.into());
        let mut tail = Vec::new();
        let start = meta.len().saturating_sub(TAIL_BYTES);
        let read = file.seek(SeekFrom::Start(start));
        if read.is_err() || file.read_to_end(&mut tail).is_err() {
            return;
        }
        let whole = tail.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
        let line = tail[..whole].rsplit(|&byte| byte == b'\n').next();
        let line: Value = serde_json::from_slice(line.unwrap_or_default()).unwrap_or_default();
        let number = ["n", "before", "decisions"]
            .iter()
            .find_map(|key| line[key].as_u64());
        self.decided = self.decided.max(number.unwrap_or(0));
        if let Some(feed) = &self.feed {
            feed.decided(self.decided);
        }
    }

    /// A node whose peer is down is not ready, and says what it waits for.
    fn probe(&mut self) {
        for number in 0..2 {
            let (node, peer) = (&self.nodes[number], &self.nodes[1 - number]);
            let is_up =
                matches!(node.state, State::Running { since, .. } if since.elapsed() > NOTICE);
            let is_down = peer.away_since().is_some_and(|at| at.elapsed() > NOTICE);
            if !is_up || !node.is_running() || !is_down {
                continue;
            }
            let Some((status, text)) = get(self.stand.ports[number], "/readyz") else {
                continue;
            };
            let edges = ["'ring->engine'", "'signal->feedback'", "draining"];
            let names = edges.iter().any(|edge| text.contains(edge)) || text.contains(peer.name);
            if status != 503 || !names {
                self.problems.push(format!(
                    "{} is down for {:.1} s, and {} answers {status} {}",
                    peer.name,
                    peer.away_since()
                        .map_or(0.0, |at| at.elapsed().as_secs_f64()),
                    node.name,
                    text.trim_end()
                ));
            }
        }
    }

    /// Whether a process ended as it may.
    fn judge(&mut self, exit: &Exit) {
        let asked = |signal: &str| exit.asked.contains(&signal);
        let was_full = self
            .full_spans
            .iter()
            .any(|&(from, to)| (from..to).contains(&exit.at));
        let faults = exit.summary.as_ref().map(|summary| &summary["faults"]);
        let problem = match (exit.code, exit.signal) {
            (_, Some(9)) if asked("KILL") => None,
            // Before it listens to signals it ends by them.
            (_, Some(15)) if asked("TERM") && !exit.log.contains("metrics on") => None,
            (Some(0), _) => match faults {
                None => Some("ended with 0 and no summary".to_owned()),
                Some(Value::Array(faults)) if faults.is_empty() => (!exit.is_complete()
                    && !asked("TERM"))
                .then(|| "left in mid-stream although nothing asked it to".to_owned()),
                Some(faults) => Some(format!("ended with 0 and faults: {faults}")),
            },
            (Some(1), _) if was_full => match faults {
                Some(faults) if faults.to_string().contains("books of edge") => {
                    Some(format!("ended with 1 and open books: {faults}"))
                }
                _ => None,
            },
            (code, signal) => Some(format!(
                "ended with code {code:?}, signal {signal:?}, faults {}",
                faults.unwrap_or(&Value::Null)
            )),
        };
        if let Some(problem) = problem {
            let lines: Vec<&str> = exit.log.lines().rev().take(3).collect();
            let lines: Vec<&str> = lines.into_iter().rev().collect();
            self.problems.push(format!(
                "{} (start {}, sent {:?}): {problem}\n      | {}",
                exit.node,
                exit.start,
                exit.asked,
                lines.join("\n      | ")
            ));
        }
    }
}
