//! The environment of the client in tests: scripted replies, a virtual clock, recorded notes.
#![allow(dead_code, reason = "each test file uses a part")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use heqis_fetch::FetchError;
use heqis_fetch::cache::Cache;
use heqis_fetch::client::{Client, Counts};
use heqis_fetch::http::Transport;
use heqis_fetch::pace::{Backoff, Pace, SECOND_NS, WallClock};
use heqis_fetch::progress::Progress;
use heqis_fetch::token::Token;
use serde_json::{Value, json};

pub(crate) const TOKEN: &str = "s3cr3t-0123456789abcdef";

/// A clock that advances only by waiting.
pub(crate) struct Still(pub(crate) Cell<u64>);

impl WallClock for Still {
    fn now_ns(&self) -> u64 {
        self.0.get()
    }

    fn sleep_ns(&self, ns: u64) {
        self.0.set(self.0.get() + ns);
    }
}

impl Still {
    /// Starts at an hour of a day in China.
    pub(crate) fn at(day: &str, hour: u64) -> Self {
        let close_ns = heqis_quant::Date::parse(day).unwrap().close_time_ns();
        let midnight_ns = u64::try_from(close_ns).unwrap() - 15 * 3600 * SECOND_NS;
        Self(Cell::new(midnight_ns + hour * 3600 * SECOND_NS))
    }
}

/// Starts long after every day of the tests.
pub(crate) fn later() -> Still {
    Still(Cell::new(2_000_000_000 * SECOND_NS))
}

/// Records the written text.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A vendor with scripted replies.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) replies: RefCell<VecDeque<Result<(u16, String), String>>>,
    pub(crate) requests: RefCell<Vec<Value>>,
}

impl Transport for Script {
    fn post(&self, body: &str) -> Result<(u16, String), String> {
        self.requests
            .borrow_mut()
            .push(serde_json::from_str(body).unwrap());
        let reply = self.replies.borrow_mut().pop_front();
        reply.unwrap_or_else(|| panic!("unexpected request: {body}"))
    }
}

pub(crate) fn script(replies: impl IntoIterator<Item = Result<(u16, String), String>>) -> Script {
    Script {
        replies: RefCell::new(replies.into_iter().collect()),
        ..Script::default()
    }
}

/// A reply with a table.
pub(crate) fn table(
    fields: &[&str],
    rows: &Value,
    has_more: bool,
) -> Result<(u16, String), String> {
    let data = json!({ "fields": fields, "items": rows, "has_more": has_more });
    let reply = json!({ "request_id": "r", "code": 0, "msg": null, "data": data });
    Ok((200, reply.to_string()))
}

pub(crate) fn refused(code: i64, msg: &str) -> Result<(u16, String), String> {
    let reply = json!({ "request_id": "r", "code": code, "msg": msg, "data": null });
    Ok((200, reply.to_string()))
}

/// Runs `work` with a client and returns its result and the notes.
pub(crate) fn with_client<R>(
    transport: &dyn Transport,
    clock: &Still,
    cache: &Path,
    work: impl FnOnce(&mut Client<'_>) -> R,
) -> (R, String) {
    let log = Log::default();
    let progress = Progress::lines(log.clone(), clock);
    let mut client = Client {
        transport,
        clock,
        progress: &progress,
        token: Some(Token::parse(TOKEN, "test").unwrap()),
        cache: Cache::new(cache),
        refresh: false,
        pace: Pace::new(100_000),
        backoff: Backoff::new(7),
        attempts: 4,
        counts: Counts::default(),
        late: Vec::new(),
    };
    let outcome = work(&mut client);
    (outcome, log.text())
}

pub(crate) fn fetch_error<T: std::fmt::Debug>(result: Result<T, FetchError>) -> FetchError {
    match result {
        Err(error) => error,
        other => panic!("expected a fetch error, got {other:?}"),
    }
}

/// Returns every file below a folder with its bytes, by path.
pub(crate) fn files_in(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(files_in(&path)),
            false => files.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    files.sort();
    files
}
