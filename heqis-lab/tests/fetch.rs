//! The Tushare client against a vendor that pages, limits, refuses, breaks off and lies; without waiting, and without
//! the token showing up anywhere.
#![allow(clippy::unwrap_used, missing_docs)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use heqis_lab::error::LabError;
use heqis_lab::fetch::client::{Client, Counts, Transport};
use heqis_lab::fetch::pace::{Backoff, Clock, Pace, SECOND_NS};
use heqis_lab::fetch::token::Token;
use heqis_lab::fetch::{FetchError, api, cache};
use serde_json::{Value, json};

const TOKEN: &str = "s3cr3t-0123456789abcdef";

/// A vendor that answers from a script.
#[derive(Default)]
struct Script {
    replies: RefCell<VecDeque<Result<(u16, String), String>>>,
    asked: RefCell<Vec<Value>>,
}

impl Transport for Script {
    fn post(&self, body: &str) -> Result<(u16, String), String> {
        self.asked
            .borrow_mut()
            .push(serde_json::from_str(body).unwrap());
        let reply = self.replies.borrow_mut().pop_front();
        reply.unwrap_or_else(|| panic!("more was asked than expected: {body}"))
    }
}

/// Time that passes only by waiting.
struct Still(Cell<u64>);

impl Clock for Still {
    fn now_ns(&self) -> u64 {
        self.0.get()
    }

    fn sleep_ns(&self, ns: u64) {
        self.0.set(self.0.get() + ns);
    }
}

/// Long after every day that these tests ask for.
fn later() -> Still {
    Still(Cell::new(2_000_000_000 * SECOND_NS))
}

fn ok(rows: Value, has_more: bool) -> Result<(u16, String), String> {
    let fields = ["ts_code", "trade_date", "adj_factor"];
    let data = json!({ "fields": fields, "items": rows, "has_more": has_more });
    Ok((
        200,
        json!({ "request_id": "r", "code": 0, "msg": null, "data": data }).to_string(),
    ))
}

fn refused(code: i64, msg: &str) -> Result<(u16, String), String> {
    Ok((
        200,
        json!({ "request_id": "r", "code": code, "msg": msg, "data": null }).to_string(),
    ))
}

/// Asks for one day of `adj_factor` and returns the outcome, the counts, and what was noted.
fn fetch(
    script: &Script,
    clock: &Still,
    folder: &Path,
) -> (Result<usize, LabError>, Counts, String) {
    let notes = RefCell::new(String::new());
    let note = |text: &str| notes.borrow_mut().push_str(text);
    let mut client = Client {
        transport: script,
        clock,
        note: &note,
        token: Token::new(TOKEN),
        cache: cache::Cache::new(folder),
        pace: Pace::new(100_000),
        backoff: Backoff::new(7),
        attempts: 4,
        counts: Counts::default(),
    };
    let day = "2016-08-17".parse().unwrap();
    let params = [("trade_date", "20160817".to_owned())];
    let rows = client
        .fetch(&api::ADJ_FACTOR, &params, Some(day))
        .map(|rows| rows.len());
    let counts = client.counts;
    (rows, counts, notes.into_inner())
}

fn script(replies: impl IntoIterator<Item = Result<(u16, String), String>>) -> Script {
    Script {
        replies: RefCell::new(replies.into_iter().collect()),
        ..Script::default()
    }
}

fn fetch_error(result: Result<usize, LabError>) -> FetchError {
    match result {
        Err(LabError::Fetch(error)) => error,
        other => panic!("expected a fetch error, got {other:?}"),
    }
}

