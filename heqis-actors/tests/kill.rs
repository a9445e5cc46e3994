//! Two processes under `kill -9` and SIGTERM at random moments: windows, joins and merged sources lose nothing, count
//! nothing twice and shift no window. `cargo test -p heqis-actors --test kill -- --ignored two_hundred` kills 225 times;
//! `HEQIS_KILL_SCENE` names one scene, and `HEQIS_KILL_SEED` gives other moments.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod links;
mod merging;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Number;
use heqis_actors::{
    BridgeOptions, BuildContext, Delivery, EdgeOptions, Emitter, Frame, GraphBuilder, Join, Next,
    Nothing, Origins, PayloadType, Snapshot, Source, Stage, StageError, StageOptions, StateOptions,
    WindowSpan,
};
use links::{Dice, MAX_FRAME, PATIENCE};
use merging::{Nil, Parity, TenOfEach, Ungroup, Window, WindowConfig};
use rustix::process::{Pid, Signal, kill_process};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What makes this program a node: its role, the scene, the folder of the run, and the number of items of each source.
const NODE: &str = "HEQIS_KILL_NODE";
/// How long a node drains after SIGTERM.
const DRAIN: Duration = Duration::from_millis(200);
/// Time between two items, nanoseconds.
const EVERY_NS: i64 = 400_000;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct ItemsConfig {
    count: u64,
    /// Groups in turn, or one group of this number where there is one.
    groups: u64,
    group: Option<u64>,
}

/// Counts, at once where the items were processed before.
struct Items {
    config: ItemsConfig,
    next: u64,
    due_ns: i64,
    cx: BuildContext,
}

impl Source for Items {
    type Config = ItemsConfig;
    type Out = Number;
    const KIND: &'static str = "items";
    const ABOUT: &'static str = "Counts.";
    const REPLAYABLE: bool = true;

    fn identity(config: &ItemsConfig, _: &Path) -> Result<Option<u64>, StageError> {
        Ok(Some(
            config.count ^ config.group.map_or(0, |group| (group + 1) << 32),
        ))
    }

    fn build(config: &ItemsConfig, cx: &BuildContext) -> Result<Self, StageError> {
        Ok(Self {
            config: config.clone(),
            next: 1,
            due_ns: 0,
            cx: cx.clone(),
        })
    }

    fn next(&mut self) -> Result<Next<Number>, StageError> {
        if self.next > self.config.count {
            return Ok(Next::End);
        }
        let now_ns = self.cx.clock().now_ns();
        if !self.cx.is_replaying() {
            if now_ns < self.due_ns {
                return Ok(Next::At(self.due_ns));
            }
            self.due_ns = now_ns + EVERY_NS;
        }
        let value = self.next;
        self.next += 1;
        let group = self.config.group;
        Ok(Next::Item(Number {
            value,
            group: group.unwrap_or(value % self.config.groups),
        }))
    }
}

