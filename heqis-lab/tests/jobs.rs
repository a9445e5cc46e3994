//! `serve --control`: jobs as real processes with their logs and exits, and the watch list.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const TOKEN: &str = "00112233445566778899aabbccddeeff";
/// Longest wait on a loaded machine; reaching it is a failure, not a measurement.
const PATIENCE: Duration = Duration::from_secs(120);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A page with control, started in its own directory with the bars of two stocks.
struct Page {
    child: Child,
    dir: tempfile::TempDir,
    host: String,
}

impl Page {
    fn start(more: &[&str], vendor: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for table in ["600000.SH.csv", "002032.SZ.csv"] {
            std::fs::copy(
                root().join("data/ashare").join(table),
                dir.path().join(table),
            )
            .unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_heqis-lab"));
        command
            .current_dir(dir.path())
            .args([
                "serve",
                "--csv",
                "002032.SZ.csv",
                "--results",
                ".",
                "--control",
                "--watch",
                "watch.toml",
            ])
            .args(["--address", "127.0.0.1:0"])
            .args(more)
            .env("HEQIS_DASHBOARD_TOKEN", TOKEN)
            .env("HEQIS_TUSHARE_TOKEN", "0".repeat(56))
            .stderr(Stdio::piped());
        if let Some(url) = vendor {
            command.env("HEQIS_TUSHARE_URL", url);
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut page = Self {
            child,
            dir,
            host: String::new(),
        };
        // The import report comes before this line.
        page.host = lines
            .find_map(|line| {
                Some(
                    line.unwrap()
                        .strip_prefix("dashboard on http://")?
                        .to_owned(),
                )
            })
            .unwrap();
        let link = lines.next().unwrap().unwrap();
        // A token that is set is a secret of the environment.
        assert!(
            link.contains("/login?token=$HEQIS_DASHBOARD_TOKEN") && !link.contains(TOKEN),
            "{link}"
        );
        page
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let host = &self.host;
        let content = match body {
            "" => String::new(),
            body => format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            ),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nAuthorization: Bearer {TOKEN}\r\n\
             {content}Connection: close\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (
            head.split(' ').nth(1).unwrap().parse().unwrap(),
            serde_json::from_str(body).unwrap(),
        )
    }

    fn start_job(&self, order: &Value) -> (u16, Value) {
        self.ask("POST", "/api/control/jobs", &order.to_string())
    }

    /// Waits until a job has ended, and returns its log.
    fn log_of(&self, job: u64) -> Value {
        let mut log = Value::Null;
        wait_until("the job has ended", || {
            log = self.ask("GET", &format!("/api/jobs/{job}"), "").1;
            log["job"]["state"] != "running"
        });
        log
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

fn fetch() -> Value {
    json!({
        "command": "fetch",
        "values": { "from": "2015-01-05", "to": "2015-01-06", "cache": "cache", "out": "tables", "timeout_s": 3_600 },
    })
}

#[test]
fn a_job_runs_the_command_and_the_page_shows_its_log_and_result() {
    let page = Page::start(&[], None);
    let kinds = page.ask("GET", "/api/job-kinds", "").1;
    assert_eq!(kinds.as_array().unwrap().len(), 4);
    let prepare = json!({
        "command": "prepare",
        "values": { "inputs": ["600000.SH.csv", "002032.SZ.csv"], "train_to": "2012-12-31", "out": "set" },
    });
    assert_eq!(page.start_job(&prepare), (201, json!({ "n": 1 })));
    let log = page.log_of(1);
    assert_eq!(
        (&log["job"]["state"], &log["job"]["exit"]),
        (&"done".into(), &0.into()),
        "{log:#}"
    );
    assert!(
        log["lines"]
            .as_array()
            .is_some_and(|lines| !lines.is_empty())
    );
    let next = log["next"].as_u64().unwrap();
    let rest = page.ask("GET", &format!("/api/jobs/1?after={next}"), "").1;
    assert_eq!(rest["lines"], json!([]));
    // The same bytes as from the command line.
    let other = page.dir.path().join("other");
    let ended = Command::new(env!("CARGO_BIN_EXE_heqis-lab"))
        .current_dir(page.dir.path())
        .args([
            "prepare",
            "600000.SH.csv",
            "002032.SZ.csv",
            "--train-to",
            "2012-12-31",
            "--out",
        ])
        .arg(&other)
        .output()
        .unwrap();
    assert!(ended.status.success());
    let manifest = |dir: &Path| std::fs::read(dir.join("manifest.json")).unwrap();
    assert_eq!(manifest(&page.dir.path().join("set")), manifest(&other));
    let runs = page.ask("GET", "/api/runs", "").1;
    let listed = runs
        .as_array()
        .unwrap()
        .iter()
        .any(|run| run["kind"] == "dataset" && run["name"] == "set");
    assert!(listed, "{runs:#}");

    let broken = json!({ "command": "prepare", "values": { "inputs": ["no.csv"], "out": "set2" } });
    assert_eq!(page.start_job(&broken).0, 201);
    let log = page.log_of(2);
    assert_eq!(log["job"]["state"], "failed");
    assert!(
        log["job"]["last"].as_str().unwrap().contains("no.csv"),
        "{log:#}"
    );
    assert_eq!(
        page.ask("POST", "/api/control/jobs/2/cancel", "").1,
        json!({ "cancelled": false })
    );
    assert_eq!(page.ask("POST", "/api/control/jobs/9/cancel", "").0, 404);
    assert_eq!(page.ask("GET", "/api/jobs/9", "").0, 404);
    for wrong in [
        json!({ "command": "serve" }),
        json!({ "command": "prepare", "values": { "inputs": ["/etc"], "out": "x" } }),
        json!({ "command": "prepare", "values": { "inputs": ["600000.SH.csv"], "out": "../x" } }),
        json!({ "command": "prepare", "values": { "inputs": ["600000.SH.csv"] } }),
    ] {
        assert_eq!(page.start_job(&wrong).0, 400, "{wrong}");
    }
    assert_eq!(
        page.ask("GET", "/api/jobs", "").1["rows"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn jobs_are_limited_and_end_on_cancel_or_with_the_page() {
    // A vendor that accepts a call and never responds.
    let vendor = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", vendor.local_addr().unwrap());
    let mut page = Page::start(&["--jobs", "1"], Some(&url));
    /// Waits until the remote process has ended.
    fn gone(mut call: TcpStream) {
        let mut rest = Vec::new();
        // Both an end and an error mean that the connection has ended.
        let _ = call.read_to_end(&mut rest);
    }
    assert_eq!(page.start_job(&fetch()).0, 201);
    let (call, _) = vendor.accept().unwrap();
    let (status, refused) = page.start_job(&fetch());
    assert_eq!(status, 409, "{refused}");
    assert_eq!(page.ask("GET", "/api/jobs", "").1["running"], 1);
    assert_eq!(
        page.ask("POST", "/api/control/jobs/1/cancel", ""),
        (202, json!({ "cancelled": true }))
    );
    gone(call);
    assert_eq!(page.log_of(1)["job"]["state"], "cancelled");
    wait_until("the place is free", || page.start_job(&fetch()).0 == 201);
    let (call, _) = vendor.accept().unwrap();
    let pid = page.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    gone(call);
    assert!(page.child.wait().unwrap().success());

    // A killed page cannot end its jobs: they detect it themselves.
    let mut page = Page::start(&[], Some(&url));
    assert_eq!(page.start_job(&fetch()).0, 201);
    let (call, _) = vendor.accept().unwrap();
    page.child.kill().unwrap();
    gone(call);
}

#[test]
fn the_watch_list_is_shown_and_extended() {
    let page = Page::start(&[], None);
    assert_eq!(page.ask("GET", "/api/watch", "").1["sectors"], json!([]));
    let add = |body: Value| page.ask("POST", "/api/control/watch", &body.to_string());
    let order = json!({ "sector": "banks", "symbol": "600000.SH" });
    assert_eq!(add(order.clone()), (200, json!({ "added": true })));
    assert_eq!(add(order), (200, json!({ "added": false })));
    assert_eq!(
        add(json!({ "sector": "banks", "symbol": "000300.SH", "list": "indices" })).0,
        200
    );
    assert_eq!(
        add(json!({ "sector": "banks", "symbol": "nothing" })).0,
        400
    );
    assert_eq!(add(json!({ "sector": "", "symbol": "600000.SH" })).0, 400);
    let shown = page.ask("GET", "/api/watch", "").1;
    assert_eq!(
        shown["sectors"],
        json!([{ "name": "banks", "stocks": ["600000.SH"], "indices": ["000300.SH"], "funds": [] }])
    );
    let about = page.ask("GET", "/api/about", "").1;
    assert_eq!(
        (
            &about["can"]["watch"],
            &about["can"]["jobs"],
            &about["control"]
        ),
        (&true.into(), &true.into(), &true.into())
    );
}

#[test]
fn a_training_is_tracked_from_its_order_to_its_curves() {
    let page = Page::start(&[], None);
    let prepare =
        json!({ "command": "prepare", "values": { "inputs": "002032.SZ.csv", "out": "set" } });
    assert_eq!(page.start_job(&prepare).0, 201);
    assert_eq!(page.log_of(1)["job"]["state"], "done");
    let settings = "seed = 3\n[data]\nset = \"set\"\nsymbols = \"002032.SZ\"\nsamples_per_epoch = 64\n\
                    [schedule]\npretraining_epochs = 2\nadversarial_epochs = 1\nidentity_epochs = 1\n\
                    [[generators]]\nname = \"g1\"\nkind = \"gru\"\nwindow_bars = 6\nhidden = 4\n\
                    [discriminator]\nbranch_channels = 4\nchannels = 8\nhidden = 8\n";
    std::fs::write(page.dir.path().join("train.toml"), settings).unwrap();
    let train = json!({ "command": "train", "values": { "config": "train.toml", "out": "run" } });
    assert_eq!(page.start_job(&train).0, 201);
    let log = page.log_of(2);
    assert_eq!(
        (&log["job"]["state"], &log["job"]["progress"]),
        (&"done".into(), &1.0.into()),
        "{log:#}"
    );

    let runs = page.ask("GET", "/api/runs", "").1;
    let run = runs
        .as_array()
        .unwrap()
        .iter()
        .find(|run| run["kind"] == "training")
        .unwrap()
        .clone();
    assert_eq!(
        (&run["state"], &run["name"]),
        (&"finished".into(), &"run".into())
    );
    let id = run["id"].as_str().unwrap();
    let own = page.dir.path().join("run");
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(own.join("run.json")).unwrap()).unwrap();
    let hits = &manifest["figures"]["g1"]["validation_direction"];
    assert!(
        hits.is_f64() && run["figures"]["g1.validation_direction"] == *hits,
        "{run:#}"
    );
    let detail = page.ask("GET", &format!("/api/run?id={id}"), "").1;
    assert_eq!(detail["manifest"], manifest);
    let mut curves = csv::Reader::from_path(own.join("curves.csv")).unwrap();
    let names = curves.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = curves.records().map(Result::unwrap).collect();
    let points = detail["curves"].as_array().unwrap();
    assert_eq!(points.len(), rows.len());
    for (point, row) in points.iter().zip(&rows) {
        for (name, cell) in names.iter().zip(row) {
            match &point[name] {
                Value::Null => assert_eq!(cell, "", "{name}"),
                Value::String(text) => assert_eq!(cell, text),
                number => assert_eq!(number.as_f64(), cell.parse().ok(), "{name}"),
            }
        }
    }
    let files = detail["artefacts"].as_array().unwrap();
    let picture = files
        .iter()
        .find(|file| file["type"] == "image/svg+xml")
        .unwrap();
    assert!(
        picture["path"].as_str().unwrap().starts_with("plots/"),
        "{picture}"
    );
}

#[test]
fn a_selection_and_a_broken_run_are_recognised() {
    let page = Page::start(&[], None);
    let dir = page.dir.path();
    std::fs::create_dir_all(dir.join("selected")).unwrap();
    std::fs::write(dir.join("selected/selection.json"), "{\"symbols\":[]}").unwrap();
    std::fs::write(
        dir.join("selected/best_metrics.csv"),
        "symbol,choice,score\n002032.SZ,g1,0.5\n",
    )
    .unwrap();
    std::fs::create_dir_all(dir.join("torn")).unwrap();
    std::fs::write(dir.join("torn/run.json"), "{\"finished\":").unwrap();
    let runs = page.ask("GET", "/api/runs", "").1;
    let run = |kind: &str| {
        runs.as_array()
            .unwrap()
            .iter()
            .find(|run| run["kind"] == kind)
            .unwrap()
    };
    assert_eq!(run("training")["state"], "broken");
    assert!(
        run("training")["note"]
            .as_str()
            .unwrap()
            .contains("run.json"),
        "{runs:#}"
    );
    let id = run("selection")["id"].as_str().unwrap();
    let table = &page.ask("GET", &format!("/api/run?id={id}"), "").1["table"];
    assert_eq!(
        *table,
        json!({ "columns": ["symbol", "choice", "score"], "rows": [["002032.SZ", "g1", "0.5"]] })
    );
    let id = run("training")["id"].as_str().unwrap();
    let (status, detail) = page.ask("GET", &format!("/api/run?id={id}"), "");
    assert_eq!((status, &detail["manifest"]), (200, &Value::Null));
}