#[test]
fn pages_are_followed_repeats_are_dropped_and_the_second_run_asks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let pages = [
        ok(
            json!([
                ["600000.SH", "20160817", 7.5],
                ["600001.SH", "20160817", 1.0]
            ]),
            true,
        ),
        ok(
            json!([
                ["600001.SH", "20160817", 1.0],
                ["600002.SH", "20160817", 2.0]
            ]),
            false,
        ),
    ];
    let vendor = script(pages);
    let (rows, counts, _) = fetch(&vendor, &later(), folder.path());
    assert_eq!(
        (rows.unwrap(), counts.requests, counts.duplicates),
        (3, 2, 1)
    );
    let asked = vendor.asked.borrow();
    assert_eq!(
        asked[1]["params"],
        json!({ "trade_date": "20160817", "offset": "2" })
    );
    assert_eq!(asked[0]["fields"], "ts_code,trade_date,adj_factor");
    let offline = script([]);
    let (rows, counts, _) = fetch(&offline, &later(), folder.path());
    assert_eq!((rows.unwrap(), counts.requests, counts.cached), (3, 0, 2));
}

#[test]
fn a_rate_limit_waits_a_minute_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let limit = refused(
        40203,
        "抱歉，您每分钟最多访问该接口500次，权限的具体详情访问",
    );
    let vendor = script([limit, ok(json!([["600000.SH", "20160817", 7.5]]), false)]);
    let clock = later();
    let begun = clock.now_ns();
    let (rows, counts, _) = fetch(&vendor, &clock, folder.path());
    assert_eq!((rows.unwrap(), counts.rate_waits), (1, 1));
    assert!(clock.now_ns() - begun >= 60 * SECOND_NS);
}

#[test]
fn a_refusal_for_want_of_permission_is_final() {
    let refusals = [
        (40203, "抱歉，您没有接口访问权限，权限的具体详情访问"),
        (2002, "权限不足"),
    ];
    for (code, msg) in refusals {
        let folder = tempfile::tempdir().unwrap();
        let vendor = script([refused(code, msg)]);
        let (result, counts, _) = fetch(&vendor, &later(), folder.path());
        let error = fetch_error(result);
        assert!(matches!(error, FetchError::Permission { .. }), "{error}");
        assert_eq!(counts.requests, 1, "never asked again");
    }
    let folder = tempfile::tempdir().unwrap();
    let vendor = script([refused(40001, "参数校验失败")]);
    let error = fetch_error(fetch(&vendor, &later(), folder.path()).0);
    assert!(matches!(error, FetchError::Refused { .. }), "{error}");
}

#[test]
fn what_breaks_on_the_way_is_tried_again_within_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let broken = [
        Err("connection reset".to_owned()),
        Ok((503, "busy".to_owned())),
        Ok((200, "{\"code\": 0, \"data\": {\"fie".to_owned())),
        ok(json!([["600000.SH", "20160817", 7.5]]), false),
    ];
    let clock = later();
    let begun = clock.now_ns();
    let (rows, counts, notes) = fetch(&script(broken), &clock, folder.path());
    assert_eq!((rows.unwrap(), counts.retries), (1, 3));
    assert!(
        notes.contains("connection reset") && notes.contains("503"),
        "{notes}"
    );
    // 1 s, 2 s and 4 s, each at least half.
    assert!(clock.now_ns() - begun >= 7 * SECOND_NS / 2);
    let folder = tempfile::tempdir().unwrap();
    let down = (0..4).map(|_| Err("connection refused".to_owned()));
    let (result, counts, _) = fetch(&script(down), &later(), folder.path());
    let error = fetch_error(result);
    assert!(
        matches!(error, FetchError::Transport { attempts: 4, .. }),
        "{error}"
    );
    assert_eq!(counts.requests, 4);
}

