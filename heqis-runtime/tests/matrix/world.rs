//! What all runs share: the two programs, the library that steps clocks, the disk that can be full, the bars.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::feed;
use crate::schedule::Way;
use crate::stand::{Stand, root};

/// The days of all runs: some hundred bars of each of the two shipped tables.
pub const DAYS: (&str, &str) = ("2004-08-17", "2006-09-29");

/// What all runs share.
pub struct World {
    /// The program, and a copy of it with another version.
    pub programs: [String; 2],
    _folder: tempfile::TempDir,
    /// A library that gives a process a clock of its own.
    clock_library: Option<PathBuf>,
    pub bars: Arc<Vec<String>>,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = std::env::var("HEQIS_RUNTIME")
            .unwrap_or_else(|_| env!("CARGO_BIN_EXE_heqis-runtime").to_owned());
        let program = root().join(program).display().to_string();
        let upgraded = upgrade(&program, &folder.path().join("heqis-runtime"));
        Self {
            programs: [program, upgraded],
            clock_library: clock_library(),
            _folder: folder,
            bars: Arc::new(feed::bars(DAYS.0, DAYS.1)),
        }
    }

    /// The environment in which a process reads its clock's offset from `offset`.
    pub fn clock_environment(&self, offset: &Path) -> Vec<(String, String)> {
        let library = self.clock_library.as_ref().unwrap();
        [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", offset.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".into()),
            // A step is one of the wall clock: the clock of durations continues.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// A copy of the program that says another version: the bytes of the version are replaced by as many. A build of another
/// version would be the same program with other bytes at these places.
fn upgrade(program: &str, copy: &Path) -> String {
    let (from, to) = (env!("CARGO_PKG_VERSION"), next_version());
    let mut bytes = std::fs::read(program).unwrap();
    let mut at = 0;
    while let Some(found) = find(&bytes[at..], from.as_bytes()) {
        bytes[at + found..at + found + to.len()].copy_from_slice(to.as_bytes());
        at += found + to.len();
    }
    std::fs::copy(program, copy).unwrap();
    std::fs::write(copy, bytes).unwrap();
    let said = Command::new(copy).arg("--version").output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.trim_end().ends_with(&to), "the copy says {said}");
    copy.display().to_string()
}

/// The version with another last digit.
fn next_version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let (rest, last) = version.split_at(version.len() - 1);
    format!("{rest}{}", if last == "1" { "2" } else { "1" })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// `libfaketime`, where the machine has it.
pub fn clock_library() -> Option<PathBuf> {
    let names = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    names
        .map(|name| PathBuf::from(format!("/usr/lib/{name}/faketime/libfaketimeMT.so.1")))
        .into_iter()
        .find(|path| path.exists())
}

/// Whether this process may mount a small disk.
pub fn can_mount() -> bool {
    let place = tempfile::tempdir().unwrap();
    Disk::mount(place.path()).is_some()
}

/// A small disk in memory, gone when it is dropped.
pub struct Disk(PathBuf);

impl Disk {
    const BYTES: u32 = 2 << 20;

    pub fn mount(at: &Path) -> Option<Self> {
        let size = format!("size={}", Self::BYTES);
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at)
            .output();
        mount
            .is_ok_and(|output| output.status.success())
            .then(|| Self(at.to_owned()))
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        let mut filler = std::fs::File::create(self.filler()).unwrap();
        let mut block = vec![0; 1 << 16];
        while !block.is_empty() {
            if std::io::Write::write_all(&mut filler, &block).is_err() {
                block.truncate(block.len() / 2);
            }
        }
    }

    pub fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// A stand for one run.
pub fn stand(way: Way, sealed: bool, on_disk: bool) -> Stand {
    let edges = ["ring->engine", "signal->feedback"];
    let nodes = ["gateway", "compute"];
    let stand = match way {
        Way::Live => {
            let stand = Stand::new("live-tcp", &nodes, &edges, &["journal"]);
            let port = stand.ports[4];
            stand
                .set(&format!("stages.market.params.listen=\"127.0.0.1:{port}\""))
                .set("stages.market.params.end_on_close=true")
                .set("nodes.gateway.state.every=\"200ms\"")
                .set("stages.ring.params.policy=\"block\"")
                .set("edges.ring->engine.policy=\"block\"")
                .set("edges.ring->engine.max_age=\"1h\"")
                .set("edges.signal->feedback.policy=\"block\"")
        }
        Way::Replay | Way::Paced => {
            let stand = Stand::dual_board();
            // A run of about a second and a half.
            let speed = match way {
                Way::Paced => "45000000.0",
                _ => "\"max\"",
            };
            let (from, to) = DAYS;
            stand
                .set(&format!("stages.market.params.speed={speed}"))
                .set(&format!("stages.market.params.from=\"{from}\""))
                .set(&format!("stages.market.params.to=\"{to}\""))
        }
    };
    let feedback = stand.folder.path().join("feedback.csv");
    let journal = journal(&stand, on_disk);
    // A slow engine gives the events time.
    let mut stand = stand
        .set("stages.engine.params.simulate_latency_us=1000")
        .set("stages.engine.batch.max=1")
        .set(&format!(
            "stages.feedback.params.path=\"{}\"",
            feedback.display()
        ))
        .set(&format!(
            "stages.journal.params.path=\"{}\"",
            journal.display()
        ));
    if sealed {
        stand = stand.set("stages.journal.params.segment_bytes=65536");
    }
    stand
}

/// Where the journal of a stand is.
pub fn journal(stand: &Stand, on_disk: bool) -> PathBuf {
    let folder = stand.folder.path();
    match on_disk {
        true => folder.join("disk/journal.jsonl"),
        false => folder.join("journal.jsonl"),
    }
}
