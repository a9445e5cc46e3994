//! `serve`: a prepared data set and a journal's decisions over HTTP.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use heqis_data::store::DataSet;
use heqis_data::store::dataset::Columns;
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
    lines: Vec<String>,
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
        // Held from here on, so that the server ends with the test.
        let mut served = Self {
            child,
            lines: Vec::new(),
            host: String::new(),
        };
        for line in stderr.lines() {
            served.lines.push(line.unwrap());
            let last = served.lines.last().unwrap();
            if let Some(host) = last.strip_prefix("dashboard on http://") {
                served.host = host.to_owned();
                return served;
            }
        }
        panic!("{:?}", served.lines);
    }

    fn get(&self, path: &str) -> (u16, Value) {
        let (status, _, body) = self.raw(path);
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// Returns status, head and body of a response.
    fn raw(&self, path: &str) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.host
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, answer[end + 4..].to_vec())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_data_set_is_shown_with_its_stored_values() {
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
    let journal = root().join("heqis-quant/tests/golden/journal.jsonl");
    let served = Served::start(&[
        out.to_str().unwrap(),
        "--journal",
        journal.to_str().unwrap(),
    ]);
    assert_eq!(
        served.lines.len(),
        1,
        "no link without a token: {:?}",
        served.lines
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

    let (_, drift) = served.get("/api/drift?period=year");
    let first = &drift["features"][0];
    let mut years = first["periods"].as_array().unwrap().iter();
    let later = rows
        .bars()
        .iter()
        .filter(|bar| bar.date.year() > 2012)
        .count() as u64;
    assert_eq!(
        years
            .clone()
            .map(|year| year["rows"].as_u64().unwrap())
            .sum::<u64>(),
        later
    );
    assert!(years.all(|year| year["period"].as_str().unwrap() > "2012"));
    let inside = (0..rows.len())
        .filter(|&at| rows.bars()[at].date.year() <= 2012)
        .filter_map(|at| rows.features(at))
        .map(|row| row[0]);
    let mean = inside.clone().sum::<f64>() / inside.count() as f64;
    assert!((first["mean"].as_f64().unwrap() - mean).abs() < 1e-12);

    // The second decision of the journal is of this instrument; the set has no bars of the first one's.
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
fn invalid_arguments_are_reported_at_the_start() {
    for (arguments, expected) in [
        (&["serve"][..], "required arguments"),
        (
            &["serve", "--results", "no/such/results"],
            "no/such/results",
        ),
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
            !output.status.success() && stderr.contains(expected),
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

/// Reads a CSV table as rows of cells by column.
fn table(path: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let columns = reader.headers().unwrap().clone();
    reader
        .records()
        .map(|row| {
            columns
                .iter()
                .map(str::to_owned)
                .zip(row.unwrap().iter().map(str::to_owned))
                .collect()
        })
        .collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
        .collect()
}

#[test]
fn a_backtest_is_shown_with_the_values_of_its_tables() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("results");
    let bars = "data/ashare/002032.SZ.csv";
    let traded = lab(&[
        "backtest",
        bars,
        "--strategy",
        "models/baseline-factors,models/baseline-direction",
    ])
    .args([
        "--mode",
        "return,class",
        "--from",
        "2015-01-05",
        "--no-pages",
        "--out",
    ])
    .arg(&out)
    .output()
    .unwrap();
    assert!(
        traded.status.success(),
        "{}",
        String::from_utf8_lossy(&traded.stderr)
    );
    std::os::unix::fs::symlink("/etc", out.join("etc")).unwrap();
    let served = Served::start(&[
        "--csv",
        bars,
        "--results",
        out.to_str().unwrap(),
        "--benchmark",
        "data/ashare/000300.SH.csv",
    ]);

    let (_, runs) = served.get("/api/runs");
    let runs: Vec<&Value> = runs.as_array().unwrap().iter().collect();
    assert_eq!(runs.len(), 2);
    for run in &runs {
        let id = run["id"].as_str().unwrap();
        let own = out.join(id.split_once('/').unwrap().1);
        for row in table(&own.join("metrics.csv")) {
            let shown = &run["figures"][&row["figure"]];
            assert_eq!(
                shown.as_f64(),
                row["value"].parse().ok(),
                "{} of {id}",
                row["figure"]
            );
        }
        let (_, equity) = served.get(&format!("/api/equity?run={id}"));
        let days = table(&own.join("equity.csv"));
        let column = |name: &str| -> Vec<f64> {
            days.iter().map(|day| day[name].parse().unwrap()).collect()
        };
        assert_eq!(numbers(&equity["return"]), column("return"));
        assert_eq!(numbers(&equity["drawdown"]), column("drawdown"));
        let cents: Vec<f64> = numbers(&equity["equity"])
            .iter()
            .map(|yuan| (yuan * 100.0).round())
            .collect();
        assert_eq!(cents, column("equity_cents"));
        let whole = equity["months"]
            .as_array()
            .unwrap()
            .iter()
            .fold(1.0, |whole, month| {
                whole * (1.0 + month["return"].as_f64().unwrap())
            });
        let total = run["figures"]["curve.total_return"].as_f64().unwrap();
        assert!((whole - 1.0 - total).abs() < 1e-9, "{whole} and {total}");
        assert_eq!(equity["benchmark_name"], "000300.SH");
        assert_eq!(numbers(&equity["benchmark"]).len(), days.len());

        let (_, trades) = served.get(&format!("/api/trades?run={id}"));
        let trips = trades["rows"].as_array().unwrap();
        assert_eq!(
            Some(trips.len() as f64),
            run["figures"]["trades.count"].as_f64()
        );
        let counted: f64 = numbers(&trades["distribution"]["counts"]).iter().sum();
        assert_eq!(counted, trips.len() as f64);
        let (_, orders) = served.get(&format!("/api/orders?run={id}&limit=5000"));
        assert_eq!(
            orders["rows"].as_array().unwrap().len(),
            table(&own.join("orders.csv")).len()
        );

        // Only listed files are sent.
        let (_, detail) = served.get(&format!("/api/run?id={id}"));
        let listed: Vec<&str> = detail["artefacts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["path"].as_str().unwrap())
            .collect();
        assert!(
            listed.contains(&"signals.parquet") && listed.contains(&"summary.json"),
            "{listed:?}"
        );
        assert_eq!(detail["manifest"]["run"]["strategy"], run["strategy"]);
        let (status, head, body) = served.raw(&format!("/api/artefact?run={id}&path=orders.csv"));
        assert_eq!(
            (status, body),
            (200, std::fs::read(own.join("orders.csv")).unwrap())
        );
        assert!(head.contains("content-type: text/csv"), "{head}");
        for path in [
            "../summary.json",
            "..%2Fsummary.json",
            "/etc/passwd",
            "%2Fetc%2Fpasswd",
            "./orders.csv",
            "",
            "orders.csv%00",
        ] {
            assert_eq!(
                served.raw(&format!("/api/artefact?run={id}&path={path}")).0,
                404,
                "{path}"
            );
        }
    }
    for id in [
        "..",
        "results/..",
        "results/etc",
        "%2Fetc",
        "results/baseline-direction/../etc",
        "",
    ] {
        for route in ["run?id=", "equity?run=", "trades?run=", "orders?run="] {
            assert_eq!(
                served.raw(&format!("/api/{route}{id}")).0,
                404,
                "{route}{id}"
            );
        }
        assert_eq!(
            served.raw(&format!("/api/artefact?run={id}&path=passwd")).0,
            404,
            "{id}"
        );
    }

    let (_, strategies) = served.get("/api/strategies");
    let modes: Vec<&str> = strategies
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    assert_eq!(modes.len(), 2);
    for id in modes {
        let own = out.join(id.split_once('/').unwrap().1).join("002032.SZ");
        let signals = table(&own.join("signals.csv"));
        let (_, listed) = served.get(&format!("/api/decisions?strategy={id}&limit=5000"));
        let rows = listed["rows"].as_array().unwrap();
        assert_eq!(rows.len(), signals.len());
        for (row, signal) in rows.iter().rev().zip(&signals) {
            for name in ["date", "side", "reason"] {
                assert_eq!(row[name].as_str().unwrap(), signal[name]);
            }
        }
        let buy = signals
            .iter()
            .find(|signal| signal["side"] == "buy")
            .map(|signal| &signal["date"]);
        if let Some(day) = buy {
            let (_, who) = served.get(&format!(
                "/api/decisions?strategy={id}&from={day}&to={day}&side=buy"
            ));
            assert_eq!(who["rows"].as_array().unwrap().len(), 1);
        }
        let (_, one) = served.get(&format!("/api/decisions/1?strategy={id}"));
        assert_eq!(
            one["decision"]["date"].as_str().unwrap(),
            signals[0]["date"]
        );
        assert!(!one["features"].as_array().unwrap().is_empty());
        let (_, quality) = served.get(&format!("/api/quality?strategy={id}"));
        assert_eq!(
            quality["pairs"].as_u64().unwrap() as usize,
            signals.len() - 1,
            "all but the last bar's"
        );
    }

    for (typed, found) in [
        ("sbe", true),
        ("002", true),
        ("苏泊", true),
        ("电器", true),
        ("600", false),
    ] {
        let (_, rows) = served.get(&format!("/api/symbols?q={}", percent(typed)));
        assert_eq!(
            rows.as_array().unwrap().len(),
            usize::from(found),
            "{typed}"
        );
    }

    // The API document lists the routes that only such a page has.
    let (_, document) = served.get("/api/openapi.json");
    let id = runs[0]["id"].as_str().unwrap();
    for path in [
        "/api/run?id=",
        "/api/equity?run=",
        "/api/trades?run=",
        "/api/orders?run=",
    ] {
        let (_, answer) = served.get(&format!("{path}{id}"));
        let path = path.split_once('?').unwrap().0;
        let schema = &document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
            ["schema"];
        let described = document
            .pointer(&schema["$ref"].as_str().unwrap()[1..])
            .unwrap()["properties"]
            .as_object()
            .unwrap();
        let names: Vec<&String> = answer.as_object().unwrap().keys().collect();
        assert_eq!(names, described.keys().collect::<Vec<_>>(), "{path}");
    }
}

/// Encodes a text for a query.
fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
