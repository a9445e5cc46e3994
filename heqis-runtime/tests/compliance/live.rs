//! Feeds of live sources: a client of a socket, and a pair of pseudo-terminals.

use std::fs::File;
use std::io::{Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use heqis_gateway::source::encode_frame;
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

/// Bars that are fed.
const BARS: u64 = 300;

/// How a live source is fed.
#[derive(Clone, Copy)]
pub(crate) struct Live {
    /// Opens the outside end; adds the parameters by which the source finds it.
    open: fn(&mut Value) -> Box<dyn Outside>,
}

pub(crate) const TCP: Live = Live { open: tcp };
pub(crate) const SERIAL: Live = Live { open: serial };

/// The outside end of a live source.
trait Outside: Send {
    /// Sends one bar; returns whether that was possible.
    fn send(&mut self, bar: &str) -> bool;
}

/// What a feed and a run share.
#[derive(Clone, Default)]
pub(crate) struct Progress {
    /// Frames that have left the source.
    pub(crate) seen: Arc<AtomicU64>,
    /// The run is over.
    pub(crate) over: Arc<AtomicBool>,
}

impl Live {
    /// The closing prices of the bars in order.
    pub(crate) fn closes(&self) -> Vec<f64> {
        (0..BARS).map(close).collect()
    }

    /// Frames after which everything has arrived, besides repetitions of the first bar.
    pub(crate) fn bars(&self) -> u64 {
        BARS
    }

    /// Starts to feed: the first bar until it has arrived, then the others.
    pub(crate) fn start(&self, params: &mut Value, progress: Progress) -> JoinHandle<()> {
        let mut outside = (self.open)(params);
        std::thread::spawn(move || {
            let is_over = || progress.over.load(Ordering::Acquire);
            while !is_over() && progress.seen.load(Ordering::Acquire) == 0 {
                outside.send(&bar(0));
                std::thread::sleep(Duration::from_millis(20));
            }
            for number in 1..BARS {
                while !is_over() && !outside.send(&bar(number)) {
                    std::thread::yield_now();
                }
            }
            while !is_over() {
                std::thread::sleep(Duration::from_millis(5));
            }
        })
    }
}

fn close(number: u64) -> f64 {
    10.0 + number as f64 / 100.0
}

fn bar(number: u64) -> String {
    let close = close(number);
    format!(
        "{{\"symbol\":\"600000.SH\",\"date\":\"2015-06-01\",\"open\":{close},\"high\":{close},\"low\":{close},\
         \"close\":{close},\"volume\":100}}"
    )
}

struct Client {
    port: u16,
    stream: Option<TcpStream>,
}

fn tcp(params: &mut Value) -> Box<dyn Outside> {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    params["listen"] = json!(format!("127.0.0.1:{port}"));
    Box::new(Client { port, stream: None })
}

impl Outside for Client {
    fn send(&mut self, bar: &str) -> bool {
        if self.stream.is_none() {
            self.stream = TcpStream::connect(("127.0.0.1", self.port)).ok();
        }
        let Some(stream) = &mut self.stream else {
            return false;
        };
        stream.write_all(format!("{bar}\n").as_bytes()).is_ok()
    }
}

/// A stopped source hangs up; a read then ends.
impl Drop for Client {
    fn drop(&mut self) {
        if let Some(stream) = &mut self.stream {
            let _ = stream.read(&mut [0]);
        }
    }
}

struct Line {
    master: File,
    /// What is left of the frame that is being sent.
    rest: Vec<u8>,
}

fn serial(params: &mut Value) -> Box<dyn Outside> {
    let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    params["path"] = json!(Path::new(std::ffi::OsStr::from_bytes(name.as_bytes())));
    // A line that is not read any more must not block the feed.
    let flags = rustix::fs::fcntl_getfl(&master).unwrap();
    rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK).unwrap();
    Box::new(Line {
        master: master.into(),
        rest: Vec::new(),
    })
}

impl Outside for Line {
    fn send(&mut self, bar: &str) -> bool {
        if self.rest.is_empty() {
            self.rest = encode_frame(bar.as_bytes());
        }
        while !self.rest.is_empty() {
            match self.master.write(&self.rest) {
                Ok(written) => drop(self.rest.drain(..written)),
                Err(_) => return false,
            }
        }
        true
    }
}
