//! `serve`: a prepared data set and the decisions of a journal over HTTP.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use heqis_lab::store::DataSet;
use heqis_lab::store::dataset::Columns;
use heqis_quant::Symbol;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heqis-lab"));
    command
        .current_dir(root())
        .args(arguments)
        .env_remove("HEQIS_DASHBOARD_TOKEN");
    command
}

/// A server that is killed when the test ends.
struct Served {
    child: Child,
    said: Vec<String>,
    host: String,
}

impl Served {
    fn start(arguments: &[&str]) -> Self {
        let mut command = lab(&["serve", "--address", "127.0.0.1:0"]);
        let mut child = command
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        // Held from here on, so that it ends with the test whatever it says.
        let mut served = Self {
            child,
            said: Vec::new(),
            host: String::new(),
        };
        for line in stderr.lines() {
            served.said.push(line.unwrap());
            let last = served.said.last().unwrap();
            if let Some(host) = last.strip_prefix("dashboard on http://") {
                served.host = host.to_owned();
                return served;
            }
        }
        panic!("{:?}", served.said);
    }

    fn get(&self, path: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.host
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
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_data_set_is_shown_as_it_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("set");
    let prepared = lab(&[
        "prepare",
        "data/ashare/002032.SZ.csv",
        "--train-to",
        "2012-12-31",
        "--out",
    ])
    .arg(&out)
    .output()
    .unwrap();
    assert!(
        prepared.status.success(),
        "{}",
        String::from_utf8_lossy(&prepared.stderr)
    );
    let journal = root().join("nodes/compute/tests/golden_journal.jsonl");
    let served = Served::start(&[
        out.to_str().unwrap(),
        "--journal",
        journal.to_str().unwrap(),
    ]);
    assert_eq!(
        served.said.len(),
        1,
        "no link without a token: {:?}",
        served.said
    );

    let symbol = Symbol::parse("002032.SZ").unwrap();
    let rows = DataSet::open(&out)
        .unwrap()
        .symbol(symbol, Columns::All)
        .unwrap();
    let (_, listed) = served.get("/api/symbols");
    assert_eq!(listed[0]["bars"], rows.len());
    let (_, bars) = served.get("/api/bars?symbol=002032.SZ&limit=5000");
    let closes: Vec<f64> = bars["close"]
        .as_array()
        .unwrap()
        .iter()
        .map(|close| close.as_f64().unwrap())
        .collect();
    let stored: Vec<f64> = rows.bars().iter().map(|bar| bar.close).collect();
    assert_eq!(closes, stored);

    // The second decision of the journal is of this instrument; the first one's bars are not in the set.
    let (_, decision) = served.get("/api/decisions/2");
    let day = decision["decision"]["date"].as_str().unwrap();
    let at = rows
        .bars()
        .iter()
        .position(|bar| bar.date.to_string() == day)
        .unwrap();
    let fed: Vec<f64> = decision["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|feature| feature["value"].as_f64().unwrap())
        .collect();
    assert_eq!(fed, rows.features(at).unwrap());
    assert_eq!(
        decision["bar"]["close"].as_f64(),
        Some(rows.bars()[at].close)
    );
    let (_, other) = served.get("/api/decisions/1");
    assert_eq!(
        (&other["bar"], other["features"].as_array().unwrap().len()),
        (&Value::Null, 0)
    );
    assert_eq!(served.get("/api/live").0, 404, "no graph runs here");
}

#[test]
fn what_cannot_be_shown_is_said_at_once() {
    for (arguments, said) in [
        (&["serve"][..], "<DIR>"),
        (&["serve", "no/such/dir"], "no/such/dir"),
        (&["serve", "--csv", "no/such.csv"], "no/such.csv"),
        (
            &[
                "serve",
                "--csv",
                "data/ashare/002032.SZ.csv",
                "--journal",
                "README.md",
            ],
            "README.md, line 1",
        ),
        (
            &["serve", "data", "--csv", "data/ashare/002032.SZ.csv"],
            "cannot be used with",
        ),
        (
            &[
                "serve",
                "--csv",
                "data/ashare/002032.SZ.csv",
                "--address",
                "nowhere",
            ],
            "nowhere",
        ),
    ] {
        let output = lab(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && stderr.contains(said),
            "{arguments:?}: {stderr}"
        );
    }
    let short = lab(&["serve", "--csv", "data/ashare/002032.SZ.csv"])
        .env("HEQIS_DASHBOARD_TOKEN", "5ec7e7")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&short.stderr);
    assert!(
        stderr.contains("32 to 128 hexadecimal digits") && !stderr.contains("5ec7e7"),
        "{stderr}"
    );
}