/// The sum of a window.
fn sum(_: &WindowSpan, numbers: &[Frame<Number>]) -> Number {
    Number {
        value: numbers.iter().map(|number| number.value).sum(),
        group: numbers[0].group,
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct FileLogConfig {
    path: PathBuf,
}

/// A commit log in a file, one record a line.
struct FileLog {
    file: File,
    cx: BuildContext,
}

#[derive(Serialize, Deserialize)]
struct Record {
    origins: Origins,
    value: u64,
    group: u64,
}

fn records(path: &Path) -> (Vec<Record>, u64) {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or(0, |at| at + 1);
    let lines = text[..whole].lines();
    let records = lines.map(|line| serde_json::from_str(line).unwrap());
    (records.collect(), whole as u64)
}

impl Stage for FileLog {
    type Config = FileLogConfig;
    type In = Number;
    type Out = Nothing;
    const KIND: &'static str = "file-log";
    const ABOUT: &'static str = "Records numbers.";
    const COMMIT_LOG: bool = true;

    fn build(config: &FileLogConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let (records, whole) = records(&config.path);
        for record in records {
            cx.committed().insert_origins(&record.origins);
        }
        let mut open = OpenOptions::new();
        let file = open.create(true).append(true).open(&config.path).unwrap();
        file.set_len(whole).unwrap();
        Ok(Self {
            file,
            cx: cx.clone(),
        })
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }

    fn process(
        &mut self,
        frame: &Frame<Number>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        if !self.cx.committed().holds(frame.head()) {
            let record = Record {
                origins: frame.head().origins(),
                value: frame.value,
                group: frame.group,
            };
            let line = serde_json::to_string(&record).unwrap() + "\n";
            self.file.write_all(line.as_bytes()).unwrap();
            self.cx.committed().insert_head(frame.head());
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Scene {
    /// Windows of ten of one group on the consuming node.
    Windows,
    /// Windows of ten that move by five.
    Overlapping,
    /// Windows of 100, held by a state that is saved; the edge carries 64 frames.
    Saved,
    /// Windows of 100 of each of two keys, as `GraphBuilder::window` makes them; the edge carries 64 frames.
    Shipped,
    /// Windows of ten of four groups, on two workers.
    Workers,
    /// Windows of ten of the items of two sources, in the order of their arrival.
    FanIn,
    /// Pairs of items of two sources, by the two ports of a join.
    Join,
    /// Odd and even items by ports of their own, and windows of ten of each port.
    Ports,
    /// Windows of ten on the sending node.
    Sent,
    /// Windows of ten on the sending node, and windows of three of them on the consuming one.
    Twice,
    /// As `Twice`, with both nodes saving their state.
    TwiceSaved,
}

const SCENES: [Scene; 11] = [
    Scene::Windows,
    Scene::Overlapping,
    Scene::Saved,
    Scene::Shipped,
    Scene::Workers,
    Scene::FanIn,
    Scene::Join,
    Scene::Ports,
    Scene::Sent,
    Scene::Twice,
    Scene::TwiceSaved,
];

impl Scene {
    fn sources(self) -> &'static [&'static str] {
        match self {
            Self::FanIn | Self::Join => &["left", "right"],
            _ => &["left"],
        }
    }

    fn groups(self) -> u64 {
        match self {
            Self::Workers => 4,
            Self::Shipped => 2,
            _ => 1,
        }
    }

    fn window(self) -> WindowConfig {
        match self {
            Self::Overlapping => WindowConfig {
                step: 5,
                ..WindowConfig::tumbling(10)
            },
            Self::Saved => WindowConfig::tumbling(100).saved(),
            Self::Twice => WindowConfig::tumbling(3),
            Self::TwiceSaved => WindowConfig::tumbling(3).saved(),
            _ => WindowConfig::tumbling(10),
        }
    }

    /// The windows on the sending node.
    fn sent(self) -> Option<WindowConfig> {
        match self {
            Self::Sent | Self::Twice => Some(WindowConfig::tumbling(10)),
            Self::TwiceSaved => Some(WindowConfig::tumbling(10).saved()),
            _ => None,
        }
    }
}

/// A node of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Node {
    feeds: bool,
    scene: Scene,
    folder: PathBuf,
    count: u64,
}

impl Node {
    fn log(&self) -> PathBuf {
        self.folder.join("sums.jsonl")
    }

    fn items(&self) -> ItemsConfig {
        ItemsConfig {
            count: self.count,
            groups: self.scene.groups(),
            group: (self.scene == Scene::FanIn).then_some(0),
        }
    }

    fn graph(&self) -> GraphBuilder {
        let edge = EdgeOptions::new().capacity(64usize);
        let bridge = |from: &str| {
            let endpoint = format!("ipc://{}", self.folder.join(from).display());
            BridgeOptions::new(endpoint.parse().unwrap())
                .credit(16usize)
                .delivery(Delivery::AtLeastOnce)
                .max_frame(MAX_FRAME)
        };
        let payload = PayloadType::of::<Number>;
        let scene = self.scene;
        let options = StageOptions::default;
        let saved = matches!(scene, Scene::Saved | Scene::Shipped | Scene::TwiceSaved);
        let name = if self.feeds { "feed" } else { "merge" };
        let mut graph = GraphBuilder::new("kill").node(name);
        if saved {
            graph = graph.state(
                StateOptions::new(self.folder.join(name).with_extension("state"))
                    .every(Duration::from_millis(40)),
            );
        }
        for source in scene.sources() {
            graph = match self.feeds {
                true => graph.source::<Items>(source, self.items(), options()),
                false => graph.remote(source),
            };
        }
        let mut from = scene.sources().to_vec();
        if let Some(window) = scene.sent() {
            from = vec!["first"];
            graph = match self.feeds {
                true => graph
                    .stage::<Window>("first", window, options())
                    .edge("left", "first", edge),
                false => graph.remote("first"),
            };
        }
        if scene == Scene::Ports {
            graph = match self.feeds {
                true => graph
                    .split("split", |number: &Frame<Number>| match number.value % 2 {
                        1 => Parity::Odd(number.clone()),
                        _ => Parity::Even(number.clone()),
                    })
                    .edge("left", "split", edge),
                false => graph.remote("split"),
            };
        }
        if self.feeds {
            graph = graph.remote("sum").remote("log");
        } else {
            let merging = match scene {
                Scene::Join => graph.join(
                    "sum",
                    Join::default(),
                    |left: &Frame<Number>, right: &Frame<Number>| Number {
                        value: left.value + right.value,
                        group: 0,
                    },
                ),
                Scene::Ports => graph.stage::<TenOfEach>("sum", Nil {}, options()),
                Scene::Sent => graph.stage::<Ungroup>("sum", Nil {}, options()),
                Scene::Shipped => {
                    let window = heqis_actors::Window::tumbling(100).per_key();
                    graph.window("sum", window, sum)
                }
                Scene::Workers => {
                    let workers = options().workers(2usize);
                    graph.stage::<Window>("sum", scene.window(), workers)
                }
                _ => graph.stage::<Window>("sum", scene.window(), options()),
            };
            let log = options().arbiter("log");
            graph = merging
                .stage::<FileLog>("log", FileLogConfig { path: self.log() }, log)
                .edge("sum", "log", edge);
        }
        let ends: Vec<(&str, &str)> = match scene {
            Scene::Join => vec![("left", "sum.left"), ("right", "sum.right")],
            Scene::Ports => vec![("split.odd", "sum.odd"), ("split.even", "sum.even")],
            _ => from.into_iter().map(|from| (from, "sum")).collect(),
        };
        for (route, ends) in (0..).zip(ends) {
            let from = ends.0;
            graph = match self.feeds {
                true => graph.edge_out(route, ends, payload(), edge, bridge(from)),
                false => graph.edge_in(route, ends, payload(), edge, bridge(from)),
            };
        }
        graph
    }

    fn start(&self) -> Child {
        let errors = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("errors.txt"))
            .unwrap();
        Command::new(std::env::current_exe().unwrap())
            .args(["node", "--exact", "--ignored", "--nocapture"])
            .env(NODE, serde_json::to_string(self).unwrap())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .unwrap()
    }
}

#[test]
#[ignore = "the other tests of this file run it as a process of its own"]
fn node() {
    let node: Node = serde_json::from_str(&std::env::var(NODE).unwrap()).unwrap();
    let report = node.graph().stop_on_signals().run(DRAIN).unwrap();
    assert!(report.books_close(), "{report:?}");
    // A node that has left is started again.
    std::process::exit(i32::from(report.left));
}

/// Processes that end with the test.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a scene while its nodes are killed `kills` times, and checks what it has recorded.
fn run(scene: Scene, kills: u64, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let nodes = [true, false].map(|feeds| Node {
        feeds,
        scene,
        folder: folder.path().to_owned(),
        count: 600 + 300 * kills,
    });
    let mut dice = Dice(seed);
    let Running(running) = &mut Running(nodes.iter().map(Node::start).collect());
    let mut killed = Vec::new();
    let begun = Instant::now();
    while (killed.len() as u64) < kills {
        std::thread::sleep(Duration::from_millis(dice.within(30..250)));
        if running.iter_mut().any(ended) {
            break;
        }
        let (which, by_signal) = (dice.draw(2) as usize, dice.per_mille(300));
        let signal = if by_signal {
            Signal::TERM
        } else {
            Signal::KILL
        };
        kill_process(Pid::from_child(&running[which]), signal).unwrap();
        let status = running[which].wait().unwrap();
        let expected = status.signal().is_some() || status.code().is_some_and(|code| code < 2);
        assert!(expected, "{}", failure(&nodes[0], &status.to_string()));
        let sums = records(&nodes[0].log()).0.len();
        killed.push((["feed", "merge"][which], signal.as_raw(), sums));
        running[which] = nodes[which].start();
    }
    // A node that was killed in its last moments needs the other one once more.
    let mut alone = Instant::now();
    loop {
        let over: Vec<bool> = running.iter_mut().map(ended).collect();
        match over[..] {
            [true, true] => break,
            [false, false] => alone = Instant::now(),
            _ if alone.elapsed() > Duration::from_secs(3) => {
                let which = usize::from(over[1]);
                running[which] = nodes[which].start();
                alone = Instant::now();
            }
            _ => {}
        }
        if begun.elapsed() > PATIENCE * 3 {
            panic!("{}", failure(&nodes[0], "does not end"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    eprintln!("{scene:?}: {} kills in {:?}", killed.len(), begun.elapsed());
    check(&nodes[1], &killed);
}

fn ended(child: &mut Child) -> bool {
    child
        .try_wait()
        .unwrap()
        .is_some_and(|status| status.success())
}

fn failure(node: &Node, what: &str) -> String {
    let errors = std::fs::read_to_string(node.folder.join("errors.txt")).unwrap_or_default();
    let sums = records(&node.log()).0.len();
    format!("{:?}: {what}; {sums} records\n{errors}", node.scene)
}

/// Checks the records: each item is completed once, and the sums are those of an undisturbed run.
fn check(node: &Node, killed: &[(&str, i32, usize)]) {
    let (records, _) = records(&node.log());
    let order = || {
        let records = records.iter().map(|one| one.origins.to_string());
        format!("{killed:?}\n{}", records.collect::<Vec<_>>().join("\n"))
    };
    let mut done: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    for (at, record) in records.iter().enumerate() {
        for run in record.origins.done() {
            for position in run.first..=run.last {
                let other = done.insert((run.stream, position), at);
                assert_eq!(
                    other,
                    None,
                    "{:?}: item {position} counts twice; {}",
                    node.scene,
                    order()
                );
            }
        }
    }
    let count = node.count;
    let chunks = |size: usize, step: usize| -> Vec<(u64, u64)> {
        let all: Vec<u64> = (1..=count).collect();
        let windows = all.windows(size).step_by(step);
        windows.map(|window| (0, window.iter().sum())).collect()
    };
    let mut expected = match node.scene {
        Scene::Windows | Scene::Sent => chunks(10, 10),
        Scene::Overlapping => chunks(10, 5),
        Scene::Saved => chunks(100, 100),
        Scene::Twice | Scene::TwiceSaved => chunks(30, 30),
        Scene::Workers | Scene::Shipped => {
            let groups = node.scene.groups();
            let (size, some) = match node.scene {
                Scene::Shipped => (100, 1),
                _ => (10, 10),
            };
            let groups = (0..groups).flat_map(|group| {
                let own: Vec<u64> = (1..=count)
                    .filter(|value| value % groups == group)
                    .collect();
                // The last window of a complete stream need not be full, where `drain` closes it.
                let windows = own.chunks(size).filter(|window| window.len() >= some);
                let windows = windows.map(|window| window.iter().sum());
                windows.map(|sum| (group, sum)).collect::<Vec<_>>()
            });
            groups.collect()
        }
        Scene::Ports => {
            let of = |rest| -> Vec<u64> { (1..=count).filter(|value| value % 2 == rest).collect() };
            let sums = |all: Vec<u64>| -> Vec<(u64, u64)> {
                all.chunks_exact(10)
                    .map(|ten| (0, ten.iter().sum()))
                    .collect()
            };
            [sums(of(1)), sums(of(0))].concat()
        }
        Scene::Join => (1..=count).map(|value| (0, value * 2)).collect(),
        // The windows depend on the order of arrival; their number and their sum do not.
        Scene::FanIn => {
            assert_eq!(
                (records.len() as u64, done.len() as u64),
                (count / 5, 2 * count)
            );
            let sum: u64 = records.iter().map(|record| record.value).sum();
            return assert_eq!(sum, count * (count + 1));
        }
    };
    let mut found: Vec<_> = records.iter().map(|one| (one.group, one.value)).collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert!(
        found == expected,
        "{:?}: {} sums, {} expected; {}",
        node.scene,
        found.len(),
        expected.len(),
        order()
    );
}

/// A few kills of each scene, several scenes at a time.
fn run_all(kills: u64, seed: u64) {
    let only = std::env::var("HEQIS_KILL_SCENE").unwrap_or_default();
    let scenes = SCENES.iter().enumerate();
    let scenes = scenes.filter(|(_, scene)| only.is_empty() || format!("{scene:?}") == only);
    let next = std::sync::Mutex::new(scenes);
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                while let Some((at, &scene)) = { next.lock().unwrap().next() } {
                    run(scene, kills, seed + at as u64);
                }
            });
        }
    });
}

#[test]
fn nothing_is_lost_or_counted_twice_when_either_node_is_killed_a_few_times() {
    run_all(2, 17);
}

#[test]
#[ignore = "takes minutes: 225 kills"]
fn two_hundred_kills() {
    let seed = std::env::var("HEQIS_KILL_SEED").map_or(0, |seed| seed.parse().unwrap());
    run_all(25, seed);
}