#[test]
fn replies_that_break_a_rule_are_errors_that_name_field_and_value() {
    let faults = [
        (json!([["600000.SH", "20160817", "seven"]]), "adj_factor"),
        (json!([["600000.SH", "2016-13-17", 7.5]]), "trade_date"),
        (json!([["600000.SH", "20160818", 7.5]]), "trade_date"),
        (
            json!([
                ["600000.SH", "20160817", 7.5],
                ["600000.SH", "20160817", 7.6]
            ]),
            "ts_code",
        ),
    ];
    for (rows, field) in faults {
        let folder = tempfile::tempdir().unwrap();
        let (result, _, _) = fetch(&script([ok(rows.clone(), false)]), &later(), folder.path());
        let text = fetch_error(result).to_string();
        assert!(
            text.contains(field) && text.contains("adj_factor"),
            "{rows}: {text}"
        );
    }
}

#[test]
fn a_damaged_cache_entry_is_set_aside_and_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let page = || ok(json!([["600000.SH", "20160817", 7.5]]), false);
    fetch(&script([page()]), &later(), folder.path()).0.unwrap();
    let entry = std::fs::read_dir(folder.path().join("adj_factor"))
        .unwrap()
        .next()
        .unwrap();
    let path = entry.unwrap().path();
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (rows, counts, notes) = fetch(&script([page()]), &later(), folder.path());
    assert_eq!((rows.unwrap(), counts.corrupt, counts.requests), (1, 1, 1));
    assert!(notes.contains("corrupt"), "{notes}");
}

#[test]
fn a_vendor_that_echoes_the_token_does_not_get_it_into_errors_notes_or_cache() {
    let folder = tempfile::tempdir().unwrap();
    let echo = refused(2002, &format!("token {TOKEN} lacks the permission"));
    let (result, _, notes) = fetch(&script([echo]), &later(), folder.path());
    let text = format!("{0} {0:?} {notes}", fetch_error(result));
    assert!(!text.contains(TOKEN), "{text}");
    let broken = (0..4).map(|_| Err(format!("proxy says {TOKEN}")));
    let (result, _, notes) = fetch(&script(broken), &later(), folder.path());
    let text = format!("{0} {0:?} {notes}", fetch_error(result));
    assert!(!text.contains(TOKEN), "{text}");
    // Where a number is expected, the decoder's complaint quotes what it found.
    let mistyped = json!({ "code": TOKEN }).to_string();
    let replies = (0..4).map(|_| Ok((200, mistyped.clone())));
    let (result, _, notes) = fetch(&script(replies), &later(), folder.path());
    let text = format!("{0} {0:?} {notes}", fetch_error(result));
    assert!(!text.contains(TOKEN), "{text}");
    assert!(!format!("{0} {0:?}", Token::new(TOKEN).unwrap()).contains(TOKEN));
}

/// A vendor on a real socket: two open days, three stocks, and now and then a fault.
struct Vendor {
    address: std::net::SocketAddr,
    served: Arc<AtomicUsize>,
    /// The requests that were answered well.
    asked: Arc<Mutex<Vec<String>>>,
}

fn answer(request: &Value) -> Value {
    let row = |fields: &str, row: &dyn Fn(&str) -> Value| -> Value {
        Value::Array(fields.split(',').map(row).collect())
    };
    let fields = request["fields"].as_str().unwrap();
    let params = &request["params"];
    let items: Vec<Value> = match request["api_name"].as_str().unwrap() {
        "trade_cal" => ["20160816", "20160817"]
            .map(|day| {
                row(fields, &|field| match field {
                    "exchange" => json!("SSE"),
                    "cal_date" => json!(day),
                    "is_open" => json!(1),
                    _ => json!("20160815"),
                })
            })
            .into(),
        "stock_basic" if params["list_status"] == "L" => ["600000.SH", "002032.SZ"]
            .map(|code| {
                row(fields, &|field| match field {
                    "ts_code" => json!(code),
                    "list_status" => json!("L"),
                    "list_date" => json!("19991110"),
                    "delist_date" => Value::Null,
                    _ => json!("名"),
                })
            })
            .into(),
        "stock_basic" | "namechange" | "suspend_d" => Vec::new(),
        _ => ["600000.SH", "002032.SZ"]
            .map(|code| {
                row(fields, &|field| match field {
                    "ts_code" => json!(code),
                    "trade_date" => params["trade_date"].clone(),
                    _ => json!(1.5),
                })
            })
            .into(),
    };
    let data = json!({ "fields": fields.split(',').collect::<Vec<_>>(), "items": items, "has_more": false });
    json!({ "request_id": "r", "code": 0, "msg": null, "data": data })
}

