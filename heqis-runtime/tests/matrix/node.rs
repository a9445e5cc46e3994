//! A node's processes, one after another: started, signalled, looked at.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::stand::{Stand, signal_process};

/// How a process ended.
#[derive(Debug)]
pub struct Exit {
    pub node: &'static str,
    /// The how many-th process of the node, from 1.
    pub start: usize,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// What it printed, if that is a summary.
    pub summary: Option<Value>,
    pub log: String,
    /// Which signals the test had sent it.
    pub asked: Vec<&'static str>,
    pub at: Instant,
}

impl Exit {
    /// Whether the node had done everything.
    pub fn is_complete(&self) -> bool {
        self.code == Some(0)
            && self
                .summary
                .as_ref()
                .is_some_and(|summary| summary["nodes"][0]["left"] == false)
    }
}

/// What became of a node.
#[derive(Debug)]
pub enum State {
    Running { child: Child, since: Instant },
    Away { since: Instant, until: Instant },
    Complete { since: Instant },
}

/// One node.
pub struct Node {
    pub name: &'static str,
    pub state: State,
    pub starts: usize,
    /// Which of the two programs is started.
    pub program: usize,
    pub away: Duration,
    asked: Vec<&'static str>,
    resume: Option<Instant>,
}

impl Node {
    pub fn new(name: &'static str) -> Self {
        let now = Instant::now();
        Self {
            name,
            state: State::Away {
                since: now,
                until: now,
            },
            starts: 0,
            program: 0,
            away: Duration::from_millis(20),
            asked: Vec::new(),
            resume: None,
        }
    }

    fn file(&self, stand: &Stand, what: &str) -> PathBuf {
        let name = format!("{}.{:03}.{what}", self.name, self.starts);
        stand.folder.path().join(name)
    }

    /// Starts the node. Its output goes into files, where it stays when the test fails.
    pub fn start(&mut self, stand: &Stand, program: &str, clock: Option<&[(String, String)]>) {
        self.starts += 1;
        let mut command = stand.command(&[program], &["--node", self.name]);
        command
            .envs(clock.unwrap_or_default().iter().cloned())
            .stdout(File::create(self.file(stand, "json")).unwrap())
            .stderr(File::create(self.file(stand, "log")).unwrap());
        self.asked.clear();
        self.resume = None;
        self.state = State::Running {
            child: command.spawn().unwrap(),
            since: Instant::now(),
        };
    }

    /// Sends a signal, where there is a process.
    pub fn signal(&mut self, signal: &'static str) {
        if let State::Running { child, .. } = &mut self.state
            && child.try_wait().unwrap().is_none()
        {
            signal_process(child.id(), signal);
            self.asked.push(signal);
        }
    }

    pub fn suspend(&mut self, time: Duration) {
        self.signal("STOP");
        self.resume = Some(Instant::now() + time);
    }

    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. }) && self.resume.is_none()
    }

    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete { .. })
    }

    /// Whether it is complete while `peer`, which was started at about the time of its end, does not know of it.
    pub fn is_missed_by(&self, peer: &Self) -> bool {
        match (&self.state, &peer.state) {
            (State::Complete { since: end }, State::Running { since, .. }) => {
                peer.is_running()
                    && *since + Duration::from_secs(1) > *end
                    && end.elapsed() > Duration::from_millis(500)
            }
            _ => false,
        }
    }

    /// Since when there is no process that could do its work.
    pub fn away_since(&self) -> Option<Instant> {
        match self.state {
            State::Away { since, .. } => Some(since),
            State::Running { .. } | State::Complete { .. } => None,
        }
    }

    /// Continues a suspended process in time, and says how the process ended if it has.
    pub fn look(&mut self, stand: &Stand) -> Option<Exit> {
        let now = Instant::now();
        if self.resume.is_some_and(|at| at <= now) {
            self.signal("CONT");
            self.resume = None;
        }
        let State::Running { child, .. } = &mut self.state else {
            return None;
        };
        let status = child.try_wait().unwrap()?;
        let printed = std::fs::read(self.file(stand, "json")).unwrap();
        let log = std::fs::read(self.file(stand, "log")).unwrap();
        let exit = Exit {
            node: self.name,
            start: self.starts,
            code: status.code(),
            signal: status.signal(),
            summary: serde_json::from_slice(&printed).ok(),
            log: String::from_utf8_lossy(&log).into_owned(),
            asked: std::mem::take(&mut self.asked),
            at: now,
        };
        self.resume = None;
        self.state = match exit.is_complete() {
            true => State::Complete { since: now },
            false => State::Away {
                since: now,
                until: now + self.away,
            },
        };
        Some(exit)
    }
}

impl Node {
    /// Kills what runs.
    pub fn end(&mut self) {
        if let State::Running { child, .. } = &mut self.state {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}