fn serve(mut stream: TcpStream, vendor: &Vendor) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let request: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(request["token"], TOKEN);
        let number = vendor.served.fetch_add(1, Ordering::SeqCst);
        let text = answer(&request).to_string();
        match number % 5 {
            // A reply that is shorter than it says, and a connection that ends without one.
            1 => {
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}",
                    text.len(),
                    &text[..10]
                )?;
                return Ok(());
            }
            3 => return Ok(()),
            _ => {}
        }
        let key = format!("{} {}", request["api_name"], request["params"]);
        vendor.asked.lock().unwrap().push(key);
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )?;
    }
}

fn vendor() -> Arc<Vendor> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let vendor = Arc::new(Vendor {
        address: listener.local_addr().unwrap(),
        served: Arc::default(),
        asked: Arc::default(),
    });
    let shared = vendor.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that was killed leaves in the middle; the next one comes.
            let _ = serve(stream, &shared);
        }
    });
    vendor
}

fn command(vendor: &Vendor, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heqis-lab"));
    command
        .args([
            "fetch",
            "--from",
            "2016-08-16",
            "--to",
            "2016-08-17",
            "--json",
        ])
        .args(["--calls-per-minute", "100000", "--attempts", "20"])
        .arg("--base-url")
        .arg(format!("http://{}", vendor.address))
        .arg("--cache")
        .arg(folder.join("cache"))
        .arg("--out")
        .arg(folder.join("out"))
        .env("HEQIS_TUSHARE_TOKEN", TOKEN)
        .stdin(Stdio::null());
    command
}

/// Every file below a folder, as one text.
fn everything_in(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&everything_in(&path));
        } else {
            text.push_str(&String::from_utf8_lossy(&std::fs::read(&path).unwrap()));
        }
    }
    text
}

#[test]
fn a_killed_run_resumes_fetches_everything_once_and_leaves_the_token_nowhere() {
    let vendor = vendor();
    let folder = tempfile::tempdir().unwrap();
    let mut first = command(&vendor, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Killed as soon as something was answered; a run that was quicker than that is as good.
    while vendor.asked.lock().unwrap().len() < 3 && first.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let second = command(&vendor, folder.path()).output().unwrap();
    let stderr = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.success(), "{stderr}");
    let mut asked = vendor.asked.lock().unwrap().clone();
    let total = asked.len();
    asked.sort();
    asked.dedup();
    // At most the call whose reply was on its way when the process died was asked twice.
    assert!(
        total - asked.len() <= 1,
        "{total} answers for {} calls",
        asked.len()
    );
    let daily = std::fs::read_to_string(folder.path().join("out/daily.csv")).unwrap();
    assert_eq!(
        daily.lines().count(),
        1 + 4,
        "two stocks on two days: {daily}"
    );
    let third = command(&vendor, folder.path())
        .env_remove("HEQIS_TUSHARE_TOKEN")
        .output()
        .unwrap();
    let counts: Value = serde_json::from_slice(&third.stdout).unwrap();
    assert_eq!(counts["requests"], 0, "{counts}");
    assert_eq!(
        vendor.asked.lock().unwrap().len(),
        total,
        "the last run is offline"
    );
    let all = everything_in(folder.path())
        + &stderr
        + &String::from_utf8_lossy(&second.stdout)
        + &String::from_utf8_lossy(&third.stderr);
    assert!(!all.contains(TOKEN));
    assert!(stderr.contains("plain HTTP"), "{stderr}");
}
